//! What one station is told, from its connection on: who is up, the table so far, then everything
//! that the sessions observe (RFC 7854 §3.3).
//!
//! Pre-policy routes are the router's own UPDATEs, byte for byte. Where that would tell the station
//! something else than what is stored (an UPDATE that RFC 7606 treats as withdraw, the stored table,
//! post-policy routes) an UPDATE is made again, with four-octet AS numbers (RFC 7854 §4.2).
//!
//! What a router never says but the table does is told as a withdrawal: routes that a route refresh did
//! not bring again, and post-policy those that were not taken because of `max_prefixes`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::message::{DownReason, Message, PeerHeader};
use crate::policy::AcceptPolicy;
use crate::rebuilt_update::{Reach, announce, family_of, four_octet_block, withdraw};
use crate::rib::{Departure, TablePage, TableRoute};
use crate::session::{ErrorDirection, SessionError, State};
use crate::speaker::{Direction, EstablishedSession, Observation, Observed, SpeakerStatus};
use crate::wire::{
    AttributeSet, DecodeContext, Family, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, MessageType, Nlri,
    Outgoing, Update, decode, frame,
};

/// Bytes of an UPDATE around its prefixes and attributes, with room for an IPv6 next hop.
const UPDATE_OVERHEAD: usize = 64;
/// The most bytes that a prefix takes: path identifier, length, address.
const LONGEST_NLRI: usize = 4 + 1 + 16;

/// What a station wants to hear.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// Name of the node.
    pub name: String,
    /// Routes as the routers sent them.
    pub pre_policy: bool,
    /// Routes that the accept rules let through (flag L); the others as withdrawn.
    pub post_policy: bool,
}

/// What one station is told over one connection. Each method appends to `out` what it has to say.
#[derive(Debug)]
pub struct StationReport {
    settings: ReportSettings,
    policies: HashMap<IpAddr, AcceptPolicy>,
    peers: HashMap<IpAddr, Peer>,
}

/// A session that the station knows.
#[derive(Debug)]
struct Peer {
    session: Arc<EstablishedSession>,
    /// The last NOTIFICATION, which ends the session.
    notification: Option<(Direction, Bytes)>,
}

impl Peer {
    fn header(&self, at: Timestamp) -> PeerHeader {
        PeerHeader {
            address: self.session.neighbor.address,
            asn: self.session.neighbor.asn,
            bgp_id: self.session.negotiated.remote_id,
            post_policy: false,
            two_octet_as: false,
            at,
        }
    }

    fn add_path(&self, family: Family) -> bool {
        self.session.context.family(family).is_some_and(|options| options.add_path)
    }
}

impl StationReport {
    /// A connection begins: the Initiation.
    pub fn begin(settings: ReportSettings, out: &mut Vec<u8>) -> Self {
        let description =
            concat!("mcc ", env!("CARGO_PKG_VERSION"), ", BGP speaker that only listens");
        Message::Initiation { description, name: &settings.name }.encode(out);
        Self { settings, policies: HashMap::new(), peers: HashMap::new() }
    }

    /// Says which accept rules a neighbor has: before its session is told, and again with each new
    /// one, since a dynamic neighbor can come at any time and as another router. Of a neighbor without
    /// rules only pre-policy routes are told.
    pub fn judge_by(&mut self, neighbor: IpAddr, policy: AcceptPolicy) {
        self.policies.insert(neighbor, policy);
    }

    /// A session is up. Once it is told, it is not told again.
    pub fn established(&mut self, session: &Arc<EstablishedSession>, out: &mut Vec<u8>) {
        let address = session.neighbor.address;
        if self.peers.get(&address).is_some_and(|peer| peer.session == *session) {
            return;
        }
        let peer = Peer { session: Arc::clone(session), notification: None };
        Message::PeerUp {
            peer: peer.header(session.at),
            local: session.connection.local,
            remote_port: session.connection.remote.port(),
            sent_open: &session.sent_open,
            received_open: &session.received_open,
        }
        .encode(out);
        self.peers.insert(address, peer);
    }

    /// A page of the table as it was when the station connected, at `now`. Routes of sessions that
    /// are down are not told, nor those that wait to be announced again.
    pub fn table(&mut self, page: &TablePage, now: Timestamp, out: &mut Vec<u8>) {
        let mut groups: Vec<(&TableRoute, Vec<Nlri>)> = Vec::new();
        let mut index = HashMap::new();
        for prefix in &page.prefixes {
            let family = family_of(&prefix.prefix);
            for route in prefix.routes.iter().filter(|route| !route.stale) {
                if !self.peers.contains_key(&route.neighbor) {
                    continue;
                }
                let key = (route.neighbor, family, route.accepted, &route.attributes);
                let at = *index.entry(key).or_insert_with(|| {
                    groups.push((route, Vec::new()));
                    groups.len() - 1
                });
                if let Some((_, nlri)) = groups.get_mut(at) {
                    nlri.push(Nlri { prefix: prefix.prefix, path_id: route.path_id });
                }
            }
        }
        for (route, nlri) in groups {
            let Some(peer) = self.peers.get(&route.neighbor) else { continue };
            let learned = now - jiff::SignedDuration::from_secs(seconds(route.age));
            let header = peer.header(learned);
            for update in announcements(peer, &route.attributes, &nlri) {
                self.monitor(header, route.accepted, &update, out);
            }
        }
    }

