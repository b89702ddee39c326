//! What readers see: the steering index, and which nodes may be sent clients.
//!
//! Both are built beside what readers hold and swapped in, so that an answer takes no lock and
//! never sees half a change.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use jiff::Timestamp;

use super::keeper::{Keeper, Member};
use crate::api::types::{Footprint, LeftOut};
use crate::feed::{Change, RouteAttributes};
use crate::health::NodeState;
use crate::steering::{self, NodeId, NodeStates, PassedOver, Standing};

/// Publishing the index copies it. One of up to this many prefixes (about 2 ms) is published after
/// each change; a larger one at most once per second.
const CHEAP_PREFIXES: usize = 50_000;

/// The weight of a node without an egress limit, in megabits per second: a 10 Gbit/s port. Not 0, or
/// the compiler would refuse it.
const USUAL_EGRESS_MBPS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// What steering answers are made from. Cheap to clone; every clone sees each publication.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steering {
    /// The footprints of all nodes.
    pub(crate) index: steering::Steering,
    /// Which nodes may be sent clients.
    pub(crate) nodes: Arc<ArcSwap<NodeStates>>,
}

impl Keeper {
    /// Publishes what has changed: the index when that is cheap, the nodes always.
    pub(super) fn publish(&mut self, now: Timestamp) {
        self.publish_nodes(now);
        self.publish_index(Instant::now());
    }

    /// Publishes what a tick of the clock brings: silence, and an index whose turn has come.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.publish_nodes(now);
        if self.index.publish_if_due(Instant::now()) {
            self.count_prefixes();
        }
    }

    pub(super) fn publish_nodes(&self, now: Timestamp) {
        let mut counts = [0; NodeState::ALL.len()];
        let mut states = NodeStates::new();
        for member in self.members.values() {
            let state = member.verdict(now).state;
            let place = NodeState::ALL.iter().position(|known| *known == state);
            if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                *count += 1;
            }
            states.insert(
                member.id,
                steering::NodeState {
                    name: member.settings.name.clone(),
                    address: member.settings.address,
                    standing: standing(member, state),
                    weight: weight(member),
                },
            );
        }
        for (state, count) in NodeState::ALL.into_iter().zip(counts) {
            self.metrics.set_nodes(state, count);
        }
        self.steering.nodes.store(Arc::new(states));
        self.count_left_out();
    }

    pub(super) fn count_left_out(&self) {
        let left_out = self.members.values().map(|member| left_out(member, self.ipv6)).sum();
        self.metrics.set_left_out(left_out);
    }

    pub(super) fn publish_index(&mut self, now: Instant) {
        let is_cheap = self.steering.index.view().len() <= CHEAP_PREFIXES;
        if is_cheap && self.index.next_publish(now).is_some() {
            self.index.publish(now);
        } else if !self.index.publish_if_due(now) {
            return;
        }
        self.count_prefixes();
    }

    fn count_prefixes(&self) {
        let prefixes = self.steering.index.view().len();
        self.metrics.prefixes.set(i64::try_from(prefixes).unwrap_or(i64::MAX));
    }

    /// Puts prefixes of a node into the index as they are now: entered by hand, or else as the node
    /// has advertised them, or else not at all. IPv6 stays out while it is off: the feed holds it all
    /// the same, so that its digest remains that of the node.
    pub(super) fn place(&mut self, node: NodeId, prefixes: impl IntoIterator<Item = IpNet>) {
        let Some(member) = self.members.get(&node) else { return };
        let manual = Arc::new(RouteAttributes::manual());
        let is_steered = |prefix: &IpNet| self.ipv6 || matches!(prefix, IpNet::V4(_));
        let changes: Vec<Change> = prefixes
            .into_iter()
            .filter(is_steered)
            .map(|prefix| {
                let attributes = if member.settings.cidrs.contains(&prefix) {
                    Some(Arc::clone(&manual))
                } else {
                    member.feed.table().get(&prefix).cloned()
                };
                Change::new(prefix, attributes)
            })
            .collect();
        self.index.apply(node, &changes);
    }

    /// Puts the CIDR blocks of a node into the index, and takes out those that it had `before`.
    pub(super) fn place_cidrs(&mut self, node: NodeId, before: &[IpNet]) {
        let now = self.members.get(&node).map(|member| member.settings.cidrs.clone());
        self.place(node, before.iter().copied().chain(now.unwrap_or_default()));
    }

    /// Puts everything of a node into the index.
    pub(super) fn place_all(&mut self, node: NodeId) {
        let Some(member) = self.members.get(&node) else { return };
        let advertised: Vec<IpNet> = member.feed.table().iter().map(|(prefix, _)| prefix).collect();
        self.place(node, advertised);
        self.place_cidrs(node, &[]);
    }

    /// Forgets a node that was deleted.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.members.remove(&node);
        self.index.remove_node(node);
    }
}

/// Whether a node in this state may be sent clients.
pub(super) fn standing(member: &Member, state: NodeState) -> Standing {
    Standing::PassedOver(match state {
        NodeState::Healthy if is_over_egress(member) => PassedOver::OverEgress,
        NodeState::Healthy => return Standing::Eligible,
        NodeState::Draining => PassedOver::Draining,
        NodeState::Disabled => PassedOver::Disabled,
        NodeState::NotConfigured
        | NodeState::NotProvisioned
        | NodeState::RegistrationInProgress
        | NodeState::NeverPhonedHome
        | NodeState::Unhealthy => PassedOver::Unhealthy,
    })
}

fn is_over_egress(member: &Member) -> bool {
    let egress = member.heard.as_ref().map_or(0.0, |heard| heard.heartbeat.traffic.egress_mbps);
    member.settings.max_egress_mbps.is_some_and(|limit| egress >= f64::from(limit))
}

fn weight(member: &Member) -> NonZeroU32 {
    member.settings.max_egress_mbps.and_then(NonZeroU32::new).unwrap_or(USUAL_EGRESS_MBPS)
}

/// How many prefixes of a node are IPv6, and IPv6 is off.
pub(super) fn left_out(member: &Member, ipv6: bool) -> usize {
    if ipv6 {
        return 0;
    }
    // Blocks entered by hand while it was on.
    let table = member.feed.table();
    let only_by_hand = only_by_hand(member).filter(|cidr| matches!(cidr, IpNet::V6(_))).count();
    table.ipv6_len() + only_by_hand
}

fn only_by_hand(member: &Member) -> impl Iterator<Item = &IpNet> {
    let table = member.feed.table();
    member.settings.cidrs.iter().filter(|cidr| table.get(cidr).is_none())
}

/// What the API shows of a node's footprint.
pub(super) fn footprint(member: &Member, ipv6: bool) -> Footprint {
    let left_out = left_out(member, ipv6);
    Footprint {
        prefixes: member.feed.table().len() + only_by_hand(member).count() - left_out,
        left_out: LeftOut::ipv6_off(left_out),
        feed: member.feed.position(),
    }
}
