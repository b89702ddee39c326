//! The link to the control plane: one task that advertises the footprint and sends heartbeats.
//!
//! Nothing waits for it. While the control plane is away the node serves on, changes are coalesced
//! in the [`Advertiser`], and calls are tried again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use ipnet::IpNet;
use mcc_bgp::rib::{PrefixAttributes, PrefixSource};
use mcc_bgp::speaker::{FootprintSubscription, FootprintUpdate, SpeakerHandle};
use mcc_config::Secret;
use mcc_control::api::types::{Heartbeat, HeartbeatAnswer, LeftOut};
use mcc_control::client::{Advertised, Client, ClientError};
use mcc_control::feed::{
    Advertiser, AdvertiserStatus, Answer, Change, Failure, Pace, RouteAttributes, RouteRecord,
    SessionId, Source,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::central_settings::CentralSettings;
use super::token_file;

/// Until the control plane says otherwise.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// How long the last heartbeat, which says that the node goes, may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How the link is, as a snapshot.
#[derive(Debug, Clone)]
pub(super) struct LinkState {
    pub(super) url: String,
    /// The last call was answered.
    pub(super) connected: bool,
    /// Since when `connected` is what it is.
    pub(super) since: SystemTime,
    /// What the last call that failed said.
    pub(super) error: Option<String>,
    /// Why the control plane does not take the footprint, although it answers.
    pub(super) refused: Option<String>,
    /// What the control plane has of the footprint and steers no client by.
    pub(super) left_out: Option<LeftOut>,
    pub(super) advertiser: AdvertiserStatus,
    /// Prefixes of the footprint that are not advertised, since the control plane has them itself.
    pub(super) withheld: usize,
    /// The control plane has settings for this node that it does not run with yet.
    pub(super) new_settings: bool,
}

/// Reads the state of a link without waiting for it.
#[derive(Debug, Clone)]
pub(super) struct LinkWatch(Arc<ArcSwap<LinkState>>);

impl LinkWatch {
    pub(super) fn state(&self) -> Arc<LinkState> {
        self.0.load_full()
    }
}

/// Makes the next heartbeat.
pub(super) type Report = Box<dyn Fn(&LinkState) -> Heartbeat + Send + Sync>;

/// The running link.
pub(super) struct ControlLink {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl ControlLink {
    /// The link of a node to the control plane that its file names.
    pub(super) fn prepare(
        url: &str,
        token_file: &Path,
        speaker: &SpeakerHandle,
    ) -> Result<NewLink> {
        let client = Client::new(url, None).context("control.url")?;
        let now = Instant::now();
        let session = SessionId::new(Uuid::now_v7());
        let advertiser = Advertiser::new(session, session_seed(session), Pace::default(), now);
        let state = LinkState {
            url: url.to_owned(),
            connected: false,
            refused: None,
            left_out: None,
            since: SystemTime::now(),
            error: None,
            advertiser: advertiser.status(),
            withheld: 0,
            new_settings: false,
        };
        Ok(NewLink {
            watch: LinkWatch(Arc::new(ArcSwap::from_pointee(state))),
            client,
            token_file: token_file.to_owned(),
            advertiser,
            footprint: speaker.subscribe(),
        })
    }

    /// Says a last word (the node drains, so that clients are steered elsewhere at once) and ends.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if timeout(LAST_WORD, self.task).await.is_err() {
            tracing::warn!("the control plane could not be told that this node stops");
        }
    }
}

/// A link that does not run yet: others already need to watch it.
pub(super) struct NewLink {
    watch: LinkWatch,
    client: Client,
    token_file: PathBuf,
    advertiser: Advertiser,
    footprint: FootprintSubscription,
}

impl NewLink {
    pub(super) fn watch(&self) -> LinkWatch {
        self.watch.clone()
    }

    /// Starts the task. `report` makes its heartbeats.
    pub(super) fn start(self, report: Report, settings: Arc<CentralSettings>) -> ControlLink {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(self, report, settings, stop.clone()));
        ControlLink { task, stop }
    }
}

