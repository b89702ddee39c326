//! Checkpoints: how what the keeper did becomes what a restart finds.
//!
//! 1. The slab is synced: every block written before now is on the drive.
//! 2. The objects' log entries and the slot records are written, then synced.
//! 3. Slots whose emptiness has thus been persisted are free again.
//!
//! So a record never precedes its block, and a slot is never refilled while the drive still has a
//! record of what was in it. Syncs take their time on a thread of their own; the keeper goes on
//! storing meanwhile, and what it does then belongs to the next checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{mem, thread};

use super::disk::{DiskFile, is_full};
use super::drive::count;
use super::fault::Part;
use super::keeper::{Keeper, Task};
use super::layout::{Class, PerClass, SlotLayout};
use super::meta::DriveMeta;
use super::object::Object;
use super::object_log::ObjectLog;
use super::object_record::ObjectRecord;
use super::slot_record::{SLOT_RECORD, SlotEntry, SlotRecord};

/// How often the oldest quarter of the objects is given up before a checkpoint fails for want of space.
const SHRINKINGS: usize = 8;

/// What the slot table does not know yet about a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It holds this block.
    Filled(SlotRecord),
    /// It holds nothing, and cannot be refilled until the table knows.
    Emptied,
}

/// What the next checkpoint is to persist, and the one under way.
pub(super) struct Checkpoint {
    pub(super) meta: DriveMeta,
    pub(super) log: ObjectLog,
    /// By slot, so that the table is written in order.
    pub(super) changes: BTreeMap<u32, Change>,
    /// Numbers of objects whose entry is missing in the log or outdated.
    pub(super) unlogged: BTreeSet<u64>,
    layout: SlotLayout,
    /// Emptied slots that are not free yet: in `changes`, under way, or still pinned.
    emptied: PerClass<u32>,
    /// Slots that are empty on the drive but still pinned.
    pinned: PerClass<Vec<u32>>,
    /// Who waits for the next checkpoint.
    pub(super) waiters: Vec<SyncSender<()>>,
    under_way: Option<UnderWay>,
    last: Instant,
    syncer: Syncer,
}

/// A checkpoint that waits for a sync.
struct UnderWay {
    stage: Stage,
    changes: BTreeMap<u32, Change>,
    /// Numbers of objects whose log entries are written, but not synced yet.
    logged: BTreeSet<u64>,
    waiters: Vec<SyncSender<()>>,
}

/// What is being synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Blocks,
    Records,
}

impl Checkpoint {
    pub(super) fn new(meta: DriveMeta, log: ObjectLog, syncer: Syncer) -> Self {
        Self {
            layout: SlotLayout::new(meta.mebibytes, meta.plain),
            meta,
            log,
            changes: BTreeMap::new(),
            unlogged: BTreeSet::new(),
            emptied: PerClass::default(),
            pinned: PerClass::default(),
            waiters: Vec::new(),
            under_way: None,
            last: Instant::now(),
            syncer,
        }
    }

    /// `slot` holds nothing any more.
    pub(super) fn empty(&mut self, slot: u32) {
        self.changes.insert(slot, Change::Emptied);
        *self.emptied.of_mut(self.layout.rank(slot).0) += 1;
    }

    /// Emptied slots of `class` that are not free yet.
    pub(super) fn emptied(&self, class: Class) -> u32 {
        *self.emptied.of(class)
    }

    /// Whether the slot table is yet to be told about `slot`.
    pub(super) fn is_pending(&self, slot: u32) -> bool {
        let under_way = self.under_way.as_ref();
        self.changes.contains_key(&slot)
            || under_way.is_some_and(|under_way| under_way.changes.contains_key(&slot))
    }

    /// Whether there are emptied slots of `class` that a new checkpoint would set free.
    pub(super) fn has_emptied(&self, class: Class) -> bool {
        let pinned = self.pinned.of(class).len();
        self.under_way.is_none() && self.emptied(class) as usize > pinned
    }

