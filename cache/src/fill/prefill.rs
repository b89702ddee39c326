//! Prefilling: an object is fetched and stored before a client asks for it.
//!
//! It is a reader like any other to the coordinator, so that each byte is fetched once, whoever else wants it. But
//! it waits where a client would not: for the drives to keep up, and for the rate that it was given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::flight::FlightReader;
use super::{ATTEMPTS, FillError, Fills, Located, Opened, Ticket};
use crate::origin::OriginFailure;
use crate::request::Target;
use crate::store::{BLOCK, MAX_LENGTH, Object, ObjectKey};
use crate::time::unix_now;

/// Blocks that are asked for at once where a rate is to be kept.
const MOST_BLOCKS: u32 = 16;
/// How often what sends no message is looked at: memory, and the drives' writing.
const TICK: Duration = Duration::from_millis(20);
/// How long the drives get to write what was fetched last.
const DRIVE_TIME: Duration = Duration::from_secs(30);

/// The most that is fetched in a second, by all who share it.
#[derive(Debug)]
pub struct FillRate {
    /// `None`: as fast as it goes.
    bytes_per_second: Option<u64>,
    /// When what was booked so far has been fetched.
    booked: Mutex<Option<Instant>>,
}

impl FillRate {
    /// `mbps` in megabits (10^6 bits) per second; `None`: as fast as it goes.
    #[must_use]
    pub fn new(mbps: Option<u32>) -> Self {
        let bytes_per_second = mbps.map(|mbps| (u64::from(mbps) * 1_000_000 / 8).max(1));
        Self { bytes_per_second, booked: Mutex::new(None) }
    }

    /// Blocks to ask for at once: about a second's worth.
    fn blocks(&self) -> u32 {
        self.bytes_per_second.map_or(u32::MAX, |rate| {
            u32::try_from(rate / u64::from(BLOCK)).unwrap_or(MOST_BLOCKS).clamp(1, MOST_BLOCKS)
        })
    }

    /// Books `bytes` to be fetched from `now` on; returns how long to wait before them.
    fn book(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = booked.map_or(now, |booked| booked.max(now));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        *booked = Some(begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        begin.saturating_duration_since(now)
    }
}

/// How far the prefilling of one object is; written by it, read by whoever shows it.
#[derive(Debug, Default)]
pub struct PrefillProgress {
    length: AtomicU64,
    done: AtomicU64,
    fetched: AtomicU64,
}

impl PrefillProgress {
    /// Length of the object in bytes; 0 before it is known.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Bytes of it that are here, those that were here before included.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes that came from the origin for it.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }
}

/// An object that is stored whole now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefilled {
    /// Its length in bytes.
    pub length: u64,
    /// Bytes that had to come from the origin; 0: it was stored already.
    pub fetched: u64,
}

/// Why an object is not stored whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrefillError {
    /// The path is on the list of those that are only passed through.
    #[error("its path is one that is passed through and never stored")]
    NeverStored,
    /// The origin forbids it, or says too little about the content.
    #[error(
        "the origin's answer is not one to store: Cache-Control forbids it, or it names no length, \
         ETag or Last-Modified"
    )]
    Unstorable,
    /// The origin has no content to give.
    #[error("the origin answered {0}")]
    Refused(StatusCode),
    /// The fetch failed.
    #[error("{0}")]
    Fetch(String),
    /// Nothing can be stored.
    #[error("no drive is up: `mcc status` says why")]
    NoDrive,
    /// It cannot fit.
    #[error("it has {length} bytes, more than all drives together hold ({room} bytes)")]
    TooLarge {
        /// Its length in bytes.
        length: u64,
        /// Bytes that the drives hold.
        room: u64,
    },
    /// It was fetched, and the drives have not all of it.
    #[error(
        "{missing} of {length} bytes were fetched but not kept: a drive cannot keep up or is \
         too full of what is used more, or the object was purged meanwhile; the same again \
         fetches the rest"
    )]
    NotKept {
        /// Bytes that are on no drive.
        missing: u64,
        /// Its length in bytes.
        length: u64,
    },
}

