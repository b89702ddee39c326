//! What sessions and RIB publish of themselves, and the status made from it.
//!
//! Each session task and the RIB task replace their part when it changes; whoever asks for the
//! status puts the parts together. Nobody waits for anybody, and it costs O(neighbors).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use mcc_config::Neighbor;
use serde::Serialize;

use crate::rib::{NeighborSummary, RibSummary, Totals};
use crate::session::{Negotiated, SessionError, State};

/// `mcc bgp status --json`, without what only the node knows of its advertisement.
#[derive(Debug, Clone, Serialize)]
pub struct SpeakerStatus {
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// In the order of the configuration.
    pub neighbors: Vec<NeighborStatus>,
    /// What is served.
    pub footprint: FootprintStatus,
    /// Connections from addresses that are no neighbor's; closed at once.
    pub unknown_connections: u64,
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
    /// The operator's remark.
    pub description: Option<String>,
    /// As RFC 4271 names it.
    pub state: State,
    /// Seconds since it became Established; `null` in every other state.
    pub uptime_seconds: Option<u64>,
    /// Seconds since the state changed last.
    pub state_seconds: u64,
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
    /// By family, a fingerprint of the accepted prefixes: equal for equal sets, on any node.
    pub set_hash: BTreeMap<&'static str, String>,
    /// The limit of `received`.
    pub max_prefixes: u32,
    /// Seconds: agreed on if the session is up, else proposed.
    pub hold_time: u16,
    /// Names of what was agreed; empty while the session is not up.
    pub capabilities: Vec<String>,
    /// The same in detail.
    pub negotiated: Option<Negotiated>,
    /// Messages that came in, since the speaker started.
    pub messages_received: u64,
    /// UPDATEs whose routes were treated as withdrawn (RFC 7606).
    pub updates_treated_as_withdraw: u64,
    /// UPDATEs of which an attribute was discarded (RFC 7606).
    pub updates_with_discarded_attributes: u64,
    /// Why the last session, or attempt to have one, ended.
    pub last_error: Option<LastError>,
    /// Why the neighbor cannot be dialled; `null` once the session is up.
    pub dial_error: Option<LastError>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// What happened.
    #[serde(flatten)]
    pub error: SessionError,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// The footprint in two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FootprintStatus {
    /// Prefixes, learned and manual.
    pub prefixes: usize,
    /// Addresses that they cover together.
    pub addresses: u128,
    /// It has changed so much that the control plane is not told before an operator has looked.
    pub held: Option<HeldStatus>,
    /// Prefixes that the control plane is not told of because they flap.
    pub damped: usize,
}

/// A footprint that waits for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HeldStatus {
    /// How long.
    pub since_seconds: u64,
    /// What the control plane was told before.
    pub before: Totals,
}

/// What a session task publishes on change.
#[derive(Debug, Clone)]
pub(super) struct SessionSnapshot {
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) retries_at: Option<Instant>,
    pub(super) flaps: u64,
    pub(super) negotiated: Option<Arc<Negotiated>>,
    pub(super) last_error: Option<LastError>,
    pub(super) dial_error: Option<LastError>,
}

/// The published part of one session.
#[derive(Debug)]
pub(super) struct SessionBoard {
    neighbor: Neighbor,
    snapshot: ArcSwap<SessionSnapshot>,
    pub(super) messages: AtomicU64,
    pub(super) treated_as_withdraw: AtomicU64,
    pub(super) discarded_attributes: AtomicU64,
}

impl SessionBoard {
    pub(super) fn new(neighbor: Neighbor, now: Instant) -> Self {
        let snapshot = SessionSnapshot {
            state: State::Idle,
            since: now,
            retries_at: None,
            flaps: 0,
            negotiated: None,
            last_error: None,
            dial_error: None,
        };
        Self {
            neighbor,
            snapshot: ArcSwap::from_pointee(snapshot),
            messages: AtomicU64::new(0),
            treated_as_withdraw: AtomicU64::new(0),
            discarded_attributes: AtomicU64::new(0),
        }
    }

    pub(super) fn neighbor(&self) -> &Neighbor {
        &self.neighbor
    }

    pub(super) fn publish(&self, snapshot: SessionSnapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    fn status(&self, routes: &NeighborSummary, now: Instant) -> NeighborStatus {
        let SessionSnapshot { state, since, retries_at, flaps, negotiated, last_error, dial_error } =
            self.snapshot.load().as_ref().clone();
        let neighbor = &self.neighbor;
        let (asn, local_asn) = (neighbor.asn.get(), neighbor.effective_local_asn().get());
        let state_seconds = now.saturating_duration_since(since).as_secs();
        NeighborStatus {
            address: neighbor.address,
            asn,
            local_asn,
            kind: if asn == local_asn { SessionKind::Ibgp } else { SessionKind::Ebgp },
            description: neighbor.description.clone(),
            state,
            uptime_seconds: (state == State::Established).then_some(state_seconds),
            state_seconds,
            retry_seconds: retries_at.map(|at| at.saturating_duration_since(now).as_secs()),
            flaps,
            received: routes.received,
            accepted: routes.accepted,
            rejected: routes.rejected.clone(),
            stale: routes.stale,
            set_hash: routes.set_hash.clone(),
            max_prefixes: neighbor.max_prefixes,
            hold_time: negotiated.as_ref().map_or(neighbor.hold_time, |n| n.hold_time),
            capabilities: negotiated.as_ref().map(|n| n.capabilities()).unwrap_or_default(),
            negotiated: negotiated.as_deref().cloned(),
            messages_received: self.messages.load(Ordering::Relaxed),
            updates_treated_as_withdraw: self.treated_as_withdraw.load(Ordering::Relaxed),
            updates_with_discarded_attributes: self.discarded_attributes.load(Ordering::Relaxed),
            last_error: last_error.or_else(|| dial_error.clone()),
            dial_error,
        }
    }
}

/// All published parts.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) router_id: Ipv4Addr,
    /// By [`NeighborId`](crate::rib::NeighborId).
    pub(super) sessions: Vec<Arc<SessionBoard>>,
    pub(super) rib: ArcSwap<RibSummary>,
    pub(super) unknown_connections: AtomicU64,
}

impl Board {
    pub(super) fn status(&self, now: Instant) -> SpeakerStatus {
        let rib = self.rib.load();
        let none = NeighborSummary::default();
        let routes = rib.neighbors.iter().chain(std::iter::repeat(&none));
        let sessions = self.sessions.iter().zip(routes);
        SpeakerStatus {
            router_id: self.router_id,
            neighbors: sessions.map(|(session, routes)| session.status(routes, now)).collect(),
            footprint: FootprintStatus {
                prefixes: rib.prefixes,
                addresses: rib.addresses,
                held: rib.held.map(|held| HeldStatus {
                    since_seconds: now.saturating_duration_since(held.since).as_secs(),
                    before: held.before,
                }),
                damped: rib.damped,
            },
            unknown_connections: self.unknown_connections.load(Ordering::Relaxed),
        }
    }
}
