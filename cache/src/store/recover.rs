//! Opening a drive: its folder is locked, its files are found or made, and what they hold is read
//! into memory. Whatever is torn, damaged or out of date is dropped and counted.
//!
//! The node serves meanwhile, so what the drive holds meets what was published, purged or found on
//! other drives since the start. [`Catalog::adopt`](super::catalog::Catalog::adopt) has the rules.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use rustix::io::Errno;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Refused};
use super::ageing::Ageing;
use super::bay::{Progress, Shared};
use super::checkpoint::{Change, Checkpoint, Syncer};
use super::damage::DamageLog;
use super::disk::{Disk, DiskFile};
use super::drive::{Counts, Drive};
use super::fault::{Operation, Part};
use super::inventory::{Inventory, Origin};
use super::keeper::{Keeper, Task};
use super::layout::SlotLayout;
use super::ledger::Missed;
use super::meta::{DriveMeta, MetaError};
use super::object::{Location, Object};
use super::object_log::{LogContents, ObjectLog};
use super::object_record::FoundObject;
use super::placement::Candidate;
use super::reader::Readers;
use super::scrub::Scrub;
use super::slot_record::{SLOT_RECORD, SlotEntry, SlotRecord};
use super::slots::SlotStates;
use super::status::Offline;
use super::unrecorded::Unrecorded;
use super::{BLOCK, StoreOptions};

/// Smallest slab in MiB. The configuration asks for more.
const FEWEST_MEBIBYTES: u64 = 16;
/// Space reserved for the object log: one byte for so many of the slab, as a power of two, ...
const LOG_SHARE: u32 = 17;
/// ... but no less than this (64 KiB).
const LEAST_LOG: u64 = 64 << 10;
/// Records read at once (1 MiB).
const PIECE: u32 = 32 << 10;

/// Why a drive cannot be opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    #[error("the folder does not exist")]
    Missing,
    #[error("it is no folder")]
    NoFolder,
    #[error("another process uses it")]
    InUse,
    #[error("its size is less than 16 MiB")]
    TooSmall,
    #[error("a node can have {max} drives", max = Location::MAX_DRIVES)]
    TooMany,
    #[error("no space for {needed} bytes of content")]
    NoSpace { needed: u64 },
    #[error("its file system cannot reserve space (fallocate)")]
    NoReservation,
    #[error("its content is of another release: {0}")]
    OtherRelease(MetaError),
    #[error("it is not to be used")]
    Refused(Refused),
    #[error("the node was stopped")]
    Abandoned,
    #[error("{doing}: {source}")]
    Failed { doing: &'static str, source: io::Error },
}

