//! The node's end of its feed: decides what to send, when, and what to do about the answer.
//!
//! A state machine without sockets and clock. One request is on its way at a time; what changes
//! meanwhile is coalesced per prefix, so memory is bounded by the table and not by how long the
//! control plane is away. The owner loops:
//!
//! ```text
//! changes of the footprint ─▶ snapshot() / changes()
//! poll(now) ─▶ Some(request): send request.body(), then answer() or failed()
//!           └▶ None: sleep until next_deadline(), or until the footprint changes
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::body;
use super::log::ChangeLog;
use super::message::{Answer, Failure, Head, Position, Refusal, SessionId, VERSION};
use super::record::{Change, RouteAttributes, RouteRecord};
use super::table::RouteTable;

/// How long a `Retry-After` may silence a node.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// How an [`Advertiser`] paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the first change to the message that tells it.
    pub flush_after: Duration,
    /// This many changes are told at once.
    pub flush_at: usize,
    /// Longest wait after the first failure; each further one doubles it.
    pub backoff_first: Duration,
    /// Longest wait after any failure.
    pub backoff_max: Duration,
    /// Changes (by prefix) that are kept to answer a control plane that has fallen behind.
    pub log_changes: usize,
    /// How long they are kept.
    pub log_age: Duration,
    /// A table of more routes than this is offered by its digest before it is sent.
    pub claim_above: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            flush_after: Duration::from_secs(1),
            flush_at: 1_000,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            log_changes: 65_536,
            log_age: Duration::from_secs(3_600),
            claim_above: 1_000,
        }
    }
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its first line.
    pub head: Head,
    /// Its other lines, in ascending order of prefix.
    pub changes: Vec<Change>,
}

impl Request {
    /// The bytes to send, compressed with zstd.
    ///
    /// Takes CPU in proportion to the changes, about a second for a million: not for a thread that
    /// serves requests.
    ///
    /// # Errors
    /// Only if the compressor cannot get its memory.
    pub fn body(&self) -> std::io::Result<Vec<u8>> {
        body::write(&self.head, self.changes.iter().cloned())
    }

    /// Whether it goes with `PUT` (a snapshot) or `POST` (a delta).
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        matches!(self.head, Head::Snapshot { .. })
    }
}

/// How far the control plane has got, for `mcc bgp status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdvertiserStatus {
    /// The life of this node's table.
    pub session: SessionId,
    /// Serial of the newest table that was sent; 0 before the first.
    pub serial: u64,
    /// What the control plane has acknowledged last.
    pub acknowledged_position: Option<Position>,
    /// It has everything: nothing is pending, nothing on its way.
    pub acknowledged: bool,
    /// Prefixes in the newest table that was sent.
    pub routes: usize,
    /// Prefixes that have changed since.
    pub pending: usize,
    /// What goes on.
    pub state: AdvertiserState,
}

/// What an [`Advertiser`] is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AdvertiserState {
    /// The footprint is not known yet.
    NoFootprint,
    /// Nothing on its way.
    Idle,
    /// A message is on its way.
    Sending,
    /// The last message did not do; it is tried again.
    Waiting {
        /// Why.
        reason: String,
    },
    /// Nothing is sent until [`Advertiser::resume`].
    Stopped {
        /// Why, and what to do.
        reason: String,
    },
}

/// What is known of the table at the other end.
#[derive(Debug, Clone, Copy)]
enum Peer {
    /// Nothing: it may have this very table from an earlier session.
    Unknown,
    /// Nothing that could be built on.
    NeedsSnapshot,
    /// A table of this session.
    At(Position),
}

#[derive(Debug)]
enum Link {
    Idle,
    InFlight { kind: Kind, position: Position, diverged: bool },
    Waiting { until: Instant, reason: String },
    Stopped(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Claim,
    Snapshot,
    Delta,
}

/// The node's end of its feed.
#[derive(Debug)]
pub struct Advertiser {
    session: SessionId,
    pace: Pace,
    jitter: StdRng,
    /// The table at `serial`.
    table: RouteTable,
    serial: u64,
    log: ChangeLog,
    /// What differs from `table` by now; only real differences.
    pending: BTreeMap<IpNet, Option<Arc<RouteAttributes>>>,
    pending_since: Option<Instant>,
    has_footprint: bool,
    peer: Peer,
    link: Link,
    /// Messages since the last success.
    failures: u32,
    /// The latest time that was passed in.
    clock: Instant,
}

impl Advertiser {
    /// Of a node that starts. `seed` spreads the retries of many nodes: any random number.
    ///
    /// Nothing is sent before the first [`Advertiser::snapshot`]: an empty table would take the
    /// node's clients away.
    #[must_use]
    pub fn new(session: SessionId, seed: u64, pace: Pace, now: Instant) -> Self {
        Self {
            session,
            pace,
            jitter: StdRng::seed_from_u64(seed),
            table: RouteTable::new(),
            serial: 0,
            log: ChangeLog::new(pace.log_changes, pace.log_age),
            pending: BTreeMap::new(),
            pending_since: None,
            has_footprint: false,
            peer: Peer::Unknown,
            link: Link::Idle,
            failures: 0,
            clock: now,
        }
    }

