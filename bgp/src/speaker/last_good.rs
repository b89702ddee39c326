//! Keeps the footprint on disk, so that a node that starts again serves its clients at once.
//!
//! A task of its own asks the RIB for the routes page by page and writes them to a new file beside the
//! old one, which it then replaces: at any instant there is a whole file or none. What is held for
//! review is not saved. A disk that takes nothing harms nothing: the next attempt comes later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mcc_config::{Asn, Neighbor};
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

/// What was saved. A file that is missing is none to speak of; one that cannot be used is logged, and
/// then the node begins as a new one does. IPv6 routes of a run that had IPv6 are left out if this one
/// has not: no router could ever send or withdraw them again.
pub(super) fn read(path: &Path, ipv6: bool) -> Vec<SavedRoutes> {
    let mut saved = read_all(path);
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

fn read_all(path: &Path) -> Vec<SavedRoutes> {
    let file = match std::fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let file = path.display();
            tracing::warn!(%file, %error, "cannot read the footprint of the last run");
            return Vec::new();
        }
    };
    read_file(&file).unwrap_or_else(|error| {
        let file = path.display();
        tracing::warn!(%file, %error, "the footprint of the last run is not used");
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
        }
    }

    async fn save_if_changed(&mut self) {
        let now = self.board.rib.load_full();
        if what_counts(&now) == what_counts(&self.saved) {
            return;
        }
        match self.save().await {
            Ok(()) => self.saved = now.as_ref().clone(),
            Err(NotSaved::NotNow) => {}
            Err(NotSaved::Io(error)) => {
                let file = self.path.display();
                tracing::warn!(%file, %error, "cannot save the footprint; the file of before stays");
            }
        }
    }

    async fn save(&self) -> Result<(), NotSaved> {
        let new = self.path.with_extension("new");
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
