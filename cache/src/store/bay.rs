//! Where a drive belongs: one place for each `[[drive]]`, whether it is still being opened, up, or
//! could not be opened. And what is to be remembered while any of them is being opened.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use super::StoreOptions;
use super::catalog::Catalog;
use super::drive::Drive;
use super::keeper::Task;
use super::key::ObjectKey;
use super::ledger::Ledger;
use super::recover::{self, OpenError};
use super::status::{
    DriveCounts, DriveState, DriveStatus, Offline, Opening, ScrubStatus, Selector,
};
use super::watch::Watch;
use super::{care, scrub};
use crate::time::{SteadyClock, unix_now};

/// The place of one drive.
#[derive(Debug)]
pub(super) struct Bay {
    config: mcc_config::Drive,
    progress: Progress,
    opened: OnceLock<Result<Arc<Drive>, Offline>>,
    /// What the keeper is to do.
    tasks: OnceLock<Mutex<Receiver<Task>>>,
    carer: OnceLock<Thread>,
    /// The carer has ended: it will not write down any more that the drive was given up.
    pub(super) uncared: AtomicBool,
    /// The thread that opened it has ended, and nothing that it found on the drive can be looked up.
    ended: AtomicBool,
}

/// How far an opening is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) read: AtomicU64,
    pub(super) records: AtomicU64,
    /// The store is gone: nobody waits for the drive any more.
    pub(super) abandoned: AtomicBool,
    pub(super) watch: Arc<Watch>,
}

/// What is shared by all drives that are being opened.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) catalog: Catalog,
    pub(super) purges: Purges,
    pub(super) ledger: Arc<Ledger>,
    /// The folders of all drives.
    pub(super) folders: Vec<PathBuf>,
    pub(super) clock: SteadyClock,
    /// Drives that have joined. What each brings may replace what others hold.
    pub(super) joined: Arc<AtomicU64>,
}

impl Shared {
    /// Generations are numbered from `clock` on, or higher.
    pub(super) fn new(ledger: Ledger, clock: u64, drives: &[mcc_config::Drive]) -> Self {
        let catalog = Catalog::new(ledger.first_number(clock));
        for key in ledger.pins() {
            catalog.set_pinned(&key, true);
        }
        Self {
            catalog,
            purges: Purges::default(),
            ledger: Arc::new(ledger),
            folders: drives.iter().map(|drive| drive.path.clone()).collect(),
            clock: SteadyClock::new(Instant::now(), unix_now()),
            joined: Arc::default(),
        }
    }
}

/// What there is in a bay, to somebody who would put a drive there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Opening,
    Up,
    /// A drive that is offline, but that its threads have not let go of.
    Held,
    Empty,
}

impl Bay {
    /// Begins to open the drive in a thread of its own, which is its keeper afterwards.
    pub(super) fn open(
        index: usize,
        drive: &mcc_config::Drive,
        shared: &Arc<Shared>,
        options: &StoreOptions,
    ) -> Arc<Self> {
        let bay = Arc::new(Self {
            config: drive.clone(),
            progress: Progress::default(),
            opened: OnceLock::new(),
            tasks: OnceLock::new(),
            carer: OnceLock::new(),
            uncared: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let (shared, options) = (Arc::clone(shared), options.clone());
        let opening = Arc::clone(&bay);
        let started = care::start(&bay, &shared.ledger, options.patience).and_then(|carer| {
            let _ = bay.carer.set(carer);
            let keeper = thread::Builder::new().name(format!("mcc-keep-{index}"));
            keeper.spawn(move || opening.keep(index, &shared, &options))
        });
        if let Err(source) = started {
            let error = OpenError::Failed { doing: "starting threads", source };
            bay.settle(Err(error.offline(bay.path())));
            bay.ended.store(true, Ordering::Release);
        }
        bay
    }

    /// The life of a drive.
    fn keep(&self, index: usize, shared: &Shared, options: &StoreOptions) {
        let _ending = Ending(self);
        let prepared = recover::prepare(index, &self.config, shared, options, &self.progress);
        let (keeper, tasks) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.settle(Err(error.offline(self.path())));
                return;
            }
        };
        let drive = Arc::clone(&keeper.drive);
        if let Err(source) = scrub::start(&drive, options.scrub_rate) {
            keeper.let_go();
            let error = OpenError::Failed { doing: "starting threads", source };
            self.settle(Err(error.offline(self.path())));
            return;
        }
        if let Some(carer) = self.carer.get() {
            let _ = drive.carer.set(carer.clone());
        }
        let tasks = self.tasks.get_or_init(|| Mutex::new(tasks));
        shared.joined.fetch_add(1, Ordering::AcqRel);
        if !self.settle(Ok(Arc::clone(&drive))) {
            // It took too long, and was given up.
            drive.abandoned.store(true, Ordering::Release);
            keeper.let_go();
            return;
        }
        // Messages about what was found here did not reach it while it was being opened.
        drive.sweep.store(true, Ordering::Release);
        drive.tell(Task::Wake);
        if self.progress.abandoned.load(Ordering::Acquire) {
            return;
        }
        drop(drive);
        keeper.run(tasks);
    }

