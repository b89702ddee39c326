//! What sessions and RIB publish of themselves, and the status made from it.
//!
//! Each session task and the RIB task replace their part when it changes; whoever asks for the
//! status puts the parts together. Nobody waits for anybody, and it costs O(neighbors).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use jiff::Timestamp;
use mcc_config::Neighbor;
use serde::{Deserialize, Serialize};

use super::dynamic::Range;
use super::history::{History, StateChange};
use super::last_good::{SavingBoard, SavingStatus};
use super::member::{Member, Roster};
use super::tap::{EstablishedSession, SessionEnds};
use crate::rib::{NeighborId, NeighborSummary, RefusedEver, RibSummary, Totals};
use crate::session::{ErrorDirection, Negotiated, SessionError, State, Timers};
use crate::wire::MessageType;

/// `mcc bgp status --json`, without what only the node knows of its advertisement.
#[derive(Debug, Clone, Serialize)]
pub struct SpeakerStatus {
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// In the order of the configuration, then the dynamic ones that are there.
    pub neighbors: Vec<NeighborStatus>,
    /// The prefixes that routers may come from.
    pub dynamic: Vec<DynamicStatus>,
    /// What is served.
    pub footprint: FootprintStatus,
    /// Connections from addresses that are no neighbor's; closed at once.
    pub unknown_connections: u64,
    /// How the saving of the footprint for the next start goes.
    pub saving: SavingStatus,
}

/// One neighbor.
#[derive(Debug, Clone, Serialize)]
pub struct NeighborStatus {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Our AS number in this session.
    pub local_asn: u32,
    /// iBGP or eBGP.
    #[serde(rename = "type")]
    pub kind: SessionKind,
    /// The `[[bgp.dynamic]]` prefix that it came from; `null` for a configured neighbor.
    pub dynamic: Option<IpNet>,
    /// The operator's remark.
    pub description: Option<String>,
    /// The node waits for the router to connect, instead of connecting too.
    pub passive: bool,
    /// How many hops it may be away (RFC 5082); `null`: any.
    pub ttl_security: Option<u8>,
    /// As RFC 4271 names it.
    pub state: State,
    /// Seconds since it became Established; `null` in every other state.
    pub uptime_seconds: Option<u64>,
    /// Seconds since the state changed last.
    pub state_seconds: u64,
    /// Seconds since the session came up, or since it was lost; since the neighbor is there, if it was
    /// never up. Attempts that fail do not begin it anew.
    pub up_down_seconds: u64,
    /// Seconds until the neighbor is dialled, or let in, again; `null` if it is not waited for.
    pub retry_seconds: Option<u64>,
    /// How often an established session was lost.
    pub flaps: u64,
    /// Routes announced, refused ones included.
    pub received: u32,
    /// Routes that are footprint.
    pub accepted: u32,
    /// The others by reason.
    pub rejected: BTreeMap<&'static str, u32>,
    /// Routes that are left of a lost session.
    pub stale: u32,
    /// Of these the ones of the last run of the node, whose router has not been back yet.
    pub restored: u32,
    /// Seconds until the last stale route goes, unless the router is back before; `null` without any.
    pub stale_seconds: Option<u64>,
    /// By family, a fingerprint of the accepted prefixes: equal for equal sets, on any node.
    pub set_hash: BTreeMap<&'static str, String>,
    /// Routes that the router announces and that were not taken because of `max_prefixes` with
    /// `discard-new`; 262144 stands for that many and more.
    pub discarded: u32,
    /// How many seconds ago the router was asked for its table, since there was room again for them;
    /// `null` if some were left out after that.
    pub asked_seconds: Option<u64>,
    /// The limit of `received`.
    pub max_prefixes: u32,
    /// 80 % of it or more are there.
    pub near_limit: bool,
    /// `received` by family: IPv4, IPv6.
    pub received_by_family: [u32; 2],
    /// What was refused since the speaker started.
    pub refused_ever: RefusedEver,
    /// Seconds: agreed on if the session is up, else proposed.
    pub hold_time: u16,
    /// Names of what was agreed; empty while the session is not up.
    pub capabilities: Vec<String>,
    /// The same in detail.
    pub negotiated: Option<Negotiated>,
    /// Messages that came in, since the speaker started.
    pub messages_received: u64,
    /// Messages by type and direction, since the speaker started.
    pub messages: MessageCounts,
    /// The router's BGP identifier in this session or the last one; `null` before the first.
    pub remote_id: Option<Ipv4Addr>,
    /// UPDATEs whose routes were treated as withdrawn (RFC 7606).
    pub updates_treated_as_withdraw: u64,
    /// UPDATEs of which an attribute was discarded (RFC 7606).
    pub updates_with_discarded_attributes: u64,
    /// Malformed messages that ended the session.
    pub malformed_resets: u64,
    /// Why the last session, or attempt to have one, ended.
    pub last_error: Option<LastError>,
    /// Why the neighbor cannot be dialled; `null` once the session is up.
    pub dial_error: Option<LastError>,
    /// The router's operator has ended the session and meant to; `null` once the session is up, or when
    /// the router gives another reason.
    pub shut_down_by_router: Option<OperatorShutdown>,
}

