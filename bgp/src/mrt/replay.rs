//! A recorded table or log, put through the accept rules: what of it would become footprint.
//!
//! The routes take the way that those of a session take: the decoder with the rules of RFC 7606, the
//! accept rules of a neighbor, a [`Rib`]. A log runs by the clock of its records: a session that ends
//! in it leaves stale routes, and these go when their time is over. What `max_prefixes` would have done
//! is done (see [`tables`]), and what there would be without it is told beside it.
//!
//! One thing is different, so that one look shows all: a message with a fault that would end the
//! session is only reported.

mod clock;
mod report;
mod tables;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use clock::Clock;
use ipnet::IpNet;
use jiff::Timestamp;
use mcc_config::{Asn, DynamicNeighbors, Neighbor};
use thiserror::Error;

pub use report::{MalformedUpdate, ReplayReport, ReplayedPeer, SkippedPeer, WithoutLimit};
use tables::{Outcome, Tables};

use super::session::{ESTABLISHED, SessionEnds, SessionMessage};
use super::table::{RibEntry, RibPrefix, TablePeer};
use super::{Body, ReadError, Record};
use crate::policy::PolicyError;
use crate::rebuilt_update::{MP_REACH_NLRI, RawAttribute, Reach, announce, family_of, split};
use crate::rib::{NeighborId, RoutePage, RouteQuery, SessionEvent};
use crate::session::Retention;
use crate::speaker::{FootprintStatus, rules_of};
use crate::wire::{
    DecodeContext, Disposition, FamilyOptions, MAX_EXTENDED_MESSAGE, Message, MessageType,
    NeighborKind, Nlri, Update, decode, frame,
};

/// Where the type of a message stands (RFC 4271 §4.1).
const TYPE_AT: usize = 18;
/// How many malformed UPDATEs a report names; all are counted.
const NAMED_MALFORMED: usize = 100;

/// Whose rules judge what of a file.
#[derive(Debug, Clone)]
pub struct ReplaySettings {
    /// The configured neighbors.
    pub neighbors: Vec<Neighbor>,
    /// Prefixes that routers may come from. As in the node, a configured neighbor goes first, then
    /// the longest prefix.
    pub dynamic: Vec<DynamicNeighbors>,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Whether an eBGP neighbor without rules of its own accepts nothing (RFC 8212).
    pub ebgp_requires_rules: bool,
    /// Whether IPv6 is on; else IPv6 routes are counted and left out.
    pub ipv6: bool,
    /// Prefixes entered by hand: part of the footprint.
    pub manual: Vec<IpNet>,
    /// Judges every peer of the file by the rules of this neighbor. Without, each is judged by those
    /// of the neighbor that has its address, and peers that could be no neighbors are left out.
    pub rules_of: Option<IpAddr>,
    /// Leaves out every other peer of the file.
    pub only_peer: Option<IpAddr>,
}

/// Why nothing can be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// [`ReplaySettings::rules_of`] names nobody.
    #[error("no neighbor {address} in the configuration; there are: {known}")]
    UnknownNeighbor {
        /// The address asked for.
        address: IpAddr,
        /// The addresses there are.
        known: String,
    },
    /// An accept rule cannot be read.
    #[error("bgp.neighbor {neighbor}: the accept rules cannot be used")]
    Policy {
        /// Whose rule.
        neighbor: IpAddr,
        /// What is wrong.
        source: PolicyError,
    },
}

/// A replay in progress. See the module's documentation.
#[derive(Debug)]
pub struct Replay {
    settings: ReplaySettings,
    tables: Tables,
    peers: Vec<Peer>,
    by_address: HashMap<IpAddr, usize>,
    /// The peers of the table that is being read, by their place in its list.
    table_peers: Vec<usize>,
    clock: Clock,
    records: u64,
    other_records: u64,
    malformed_records: u64,
    malformed_updates: u64,
    malformed: Vec<MalformedUpdate>,
}

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    asn: u32,
    updates: u64,
    /// `None`: it is left out.
    judged: Option<Judged>,
}

