//! The thread that looks after a drive: it finds out when an operation does not come back, and writes
//! down that a drive was given up. It never touches the drive itself.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::drive::Drive;
use super::keeper::Task;
use super::watch::Watch;

/// Starts the thread. `limit` is how long an operation may take. It ends with the drive's part in the
/// store.
pub(super) fn start(
    drive: &Arc<Drive>,
    tasks: Arc<Mutex<Receiver<Task>>>,
    limit: Duration,
) -> io::Result<()> {
    let name = format!("mcc-care-{}", drive.index);
    let patient = Arc::downgrade(drive);
    let carer = thread::Builder::new().name(name).spawn(move || {
        while let Some(drive) = patient.upgrade() {
            if drive.abandoned.load(Ordering::Acquire) {
                return;
            }
            if drive.is_up()
                && let Some(stuck) = drive.disk.watch().look()
            {
                drive.hangs(stuck, limit);
                give_back(&tasks);
            }
            if let Some(offline) = drive.offline.get() {
                if drive.given_up.load(Ordering::Acquire) {
                    drive.ledger.give_up(drive.disk.path(), offline);
                }
                return;
            }
            drop(drive);
            thread::park_timeout(Watch::turn(limit));
        }
    })?;
    let _ = drive.carer.set(carer.thread().clone());
    Ok(())
}

/// Gives back the memory of the blocks that wait for a keeper that hangs. One that does not hang has
/// the queue in its hands, and does this itself.
fn give_back(tasks: &Mutex<Receiver<Task>>) {
    if let Ok(tasks) = tasks.try_lock() {
        tasks.try_iter().for_each(drop);
    }
}