/// An orderly shutdown by the router's operator (RFC 4486 §4, RFC 9003).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorShutdown {
    /// Since when, by the wall clock.
    pub since: Timestamp,
    /// What they wrote to it.
    pub text: Option<String>,
}

/// One neighbor with everything there is to know of its session.
#[derive(Debug, Clone, Serialize)]
pub struct NeighborDetail {
    /// What the list of neighbors has of it.
    #[serde(flatten)]
    pub status: NeighborStatus,
    /// Its timers.
    pub timers: TimerStatus,
    /// The last changes of state, oldest first.
    pub states: Vec<StateChange>,
}

/// The timers of a session in seconds, `null` for one that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimerStatus {
    /// Until the session ends, unless something comes from the neighbor.
    pub hold_remaining: Option<u64>,
    /// Between two KEEPALIVEs that we send, before jitter.
    pub keepalive: Option<u64>,
    /// Until the next of them.
    pub keepalive_remaining: Option<u64>,
    /// Until the neighbor is dialled, or let in, again.
    pub retry_remaining: Option<u64>,
}

impl NeighborDetail {
    pub(super) fn new(
        status: NeighborStatus,
        timers: Timers,
        states: Vec<StateChange>,
        now: Instant,
    ) -> Self {
        let remaining =
            |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now).as_secs());
        let timers = TimerStatus {
            hold_remaining: remaining(timers.hold),
            keepalive: timers.keepalive.map(|_| u64::from(status.hold_time / 3)),
            keepalive_remaining: remaining(timers.keepalive),
            retry_remaining: remaining(timers.retry),
        };
        Self { status, timers, states }
    }
}

/// Messages by type and direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MessageCounts {
    /// From the neighbor.
    pub received: CountsByType,
    /// To the neighbor.
    pub sent: CountsByType,
}

/// Messages by type (RFC 4271 §4.1, RFC 2918 §3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the RFCs' own")]
pub struct CountsByType {
    pub open: u64,
    pub update: u64,
    pub notification: u64,
    pub keepalive: u64,
    pub route_refresh: u64,
}

/// One `[[bgp.dynamic]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DynamicStatus {
    /// Where its routers are.
    pub prefix: IpNet,
    /// Neighbors of it that are there; not those that are awaited since the start of the node.
    pub sessions: usize,
    /// Of these, routers that are gone: they keep their places while their routes are kept, or while they
    /// rest after a failure.
    pub gone: usize,
    /// The limit of `sessions`.
    pub max_sessions: u16,
    /// Connections that came to nothing.
    pub refused: DynamicRefusals,
}

/// Why routers of a `[[bgp.dynamic]]` were not let in, in connections since the speaker started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DynamicRefusals {
    /// The AS number is none of `asns`.
    pub asn: u64,
    /// `max_sessions` were there.
    pub max_sessions: u64,
    /// There was no OPEN, or a malformed one.
    pub no_open: u64,
    /// Too many connections at once.
    pub busy: u64,
}

/// Kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// Same AS on both sides.
    Ibgp,
    /// Different ASes.
    Ebgp,
}

/// A [`SessionError`] and when it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What happened.
    #[serde(flatten)]
    pub error: SessionError,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// The footprint in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FootprintStatus {
    /// Prefixes, learned and manual.
    pub prefixes: usize,
    /// IPv4 addresses that they cover together.
    pub addresses: u64,
    /// IPv6 addresses that they cover together, in /48s.
    pub ipv6_slash48s: u64,
    /// It has changed so much that the control plane is not told before an operator has looked.
    pub held: Option<HeldStatus>,
    /// Prefixes that the control plane is not told of because they flap.
    pub damped: usize,
}

impl From<Totals> for FootprintStatus {
    /// Of a footprint that is told as it is.
    fn from(totals: Totals) -> Self {
        Self {
            prefixes: totals.prefixes(),
            addresses: totals.addresses(),
            ipv6_slash48s: totals.ipv6_slash48s(),
            held: None,
            damped: 0,
        }
    }
}

/// A footprint that waits for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HeldStatus {
    /// How long.
    pub since_seconds: u64,
    /// What it was up to five minutes before. The control plane may have been told more of the change.
    pub before: Totals,
}

/// What a session task publishes on change.
#[derive(Debug, Clone)]
pub(super) struct SessionSnapshot {
    pub(super) state: State,
    pub(super) since: Instant,
    /// When the session came up or was lost.
    pub(super) up_or_down_since: Instant,
    pub(super) retries_at: Option<Instant>,
    pub(super) flaps: u64,
    pub(super) negotiated: Option<Arc<Negotiated>>,
    /// Of the session that is up, or was the last.
    pub(super) remote_id: Option<Ipv4Addr>,
    /// Of the session that is up.
    pub(super) established: Option<Arc<EstablishedSession>>,
    pub(super) last_error: Option<LastError>,
    pub(super) dial_error: Option<LastError>,
    pub(super) shut_down_by_router: Option<OperatorShutdown>,
}

impl SessionSnapshot {
    /// Before there has been any session.
    pub(super) fn idle(now: Instant) -> Self {
        Self {
            state: State::Idle,
            since: now,
            up_or_down_since: now,
            retries_at: None,
            flaps: 0,
            negotiated: None,
            remote_id: None,
            established: None,
            last_error: None,
            dial_error: None,
            shut_down_by_router: None,
        }
    }

    /// The state changes.
    pub(super) fn enter(&mut self, state: State, now: Instant) {
        // Of the states of an attempt to connect, one is as much down as another.
        if (state == State::Established) != (self.state == State::Established) {
            self.up_or_down_since = now;
        }
        self.state = state;
        self.since = now;
    }

    /// A session, or an attempt to have one, has ended.
    pub(super) fn note_operator(&mut self, error: &SessionError, now: Timestamp) {
        // What did not come from the router says nothing of its operator.
        if error.direction == ErrorDirection::Received {
            let since = self.shut_down_by_router.as_ref().map_or(now, |before| before.since);
            let text = error.communication.clone();
            let shutdown = OperatorShutdown { since, text };
            self.shut_down_by_router = error.is_by_routers_operator().then_some(shutdown);
        }
    }
}

/// The published part of one session.
#[derive(Debug)]
pub(super) struct SessionBoard {
    neighbor: Neighbor,
    /// The prefix of a dynamic neighbor.
    range: Option<IpNet>,
    snapshot: ArcSwap<SessionSnapshot>,
    /// Locked for a push or a copy, and for nothing that comes often: no UPDATE without a fault.
    history: Mutex<History>,
    pub(super) received: MessageCounters,
    pub(super) sent: MessageCounters,
    pub(super) treated_as_withdraw: AtomicU64,
    pub(super) discarded_attributes: AtomicU64,
    pub(super) malformed_resets: AtomicU64,
}

