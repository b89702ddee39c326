//! Keeps the footprint on disk, so that a node that starts again serves its clients at once.
//!
//! A task of its own asks the RIB for the routes page by page and writes them to a new file beside the
//! old one, which it then replaces: at any instant there is a whole file or none. What is held for
//! review is not saved. A disk that takes nothing harms nothing now, and would at the next start: so the
//! status tells of it, and the next attempt comes later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use ipnet::IpNet;
use mcc_config::{Asn, Neighbor};
use serde::Serialize;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::dynamic::{Range, range_of};
use super::rib_task::Request;
use super::status::Board;
use crate::rib::last_good::{SaveCursor, SavedRoutes, file_end, file_head, read_file};
use crate::rib::{Rib, RibSummary};

/// The wait between two looks at whether there is something to save,
const INTERVAL: Duration = Duration::from_secs(15);
/// longer by this for each prefix: a full table is written every two minutes at most.
const PER_PREFIX: Duration = Duration::from_micros(100);
/// How long is told that what the last run saved was not used.
const TOLD_OF_UNUSED: Duration = Duration::from_secs(86_400);
/// How long the last save may take when the node stops.
const LAST_SAVE: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct LastGoodTask {
    path: PathBuf,
    board: Arc<Board>,
    requests: mpsc::Sender<Request>,
    stop: CancellationToken,
    /// What the file holds.
    saved: RibSummary,
}

/// How the saving goes, as the task tells the status.
#[derive(Debug, Default)]
pub(super) struct SavingBoard {
    failures: AtomicU64,
    failing: ArcSwapOption<Failing>,
    unused: ArcSwapOption<Failing>,
}

/// What every attempt since then has come to, or the one to read the file.
#[derive(Debug)]
struct Failing {
    file: PathBuf,
    since: Instant,
    error: String,
}

/// How the saving of the footprint for the next start goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SavingStatus {
    /// Attempts that have failed.
    pub failures: u64,
    /// Set while the last attempt has failed.
    pub failing: Option<SavingFailure>,
    /// Set for a day if the file of the last run could not be used: the node has begun as a new one.
    pub unused: Option<SavingFailure>,
}

/// Why the footprint cannot be saved, or what was saved cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SavingFailure {
    /// The file, which is the one of before if there is any.
    pub file: PathBuf,
    /// For how long.
    pub since_seconds: u64,
    /// What the last attempt came to.
    pub error: String,
}

impl SavingBoard {
    /// Whether it says something new.
    fn failed(&self, file: &Path, error: &io::Error) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let (before, error) = (self.failing.load(), error.to_string());
        let is_new = before.as_ref().is_none_or(|before| before.error != error);
        let since = before.as_ref().map_or_else(Instant::now, |before| before.since);
        self.failing.store(Some(Arc::new(Failing { file: file.to_owned(), since, error })));
        is_new
    }

    /// Whether it failed before.
    fn succeeded(&self) -> bool {
        self.failing.swap(None).is_some()
    }

    /// What the last run saved is not used.
    fn is_unused(&self, file: &Path, error: &impl ToString) {
        let (file, since, error) = (file.to_owned(), Instant::now(), error.to_string());
        self.unused.store(Some(Arc::new(Failing { file, since, error })));
    }

    pub(super) fn status(&self, now: Instant) -> SavingStatus {
        let failure = |failing: &Arc<Failing>| failing.status(now);
        let is_told = |unused: &SavingFailure| unused.since_seconds < TOLD_OF_UNUSED.as_secs();
        SavingStatus {
            failures: self.failures.load(Ordering::Relaxed),
            failing: self.failing.load().as_ref().map(failure),
            unused: self.unused.load().as_ref().map(failure).filter(is_told),
        }
    }
}

impl Failing {
    fn status(&self, now: Instant) -> SavingFailure {
        SavingFailure {
            file: self.file.clone(),
            since_seconds: now.saturating_duration_since(self.since).as_secs(),
            error: self.error.clone(),
        }
    }
}

/// Why nothing was saved.
enum NotSaved {
    /// The footprint waits for review, or the RIB has stopped.
    NotNow,
    Io(io::Error),
}