impl From<FillError> for PrefillError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Origin(OriginFailure::Status(status)) => Self::Refused(status),
            error => Self::Fetch(error.to_string()),
        }
    }
}

impl Fills {
    /// Has every byte of the object at `target` stored. Dropped, it stops fetching.
    ///
    /// # Errors
    /// [`PrefillError`]: it is not stored whole. What has been stored of it stays.
    pub(crate) async fn prefill(
        self: &Arc<Self>,
        target: &Target,
        key: &ObjectKey,
        rate: &FillRate,
        progress: &PrefillProgress,
    ) -> Result<Prefilled, PrefillError> {
        if target.origin.never_stored(target.path_and_query.path()) {
            return Err(PrefillError::NeverStored);
        }
        // The node has just started: what a drive holds is not to be fetched again.
        while self.shared.store.is_opening() {
            sleep(TICK).await;
        }
        if !self.shared.store.has_drive() {
            return Err(PrefillError::NoDrive);
        }
        let changed = PrefillError::from(FillError::Origin(OriginFailure::Changed));
        let filling = Prefill { fills: self, target, key, rate, progress };
        match filling.run().await {
            // The newer version is worth another attempt; one that changes all the time is not.
            Err(error) if error == changed => filling.run().await,
            outcome => outcome,
        }
    }
}

/// One attempt at an object.
struct Prefill<'a> {
    fills: &'a Arc<Fills>,
    target: &'a Target,
    key: &'a ObjectKey,
    rate: &'a FillRate,
    progress: &'a PrefillProgress,
}

