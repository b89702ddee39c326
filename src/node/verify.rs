//! A job that has blocks compared with their checksums, and tells how it goes.

use std::path::PathBuf;
use std::time::Duration;

use mcc_cache::store::{Damage, DriveVerifyProgress, Verification};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(250);

/// `POST /v1/cache/verify`: what to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyOrder {
    /// Only this drive.
    #[serde(default)]
    pub(crate) drive: Option<PathBuf>,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum VerifyEvent {
    /// How far it is, a few times a second.
    Progress(VerifyState),
    /// A block that is not what it should be. It is dropped, and fetched anew when asked for.
    Damaged(DamagedBlock),
    /// All is compared.
    End(VerifyState),
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VerifyState {
    /// Only drives that take part.
    pub(crate) drives: Vec<VerifiedDrive>,
}

/// How far it is on one drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VerifiedDrive {
    pub(crate) path: PathBuf,
    /// Blocks to compare, as many as there were at the beginning.
    pub(crate) blocks: u64,
    /// Blocks compared.
    pub(crate) done: u64,
    /// Blocks whose checksum was wrong.
    pub(crate) mismatches: u64,
    /// Blocks that could not be read.
    pub(crate) errors: u64,
}

/// A block that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DamagedBlock {
    pub(crate) drive: PathBuf,
    pub(crate) url: String,
    /// Which MiB of the object, from 0.
    pub(crate) block: u32,
    /// It could not be read at all; else its checksum was wrong.
    pub(crate) unreadable: bool,
}

impl VerifyState {
    fn sum(&self, value: fn(&VerifiedDrive) -> u64) -> u64 {
        self.drives.iter().map(value).sum()
    }

    /// Blocks compared.
    pub(crate) fn done(&self) -> u64 {
        self.sum(|drive| drive.done)
    }

    /// Blocks that are not what they should be.
    pub(crate) fn damaged(&self) -> u64 {
        self.sum(|drive| drive.mismatches + drive.errors)
    }
}

impl From<DriveVerifyProgress> for VerifiedDrive {
    fn from(drive: DriveVerifyProgress) -> Self {
        let DriveVerifyProgress { path, blocks, done, mismatches, errors, .. } = drive;
        Self { path, blocks, done, mismatches, errors }
    }
}

impl From<Damage> for DamagedBlock {
    fn from(damage: Damage) -> Self {
        let Damage { drive, url, block, unreadable } = damage;
        Self { drive, url, block, unreadable }
    }
}

/// Tells how `verification` goes until its end. Breaks it off when nobody takes the events any more.
pub(crate) async fn run(verification: Verification, events: mpsc::Sender<VerifyEvent>) {
    let guard = Guard(verification);
    let verification = &guard.0;
    loop {
        // In this order: what is found until the end is told before it.
        let is_finished = verification.is_finished();
        for damage in verification.take_damages() {
            if events.send(VerifyEvent::Damaged(damage.into())).await.is_err() {
                return;
            }
        }
        let drives = verification.progress().drives;
        let state = VerifyState { drives: drives.into_iter().map(Into::into).collect() };
        if is_finished {
            let _ = events.send(VerifyEvent::End(state)).await;
            return;
        }
        // There is a newer one soon.
        let _ = events.try_send(VerifyEvent::Progress(state));
        tokio::select! {
            () = sleep(TICK) => {}
            () = events.closed() => return,
        }
    }
}

/// Breaks a verification off when it is dropped; one that has ended does not mind.
struct Guard(Verification);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.0.is_finished() {
            tracing::info!("verification broken off: whoever asked for it has gone");
        }
        self.0.cancel();
    }
}