    /// The table so far has been told: End-of-RIB of each family (RFC 7854 §5).
    pub fn end_of_table(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        for peer in self.peers.values() {
            for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
                if peer.session.context.family(family).is_some() {
                    let update = Outgoing::EndOfRib(family).encode();
                    self.monitor(peer.header(now), true, &update, out);
                }
            }
        }
    }

    /// An UPDATE in the forms that the station wants.
    fn monitor(&self, peer: PeerHeader, accepted: bool, update: &[u8], out: &mut Vec<u8>) {
        if self.settings.pre_policy {
            Message::RouteMonitoring { peer, update }.encode(out);
        }
        if self.settings.post_policy && accepted {
            let peer = PeerHeader { post_policy: true, ..peer };
            Message::RouteMonitoring { peer, update }.encode(out);
        }
    }

    /// Whether an observation is of a time before the session that the station knows of: it was on
    /// its way when the station was told of that one.
    #[must_use]
    pub fn is_outdated(&self, observation: &Observation) -> bool {
        let peer = self.peers.get(&observation.neighbor.address);
        peer.is_some_and(|peer| observation.at < peer.session.at)
    }

    /// A session has observed something.
    pub fn observe(&mut self, observation: &Observation, out: &mut Vec<u8>) {
        let (at, address) = (observation.at, observation.neighbor.address);
        match &observation.what {
            Observed::Established(session) => self.established(session, out),
            Observed::Message { direction, connection, context, bytes } => {
                let Some(peer) = self.peers.get_mut(&address) else { return };
                if peer.session.connection != *connection {
                    return;
                }
                match frame(bytes, MAX_EXTENDED_MESSAGE).ok().flatten().map(|f| f.message_type()) {
                    Some(MessageType::Notification) => {
                        peer.notification = Some((*direction, bytes.clone()));
                    }
                    Some(MessageType::Update) if *direction == Direction::Received => {
                        self.update(address, at, context, bytes, out);
                    }
                    _ => {}
                }
            }
            Observed::State { from: State::Established, to, error, .. }
                if *to != State::Established =>
            {
                self.down(address, at, error.as_ref(), out);
            }
            Observed::Departed(why, routes) => {
                let Some(peer) = self.peers.get(&address) else { return };
                let header = peer.header(at);
                for update in withdrawals(peer, routes.iter().copied()) {
                    match why {
                        Departure::NotRefreshed => self.monitor(header, true, &update, out),
                        Departure::NotTaken if self.settings.post_policy => {
                            let peer = PeerHeader { post_policy: true, ..header };
                            Message::RouteMonitoring { peer, update: &update }.encode(out);
                        }
                        Departure::NotTaken => {}
                    }
                }
            }
            Observed::State { .. } | Observed::Malformed(_) => {}
        }
    }

    fn down(
        &mut self,
        address: IpAddr,
        at: Timestamp,
        error: Option<&SessionError>,
        out: &mut Vec<u8>,
    ) {
        let Some(peer) = self.peers.remove(&address) else { return };
        let reason = match (&peer.notification, error.map(|error| error.direction)) {
            (Some((Direction::Sent, bytes)), _) => DownReason::LocalNotification(bytes),
            (Some((Direction::Received, bytes)), _) => DownReason::RemoteNotification(bytes),
            (None, Some(ErrorDirection::Connection | ErrorDirection::Dial)) => {
                DownReason::RemoteWithout
            }
            (None, _) => DownReason::LocalWithout(0),
        };
        Message::PeerDown { peer: peer.header(at), reason }.encode(out);
    }

    fn update(
        &self,
        address: IpAddr,
        at: Timestamp,
        context: &DecodeContext,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Some(peer) = self.peers.get(&address) else { return };
        let decoded = frame(bytes, MAX_EXTENDED_MESSAGE).ok().flatten().map(|f| decode(f, context));
        // What ends the session is told as its end.
        let Some(Ok(crate::wire::Message::Update(update))) = decoded else { return };
        let header = peer.header(at);
        if self.settings.pre_policy {
            if update.treated_as_withdraw() {
                for update in withdrawals(peer, update.withdrawn.iter()) {
                    Message::RouteMonitoring { peer: header, update: &update }.encode(out);
                }
            } else {
                let peer = PeerHeader { two_octet_as: !context.four_octet_as, ..header };
                Message::RouteMonitoring { peer, update: bytes }.encode(out);
            }
        }
        if let Some(policy) = self.policies.get(&address)
            && self.settings.post_policy
        {
            let header = PeerHeader { post_policy: true, ..header };
            for update in update.parts().flat_map(|part| after_policy(peer, policy, &part)) {
                Message::RouteMonitoring { peer: header, update: &update }.encode(out);
            }
        }
    }

    /// The counters of each session that the station knows of.
    pub fn statistics(&self, status: &SpeakerStatus, at: Timestamp, out: &mut Vec<u8>) {
        for neighbor in &status.neighbors {
            let Some(peer) = self.peers.get(&neighbor.address) else { continue };
            let [ipv4, ipv6] = neighbor.received_by_family;
            Message::Statistics {
                peer: peer.header(at),
                routes: u64::from(neighbor.received),
                by_family: [(Family::IPV4_UNICAST, ipv4), (Family::IPV6_UNICAST, ipv6)],
                refused: neighbor.refused_ever,
                treated_as_withdraw: neighbor.updates_treated_as_withdraw,
            }
            .encode(out);
        }
    }

    /// The last words: nothing more will come.
    pub fn end(&self, why: &str, out: &mut Vec<u8>) {
        Message::Termination { why }.encode(out);
    }
}