impl OpenError {
    /// The words for an operator.
    pub(super) fn offline(&self, folder: &Path) -> Offline {
        let online = format!("then `mcc cache online {}`", folder.display());
        let action = match self {
            Self::Missing | Self::NoFolder => {
                "mount the drive, or create the folder, or correct `path`"
            }
            Self::InUse => "stop the other node, or give each its own folder",
            Self::TooSmall => "set `size` to 64MiB or more",
            Self::TooMany => "join small drives to larger file systems",
            Self::NoSpace { .. } => "set a smaller `size`, or free space on the file system",
            Self::NoReservation => "use XFS or ext4",
            Self::OtherRelease(_) => {
                "run the release that wrote it, or empty the folder to begin anew"
            }
            Self::Abandoned => "start it",
            Self::Failed { .. } => "look at the folder's permissions, `mount` and `dmesg`",
            Self::Refused(refused) => return refused.offline(folder),
        };
        // What is to be changed in the configuration is read at a restart only.
        let then = match self {
            Self::TooSmall | Self::TooMany | Self::NoSpace { .. } => "then restart the node",
            _ => &online,
        };
        Offline::new(self.to_string(), format!("{action}; {then}"))
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Failed { doing, source }
}

/// Opens the drive in `folder` and starts its threads, all but the keeper. Its objects go into the
/// catalog.
pub(super) fn prepare(
    index: usize,
    config: &mcc_config::Drive,
    shared: &Shared,
    options: &StoreOptions,
    progress: &Progress,
) -> Result<(Keeper, Receiver<Task>), OpenError> {
    let (folder, size) = (config.path.as_path(), config.size.bytes());
    let index = u8::try_from(index).ok().filter(|index| usize::from(*index) < Location::MAX_DRIVES);
    let index = index.ok_or(OpenError::TooMany)?;
    let disk = Disk::new(folder, options.faults.clone(), Arc::clone(&progress.watch));
    let lock = disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing,
        io::ErrorKind::NotADirectory => OpenError::NoFolder,
        _ => OpenError::Failed { doing: "opening the folder", source: error },
    })?;
    let lock = lock.ok_or(OpenError::InUse)?;

    let wanted = size / u64::from(BLOCK);
    if wanted < FEWEST_MEBIBYTES {
        return Err(OpenError::TooSmall);
    }
    let mut notes = Vec::new();
    let known = read_meta(&disk, &mut notes)?;
    let uuid = known.map(|known| known.uuid);
    let admission = {
        // It looks at the folders of all drives.
        let _busy = disk.watch().begin(Part::Meta, Operation::Open);
        Admission::new(&shared.ledger, &shared.folders)
    };
    notes.extend(admission.admit(folder, uuid, config.allow_root).map_err(OpenError::Refused)?);
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    let layout = SlotLayout::new(wanted, known.map_or(0, |known| known.plain));
    if layout.mebibytes() < wanted {
        let most = layout.bytes() >> 40;
        notes.push(format!("`size` is more than a drive can have: {most} TiB of it are used"));
    }

    let slab = disk.open(Part::Slab).map_err(failed("opening the slab"))?;
    let table = disk.open(Part::Slots).map_err(failed("opening the slot table"))?;
    let (mut log, mut contents) = ObjectLog::load(&disk).map_err(failed("reading the objects"))?;
    // Without `meta`, whatever the files hold is of a drive that was never set up.
    if known.is_none() {
        table.set_length(0).map_err(failed("emptying the slot table"))?;
        log.clear().map_err(failed("emptying the object log"))?;
        contents = LogContents::default();
    }
    let damage = DamageLog::default();
    let slots_are_whole = table.length().map_err(failed("looking at the slot table"))?
        >= known.map_or(0, |known| known.layout().slots().min(layout.slots()).into())
            * SLOT_RECORD as u64;
    let slab_is_whole = fit(&slab, &table, known, layout)?;
    slab.expect_random_reads();
    for (part, is_whole) in [(Part::Slab, slab_is_whole), (Part::Slots, slots_are_whole)] {
        if !is_whole {
            let name = part.file_name();
            damage.in_index(format!("its file `{name}` had lost bytes when it was opened"));
        }
    }

    let meta = next_meta(known, layout);
    disk.replace(Part::Meta, |out| out.write_all(&meta.encode()))
        .map_err(failed("writing meta"))?;
    // Only after `meta`: a slab that is shorter than it says would be taken for damaged.
    if slab.length().map_err(failed("looking at the slab"))? > layout.bytes() {
        slab.set_length(layout.bytes()).map_err(failed("shortening the slab"))?;
    }

    let room = (layout.bytes() >> LOG_SHARE).max(LEAST_LOG);
    let reserved = log.reserve(&disk, room);
    if let Err(error) = reserved.and_then(|()| disk.reserve_replacement(Part::Meta, LEAST_LOG)) {
        notes.push(format!("no space could be reserved for its records: {error}"));
    }

    let (tasks, inbox) = sync_channel(options.write_queue.max(1));
    let syncer = Syncer::start_thread(index, tasks.clone()).map_err(failed("starting threads"))?;
    let drive = Arc::new(Drive {
        index,
        candidate: Candidate { uuid: meta.uuid, weight: layout.mebibytes() },
        layout,
        slab,
        table,
        states: SlotStates::new(layout.slots()),
        unrecorded: Unrecorded::default(),
        counts: Counts::default(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        damage,
        readers: Readers::start(index, options.readers).map_err(failed("starting threads"))?,
        tasks,
        sweep: false.into(),
        joined: Arc::clone(&shared.joined),
        abandoned: false.into(),
        offline: OnceLock::new(),
        gone: CancellationToken::new(),
        given_up: false.into(),
        let_go: false.into(),
        errors: Mutex::default(),
        scrub: Scrub::resume(admission.scrub_mark(folder, meta.uuid)),
        ledger: Arc::clone(&shared.ledger),
        carer: OnceLock::new(),
        disk,
    });
    let mut load = Load {
        shared,
        drive: &drive,
        inventory: Inventory::new(layout),
        checkpoint: Checkpoint::new(meta, log, syncer),
        known: contents.objects,
        missed: shared.ledger.missed(meta.uuid),
        met: HashMap::default(),
        last: (0, None),
        dropped: contents.damaged,
        lost: contents.damaged,
        unknown: HashSet::default(),
    };
    let read = load.read_table(progress);
    let Load { mut inventory, checkpoint, dropped, lost, .. } = load;
    if let Err(error) = read {
        // Nobody can read what was found so far.
        let taken: Vec<u32> = inventory.taken().collect();
        for slot in taken {
            inventory.release(&drive, slot);
        }
        return Err(error);
    }
    drive.counts.records_dropped.store(dropped, Ordering::Relaxed);
    drive.counts.records_lost.store(lost, Ordering::Relaxed);
    if lost > 0 {
        let records = if lost == 1 { "1 record".to_owned() } else { format!("{lost} records") };
        drive.damage.in_index(format!("{records} of its index were lost when it was opened"));
    }
    tracing::info!(
        drive = %folder.display(),
        slots = layout.slots(),
        blocks = drive.counts.blocks.load(Ordering::Relaxed),
        objects = inventory.object_count(),
        dropped,
        closed_in_order = known.is_none_or(|known| known.clean),
        "drive opened"
    );
    admission.opened(folder, meta.uuid);
    let ageing = options.max_age.map(|age| Ageing::new(age, shared.clock, Instant::now()));
    let interval = options.checkpoint_interval;
    let mut keeper = Keeper::new(drive, inventory, checkpoint, lock, interval, ageing);
    if keeper.checkpoint.has_work() {
        // Blocks that belong to another generation now are looked up under its number, and numbers
        // may be given out anew when the clock went back: the drive has to know before it joins.
        keeper.begin_checkpoint();
        keeper.finish_checkpoint();
    }
    Ok((keeper, inbox))
}