/// Counts messages by their type.
#[derive(Debug, Default)]
pub(super) struct MessageCounters {
    open: AtomicU64,
    update: AtomicU64,
    notification: AtomicU64,
    keepalive: AtomicU64,
    route_refresh: AtomicU64,
}

impl MessageCounters {
    pub(super) fn count(&self, message_type: MessageType) {
        let counter = match message_type {
            MessageType::Open => &self.open,
            MessageType::Update => &self.update,
            MessageType::Notification => &self.notification,
            MessageType::Keepalive => &self.keepalive,
            MessageType::RouteRefresh => &self.route_refresh,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> CountsByType {
        CountsByType {
            open: self.open.load(Ordering::Relaxed),
            update: self.update.load(Ordering::Relaxed),
            notification: self.notification.load(Ordering::Relaxed),
            keepalive: self.keepalive.load(Ordering::Relaxed),
            route_refresh: self.route_refresh.load(Ordering::Relaxed),
        }
    }
}

impl CountsByType {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        let Self { open, update, notification, keepalive, route_refresh } = self;
        open + update + notification + keepalive + route_refresh
    }
}

impl SessionBoard {
    pub(super) fn new(neighbor: Neighbor, range: Option<IpNet>, now: Instant) -> Self {
        let snapshot = SessionSnapshot::idle(now);
        Self {
            neighbor,
            range,
            snapshot: ArcSwap::from_pointee(snapshot),
            history: Mutex::default(),
            received: MessageCounters::default(),
            sent: MessageCounters::default(),
            treated_as_withdraw: AtomicU64::new(0),
            discarded_attributes: AtomicU64::new(0),
            malformed_resets: AtomicU64::new(0),
        }
    }

    pub(super) fn neighbor(&self) -> &Neighbor {
        &self.neighbor
    }

