//! Why a file cannot be read as MRT, where, and what to do.

use std::fmt;
use std::io;

use thiserror::Error;

use super::MAX_BODY;

/// What is wrong with a file. `offset` is the byte of the file that the record begins at.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system does not read on.
    #[error("cannot be read on at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The file is packed.
    #[error("is packed with {0}: unpack it on the way, as in `{command} FILE | mcc bgp replay -`",
            command = .0.unpack_command())]
    Compressed(Compression),
    /// The first bytes are no MRT header.
    #[error("is no MRT file: it begins with a record of type {kind} and {length} bytes")]
    NotMrt {
        /// What would be the type.
        kind: u16,
        /// What would be the length.
        length: u32,
    },
    /// It ends inside of a record. What came before it is whole.
    #[error(
        "ends in the middle of the record at byte {offset}: {found} of its {expected} bytes are there; the file was cut off, or is still being written"
    )]
    Truncated {
        /// Where the record begins.
        offset: u64,
        /// Its length, header included; that of the header if not even that is there.
        expected: u64,
        /// How much of it there is.
        found: u64,
    },
    /// A length that cannot be: from here on nothing can be found.
    #[error(
        "the record at byte {offset} says it has {length} bytes, over the {MAX_BODY} possible; what follows cannot be read"
    )]
    TooLong {
        /// Where the record begins.
        offset: u64,
        /// What its header says.
        length: u32,
    },
    /// A record that makes no sense. The next one can be read.
    #[error(
        "record at byte {offset} (type {kind}, subtype {subtype}): {reason} (at byte {at} of it)"
    )]
    Malformed {
        /// Where the record begins.
        offset: u64,
        /// Its MRT type.
        kind: u16,
        /// Its subtype.
        subtype: u16,
        /// What is wrong, naming the RFC section.
        reason: &'static str,
        /// Bytes from the start of the record to the fault.
        at: usize,
    },
}

impl ReadError {
    /// Whether nothing after it can be read.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Malformed { .. })
    }
}

/// How a file is packed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.bz2`
    Bzip2,
    /// `.xz`
    Xz,
    /// `.zst`
    Zstandard,
}

impl Compression {
    /// From the first bytes of a file.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        match first {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstandard),
            _ => None,
        }
    }

    /// The program that writes the unpacked file to its output.
    #[must_use]
    pub fn unpack_command(self) -> &'static str {
        match self {
            Self::Gzip => "zcat",
            Self::Bzip2 => "bzcat",
            Self::Xz => "xzcat",
            Self::Zstandard => "zstdcat",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstandard => "zstd",
        })
    }
}
