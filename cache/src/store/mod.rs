//! The content on the drives.
//!
//! Each drive holds a preallocated file of slots (the slab), of 1 MiB and some of 64 KiB, a table that
//! says which block of which object lies in which slot, and a log of the objects. All of it is indexed in memory; a
//! lookup takes no lock. One keeper thread per drive is the only one that changes it: it stores and
//! evicts blocks and makes checkpoints. A drive that fails takes its own content with it and
//! nothing else.
//!
//! What is here after power or process went away is what the last checkpoint had, and no byte of it
//! is wrong: a record never reaches the drive before the block that it names, and a slot is not
//! refilled before the drive has forgotten what was in it.
//!
//! | file | what |
//! |---|---|
//! | `key`, `object`, `packed_meta`, `extents`, `catalog` | which objects there are, and which generation of each is current |
//! | `placement` | which drive a block goes to |
//! | `bay` | the place of each drive, also while it is being opened |
//! | `layout` | where each slot lies in the slab |
//! | `drive`, `slots`, `block` | what the request side sees of a drive: pins, queues, counters |
//! | `reader`, `buffer` | the threads that read, and what they read into |
//! | `keeper`, `inventory`, `owners`, `s3fifo`, `free` | the thread that stores and evicts |
//! | `checkpoint`, `unrecorded` | how that gets onto the drive |
//! | `recover` | how it gets back |
//! | `meta`, `slot_record`, `object_record`, `object_log` | the formats |
//! | `status`, `listing` | what operators are told |
//! | `disk`, `fault` | input and output |
//! | `residency` | what memory has of a file |
//! | `watch`, `care`, `health` | what happens when that fails, or never comes back |
//! | `admission`, `mounts`, `ledger` | which drives are used at all, and what is remembered beside them |
//! | `scrub`, `pace`, `verify`, `damage` | looking for damage, and what is told of it |
//! | `ageing` | what goes first because nobody asks for it |

mod admission;
mod ageing;
mod bay;
mod block;
mod buffer;
mod care;
mod catalog;
mod checkpoint;
mod damage;
mod disk;
mod drive;
mod extents;
mod fault;
mod free;
mod health;
mod inventory;
mod keeper;
mod key;
mod layout;
mod ledger;
mod listing;
mod meta;
mod mounts;
mod object;
mod object_log;
mod object_record;
mod owners;
mod pace;
mod packed_meta;
mod placement;
mod reader;
mod recover;
mod residency;
pub(crate) mod s3fifo;
mod scrub;
mod slot_record;
mod slots;
mod status;
#[cfg(test)]
mod tests;
mod unrecorded;
mod verify;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use thiserror::Error;

pub use block::{Loading, PinnedBlock, ReadError};
pub use fault::{Effect, Fault, Faults, Operation, Part};
pub use key::ObjectKey;
pub use layout::{Class, SMALL_SLOT, SlotLayout};
pub use listing::{Cursor, DriveShare, ListOrder, ListQuery, NoCursor, ObjectPage};
pub use meta::{DriveMeta, MetaError};
pub use object::{Object, ObjectMeta};
pub use object_record::{ObjectRecord, Scan, TooLong};
pub use slot_record::{SlotEntry, SlotRecord};
pub use status::{
    DamageFound, DriveCounts, DriveState, DriveStatus, ObjectSummary, Offline, Opening,
    PinnedObject, Purged, ScrubStatus, Selector, StoreStatus,
};
pub use verify::{Damage, DriveVerifyProgress, Verification, VerifyProgress};

use bay::{Bay, Shared, Standing};
use catalog::Published;
use drive::{Drive, Pin};
use keeper::Task;
use ledger::Ledger;
use verify::DriveRun;

use crate::time::hour;

/// Bytes in a block (1 MiB). The last block of an object is shorter.
pub const BLOCK: u32 = 1 << 20;

/// Blocks in an extent (64 MiB), the unit that drives are chosen for.
pub const EXTENT_BLOCKS: u32 = 64;

/// Longest object that is stored, in bytes (1 TiB). Longer ones are passed through.
pub const MAX_LENGTH: u64 = 1 << 40;

/// Most bytes to read at once (256 KiB): the size of the buffers that are kept.
pub const READ_WINDOW: u32 = 256 << 10;