    /// Whether there is anything to persist.
    pub(super) fn has_work(&self) -> bool {
        !self.changes.is_empty() || !self.unlogged.is_empty()
    }

    /// What the checkpoint under way waits for.
    #[cfg(test)]
    pub(super) fn stage(&self) -> Option<Stage> {
        self.under_way.as_ref().map(|under_way| under_way.stage)
    }

    /// Whether to begin one now.
    pub(super) fn is_due(&self, interval: Duration, now: Instant) -> bool {
        let time = now.saturating_duration_since(self.last) >= interval;
        self.under_way.is_none() && (!self.waiters.is_empty() || (time && self.has_work()))
    }

    /// How long the keeper may wait for a message. The end of a sync is a message too.
    pub(super) fn wait(&self, interval: Duration) -> Duration {
        match self.under_way.is_none() && self.has_work() {
            true => interval.saturating_sub(self.last.elapsed()),
            false => interval,
        }
    }
}

impl Keeper {
    /// Begins a checkpoint, unless one is under way.
    pub(super) fn begin_checkpoint(&mut self) {
        let checkpoint = &mut self.checkpoint;
        if checkpoint.under_way.is_some() {
            return;
        }
        checkpoint.last = Instant::now();
        let changes = mem::take(&mut checkpoint.changes);
        let waiters = mem::take(&mut checkpoint.waiters);
        if changes.is_empty() && checkpoint.unlogged.is_empty() {
            return tell(&waiters);
        }
        let has_blocks = changes.values().any(|change| matches!(change, Change::Filled(_)));
        checkpoint.under_way =
            Some(UnderWay { stage: Stage::Blocks, changes, logged: BTreeSet::new(), waiters });
        match has_blocks {
            true => self.checkpoint.syncer.start(vec![self.drive.slab.clone()]),
            false => self.write_records(),
        }
    }

    /// Takes the checkpoint under way one step on, if its sync has ended.
    pub(super) fn step_checkpoint(&mut self) {
        self.free_unpinned();
        if self.checkpoint.under_way.is_some()
            && let Ok(synced) = self.checkpoint.syncer.done.try_recv()
        {
            self.synced(synced);
        }
    }