/// Makes slab and slot table as long as they are to be. False when the slab has lost something of
/// what `meta` says that it has.
fn fit(
    slab: &DiskFile,
    table: &DiskFile,
    known: Option<DriveMeta>,
    layout: SlotLayout,
) -> Result<bool, OpenError> {
    let table_bytes = u64::from(layout.slots()) * SLOT_RECORD as u64;
    if table.length().map_err(failed("looking at the slot table"))? > table_bytes {
        // Records of slots that are given up go before the slots do.
        table.set_length(table_bytes).map_err(failed("shortening the slot table"))?;
        table.sync().map_err(failed("shortening the slot table"))?;
    }
    let length = slab.length().map_err(failed("looking at the slab"))?;
    let whole = known.is_none_or(|known| length >= known.layout().bytes());
    // Of a drive that was never set up, such as one whose space did not suffice.
    if known.is_none() && length > layout.bytes() {
        slab.set_length(layout.bytes()).map_err(failed("shortening the slab"))?;
    }
    // A slab that is long enough was reserved when it was made.
    if (known.is_none() || length < layout.bytes())
        && let Err(error) = reserve(slab, layout.bytes())
    {
        // What it got before there was no more is given back: others may need it.
        slab.set_length(length.min(layout.bytes())).map_err(failed("shortening the slab"))?;
        return Err(error);
    }
    reserve(table, table_bytes)?;
    Ok(whole)
}

/// What the drive says of itself; `None` when it is new, or says nothing that can be used.
fn read_meta(disk: &Disk, notes: &mut Vec<String>) -> Result<Option<DriveMeta>, OpenError> {
    let Some(bytes) = disk.read(Part::Meta).map_err(failed("reading meta"))? else {
        return Ok(None);
    };
    match DriveMeta::decode(&bytes) {
        Ok(meta) => Ok(Some(meta)),
        Err(MetaError::Damaged) => {
            notes.push("its `meta` file was damaged: it began anew, empty".to_owned());
            Ok(None)
        }
        Err(error) => Err(OpenError::OtherRelease(error)),
    }
}

/// What `meta` says while the drive is open: a new epoch, not closed in order.
fn next_meta(known: Option<DriveMeta>, layout: SlotLayout) -> DriveMeta {
    let (mebibytes, plain) = (layout.mebibytes(), layout.plain());
    match known {
        None => DriveMeta { uuid: rand::random(), mebibytes, plain, epoch: 1, clean: false },
        Some(known) => DriveMeta {
            mebibytes,
            plain,
            epoch: known.epoch.saturating_add(1),
            clean: false,
            ..known
        },
    }
}

fn reserve(file: &DiskFile, bytes: u64) -> Result<(), OpenError> {
    file.allocate(bytes).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => OpenError::NoSpace { needed: bytes },
        Some(Errno::OPNOTSUPP) => OpenError::NoReservation,
        _ => OpenError::Failed { doing: "reserving space", source: error },
    })
}

/// Reading the slot table.
struct Load<'a> {
    shared: &'a Shared,
    drive: &'a Drive,
    inventory: Inventory,
    checkpoint: Checkpoint,
    /// What was purged while the drive was away.
    missed: Missed,
    /// Entries of the log that no record was met for yet.
    known: HashMap<u64, Box<[u8]>, foldhash::fast::RandomState>,
    /// Which generation the blocks of each number met so far belong to; `None` for those to drop.
    met: HashMap<u64, Option<Arc<Object>>, foldhash::fast::RandomState>,
    /// The number met last: neighbors mostly have the same.
    last: (u64, Option<Arc<Object>>),
    /// Records that are given up, ...
    dropped: u64,
    /// ... and of them those that were lost: damaged, or without an entry in the log.
    lost: u64,
    /// Numbers that have no entry in the log.
    unknown: HashSet<u64, foldhash::fast::RandomState>,
}

