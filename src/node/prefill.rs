//! A job that has a list of URLs fetched and stored, and tells how it goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use mcc_cache::{Cache, FillRate, PrefillProgress, Prefilled};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// The most URLs of one job.
pub(crate) const MOST_URLS: usize = 100_000;
/// The most objects that one job fetches at once.
pub(crate) const MOST_PARALLEL: usize = 16;
/// How often it is told how far a job is.
const TICK: Duration = Duration::from_millis(250);

/// `POST /v1/cache/prefill`: what to fetch, and how fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrefillOrder {
    /// Host, path and query each, with or without `http://`.
    pub(crate) urls: Vec<String>,
    /// How many objects are fetched at once.
    #[serde(default = "four")]
    pub(crate) parallel: usize,
    /// The most that is fetched, in megabits (10^6 bits) per second; none: as fast as it goes.
    #[serde(default)]
    pub(crate) rate_mbps: Option<u32>,
}

fn four() -> usize {
    4
}

impl PrefillOrder {
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err("`urls` is empty: there is nothing to fetch".to_owned());
        }
        if self.urls.len() > MOST_URLS {
            let found = self.urls.len();
            return Err(format!("{found} URLs are too many at once: {MOST_URLS} at most"));
        }
        if !(1..=MOST_PARALLEL).contains(&self.parallel) {
            return Err(format!("`parallel` is 1 to {MOST_PARALLEL}, not {}", self.parallel));
        }
        if self.rate_mbps == Some(0) {
            return Err("`rate_mbps` is 1 or more, or absent".to_owned());
        }
        Ok(())
    }
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum PrefillEvent {
    /// How far the job is, a few times a second.
    Progress(PrefillState),
    /// One object is finished with.
    Object(PrefilledObject),
    /// All are. What was stored is on the drives.
    End(PrefillTally),
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrefillState {
    /// Objects of the list.
    pub(crate) objects: u64,
    pub(crate) tally: PrefillTally,
    /// Bytes from origins so far, those of the objects in work included.
    pub(crate) fetched_bytes: u64,
    /// The objects in work.
    pub(crate) running: Vec<PrefillingObject>,
}

/// An object in work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrefillingObject {
    pub(crate) url: String,
    /// Bytes of it that are here.
    pub(crate) bytes: u64,
    /// Its length in bytes; 0 before it is known.
    pub(crate) length: u64,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrefilledObject {
    pub(crate) url: String,
    pub(crate) outcome: PrefillOutcome,
    /// Its length in bytes; 0 if that never became known.
    pub(crate) length: u64,
    /// Bytes of it that came from the origin for this job.
    pub(crate) fetched_bytes: u64,
    /// Why it is not stored whole.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PrefillOutcome {
    Fetched,
    AlreadyStored,
    Failed,
}

/// What became of all objects so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrefillTally {
    pub(crate) fetched: u64,
    pub(crate) already_stored: u64,
    pub(crate) failed: u64,
    /// Bytes that came from origins for the objects that are finished with.
    pub(crate) fetched_bytes: u64,
}

impl PrefillTally {
    /// Objects that are finished with.
    pub(crate) fn objects(&self) -> u64 {
        self.fetched + self.already_stored + self.failed
    }

    /// Counts one object more.
    pub(crate) fn count(&mut self, object: &PrefilledObject) {
        self.fetched_bytes += object.fetched_bytes;
        *match object.outcome {
            PrefillOutcome::Fetched => &mut self.fetched,
            PrefillOutcome::AlreadyStored => &mut self.already_stored,
            PrefillOutcome::Failed => &mut self.failed,
        } += 1;
    }
}

/// The objects in work, by their place in the list.
type Running = Mutex<BTreeMap<usize, (String, Arc<PrefillProgress>)>>;

/// Carries `order` out. Stops when nobody takes the events any more; one who takes them slowly makes
/// the job wait.
pub(crate) async fn run(
    cache: Arc<Cache>,
    order: PrefillOrder,
    events: mpsc::Sender<PrefillEvent>,
) {
    let objects = order.urls.len() as u64;
    let rate = FillRate::new(order.rate_mbps);
    let running = Running::default();
    let work = stream::iter(order.urls.into_iter().enumerate())
        .map(|(place, url)| one(&cache, place, url, &rate, &running))
        .buffer_unordered(order.parallel);
    tokio::pin!(work);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tally = PrefillTally::default();
    loop {
        tokio::select! {
            object = work.next() => {
                let Some(object) = object else { break };
                tally.count(&object);
                if events.send(PrefillEvent::Object(object)).await.is_err() {
                    break;
                }
            }
            _ = ticks.tick() => {
                // There is a newer one soon.
                let _ = events.try_send(PrefillEvent::Progress(state(objects, tally, &running)));
            }
            () = events.closed() => break,
        }
    }
    if events.is_closed() {
        let done = tally.objects();
        tracing::info!(done, objects, "prefill stopped: whoever asked for it has gone");
        return;
    }
    let stored = Arc::clone(&cache);
    if !tokio::task::spawn_blocking(move || stored.flush()).await.unwrap_or(false) {
        tracing::warn!(
            "a drive has not written down all of a prefill: a crash now may lose some of it"
        );
    }
    tracing::info!(
        fetched = tally.fetched,
        already_stored = tally.already_stored,
        failed = tally.failed,
        bytes = tally.fetched_bytes,
        "prefilled"
    );
    let _ = events.send(PrefillEvent::End(tally)).await;
}

async fn one(
    cache: &Cache,
    place: usize,
    url: String,
    rate: &FillRate,
    running: &Running,
) -> PrefilledObject {
    let progress = Arc::new(PrefillProgress::default());
    let work = || running.lock().unwrap_or_else(PoisonError::into_inner);
    work().insert(place, (url.clone(), Arc::clone(&progress)));
    let outcome = cache.prefill(&url, rate, &progress).await;
    work().remove(&place);
    let length = progress.length();
    let failed = |error: String| (PrefillOutcome::Failed, progress.fetched(), Some(error));
    let (outcome, fetched_bytes, error) = match outcome {
        Ok(Ok(Prefilled { fetched: 0, .. })) => (PrefillOutcome::AlreadyStored, 0, None),
        Ok(Ok(Prefilled { fetched, .. })) => (PrefillOutcome::Fetched, fetched, None),
        Ok(Err(error)) => failed(error.to_string()),
        Err(error) => failed(error.to_string()),
    };
    PrefilledObject { url, outcome, length, fetched_bytes, error }
}

fn state(objects: u64, tally: PrefillTally, running: &Running) -> PrefillState {
    let running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let fetched: u64 = running.values().map(|(_, progress)| progress.fetched()).sum();
    PrefillState {
        objects,
        tally,
        fetched_bytes: tally.fetched_bytes + fetched,
        running: running
            .values()
            .map(|(url, progress)| PrefillingObject {
                url: url.clone(),
                bytes: progress.done(),
                length: progress.length(),
            })
            .collect(),
    }
}
