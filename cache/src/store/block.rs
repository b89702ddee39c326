//! A stored block that somebody is sending.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::drive::Pin;
use super::key::ObjectKey;
use super::reader::{Failure, ReadJob};

/// A stored block that cannot be overwritten while this value lives.
///
/// It must not be kept longer than the block is being sent: a pinned slot is lost to the cache.
#[derive(Debug)]
pub struct PinnedBlock {
    pin: Pin,
    key: ObjectKey,
    number: u64,
    index: u32,
    length: u32,
}

/// Why a block could not be read. In each case its bytes are to be had from the origin.
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
    /// The drive went offline, or the block was found to be damaged, after it was looked up.
    #[error("block {block} of {url} on {drive}: gone")]
    Gone {
        /// The object.
        url: String,
        /// The block's index.
        block: u32,
        /// The drive's folder.
        drive: String,
    },
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
    pub(super) fn new(pin: Pin, key: ObjectKey, number: u64, index: u32, length: u32) -> Self {
        Self { pin, key, number, index, length }
    }

    /// Length in bytes: 1 to [`BLOCK`](super::BLOCK).
    #[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
    #[must_use]
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Reads `range` of the block on the drive's reader threads, and waits for one to be free.
    /// Up to [`READ_WINDOW`](super::READ_WINDOW) bytes come in a buffer that is used again.
    ///
    /// # Errors
    /// [`ReadError`]: the bytes are to be had from the origin.
    pub async fn read(&self, range: Range<u32>) -> Result<Bytes, ReadError> {
        if range.start > range.end || range.end > self.length {
            let Range { start, end } = range;
            return Err(ReadError::OutOfRange { start, end, length: self.length });
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let drive = &self.pin.drive;
        // The job has a pin of its own: it may outlive this future and this value.
        let Some(pin) = self.pin.again().filter(|_| drive.is_up()) else {
            return Err(self.error(Failure::Gone));
        };
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job = ReadJob {
            pin,
            number: self.number,
            block: self.index,
            length: self.length,
            range,
            reply,
        };
        let read = async {
            drive.readers.read(job).await?;
            answer.await.unwrap_or(Err(Failure::Gone))
        };
        // From a drive that goes offline there may never be an answer.
        let read = drive.gone.run_until_cancelled(read).await.unwrap_or(Err(Failure::Gone));
        read.map_err(|failure| self.error(failure))
    }

    /// The slab and the offset of the block's first byte in it, to send from. Only for a block that
    /// [`is_trusted`](Self::is_trusted).
    #[cfg_attr(not(test), expect(dead_code, reason = "the sendfile path of the server takes it"))]
    pub(crate) fn location(&self) -> (Arc<File>, u64) {
        (Arc::clone(self.pin.drive.slab.raw()), self.pin.drive.offset(self.pin.slot))
    }

    /// Whether the block needs no verification before it is sent past [`read`](Self::read).
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        !self.pin.drive.states.is_suspect(self.pin.slot)
    }

    fn error(&self, failure: Failure) -> ReadError {
        let (url, block) = (self.key.to_string(), self.index);
        let drive = self.pin.drive.disk.path().display().to_string();
        match failure {
            Failure::Gone => ReadError::Gone { url, block, drive },
            Failure::Corrupt => ReadError::Corrupt { url, block, drive },
            Failure::Drive(source) => ReadError::Drive { url, block, drive, source },
        }
    }
}
