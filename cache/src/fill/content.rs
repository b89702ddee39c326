//! Content on its way to a client: bytes, or where they are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::FillError;
use crate::range::ByteRange;
use crate::store::{BLOCK, PinnedBlock};

/// Bytes, or where they are.
///
/// `W` is a way by which the latter can be sent. Whoever reads without one gets bytes: the other variant cannot be made.
pub(crate) enum Content<W> {
    Memory(Bytes),
    Stored(StoredPart, W),
}

/// Content, and how it came here.
pub(crate) struct Chunk<W> {
    pub(crate) content: Content<W>,
    pub(crate) source: Source,
    /// How many of the bytes had to be fetched for this; the others were here, or fetched for somebody else.
    pub(crate) fetched: u32,
}

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A drive.
    Drive,
    /// A fetch that this reader started.
    Fill,
    /// A fetch that was under way.
    Collapsed,
}

/// A part of a block that is at hand: sending it waits for no drive. It keeps the block pinned.
#[derive(Debug, Clone)]
pub(crate) struct StoredPart {
    block: Arc<PinnedBlock>,
    range: Range<u32>,
    elsewhere: Arc<dyn Elsewhere>,
}

/// Where the bytes of an object are to be had when its drive has failed in the middle of sending them.
pub(crate) trait Elsewhere: fmt::Debug + Send + Sync {
    /// Reads `range` of the same version of the object, into memory.
    fn read(&self, range: ByteRange) -> Replacement;
}

/// Bytes from elsewhere: as many as were asked for, or an error.
pub(crate) type Replacement = BoxStream<'static, Result<Bytes, FillError>>;

impl<W: Clone> Content<W> {
    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Stored(part, _) => part.len(),
        }
    }

    /// Takes up to `most` bytes off the front.
    pub(crate) fn split_to(&mut self, most: usize) -> Self {
        match self {
            Self::Memory(bytes) => Self::Memory(bytes.split_to(most.min(bytes.len()))),
            Self::Stored(part, way) => Self::Stored(part.split_to(most), way.clone()),
        }
    }
}

impl StoredPart {
    /// `range` of `block`, or, should its drive fail, of what `elsewhere` reads.
    pub(crate) fn new(
        block: Arc<PinnedBlock>,
        range: Range<u32>,
        elsewhere: Arc<dyn Elsewhere>,
    ) -> Self {
        Self { block, range, elsewhere }
    }

    pub(crate) fn block(&self) -> &PinnedBlock {
        &self.block
    }

    /// The part in the block.
    pub(crate) fn range(&self) -> &Range<u32> {
        &self.range
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Takes up to `most` bytes off the front.
    pub(crate) fn split_to(&mut self, most: usize) -> Self {
        let middle = self.middle(most);
        let front = self.range.start..middle;
        self.range.start = middle;
        Self { block: self.block.clone(), range: front, elsewhere: self.elsewhere.clone() }
    }

    /// Forgets up to `bytes` bytes at the front: they are sent.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.range.start = self.middle(bytes);
    }

    /// Whether it can still be sent without waiting for the drive.
    pub(crate) fn is_at_hand(&self) -> bool {
        self.block.is_at_hand(&self.range)
    }

    /// Whether what memory has of it may be sent.
    pub(crate) fn is_trusted(&self) -> bool {
        self.block.is_trusted()
    }

    /// Whether that may be asked after each short wait.
    pub(crate) fn is_cheap_to_ask(&self) -> bool {
        self.block.is_cheap_to_ask()
    }

    /// The same bytes from elsewhere.
    pub(crate) fn replacement(&self) -> Option<Replacement> {
        let offset = |at: u32| u64::from(self.block.index()) * u64::from(BLOCK) + u64::from(at);
        let range = ByteRange::new(offset(self.range.start), offset(self.range.end))?;
        Some(self.elsewhere.read(range))
    }

    fn middle(&self, bytes: usize) -> u32 {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.range.start.saturating_add(bytes).min(self.range.end)
    }
}