impl Prefill<'_> {
    async fn run(&self) -> Result<Prefilled, PrefillError> {
        let store = &self.fills.shared.store;
        let at_once = self.rate.blocks();
        let ticket = Ticket::new(self.target.clone(), carried(), 0, at_once - 1);
        let known = store.object(self.key);
        let mut object = self.open(&ticket, known.as_ref()).await?;
        let length = object.length();
        let room = store.status().size;
        if length > room.min(MAX_LENGTH) {
            return Err(PrefillError::TooLarge { length, room: room.min(MAX_LENGTH) });
        }
        self.progress.length.store(length, Ordering::Relaxed);
        self.progress.done.store(0, Ordering::Relaxed);
        // The first blocks of what was not known may have come with the answer, and be stored by now.
        let is_new = known.is_none_or(|known| known.number() != object.number());
        let mut fetched = 0;
        for index in 0..object.blocks() {
            let bytes = u64::from(object.block_length(index).unwrap_or(0));
            if index % at_once == 0 {
                ticket.wants(index, index.saturating_add(at_once - 1));
            }
            if is_new || !store.has_block(&object, index) {
                sleep(self.rate.book(bytes, Instant::now())).await;
                self.wait_for_room().await;
                object = self.fetch(object, index, &ticket).await?;
                fetched += bytes;
            }
            self.progress.done.fetch_add(bytes, Ordering::Relaxed);
        }
        drop(ticket);
        match self.unkept(&object).await {
            0 => Ok(Prefilled { length, fetched }),
            missing => Err(PrefillError::NotKept { missing, length }),
        }
    }

    /// What the object is, asked of the origin unless what is stored is fresh.
    async fn open(
        &self,
        ticket: &Ticket,
        known: Option<&Arc<Object>>,
    ) -> Result<Arc<Object>, PrefillError> {
        if let Some(object) = known.filter(|known| known.is_fresh(unix_now())) {
            return Ok(Arc::clone(object));
        }
        let last = u64::from(self.rate.blocks()) * u64::from(BLOCK) - 1;
        let patience = self.fills.shared.limits.patience;
        let opened = timeout(patience, self.fills.open(self.key, ticket, 0, Some(last), known));
        match opened.await.unwrap_or(Err(FillError::Late(patience)))? {
            Opened::Object { object, .. } => Ok(object),
            Opened::PassThrough => Err(PrefillError::Unstorable),
            Opened::Reply(reply) => Err(PrefillError::Refused(reply.status)),
        }
    }

    /// Waits while so much is in memory that clients might soon be in want of it.
    async fn wait_for_room(&self) {
        let shared = &self.fills.shared;
        while shared.counters.blocks_in_memory.get() > shared.limits.blocks_in_memory / 4 {
            sleep(TICK).await;
        }
    }

    /// Returns when block `index` is whole in memory, on its way to a drive, or on it. Gives the object to
    /// go on with.
    async fn fetch(
        &self,
        mut object: Arc<Object>,
        index: u32,
        ticket: &Ticket,
    ) -> Result<Arc<Object>, PrefillError> {
        ticket.at(index);
        let patience = self.fills.shared.limits.patience;
        let mut attempts = 1..ATTEMPTS;
        loop {
            let (current, located) = self.fills.want(&object, index, ticket).await?;
            object = current;
            let (mut reader, started) = match located {
                Located::Stored => break,
                Located::Flight { flight, started } => {
                    (FlightReader::new(&flight, 0..flight.length()), started)
                }
            };
            let error = loop {
                match timeout(patience, reader.next()).await {
                    Ok(Ok(Some(bytes))) => {
                        self.progress.fetched.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    }
                    Ok(Ok(None)) => break None,
                    Ok(Err(error)) => break Some(error),
                    Err(_) => break Some(FillError::Late(patience)),
                }
            };
            match error {
                None => break,
                // Given up as it came, or on its drive already, or refused in another's name.
                Some(FillError::Abandoned) if attempts.next().is_some() => {}
                Some(FillError::Origin(OriginFailure::Status(_)))
                    if !started && attempts.next().is_some() => {}
                Some(error) => return Err(error.into()),
            }
        }
        // The client who gets it first has not caused the fetch.
        object.note_sent(index, object.block_length(index).unwrap_or(0));
        Ok(object)
    }

    /// Waits until the drives have written what was fetched, and returns how many bytes they have not.
    async fn unkept(&self, object: &Object) -> u64 {
        let store = &self.fills.shared.store;
        let is_missing = |index: &u32| !store.has_block(object, *index);
        let end = Instant::now() + DRIVE_TIME;
        let mut missing = (0..object.blocks()).find(is_missing);
        while let Some(first) = missing
            && self.fills.is_in_flight(self.key)
            && Instant::now() < end
        {
            sleep(TICK).await;
            missing = (first..object.blocks()).find(is_missing);
        }
        let missing = (0..object.blocks()).filter(is_missing);
        missing.map(|index| u64::from(object.block_length(index).unwrap_or(0))).sum()
    }
}

fn carried() -> HeaderMap {
    let agent = concat!("mcc/", env!("CARGO_PKG_VERSION"));
    HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_booked_waits_for_what_was_booked_before() {
        let rate = FillRate::new(Some(8));
        let start = Instant::now();
        assert_eq!(rate.book(500_000, start), Duration::ZERO);
        assert_eq!(rate.book(1_000_000, start), Duration::from_millis(500));
        let later = start + Duration::from_secs(1);
        assert_eq!(rate.book(1, later), Duration::from_millis(500));
        let idle = start + Duration::from_secs(60);
        assert_eq!(rate.book(1_000_000, idle), Duration::ZERO, "what was not used is not saved up");
        assert_eq!(rate.book(1, idle), Duration::from_secs(1));
    }

    #[test]
    fn a_low_rate_asks_for_little_at_once() {
        let blocks = |mbps| FillRate::new(mbps).blocks();
        assert_eq!([Some(1), Some(40), Some(10_000), None].map(blocks), [1, 4, 16, u32::MAX]);
        assert_eq!(FillRate::new(None).book(u64::MAX, Instant::now()), Duration::ZERO);
    }
}