async fn run(
    link: NewLink,
    report: Report,
    settings: Arc<CentralSettings>,
    stop: CancellationToken,
) {
    let NewLink { watch, client, token_file, advertiser, footprint } = link;
    update(&watch, |state| state.withheld = settings.central_cidrs().len());
    let token = tokio::select! {
        () = stop.cancelled() => return,
        token = wait_for_token(&token_file, &watch) => token,
    };
    Task {
        client: client.with_token(token.clone()),
        token,
        token_file,
        watch,
        advertiser,
        footprint: Some(footprint),
        report,
        known_generation: settings.generation,
        central_cidrs: settings.central_cidrs(),
        settings,
        calls: JoinSet::new(),
        next_heartbeat: Instant::now(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
    }
    .run(stop)
    .await;
}

/// A node that is not enrolled yet serves all the same; it looks for its token again and again.
async fn wait_for_token(file: &Path, watch: &LinkWatch) -> Secret {
    loop {
        match token_file::read(file).await {
            Ok(token) => return token,
            Err(why) => note_failure(
                watch,
                format!("control.token_file {}: {why}; `mcc enrol` writes it", file.display()),
            ),
        }
        sleep(HEARTBEAT_INTERVAL).await;
    }
}

/// What came of a call.
enum Called {
    Advertise(Result<Advertised, Failure>),
    Heartbeat(Result<HeartbeatAnswer, ClientError>),
    /// The generation fetched, and whether its settings differ from those of the node.
    Settings(Result<(u64, bool), ClientError>),
    /// What the token file holds by now.
    Token(Result<Secret, String>),
}

struct Task {
    client: Client,
    /// What `client` shows.
    token: Secret,
    token_file: PathBuf,
    watch: LinkWatch,
    advertiser: Advertiser,
    /// `None` once the speaker has stopped.
    footprint: Option<FootprintSubscription>,
    report: Report,
    settings: Arc<CentralSettings>,
    /// These are the control plane's own. Advertised back to it they would outlive their removal
    /// there, until this node is restarted.
    central_cidrs: BTreeSet<IpNet>,
    /// The newest generation of settings that was fetched.
    known_generation: u64,
    /// At most one heartbeat and one advertisement at a time.
    calls: JoinSet<Called>,
    next_heartbeat: Instant,
    heartbeat_interval: Duration,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let now = Instant::now();
            if let Some(request) = self.advertiser.poll(now) {
                let client = self.client.clone();
                self.calls
                    .spawn(async move { Called::Advertise(client.advertise(&request).await) });
            }
            if now >= self.next_heartbeat {
                // Not before the answer, or the time for it, has passed: see `heartbeat_done`.
                self.next_heartbeat = now + self.heartbeat_interval * 10;
                let heartbeat = (self.report)(&self.watch.state());
                let client = self.client.clone();
                self.calls
                    .spawn(async move { Called::Heartbeat(client.heartbeat(&heartbeat).await) });
            }
            self.publish();
            let wake = match self.advertiser.next_deadline() {
                Some(deadline) => deadline.min(self.next_heartbeat),
                None => self.next_heartbeat,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(wake.into()) => {}
                update = next_update(&mut self.footprint) => self.footprint_changed(update),
                Some(done) = self.calls.join_next() => match done {
                    Ok(Called::Advertise(result)) => self.advertised(result),
                    Ok(Called::Heartbeat(result)) => self.heartbeat_done(result),
                    Ok(Called::Settings(result)) => self.settings_fetched(result),
                    Ok(Called::Token(result)) => self.token_read(result),
                    Err(error) => tracing::error!(%error, "a call to the control plane ended badly"),
                },
            }
        }
        let mut last = (self.report)(&self.watch.state());
        last.ready = false;
        last.draining = true;
        last.reasons = vec!["the node has been stopped".to_owned()];
        if let Err(error) = self.client.heartbeat(&last).await {
            tracing::debug!(%error, "the last heartbeat was not answered");
        }
    }

    fn footprint_changed(&mut self, update: Option<FootprintUpdate>) {
        let now = Instant::now();
        let central = &self.central_cidrs;
        match update {
            Some(FootprintUpdate::Snapshot(prefixes)) => {
                let records = prefixes
                    .into_iter()
                    .filter(|(prefix, a)| !is_central(central, prefix, Some(a)))
                    .map(|(prefix, a)| RouteRecord { prefix, attributes: attributes(&a) });
                self.advertiser.snapshot(records, now);
            }
            Some(FootprintUpdate::Changes(changes)) => {
                let changes = changes
                    .into_iter()
                    .filter(|(prefix, a)| !is_central(central, prefix, a.as_ref()))
                    .map(|(prefix, a)| Change::new(prefix, a.as_ref().map(attributes)));
                self.advertiser.changes(changes, now);
            }
            // What was advertised stays advertised: the node is about to stop.
            None => self.footprint = None,
        }
    }

    fn advertised(&mut self, result: Result<Advertised, Failure>) {
        let now = Instant::now();
        match result {
            Ok(Advertised { answer, left_out }) => {
                let refused = match &answer {
                    Answer::Invalid { line, reason, .. } => {
                        tracing::warn!(line, reason, "the control plane refuses the advertisement");
                        Some(reason.to_string())
                    }
                    _ => None,
                };
                if self.watch.state().refused != refused {
                    update(&self.watch, |state| state.refused = refused);
                }
                if let Answer::Ok(_) = answer {
                    self.note_left_out(left_out);
                }
                self.advertiser.answer(answer, now);
            }
            Err(failure) => {
                if let Failure::Unreachable(why) = &failure {
                    note_failure(&self.watch, why.clone());
                }
                self.advertiser.failed(failure, now);
            }
        }
    }

    fn heartbeat_done(&mut self, result: Result<HeartbeatAnswer, ClientError>) {
        let now = Instant::now();
        match result {
            Ok(answer) => {
                self.heartbeat_interval =
                    Duration::from_secs(answer.interval_seconds.clamp(1, 300));
                self.next_heartbeat = now + self.heartbeat_interval;
                if answer.send_snapshot {
                    self.advertiser.resync(now);
                }
                note_success(&self.watch);
                self.note_left_out(answer.left_out);
                self.advertiser.resume(now);
                if answer.config_generation != self.known_generation {
                    self.fetch_settings();
                }
            }
            Err(error) => {
                // Sooner than usual: the control plane must hear of a node that is well before it
                // counts as silent.
                self.next_heartbeat = now + self.heartbeat_interval / 4;
                note_failure(&self.watch, error.to_string());
                // Not known, not a node's, of a deleted node: `mcc enrol` may have written another.
                if matches!(error.status(), Some(401 | 403 | 410)) {
                    let file = self.token_file.clone();
                    self.calls.spawn(async move { Called::Token(token_file::read(&file).await) });
                }
            }
        }
    }

    fn note_left_out(&self, left_out: Option<LeftOut>) {
        let before = self.watch.state();
        if before.left_out == left_out {
            return;
        }
        if let Some(LeftOut { prefixes, reason }) = &left_out
            && before.left_out.is_none()
        {
            tracing::warn!(prefixes, reason, "no client is steered by a part of the footprint");
        }
        update(&self.watch, |state| state.left_out = left_out);
    }

    fn token_read(&mut self, result: Result<Secret, String>) {
        let Ok(token) = result else { return };
        if token != self.token {
            tracing::info!(file = %self.token_file.display(), "there is a new token: using it");
            self.client = self.client.clone().with_token(token.clone());
            self.token = token;
            self.next_heartbeat = Instant::now();
        }
    }

    fn fetch_settings(&mut self) {
        let (client, settings) = (self.client.clone(), Arc::clone(&self.settings));
        self.calls.spawn(async move {
            let fetched = match client.configuration(None).await {
                Ok(Some(central)) => Ok((central.generation, settings.received(&central).await)),
                Ok(None) => Ok((settings.generation, false)),
                Err(error) => Err(error),
            };
            Called::Settings(fetched)
        });
    }

    fn settings_fetched(&mut self, result: Result<(u64, bool), ClientError>) {
        match result {
            Ok((generation, differ)) => {
                self.known_generation = generation;
                if differ {
                    tracing::warn!(
                        generation,
                        "new settings from the control plane: a restart applies them"
                    );
                }
                update(&self.watch, |state| state.new_settings = differ);
            }
            // The next heartbeat leads here again.
            Err(error) => tracing::warn!(%error, "cannot fetch the settings of this node"),
        }
    }

    fn publish(&self) {
        let advertiser = self.advertiser.status();
        if self.watch.0.load().advertiser != advertiser {
            update(&self.watch, |state| state.advertiser = advertiser);
        }
    }
}

