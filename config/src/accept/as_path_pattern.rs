//! An entry of `as_path` or `as_path_none`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

use super::RuleError;

/// A pattern over an AS path, in the form that routers use: `^65100_`, `_65200$`, `_6453_`.
///
/// It is matched against the path as `mcc bgp routes` prints it: `65100 65200 {65300,65301}`, a
/// set in `{ }`, the segments of a confederation in `( )` and `[ ]` at the beginning. It may match
/// anywhere; `^` and `$` are the ends of the path, and `_` stands for whatever is beside a number:
/// a space, a comma, a bracket, or an end.
///
/// A pattern becomes an automaton once, when it is read: matching then takes one step for each
/// character, whatever the pattern.
#[derive(Clone)]
pub struct AsPathPattern {
    text: String,
    automaton: Arc<dense::DFA<Vec<u32>>>,
}

/// What may stand in a pattern: what is in a printed path, and the signs of regular expressions.
const ALPHABET: &str = "0123456789 ,_^$.*+?|()[]{}-\\";

/// What `_` stands for.
const DELIMITER: &str = r"(?:^|$|[ ,{}()\[\]])";

/// Bounds of the automaton and of the work of making it, in bytes.
const MOST_MEMORY: usize = 1 << 20;

impl AsPathPattern {
    /// Whether a path, as it is printed, has the pattern in it.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        // Errors come from bytes at which an automaton is told to give up; this one knows none.
        self.automaton
            .try_search_fwd(&Input::new(path).earliest(true))
            .is_ok_and(|found| found.is_some())
    }
}

impl FromStr for AsPathPattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.is_empty() {
            return Err(RuleError("a pattern such as `_65100_`; `.*` for any path".into()));
        }
        if let Some(stranger) = text.chars().find(|c| !ALPHABET.contains(*c)) {
            let accepted = format!(
                "a pattern such as `^65100_`, `_65200$` or `_(6453|3356)_`: no AS path has `{}` in it",
                stranger.escape_default()
            );
            return Err(RuleError(accepted.into()));
        }
        let regular_expression = translated(text).map_err(|what| RuleError(what.into()))?;
        let automaton = automaton(&regular_expression)?;
        Ok(Self { text: text.to_owned(), automaton: Arc::new(automaton) })
    }
}

fn automaton(regular_expression: &str) -> Result<dense::DFA<Vec<u32>>, RuleError> {
    let too_complex =
        || RuleError("a simpler pattern: this one takes more than 1 MiB of memory".into());
    let nfa = thompson::Compiler::new()
        .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(MOST_MEMORY)))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build(regular_expression)
        .map_err(|error| match error.size_limit() {
            Some(_) => too_complex(),
            None => RuleError(
                "a regular expression over AS numbers, such as `_65[0-9]+_`: brackets in pairs, and \
                 something before `*`, `+`, `?` and `{`"
                    .into(),
            ),
        })?;
    let limits = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(MOST_MEMORY))
        .determinize_size_limit(Some(MOST_MEMORY));
    // Without lookarounds of Unicode there is nothing else that can go wrong.
    dense::Builder::new().configure(limits).build_from_nfa(&nfa).map_err(|_| too_complex())
}

/// The pattern as the regular expression that it stands for.
fn translated(text: &str) -> Result<String, &'static str> {
    let mut result = String::new();
    let (mut escaped, mut in_class) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                if c.is_ascii_digit() {
                    return Err("a pattern without `\\` before a digit");
                }
                escaped = false;
                result.push(c);
                continue;
            }
            '\\' => escaped = true,
            '[' if in_class => {
                // Else it would open a class inside the class, which routers do not know.
                result.push('\\');
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '_' if in_class => return Err("a pattern without `_` inside `[ ]`"),
            '_' => {
                result.push_str(DELIMITER);
                continue;
            }
            _ => {}
        }
        result.push(c);
    }
    Ok(result)
}