/// How long [`Store::flush`] and [`Store::close`] wait for the drives.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the store works. The defaults are right for a node.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Time between checkpoints: what a power loss may cost in fills.
    pub checkpoint_interval: Duration,
    /// Reader threads per drive: its queue depth.
    pub readers: usize,
    /// Blocks (1 MiB of memory each) that may wait for a drive. More are refused, not waited for.
    pub write_queue: usize,
    /// How long an operation on a drive may take before the drive is given up. A sync may take four
    /// times as long.
    pub patience: Duration,
    /// Where the store keeps what it must remember beside the drives. Without it, only until it is
    /// closed.
    pub data_dir: Option<PathBuf>,
    /// Bytes per second that the scrubber reads on each drive; 0: it reads only when asked to.
    pub scrub_rate: u64,
    /// Objects that nobody has asked for in this time go first when room is needed.
    pub max_age: Option<Duration>,
    /// Faults to meet, for tests.
    pub faults: Faults,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(5),
            readers: 4,
            write_queue: 256,
            patience: Duration::from_secs(30),
            data_dir: None,
            scrub_rate: 10_000_000,
            max_age: None,
            faults: Faults::default(),
        }
    }
}

/// Why a block was not stored. The content is served all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotStored {
    /// The drive is slower than the network: its queue is full. Counted as `refused`.
    #[error("the drive cannot keep up")]
    Busy,
    /// No drive is up.
    #[error("no drive is up")]
    NoDrive,
    /// The object was purged, or a newer generation has taken its place.
    #[error("the object was replaced or purged")]
    Retired,
    /// The data is not as long as this block of the object is.
    #[error("the data is not as long as the block")]
    WrongLength,
    /// The object is longer than [`MAX_LENGTH`], or its name and header fields than 64 KiB.
    #[error("the object is too large to be stored")]
    TooLarge,
}

/// More was to be pinned than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "pinned objects would take {wanted} MiB of drives where {most} MiB may be pinned, half of them: \
     unpin others first"
)]
pub struct TooManyPins {
    /// Slots that pinned objects would take with the new one.
    pub wanted: u64,
    /// Slots that they may take.
    pub most: u64,
}

/// Why a drive was not opened anew.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OnlineError {
    /// No drive has this path.
    #[error("no `[[drive]]` has this path; the drives are: {known}")]
    Unknown {
        /// The paths that there are.
        known: String,
    },
    /// It is up.
    #[error("the drive is up")]
    Up,
    /// That is being done.
    #[error("the drive is being opened")]
    Opening,
    /// Operations that were begun before it went offline have not come back from the kernel.
    #[error(
        "operations on the drive still hang in the kernel: look at `dmesg`; when they do not come \
         back, only a restart of the node or of the machine helps"
    )]
    Held,
}

/// Why a drive was not verified.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// No drive has this path.
    #[error("no `[[drive]]` has this path; the drives are: {known}")]
    Unknown {
        /// The paths that there are.
        known: String,
    },
    /// It is offline, or still being opened.
    #[error("the drive is not up: `mcc cache status` says why")]
    Down,
}

/// The content on all drives.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    /// One per `[[drive]]`, in the order of the configuration.
    bays: Vec<ArcSwap<Bay>>,
    options: StoreOptions,
    /// Held by who opens a drive anew: two would open it twice.
    reopening: Mutex<()>,
    /// Nothing is stored any more.
    closed: AtomicBool,
    /// The last verification that was ordered.
    verification: Mutex<Option<Verification>>,
}

impl Store {
    /// Begins to open all drives, each by itself, and returns at once: each joins when what it holds has
    /// been read, which takes seconds for terabytes. Until then its content is missing, and what is
    /// stored goes to the others. A drive that cannot be opened is offline, and [`Store::status`]
    /// says why.
    #[must_use]
    pub fn open(drives: &[mcc_config::Drive], options: &StoreOptions) -> Self {
        // Numbers rise over restarts even when the drive that had the highest is missing.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ledger = Ledger::open(options.data_dir.as_deref());
        let clock = u64::try_from(since_1970.as_micros()).unwrap_or(1);
        let shared = Arc::new(Shared::new(ledger, clock, drives));
        let open = |(index, drive)| ArcSwap::from(Bay::open(index, drive, &shared, options));
        let bays = drives.iter().enumerate().map(open).collect();
        Self {
            shared,
            bays,
            options: options.clone(),
            reopening: Mutex::default(),
            closed: AtomicBool::new(false),
            verification: Mutex::default(),
        }
    }