async fn next_update(footprint: &mut Option<FootprintSubscription>) -> Option<FootprintUpdate> {
    match footprint {
        Some(footprint) => footprint.next().await,
        None => std::future::pending().await,
    }
}

/// Whether the prefix is in the footprint because of a block of the control plane.
fn is_central(
    central: &BTreeSet<IpNet>,
    prefix: &IpNet,
    attributes: Option<&PrefixAttributes>,
) -> bool {
    attributes.is_some_and(|attributes| attributes.source == PrefixSource::Manual)
        && central.contains(prefix)
}

fn attributes(of: &PrefixAttributes) -> Arc<RouteAttributes> {
    Arc::new(RouteAttributes {
        source: match of.source {
            PrefixSource::Manual => Source::Manual,
            PrefixSource::Bgp => Source::Bgp,
        },
        path_len: of.as_path_length,
        med: of.med,
        neighbor_asn: of.neighbor_asn,
        communities: Vec::new(),
    })
}

/// Only the link's own task writes, so that nothing is lost between load and store.
fn update(watch: &LinkWatch, change: impl FnOnce(&mut LinkState)) {
    let mut state = LinkState::clone(&watch.0.load());
    change(&mut state);
    watch.0.store(Arc::new(state));
}

fn note_failure(watch: &LinkWatch, error: String) {
    let before = watch.state();
    if before.connected || before.error.as_deref() != Some(error.as_str()) {
        tracing::warn!(
            url = before.url,
            error,
            "the control plane is not reached; serving goes on"
        );
    }
    update(watch, |state| {
        if state.connected {
            state.since = SystemTime::now();
        }
        state.connected = false;
        state.error = Some(error);
    });
}

fn note_success(watch: &LinkWatch) {
    let before = watch.state();
    if !before.connected {
        tracing::info!(url = before.url, "the control plane answers");
    }
    update(watch, |state| {
        if !state.connected {
            state.since = SystemTime::now();
        }
        state.connected = true;
        state.error = None;
    });
}

/// Spreads retries of many nodes: the random part of the session's name.
fn session_seed(session: SessionId) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(session)
}

#[cfg(test)]
mod tests;
