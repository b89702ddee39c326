//! The connection to one station: a task that dials, tells, and dials again.
//!
//! A station that is too slow loses nothing in silence: when the queue of the tap has overflown
//! behind it, the connection is closed, counted, and begun anew with the whole table. No session
//! ever waits for a station.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{interval, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::report::{ReportSettings, StationReport};
use crate::speaker::{
    CommandError, EstablishedSession, Observation, Observed, SpeakerHandle, Stopped,
    TapSubscription,
};

/// How long a dial may take.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// The wait before the second attempt; it doubles with each, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that lasted this long was a good one: the next wait is the first again.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);
/// How long a station may take no byte.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So many bytes are put together before they are written, if they are there.
const WRITE_SIZE: usize = 64 * 1024;
/// When nothing comes from a station, the system asks after it this often.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// One station.
#[derive(Debug, Clone)]
pub struct StationSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Name of the node.
    pub name: String,
    /// Whether it is told the routes as the routers sent them.
    pub pre_policy: bool,
    /// Whether it is told the routes that the accept rules let through.
    pub post_policy: bool,
    /// Time between two reports of counters; `None`: never.
    pub statistics_interval: Option<Duration>,
}

/// How it goes with a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StationStatus {
    /// Where it listens.
    pub station: SocketAddr,
    /// Whether it is being told now.
    pub connected: bool,
    /// Connections that there have been.
    pub connections: u64,
    /// Connections that were begun anew because the station was too slow.
    pub overruns: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Why there is no connection, or why the last one ended.
    pub last_error: Option<String>,
}

/// A station that is being told, or dialled.
#[derive(Debug, Clone)]
pub struct Station {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    connected: AtomicBool,
    connections: AtomicU64,
    overruns: AtomicU64,
    sent_bytes: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("the station cannot be reached: {0}")]
    Dial(io::Error),
    #[error("no answer from the station within {} s", DIAL_TIME.as_secs())]
    DialTime,
    #[error("the station closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Failed(#[from] io::Error),
    #[error("the station has taken no byte for {} s", WRITE_STALL.as_secs())]
    Stall,
    #[error("the station is too slow: {dropped} observations were lost, so it is told all anew")]
    Overrun { dropped: u64 },
    #[error(transparent)]
    SpeakerStopped(#[from] Stopped),
}

impl From<CommandError> for Ended {
    fn from(_: CommandError) -> Self {
        // Listening to all neighbors, there is no other reason.
        Self::SpeakerStopped(Stopped)
    }
}

impl Station {
    /// Dials the station and tells it what the speaker does, until that stops: a task of `tasks`. To
    /// be called inside a tokio runtime.
    #[must_use]
    pub fn start(settings: StationSettings, speaker: SpeakerHandle, tasks: &TaskTracker) -> Self {
        let shared = Arc::new(Shared {
            address: settings.address,
            connected: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            overruns: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            last_error: Mutex::new(None),
        });
        let task = Task { settings, speaker, shared: Arc::clone(&shared) };
        tasks.spawn(task.run());
        Self { shared }
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> StationStatus {
        let shared = &self.shared;
        let last_error = shared.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        StationStatus {
            station: shared.address,
            connected: shared.connected.load(Ordering::Relaxed),
            connections: shared.connections.load(Ordering::Relaxed),
            overruns: shared.overruns.load(Ordering::Relaxed),
            sent_bytes: shared.sent_bytes.load(Ordering::Relaxed),
            last_error: last_error.clone(),
        }
    }
}

struct Task {
    settings: StationSettings,
    speaker: SpeakerHandle,
    shared: Arc<Shared>,
}

impl Task {
    async fn run(self) {
        let station = self.settings.address;
        let mut wait = FIRST_WAIT;
        loop {
            let began = tokio::time::Instant::now();
            let ended = match self.connection().await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            self.shared.connected.store(false, Ordering::Relaxed);
            if matches!(ended, Ended::SpeakerStopped(_)) {
                return;
            }
            if matches!(ended, Ended::Overrun { .. }) {
                self.shared.overruns.fetch_add(1, Ordering::Relaxed);
            }
            self.remember(&ended);
            if began.elapsed() >= GOOD_CONNECTION {
                wait = FIRST_WAIT;
            }
            tracing::debug!(%station, seconds = wait.as_secs(), "BMP station: next attempt");
            tokio::select! {
                () = self.speaker.stopped() => return,
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The same again and again is logged once.
    fn remember(&self, ended: &Ended) {
        let reason = ended.to_string();
        let mut last = self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&reason) {
            let station = self.settings.address;
            tracing::warn!(%station, %reason, "no connection to the BMP station; it is tried again");
            *last = Some(reason);
        }
    }

    /// One connection, from the dial to its end.
    async fn connection(&self) -> Result<std::convert::Infallible, Ended> {
        let dial = timeout(DIAL_TIME, TcpStream::connect(self.settings.address));
        let stream = tokio::select! {
            () = self.speaker.stopped() => return Err(Stopped.into()),
            dialled = dial => dialled.map_err(|_| Ended::DialTime)?.map_err(Ended::Dial)?,
        };
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let (reader, writer) = stream.into_split();
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.shared.connected.store(true, Ordering::Relaxed);
        *self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::info!(station = %self.settings.address, "BMP station connected");

        let mut out = Vec::with_capacity(2 * WRITE_SIZE);
        let report = ReportSettings {
            name: self.settings.name.clone(),
            pre_policy: self.settings.pre_policy,
            post_policy: self.settings.post_policy,
        };
        let report = StationReport::begin(report, &mut out);
        let mut connection = Connection { task: self, report, writer, out };
        let ended = tokio::select! {
            ended = hang_up(reader) => ended,
            told = connection.tell() => match told {
                Ok(never) => match never {},
                Err(ended) => ended,
            },
        };
        if matches!(ended, Ended::SpeakerStopped(_) | Ended::Overrun { .. }) {
            connection.last_words(&ended.to_string()).await;
        }
        Err(ended)
    }
}

/// Waits until the station hangs up. What it says is nothing to us (RFC 7854 §3.2).
async fn hang_up(mut reader: OwnedReadHalf) -> Ended {
    let mut thrown_away = [0; 512];
    loop {
        match reader.read(&mut thrown_away).await {
            Ok(0) => return Ended::Closed,
            Ok(_) => {}
            Err(error) => return Ended::Failed(error),
        }
    }
}

struct Connection<'a> {
    task: &'a Task,
    report: StationReport,
    writer: OwnedWriteHalf,
    /// Whole messages that are not written yet.
    out: Vec<u8>,
}

impl Connection<'_> {
    /// First what there is, then what comes.
    ///
    /// The tap is opened before the table is read. So an UPDATE of that time may be told twice, by
    /// the table and after it, but none is missed, and the last word on each route is the last one.
    async fn tell(&mut self) -> Result<std::convert::Infallible, Ended> {
        let speaker = &self.task.speaker;
        let mut tap = speaker.tap(None)?;
        for session in speaker.established() {
            self.judge(&session);
            self.report.established(&session, &mut self.out);
        }
        let mut queued = Vec::new();
        while let Some(observation) = tap.try_next() {
            if !self.report.is_outdated(&observation) {
                queued.push(observation);
            }
        }
        self.tell_table().await?;
        for observation in queued {
            self.observe(&observation);
        }
        self.follow(tap).await
    }

