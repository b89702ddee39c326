//! The scrubber: a thread for each drive that reads every block and compares it with its checksum, so
//! that damage is found before a client asks for it. By itself it goes slowly, and more slowly still
//! while the drive has other work; when an operator asks for it, it goes over everything at once.
//!
//! It reads past the page cache where the file system can do that: what counts is what the drive has,
//! and what clients ask for stays in memory.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::BLOCK;
use super::ask::ask_one;
use super::disk::DiskFile;
use super::drive::{Drive, Pin, count};
use super::fault::Part;
use super::keeper::Task;
use super::key::ObjectKey;
use super::ledger::ScrubMark;
use super::pace::Pace;
use super::slot_record::SlotEntry;
use super::status::ScrubStatus;
use super::verify::{DriveRun, Verification};
use crate::time::unix_now;

/// A pass by itself begins at most once in this time: small drives would be read without end.
const BETWEEN_PASSES: Duration = Duration::from_secs(24 * 3600);
/// How often the place is written down.
const BETWEEN_MARKS: Duration = Duration::from_secs(300);
/// After this time it looks whether the drive is still there.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long the keeper may take to say what comes next.
const PATIENCE: Duration = Duration::from_secs(10);
/// What reads past the page cache must be aligned to.
const ALIGN: usize = 4096;

/// What others see of the scrubber of a drive.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    next_slot: AtomicU32,
    /// 0: never.
    last_pass: AtomicU64,
    checked: AtomicU64,
    order: Mutex<Option<(Verification, Arc<DriveRun>)>>,
    thread: OnceLock<Thread>,
    /// The slab, past the page cache; none where that cannot be.
    direct: OnceLock<DiskFile>,
}

/// The next block to look at, as the keeper knows it.
pub(super) struct Next {
    pub(super) pin: Pin,
    pub(super) key: ObjectKey,
    pub(super) number: u64,
    pub(super) block: u32,
    pub(super) length: u32,
}

impl Scrub {
    /// Goes on where it was before the restart.
    pub(super) fn resume(mark: ScrubMark) -> Self {
        Self {
            next_slot: mark.slot.into(),
            last_pass: mark.last_pass.unwrap_or(0).into(),
            ..Self::default()
        }
    }

    pub(super) fn status(&self, slots: u32) -> ScrubStatus {
        let percent =
            u64::from(self.next_slot.load(Ordering::Relaxed)) * 100 / u64::from(slots.max(1));
        ScrubStatus {
            percent: u8::try_from(percent.min(100)).unwrap_or(100),
            last_pass: Some(self.last_pass.load(Ordering::Relaxed)).filter(|at| *at > 0),
            checked: self.checked.load(Ordering::Relaxed),
        }
    }

    /// Has the whole drive gone over at once.
    pub(super) fn order(&self, verification: Verification, run: Arc<DriveRun>) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Some((verification, run));
        self.wake();
    }

    /// The store is gone: the thread has nothing to wait for.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// The drive has gone offline.
    pub(super) fn close_file(&self) {
        if let Some(direct) = self.direct.get() {
            direct.close();
        }
        self.wake();
    }

    fn take_order(&self) -> Option<(Verification, Arc<DriveRun>)> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn mark(&self) -> ScrubMark {
        let last_pass = self.last_pass.load(Ordering::Relaxed);
        ScrubMark {
            slot: self.next_slot.load(Ordering::Relaxed),
            last_pass: Some(last_pass).filter(|at| *at > 0),
        }
    }

    fn pass_ended(&self) {
        self.next_slot.store(0, Ordering::Relaxed);
        self.last_pass.store(unix_now(), Ordering::Relaxed);
    }
}

/// Starts the thread. `rate` is in bytes per second; 0: only when an operator asks for it.
pub(super) fn start(drive: &Arc<Drive>, rate: u64) -> io::Result<()> {
    let now = Instant::now();
    let mark = drive.scrub.mark();
    // By the wall clock, which may be anywhere: never longer than the whole time between two passes.
    let since = mark.last_pass.map_or(u64::MAX, |last| unix_now().saturating_sub(last));
    let rest = match mark.slot {
        0 => BETWEEN_PASSES.saturating_sub(Duration::from_secs(since)),
        _ => Duration::ZERO,
    };
    if let Ok(direct) = drive.disk.open_direct(Part::Slab) {
        direct.expect_random_reads();
        let _ = drive.scrub.direct.set(direct);
    }
    let scrubber = Scrubber {
        drive: Arc::downgrade(drive),
        is_direct: true,
        is_checking: false,
        buffer: Vec::new(),
        pace: Pace::new(rate, now),
        rest_until: now + rest,
        marked: now,
    };
    let name = format!("mcc-scrub-{}", drive.index);
    let started = thread::Builder::new().name(name).spawn(move || scrubber.run())?;
    let _ = drive.scrub.thread.set(started.thread().clone());
    Ok(())
}