#[derive(Debug, Clone, Copy)]
struct Judged {
    id: NeighborId,
    kind: NeighborKind,
    neighbor: IpAddr,
    /// The range that the neighbor is of.
    dynamic: Option<IpNet>,
    ipv6_left_out: u64,
}

/// A message or an entry of a table, on its way to the RIB.
#[derive(Clone, Copy)]
struct Source {
    peer: usize,
    offset: u64,
    at: Timestamp,
    now: Instant,
    prefix: Option<IpNet>,
}

impl Replay {
    /// Before the first record.
    ///
    /// # Errors
    /// Rules that cannot be used.
    pub fn new(settings: ReplaySettings) -> Result<Self, ReplayError> {
        // Who comes is no part of the rules: any router stands for all of a range.
        let asn = Asn::new(1);
        let any = |range: &DynamicNeighbors| Some(range.neighbor(range.prefix.addr(), asn?));
        let of_ranges = settings.dynamic.iter().filter_map(any);
        for neighbor in settings.neighbors.iter().cloned().chain(of_ranges) {
            rules_of(&neighbor, settings.router_id, settings.ebgp_requires_rules)
                .map_err(|source| ReplayError::Policy { neighbor: neighbor.address, source })?;
        }
        let has = |address| settings.neighbors.iter().any(|n| n.address == address);
        if let Some(address) = settings.rules_of.filter(|&address| !has(address)) {
            let known: Vec<_> = settings.neighbors.iter().map(|n| n.address.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(ReplayError::UnknownNeighbor { address, known });
        }
        let clock = Clock::new();
        Ok(Self {
            tables: Tables::new(&settings.manual, clock.began()),
            settings,
            peers: Vec::new(),
            by_address: HashMap::new(),
            table_peers: Vec::new(),
            clock,
            records: 0,
            other_records: 0,
            malformed_records: 0,
            malformed_updates: 0,
            malformed: Vec::new(),
        })
    }

    /// Counts a record that cannot be read.
    pub fn malformed_record(&mut self, error: &ReadError) {
        self.records += u64::from(!error.is_final());
        self.malformed_records += 1;
    }

    /// Takes in the record that begins at `offset`.
    pub fn record(&mut self, offset: u64, record: &Record<'_>) {
        self.records += 1;
        let at = Timestamp::from(record.time);
        if let Body::Other { .. } = record.body {
            self.other_records += 1;
            return;
        }
        let now = self.clock.tell(at);
        match &record.body {
            Body::PeerIndexTable(table) => {
                let peers = table.peers.iter();
                self.table_peers =
                    peers.map(|&TablePeer { address, asn, .. }| self.peer(address, asn)).collect();
            }
            Body::Rib(prefix) => self.prefix(offset, at, now, prefix),
            Body::Message(message) => self.message(offset, at, now, message),
            Body::StateChange(change) => {
                self.tables.pass(now);
                let peer = self.peer_of(&change.ends);
                let event = match (change.from, change.to) {
                    (ESTABLISHED, to) if to != ESTABLISHED => Some(ended()),
                    (from, ESTABLISHED) if from != ESTABLISHED => Some(SessionEvent::Up),
                    _ => None,
                };
                if let (Some(event), Some(judged)) = (event, self.judged(peer)) {
                    self.tables.handle(judged.id, &event, now);
                }
            }
            Body::Other { .. } => {}
        }
    }

    /// The place of a peer, which gets one if it has none.
    fn peer(&mut self, address: IpAddr, asn: u32) -> usize {
        if let Some(&place) = self.by_address.get(&address) {
            return place;
        }
        let place = self.peers.len();
        let judged = self.judge(address, asn);
        self.peers.push(Peer { address, asn, updates: 0, judged });
        self.by_address.insert(address, place);
        place
    }

    fn peer_of(&mut self, ends: &SessionEnds) -> usize {
        self.peer(ends.peer, ends.peer_asn)
    }

    /// Who judges a peer.
    fn judge(&mut self, address: IpAddr, asn: u32) -> Option<Judged> {
        if self.settings.only_peer.is_some_and(|only| only != address) {
            return None;
        }
        let wanted = self.settings.rules_of.unwrap_or(address);
        let configured = self.settings.neighbors.iter().find(|n| n.address == wanted).cloned();
        let (neighbor, dynamic) = match configured {
            Some(neighbor) => (neighbor, None),
            None => self.dynamic_neighbor(address, asn).map(|(n, range)| (n, Some(range)))?,
        };
        let mut rules =
            rules_of(&neighbor, self.settings.router_id, self.settings.ebgp_requires_rules).ok()?;
        rules.address = address;
        let internal = neighbor.asn == neighbor.effective_local_asn();
        Some(Judged {
            id: self.tables.add(rules)?,
            kind: if internal { NeighborKind::Internal } else { NeighborKind::External },
            neighbor: neighbor.address,
            dynamic,
            ipv6_left_out: 0,
        })
    }

    /// What a peer would be if it came from one of the ranges.
    fn dynamic_neighbor(&self, address: IpAddr, asn: u32) -> Option<(Neighbor, IpNet)> {
        let holding = self.settings.dynamic.iter().filter(|range| range.prefix.contains(&address));
        let range = holding.max_by_key(|range| range.prefix.prefix_len())?;
        let neighbor = range.neighbor(address, Asn::new(asn)?);
        range.allows(asn).then(|| (neighbor, range.prefix.trunc()))
    }

    fn judged(&self, peer: usize) -> Option<Judged> {
        self.peers.get(peer)?.judged
    }

    /// One prefix of a table.
    fn prefix(&mut self, offset: u64, at: Timestamp, now: Instant, rib: &RibPrefix<'_>) {
        for entry in &rib.entries {
            let Some(&peer) = self.table_peers.get(usize::from(entry.peer)) else {
                self.malformed_record_of_table(offset, at, rib.prefix);
                continue;
            };
            let prefix = Some(rib.prefix);
            let source = Source { peer, offset, at, now, prefix };
            let Some(judged) = self.count(peer) else { continue };
            if rib.prefix.addr().is_ipv6() && !self.settings.ipv6 {
                self.left_out(peer, 1);
                continue;
            }
            match table_update(rib, entry) {
                Some(update) => self.take_in(source, judged, &update, true, rib.add_path),
                None => self.fault(
                    source,
                    Disposition::SessionReset,
                    "its attributes do not fit a message (RFC 8654 §4)".to_owned(),
                ),
            }
        }
    }

    fn malformed_record_of_table(&mut self, offset: u64, at: Timestamp, prefix: IpNet) {
        self.malformed_updates += 1;
        if self.malformed.len() < NAMED_MALFORMED {
            self.malformed.push(MalformedUpdate {
                offset,
                at,
                peer: Ipv4Addr::UNSPECIFIED.into(),
                prefix: Some(prefix),
                disposition: Disposition::TreatAsWithdraw,
                text: "an entry names a peer that is not in the peer table (RFC 6396 §4.3.4)"
                    .to_owned(),
            });
        }
    }

    fn message(&mut self, offset: u64, at: Timestamp, now: Instant, message: &SessionMessage<'_>) {
        // What the recorder said itself changes no table.
        if message.local {
            return;
        }
        self.tables.pass(now);
        let peer = self.peer_of(&message.ends);
        let source = Source { peer, offset, at, now, prefix: None };
        if message.bytes.get(TYPE_AT) == Some(&MessageType::Update.code()) {
            self.count(peer);
        }
        let Some(judged) = self.judged(peer) else { return };
        self.take_in(source, judged, message.bytes, message.four_octet_as, message.add_path);
    }

    fn take_in(
        &mut self,
        source: Source,
        judged: Judged,
        bytes: &[u8],
        four_octet_as: bool,
        add_path: bool,
    ) {
        let ipv6_next_hop = self.settings.ipv6;
        let options = Some(FamilyOptions { add_path, ipv6_next_hop });
        let context = DecodeContext {
            neighbor: judged.kind,
            four_octet_as,
            ipv4_unicast: options,
            ipv6_unicast: options,
            enhanced_route_refresh: true,
        };
        let framed = match frame(bytes, MAX_EXTENDED_MESSAGE) {
            Ok(Some(framed)) => framed,
            Ok(None) => {
                let text = "the message is cut short".to_owned();
                return self.fault(source, Disposition::SessionReset, text);
            }
            Err(error) => {
                return self.fault(source, Disposition::SessionReset, error.to_string());
            }
        };
        let event = match decode(framed, &context) {
            Ok(Message::Update(update)) => {
                if let Some(worst) = update.findings.iter().max_by_key(|found| found.disposition) {
                    self.fault(source, worst.disposition, worst.to_string());
                }
                for part in update.parts() {
                    let event = SessionEvent::Update(self.of_families(source.peer, part));
                    self.tables.handle(judged.id, &event, source.now);
                }
                return;
            }
            Ok(Message::RouteRefresh(refresh)) => SessionEvent::RefreshMarker(refresh),
            Ok(Message::Notification(_)) => ended(),
            Ok(Message::Open(_)) => SessionEvent::Up,
            Ok(Message::Keepalive) => return,
            Err(error) => {
                return self.fault(source, Disposition::SessionReset, error.to_string());
            }
        };
        self.tables.handle(judged.id, &event, source.now);
    }

    /// Without the IPv6 routes, if IPv6 is off.
    fn of_families(&mut self, peer: usize, mut update: Update) -> Update {
        if !self.settings.ipv6 {
            let before = update.announced.len() + update.withdrawn.len();
            update.announced.retain(|nlri| nlri.prefix.addr().is_ipv4());
            update.withdrawn.retain(|nlri| nlri.prefix.addr().is_ipv4());
            self.left_out(peer, before - update.announced.len() - update.withdrawn.len());
            if update.announced.is_empty() {
                update.attributes = None;
            }
        }
        update
    }

    fn left_out(&mut self, peer: usize, routes: usize) {
        let peer = self.peers.get_mut(peer).and_then(|peer| peer.judged.as_mut());
        if let Some(judged) = peer {
            judged.ipv6_left_out += routes as u64;
        }
    }

    /// One UPDATE or entry more of a peer; who judges it.
    fn count(&mut self, peer: usize) -> Option<Judged> {
        let peer = self.peers.get_mut(peer)?;
        peer.updates += 1;
        peer.judged
    }

    fn fault(&mut self, source: Source, disposition: Disposition, text: String) {
        self.malformed_updates += 1;
        let Some(peer) = self.peers.get(source.peer) else { return };
        if self.malformed.len() < NAMED_MALFORMED {
            let Source { offset, at, prefix, .. } = source;
            let peer = peer.address;
            self.malformed.push(MalformedUpdate { offset, at, peer, prefix, disposition, text });
        }
    }

    /// What has become of the file so far.
    #[must_use]
    pub fn report(&mut self) -> ReplayReport {
        self.tables.pass(self.clock.latest());
        let (outcomes, footprint) = self.tables.outcomes();
        let (judged, skipped): (Vec<&Peer>, Vec<&Peer>) =
            self.peers.iter().partition(|peer| peer.judged.is_some());
        let peers = judged.into_iter().filter_map(|peer| {
            let judged = peer.judged?;
            let outcome = outcomes.get(usize::from(judged.id.0))?;
            Some(self.peer_report(peer, judged, outcome))
        });
        let skipped = skipped.into_iter().map(|peer| {
            let Peer { address, asn, updates, .. } = *peer;
            SkippedPeer { address, asn, updates }
        });
        ReplayReport {
            records: self.records,
            other_records: self.other_records,
            malformed_records: self.malformed_records,
            from: self.clock.span().map(|(from, _)| from),
            to: self.clock.span().map(|(_, to)| to),
            peers: peers.collect(),
            skipped_peers: skipped.collect(),
            // Nobody follows a replay: nothing is held.
            footprint: FootprintStatus::from(footprint),
            malformed_updates: self.malformed_updates,
            malformed: self.malformed.clone(),
        }
    }

    fn peer_report(&self, peer: &Peer, judged: Judged, outcome: &Outcome) -> ReplayedPeer {
        let Outcome { node, announced, limit } = outcome;
        let shown = |at: Option<Instant>| at.and_then(|at| self.clock.shown(at));
        let over_limit = limit.peak > limit.rules.limit;
        ReplayedPeer {
            address: peer.address,
            asn: peer.asn,
            neighbor: judged.neighbor,
            dynamic: judged.dynamic,
            updates: peer.updates,
            received: node.received,
            accepted: node.accepted,
            rejected: node.rejected.clone(),
            stale: node.stale,
            ipv6_left_out: judged.ipv6_left_out,
            max_prefixes: limit.rules.limit,
            max_prefixes_action: limit.rules.action,
            peak: limit.peak,
            over_limit,
            over_limit_at: shown(limit.exceeded),
            sessions_ended: limit.ended,
            rests_until: shown(limit.rests_until),
            discarded: node.discarded,
            asked_at: shown(node.asked),
            without_limit: over_limit.then(|| WithoutLimit {
                received: announced.received,
                accepted: announced.accepted,
                rejected: announced.rejected.clone(),
                stale: announced.stale,
            }),
        }
    }

    /// A page of the routes that a node would have, as [`Rib::routes`](crate::rib::Rib::routes) gives
    /// it. Their neighbors are the peers of the file.
    #[must_use]
    pub fn routes(&self, query: &RouteQuery) -> RoutePage {
        self.tables.node().routes(query, query.limit(), self.clock.latest())
    }
}

/// The end of a session in a log: as the node takes one, its routes stay for a time.
fn ended() -> SessionEvent {
    SessionEvent::Down(Retention::keep(Duration::ZERO))
}

/// The UPDATE that an entry of a table was made of; `None` if it would be too long.
fn table_update(rib: &RibPrefix<'_>, entry: &RibEntry<'_>) -> Option<Vec<u8>> {
    let mut block = Vec::with_capacity(entry.attributes.len());
    let mut next_hop = None;
    for part in split(entry.attributes) {
        match part {
            Ok(RawAttribute { code: MP_REACH_NLRI, value, .. }) => {
                next_hop = Some(table_next_hop(value));
            }
            Ok(RawAttribute { whole, .. }) => block.extend(whole),
            // For the decoder to find.
            Err(left_over) => block.extend(left_over),
        }
    }
    let family = family_of(&rib.prefix);
    let is_ipv6 = rib.prefix.addr().is_ipv6();
    let next_hop = if is_ipv6 { Some(next_hop.unwrap_or_default()) } else { next_hop };
    let reach = next_hop.map(|next_hop| Reach { family, next_hop });
    let nlri = [Nlri { prefix: rib.prefix, path_id: entry.path_id }];
    announce(&block, reach, &nlri, rib.add_path)
}

/// The next hop of an `MP_REACH_NLRI` in a table. RFC 6396 §4.3.4 has its length and itself alone,
/// but some recorders write the whole attribute; that begins with a zero, which no length is.
fn table_next_hop(value: &[u8]) -> &[u8] {
    let field = match value {
        [0, _afi, _safi, field @ ..] => field,
        field => field,
    };
    match field {
        [length, next_hop @ ..] => next_hop.get(..usize::from(*length)).unwrap_or_default(),
        [] => &[],
    }
}

#[cfg(test)]
mod tests;