    /// The whole footprint: what is not in it is gone.
    pub fn snapshot(&mut self, records: impl IntoIterator<Item = RouteRecord>, now: Instant) {
        self.tick(now);
        self.has_footprint = true;
        let new: RouteTable = records.into_iter().collect();
        self.pending = (self.table.changes_to(&new).into_iter())
            .map(|change| (change.prefix(), change.attributes().cloned()))
            .collect();
        self.arm();
    }

    /// Changes of the footprint since the snapshot. Changes before the first one are dropped: it
    /// has them.
    pub fn changes(&mut self, changes: impl IntoIterator<Item = Change>, now: Instant) {
        self.tick(now);
        if !self.has_footprint {
            return;
        }
        for change in changes {
            let prefix = change.prefix().trunc();
            if self.table.get(&prefix) == change.attributes() {
                self.pending.remove(&prefix);
            } else {
                self.pending.insert(prefix, change.attributes().cloned());
            }
        }
        self.arm();
    }

    /// The message to send now, if any. Until [`Advertiser::answer`] or [`Advertiser::failed`]
    /// has told its fate there is no other.
    pub fn poll(&mut self, now: Instant) -> Option<Request> {
        self.tick(now);
        if self.next_deadline()? > self.clock {
            return None;
        }
        self.close_step();
        let (kind, request) = self.next_request();
        self.link = Link::InFlight { kind, position: request.head.position(), diverged: false };
        Some(request)
    }