    /// Waits for the checkpoint under way to end.
    pub(super) fn finish_checkpoint(&mut self) {
        while self.checkpoint.under_way.is_some() {
            let synced = self.checkpoint.syncer.done.recv();
            self.synced(synced.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())));
        }
        self.free_unpinned();
    }

    fn synced(&mut self, result: io::Result<()>) {
        match (self.checkpoint.under_way.as_ref().map(|under_way| under_way.stage), result) {
            (None, _) => {}
            (Some(Stage::Blocks), Ok(())) => self.write_records(),
            (Some(Stage::Blocks), Err(error)) => {
                self.drive.failed("syncing blocks", &error);
                self.lose_blocks();
            }
            (Some(Stage::Records), Ok(())) => self.complete(),
            (Some(Stage::Records), Err(error)) => {
                self.drive.failed("syncing records", &error);
                self.try_again_later();
            }
        }
    }

    /// The blocks are on the drive: now the records may follow.
    fn write_records(&mut self) {
        self.keep_what_is_read();
        if let Err(error) = self.write_log().and_then(|()| self.write_table()) {
            self.drive.failed("writing records", &error);
            return self.try_again_later();
        }
        let logged = mem::take(&mut self.checkpoint.unlogged);
        if let Some(under_way) = &mut self.checkpoint.under_way {
            (under_way.stage, under_way.logged) = (Stage::Records, logged);
        }
        let files = vec![self.checkpoint.log.file().clone(), self.drive.table.clone()];
        self.checkpoint.syncer.start(files);
    }

    /// Blocks that were replaced or purged are read to the end by those who have them pinned. What they read is
    /// compared all the same, so that the record stays here when the table forgets it. Nobody pins them anew.
    fn keep_what_is_read(&self) {
        let Some(under_way) = &self.checkpoint.under_way else { return };
        let drive = &self.drive;
        for (slot, change) in &under_way.changes {
            if *change != Change::Emptied
                || !drive.states.is_pinned(*slot)
                || drive.unrecorded.get(*slot).is_some()
            {
                continue;
            }
            // One that cannot be read now is one that readers cannot compare with: they go to the origin.
            if let Ok(SlotEntry::Block(record)) = drive.look_up(*slot) {
                drive.unrecorded.note(record);
            }
        }
    }

    fn write_log(&mut self) -> io::Result<()> {
        let Self { checkpoint, inventory, drive, .. } = self;
        let written = if checkpoint.log.is_mostly_dead(inventory.object_count()) {
            self.rewrite_log()
        } else {
            let objects = checkpoint.unlogged.iter().filter_map(|number| inventory.object(*number));
            let entries: Vec<Vec<u8>> = objects.filter_map(|object| log_entry(object)).collect();
            if entries.is_empty() { Ok(()) } else { checkpoint.log.append(&drive.disk, &entries) }
        };
        match written {
            Err(error) if is_full(&error) => self.shrink_log(error),
            written => written,
        }
    }

    fn rewrite_log(&mut self) -> io::Result<()> {
        let entries = self.inventory.objects().filter_map(|object| log_entry(object));
        self.checkpoint.log.rewrite(&self.drive.disk, entries)
    }

    /// The file system is full: makes do with the space there is. What is about objects that are gone
    /// goes first, then the objects that came first.
    fn shrink_log(&mut self, mut error: io::Error) -> io::Result<()> {
        let drive = Arc::clone(&self.drive);
        let drive = drive.disk.path().display();
        for _ in 0..SHRINKINGS {
            tracing::warn!(%drive, %error, "no space for the object log: writing it anew");
            match self.rewrite_log() {
                Err(again) if is_full(&again) => error = again,
                written => return written,
            }
            let mut numbers: Vec<u64> =
                self.inventory.objects().map(|object| object.number()).collect();
            numbers.sort_unstable();
            let dropped = numbers.len().div_ceil(4);
            tracing::warn!(%drive, dropped, "no space for the object log: dropping the oldest objects");
            for number in numbers.into_iter().take(dropped) {
                if let Some(object) = self.inventory.object(number).cloned() {
                    self.release_object(&object);
                }
            }
        }
        Err(error)
    }

    /// Writes the records of all changes, neighbors together.
    fn write_table(&mut self) -> io::Result<()> {
        let Some(under_way) = &self.checkpoint.under_way else { return Ok(()) };
        let (mut first, mut run) = (0, Vec::new());
        for (slot, change) in &under_way.changes {
            if first as usize + run.len() / SLOT_RECORD != *slot as usize && !run.is_empty() {
                self.drive.table.write(&run, u64::from(first) * SLOT_RECORD as u64)?;
                run.clear();
            }
            if run.is_empty() {
                first = *slot;
            }
            match change {
                Change::Filled(record) => run.extend_from_slice(&record.encode()),
                Change::Emptied => run.extend_from_slice(&[0; SLOT_RECORD]),
            }
        }
        match run.is_empty() {
            true => Ok(()),
            false => self.drive.table.write(&run, u64::from(first) * SLOT_RECORD as u64),
        }
    }

    /// All is on the drive: emptied slots are free, those who wait are told.
    fn complete(&mut self) {
        let Some(under_way) = self.checkpoint.under_way.take() else { return };
        for (slot, change) in under_way.changes {
            match change {
                Change::Emptied => {
                    let class = self.checkpoint.layout.rank(slot).0;
                    self.checkpoint.pinned.of_mut(class).push(slot);
                }
                Change::Filled(record) => self.drive.unrecorded.forget(&record),
            }
        }
        self.free_unpinned();
        count(&self.drive.counts.checkpoints);
        tell(&under_way.waiters);
    }

    fn free_unpinned(&mut self) {
        let Self { checkpoint: Checkpoint { pinned, emptied, .. }, inventory, drive, .. } = self;
        for class in Class::ALL {
            pinned.of_mut(class).retain(|slot| {
                let pinned = drive.states.is_pinned(*slot);
                if !pinned {
                    drive.unrecorded.drop(*slot);
                    inventory.set_free(*slot);
                    *emptied.of_mut(class) -= 1;
                }
                pinned
            });
        }
    }

    /// The records did not get through. What they say is still true, unless it changed since.
    fn try_again_later(&mut self) {
        drop(self.put_back());
    }

    /// A failed sync says that some blocks are not on the drive, not which; and the kernel takes
    /// their pages for clean from now on. None of those written since the last sync is kept.
    fn lose_blocks(&mut self) {
        let waiters = self.put_back();
        let unsure: Vec<u32> = self
            .checkpoint
            .changes
            .iter()
            .filter(|(_, change)| matches!(change, Change::Filled(_)))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in unsure {
            self.empty(slot);
        }
        drop(waiters);
    }

    /// Leaves the checkpoint under way to the next one. Returns who waited for it: they learn that it
    /// has failed when they are dropped.
    fn put_back(&mut self) -> Vec<SyncSender<()>> {
        let Some(under_way) = self.checkpoint.under_way.take() else { return Vec::new() };
        for (slot, change) in under_way.changes {
            self.checkpoint.changes.entry(slot).or_insert(change);
        }
        self.checkpoint.unlogged.extend(under_way.logged);
        under_way.waiters
    }

    /// Persists everything, marks the drive clean, and ends.
    pub(super) fn close(mut self, done: &SyncSender<()>) {
        self.finish_checkpoint();
        let errors = self.drive.counts.errors.load(std::sync::atomic::Ordering::Relaxed);
        self.begin_checkpoint();
        self.finish_checkpoint();
        // Marked clean only when that went well.
        if errors == self.drive.counts.errors.load(std::sync::atomic::Ordering::Relaxed) {
            let meta = DriveMeta { clean: true, ..self.checkpoint.meta }.encode();
            let written = self.drive.disk.replace(Part::Meta, |out| out.write_all(&meta));
            if let Err(error) = written {
                self.drive.failed("marking the drive clean", &error);
            }
        }
        let drive = self.drive.disk.path().display();
        tracing::info!(%drive, objects = self.inventory.object_count(), "drive closed");
        drop(self.lock);
        tell(std::slice::from_ref(done));
    }
}

