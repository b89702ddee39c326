//! The cache as a node sees it: open, serve, ask, close.

mod by_url;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mcc_config::{CacheKeeping, CacheLimits, Drive, HostName, NodeName, Origin};
use rustls::ServerConfig;
use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::{Counters, CountersSnapshot, ShortageSnapshot};
use crate::fill::{FillLimits, Fills, Shared};
use crate::origin::{LastError, OriginClient, Origins};
use crate::serve::tls::{self, CertificateFiles, TlsError};
use crate::serve::{DateClock, EgressGate, NodeId, PaceLimits, ServeLimits, Server};
use crate::store::{
    BLOCK, ObjectKey, OnlineError, PinnedObject, Purged, Selector, Store, StoreOptions,
    StoreStatus, TooManyPins, Verification, VerifyError,
};

pub use by_url::ObjectDetail;

/// Seconds in a day.
const DAY: u64 = 24 * 3600;

/// How long fills get to end when the cache closes.
const FILL_END: Duration = Duration::from_secs(2);

/// What a cache needs to know.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// The node's name: in `Via`, `Cache-Status` and the self-made certificate.
    pub node_name: NodeName,
    /// The node's addresses, for the self-made certificate.
    pub addresses: Vec<IpAddr>,
    /// For the self-made certificate, which is made once.
    pub data_dir: PathBuf,
    /// The drives.
    pub drives: Vec<Drive>,
    /// How they are kept.
    pub keeping: CacheKeeping,
    /// Origins beside the built-in allow-list.
    pub origins: Vec<Origin>,
    /// The operator's certificate; without it the node signs its own.
    pub certificate: Option<CertificateFiles>,
    /// Upper bound of what is sent to clients, in megabits (10^6 bits) per second.
    pub max_egress_mbps: Option<u32>,
    /// Whether origins are reached over IPv6 too.
    pub ipv6: bool,
    /// Times and bounds. Those of `keeping` are the operator's wish; these hold.
    pub limits: Limits,
}

/// Times and bounds: what `[cache.limits]` says, or its defaults.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections at once; above them the answer is a fast 503.
    pub connections: u64,
    /// How long a client may take for its request's head and between two requests.
    pub head_time: Duration,
    /// How long an origin may take to answer; then the answer is 504. Clients ban a node that is silent for 20 s.
    pub first_byte: Duration,
    /// How long an origin may be silent in the middle of a body.
    pub stall: Duration,
    /// How long a client may wait for an answer, and then for the next bytes of it, whatever the cause; then the
    /// answer is 504, or it is cut. Clients ban a node that is silent for 20 s.
    pub patience: Duration,
    /// How long a client may take none of the bytes that are there for it; then the connection is closed.
    pub stuck_client: Duration,
    /// Bytes per second that a client must take on the average while it is waited for; then the connection is
    /// closed. Clients themselves give up a node that is slower than 4,000.
    pub least_client_rate: u64,
    /// The time waited for a client over which that average is taken.
    pub least_client_window: Duration,
    /// Blocks (1 MiB each) in memory from which on nothing is read ahead.
    pub blocks_in_memory: u64,
}

impl From<&CacheLimits> for Limits {
    fn from(limits: &CacheLimits) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self {
            connections: limits.connections.into(),
            head_time: seconds(limits.head_time),
            first_byte: seconds(limits.origin_answer_time),
            stall: seconds(limits.origin_silence),
            patience: seconds(limits.client_wait),
            stuck_client: seconds(limits.stuck_time),
            least_client_rate: limits.least_rate.into(),
            least_client_window: seconds(limits.least_rate_time),
            blocks_in_memory: limits.read_ahead_memory.bytes() / u64::from(BLOCK),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&CacheLimits::default())
    }
}

/// Why a cache cannot be opened. A bad drive is no reason: [`Cache::status`] tells of it.
#[derive(Debug, Error)]
pub enum CacheError {
    /// No certificate to serve port 443 with.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What to purge, as an operator says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// One object: `host/path?query`, with or without `http://`. Of the query only what belongs to the key counts.
    Url(String),
    /// All objects whose URL begins with this: `host/path`, with or without `http://`.
    Prefix(String),
    /// Everything of an origin, asked for by its host or one of its aliases.
    Origin(String),
    /// Everything.
    All,
}

