//! Opening a drive: its folder is locked, its files are found or made, and what they hold is read
//! into memory. Whatever is torn, damaged or out of date is dropped and counted.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Instant;

use rustix::io::Errno;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Refused};
use super::ageing::Ageing;
use super::catalog::Catalog;
use super::checkpoint::{Checkpoint, Syncer};
use super::disk::{Disk, DiskFile};
use super::drive::{Counts, Drive};
use super::fault::Part;
use super::inventory::{Inventory, Suspect};
use super::keeper::{Keeper, Task};
use super::ledger::Missed;
use super::meta::{DriveMeta, MetaError};
use super::object::{Location, Object};
use super::object_log::{LogContents, ObjectLog};
use super::placement::Candidate;
use super::reader::Readers;
use super::scrub::{self, Scrub};
use super::slot_record::{SLOT_RECORD, SlotEntry};
use super::slots::SlotStates;
use super::status::Offline;
use super::{BLOCK, StoreOptions, care};
use crate::time::{SteadyClock, unix_now};

/// Fewest slots of a drive (16 MiB). The configuration asks for more.
const FEWEST_SLOTS: u64 = 16;
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

/// Opens the drive in `folder` and starts its threads. Its objects go into `catalog`.
pub(super) fn open(
    index: usize,
    config: &mcc_config::Drive,
    catalog: &Catalog,
    admission: &Admission,
    options: &StoreOptions,
) -> Result<Arc<Drive>, OpenError> {
    let (keeper, tasks) = prepare(index, config, catalog, admission, options)?;
    let tasks = Arc::new(Mutex::new(tasks));
    let drive = Arc::clone(&keeper.drive);
    care::start(&drive, Arc::clone(&tasks), options.patience)
        .and_then(|()| scrub::start(&drive, options.scrub_rate))
        .map_err(failed("starting threads"))?;
    thread::Builder::new()
        .name(format!("mcc-keep-{index}"))
        .spawn(move || {
            let _watch = Watch(Arc::clone(&keeper.drive));
            keeper.run(&tasks);
        })
        .map_err(failed("starting threads"))?;
    Ok(drive)
}

/// Takes a drive offline when its keeper ends by a defect of this program.
struct Watch(Arc<Drive>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.take_offline(Offline::new(
                "a defect of this program: the drive's keeper panicked",
                "restart the node, and report the panic message in the log",
            ));
        }
    }
}

