//! A stored block that somebody is sending.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;

use super::buffer::Buffer;
use super::drive::Pin;
use super::key::ObjectKey;
use super::reader::{Failure, ReadJob, Work};

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
        source: io::Error,
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

/// A block on its way into memory.
#[derive(Debug)]
pub struct Loading(oneshot::Receiver<Result<(), Failure>>);

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

    /// Which block of its object it is.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Reads `range` of the block on the drive's reader threads, and waits for one to be free.
    /// Up to [`READ_WINDOW`](super::READ_WINDOW) bytes come in a buffer that is used again.
    ///
    /// # Errors
    /// [`ReadError`]: the bytes are to be had from the origin.
    pub async fn read(&self, range: Range<u32>) -> Result<Bytes, ReadError> {
        self.check(&range)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let buffer = Buffer::new((range.end - range.start) as usize);
        let (reply, answer) = oneshot::channel();
        let job = self.job(range, Work::Read { buffer, reply })?;
        let drive = &self.pin.drive;
        let read = async {
            drive.readers.send(job).await?;
            answer.await.unwrap_or(Err(Failure::Gone))
        };
        // From a drive that goes offline there may never be an answer.
        let read = drive.gone.run_until_cancelled(read).await.unwrap_or(Err(Failure::Gone));
        read.map_err(|failure| self.error(failure))
    }

    /// Reads `range`, if that means no waiting: the block is trusted, and memory has it.
    #[must_use]
    pub fn read_cached(&self, range: Range<u32>) -> Option<Bytes> {
        self.check(&range).ok().filter(|()| self.is_usable())?;
        let mut buffer = Buffer::new((range.end - range.start) as usize);
        self.pin.read_cached(buffer.as_mut(), range.start).then(|| buffer.freeze())
    }

    /// Whether `range` can be sent without waiting for the drive: the block is trusted, and memory has it.
    #[must_use]
    pub fn is_at_hand(&self, range: &Range<u32>) -> bool {
        self.pin.drive.is_up() && self.pin.is_at_hand(range)
    }

    /// Whether that costs next to nothing.
    pub(crate) fn is_cheap_to_ask(&self) -> bool {
        self.pin.drive.slab.is_cheap_to_ask()
    }

    /// Has the reader threads bring `range` into memory, and verify the block if it is suspect. Waits for it.
    ///
    /// # Errors
    /// [`ReadError`]: the bytes are to be had from the origin.
    pub async fn load(&self, range: Range<u32>) -> Result<(), ReadError> {
        self.check(&range)?;
        let (reply, answer) = oneshot::channel();
        let job = self.job(range, Work::Load { reply })?;
        let drive = &self.pin.drive;
        let sent = drive.gone.run_until_cancelled(drive.readers.send(job)).await;
        sent.unwrap_or(Err(Failure::Gone)).map_err(|failure| self.error(failure))?;
        self.loaded(Loading(answer)).await
    }

    /// Like [`load`](Self::load), without waiting. `None` when the drive has enough to do already.
    #[must_use]
    pub fn load_ahead(&self, range: Range<u32>) -> Option<Loading> {
        let (reply, answer) = oneshot::channel();
        let job = self.check(&range).and_then(|()| self.job(range, Work::Load { reply })).ok()?;
        self.pin.drive.readers.try_send(job).then_some(Loading(answer))
    }

    /// Waits for what [`load_ahead`](Self::load_ahead) has begun.
    ///
    /// # Errors
    /// [`ReadError`]: the bytes are to be had from the origin.
    pub async fn loaded(&self, loading: Loading) -> Result<(), ReadError> {
        // From a drive that goes offline there may never be an answer.
        let loaded = self.pin.drive.gone.run_until_cancelled(loading.0).await;
        let loaded = loaded.and_then(Result::ok).unwrap_or(Err(Failure::Gone));
        loaded.map_err(|failure| self.error(failure))
    }

    /// Whether the block may be sent by reference at all, with sendfile(2).
    #[must_use]
    pub fn can_be_sent(&self) -> bool {
        self.pin.drive.slab.can_be_sent()
    }

    /// Has `send` send from the slab, where the block begins at the offset that it is told. Only for what
    /// [`is_at_hand`](Self::is_at_hand) or was [loaded](Self::load).
    ///
    /// # Errors
    /// What `send` says, or that the drive has gone offline.
    pub(crate) fn send<T>(&self, send: impl FnOnce(&File, u64) -> io::Result<T>) -> io::Result<T> {
        self.pin.drive.states.note_sent(self.pin.slot);
        let offset = self.pin.drive.offset(self.pin.slot);
        self.pin.drive.slab.with(|file| send(file, offset))
    }

    /// The drive failed while the block was being sent by reference: nobody gets it any more.
    pub(crate) fn failed_to_send(&self, error: &io::Error) {
        self.pin.drive.drop_block(self.pin.slot);
        self.pin.drive.failed("sending a block", error);
    }

    /// Whether the block needs no verification before it is sent: all of it that memory has was compared.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.pin.drive.states.is_sound(self.pin.slot)
    }

    /// Whether somebody waits for what a reader thread is reading of it for another.
    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        self.pin.drive.readers.others_wait(self.pin.slot)
    }

    fn is_usable(&self) -> bool {
        self.pin.drive.is_up() && self.pin.drive.states.is_sound(self.pin.slot)
    }

    fn check(&self, range: &Range<u32>) -> Result<(), ReadError> {
        if range.start > range.end || range.end > self.length {
            let Range { start, end } = *range;
            return Err(ReadError::OutOfRange { start, end, length: self.length });
        }
        Ok(())
    }

    fn job(&self, range: Range<u32>, work: Work) -> Result<ReadJob, ReadError> {
        // The job has a pin of its own: it may outlive this value, and whoever waits for it.
        let pin = self.pin.again().filter(|_| self.pin.drive.is_up());
        let pin = pin.ok_or_else(|| self.error(Failure::Gone))?;
        let (number, block, length) = (self.number, self.index, self.length);
        Ok(ReadJob { pin, number, block, length, range, work })
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
