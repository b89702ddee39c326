//! The content on the drives.
//!
//! Each drive holds a preallocated file of 1 MiB slots (the slab), a table that says which block of
//! which object lies in which slot, and a log of the objects. All of it is indexed in memory; a
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
//! | `key`, `object`, `extents`, `catalog` | which objects there are, and which generation of each is current |
//! | `placement` | which drive a block goes to |
//! | `drive`, `slots`, `block` | what the request side sees of a drive: pins, queues, counters |
//! | `reader` | the threads that read |
//! | `keeper`, `inventory`, `s3fifo`, `free` | the thread that stores and evicts |
//! | `checkpoint` | how that gets onto the drive |
//! | `recover` | how it gets back |
//! | `meta`, `slot_record`, `object_record`, `object_log` | the formats |
//! | `status`, `listing` | what operators are told |
//! | `disk`, `fault`, `health` | input and output, and what happens when it fails |

mod block;
mod catalog;
mod checkpoint;
mod disk;
mod drive;
mod extents;
mod fault;
mod free;
mod health;
mod inventory;
mod keeper;
mod key;
mod listing;
mod meta;
mod object;
mod object_log;
mod object_record;
mod placement;
mod reader;
mod recover;
mod s3fifo;
mod slot_record;
mod slots;
mod status;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use thiserror::Error;

pub use block::{PinnedBlock, ReadError};
pub use fault::{Effect, Fault, Faults, Operation, Part};
pub use key::ObjectKey;
pub use listing::{Cursor, DriveShare, ListOrder, ListQuery, NoCursor, ObjectPage};
pub use meta::{DriveMeta, MetaError};
pub use object::{Object, ObjectMeta};
pub use object_record::{ObjectRecord, Scan, TooLong};
pub use slot_record::{SlotEntry, SlotRecord};
pub use status::{
    DriveCounts, DriveState, DriveStatus, ObjectSummary, Offline, Purged, Selector, StoreStatus,
};

use catalog::{Catalog, Published};
use drive::{Drive, Pin};
use keeper::Task;

/// Bytes in a block (1 MiB). The last block of an object is shorter.
///
/// Each block takes a slot of this size, however short it is. Slots of 64 KiB for short ones would
/// be a second slab beside this one, with its own table.
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
    /// Faults to meet, for tests.
    pub faults: Faults,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(5),
            readers: 4,
            write_queue: 256,
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

/// The content on all drives.
#[derive(Debug)]
pub struct Store {
    catalog: Catalog,
    /// One per `[[drive]]`, in the order of the configuration.
    bays: Vec<Bay>,
    /// Nothing is stored any more.
    closed: AtomicBool,
}

/// Where a drive belongs.
#[derive(Debug)]
enum Bay {
    Opened(Arc<Drive>),
    /// It could not be opened.
    Empty {
        path: PathBuf,
        offline: Offline,
    },
}

impl Bay {
    /// Its drive, if it is up.
    fn up(&self) -> Option<&Arc<Drive>> {
        match self {
            Self::Opened(drive) if drive.is_up() => Some(drive),
            _ => None,
        }
    }
}

impl Store {
    /// Opens all drives, each by itself, and reads what they hold: seconds for terabytes. Blocks
    /// the thread. Never fails as a whole; a drive that cannot be opened is offline, and
    /// [`Store::status`] says why.
    #[must_use]
    pub fn open(drives: &[mcc_config::Drive], options: &StoreOptions) -> Self {
        // Numbers rise over restarts even when the drive that had the highest is missing.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let catalog = Catalog::new(u64::try_from(since_1970.as_micros()).unwrap_or(1));
        let bays: Vec<Bay> = thread::scope(|scope| {
            let openings: Vec<_> = drives
                .iter()
                .enumerate()
                .map(|(index, drive)| {
                    let (path, size, catalog) = (&drive.path, drive.size.bytes(), &catalog);
                    let open = move || recover::open(index, path, size, catalog, options);
                    (path, scope.spawn(open))
                })
                .collect();
            openings.into_iter().map(|(path, opening)| bay(path, opening.join())).collect()
        });
        for drive in bays.iter().filter_map(Bay::up) {
            // Another drive may have had newer generations of what this one holds.
            drive.sweep.store(true, Ordering::Release);
            drive.tell(Task::Wake);
        }
        Self { catalog, bays, closed: AtomicBool::new(false) }
    }

