//! Reading a range of an object, wherever its blocks are: on a drive, in flight, or still at the origin.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::flight::FlightReader;
use super::{ATTEMPTS, FillError, Fills, Located, Ticket};
use crate::origin::OriginFailure;
use crate::range::{ByteRange, block_of};
use crate::store::{Object, PinnedBlock, READ_WINDOW};

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

/// Bytes on their way to a client.
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) source: Source,
    /// How many of the bytes had to be fetched for this; the others were here, or fetched for somebody else.
    pub(crate) fetched: u32,
}

/// Sends one range of an object, piece by piece.
pub(crate) struct ObjectReader {
    fills: Arc<Fills>,
    object: Arc<Object>,
    ticket: Ticket,
    at: u64,
    end: u64,
    piece: Option<Piece>,
    /// Failures met at the block in hand.
    failures: usize,
}

/// The rest of one block's part in the range.
enum Piece {
    Stored { block: PinnedBlock, wanted: Range<u32> },
    Flight { reader: FlightReader, started: bool },
}

impl ObjectReader {
    /// Reads `range`, which must lie inside the object. `ticket` is the one the object was opened with, if it was.
    pub(crate) fn new(
        fills: Arc<Fills>,
        object: Arc<Object>,
        ticket: Ticket,
        range: ByteRange,
    ) -> Self {
        ticket.wants(block_of(range.start()), block_of(range.last()));
        let (at, end) = (range.start(), range.end());
        Self { fills, object, ticket, at, end, piece: None, failures: 0 }
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
            match piece.next().await {
                Ok(Some((bytes, source))) => {
                    self.at += bytes.len() as u64;
                    self.failures = 0;
                    if self.at == self.end {
                        // Now, since nobody may ask for the end of a body whose length is known.
                        self.ticket.finish();
                    }
                    let sent = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    let fetched = self.object.note_sent(index, sent);
                    return Ok(Some(Chunk { bytes, source, fetched }));
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

    async fn locate(&mut self, index: u32, wanted: Range<u32>) -> Result<Piece, FillError> {
        for _ in 0..ATTEMPTS {
            if let Some(block) = self.fills.shared().store.block(&self.object, index) {
                return Ok(Piece::Stored { block, wanted });
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
    async fn next(&mut self) -> Result<Option<(Bytes, Source)>, FillError> {
        match self {
            Self::Stored { block, wanted } => {
                if wanted.start >= wanted.end {
                    return Ok(None);
                }
                let end = wanted.end.min(wanted.start.saturating_add(READ_WINDOW));
                match block.read(wanted.start..end).await {
                    Ok(bytes) => {
                        wanted.start = end;
                        Ok(Some((bytes, Source::Drive)))
                    }
                    Err(error) => {
                        tracing::warn!(%error, "block read from the origin instead");
                        Err(FillError::Unreadable)
                    }
                }
            }
            Self::Flight { reader, started } => {
                let source = if *started { Source::Fill } else { Source::Collapsed };
                Ok(reader.next().await?.map(|bytes| (bytes, source)))
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