    /// The two sides of its sessions.
    pub(super) fn ends(&self, router_id: Ipv4Addr) -> SessionEnds {
        SessionEnds {
            address: self.neighbor.address,
            asn: self.neighbor.asn.get(),
            local_asn: self.neighbor.effective_local_asn().get(),
            router_id,
        }
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        // A panic while it was held leaves a history that lacks an entry.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long there has been no connection while there might have been one; `None` if there is
    /// one, or the session rests after a failure.
    pub(super) fn without_connection(&self, now: Instant) -> Option<Duration> {
        let snapshot = self.snapshot.load();
        let rests = snapshot.retries_at.is_some_and(|at| now < at);
        (is_without_session(snapshot.state) && !rests)
            .then(|| now.saturating_duration_since(snapshot.since))
    }

    /// Whether there is no session, nor one on its way up.
    pub(super) fn is_gone(&self) -> bool {
        is_without_session(self.snapshot.load().state)
    }

    /// Of the session that is up.
    pub(super) fn established(&self) -> Option<Arc<EstablishedSession>> {
        self.snapshot.load().established.clone()
    }

    #[cfg(test)]
    pub(super) fn snapshot(&self) -> SessionSnapshot {
        self.snapshot.load().as_ref().clone()
    }

    pub(super) fn publish(&self, snapshot: SessionSnapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    pub(super) fn status(&self, routes: &NeighborSummary, now: Instant) -> NeighborStatus {
        let SessionSnapshot {
            state,
            since,
            up_or_down_since,
            retries_at,
            flaps,
            negotiated,
            remote_id,
            last_error,
            dial_error,
            shut_down_by_router,
            ..
        } = self.snapshot.load().as_ref().clone();
        let neighbor = &self.neighbor;
        let (asn, local_asn) = (neighbor.asn.get(), neighbor.effective_local_asn().get());
        let messages = MessageCounts { received: self.received.counts(), sent: self.sent.counts() };
        let seconds_since = |at: Instant| now.saturating_duration_since(at).as_secs();
        let state_seconds = seconds_since(since);
        NeighborStatus {
            address: neighbor.address,
            asn,
            local_asn,
            kind: if asn == local_asn { SessionKind::Ibgp } else { SessionKind::Ebgp },
            dynamic: self.range,
            description: neighbor.description.clone(),
            passive: neighbor.passive,
            ttl_security: neighbor.ttl_security,
            state,
            uptime_seconds: (state == State::Established).then_some(state_seconds),
            state_seconds,
            up_down_seconds: seconds_since(up_or_down_since),
            retry_seconds: retries_at.map(|at| at.saturating_duration_since(now).as_secs()),
            flaps,
            received: routes.received,
            accepted: routes.accepted,
            rejected: routes.rejected.clone(),
            stale: routes.stale,
            restored: routes.restored,
            stale_seconds: routes.stale_until.map(|at| at.saturating_duration_since(now).as_secs()),
            set_hash: routes.set_hash.clone(),
            discarded: routes.discarded,
            asked_seconds: routes.asked.map(|at| now.saturating_duration_since(at).as_secs()),
            max_prefixes: neighbor.max_prefixes,
            near_limit: routes.near_limit,
            received_by_family: routes.by_family,
            refused_ever: routes.refused_ever,
            hold_time: negotiated.as_ref().map_or(neighbor.hold_time, |n| n.hold_time),
            capabilities: negotiated.as_ref().map(|n| n.capabilities()).unwrap_or_default(),
            negotiated: negotiated.as_deref().cloned(),
            messages_received: messages.received.total(),
            messages,
            remote_id,
            updates_treated_as_withdraw: self.treated_as_withdraw.load(Ordering::Relaxed),
            updates_with_discarded_attributes: self.discarded_attributes.load(Ordering::Relaxed),
            malformed_resets: self.malformed_resets.load(Ordering::Relaxed),
            last_error: last_error.or_else(|| dial_error.clone()),
            dial_error,
            shut_down_by_router,
        }
    }
}

/// All published parts.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) router_id: Ipv4Addr,
    pub(super) ebgp_requires_rules: bool,
    pub(super) roster: Roster,
    /// The `[[bgp.dynamic]]` of the configuration.
    pub(super) ranges: Vec<Range>,
    pub(super) rib: ArcSwap<RibSummary>,
    pub(super) unknown_connections: AtomicU64,
    pub(super) saving: SavingBoard,
}

impl Board {
    pub(super) fn status(&self, now: Instant) -> SpeakerStatus {
        let rib = self.rib.load();
        let none = NeighborSummary::default();
        let members = self.roster.members();
        let status = |(id, member): &(NeighborId, Arc<Member>)| {
            let routes = rib.neighbors.get(usize::from(id.0)).unwrap_or(&none);
            member.board.status(routes, now)
        };
        let neighbors: Vec<_> = members.iter().map(status).collect();
        let ranges = self.ranges.iter();
        SpeakerStatus {
            router_id: self.router_id,
            dynamic: ranges.map(|range| range.status(&neighbors)).collect(),
            neighbors,
            footprint: FootprintStatus {
                held: rib.held.map(|held| HeldStatus {
                    since_seconds: now.saturating_duration_since(held.since).as_secs(),
                    before: held.before,
                }),
                damped: rib.damped,
                ..FootprintStatus::from(rib.footprint)
            },
            unknown_connections: self.unknown_connections.load(Ordering::Relaxed),
            saving: self.saving.status(now),
        }
    }
}

fn is_without_session(state: State) -> bool {
    matches!(state, State::Idle | State::Connect | State::Active)
}

impl Range {
    fn status(&self, neighbors: &[NeighborStatus]) -> DynamicStatus {
        let prefix = self.prefix();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let there = || neighbors.iter().filter(|n| n.dynamic == Some(prefix) && n.restored == 0);
        DynamicStatus {
            prefix,
            sessions: there().count(),
            gone: there().filter(|neighbor| is_without_session(neighbor.state)).count(),
            max_sessions: self.settings.max_sessions,
            refused: DynamicRefusals {
                asn: count(&self.refused.asn),
                max_sessions: count(&self.refused.limit),
                no_open: count(&self.refused.no_open),
                busy: count(&self.refused.busy),
            },
        }
    }
}
