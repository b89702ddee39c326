//! A stored block that somebody is sending.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// A stored block that cannot be overwritten while this value lives.
///
/// It must not be kept longer than the block is being sent: a pinned slot is lost to the cache.
#[derive(Debug)]
pub struct PinnedBlock {
    slab: Arc<File>,
    offset: u64,
    length: u32,
}

/// Why a block could not be read. In each case the block is gone from the cache and the bytes are
/// to be had from the origin.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes on the drive are not those that were stored. The block is dropped and counted.
    #[error("block {block} of {url} on {drive}: checksum does not match; dropped")]
    Corrupt {
        /// The object.
        url: String,
        /// The block's index.
        block: u32,
        /// The drive's folder.
        drive: String,
    },
    /// The drive failed to read. The block is dropped, the error counted against the drive.
    #[error("block {block} of {url} on {drive}: {source}")]
    Drive {
        /// The object.
        url: String,
        /// The block's index.
        block: u32,
        /// The drive's folder.
        drive: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The drive is offline.
    #[error("drive {0} is offline")]
    Offline(String),
    /// The range asked for lies outside the block.
    #[error("bytes {start} to {end} of a block of {length}")]
    OutOfRange {
        /// First byte asked for.
        start: u32,
        /// Behind the last byte asked for.
        end: u32,
        /// Length of the block.
        length: u32,
    },
}

impl PinnedBlock {
    /// Length in bytes: 1 to [`BLOCK`](super::BLOCK).
    #[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
    #[must_use]
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Reads `range` of the block on the drive's reader threads.
    pub async fn read(&self, range: Range<u32>) -> Result<Bytes, ReadError> {
        Err(ReadError::OutOfRange { start: range.start, end: range.end, length: self.length })
    }

    /// The slab and the offset of the block's first byte in it.
    pub(crate) fn location(&self) -> (Arc<File>, u64) {
        (Arc::clone(&self.slab), self.offset)
    }
}