    fn observe(&mut self, observation: &Observation) {
        if let Observed::Established(session) = &observation.what {
            self.judge(session);
        }
        self.report.observe(observation, &mut self.out);
    }

    /// By the rules that the neighbor has now. If it has gone again those of before are good enough:
    /// its end is on its way to the station.
    fn judge(&mut self, session: &EstablishedSession) {
        let address = session.neighbor.address;
        if let Some(policy) = self.task.speaker.policy(address) {
            self.report.judge_by(address, policy);
        }
    }

    async fn tell_table(&mut self) -> Result<(), Ended> {
        let mut after = None;
        loop {
            let page = self.task.speaker.table_page(None, after).await?;
            self.report.table(&page, Timestamp::now(), &mut self.out);
            self.write().await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.report.end_of_table(Timestamp::now(), &mut self.out);
        Ok(())
    }

    async fn follow(
        &mut self,
        mut tap: TapSubscription,
    ) -> Result<std::convert::Infallible, Ended> {
        const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
        let mut statistics = interval(self.task.settings.statistics_interval.unwrap_or(NEVER));
        loop {
            self.write().await?;
            let dropped = tap.newly_dropped();
            if dropped > 0 {
                return Err(Ended::Overrun { dropped });
            }
            tokio::select! {
                observation = tap.next() => {
                    self.observe(&observation.ok_or(Stopped)?);
                    while self.out.len() < WRITE_SIZE
                        && let Some(observation) = tap.try_next()
                    {
                        self.observe(&observation);
                    }
                }
                _ = statistics.tick(), if self.task.settings.statistics_interval.is_some() => {
                    let status = self.task.speaker.status();
                    self.report.statistics(&status, Timestamp::now(), &mut self.out);
                }
            }
        }
    }

    async fn write(&mut self) -> Result<(), Ended> {
        let mut left = self.out.as_slice();
        while !left.is_empty() {
            let written = timeout(WRITE_STALL, self.writer.write(left)).await;
            let written = written.map_err(|_| Ended::Stall)??;
            self.task.shared.sent_bytes.fetch_add(written as u64, Ordering::Relaxed);
            left = left.get(written..).unwrap_or_default();
        }
        self.out.clear();
        Ok(())
    }

    /// Only between whole messages: a write that was given up may have ended inside of one, and
    /// then the connection ends there.
    async fn last_words(&mut self, why: &str) {
        if !self.out.is_empty() {
            return;
        }
        self.report.end(why, &mut self.out);
        let last_words = async {
            self.write().await?;
            Ok::<(), Ended>(self.writer.shutdown().await?)
        };
        // Nobody is left to be told that it failed.
        let _ = timeout(LAST_WORDS, last_words).await;
    }
}
