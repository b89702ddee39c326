//! Reading a range of an object, wherever its blocks are: on a drive, in flight, or still at the origin.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::flight::FlightReader;
use super::{ATTEMPTS, FillError, Fills, Located, Ticket};
use crate::origin::OriginFailure;
use crate::range::{ByteRange, block_of};
use crate::store::{Loading, Object, PinnedBlock, READ_WINDOW, ReadError};

/// Up to so many bytes go through memory in any case: with the head, in one write, they cost less than sendfile(2).
const SMALL: u32 = 16 << 10;

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

/// How whoever reads can take bytes that are on a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In memory only.
    Memory,
    /// By reference too, to send them from the drive's slab.
    File,
}

/// Bytes, or where they are.
pub(crate) enum Content {
    Memory(Bytes),
    /// A part of a block that is at hand: sending it waits for no drive.
    Stored {
        block: Arc<PinnedBlock>,
        range: Range<u32>,
    },
}

impl Content {
    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Stored { range, .. } => range.len(),
        }
    }

    /// Takes up to `most` bytes off the front.
    pub(crate) fn split_to(&mut self, most: usize) -> Self {
        match self {
            Self::Memory(bytes) => Self::Memory(bytes.split_to(most.min(bytes.len()))),
            Self::Stored { block, range } => {
                let most = u32::try_from(most).unwrap_or(u32::MAX);
                let middle = range.start.saturating_add(most).min(range.end);
                let front = range.start..middle;
                range.start = middle;
                Self::Stored { block: block.clone(), range: front }
            }
        }
    }
}

/// Content on its way to a client.
pub(crate) struct Chunk {
    pub(crate) content: Content,
    pub(crate) source: Source,
    /// How many of the bytes had to be fetched for this; the others were here, or fetched for somebody else.
    pub(crate) fetched: u32,
}

/// Sends one range of an object, piece by piece.
pub(crate) struct ObjectReader {
    fills: Arc<Fills>,
    object: Arc<Object>,
    ticket: Ticket,
    delivery: Delivery,
    at: u64,
    end: u64,
    piece: Option<Piece>,
    /// The next block's piece, found while the one before is sent.
    ahead: Option<(u32, StoredPiece)>,
    /// Failures met at the block in hand.
    failures: usize,
}

/// The rest of one block's part in the range.
enum Piece {
    Stored(StoredPiece),
    Flight { reader: FlightReader, started: bool },
}

/// The rest of a part of a block that is on a drive.
struct StoredPiece {
    block: Arc<PinnedBlock>,
    wanted: Range<u32>,
    /// It is being brought into memory.
    loading: Option<Loading>,
}

impl ObjectReader {
    /// Reads `range`, which must lie inside the object. `ticket` is the one the object was opened with, if it was.
    pub(crate) fn new(
        fills: Arc<Fills>,
        object: Arc<Object>,
        ticket: Ticket,
        range: ByteRange,
        delivery: Delivery,
    ) -> Self {
        ticket.wants(block_of(range.start()), block_of(range.last()));
        let (at, end) = (range.start(), range.end());
        let (piece, ahead) = (None, None);
        Self { fills, object, ticket, delivery, at, end, piece, ahead, failures: 0 }
    }

