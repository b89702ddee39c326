//! What a drive's keeper, its readers and the request side share. Nothing here waits.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::NotStored;
use super::damage::DamageLog;
use super::disk::{Disk, DiskFile, InMemory};
use super::health::{ERRORS, ErrorWindow, Verdict, WINDOW};
use super::keeper::Task;
use super::layout::SlotLayout;
use super::ledger::Ledger;
use super::placement::Candidate;
use super::reader::Readers;
use super::scrub::Scrub;
use super::slot_record::{SLOT_RECORD, SlotEntry};
use super::slots::SlotStates;
use super::status::{DriveCounts, DriveState, DriveStatus, Offline};
use super::unrecorded::Unrecorded;

/// A drive that was opened. It may have gone offline since.
pub(super) struct Drive {
    pub(super) index: u8,
    pub(super) disk: Disk,
    pub(super) candidate: Candidate,
    pub(super) layout: SlotLayout,
    pub(super) slab: DiskFile,
    pub(super) table: DiskFile,
    pub(super) states: SlotStates,
    pub(super) unrecorded: Unrecorded,
    pub(super) counts: Counts,
    pub(super) note: Option<String>,
    pub(super) readers: Readers,
    /// To the keeper. Full: blocks are refused, all else is found by a sweep.
    pub(super) tasks: SyncSender<Task>,
    /// The keeper has missed a message and is to look at everything it holds.
    pub(super) sweep: AtomicBool,
    /// Drives of the store that have joined: with each more the keeper is to look as well.
    pub(super) joined: Arc<AtomicU64>,
    /// The store is gone: the keeper ends without a checkpoint.
    pub(super) abandoned: AtomicBool,
    pub(super) offline: OnceLock<Offline>,
    /// Cancelled when it goes offline: whoever waits for it need not wait any longer.
    pub(super) gone: CancellationToken,
    /// It went offline by its own fault, and is not used again after a restart.
    pub(super) given_up: AtomicBool,
    /// It is offline, and its keeper has let go of its folder and of all that it held.
    pub(super) let_go: AtomicBool,
    pub(super) errors: Mutex<ErrorWindow>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) scrub: Scrub,
    pub(super) damage: DamageLog,
    /// The thread that looks after it.
    pub(super) carer: OnceLock<Thread>,
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
    pub(super) hung: AtomicU64,
    pub(super) pinned: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) records_dropped: AtomicU64,
    pub(super) records_lost: AtomicU64,
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

    /// What the slot table has about `slot`.
    pub(super) fn look_up(&self, slot: u32) -> io::Result<SlotEntry> {
        let mut bytes = [0; SLOT_RECORD];
        self.table.read(&mut bytes, u64::from(slot) * SLOT_RECORD as u64)?;
        Ok(SlotEntry::decode(&bytes, slot))
    }

    /// How many blocks of full size it has room for.
    pub(super) fn slots(&self) -> u64 {
        u64::from(self.candidate.weight)
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

    /// Drops the block in `slot`, which cannot be read: nobody tries it any more from now on. False when somebody else
    /// has found that out.
    pub(super) fn drop_block(&self, slot: u32) -> bool {
        let is_first = self.states.condemn(slot);
        self.tell(Task::Dropped(slot));
        is_first
    }

    /// Drops the block in `slot`, which is not what was stored there, and takes note of it once.
    pub(super) fn drop_corrupt(&self, slot: u32, doing: &str) {
        if self.drop_block(slot) {
            count(&self.counts.corrupt);
            self.damage.block();
            let drive = self.disk.path().display();
            tracing::warn!(%drive, slot, doing, "checksum wrong, block dropped");
        }
    }

    /// Takes note of a failed operation; too many take the drive offline. A file system without space
    /// is no fault of the drive: what it holds is well, and it tries again.
    pub(super) fn failed(&self, doing: &str, error: &io::Error) {
        if !self.is_up() {
            return;
        }
        count(&self.counts.errors);
        let drive = self.disk.path().display();
        tracing::warn!(%drive, %error, doing, "drive error");
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.note(error, Instant::now()) == Verdict::TooMany {
            let window = WINDOW.as_secs();
            self.give_up(format!(
                "{ERRORS} errors within {window} s, the last when {doing}: {error}"
            ));
        }
    }

    /// An operation on it does not come back.
    pub(super) fn hangs(&self, reason: String) {
        count(&self.counts.hung);
        self.give_up(reason);
    }

    /// Ends the drive's part in the store because it is bad: a restart of the node does not use it
    /// again, until an operator says so, it was replaced, or the machine was rebooted.
    fn give_up(&self, reason: String) {
        self.given_up.store(true, Ordering::Release);
        self.take_offline(Offline::new(reason, advice(self.disk.path())));
    }

    /// Ends the drive's part in the store. The keeper gives up what it holds.
    pub(super) fn take_offline(&self, offline: Offline) {
        let offline = self.offline.get_or_init(|| offline);
        let drive = self.disk.path().display();
        tracing::error!(%drive, reason = offline.reason, "drive is offline");
        self.gone.cancel();
        self.tell(Task::Wake);
        if let Some(carer) = self.carer.get() {
            carer.unpark();
        }
    }

    /// Closes its files: what is offline may be unmounted, whoever still has blocks of it pinned.
    pub(super) fn close_files(&self) {
        self.slab.close();
        self.table.close();
        self.scrub.close_file();
    }

    /// What an operator should know although it is up.
    fn note(&self) -> Option<String> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let full = errors.is_without_space(Instant::now()).then(|| {
            "its file system is full: what is new on the drive does not outlive a restart; free \
             space on it"
                .to_owned()
        });
        let notes: Vec<String> = self.note.iter().cloned().chain(full).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    pub(super) fn status(&self) -> DriveStatus {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        DriveStatus {
            path: self.disk.path().to_owned(),
            state: self.offline.get().map_or(DriveState::Up, |o| DriveState::Offline(o.clone())),
            note: self.note(),
            damage: self.damage.status(self.disk.path()),
            size: self.layout.bytes(),
            used: get(&counts.used),
            blocks: get(&counts.blocks),
            pinned: get(&counts.pinned),
            scrub: self.scrub.status(self.states.len()),
            counts: DriveCounts {
                written: get(&counts.written),
                evicted: get(&counts.evicted),
                refused: get(&counts.refused),
                errors: get(&counts.errors),
                slow: self.disk.watch().slow(),
                hung: get(&counts.hung),
                corrupt: get(&counts.corrupt),
                records_dropped: get(&counts.records_dropped),
                records_lost: get(&counts.records_lost),
                checkpoints: get(&counts.checkpoints),
            },
        }
    }
}

