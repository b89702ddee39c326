//! What a drive's keeper, its readers and the request side share. Nothing here waits.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::NotStored;
use super::disk::{Disk, DiskFile};
use super::health::{ERRORS, ErrorWindow, WINDOW};
use super::keeper::Task;
use super::layout::SlotLayout;
use super::placement::Candidate;
use super::reader::Readers;
use super::slots::SlotStates;
use super::status::{DriveCounts, DriveState, DriveStatus, Offline};

/// A drive that was opened. It may have gone offline since.
pub(super) struct Drive {
    pub(super) index: u8,
    pub(super) disk: Disk,
    pub(super) candidate: Candidate,
    pub(super) layout: SlotLayout,
    pub(super) slab: DiskFile,
    pub(super) table: DiskFile,
    pub(super) states: SlotStates,
    pub(super) counts: Counts,
    pub(super) note: Option<String>,
    pub(super) readers: Readers,
    /// To the keeper. Full: blocks are refused, all else is found by a sweep.
    pub(super) tasks: SyncSender<Task>,
    /// The keeper has missed a message and is to look at everything it holds.
    pub(super) sweep: AtomicBool,
    /// The store is gone: the keeper ends without a checkpoint.
    pub(super) abandoned: AtomicBool,
    pub(super) offline: OnceLock<Offline>,
    pub(super) errors: Mutex<ErrorWindow>,
}

/// [`DriveCounts`] in the making, and what the drive holds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) used: AtomicU64,
    pub(super) blocks: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) records_dropped: AtomicU64,
    pub(super) checkpoints: AtomicU64,
}

impl Counts {
    /// A block of `bytes` bytes lies on the drive.
    pub(super) fn took(&self, bytes: u32) {
        self.used.fetch_add(u64::from(bytes), Ordering::Relaxed);
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    /// It is gone.
    pub(super) fn gave(&self, bytes: u32) {
        self.used.fetch_sub(u64::from(bytes), Ordering::Relaxed);
        self.blocks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Drive {
    pub(super) fn is_up(&self) -> bool {
        self.offline.get().is_none()
    }

    /// Where `slot` begins in the slab.
    pub(super) fn offset(&self, slot: u32) -> u64 {
        self.layout.offset(slot)
    }

    /// Hands a block to the keeper, or refuses it.
    pub(super) fn offer(&self, task: Task) -> Result<(), NotStored> {
        self.tasks.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => {
                count(&self.counts.refused);
                NotStored::Busy
            }
            TrySendError::Disconnected(_) => NotStored::NoDrive,
        })
    }

    /// Tells the keeper something that it could also find out by a sweep.
    pub(super) fn tell(&self, task: Task) {
        if let Err(TrySendError::Full(_)) = self.tasks.try_send(task) {
            self.sweep.store(true, Ordering::Release);
        }
    }

    /// Drops the block in `slot`, which is damaged: nobody reads it any more from now on.
    pub(super) fn drop_block(&self, slot: u32) {
        self.states.condemn(slot);
        self.tell(Task::Dropped(slot));
    }

    /// Takes note of a failed operation; too many take the drive offline.
    pub(super) fn failed(&self, doing: &str, error: &io::Error) {
        count(&self.counts.errors);
        if !self.is_up() {
            return;
        }
        let drive = self.disk.path().display();
        tracing::warn!(%drive, %error, doing, "drive error");
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.note(Instant::now()) {
            let window = WINDOW.as_secs();
            self.take_offline(Offline {
                reason: format!(
                    "{ERRORS} errors within {window} s, the last when {doing}: {error}"
                ),
                action: "look at `dmesg` and the drive's SMART values; when it is repaired or \
                         replaced, and mounted, restart the node"
                    .to_owned(),
            });
        }
    }

    /// Ends the drive's part in the store. The keeper gives up what it holds.
    pub(super) fn take_offline(&self, offline: Offline) {
        let offline = self.offline.get_or_init(|| offline);
        let drive = self.disk.path().display();
        tracing::error!(%drive, reason = offline.reason, "drive is offline");
        self.tell(Task::Wake);
    }

    pub(super) fn status(&self) -> DriveStatus {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        DriveStatus {
            path: self.disk.path().to_owned(),
            state: self.offline.get().map_or(DriveState::Up, |o| DriveState::Offline(o.clone())),
            note: self.note.clone(),
            size: self.layout.bytes(),
            used: get(&counts.used),
            blocks: get(&counts.blocks),
            counts: DriveCounts {
                written: get(&counts.written),
                evicted: get(&counts.evicted),
                refused: get(&counts.refused),
                errors: get(&counts.errors),
                corrupt: get(&counts.corrupt),
                records_dropped: get(&counts.records_dropped),
                checkpoints: get(&counts.checkpoints),
            },
        }
    }
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive").field("path", &self.disk.path()).finish_non_exhaustive()
    }
}

/// A slot that cannot be refilled while this value lives.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) drive: Arc<Drive>,
    pub(super) slot: u32,
}

impl Pin {
    /// Pins `slot` and counts a hit; `None` when it holds no block.
    pub(super) fn hit(drive: &Arc<Drive>, slot: u32) -> Option<Self> {
        drive.states.pin(slot).then(|| Self { drive: Arc::clone(drive), slot })
    }

    /// One more pin on the same slot; `None` when its block was found to be damaged.
    pub(super) fn again(&self) -> Option<Self> {
        let drive = Arc::clone(&self.drive);
        drive.states.pin_again(self.slot).then_some(Self { drive, slot: self.slot })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.drive.states.unpin(self.slot);
    }
}
