//! An entry of `allow_prefixes` or `deny_prefixes`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use super::RuleError;

/// A prefix with the lengths that count of what lies inside it.
///
/// `"198.51.0.0/16"` is the prefix and all inside it, `"198.51.0.0/16 ge 20 le 24"` what is inside
/// with 20 to 24 bits (either bound alone is possible), `"198.51.0.0/16 exact"` the prefix alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PrefixRule {
    prefix: IpNet,
    lengths: RangeInclusive<u8>,
}

impl PrefixRule {
    /// The prefix that all others are inside of; no bit is set beyond its length.
    #[must_use]
    pub fn prefix(&self) -> IpNet {
        self.prefix
    }

    /// The lengths that count, in bits; never empty, never shorter than the prefix.
    #[must_use]
    pub fn lengths(&self) -> RangeInclusive<u8> {
        self.lengths.clone()
    }

    /// Whether the rule names `prefix`.
    #[must_use]
    pub fn contains(&self, prefix: &IpNet) -> bool {
        self.prefix.contains(prefix) && self.lengths.contains(&prefix.prefix_len())
    }
}

impl FromStr for PrefixRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let words: Vec<_> = text.split_whitespace().collect();
        let Some((prefix, bounds)) = words.split_first() else {
            return Err(RuleError(FORM.into()));
        };
        let prefix: IpNet = prefix.parse().map_err(|_| RuleError(FORM.into()))?;
        if prefix != prefix.trunc() {
            let network = prefix.trunc();
            return Err(RuleError(format!("`{network}`, without bits beyond the length").into()));
        }
        let (shortest, longest) = (prefix.prefix_len(), prefix.max_prefix_len());
        let number = |text: &str| text.parse::<u8>().map_err(|_| RuleError(FORM.into()));
        let lengths = match *bounds {
            [] => shortest..=longest,
            ["exact"] => shortest..=shortest,
            ["ge", ge] => number(ge)?..=longest,
            ["le", le] => shortest..=number(le)?,
            ["ge", ge, "le", le] => number(ge)?..=number(le)?,
            _ => return Err(RuleError(FORM.into())),
        };
        let (ge, le) = (*lengths.start(), *lengths.end());
        if !(shortest <= ge && ge <= le && le <= longest) {
            let bounds = format!("`ge` and `le` with {shortest} <= ge <= le <= {longest}");
            return Err(RuleError(bounds.into()));
        }
        Ok(Self { prefix, lengths })
    }
}

const FORM: &str = "`198.51.0.0/16` (it and all inside it), `198.51.0.0/16 ge 20 le 24` or \
                    `198.51.0.0/16 exact`";

impl fmt::Display for PrefixRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)?;
        let (shortest, longest) = (self.prefix.prefix_len(), self.prefix.max_prefix_len());
        match (*self.lengths.start(), *self.lengths.end()) {
            (ge, le) if (ge, le) == (shortest, longest) => Ok(()),
            (ge, le) if (ge, le) == (shortest, shortest) => f.write_str(" exact"),
            (ge, le) if le == longest => write!(f, " ge {ge}"),
            (ge, le) if ge == shortest => write!(f, " le {le}"),
            (ge, le) => write!(f, " ge {ge} le {le}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        for (text, inside, outside) in [
            (
                "198.51.0.0/16",
                &["198.51.0.0/16", "198.51.0.0/32", "198.51.255.0/24"] as &[&str],
                &["198.50.0.0/16", "198.0.0.0/8", "2001:db8::/32"] as &[&str],
            ),
            (
                "198.51.0.0/16 ge 20 le 24",
                &["198.51.0.0/20", "198.51.7.0/24"],
                &["198.51.0.0/19", "198.51.7.0/25", "198.52.0.0/20"],
            ),
            ("198.51.0.0/16 ge 24", &["198.51.0.0/24", "198.51.0.1/32"], &["198.51.0.0/23"]),
            ("198.51.0.0/16 le 24", &["198.51.0.0/16", "198.51.0.0/24"], &["198.51.0.0/25"]),
            ("198.51.0.0/16 exact", &["198.51.0.0/16"], &["198.51.0.0/17", "198.50.0.0/15"]),
            ("0.0.0.0/0 exact", &["0.0.0.0/0"], &["0.0.0.0/1", "::/0"]),
            ("2001:db8::/32 le 48", &["2001:db8:1::/48"], &["2001:db8:1::/49", "32.1.0.0/16"]),
        ] {
            let rule: PrefixRule = text.parse().unwrap();
            assert_eq!(rule.to_string(), text);
            assert!(inside.iter().all(|it| rule.contains(&it.parse().unwrap())), "{text}");
            assert!(!outside.iter().any(|it| rule.contains(&it.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_way_out() {
        for (text, accepted) in [
            ("", FORM),
            ("198.51.0.0", FORM),
            ("198.51.0.0/33", FORM),
            ("198.51.0.0/16 exact 5", FORM),
            ("198.51.0.0/16 ge", FORM),
            ("198.51.0.0/16 ge x", FORM),
            ("198.51.0.0/16 le 24 ge 20", FORM),
            ("198.51.0.0/16 ge 300", FORM),
            ("198.51.7.0/16", "`198.51.0.0/16`, without bits beyond the length"),
            ("198.51.0.0/16 ge 15", "`ge` and `le` with 16 <= ge <= le <= 32"),
            ("198.51.0.0/16 le 33", "`ge` and `le` with 16 <= ge <= le <= 32"),
            ("198.51.0.0/16 ge 24 le 20", "`ge` and `le` with 16 <= ge <= le <= 32"),
            ("2001:db8::/32 ge 129", "`ge` and `le` with 32 <= ge <= le <= 128"),
        ] {
            assert_eq!(text.parse::<PrefixRule>(), Err(RuleError(accepted.into())), "{text}");
        }
    }
}
