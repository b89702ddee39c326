//! An operator's order to compare all blocks with their checksums now, and how far it is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use serde::Serialize;

use super::drive::{Drive, count};

/// A verification under way, or at its end. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Verification(Arc<Run>);

#[derive(Debug)]
struct Run {
    drives: Vec<Arc<DriveRun>>,
    cancelled: AtomicBool,
}

/// One drive's part in it.
#[derive(Debug)]
pub(super) struct DriveRun {
    drive: Weak<Drive>,
    path: PathBuf,
    blocks: u64,
    done: AtomicU64,
    mismatches: AtomicU64,
    errors: AtomicU64,
    ended: AtomicBool,
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyProgress {
    /// Blocks to compare, as many as there were at the beginning.
    pub blocks: u64,
    /// Blocks compared. At the end this may be a little more or less than `blocks`: some come, some go.
    pub done: u64,
    /// Blocks that were not what they should be. They are dropped, and fetched anew when asked for.
    pub mismatches: u64,
    /// Blocks that could not be read.
    pub errors: u64,
    /// Whether nothing is being compared any more.
    pub finished: bool,
    /// Whether it was broken off.
    pub cancelled: bool,
    /// One entry per drive that was up at the beginning.
    pub drives: Vec<DriveVerifyProgress>,
}

/// How far a verification is on one drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveVerifyProgress {
    /// The drive's folder.
    pub path: PathBuf,
    /// Blocks to compare.
    pub blocks: u64,
    /// Blocks compared.
    pub done: u64,
    /// Blocks that were not what they should be.
    pub mismatches: u64,
    /// Blocks that could not be read.
    pub errors: u64,
    /// Whether this drive is done, or gone.
    pub finished: bool,
}

impl Verification {
    pub(super) fn new(drives: Vec<Arc<DriveRun>>) -> Self {
        Self(Arc::new(Run { drives, cancelled: AtomicBool::new(false) }))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> VerifyProgress {
        let drives: Vec<_> = self.0.drives.iter().map(|run| run.progress()).collect();
        let sum = |value: fn(&DriveVerifyProgress) -> u64| drives.iter().map(value).sum();
        VerifyProgress {
            blocks: sum(|drive| drive.blocks),
            done: sum(|drive| drive.done),
            mismatches: sum(|drive| drive.mismatches),
            errors: sum(|drive| drive.errors),
            finished: drives.iter().all(|drive| drive.finished),
            cancelled: self.is_cancelled(),
            drives,
        }
    }

    /// Whether nothing is being compared any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.drives.iter().all(|run| run.is_finished())
    }

    /// Breaks it off: it ends within a block.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }
}

impl DriveRun {
    pub(super) fn new(drive: &Arc<Drive>) -> Self {
        Self {
            drive: Arc::downgrade(drive),
            path: drive.disk.path().to_owned(),
            blocks: drive.counts.blocks.load(Ordering::Relaxed),
            done: AtomicU64::new(0),
            mismatches: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn note_done(&self) {
        count(&self.done);
    }

    pub(super) fn note_mismatch(&self) {
        count(&self.mismatches);
    }

    pub(super) fn note_error(&self) {
        count(&self.errors);
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// A drive that has gone offline is done, whatever its thread does.
    fn is_finished(&self) -> bool {
        let is_up = || self.drive.upgrade().is_some_and(|drive| drive.is_up());
        self.ended.load(Ordering::Acquire) || !is_up()
    }

    fn progress(&self) -> DriveVerifyProgress {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DriveVerifyProgress {
            path: self.path.clone(),
            blocks: self.blocks,
            done: get(&self.done),
            mismatches: get(&self.mismatches),
            errors: get(&self.errors),
            finished: self.is_finished(),
        }
    }
}