/// All of [`open`] but the start of the keeper.
pub(super) fn prepare(
    index: usize,
    config: &mcc_config::Drive,
    catalog: &Catalog,
    admission: &Admission,
    options: &StoreOptions,
) -> Result<(Keeper, Receiver<Task>), OpenError> {
    let (folder, size) = (config.path.as_path(), config.size.bytes());
    let index = u8::try_from(index).ok().filter(|index| usize::from(*index) < Location::MAX_DRIVES);
    let index = index.ok_or(OpenError::TooMany)?;
    let disk = Disk::new(folder, options.faults.clone());
    let lock = disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing,
        io::ErrorKind::NotADirectory => OpenError::NoFolder,
        _ => OpenError::Failed { doing: "opening the folder", source: error },
    })?;
    let lock = lock.ok_or(OpenError::InUse)?;

    let wanted = size / u64::from(BLOCK);
    if wanted < FEWEST_SLOTS {
        return Err(OpenError::TooSmall);
    }
    let mut notes = Vec::new();
    if wanted > u64::from(Location::MAX_SLOTS) {
        notes.push("`size` is more than 64 TiB, which is what a drive can have".to_owned());
    }
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(Location::MAX_SLOTS);
    let known = read_meta(&disk, &mut notes)?;
    let uuid = known.map(|known| known.uuid);
    notes.extend(admission.admit(folder, uuid, config.allow_root).map_err(OpenError::Refused)?);
    let slots = known.map_or(wanted, |known| known.slots.max(wanted).min(Location::MAX_SLOTS));
    if slots > wanted {
        notes.push(format!(
            "it was set up with {} GiB and keeps them; to shrink it, empty the folder and restart",
            u64::from(slots) >> 10
        ));
    }

    let slab = disk.open(Part::Slab).map_err(failed("opening the slab"))?;
    let table = disk.open(Part::Slots).map_err(failed("opening the slot table"))?;
    let (mut log, mut contents) = ObjectLog::load(&disk).map_err(failed("reading the objects"))?;
    // Without `meta`, whatever the files hold is of a drive that was never set up.
    let slab_is_whole = match known {
        Some(known) => {
            let length = slab.length().map_err(failed("looking at the slab"))?;
            length >= u64::from(known.slots) * u64::from(BLOCK)
        }
        None => {
            table.set_length(0).map_err(failed("emptying the slot table"))?;
            log.clear().map_err(failed("emptying the object log"))?;
            contents = LogContents::default();
            true
        }
    };
    reserve(&slab, u64::from(slots) * u64::from(BLOCK))?;
    reserve(&table, u64::from(slots) * SLOT_RECORD as u64)?;
    slab.expect_random_reads();

    let meta = next_meta(known, slots, slab_is_whole);
    disk.replace(Part::Meta, |out| out.write_all(&meta.encode()))
        .map_err(failed("writing meta"))?;

    let (tasks, inbox) = sync_channel(options.write_queue.max(1));
    let syncer = Syncer::start_thread(index, tasks.clone()).map_err(failed("starting threads"))?;
    let drive = Arc::new(Drive {
        index,
        candidate: Candidate { uuid: meta.uuid, weight: slots },
        slab,
        table,
        states: SlotStates::new(slots),
        counts: Counts::default(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        readers: Readers::start(index, options.readers).map_err(failed("starting threads"))?,
        tasks,
        sweep: false.into(),
        abandoned: false.into(),
        offline: OnceLock::new(),
        gone: CancellationToken::new(),
        given_up: false.into(),
        errors: Mutex::default(),
        scrub: Scrub::resume(admission.scrub_mark(folder, meta.uuid)),
        ledger: Arc::clone(admission.ledger()),
        carer: OnceLock::new(),
        disk,
    });
    let mut load = Load {
        catalog,
        drive: &drive,
        suspect: meta.suspect,
        inventory: Inventory::new(slots),
        checkpoint: Checkpoint::new(meta, log, syncer),
        known: contents.objects,
        missed: admission.ledger().missed(meta.uuid),
        adopted: HashMap::new(),
        dropped: contents.damaged,
    };
    load.read_table().map_err(failed("reading the slot table"))?;
    let Load { inventory, checkpoint, dropped, .. } = load;
    drive.counts.records_dropped.store(dropped, Ordering::Relaxed);
    tracing::info!(
        drive = %folder.display(),
        slots,
        blocks = drive.counts.blocks.load(Ordering::Relaxed),
        objects = inventory.object_count(),
        dropped,
        verify = meta.suspect == meta.epoch - 1 && known.is_some(),
        "drive opened"
    );
    admission.opened(folder, meta.uuid);
    let interval = options.checkpoint_interval;
    let clock = SteadyClock::new(Instant::now(), unix_now());
    let ageing = options.max_age.map(|age| Ageing::new(age, clock, Instant::now()));
    Ok((Keeper::new(drive, inventory, checkpoint, lock, interval, ageing), inbox))
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
fn next_meta(known: Option<DriveMeta>, slots: u32, slab_is_whole: bool) -> DriveMeta {
    match known {
        None => DriveMeta { uuid: rand::random(), slots, epoch: 1, suspect: 0, clean: false },
        Some(known) => DriveMeta {
            slots,
            epoch: known.epoch.saturating_add(1),
            suspect: if known.clean && slab_is_whole { known.suspect } else { known.epoch },
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
    catalog: &'a Catalog,
    drive: &'a Drive,
    /// Blocks of this epoch and before are verified when they are first read.
    suspect: u32,
    inventory: Inventory,
    checkpoint: Checkpoint,
    known: HashMap<u64, super::ObjectRecord>,
    /// What was purged while the drive was away.
    missed: Missed,
    /// What the catalog said about each object met so far.
    adopted: HashMap<u64, Option<Arc<Object>>>,
    dropped: u64,
}

impl Load<'_> {
    fn read_table(&mut self) -> io::Result<()> {
        // Numbers of objects that are gone are not given out again either: their records may still
        // be on another drive.
        self.known.keys().for_each(|number| self.catalog.skip_number(*number));
        let slots = self.drive.candidate.weight;
        let mut bytes = vec![0; PIECE as usize * SLOT_RECORD];
        for first in (0..slots).step_by(PIECE as usize) {
            let piece = PIECE.min(slots - first) as usize * SLOT_RECORD;
            let records = bytes.get_mut(..piece).unwrap_or_default();
            self.drive.table.read(records, u64::from(first) * SLOT_RECORD as u64)?;
            let (records, _) = records.as_chunks::<SLOT_RECORD>();
            for (slot, record) in (first..).zip(records) {
                self.take(slot, SlotEntry::decode(record, slot));
            }
        }
        Ok(())
    }

    fn take(&mut self, slot: u32, entry: SlotEntry) {
        let record = match entry {
            SlotEntry::Empty => return self.inventory.free.insert(slot),
            // Nothing can be read out of it later either: the slot can be refilled at once.
            SlotEntry::Damaged => {
                self.dropped += 1;
                return self.inventory.free.insert(slot);
            }
            SlotEntry::Block(record) => record,
        };
        self.catalog.skip_number(record.number);
        let object = self.object(record.number).filter(|object| {
            object.block_length(record.block) == Some(record.length)
                && object.block_table().get(record.block).is_none()
        });
        let Some(object) = object else {
            // Replaced, a second copy, or without an entry in the log. The drive has to forget it
            // before the slot is refilled.
            self.dropped += 1;
            return self.checkpoint.empty(slot);
        };
        let suspect = if record.epoch <= self.suspect { Suspect::Yes } else { Suspect::No };
        self.inventory.add(self.drive, slot, &object, record.block, Some(suspect));
    }

    fn object(&mut self, number: u64) -> Option<Arc<Object>> {
        if let Some(known) = self.adopted.get(&number) {
            return known.clone();
        }
        let record = self.known.remove(&number);
        let record = record.filter(|record| !self.missed.has(&record.key, number));
        let object =
            record.and_then(|record| self.catalog.adopt(&record.key, number, &record.meta));
        self.adopted.insert(number, object.clone());
        object
    }
}