impl fmt::Display for AsPathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AsPathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsPathPattern").field(&self.text).finish()
    }
}

/// By the text: the automaton follows from it.
impl PartialEq for AsPathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for AsPathPattern {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_on_a_router() {
        for (pattern, matching, others) in [
            ("^65100_", &["65100", "65100 1"] as &[&str], &["651001", "1 65100", ""] as &[&str]),
            ("_65200$", &["65200", "1 65200"], &["65200 1", "165200"]),
            (
                "_6453_",
                &["6453", "1 6453", "6453 1", "1 6453 2", "1 {5,6453}", "1 {6453,5}", "(6453) 1"],
                &["16453", "64531", "1 64530 2", ""],
            ),
            ("^$", &[""], &["1"]),
            (".*", &["", "1 2"], &[]),
            ("^1 2$", &["1 2"], &["1 2 3", "1  2"]),
            ("^[0-9]+$", &["1", "65100"], &["", "1 2", "{1,2}"]),
            ("^1(_1)*$", &["1", "1 1", "1 1 1"], &["1 2", "11"]),
            ("_1_2_", &["1 2", "9 1 2 8"], &["1 3 2", "11 2"]),
            ("_(6453|3356)_", &["1 3356", "6453 1"], &["33561"]),
            ("^6451[2-9]$", &["64512", "64519"], &["64511", "645120"]),
            (r"\{", &["1 {2,3}"], &["1 2"]),
            (r"^\(.*\) 1$", &["(65001 65002) 1"], &["1", "(65001) 2"]),
            ("[{(]", &["1 {2}", "(1) 2"], &["1 2"]),
            ("[[]", &["[1,2] 3"], &["1 2"]),
            ("^1 ?$|_7$", &["1", "2 7"], &["1 2"]),
            ("^(1 ){2}2", &["1 1 2"], &["1 2"]),
        ] {
            let read: AsPathPattern = pattern.parse().unwrap();
            for path in matching {
                assert!(read.matches(path), "`{pattern}` on `{path}`");
            }
            for path in others {
                assert!(!read.matches(path), "`{pattern}` on `{path}`");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_way_out() {
        for (pattern, accepted) in [
            ("", "`.*` for any path"),
            ("AS65100", "no AS path has `A` in it"),
            ("(?i)1", "no AS path has `i` in it"),
            (r"\d+", "no AS path has `d` in it"),
            ("(65100", "brackets in pairs"),
            ("[65100", "brackets in pairs"),
            ("*65100", "something before `*`"),
            ("65100\\", "brackets in pairs"),
            (r"(1)\1", r"without `\` before a digit"),
            ("[_1]", "without `_` inside `[ ]`"),
            ("(((1{99}){99}){99}){99}", "a simpler pattern"),
            ("[01]*1[01]{30}", "a simpler pattern"),
        ] {
            let error = pattern.parse::<AsPathPattern>().unwrap_err();
            assert!(error.to_string().contains(accepted), "`{pattern}`: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(pattern in r"[0-9 ,_^$.*+?|()\[\]{}\\-]{0,16}|.*", path in "[0-9 {}]{0,20}") {
            if let Ok(pattern) = pattern.parse::<AsPathPattern>() {
                let _ = pattern.matches(&path);
            }
        }

        #[test]
        fn a_number_between_delimiters_is_found_where_it_is(
            path in proptest::collection::vec(1..30_u32, 0..6),
            asn in 1..30_u32,
        ) {
            let text = path.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            let matches = |pattern: String| pattern.parse::<AsPathPattern>().unwrap().matches(&text);
            prop_assert_eq!(matches(format!("_{asn}_")), path.contains(&asn));
            prop_assert_eq!(matches(format!("^{asn}_")), path.first() == Some(&asn));
            prop_assert_eq!(matches(format!("_{asn}$")), path.last() == Some(&asn));
        }
    }
}
