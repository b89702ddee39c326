//! A block in flight: its bytes in memory while they come in, for everybody who waits for them.
//!
//! One writer appends chunks; any number of readers follow, each at its own pace, and take no lock: a chunk is
//! written once into its place and never changes. Places are limited, so that a peer that sends byte by byte
//! cannot make bookkeeping grow past the block: when they get scarce, small chunks are put together first.

use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::FillError;
use crate::counters::Counters;

/// When places get scarce, a chunk has at least this many bytes.
const MIN_CHUNK: usize = 4096;
/// Places on top, so that the first small chunks go out as they come.
const SPARE_PLACES: usize = 64;

/// How far a block has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Chunks that can be read.
    chunks: usize,
    /// Set when no more will come: `Ok` when the block is whole.
    end: Option<Result<(), FillError>>,
}

/// A block in flight, or just landed.
pub(crate) struct Flight {
    index: u32,
    length: u32,
    chunks: Box<[OnceLock<Bytes>]>,
    progress: watch::Sender<Progress>,
    counters: Arc<Counters>,
}

impl Flight {
    pub(crate) fn new(index: u32, length: u32, counters: Arc<Counters>) -> Arc<Self> {
        counters.blocks_in_memory.up();
        let places = (length as usize).div_ceil(MIN_CHUNK) + SPARE_PLACES;
        Arc::new(Self {
            index,
            length,
            chunks: (0..places).map(|_| OnceLock::new()).collect(),
            progress: watch::Sender::new(Progress { chunks: 0, end: None }),
            counters,
        })
    }