impl From<io::Error> for NotSaved {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was saved. A file that is missing is none to speak of; of one that cannot be used the log and
/// the status tell, and then the node begins as a new one does. IPv6 routes of a run that had IPv6 are
/// left out if this one has not: no router could ever send or withdraw them again.
pub(super) fn read(path: &Path, ipv6: bool, board: &SavingBoard) -> Vec<SavedRoutes> {
    let mut saved = read_all(path, board);
    if !ipv6 {
        for routes in &mut saved {
            routes
                .updates
                .retain(|update| update.announced.iter().all(|nlri| is_ipv4(&nlri.prefix)));
        }
    }
    saved
}

fn is_ipv4(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V4(_))
}

fn read_all(path: &Path, board: &SavingBoard) -> Vec<SavedRoutes> {
    let file = match std::fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let file = path.display();
            tracing::warn!(%file, %error, "cannot read the footprint of the last run");
            board.is_unused(path, &error);
            return Vec::new();
        }
    };
    read_file(&file).unwrap_or_else(|error| {
        let file = path.display();
        tracing::warn!(%file, %error, "the footprint of the last run is not used");
        board.is_unused(path, &error);
        Vec::new()
    })
}

/// The routers of `ranges` that something was saved of: each is a neighbor from the beginning, and
/// owns its routes until it is back or their time is up. So many of a range at most as it may have
/// sessions.
pub(super) fn dynamic_neighbors(
    saved: &[SavedRoutes],
    configured: &[Neighbor],
    ranges: &[Range],
) -> Vec<(Neighbor, IpNet)> {
    let mut found: Vec<(Neighbor, IpNet)> = Vec::new();
    for SavedRoutes { neighbor: address, asn, .. } in saved {
        let is = |neighbor: &Neighbor| neighbor.address.to_canonical() == address.to_canonical();
        let is_known = configured.iter().any(is) || found.iter().any(|(known, _)| is(known));
        let Some(range) = range_of(ranges, *address).filter(|_| !is_known) else { continue };
        let Some(asn) = Asn::new(*asn).filter(|_| range.settings.allows(*asn)) else { continue };
        let there = found.iter().filter(|(_, prefix)| *prefix == range.prefix()).count();
        if there < usize::from(range.settings.max_sessions) {
            found.push((range.settings.neighbor(*address, asn), range.prefix()));
        }
    }
    found
}

/// Fills a new RIB with what was saved; it stays for `keep` at most.
pub(super) fn restore(saved: Vec<SavedRoutes>, keep: Duration, rib: &mut Rib, now: Instant) {
    let routes = rib.restore(saved, keep, now);
    if routes > 0 {
        tracing::info!(
            routes,
            last_good_time = keep.as_secs(),
            "serving the footprint of the last run until the routers have announced theirs"
        );
    }
}

impl LastGoodTask {
    /// `restored` is what the file holds: the counters of the RIB as it was filled with it. Not those
    /// of now: a quick router may have sent its table already.
    pub(super) fn new(
        path: PathBuf,
        board: Arc<Board>,
        requests: mpsc::Sender<Request>,
        stop: CancellationToken,
        restored: RibSummary,
    ) -> Self {
        Self { path, board, requests, stop, saved: restored }
    }

    pub(super) async fn run(mut self) {
        // Of a run that ended in the middle of it.
        self.remove_part().await;
        loop {
            let prefixes =
                u32::try_from(self.board.rib.load().footprint.prefixes()).unwrap_or(u32::MAX);
            let wait = INTERVAL + PER_PREFIX.saturating_mul(prefixes);
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = sleep(wait) => self.save_if_changed().await,
            }
        }
        if tokio::time::timeout(LAST_SAVE, self.save_if_changed()).await.is_err() {
            tracing::warn!("no time was left to save the footprint; the file of before stays");
            self.remove_part().await;
        }
    }

    async fn save_if_changed(&mut self) {
        let now = self.board.rib.load_full();
        if what_counts(&now) == what_counts(&self.saved) {
            return;
        }
        let (saved, file) = (self.save().await, self.path.display());
        if saved.is_err() {
            self.remove_part().await;
        }
        match saved {
            Ok(()) => {
                self.saved = now.as_ref().clone();
                if self.board.saving.succeeded() {
                    tracing::info!(%file, "the footprint is saved again");
                }
            }
            Err(NotSaved::NotNow) => {}
            Err(NotSaved::Io(error)) => {
                if self.board.saving.failed(&self.path, &error) {
                    tracing::warn!(%file, %error, "cannot save the footprint; the file of before stays");
                }
            }
        }
    }

    /// The new file until it is whole.
    fn part(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    /// What cannot be removed is overwritten the next time.
    async fn remove_part(&self) {
        let _ = fs::remove_file(self.part()).await;
    }

    async fn save(&self) -> Result<(), NotSaved> {
        let new = self.part();
        let mut file = File::create(&new).await?;
        file.write_all(&file_head()).await?;
        let (mut cursor, mut routes) = (Some(SaveCursor::default()), 0);
        while let Some(at) = cursor {
            let (reply, answer) = oneshot::channel();
            let asked = self.requests.send(Request::Save { cursor: at, reply }).await;
            asked.map_err(|_| NotSaved::NotNow)?;
            let page = answer.await.ok().flatten().ok_or(NotSaved::NotNow)?;
            file.write_all(&page.bytes).await?;
            routes += page.routes;
            cursor = page.next;
        }
        file.write_all(&file_end(routes)).await?;
        file.sync_all().await?;
        fs::rename(&new, &self.path).await?;
        Ok(())
    }
}