/// What to do about the drive in `path`, which was given up.
pub(super) fn advice(path: &std::path::Path) -> String {
    let path = path.display();
    format!(
        "look at `dmesg` and the drive's SMART values; when it is well and mounted, `mcc cache online \
         {path}`; a replaced drive is taken at a restart of the node, too, and any after a reboot"
    )
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

    /// Pins `slot` without counting a hit; `None` when it holds no block.
    pub(super) fn quiet(drive: &Arc<Drive>, slot: u32) -> Option<Self> {
        drive.states.pin_quietly(slot).then(|| Self { drive: Arc::clone(drive), slot })
    }

    /// One more pin on the same slot; `None` when its block was found to be damaged.
    pub(super) fn again(&self) -> Option<Self> {
        let drive = Arc::clone(&self.drive);
        drive.states.pin_again(self.slot).then_some(Self { drive, slot: self.slot })
    }
}

impl Pin {
    /// Whether memory has `range` of the block, and it is sound.
    pub(super) fn is_at_hand(&self, range: &Range<u32>) -> bool {
        let (drive, slot) = (&self.drive, self.slot);
        let (offset, length) = (drive.offset(slot) + u64::from(range.start), range.len() as u64);
        // In this order: what memory has may have come just now, and be compared only later.
        drive.slab.is_cached(offset, length) && drive.states.is_sound(slot)
    }

    /// Fills `buffer` from the byte `start` of the block, if memory has it and it is sound.
    pub(super) fn read_cached(&self, buffer: &mut [u8], start: u32) -> bool {
        let (drive, slot) = (&self.drive, self.slot);
        match drive.slab.read_cached(buffer, drive.offset(slot) + u64::from(start)) {
            // In this order, as above.
            InMemory::Read => drive.states.is_sound(slot),
            InMemory::Missing => false,
            InMemory::LetGo => {
                drive.states.doubt(slot);
                false
            }
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.drive.states.unpin(self.slot);
    }
}
