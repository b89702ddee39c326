//! Reading a range of an object, wherever its blocks are: on a drive, in flight, or still at the origin.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::time::timeout;

use super::content::{Chunk, Content, Elsewhere, Replacement, Source, StoredPart};
use super::flight::FlightReader;
use super::ticket::Interest;
use super::{ATTEMPTS, FillError, Fills, Located, Ticket};
use crate::origin::OriginFailure;
use crate::range::{ByteRange, block_of};
use crate::store::{Loading, Object, PinnedBlock, READ_WINDOW, ReadError};

/// Up to so many bytes go through memory in any case: with the head, in one write, they cost less than sendfile(2).
const SMALL: u32 = 16 << 10;

/// Sends one range of an object, piece by piece.
///
/// With a way `W`, what is on drives is sent by it; without one it is read into memory.
pub(crate) struct ObjectReader<W> {
    fills: Arc<Fills>,
    object: Arc<Object>,
    ticket: Ticket,
    way: Option<W>,
    /// For the promises that are made of this object. Made with the first one.
    elsewhere: Option<Arc<dyn Elsewhere>>,
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

impl<W: Clone> ObjectReader<W> {
    /// Reads `range`, which must lie inside the object. `ticket` is the one the object was opened with, if it was.
    pub(crate) fn new(
        fills: Arc<Fills>,
        object: Arc<Object>,
        ticket: Ticket,
        range: ByteRange,
        way: Option<W>,
    ) -> Self {
        ticket.wants(block_of(range.start()), block_of(range.last()));
        let (at, end) = (range.start(), range.end());
        let (elsewhere, piece, ahead) = (None, None, None);
        Self { fills, object, ticket, way, elsewhere, at, end, piece, ahead, failures: 0 }
    }

    /// The next bytes as soon as they are there; `None` at the end.
    ///
    /// # Errors
    /// The bytes that follow are not to be had. The response must be cut.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk<W>>, FillError> {
        let patience = self.fills.shared().limits.patience;
        timeout(patience, self.next_at_last()).await.unwrap_or(Err(FillError::Late(patience)))
    }

    /// The next bytes, however long they take.
    async fn next_at_last(&mut self) -> Result<Option<Chunk<W>>, FillError> {
        loop {
            let Some(rest) = ByteRange::new(self.at, self.end) else {
                return Ok(None);
            };
            let index = block_of(self.at);
            if self.piece.is_none() {
                self.ticket.at(index);
                self.piece = Some(self.locate(index, rest.within(index)).await?);
            }
            match self.next_of_piece().await {
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
                    let piece = self.piece.take();
                    let worth_retrying = piece.is_some_and(|piece| piece.worth_retrying(&error));
                    if self.failures >= ATTEMPTS || !worth_retrying {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The next of the block in hand; `None` at its end.
    async fn next_of_piece(&mut self) -> Result<Option<(Content<W>, Source)>, FillError> {
        let piece = match &mut self.piece {
            None => return Ok(None),
            Some(Piece::Flight { reader, started }) => {
                let source = if *started { Source::Fill } else { Source::Collapsed };
                let bytes = reader.next().await?;
                return Ok(bytes.map(|bytes| (Content::Memory(bytes), source)));
            }
            Some(Piece::Stored(piece)) => piece,
        };
        if piece.wanted.is_empty() {
            return Ok(None);
        }
        let content = match &self.way {
            Some(way) if piece.is_worth_a_reference() => piece.load().await.map(|range| {
                let elsewhere = self.elsewhere.get_or_insert_with(|| {
                    let interest = self.ticket.interest().clone();
                    let (fills, object) = (self.fills.clone(), self.object.clone());
                    Arc::new(Again { fills, object, interest })
                });
                let part = StoredPart::new(piece.block.clone(), range, elsewhere.clone());
                Content::Stored(part, way.clone())
            }),
            _ => piece.read().await.map(Content::Memory),
        };
        content.map(|content| Some((content, Source::Drive))).map_err(|error| {
            match error {
                // Of a drive that has gone there is a word already.
                ReadError::Gone { .. } => tracing::debug!(%error, "read from the origin instead"),
                _ => tracing::warn!(%error, "read from the origin instead"),
            }
            FillError::Unreadable
        })
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
            if object.number() != self.object.number() {
                // Purged and found again: the same bytes are under a new number now.
                self.object = object;
                self.elsewhere = None;
            }
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
    /// Whether to send it by reference, if there is a way.
    fn is_worth_a_reference(&self) -> bool {
        self.wanted.end - self.wanted.start > SMALL && self.block.can_be_sent()
    }

    /// Brings all that is wanted of the block into memory; returns it.
    async fn load(&mut self) -> Result<Range<u32>, ReadError> {
        self.wait_until_loaded().await?;
        // Asked in any case: what was loaded ahead may have waited here for long.
        if !self.block.is_at_hand(&self.wanted) {
            self.block.load(self.wanted.clone()).await?;
        }
        let wanted = self.wanted.clone();
        self.wanted.start = wanted.end;
        Ok(wanted)
    }

    /// Reads the next bytes, and has what is wanted behind them follow.
    async fn read(&mut self) -> Result<Bytes, ReadError> {
        self.wait_until_loaded().await?;
        let Range { start, end } = self.wanted;
        let window = start..end.min(start.saturating_add(READ_WINDOW));
        self.wanted.start = window.end;
        if let Some(bytes) = self.block.read_cached(window.clone()) {
            return Ok(bytes);
        }
        let read = self.block.read(window).await?;
        if !self.wanted.is_empty() && !self.block.is_at_hand(&self.wanted) {
            self.loading = self.block.load_ahead(self.wanted.clone());
        }
        Ok(read)
    }

    /// Waits for what was begun ahead, if anything was.
    async fn wait_until_loaded(&mut self) -> Result<(), ReadError> {
        match self.loading.take() {
            Some(loading) => self.block.loaded(loading).await,
            None => Ok(()),
        }
    }
}

/// Reads an object again from wherever its blocks are, for what was promised of a drive that has failed since.
struct Again {
    fills: Arc<Fills>,
    object: Arc<Object>,
    interest: Arc<Interest>,
}

impl Elsewhere for Again {
    /// As any reader gets it: of this version, or not at all. That some of it must be fetched is not counted as a
    /// miss: the bytes were counted as a hit when they were promised.
    fn read(&self, range: ByteRange) -> Replacement {
        let ticket = Ticket::again(&self.interest, block_of(range.start()), block_of(range.last()));
        let (fills, object) = (self.fills.clone(), self.object.clone());
        let reader = ObjectReader::<Infallible>::new(fills, object, ticket, range, None);
        Box::pin(unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(chunk)) => {
                    let Content::Memory(bytes) = chunk.content;
                    Some((Ok(bytes), Some(reader)))
                }
                Ok(None) => None,
                Err(error) => {
                    reader.fills.shared().counters.broken_responses.add(1);
                    tracing::debug!(object = ?reader.object, %error, "response cut");
                    Some((Err(error), None))
                }
            }
        }))
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").field("object", &self.object).finish_non_exhaustive()
    }
}