/// Why a purge was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PurgeError {
    /// No `host/path`.
    #[error("`{0}` is no URL: write host and path, such as `downloads.example/file.iso`")]
    Url(String),
    /// The host is on no list, so nothing of it is stored.
    #[error("`{0}` is no origin of this node")]
    Origin(String),
}

/// Why an object was not pinned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PinError {
    /// It cannot name anything that is stored.
    #[error(transparent)]
    Name(#[from] PurgeError),
    /// Too much is pinned already.
    #[error(transparent)]
    TooMany(#[from] TooManyPins),
}

/// The state of a cache.
#[derive(Debug, Clone, Serialize)]
pub struct CacheStatus {
    /// Whether new requests are answered 503.
    pub draining: bool,
    /// Drives and what is on them.
    pub store: StoreStatus,
    /// Pinned objects.
    pub pins: u64,
    /// Share of the content bytes sent that did not have to be fetched for it, 0 to 1; `None` before the first
    /// byte. Where all that is fetched is sent, it is 1 - `fill_bytes` / `egress_bytes`.
    pub byte_hit_ratio: Option<f64>,
    /// Content bytes sent to clients.
    pub egress_bytes: u64,
    /// Those among them that did not have to be fetched for it.
    pub hit_bytes: u64,
    /// Content bytes received from origins: for what was sent and was no hit, and ahead of clients.
    pub fill_bytes: u64,
    /// Objects being fetched.
    pub objects_in_flight: u64,
    /// Origin requests being read into blocks.
    pub fills_in_flight: u64,
    /// Client connections.
    pub connections: u64,
    /// How many there may be.
    pub connection_limit: u64,
    /// Those that were refused because there were too many.
    pub refused_connections: ShortageSnapshot,
    /// Those that had to wait because there were no more files to open for them.
    pub files_used_up: ShortageSnapshot,
    /// Origins with traffic or failures, and those that the operator has added.
    pub origins: Vec<OriginStatus>,
}

/// The state of one entry of the allow-list.
#[derive(Debug, Clone, Serialize)]
pub struct OriginStatus {
    /// The entry: a host, or `*.domain`.
    pub origin: String,
    /// Content bytes sent to clients.
    pub egress_bytes: u64,
    /// Content bytes received.
    pub fill_bytes: u64,
    /// Requests that failed since the start.
    pub failures: u64,
    /// What is wrong now; `None` when the origin has answered last.
    pub last_error: Option<LastError>,
}

/// A cache at work. One per node.
pub struct Cache {
    server: Arc<Server>,
    fills: Arc<Fills>,
    tls: Arc<ServerConfig>,
}

impl Cache {
    /// Begins to open the drives and makes ready to serve. What a drive holds is missing until it has
    /// joined, seconds later for terabytes; [`Cache::status`] says how far it is.
    ///
    /// # Errors
    /// [`CacheError`]: what the operator has configured cannot be used.
    pub fn open(settings: CacheSettings) -> Result<Self, CacheError> {
        Self::open_with(settings, &StoreOptions::default())
    }

    /// Like [`Cache::open`], with a store that works otherwise than by default.
    ///
    /// # Errors
    /// [`CacheError`]: what the operator has configured cannot be used.
    pub fn open_with(settings: CacheSettings, options: &StoreOptions) -> Result<Self, CacheError> {
        let mut names = vec![settings.node_name.to_string(), "localhost".to_owned()];
        names.extend(settings.addresses.iter().map(ToString::to_string));
        let tls = tls::server_config(settings.certificate.as_ref(), &settings.data_dir, names)?;
        let limits = settings.limits;
        let id = NodeId::new(&settings.node_name);
        let origins = Arc::new(Origins::new(&settings.origins));
        let keeping = &settings.keeping;
        let options = StoreOptions {
            data_dir: Some(settings.data_dir.clone()),
            scrub_rate: u64::from(keeping.scrub_rate) * 1_000_000,
            max_age: keeping.max_age.map(|days| Duration::from_secs(u64::from(days) * DAY)),
            ..options.clone()
        };
        let store = Arc::new(Store::open(&settings.drives, &options));
        let counters = Arc::new(Counters::default());
        let via = id.via().clone();
        let client = OriginClient::new(origins.clone(), settings.ipv6, via, limits.first_byte);
        let fills = Arc::new(Fills::new(Arc::new(Shared {
            store: store.clone(),
            client,
            counters: counters.clone(),
            limits: FillLimits {
                stall: limits.stall,
                patience: limits.patience,
                blocks_in_memory: limits.blocks_in_memory,
            },
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })));
        let server = Arc::new(Server {
            id,
            origins,
            store,
            fills: fills.clone(),
            counters,
            egress: Arc::new(EgressGate::new(settings.max_egress_mbps, Instant::now())),
            date: DateClock::default(),
            limits: ServeLimits {
                connections: limits.connections,
                head_time: limits.head_time,
                pace: PaceLimits {
                    stuck: limits.stuck_client,
                    least_rate: limits.least_client_rate,
                    window: limits.least_client_window,
                },
            },
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            breaking: CancellationToken::new(),
            connections: TaskTracker::new(),
        });
        Ok(Self { server, fills, tls })
    }

    /// Waits until every drive has joined or failed to, but no longer than `patience`. False when one
    /// is still being opened. Blocks the thread. Nobody needs to wait in order to serve.
    pub fn wait_for_drives(&self, patience: Duration) -> bool {
        self.server.store.wait_for_drives(patience)
    }

    /// Serves plain HTTP/1.1 on `listener` until `shutdown` or [`Cache::close`]. Returns when no more is accepted;
    /// connections go on to the end of their running request.
    pub async fn serve_http(&self, listener: TcpListener, shutdown: CancellationToken) {
        self.server.clone().listen(listener, None, shutdown).await;
    }

    /// Like [`Cache::serve_http`], over TLS.
    pub async fn serve_https(&self, listener: TcpListener, shutdown: CancellationToken) {
        self.server.clone().listen(listener, Some(self.tls.clone()), shutdown).await;
    }

    /// Begins or ends draining: new requests are answered 503, running ones go on.
    pub fn drain(&self, on: bool) {
        if self.server.draining.swap(on, Ordering::Relaxed) != on {
            tracing::info!(draining = on, "draining switched");
        }
    }

    /// Whether new requests are answered 503.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.server.draining.load(Ordering::Relaxed)
    }

    /// The state of everything.
    #[must_use]
    pub fn status(&self) -> CacheStatus {
        let counters = self.counters();
        let sent = counters.hit_bytes + counters.miss_bytes + counters.pass_bytes;
        CacheStatus {
            draining: self.is_draining(),
            store: self.server.store.status(),
            pins: self.server.store.pin_count(),
            #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
            byte_hit_ratio: (sent > 0).then(|| counters.hit_bytes as f64 / sent as f64),
            egress_bytes: sent,
            hit_bytes: counters.hit_bytes,
            fill_bytes: counters.fill_bytes,
            objects_in_flight: self.fills.objects_in_flight() as u64,
            fills_in_flight: counters.fills_in_flight,
            connections: counters.connections,
            connection_limit: self.server.limits.connections,
            refused_connections: counters.refused_connections,
            files_used_up: counters.files_used_up,
            origins: self.origin_status(),
        }
    }

    fn origin_status(&self) -> Vec<OriginStatus> {
        let status = |origin: &Arc<crate::origin::Origin>| {
            let status = OriginStatus {
                origin: origin.name().to_owned(),
                egress_bytes: origin.counters.egress.get(),
                fill_bytes: origin.counters.fill.get(),
                failures: origin.failures.get(),
                last_error: origin.last_error().map(|error| (*error).clone()),
            };
            let worth_showing = !origin.is_built_in()
                || status.egress_bytes + status.fill_bytes + status.failures > 0;
            worth_showing.then_some(status)
        };
        self.server.origins.all().into_iter().filter_map(status).collect()
    }

    /// The counters now.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        self.server.counters.snapshot(&self.server.origins)
    }

    /// Removes stored content. Lookups miss it when this returns; a crash within the next seconds may bring
    /// it back. [`Cache::purge_for_good`] rules that out.
    ///
    /// # Errors
    /// [`PurgeError`]: it cannot name anything that is stored.
    pub fn purge(&self, what: &Purge) -> Result<Purged, PurgeError> {
        let selector = match what {
            Purge::All => Selector::All,
            Purge::Origin(host) => Selector::Origin(self.canonical(host)?),
            Purge::Prefix(url) => self.prefix(url)?,
            Purge::Url(url) => Selector::Url(self.one(url)?),
        };
        Ok(self.server.store.purge(&selector))
    }

    /// Like [`Cache::purge`], and waits until the drives have forgotten it, for a minute at most. When
    /// [`Purged::durable`] is false, a drive has failed to: the log and [`Cache::status`] say which.
    ///
    /// # Errors
    /// [`PurgeError`]: it cannot name anything that is stored.
    pub async fn purge_for_good(&self, what: &Purge) -> Result<Purged, PurgeError> {
        let purged = self.purge(what)?;
        let store = self.server.store.clone();
        let durable = tokio::task::spawn_blocking(move || store.flush()).await.unwrap_or(false);
        Ok(Purged { durable, ..purged })
    }

    /// Has the drives keep the object under `url`, stored now or later, whatever else is asked for. The pin
    /// outlives restarts and new generations; purging the object does not end it.
    ///
    /// # Errors
    /// [`PinError`]: not understood, or pins would take more than half of the drives.
    pub fn pin(&self, url: &str) -> Result<(), PinError> {
        Ok(self.server.store.pin(&self.one(url)?)?)
    }

    /// Ends a pin. False when there was none.
    ///
    /// # Errors
    /// [`PurgeError`]: it cannot name anything that is stored.
    pub fn unpin(&self, url: &str) -> Result<bool, PurgeError> {
        Ok(self.server.store.unpin(&self.one(url)?))
    }

    /// All pins in the order of their URLs, with what is stored of each.
    #[must_use]
    pub fn pins(&self) -> Vec<PinnedObject> {
        self.server.store.pins()
    }

    /// Has all drives, or one, compare all they hold with its checksums now, at full speed, and returns at once.
    /// One that is running is returned as it is.
    ///
    /// # Errors
    /// [`VerifyError`]: there is no such drive, or it is not up.
    pub fn verify(&self, drive: Option<&Path>) -> Result<Verification, VerifyError> {
        match drive {
            Some(path) => self.server.store.verify_one(path),
            None => Ok(self.server.store.verify()),
        }
    }

    /// An operator says that the drive in `path` (as configured), which is offline, is well: it is opened anew,
    /// without a restart. Returns at once; [`Cache::status`] tells what becomes of it.
    ///
    /// # Errors
    /// [`OnlineError`]: there is nothing to be done.
    pub fn online(&self, path: &Path) -> Result<(), OnlineError> {
        self.server.store.online(path)
    }

    /// The verification that was ordered last, running or not.
    #[must_use]
    pub fn last_verification(&self) -> Option<Verification> {
        self.server.store.last_verification()
    }

    fn canonical(&self, host: &str) -> Result<String, PurgeError> {
        let unknown = || PurgeError::Origin(host.to_owned());
        let name: HostName = host.parse().map_err(|_| unknown())?;
        let origin = self.server.origins.find(&name).ok_or_else(unknown)?;
        Ok(origin.key(&name, "/", None).host().to_owned())
    }

    fn one(&self, url: &str) -> Result<ObjectKey, PurgeError> {
        Ok(self.locate(url)?.1)
    }

    fn prefix(&self, url: &str) -> Result<Selector, PurgeError> {
        let key = self.one(url)?;
        Ok(Selector::Prefix { host: key.host().to_owned(), path: key.target().to_owned() })
    }

    /// Answers new connections with 503, lets running downloads finish for up to `deadline`, breaks those that are
    /// left, stops accepting, and closes the drives.
    pub async fn close(&self, deadline: Duration) {
        let server = &self.server;
        server.closing.cancel();
        self.drain(true);
        server.connections.close();
        if timeout(deadline, server.connections.wait()).await.is_err() {
            let left = server.connections.len();
            tracing::warn!(left, "connections broken at the end of the deadline");
            server.breaking.cancel();
            server.connections.wait().await;
        }
        server.closed.cancel();
        let fills = self.fills.shared();
        fills.stop.cancel();
        fills.tasks.close();
        if timeout(FILL_END, fills.tasks.wait()).await.is_err() {
            tracing::warn!(left = fills.tasks.len(), "fills did not end in time");
        }
        let store = server.store.clone();
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the drives failed");
        }
    }
}