    /// The next bytes as soon as they are there; `None` at the end.
    ///
    /// # Errors
    /// The bytes that follow are not to be had. The response must be cut.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, FillError> {
        let patience = self.fills.shared().limits.patience;
        timeout(patience, self.next_at_last()).await.unwrap_or(Err(FillError::Late(patience)))
    }

    /// The next bytes, however long they take.
    async fn next_at_last(&mut self) -> Result<Option<Chunk>, FillError> {
        loop {
            let Some(rest) = ByteRange::new(self.at, self.end) else {
                return Ok(None);
            };
            let index = block_of(self.at);
            let Some(piece) = &mut self.piece else {
                self.ticket.at(index);
                self.piece = Some(self.locate(index, rest.within(index)).await?);
                continue;
            };
            match piece.next(self.delivery).await {
                Ok(Some((content, source))) => {
                    self.at += content.len() as u64;
                    self.failures = 0;
                    if self.at == self.end {
                        // Now, since nobody may ask for the end of a body whose length is known.
                        self.ticket.finish();
                    }
                    if source == Source::Drive {
                        self.look_ahead(index);
                    }
                    let sent = u32::try_from(content.len()).unwrap_or(u32::MAX);
                    let fetched = self.object.note_sent(index, sent);
                    return Ok(Some(Chunk { content, source, fetched }));
                }
                Ok(None) => self.piece = None,
                Err(error) => {
                    self.failures += 1;
                    if self.failures >= ATTEMPTS || !piece.worth_retrying(&error) {
                        return Err(error);
                    }
                    self.piece = None;
                }
            }
        }
    }

    /// Finds the block behind `index` and has it brought into memory, while that one is sent.
    fn look_ahead(&mut self, index: u32) {
        let Some(next) = index.checked_add(1) else { return };
        let wanted = ByteRange::new(self.at, self.end).map_or(0..0, |rest| rest.within(next));
        if wanted.is_empty() || self.ahead.as_ref().is_some_and(|(ahead, _)| *ahead == next) {
            return;
        }
        let block = self.fills.shared().store.block(&self.object, next);
        self.ahead = block.map(|block| {
            let loading = match block.is_at_hand(&wanted) {
                true => None,
                false => block.load_ahead(wanted.clone()),
            };
            (next, StoredPiece { block: Arc::new(block), wanted, loading })
        });
    }

    async fn locate(&mut self, index: u32, wanted: Range<u32>) -> Result<Piece, FillError> {
        if let Some((ahead, piece)) = self.ahead.take()
            && ahead == index
            && piece.wanted == wanted
        {
            return Ok(Piece::Stored(piece));
        }
        for _ in 0..ATTEMPTS {
            if let Some(block) = self.fills.shared().store.block(&self.object, index) {
                let block = Arc::new(block);
                return Ok(Piece::Stored(StoredPiece { block, wanted, loading: None }));
            }
            let (object, located) = self.fills.want(&self.object, index, &self.ticket).await?;
            // Purged and found again: the same bytes are under a new number now.
            self.object = object;
            match located {
                Located::Flight { flight, started } => {
                    let reader = FlightReader::new(&flight, wanted);
                    return Ok(Piece::Flight { reader, started });
                }
                // Written, and perhaps evicted, in between: look again.
                Located::Stored => {}
            }
        }
        Err(FillError::Unreadable)
    }
}

impl Piece {
    async fn next(&mut self, delivery: Delivery) -> Result<Option<(Content, Source)>, FillError> {
        match self {
            Self::Stored(piece) => match piece.next(delivery).await {
                Ok(content) => Ok(content.map(|content| (content, Source::Drive))),
                Err(error) => {
                    tracing::warn!(%error, "block read from the origin instead");
                    Err(FillError::Unreadable)
                }
            },
            Self::Flight { reader, started } => {
                let source = if *started { Source::Fill } else { Source::Collapsed };
                let bytes = reader.next().await?;
                Ok(bytes.map(|bytes| (Content::Memory(bytes), source)))
            }
        }
    }

    /// Whether another attempt may go better: the drive has dropped the block, the fetch was given up as this
    /// reader came, the block has gone from memory to its drive, or it was refused in another client's name.
    fn worth_retrying(&self, error: &FillError) -> bool {
        match (self, error) {
            (_, FillError::Abandoned | FillError::Unreadable) => true,
            (Self::Flight { started, .. }, FillError::Origin(OriginFailure::Status(_))) => !started,
            _ => false,
        }
    }
}

impl StoredPiece {
    /// The next bytes: all that are wanted of the block by reference, or some in memory.
    async fn next(&mut self, delivery: Delivery) -> Result<Option<Content>, ReadError> {
        let Range { start, end } = self.wanted;
        if start >= end {
            return Ok(None);
        }
        let loading = self.loading.take();
        let is_loaded = loading.is_some();
        if let Some(loading) = loading {
            self.block.loaded(loading).await?;
        }
        let by_reference =
            delivery == Delivery::File && end - start > SMALL && self.block.can_be_sent();
        if by_reference {
            if !is_loaded && !self.block.is_at_hand(&self.wanted) {
                self.block.load(self.wanted.clone()).await?;
            }
            self.wanted.start = end;
            return Ok(Some(Content::Stored { block: self.block.clone(), range: start..end }));
        }
        let window = start..end.min(start.saturating_add(READ_WINDOW));
        let bytes = match self.block.read_cached(window.clone()) {
            Some(bytes) => bytes,
            None => self.read(window.clone()).await?,
        };
        self.wanted.start = window.end;
        Ok(Some(Content::Memory(bytes)))
    }

    /// Reads what is not in memory, and has what is wanted behind it follow.
    async fn read(&mut self, window: Range<u32>) -> Result<Bytes, ReadError> {
        let behind = window.end..self.wanted.end;
        let read = self.block.read(window).await?;
        if !behind.is_empty() && !self.block.is_at_hand(&behind) {
            self.loading = self.block.load_ahead(behind);
        }
        Ok(read)
    }
}
