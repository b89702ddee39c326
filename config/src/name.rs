//! Names that are checked once, when they are read, and trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a string is no name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The string does not name a node.
    #[error("`{0}` is no node name: 1 to 63 letters, digits and '-', not '-' at either end")]
    Node(String),
    /// The string is no host name.
    #[error(
        "`{0}` is no host name: labels of letters, digits, '-' and '_' joined by '.', without scheme, port or path"
    )]
    Host(String),
}

/// The name of a node, unique in its control plane: 1 to 63 ASCII letters, digits and `-`,
/// neither first nor last a `-` (a DNS label, RFC 1123 §2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if is_label(s, false) { Ok(Self(s.to_owned())) } else { Err(NameError::Node(s.to_owned())) }
    }
}

/// A DNS host name in lower case and without a final dot, at most 253 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let name = s.strip_suffix('.').unwrap_or(s).to_ascii_lowercase();
        let all_digits_last =
            name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
        let good = name.len() <= 253
            && name.split('.').all(|label| is_label(label, true))
            // A name whose last label is a number would be read as an IPv4 address (RFC 1123 §2.1).
            && !all_digits_last;
        if good { Ok(Self(name)) } else { Err(NameError::Host(s.to_owned())) }
    }
}

fn is_label(s: &str, underscore: bool) -> bool {
    (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || (underscore && b == b'_'))
        && !s.starts_with('-')
        && !s.ends_with('-')
}

macro_rules! string_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(s: String) -> Result<Self, NameError> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_conversions!(NodeName);
string_conversions!(HostName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names() {
        for good in ["edge-1", "A", "7", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "a.b", "a b", "ä", "a_b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<NodeName>(), Err(NameError::Node(bad.to_owned())));
        }
    }

    #[test]
    fn host_names_lose_case_and_final_dot() {
        assert_eq!("CDN.Example.".parse::<HostName>().unwrap().as_str(), "cdn.example");
        for bad in ["", ".", "a..b", "http://a", "a:80", "a/b", "192.0.2.1", "[::1]", "*.a"] {
            assert_eq!(bad.parse::<HostName>(), Err(NameError::Host(bad.to_owned())));
        }
    }
}