    /// What became of the opening. False when that was settled before.
    pub(super) fn settle(&self, opened: Result<Arc<Drive>, Offline>) -> bool {
        if let Err(Offline { reason, action, .. }) = &opened {
            tracing::error!(drive = %self.path().display(), reason, action, "drive is offline");
        }
        self.opened.set(opened).is_ok()
    }

    pub(super) fn opened(&self) -> Option<&Result<Arc<Drive>, Offline>> {
        self.opened.get()
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn tasks(&self) -> Option<&Mutex<Receiver<Task>>> {
        self.tasks.get()
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        &self.config.path
    }

    /// What the configuration says about it.
    pub(super) fn config(&self) -> &mcc_config::Drive {
        &self.config
    }

    /// Whether another drive could be opened in its place.
    pub(super) fn standing(&self) -> Standing {
        match self.opened.get() {
            None => Standing::Opening,
            Some(Ok(drive)) if drive.is_up() => Standing::Up,
            Some(Ok(drive))
                if drive.let_go.load(Ordering::Acquire) && self.uncared.load(Ordering::Acquire) =>
            {
                Standing::Empty
            }
            Some(Err(_)) if self.ended.load(Ordering::Acquire) => Standing::Empty,
            Some(_) => Standing::Held,
        }
    }

    /// The drive, if it is up.
    pub(super) fn up(&self) -> Option<&Arc<Drive>> {
        self.drive().filter(|drive| drive.is_up())
    }

    /// The drive, if it was opened.
    fn drive(&self) -> Option<&Arc<Drive>> {
        self.opened.get()?.as_ref().ok()
    }

    pub(super) fn is_opening(&self) -> bool {
        self.opened.get().is_none()
    }

    /// Ends the drive's threads as a crash would: without a checkpoint.
    pub(super) fn abandon(&self) {
        self.progress.abandoned.store(true, Ordering::Release);
        if let Some(drive) = self.drive() {
            drive.abandoned.store(true, Ordering::Release);
            drive.tell(Task::Wake);
            drive.scrub.wake();
        }
    }

    pub(super) fn status(&self) -> DriveStatus {
        let state = match self.opened.get() {
            Some(Ok(drive)) => return drive.status(),
            Some(Err(offline)) => DriveState::Offline(offline.clone()),
            None => DriveState::Opening(Opening {
                read: self.progress.read.load(Ordering::Relaxed),
                records: self.progress.records.load(Ordering::Relaxed),
            }),
        };
        DriveStatus {
            path: self.config.path.clone(),
            state,
            note: None,
            damage: None,
            size: 0,
            used: 0,
            blocks: 0,
            pinned: 0,
            scrub: ScrubStatus::default(),
            counts: DriveCounts::default(),
        }
    }
}

/// Notes that the thread has ended. When that is by a defect of this program, what it found on the drive
/// may still be looked up: no other drive can take its place.
struct Ending<'a>(&'a Bay);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.ended.store(true, Ordering::Release);
            return;
        }
        let offline = Offline::new(
            "a defect of this program: the drive's keeper panicked",
            "restart the node, and report the panic message in the log",
        );
        match self.0.drive() {
            Some(drive) => drive.take_offline(offline),
            None => drop(self.0.settle(Err(offline))),
        }
    }
}

/// What was purged while drives were being opened: they do not know of it, and what they hold is not
/// to come back with them. Bounded by how long an opening takes.
#[derive(Debug, Default)]
pub(super) struct Purges(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    urls: HashSet<ObjectKey>,
    others: Vec<Selector>,
}

impl Purges {
    /// To be called before the catalog is purged: what a drive adds to the catalog later is compared
    /// with what is noted here, and what it added before is found there.
    pub(super) fn note(&self, selector: &Selector) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match selector {
            Selector::Url(key) => drop(noted.urls.insert(key.clone())),
            other => noted.others.push(other.clone()),
        }
    }

    pub(super) fn covers(&self, key: &ObjectKey) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.urls.contains(key) || noted.others.iter().any(|selector| selector.matches(key))
    }

    /// No drive is being opened any more.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Noted::default();
    }
}
