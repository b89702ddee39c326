//! The footprints of all nodes in one place, by prefix.
//!
//! One owner changes the [`Index`]; readers hold a [`Steering`] and look things up in the last
//! published [`View`] without a lock. Publishing copies the table (25-45 ms for a million
//! prefixes), so it is done at most once per second.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

use super::decision::{Choice, Decision};
use super::nodes::{NodeId, NodeStates};
use super::sets::{Entry, NodeSets, RouteRank, SetId, SetList};
use super::{decision, rank};
use crate::feed::Change;

/// Shortest time between two publications.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// The footprints of all nodes, for the one who changes them.
#[derive(Debug, Default)]
pub struct Index {
    prefixes: JointPrefixMap<IpNet, SetId>,
    sets: NodeSets,
    changed: bool,
    published_at: Option<Instant>,
    steering: Steering,
}

impl Index {
    /// Without a footprint.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What readers hold. It follows each publication.
    #[must_use]
    pub fn steering(&self) -> Steering {
        self.steering.clone()
    }

    /// Makes changes of one node's footprint. Readers see them with the next publication.
    pub fn apply(&mut self, node: NodeId, changes: &[Change]) {
        let mut entries = Vec::new();
        for change in changes {
            let rank = change.attributes().map(|attributes| RouteRank::from(attributes.as_ref()));
            self.set(change.prefix(), node, rank, &mut entries);
        }
    }

    /// Takes a node out of every prefix. Takes time in proportion to the whole index.
    pub fn remove_node(&mut self, node: NodeId) {
        let has_node = |id: &SetId| self.sets.get(*id).iter().any(|entry| entry.node == node);
        let prefixes: Vec<IpNet> =
            self.prefixes.iter().filter(|(_, id)| has_node(id)).map(|(p, _)| p).collect();
        let mut entries = Vec::new();
        for prefix in prefixes {
            self.set(prefix, node, None, &mut entries);
        }
    }

    /// When [`Index::publish`] is due; none if readers have seen everything.
    #[must_use]
    pub fn next_publish(&self, now: Instant) -> Option<Instant> {
        self.changed.then(|| self.published_at.map_or(now, |at| at + PUBLISH_EVERY))
    }

    /// Shows readers the changes, if there are any and the last time is long enough ago. Returns
    /// whether it did.
    pub fn publish_if_due(&mut self, now: Instant) -> bool {
        let due = self.next_publish(now).is_some_and(|at| at <= now);
        if due {
            self.publish(now);
        }
        due
    }

    /// Shows readers the changes at once.
    pub fn publish(&mut self, now: Instant) {
        let view = View { prefixes: self.prefixes.clone(), sets: self.sets.list() };
        self.steering.view.store(Arc::new(view));
        self.changed = false;
        self.published_at = Some(now);
    }

    /// How many different sets of nodes there are: the measure of what the index costs beside the
    /// prefixes.
    #[must_use]
    pub fn node_sets(&self) -> usize {
        self.sets.len()
    }

    /// `entries` is room to work in.
    fn set(
        &mut self,
        prefix: IpNet,
        node: NodeId,
        rank: Option<RouteRank>,
        entries: &mut Vec<Entry>,
    ) {
        let old = self.prefixes.get(&prefix).copied();
        entries.clear();
        entries.extend_from_slice(old.map_or(&[], |id| self.sets.get(id)));
        let place = entries.binary_search_by_key(&node, |entry| entry.node);
        match (place, rank) {
            (Ok(at), Some(rank)) => {
                if let Some(entry) = entries.get_mut(at) {
                    *entry = Entry { node, rank };
                }
            }
            (Ok(at), None) => {
                entries.remove(at);
            }
            (Err(at), Some(rank)) => entries.insert(at, Entry { node, rank }),
            (Err(_), None) => return,
        }
        match self.sets.acquire(entries) {
            Some(id) => self.prefixes.insert(prefix, id),
            None => self.prefixes.remove(&prefix),
        };
        if let Some(old) = old {
            self.sets.release(old);
        }
        self.changed = true;
    }
}

/// What readers hold: the way to the last published [`View`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Steering {
    view: Arc<ArcSwap<View>>,
}

impl Steering {
    /// The footprints as published last. Hold it for one answer, or for one bulk of answers that
    /// are to agree.
    #[must_use]
    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }
}

/// The footprints of all nodes at one time.
#[derive(Debug, Default)]
pub struct View {
    prefixes: JointPrefixMap<IpNet, SetId>,
    sets: SetList,
}

impl View {
    /// Which node serves the client, and the whole story why.
    ///
    /// An IPv4 address mapped into IPv6 is that IPv4 address.
    #[must_use]
    pub fn steer(&self, client: IpAddr, nodes: &NodeStates) -> Decision {
        decision::decide(client.to_canonical(), &self.covering(client.to_canonical()), nodes)
    }

    /// Which node serves the client: what [`View::steer`] chooses, without the story.
    #[must_use]
    pub fn choose(&self, client: IpAddr, nodes: &NodeStates) -> Option<Choice> {
        let client = client.to_canonical();
        // Nearly always the longest prefix has the answer.
        let (prefix, id) = self.prefixes.get_lpm(&IpNet::from(client))?;
        let best = |id| rank::best(client, self.sets.get(id), nodes);
        if let Some(node) = best(*id) {
            return Some(Choice { node, prefix });
        }
        let cover: Vec<_> = self.prefixes.cover(&prefix).collect();
        (cover.into_iter().rev().skip(1))
            .find_map(|(prefix, id)| best(*id).map(|node| Choice { node, prefix }))
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there is no prefix.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The prefixes that share an address with `prefix`, each with a node that has it.
    pub(super) fn overlapping(&self, prefix: IpNet) -> impl Iterator<Item = (IpNet, NodeId)> {
        let inside = self.prefixes.children(&prefix).filter(move |(other, _)| *other != prefix);
        (self.prefixes.cover(&prefix).chain(inside))
            .flat_map(|(prefix, id)| self.sets.get(*id).iter().map(move |e| (prefix, e.node)))
    }

    /// The prefixes that cover the client with their nodes, longest first.
    fn covering(&self, client: IpAddr) -> Vec<(IpNet, &[Entry])> {
        let mut cover: Vec<_> = (self.prefixes.cover(&IpNet::from(client)))
            .map(|(prefix, id)| (prefix, self.sets.get(*id)))
            .collect();
        cover.reverse();
        cover
    }
}

#[cfg(test)]
mod tests;