/// By neighbor: how many routes are accepted, and which prefixes they have.
fn what_counts(summary: &RibSummary) -> impl PartialEq + use<'_> {
    let neighbors = summary.neighbors.iter();
    (summary.attribute_sets, neighbors.map(|n| (n.accepted, &n.set_hash)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::rib::{ExportRules, Rib};
    use crate::speaker::member::Roster;

    /// A RIB that only saves, and is not the one that was saved last.
    fn task(path: PathBuf) -> LastGoodTask {
        let manual = ["8.8.0.0/16".parse().unwrap()];
        let rib = Rib::new(Vec::new(), &manual, ExportRules::default(), Instant::now());
        let board = Arc::new(Board {
            router_id: Ipv4Addr::LOCALHOST,
            ebgp_requires_rules: false,
            roster: Roster::default(),
            ranges: Vec::new(),
            rib: ArcSwap::from_pointee(rib.summary()),
            unknown_connections: AtomicU64::new(0),
            saving: SavingBoard::default(),
        });
        let (requests, mut asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                if let Request::Save { cursor, reply } = request {
                    let _ = reply.send(Some(rib.save(cursor, Instant::now())));
                }
            }
        });
        let before = RibSummary { attribute_sets: 1, ..RibSummary::default() };
        LastGoodTask::new(path, board, requests, CancellationToken::new(), before)
    }

    #[tokio::test]
    async fn a_failure_is_told_until_it_is_over_and_leaves_no_part_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("footprint.last-good");
        // A file cannot take the place of a folder.
        std::fs::create_dir(&path).unwrap();
        let mut task = task(path.clone());
        let board = Arc::clone(&task.board);
        let status = || board.saving.status(Instant::now());
        for attempt in 1..=2 {
            task.save_if_changed().await;
            let SavingStatus { failures, failing, .. } = status();
            assert_eq!((failures, failing.unwrap().file), (attempt, path.clone()));
            assert!(!folder.path().join("footprint.new").exists());
        }
        std::fs::remove_dir(&path).unwrap();
        task.save_if_changed().await;
        assert_eq!(status(), SavingStatus { failures: 2, failing: None, unused: None });
        assert!(read_file(&std::fs::read(&path).unwrap()).is_ok());
    }

    #[test]
    fn of_a_file_that_cannot_be_used_the_status_tells_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("footprint.last-good");
        let board = SavingBoard::default();
        assert!(read(&path, false, &board).is_empty());
        assert_eq!(board.status(Instant::now()).unused, None, "there is none yet");
        std::fs::write(&path, b"mccfoot2").unwrap();
        assert!(read(&path, false, &board).is_empty());
        let unused = board.status(Instant::now()).unused.unwrap();
        assert_eq!((unused.file, unused.since_seconds), (path, 0));
        assert!(unused.error.contains("it was not written to the end"), "{}", unused.error);
        assert_eq!(board.status(Instant::now() + TOLD_OF_UNUSED).unused, None);
    }

    #[tokio::test]
    async fn the_part_of_a_file_of_the_last_run_goes() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("footprint.new");
        std::fs::write(&part, b"mccfoot2").unwrap();
        let mut task = task(folder.path().join("footprint.last-good"));
        task.saved = task.board.rib.load().as_ref().clone();
        task.stop.cancel();
        task.run().await;
        assert!(!part.exists());
    }
}
