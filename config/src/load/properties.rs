//! Whatever the text, reading ends with a value or with problems that lie inside the file.

use proptest::prelude::*;

use super::*;

/// Pieces that files are made of, so that random texts get past the TOML reader.
fn pieces() -> impl Strategy<Value = String> {
    let all = format!(
        "{}{}",
        example::switched_on(example::NODE),
        example::switched_on(example::CONTROL)
    );
    let lines: Vec<String> = all.lines().map(str::to_owned).collect();
    let odd = ["x = 1", "[[a.b]]", "listen = [1, 2]", "\"a.b\" = {}", "asn = 99999999999999999999"];
    let line = prop_oneof![
        4 => prop::sample::select(lines),
        1 => prop::sample::select(odd.map(str::to_owned).to_vec()),
        1 => "[a-z.\\[\\]]{0,9} ?=? ?[0-9\"\\[\\]{}a-z:.]{0,9}",
    ];
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![any::<String>(), pieces()]) {
        let node = NodeConfig::parse(&text, "mcc.toml").err();
        let control = ControlConfig::parse(&text, "control.toml").err();
        for error in node.into_iter().chain(control) {
            prop_assert!(!error.problems().is_empty());
            let lines = text.lines().count().max(1) + 1;
            for problem in error.problems() {
                prop_assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)));
            }
        }
    }

    /// Whatever is cut from the middle of a good file: no panic, and what is refused says why.
    #[test]
    fn a_torn_example_is_read_or_refused(from in 0..4000_usize, length in 0..40_usize) {
        let mut text = example::switched_on(example::NODE);
        let end = (from + length).min(text.len());
        if text.is_char_boundary(from) && text.is_char_boundary(end) && from < end {
            text.replace_range(from..end, "");
        }
        if let Err(error) = NodeConfig::parse(&text, "mcc.toml") {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