/// The thread's state.
struct Scrubber {
    drive: Weak<Drive>,
    /// Whether it has not been found out that the file system cannot read past the page cache.
    is_direct: bool,
    /// The block in hand may come into memory: it is not to be sent from there before it was compared.
    is_checking: bool,
    buffer: Vec<u8>,
    pace: Pace,
    rest_until: Instant,
    marked: Instant,
}

/// What became of looking at a block.
enum Checked {
    Sound,
    Mismatch,
    Failed(io::Error),
}

impl Scrubber {
    fn run(mut self) {
        while let Some(drive) = self.drive.upgrade() {
            if !drive.is_up() || drive.abandoned.load(Ordering::Acquire) {
                return;
            }
            let wait = match drive.scrub.take_order() {
                Some((verification, run)) => {
                    self.verify(&drive, &verification, &run);
                    Duration::ZERO
                }
                None => self.step(&drive),
            };
            drop(drive);
            if !wait.is_zero() {
                thread::park_timeout(wait.min(LONGEST_WAIT));
            }
        }
    }

    /// Looks at the next block, if it is time. Returns how long to wait.
    fn step(&mut self, drive: &Arc<Drive>) -> Duration {
        let now = Instant::now();
        let rest = self.rest_until.saturating_duration_since(now);
        if !rest.is_zero() {
            return rest;
        }
        if let Err(wait) = self.pace.may_go(drive.disk.watch().busy() > 0, now) {
            return wait;
        }
        let from = drive.scrub.next_slot.load(Ordering::Relaxed);
        if from == 0 {
            drive.damage.pass_begins();
        }
        match next(drive, from) {
            Ok(Some(block)) => {
                let (slot, length) = (block.pin.slot, block.length);
                self.check(drive, &block, None);
                drive.scrub.next_slot.store(slot + 1, Ordering::Relaxed);
                self.pace.spent(u64::from(length), now);
            }
            Ok(None) => {
                drive.damage.pass_ends();
                drive.scrub.pass_ended();
                self.rest_until = now + BETWEEN_PASSES;
                self.write_mark(drive, now);
            }
            Err(Unanswered) => return Duration::from_secs(1),
        }
        if now.saturating_duration_since(self.marked) >= BETWEEN_MARKS {
            self.write_mark(drive, now);
        }
        Duration::ZERO
    }

    fn write_mark(&mut self, drive: &Drive, now: Instant) {
        self.marked = now;
        drive.ledger.scrubbed(drive.candidate.uuid, drive.scrub.mark());
    }

    /// Goes over the whole drive at once.
    fn verify(&mut self, drive: &Arc<Drive>, verification: &Verification, run: &Arc<DriveRun>) {
        // What was written just now is compared as well: the table has to know it.
        ask_one(drive, Task::Flush);
        let mut slot = 0;
        drive.damage.pass_begins();
        while drive.is_up() && !verification.is_cancelled() {
            if drive.abandoned.load(Ordering::Acquire) {
                return run.end();
            }
            match next(drive, slot) {
                Ok(Some(block)) => {
                    slot = block.pin.slot + 1;
                    self.check(drive, &block, Some(run));
                }
                Ok(None) => {
                    drive.damage.pass_ends();
                    drive.scrub.pass_ended();
                    self.rest_until = Instant::now() + BETWEEN_PASSES;
                    self.write_mark(drive, Instant::now());
                    break;
                }
                // It has much to do: as often as it takes.
                Err(Unanswered) => thread::sleep(Duration::from_millis(10)),
            }
        }
        run.end();
    }

