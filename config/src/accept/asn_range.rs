//! An entry of `origin_asns`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::RuleError;

/// An entry as it was written: a number, or a number or range as a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AsnEntry {
    /// `65100`
    Number(u32),
    /// `"65100"` or `"64512-65534"`
    Text(String),
}

/// By hand, so that an error has the place of the entry, not of its list.
impl<'de> Deserialize<'de> for AsnEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;

        impl Visitor<'_> for Entry {
            type Value = AsnEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an AS number, or a range such as \"64512-65534\"")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<AsnEntry, E> {
                let wrong = |_| E::invalid_value(Unexpected::Unsigned(number), &self);
                u32::try_from(number).map(AsnEntry::Number).map_err(wrong)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<AsnEntry, E> {
                let wrong = |_| E::invalid_value(Unexpected::Signed(number), &self);
                u32::try_from(number).map(AsnEntry::Number).map_err(wrong)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AsnEntry, E> {
                Ok(AsnEntry::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Entry)
    }
}

impl fmt::Display for AsnEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(asn) => asn.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// AS numbers from one to another, both included. AS 0 is never one of them (RFC 7607).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsnRange {
    first: u32,
    last: u32,
}

impl AsnRange {
    /// Whether `asn` is one of them.
    #[must_use]
    pub const fn contains(&self, asn: u32) -> bool {
        self.first <= asn && asn <= self.last
    }
}

impl FromStr for AsnRange {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let number = |text: &str| {
            let digits = text.trim();
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(RuleError(
                "an AS number of 1 to 4294967295, such as `65100`, or a range such as \
                 `\"64512-65534\"`"
                    .into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges() {
        let range = |text: &str| text.parse::<AsnRange>();
        assert_eq!(range("65100"), Ok(AsnRange { first: 65100, last: 65100 }));
        assert_eq!(range("64512-65534"), Ok(AsnRange { first: 64512, last: 65534 }));
        assert_eq!(range("1 - 4294967295"), Ok(AsnRange { first: 1, last: u32::MAX }));
        let some = range("10-12").unwrap();
        assert_eq!([9, 10, 12, 13].map(|asn| some.contains(asn)), [false, true, true, false]);
        for bad in ["", "0", "0-5", "5-4", "-5", "5-", "4294967296", "AS5", "1.10", "+5", "1-2-3"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
