//! Questions to the keepers of all drives, and waiting for their answers.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::bay::Bay;
use super::drive::Drive;
use super::keeper::Task;

/// How long the drives have for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks all drives at once, those that are being opened as soon as they join, then waits for each
/// answer. A keeper that has ended, or has failed, gives none; one that hangs is given up. True when
/// all have answered.
pub(super) fn ask_all(bays: &[ArcSwap<Bay>], task: fn(SyncSender<()>) -> Task) -> bool {
    let until = Instant::now() + PATIENCE;
    let (mut asked, mut opening) = (Vec::new(), bays.iter().collect::<Vec<_>>());
    loop {
        opening.retain(|bay| {
            let bay = bay.load();
            if bay.is_opening() {
                return true;
            }
            let drive = bay.up().cloned();
            asked.extend(drive.map(|drive| (ask(&drive, task, until), drive)));
            false
        });
        if opening.is_empty() || Instant::now() >= until {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // Each is waited for, also when another one has failed.
    asked.into_iter().fold(opening.is_empty(), |all, (answer, drive)| {
        answer.is_some_and(|answer| await_answer(&drive, &answer, until)) && all
    })
}

/// Asks one drive and waits for its answer. True when it has answered.
pub(super) fn ask_one(drive: &Drive, task: fn(SyncSender<()>) -> Task) -> bool {
    let until = Instant::now() + PATIENCE;
    ask(drive, task, until).is_some_and(|answer| await_answer(drive, &answer, until))
}

/// Waits for a drive's answer, unless it goes offline meanwhile.
fn await_answer(drive: &Drive, answer: &Receiver<()>, until: Instant) -> bool {
    /// How often to look whether it has.
    const TURN: Duration = Duration::from_millis(100);
    while drive.is_up() {
        let rest = until.saturating_duration_since(Instant::now());
        match answer.recv_timeout(rest.min(TURN)) {
            Err(RecvTimeoutError::Timeout) if !rest.is_zero() => {}
            answer => return answer.is_ok(),
        }
    }
    false
}

/// Puts a question into the drive's queue, and tries again while that is full.
fn ask(drive: &Drive, task: fn(SyncSender<()>) -> Task, until: Instant) -> Option<Receiver<()>> {
    let (done, answer) = sync_channel(1);
    let mut question = task(done);
    loop {
        match drive.tasks.try_send(question) {
            Ok(()) => return Some(answer),
            Err(TrySendError::Full(again)) if drive.is_up() && Instant::now() < until => {
                question = again;
            }
            Err(_) => return None,
        }
        thread::sleep(Duration::from_millis(1));
    }
}