    /// When to call [`Advertiser::poll`] next, if nothing happens before; none while a message is
    /// on its way, and when there is nothing to say.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let not_before = match &self.link {
            Link::InFlight { .. } | Link::Stopped(_) => return None,
            Link::Waiting { until, .. } => *until,
            Link::Idle => self.clock,
        };
        if !self.has_footprint {
            return None;
        }
        let behind = match self.peer {
            Peer::Unknown | Peer::NeedsSnapshot => true,
            Peer::At(position) => position.serial < self.serial,
        };
        if behind || self.pending.len() >= self.pace.flush_at {
            return Some(not_before);
        }
        self.pending_since.map(|since| (since + self.pace.flush_after).max(not_before))
    }

    /// The control plane's answer to the message on its way.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        self.tick(now);
        let Link::InFlight { kind, position: sent, diverged } = self.link else { return };
        self.link = Link::Idle;
        match answer {
            Answer::Ok(held) if held == sent && !diverged => {
                self.peer = Peer::At(held);
                self.failures = 0;
            }
            Answer::Ok(held) => {
                self.must_send_all(Some(held));
                self.back_off("the control plane holds another table".to_owned(), None);
            }
            Answer::Resync(held) => {
                match held {
                    Some(held) if kind == Kind::Delta && self.can_build_on(held) => {
                        self.peer = Peer::At(held);
                    }
                    _ => self.must_send_all(held),
                }
                // Falling behind is normal, once; a control plane that is never content is not.
                let normal = kind == Kind::Claim || (kind == Kind::Delta && self.failures == 0);
                if normal {
                    self.failures += u32::from(kind == Kind::Delta);
                } else {
                    self.back_off("the control plane holds another table".to_owned(), None);
                }
            }
            Answer::Invalid { line, reason, .. } => {
                self.must_send_all(None);
                self.back_off(
                    format!("the control plane refused the message, line {line}: {reason}"),
                    None,
                );
            }
        }
    }

    /// The message on its way got no answer. [`Failure::Refused`] may come at any time, from a
    /// heartbeat too.
    pub fn failed(&mut self, failure: Failure, now: Instant) {
        self.tick(now);
        if let Failure::Refused(refusal) = failure {
            self.link = Link::Stopped(refusal);
            return;
        }
        let Link::InFlight { kind, diverged, .. } = self.link else { return };
        if diverged {
            self.peer = Peer::NeedsSnapshot;
        } else if kind == Kind::Snapshot {
            // It may have arrived all the same: ask before sending it all again.
            self.peer = Peer::Unknown;
        }
        match failure {
            Failure::Unreachable(reason) => self.back_off(reason, None),
            Failure::Busy { retry_after } => {
                self.back_off("the control plane is busy".to_owned(), retry_after);
            }
            Failure::Refused(_) => {}
        }
    }

    /// The control plane asks for everything (in the answer to a heartbeat).
    pub fn resync(&mut self, now: Instant) {
        self.tick(now);
        match &mut self.link {
            Link::InFlight { diverged, .. } => *diverged = true,
            Link::Idle | Link::Waiting { .. } | Link::Stopped(_) => {
                self.peer = Peer::NeedsSnapshot;
            }
        }
    }

    /// The control plane takes this node (again): a refusal was about a credential that has been
    /// replaced since, or came from somebody in between.
    pub fn resume(&mut self, now: Instant) {
        self.tick(now);
        if let Link::Stopped(_) = self.link {
            self.link = Link::Idle;
            self.peer = Peer::Unknown;
            self.failures = 0;
        }
    }

    /// What heartbeats say: the table that the control plane has acknowledged.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self.peer {
            Peer::At(position) => Some(position),
            Peer::Unknown | Peer::NeedsSnapshot => None,
        }
    }

    /// How far the control plane has got.
    #[must_use]
    pub fn status(&self) -> AdvertiserStatus {
        let position = self.position();
        AdvertiserStatus {
            session: self.session,
            serial: self.serial,
            acknowledged_position: position,
            acknowledged: self.has_footprint
                && self.pending.is_empty()
                && position.is_some_and(|held| held.serial == self.serial),
            routes: self.table.len(),
            pending: self.pending.len(),
            state: match &self.link {
                Link::Stopped(refusal) => AdvertiserState::Stopped { reason: refusal.to_string() },
                _ if !self.has_footprint => AdvertiserState::NoFootprint,
                Link::Idle => AdvertiserState::Idle,
                Link::InFlight { .. } => AdvertiserState::Sending,
                Link::Waiting { reason, .. } => AdvertiserState::Waiting { reason: reason.clone() },
            },
        }
    }

    fn tick(&mut self, now: Instant) {
        self.clock = self.clock.max(now);
    }

    fn arm(&mut self) {
        if self.pending.is_empty() {
            self.pending_since = None;
        } else {
            self.pending_since.get_or_insert(self.clock);
        }
    }

    /// Makes what is pending part of the table, under a new serial.
    fn close_step(&mut self) {
        self.pending_since = None;
        if self.pending.is_empty() && self.serial > 0 {
            return;
        }
        self.serial += 1;
        let pending = std::mem::take(&mut self.pending);
        self.log.push(self.serial, pending.keys().copied().collect(), self.clock);
        for (prefix, attributes) in pending {
            self.table.apply(&Change::new(prefix, attributes));
        }
    }

    fn next_request(&self) -> (Kind, Request) {
        let (session, serial, digest) = (self.session, self.serial, self.table.digest());
        if let Peer::At(held) = self.peer
            && let Some(prefixes) = self.log.since(held.serial)
        {
            let head =
                Head::Delta { version: VERSION, session, from: held.serial, to: serial, digest };
            let state = |prefix| Change::new(prefix, self.table.get(&prefix).cloned());
            return (Kind::Delta, Request { head, changes: prefixes.map(state).collect() });
        }
        let routes = u64::try_from(self.table.len()).unwrap_or(u64::MAX);
        let head = Head::Snapshot { version: VERSION, session, serial, digest, routes };
        if matches!(self.peer, Peer::Unknown) && self.table.len() > self.pace.claim_above {
            return (Kind::Claim, Request { head, changes: Vec::new() });
        }
        let changes = self.table.records().map(Change::Present).collect();
        (Kind::Snapshot, Request { head, changes })
    }

    /// Whether a delta can lead from there to here.
    fn can_build_on(&self, held: Position) -> bool {
        held.session == self.session
            && (held.serial < self.serial
                || (held.serial == self.serial && held.digest == self.table.digest()))
    }

    fn must_send_all(&mut self, held: Option<Position>) {
        self.peer = Peer::NeedsSnapshot;
        if let Some(held) = held
            && held.session == self.session
            && held.serial >= self.serial
        {
            // A node that was set back (a VM from an old image) must not count again what it has
            // counted before: the receiver would take it for an old message.
            self.serial = held.serial.saturating_add(1);
            self.log.restart(self.serial);
        }
    }

    /// Exponential back-off with full jitter, so that nodes do not come back all at once.
    fn back_off(&mut self, reason: String, retry_after: Option<Duration>) {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let longest = self.pace.backoff_first.saturating_mul(doubled).min(self.pace.backoff_max);
        let spread = self.jitter.random_range(Duration::ZERO..=longest);
        let wait = match retry_after {
            Some(asked) => asked.min(RETRY_AFTER_MAX) + spread.min(self.pace.backoff_first),
            None => spread,
        };
        self.link = Link::Waiting { until: self.clock + wait, reason };
    }
}

#[cfg(test)]
mod tests;
