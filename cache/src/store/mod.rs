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
//! | `operate`, `ask` | what they have it do, and how all drives are waited for |
//! | `options`, `refusal` | how it works, and why it does not do something |
//! | `disk`, `fault` | input and output |
//! | `residency` | what memory has of a file |
//! | `watch`, `care`, `health` | what happens when that fails, or never comes back |
//! | `admission`, `mounts`, `ledger` | which drives are used at all, and what is remembered beside them |
//! | `scrub`, `pace`, `verify`, `damage` | looking for damage, and what is told of it |
//! | `ageing` | what goes first because nobody asks for it |

mod admission;
mod ageing;
mod ask;
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
mod in_hand;
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
mod operate;
mod options;
mod owners;
mod pace;
mod packed_meta;
mod placement;
mod reader;
mod recover;
mod refusal;
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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;

pub use block::{Loading, PinnedBlock, ReadError};
pub use fault::{Effect, Fault, Faults, Operation, Part};
pub use key::ObjectKey;
pub use layout::{Class, SMALL_SLOT, SlotLayout};
pub use listing::{Cursor, DriveShare, ListOrder, ListQuery, NoCursor, ObjectPage};
pub use meta::{DriveMeta, MetaError};
pub use object::{Object, ObjectMeta};
pub use object_record::{ObjectRecord, Scan, TooLong};
pub use options::StoreOptions;
pub use refusal::{NotStored, OnlineError, TooManyPins, VerifyError};
pub use slot_record::{SlotEntry, SlotRecord};
pub use status::{
    DamageFound, DriveCounts, DriveState, DriveStatus, ObjectSummary, Offline, Opening,
    PinnedObject, Purged, ScrubStatus, Selector, StoreStatus,
};
pub use verify::{Damage, DriveVerifyProgress, Verification, VerifyProgress};

use ask::ask_all;
use bay::{Bay, Shared};
use catalog::Published;
use drive::{Drive, Pin};
use keeper::Task;
use ledger::Ledger;

use crate::time::hour;

/// Bytes in a block (1 MiB). The last block of an object is shorter.
pub const BLOCK: u32 = 1 << 20;

/// Blocks in an extent (64 MiB), the unit that drives are chosen for.
pub const EXTENT_BLOCKS: u32 = 64;

/// Longest object that is stored, in bytes (1 TiB). Longer ones are passed through.
pub const MAX_LENGTH: u64 = 1 << 40;

/// Most bytes to read at once (256 KiB): the size of the buffers that are kept.
pub const READ_WINDOW: u32 = 256 << 10;

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

    fn uuids_up(&self) -> Vec<u128> {
        self.up().map(|drive| drive.candidate.uuid).collect()
    }

    /// Waits until everything written and purged so far is on the drives that are up, or has failed to
    /// get there; at most a minute. Blocks the thread. True when it is there: it outlives a crash.
    pub fn flush(&self) -> bool {
        ask_all(&self.bays, Task::Flush)
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
        ask_all(&self.bays, Task::Close);
        self.shared.ledger.caught_up(&up);
    }

    fn tell_all(&self, task: impl Fn() -> Task) {
        self.up().for_each(|drive| drive.tell(task()));
    }

    /// The drives that are up.
    fn up(&self) -> impl Iterator<Item = Arc<Drive>> {
        self.bays.iter().filter_map(|bay| bay.load().up().cloned())
    }
}

impl Drop for Store {
    /// Ends the drives' threads as a crash would: without a checkpoint.
    fn drop(&mut self) {
        self.bays.iter().for_each(|bay| bay.load().abandon());
    }
}