    /// The current generation of `key`. Takes no lock.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.catalog.get(key)
    }

    /// Makes what the origin has just said about `key` its current generation. When the current one
    /// is certain to be about the same bytes ([`ObjectMeta::same_content`]), it stays and its
    /// freshness and headers are renewed. Otherwise a new generation takes its place, and the old
    /// one's blocks are freed.
    pub fn publish(&self, key: &ObjectKey, meta: &ObjectMeta) -> Arc<Object> {
        match self.catalog.publish(key, meta) {
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
        object.renew(meta);
        self.tell_all(|| Task::Renew(Arc::clone(object)));
    }

    /// Block `index` of `object`, if a drive has it: pinned, and counted as a hit. Takes no lock.
    #[must_use]
    pub fn block(&self, object: &Object, index: u32) -> Option<PinnedBlock> {
        let location = object.block_table().get(index)?;
        let drive = self.bays.get(location.drive())?.up()?;
        let pin = Pin::hit(drive, location.slot())?;
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
            let drive = self.bays.get(location.drive()).and_then(Bay::up);
            drive.is_some_and(|drive| drive.states.is_live(location.slot()))
        })
    }

    /// Whether any drive is up.
    #[must_use]
    pub fn has_drive(&self) -> bool {
        self.bays.iter().any(|bay| bay.up().is_some())
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
        let up = self.bays.iter().filter_map(Bay::up).map(|drive| (drive.candidate, drive));
        let extent = index / EXTENT_BLOCKS;
        let drive = placement::choose(object.key().stable_hash(), extent, up);
        let object = Arc::clone(object);
        drive.ok_or(NotStored::NoDrive)?.offer(Task::Store { object, index, data })
    }

    /// Removes objects. They are gone for every lookup when this returns; the drives forget them
    /// with their next checkpoint ([`Store::flush`] waits for it). A drive that is offline does not
    /// learn of it.
    pub fn purge(&self, selector: &Selector) -> Purged {
        let gone: Vec<Arc<Object>> = match selector {
            Selector::Url(key) => self.catalog.remove_one(key).into_iter().collect(),
            _ => self.catalog.remove(|key| selector.matches(key)),
        };
        let bytes = gone.iter().map(|object| object.stored_bytes()).sum();
        for object in &gone {
            self.tell_all(|| Task::Retire(Arc::clone(object)));
        }
        Purged { objects: gone.len() as u64, bytes }
    }

    /// Waits until everything written and purged so far is on the drives, or has failed to get
    /// there; at most a minute. Blocks the thread.
    pub fn flush(&self) {
        self.ask_all(Task::Flush);
    }

    /// The state of all drives.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let drives: Vec<DriveStatus> = self.bays.iter().map(Bay::status).collect();
        let up = || drives.iter().filter(|drive| drive.state == DriveState::Up);
        StoreStatus {
            objects: self.catalog.len() as u64,
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
        self.ask_all(Task::Close);
    }

    fn tell_all(&self, task: impl Fn() -> Task) {
        self.bays.iter().filter_map(Bay::up).for_each(|drive| drive.tell(task()));
    }

    /// Asks all drives at once, then waits for each answer. A keeper that has ended gives none, one
    /// that hangs is given up.
    fn ask_all(&self, task: fn(SyncSender<()>) -> Task) {
        let until = Instant::now() + PATIENCE;
        let up = self.bays.iter().filter_map(Bay::up);
        let asked: Vec<_> = up.filter_map(|drive| ask(drive, task, until)).collect();
        for answer in asked {
            let _ = answer.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// Puts a question into the drive's queue, and tries again while that is full.
fn ask(drive: &Drive, task: fn(SyncSender<()>) -> Task, until: Instant) -> Option<Receiver<()>> {
    let (done, answer) = sync_channel(1);
    let mut question = task(done);
    loop {
        match drive.tasks.try_send(question) {
            Ok(()) => return Some(answer),
            Err(TrySendError::Full(again)) if Instant::now() < until => question = again,
            Err(_) => return None,
        }
        thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Store {
    /// Ends the drives' threads as a crash would: without a checkpoint.
    fn drop(&mut self) {
        for bay in &self.bays {
            if let Bay::Opened(drive) = bay {
                drive.abandoned.store(true, Ordering::Release);
                drive.tell(Task::Wake);
            }
        }
    }
}

impl Bay {
    fn status(&self) -> DriveStatus {
        match self {
            Self::Opened(drive) => drive.status(),
            Self::Empty { path, offline } => DriveStatus {
                path: path.clone(),
                state: DriveState::Offline(offline.clone()),
                note: None,
                size: 0,
                used: 0,
                blocks: 0,
                counts: DriveCounts::default(),
            },
        }
    }
}

/// What has become of the opening of a drive.
fn bay(
    path: &std::path::Path,
    opened: thread::Result<Result<Arc<Drive>, recover::OpenError>>,
) -> Bay {
    let offline = match opened {
        Ok(Ok(drive)) => return Bay::Opened(drive),
        Ok(Err(error)) => error.offline(),
        Err(_) => Offline {
            reason: "a defect of this program: opening it panicked".to_owned(),
            action: "report the panic message in the log".to_owned(),
        },
    };
    let drive = path.display();
    tracing::error!(%drive, reason = offline.reason, action = offline.action, "drive is offline");
    Bay::Empty { path: path.to_owned(), offline }
}