    /// Waits until no drive is being opened any more, but no longer than `patience`. False when one
    /// still is. Blocks the thread.
    pub fn wait_for_drives(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_opening() {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Whether a drive is still being opened.
    pub(crate) fn is_opening(&self) -> bool {
        self.bays.iter().any(|bay| bay.load().is_opening())
    }

    /// The current generation of `key`, which somebody asks for now. Takes no lock.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        let object = self.shared.catalog.get(key)?;
        object.note_asked(hour(self.shared.clock.at(Instant::now())));
        Some(object)
    }

    /// Makes what the origin has just said about `key` its current generation. When the current one
    /// is certain to be about the same bytes ([`ObjectMeta::same_content`]), it stays and its
    /// freshness and headers are renewed. Otherwise a new generation takes its place, and the old
    /// one's blocks are freed.
    pub fn publish(&self, key: &ObjectKey, meta: &ObjectMeta) -> Arc<Object> {
        match self.shared.catalog.publish(key, meta) {
            Published::New(object) => object,
            Published::Renewed(object) => {
                self.tell_all(|| Task::Renew(Arc::clone(&object)));
                object
            }
            Published::Replaced { new, old } => {
                self.tell_all(|| Task::Retire(Arc::clone(&old)));
                new
            }
        }
    }

    /// Takes over freshness and headers of the origin's confirmation (304) of this very generation.
    pub fn renew(&self, object: &Arc<Object>, meta: &ObjectMeta) {
        object.confirm(meta);
        self.tell_all(|| Task::Renew(Arc::clone(object)));
    }

    /// Block `index` of `object`, if a drive has it: pinned, and counted as a hit. Takes no lock.
    #[must_use]
    pub fn block(&self, object: &Object, index: u32) -> Option<PinnedBlock> {
        let location = object.block_table().get(index)?;
        let bay = self.bays.get(location.drive())?.load();
        let pin = Pin::hit(bay.up()?, location.slot())?;
        // The slot was pinned after its place was looked up: it counts only if it is still there.
        if object.block_table().get(index) != Some(location) {
            return None;
        }
        let length = object.block_length(index)?;
        Some(PinnedBlock::new(pin, object.key().clone(), object.number(), index, length))
    }

    /// Whether a drive has block `index` of `object`, without counting a hit.
    #[must_use]
    pub fn has_block(&self, object: &Object, index: u32) -> bool {
        object.block_table().get(index).is_some_and(|location| {
            let bay = self.bays.get(location.drive()).map(ArcSwap::load);
            bay.as_ref()
                .and_then(|bay| bay.up())
                .is_some_and(|drive| drive.states.is_live(location.slot()))
        })
    }

    /// Whether any drive is up.
    #[must_use]
    pub fn has_drive(&self) -> bool {
        self.bays.iter().any(|bay| bay.load().up().is_some())
    }

    /// Whether a drive may evict a new block that nobody asks for before it has taken `blocks` others.
    pub(crate) fn forgets_within(&self, blocks: u64) -> bool {
        self.bays.iter().any(|bay| {
            let bay = bay.load();
            bay.up().is_some_and(|drive| drive.slots() / s3fifo::SMALL_SHARE as u64 <= blocks)
        })
    }

    /// Hands a complete block to its drive and never waits. It can be read some moments later.
    ///
    /// # Errors
    /// [`NotStored`] says why it is not kept; nothing is to be done about it.
    pub fn write(
        &self,
        object: &Arc<Object>,
        index: u32,
        data: Vec<Bytes>,
    ) -> Result<(), NotStored> {
        if self.closed.load(Ordering::Acquire) {
            return Err(NotStored::NoDrive);
        }
        if object.is_retired() {
            return Err(NotStored::Retired);
        }
        if object.length() > MAX_LENGTH || !ObjectRecord::fits(object.key(), &object.meta()) {
            return Err(NotStored::TooLarge);
        }
        let length: usize = data.iter().map(Bytes::len).sum();
        if object.block_length(index).is_none_or(|wanted| wanted as usize != length) {
            return Err(NotStored::WrongLength);
        }
        let up = self.up().map(|drive| (drive.candidate, drive));
        let extent = index / EXTENT_BLOCKS;
        let drive = placement::choose(object.key().stable_hash(), extent, up);
        let object = Arc::clone(object);
        drive.ok_or(NotStored::NoDrive)?.offer(Task::Store { object, index, data })
    }

    /// Removes objects. They are gone for every lookup when this returns; the drives forget them
    /// with their next checkpoint ([`Store::flush`] waits for it). What a drive holds that is still
    /// being opened is gone too, though not counted. A drive that is away learns of it when it comes
    /// back.
    pub fn purge(&self, selector: &Selector) -> Purged {
        // First, so that a drive that begins to come back now finds it there or below.
        self.shared.ledger.purged(selector, self.shared.catalog.next_number(), &self.uuids_up());
        if self.is_opening() {
            self.shared.purges.note(selector);
        } else {
            self.shared.purges.forget();
        }
        let gone: Vec<Arc<Object>> = match selector {
            Selector::Url(key) => self.shared.catalog.remove_one(key).into_iter().collect(),
            _ => self.shared.catalog.remove(|key| selector.matches(key)),
        };
        let bytes = gone.iter().map(|object| object.stored_bytes()).sum();
        for object in &gone {
            self.tell_all(|| Task::Retire(Arc::clone(object)));
        }
        Purged { objects: gone.len() as u64, bytes, durable: false }
    }

    /// Has the drives keep the object under `key`, stored now or later, whatever else is asked for, in all
    /// its generations. On the drives before this returns.
    ///
    /// # Errors
    /// [`TooManyPins`]: with it, pinned objects would take more than half of the drives.
    pub fn pin(&self, key: &ObjectKey) -> Result<(), TooManyPins> {
        let slots = |key: &ObjectKey| {
            self.shared.catalog.get(key).map_or(1, |object| u64::from(object.blocks()))
        };
        let pins = self.shared.ledger.pins();
        let pinned: u64 = pins.iter().filter(|pin| *pin != key).map(slots).sum();
        let size: u64 = self.up().map(|drive| drive.slots()).sum();
        let (wanted, most) = (pinned + slots(key), size / 2);
        if wanted > most {
            return Err(TooManyPins { wanted, most });
        }
        self.shared.ledger.pin(key);
        if let Some(object) = self.shared.catalog.set_pinned(key, true) {
            self.tell_all(|| Task::Settle(Arc::clone(&object)));
        }
        Ok(())
    }

    /// Ends a pin: the object is as any other. False when there was no such pin.
    pub fn unpin(&self, key: &ObjectKey) -> bool {
        let was = self.shared.ledger.unpin(key);
        if let Some(object) = self.shared.catalog.set_pinned(key, false) {
            self.tell_all(|| Task::Settle(Arc::clone(&object)));
        }
        was
    }

    /// All pins in the order of their URLs, with what is stored of each.
    #[must_use]
    pub fn pins(&self) -> Vec<PinnedObject> {
        let pinned = |key: ObjectKey| {
            let object = self.shared.catalog.get(&key).map(|object| object.as_ref().into());
            PinnedObject { url: key.to_string(), object }
        };
        self.shared.ledger.pins().into_iter().map(pinned).collect()
    }

    /// An operator says that the drive in `path`, which is offline, is well: begins to open it anew, and
    /// returns at once. [`Store::status`] tells what becomes of it.
    ///
    /// # Errors
    /// [`OnlineError`]: there is nothing to be done.
    pub fn online(&self, path: &Path) -> Result<(), OnlineError> {
        let _one = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.bays.iter().enumerate().find(|(_, bay)| bay.load().path() == path);
        let unknown = || OnlineError::Unknown { known: self.known_paths() };
        let (index, place) = place.ok_or_else(unknown)?;
        let bay = place.load();
        match bay.standing() {
            Standing::Opening => return Err(OnlineError::Opening),
            Standing::Up => return Err(OnlineError::Up),
            Standing::Held => return Err(OnlineError::Held),
            Standing::Empty => {}
        }
        self.shared.ledger.pardon(path);
        bay.abandon();
        place.store(Bay::open(index, bay.config(), &self.shared, &self.options));
        Ok(())
    }

    /// Has all drives compare all their blocks with their checksums now, at full speed. When that is being
    /// done already, nothing new begins. What is damaged is dropped, and fetched anew when asked for.
    pub fn verify(&self) -> Verification {
        self.verify_drives(self.up().collect())
    }

    /// The same for the one drive in `path`.
    ///
    /// # Errors
    /// [`VerifyError`]: there is nothing to compare.
    pub fn verify_one(&self, path: &Path) -> Result<Verification, VerifyError> {
        let Some(bay) = self.bays.iter().find(|bay| bay.load().path() == path) else {
            return Err(VerifyError::Unknown { known: self.known_paths() });
        };
        let drive = bay.load().up().cloned();
        Ok(self.verify_drives(vec![drive.ok_or(VerifyError::Down)?]))
    }

    /// The folders of all drives, for whoever named another one.
    fn known_paths(&self) -> String {
        let known = self.bays.iter().map(|bay| bay.load().path().display().to_string());
        known.collect::<Vec<_>>().join(", ")
    }

    fn verify_drives(&self, drives: Vec<Arc<Drive>>) -> Verification {
        let mut last = self.verification.lock().unwrap_or_else(PoisonError::into_inner);
        let is_running = |last: &&Verification| !last.is_finished() && !last.is_cancelled();
        if let Some(running) = last.as_ref().filter(is_running) {
            return running.clone();
        }
        let runs: Vec<_> = drives.iter().map(|drive| Arc::new(DriveRun::new(drive))).collect();
        let verification = Verification::new(runs.clone());
        for (drive, run) in drives.into_iter().zip(runs) {
            drive.scrub.order(verification.clone(), run);
        }
        *last = Some(verification.clone());
        verification
    }

    /// The verification that was ordered last, running or not.
    #[must_use]
    pub fn last_verification(&self) -> Option<Verification> {
        self.verification.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn uuids_up(&self) -> Vec<u128> {
        self.up().map(|drive| drive.candidate.uuid).collect()
    }

    /// Waits until everything written and purged so far is on the drives that are up, or has failed to
    /// get there; at most a minute. Blocks the thread. True when it is there: it outlives a crash.
    pub fn flush(&self) -> bool {
        self.ask_all(Task::Flush)
    }

    /// The state of all drives.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let drives: Vec<DriveStatus> = self.bays.iter().map(|bay| bay.load().status()).collect();
        let up = || drives.iter().filter(|drive| drive.state == DriveState::Up);
        StoreStatus {
            objects: self.shared.catalog.len() as u64,
            blocks: up().map(|drive| drive.blocks).sum(),
            size: up().map(|drive| drive.size).sum(),
            used: up().map(|drive| drive.used).sum(),
            drives,
        }
    }

    /// Makes a last checkpoint on every drive and marks them clean. Blocks the thread; a drive that
    /// hangs is given up after a minute, and verified at the next start. Blocks written afterwards
    /// are not stored; pinned blocks can still be read.
    pub fn close(&self) {
        // What is written from now on would be lost behind the last checkpoint.
        self.closed.store(true, Ordering::Release);
        let up = self.uuids_up();
        self.ask_all(Task::Close);
        self.shared.ledger.caught_up(&up);
    }

    fn tell_all(&self, task: impl Fn() -> Task) {
        self.up().for_each(|drive| drive.tell(task()));
    }

    /// The drives that are up.
    fn up(&self) -> impl Iterator<Item = Arc<Drive>> {
        self.bays.iter().filter_map(|bay| bay.load().up().cloned())
    }

    /// Asks all drives at once, those that are being opened as soon as they join, then waits for each
    /// answer. A keeper that has ended, or has failed, gives none; one that hangs is given up. True when
    /// all have answered.
    fn ask_all(&self, task: fn(SyncSender<()>) -> Task) -> bool {
        let until = Instant::now() + PATIENCE;
        let (mut asked, mut opening) = (Vec::new(), self.bays.iter().collect::<Vec<_>>());
        loop {
            opening.retain(|bay| {
                let bay = bay.load();
                if bay.is_opening() {
                    return true;
                }
                let drive = bay.up().cloned();
                asked.extend(drive.map(|drive| (ask(&drive, task, until), drive)));
                false
            });
            if opening.is_empty() || Instant::now() >= until {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // Each is waited for, also when another one has failed.
        asked.into_iter().fold(opening.is_empty(), |all, (answer, drive)| {
            answer.is_some_and(|answer| await_answer(&drive, &answer, until)) && all
        })
    }
}

/// Waits for a drive's answer, unless it goes offline meanwhile.
fn await_answer(drive: &Drive, answer: &Receiver<()>, until: Instant) -> bool {
    /// How often to look whether it has.
    const TURN: Duration = Duration::from_millis(100);
    while drive.is_up() {
        let rest = until.saturating_duration_since(Instant::now());
        match answer.recv_timeout(rest.min(TURN)) {
            Err(RecvTimeoutError::Timeout) if !rest.is_zero() => {}
            answer => return answer.is_ok(),
        }
    }
    false
}

/// Puts a question into the drive's queue, and tries again while that is full.
fn ask(drive: &Drive, task: fn(SyncSender<()>) -> Task, until: Instant) -> Option<Receiver<()>> {
    let (done, answer) = sync_channel(1);
    let mut question = task(done);
    loop {
        match drive.tasks.try_send(question) {
            Ok(()) => return Some(answer),
            Err(TrySendError::Full(again)) if drive.is_up() && Instant::now() < until => {
                question = again;
            }
            Err(_) => return None,
        }
        thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Store {
    /// Ends the drives' threads as a crash would: without a checkpoint.
    fn drop(&mut self) {
        self.bays.iter().for_each(|bay| bay.load().abandon());
    }
}