impl Load<'_> {
    fn read_table(&mut self, progress: &Progress) -> Result<(), OpenError> {
        // Numbers of objects that are gone are not given out again either: their records may still
        // be on another drive.
        self.known.keys().for_each(|number| self.shared.catalog.skip_number(*number));
        let slots = self.drive.layout.slots();
        progress.records.store(slots.into(), Ordering::Relaxed);
        self.drive.table.expect_sequential_reads();
        let mut bytes = vec![0; PIECE as usize * SLOT_RECORD];
        for first in (0..slots).step_by(PIECE as usize) {
            if progress.abandoned.load(Ordering::Acquire) {
                return Err(OpenError::Abandoned);
            }
            let piece = PIECE.min(slots - first) as usize * SLOT_RECORD;
            let records = bytes.get_mut(..piece).unwrap_or_default();
            let read = self.drive.table.read(records, u64::from(first) * SLOT_RECORD as u64);
            read.map_err(failed("reading the slot table"))?;
            let (records, _) = records.as_chunks::<SLOT_RECORD>();
            for (slot, record) in (first..).zip(records) {
                self.take(slot, SlotEntry::decode(record, slot));
            }
            progress.read.store(u64::from(first) + records.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn take(&mut self, slot: u32, entry: SlotEntry) {
        let record = match entry {
            SlotEntry::Empty => return self.inventory.set_free(slot),
            // Nothing can be read out of it later either: the slot can be refilled at once.
            SlotEntry::Damaged => {
                self.dropped += 1;
                self.lost += 1;
                return self.inventory.set_free(slot);
            }
            SlotEntry::Block(record) => record,
        };
        if self.last.0 != record.number || self.last.1.is_none() {
            self.last = (record.number, self.object(record.number));
        }
        let (_, object) = &self.last;
        let Some(object) = object.as_ref().filter(|object| self.fits(object, &record)) else {
            // Replaced, purged, a second copy, or without an entry in the log. The drive has to
            // forget it before the slot is refilled.
            self.dropped += 1;
            self.lost += u64::from(self.unknown.contains(&record.number));
            return self.checkpoint.empty(slot);
        };
        // Who knows what was done to the files meanwhile: each block is compared with its checksum
        // before it is sent for the first time, wherever its bytes are.
        let first = self.inventory.add(self.drive, slot, object, record.block, Origin::Restored);
        if record.number != object.number() {
            // The same content under another number: the drive is to know it by that from now on.
            let record = SlotRecord { number: object.number(), ..record };
            self.checkpoint.changes.insert(slot, Change::Filled(record));
            if first {
                self.checkpoint.unlogged.insert(object.number());
            }
        }
    }

    /// Whether the block can be one of `object`, and is the first one found.
    fn fits(&self, object: &Arc<Object>, record: &SlotRecord) -> bool {
        let (class, _) = self.drive.layout.rank(record.slot);
        !object.is_retired()
            && record.length <= class.size()
            && object.block_length(record.block) == Some(record.length)
            && object.block_table().get(record.block).is_none()
            && self.inventory.accepts(object)
    }

    /// The generation that blocks of this number belong to.
    fn object(&mut self, number: u64) -> Option<Arc<Object>> {
        if let Some(met) = self.met.get(&number) {
            return met.clone();
        }
        self.shared.catalog.skip_number(number);
        let found = self.known.remove(&number).and_then(|body| FoundObject::from_body(&body));
        if found.is_none() {
            self.unknown.insert(number);
        }
        let found = found.filter(|found| !self.missed.has(&found.key, number));
        let object = found.and_then(|found| adopt(self.shared, found));
        self.met.insert(number, object.clone());
        object
    }
}

/// Takes what a drive holds into the catalog, unless it was purged since the start of the node.
fn adopt(shared: &Shared, found: FoundObject) -> Option<Arc<Object>> {
    let (number, key) = (found.number, found.key.clone());
    if shared.purges.covers(&key) {
        return None;
    }
    let object = shared.catalog.adopt(found)?;
    // The purge may have come in between: then it has looked into the catalog too early.
    if shared.purges.covers(&key) {
        if object.number() == number {
            shared.catalog.remove_exactly(&object);
        }
        return None;
    }
    Some(object)
}
