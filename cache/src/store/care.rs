//! The thread that looks after a drive, from the moment that it is being opened: it finds out when an
//! operation does not come back, and writes down that a drive was given up. It never touches the
//! drive itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, Thread};
use std::time::Duration;

use super::bay::Bay;
use super::drive::{Drive, advice};
use super::keeper::Task;
use super::ledger::Ledger;
use super::status::Offline;
use super::watch::{Stuck, Watch};

/// Starts the thread. `patience` is how long an operation may take. It ends with the drive's part in the
/// store.
pub(super) fn start(
    bay: &Arc<Bay>,
    ledger: &Arc<Ledger>,
    patience: Duration,
) -> io::Result<Thread> {
    let (patient, ledger) = (Arc::downgrade(bay), Arc::clone(ledger));
    let carer = thread::Builder::new().name("mcc-care".to_owned()).spawn(move || {
        while let Some(bay) = patient.upgrade() {
            if !look_after(&bay, &ledger, patience) {
                bay.uncared.store(true, Ordering::Release);
                return;
            }
            drop(bay);
            thread::park_timeout(Watch::turn(patience));
        }
    })?;
    Ok(carer.thread().clone())
}

/// False when there is nothing more to look after.
fn look_after(bay: &Bay, ledger: &Ledger, patience: Duration) -> bool {
    let progress = bay.progress();
    if progress.abandoned.load(Ordering::Acquire) {
        return false;
    }
    let stuck = progress.watch.look().map(|stuck| describe(stuck, patience));
    match (bay.opened(), stuck) {
        (None, None) => true,
        (None, Some(reason)) => {
            let offline = Offline::new(reason, advice(bay.path()));
            ledger.give_up(bay.path(), &offline);
            bay.settle(Err(offline));
            false
        }
        (Some(Err(_)), _) => false,
        (Some(Ok(drive)), stuck) => {
            if let Some(reason) = stuck.filter(|_| drive.is_up()) {
                drive.hangs(reason);
                give_back(bay);
                // What told the keeper was among that: else it would not look up before its next checkpoint.
                drive.tell(Task::Wake);
            }
            let Some(offline) = drive.offline.get() else { return true };
            note_given_up(drive, offline);
            false
        }
    }
}

fn describe(stuck: Stuck, patience: Duration) -> String {
    format!(
        "it hangs: {} of its file `{}` has not come back for more than {} s",
        stuck.operation.name(),
        stuck.part.file_name(),
        patience.as_secs()
    )
}

fn note_given_up(drive: &Drive, offline: &Offline) {
    if drive.given_up.load(Ordering::Acquire) {
        drive.ledger.give_up(drive.disk.path(), offline);
    }
}

/// Gives back the memory of the blocks that wait for a keeper that hangs. One that does not hang has
/// the queue in its hands, and does this itself.
fn give_back(bay: &Bay) {
    if let Some(Ok(tasks)) = bay.tasks().map(|tasks| tasks.try_lock()) {
        tasks.try_iter().for_each(drop);
    }
}