    /// Compares a block with its checksum, and drops it if they differ.
    fn check(&mut self, drive: &Arc<Drive>, block: &Next, run: Option<&DriveRun>) {
        let mut checked = self.compare(drive, block);
        if matches!(checked, Checked::Mismatch) {
            // Its record may have been rewritten just now. What is wrong twice is wrong.
            checked = self.compare(drive, block);
        }
        let slot = block.pin.slot;
        count(&drive.scrub.checked);
        if let Some(run) = run {
            run.note_done();
        }
        self.conclude(drive, block, checked, run);
        if std::mem::take(&mut self.is_checking) {
            drive.states.end_check(slot);
        }
    }

    fn conclude(&self, drive: &Drive, block: &Next, checked: Checked, run: Option<&DriveRun>) {
        let slot = block.pin.slot;
        // An evicted block is no longer what its record says.
        if !drive.states.is_live(slot) {
            let is_sound = matches!(checked, Checked::Sound);
            if self.is_checking && !is_sound && !self.reads_past_memory(drive) {
                drive.states.condemn(slot);
            }
            return;
        }
        match checked {
            // What memory has of the block was not looked at.
            Checked::Sound if self.reads_past_memory(drive) => {}
            Checked::Sound => drive.states.trust(slot),
            Checked::Mismatch => {
                drive.drop_corrupt(slot, "scrubbing");
                if let Some(run) = run {
                    run.note_mismatch(&block.key, block.block);
                }
            }
            Checked::Failed(error) => {
                drive.drop_block(slot);
                drive.failed("scrubbing", &error);
                if let Some(run) = run {
                    run.note_error(&block.key, block.block);
                }
            }
        }
    }

    fn reads_past_memory(&self, drive: &Drive) -> bool {
        self.is_direct && drive.scrub.direct.get().is_some()
    }

    fn compare(&mut self, drive: &Drive, block: &Next) -> Checked {
        let slot = block.pin.slot;
        let record = match drive.look_up(slot) {
            Ok(SlotEntry::Block(record)) => record,
            Ok(SlotEntry::Empty | SlotEntry::Damaged) => return Checked::Mismatch,
            Err(error) => return Checked::Failed(error),
        };
        let crc = match self.read(drive, slot, block.length as usize) {
            Ok(bytes) => crc32c::crc32c(bytes),
            Err(error) => return Checked::Failed(error),
        };
        let wanted = (block.number, block.block, block.length, crc);
        match wanted == (record.number, record.block, record.length, record.crc) {
            true => Checked::Sound,
            false => Checked::Mismatch,
        }
    }

    /// The block's bytes.
    fn read(&mut self, drive: &Drive, slot: u32, length: usize) -> io::Result<&[u8]> {
        let offset = drive.offset(slot);
        self.buffer.resize(BLOCK as usize + ALIGN, 0);
        let start = self.buffer.as_ptr().align_offset(ALIGN);
        // In memory it comes even so on some file systems.
        if !self.is_checking && !drive.slab.is_cached(offset, length as u64) {
            self.is_checking = true;
            drive.states.begin_check(slot);
        }
        if let Some(direct) = drive.scrub.direct.get().filter(|_| self.is_direct) {
            // A slot is a multiple of this: it ends no sooner.
            let whole = start..start + length.next_multiple_of(ALIGN);
            let place = self.buffer.get_mut(whole).unwrap_or_default();
            match direct.read(place, offset) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    self.is_direct = false;
                }
                result => {
                    result?;
                    let bytes = self.buffer.get(start..start + length);
                    return Ok(bytes.unwrap_or_default());
                }
            }
        }
        let place = self.buffer.get_mut(start..start + length).unwrap_or_default();
        drive.slab.read(place, offset)?;
        if drive.states.hits(slot) == 0 {
            drive.slab.forget_pages(offset, length as u64);
        }
        Ok(place)
    }
}

/// The keeper has other things to do.
struct Unanswered;

/// Asks the keeper for the first block in `from` or a later slot. Those that the slot table does not
/// know yet are left out. `None`: there is none.
fn next(drive: &Drive, from: u32) -> Result<Option<Next>, Unanswered> {
    let (reply, answer) = sync_channel(1);
    match drive.tasks.try_send(Task::Next { from, reply }) {
        Ok(()) => {}
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(Unanswered),
    }
    answer.recv_timeout(PATIENCE).map_err(|error| match error {
        RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected => Unanswered,
    })
}