/// What the log says of an object; `None` if that is too long to be written: `Store::write` takes no
/// blocks of such an object, and when only new headers made it so, its last entry stays.
fn log_entry(object: &Object) -> Option<Vec<u8>> {
    let meta = object.meta();
    ObjectRecord { number: object.number(), key: object.key().clone(), meta }.encode().ok()
}

/// Whoever no longer waits has no need to know.
fn tell(waiters: &[SyncSender<()>]) {
    for waiter in waiters {
        let _ = waiter.try_send(());
    }
}

/// The thread that waits for the drive to sync.
pub(super) struct Syncer {
    jobs: SyncSender<Vec<DiskFile>>,
    done: Receiver<io::Result<()>>,
}

impl Syncer {
    /// Starts the thread. It wakes the keeper through `tasks` after each sync, and ends with it.
    pub(super) fn start_thread(index: u8, tasks: SyncSender<Task>) -> io::Result<Self> {
        // One job at a time: the keeper starts none before the last one's end.
        let (jobs, waiting) = sync_channel::<Vec<DiskFile>>(1);
        let (finished, done) = sync_channel(1);
        thread::Builder::new().name(format!("mcc-sync-{index}")).spawn(move || {
            for files in waiting {
                let result = files.iter().try_for_each(DiskFile::sync);
                if finished.send(result).is_err() {
                    return;
                }
                // A full queue wakes the keeper as well.
                let _ = tasks.try_send(Task::Wake);
            }
        })?;
        Ok(Self { jobs, done })
    }

    fn start(&self, files: Vec<DiskFile>) {
        // The thread ends only after this value; its queue is empty between jobs.
        let _ = self.jobs.try_send(files);
    }
}