    /// The block's index.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// The block's length in bytes.
    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    /// Whether all of it is there.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.progress.borrow().end, Some(Ok(())))
    }

    /// Whether it will never be whole.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.progress.borrow().end, Some(Err(_)))
    }

    /// The chunks of a whole block.
    pub(crate) fn data(&self) -> Vec<Bytes> {
        self.chunks.iter().map_while(|chunk| chunk.get().cloned()).collect()
    }

    /// Ends the flight for its readers, unless it has ended.
    pub(crate) fn fail(&self, error: &FillError) {
        self.progress.send_if_modified(|progress| {
            let open = progress.end.is_none();
            if open {
                progress.end = Some(Err(error.clone()));
            }
            open
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.counters.blocks_in_memory.down();
    }
}

/// The one who fills a flight.
pub(crate) struct FlightWriter {
    flight: Arc<Flight>,
    published: usize,
    /// Bytes taken, those in `small` included.
    taken: usize,
    small: BytesMut,
}

impl FlightWriter {
    pub(crate) fn new(flight: Arc<Flight>) -> Self {
        Self { flight, published: 0, taken: 0, small: BytesMut::new() }
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Bytes taken so far.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes what the block still needs off the front of `bytes`; true when it is whole.
    pub(crate) fn take(&mut self, bytes: &mut Bytes) -> bool {
        let length = self.flight.length as usize;
        let chunk = bytes.split_to(bytes.len().min(length - self.taken));
        self.taken += chunk.len();
        let whole = self.taken == length;
        if !chunk.is_empty() {
            // Enough places for the rest in chunks of the least size: publish as it came.
            let places = self.flight.chunks.len() - self.published;
            let roomy = places > (length - self.taken).div_ceil(MIN_CHUNK);
            if self.small.is_empty() && (roomy || chunk.len() >= MIN_CHUNK) {
                self.publish(chunk);
            } else {
                self.small.extend_from_slice(&chunk);
                if roomy || whole || self.small.len() >= MIN_CHUNK {
                    let small = self.small.split().freeze();
                    self.publish(small);
                }
            }
        }
        if whole {
            self.flight.progress.send_modify(|progress| progress.end = Some(Ok(())));
        }
        whole
    }

    fn publish(&mut self, chunk: Bytes) {
        if let Some(place) = self.flight.chunks.get(self.published) {
            let _ = place.set(chunk);
            self.published += 1;
            self.flight.progress.send_modify(|progress| progress.chunks = self.published);
        }
    }
}

/// Follows a range of a flight. It keeps the flight in memory while it waits for bytes, not while its client
/// takes them: a client that reads slowly must not hold a block.
pub(crate) struct FlightReader {
    flight: Weak<Flight>,
    progress: watch::Receiver<Progress>,
    next_chunk: usize,
    /// Where the next chunk begins in the block.
    offset: u32,
    wanted: Range<u32>,
}

impl FlightReader {
    /// Reads `wanted` of the block.
    pub(crate) fn new(flight: &Arc<Flight>, wanted: Range<u32>) -> Self {
        let progress = flight.progress.subscribe();
        Self { flight: Arc::downgrade(flight), progress, next_chunk: 0, offset: 0, wanted }
    }

    /// The next bytes, as soon as they are there; `None` at the end of the range.
    ///
    /// # Errors
    /// Why the block will not be whole, or [`FillError::Abandoned`] when it has landed and left memory since the
    /// last call. What was read before is right.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FillError> {
        let Some(flight) = self.flight.upgrade() else {
            return Err(match self.progress.borrow().end.clone() {
                Some(Err(error)) => error,
                _ => FillError::Abandoned,
            });
        };
        while self.wanted.start < self.wanted.end {
            let Some(chunk) = flight.chunks.get(self.next_chunk).and_then(OnceLock::get) else {
                let seen = self.next_chunk;
                let moved = self
                    .progress
                    .wait_for(|progress| progress.chunks > seen || progress.end.is_some())
                    .await;
                // The sender lives in the flight that we hold.
                let Ok(progress) = moved else { return Err(FillError::Abandoned) };
                if progress.chunks <= seen {
                    return match progress.end.clone() {
                        Some(Err(error)) => Err(error),
                        _ => Err(FillError::Abandoned),
                    };
                }
                continue;
            };
            let begin = self.offset;
            let end = begin + u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            self.next_chunk += 1;
            self.offset = end;
            let (from, to) = (self.wanted.start.max(begin), self.wanted.end.min(end));
            if from < to {
                self.wanted.start = to;
                return Ok(Some(chunk.slice((from - begin) as usize..(to - begin) as usize)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flight(length: u32) -> Arc<Flight> {
        Flight::new(0, length, Arc::default())
    }

    async fn collect(mut reader: FlightReader) -> Result<Vec<u8>, FillError> {
        let mut all = Vec::new();
        while let Some(bytes) = reader.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    proptest! {
        /// However the bytes come in, each reader gets its range, and the block is kept whole.
        #[test]
        fn readers_get_their_ranges(
            sizes in proptest::collection::vec(1usize..9000, 1..80),
            a in 0.0f64..1.0, b in 0.0f64..1.0,
        ) {
            let length: usize = sizes.iter().sum();
            let content: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let flight = flight(length as u32);
            let (a, b) = ((a * length as f64) as usize, (b * length as f64) as usize);
            let (from, to) = (a.min(b), a.max(b));
            let early = FlightReader::new(&flight, from as u32..to as u32);
            let mut writer = FlightWriter::new(flight.clone());
            let mut rest = Bytes::from(content.clone());
            for (i, size) in sizes.iter().enumerate() {
                let whole = writer.take(&mut rest.split_to(*size));
                prop_assert_eq!(whole, i + 1 == sizes.len());
            }
            prop_assert!(flight.is_whole());
            prop_assert_eq!(flight.data().concat(), content.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let late = FlightReader::new(&flight, from as u32..to as u32);
            for reader in [early, late] {
                let read = runtime.block_on(collect(reader));
                prop_assert_eq!(read, Ok(content[from..to].to_vec()));
            }
        }
    }

    #[test]
    fn single_bytes_fit_too() {
        let flight = flight(100_000);
        let mut writer = FlightWriter::new(flight.clone());
        for i in 0..100_000_u32 {
            writer.take(&mut Bytes::copy_from_slice(&[i as u8]));
        }
        assert!(flight.is_whole());
        assert_eq!(flight.data().iter().map(Bytes::len).sum::<usize>(), 100_000);
    }

    #[tokio::test]
    async fn bytes_are_there_before_the_block_is_whole_and_failure_follows_them() {
        let flight = flight(10);
        let mut reader = FlightReader::new(&flight, 2..8);
        let mut writer = FlightWriter::new(flight.clone());
        writer.take(&mut Bytes::from_static(b"01234"));
        assert_eq!(reader.next().await, Ok(Some(Bytes::from_static(b"234"))));
        flight.fail(&FillError::Abandoned);
        assert_eq!(reader.next().await, Err(FillError::Abandoned));
    }

    #[tokio::test]
    async fn a_reader_that_pauses_lets_the_block_go() {
        let landed = flight(10);
        let mut reader = FlightReader::new(&landed, 0..10);
        let mut writer = FlightWriter::new(landed);
        writer.take(&mut Bytes::from_static(b"01234"));
        assert_eq!(reader.next().await, Ok(Some(Bytes::from_static(b"01234"))));
        writer.take(&mut Bytes::from_static(b"56789"));
        drop(writer);
        assert_eq!(reader.next().await, Err(FillError::Abandoned), "to be had elsewhere");
        let failed = flight(10);
        let mut reader = FlightReader::new(&failed, 0..10);
        failed.fail(&FillError::Unreadable);
        drop(failed);
        assert_eq!(reader.next().await, Err(FillError::Unreadable), "it never landed");
    }

    #[test]
    fn a_whole_block_cannot_fail_any_more() {
        let flight = flight(3);
        FlightWriter::new(flight.clone()).take(&mut Bytes::from_static(b"abcdef"));
        flight.fail(&FillError::Abandoned);
        assert!(flight.is_whole() && !flight.has_failed());
    }
}