fn seconds(age: Duration) -> i64 {
    i64::try_from(age.as_secs()).unwrap_or(0)
}

/// UPDATEs that announce `nlri`, all of one family, with the attributes `set`.
fn announcements(peer: &Peer, set: &AttributeSet, nlri: &[Nlri]) -> Vec<Vec<u8>> {
    let Some(first) = nlri.first() else { return Vec::new() };
    let family = family_of(&first.prefix);
    let block = four_octet_block(set);
    let next_hop = match set.multiprotocol_next_hop() {
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().to_vec(),
        None => Vec::new(),
    };
    let reach = (!next_hop.is_empty()).then_some(Reach { family, next_hop: &next_hop });
    // Attributes that leave no room below 4096 bytes came in an extended message (RFC 8654).
    let room = MAX_MESSAGE.saturating_sub(UPDATE_OVERHEAD + block.len());
    let add_path = peer.add_path(family);
    let parts = nlri.chunks((room / LONGEST_NLRI).max(1));
    parts.filter_map(|nlri| announce(&block, reach, nlri, add_path)).collect()
}

/// UPDATEs that withdraw `nlri`, of any family.
fn withdrawals(peer: &Peer, nlri: impl Iterator<Item = Nlri>) -> Vec<Vec<u8>> {
    let mut updates = Vec::new();
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = nlri.partition(|nlri| nlri.prefix.addr().is_ipv4());
    for (family, of_family) in [(Family::IPV4_UNICAST, ipv4), (Family::IPV6_UNICAST, ipv6)] {
        let parts = of_family.chunks((MAX_MESSAGE - UPDATE_OVERHEAD) / LONGEST_NLRI);
        updates.extend(parts.filter_map(|nlri| withdraw(family, nlri, peer.add_path(family))));
    }
    updates
}

/// An UPDATE as the accept rules leave it: refused prefixes are withdrawn, since a route that was
/// accepted before may have been in their place.
fn after_policy(peer: &Peer, policy: &AcceptPolicy, update: &Update) -> Vec<Vec<u8>> {
    let mut withdrawn: Vec<Nlri> = update.withdrawn.iter().collect();
    let mut accepted: Vec<Nlri> = Vec::new();
    if let Some(set) = &update.attributes {
        let refused = policy.refused_by_attributes(&set.decode()).is_some();
        let is_refused = |nlri: &Nlri| refused || policy.refused_by_prefix(&nlri.prefix).is_some();
        let (no, yes): (Vec<Nlri>, Vec<Nlri>) = update.announced.iter().partition(is_refused);
        // Announced and withdrawn in one UPDATE: it is there (RFC 4271 §4.3).
        withdrawn.retain(|nlri| !yes.contains(nlri));
        withdrawn.extend(no);
        accepted.extend(yes);
    }
    let mut updates = withdrawals(peer, withdrawn.into_iter());
    if let Some(set) = &update.attributes {
        for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
            let of_family = accepted.iter().filter(|nlri| family_of(&nlri.prefix) == family);
            updates.extend(announcements(peer, set, &of_family.copied().collect::<Vec<_>>()));
        }
    }
    updates.extend(update.end_of_rib.map(|family| Outgoing::EndOfRib(family).encode()));
    updates
}

#[cfg(test)]
mod tests;
