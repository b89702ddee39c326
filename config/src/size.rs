//! Sizes written as a number and a unit: `500GB`, `64MiB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A number of bytes. Units are decimal (`kB`, `MB`, `GB`, `TB`: powers of 1000) or binary
/// (`KiB`, `MiB`, `GiB`, `TiB`: powers of 1024), in any case; a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// The string is no size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no size: a number and a unit, such as `500GB`, `1.5TB` or `64MiB`")]
pub struct SizeError(String);

const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("m", 1_000_000),
    ("gb", 1_000_000_000),
    ("g", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("t", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl ByteSize {
    /// A size of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(s: &str) -> Result<Self, SizeError> {
        let error = || SizeError(s.to_owned());
        let text = s.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| error())?;
        if fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
            return Err(error());
        }
        let mut bytes = u128::from(whole) * u128::from(*factor);
        if !fraction.is_empty() {
            let digits: u64 = fraction.parse().map_err(|_| error())?;
            let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| error())?);
            bytes += u128::from(digits) * u128::from(*factor) / scale;
        }
        u64::try_from(bytes).map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for ByteSize {
    type Error = SizeError;

    fn try_from(s: String) -> Result<Self, SizeError> {
        s.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides the size exactly, so that what is printed reads back the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXACT: [(&str, u64); 8] = [
            ("TB", 1_000_000_000_000),
            ("TiB", 1 << 40),
            ("GB", 1_000_000_000),
            ("GiB", 1 << 30),
            ("MB", 1_000_000),
            ("MiB", 1 << 20),
            ("kB", 1_000),
            ("KiB", 1 << 10),
        ];
        for (unit, factor) in EXACT {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("500GB", 500_000_000_000),
            ("1.5TB", 1_500_000_000_000),
            ("64 MiB", 64 << 20),
            ("1kib", 1024),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for bad in ["", "GB", "-1GB", "1XB", "1.GB", "1..5GB", "99999999TB", "1e9"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(SizeError(bad.to_owned())), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn printed_sizes_read_back(bytes: u64) {
            let size = ByteSize::new(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }
    }
}
