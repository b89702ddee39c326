//! The counters. All are kept as routes come and go: a summary costs nothing, however large the table.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::set_hash::SetHash;
use super::totals::Totals;
use super::{Held, Neighbor, Rib};
use crate::policy::Refusal;

/// The counters of all neighbors and of the footprint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RibSummary {
    /// By [`NeighborId`].
    pub neighbors: Vec<NeighborSummary>,
    /// The size of the footprint; the addresses up to a second old while a full table changes.
    pub footprint: Totals,
    /// Different attribute sets stored.
    pub attribute_sets: usize,
    /// The footprint has changed so much that subscribers are not told before an operator has looked.
    pub held: Option<Held>,
    /// Prefixes that subscribers are not told of because they flap.
    pub damped: usize,
}

/// The counters of one neighbor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeighborSummary {
    /// Routes, refused ones included.
    pub received: u32,
    /// Those that are footprint.
    pub accepted: u32,
    /// The others, by [`Refusal::name`](crate::policy::Refusal::name); only what occurs.
    pub rejected: BTreeMap<&'static str, u32>,
    /// Routes of a lost session that has not announced them again yet.
    pub stale: u32,
    /// Of the stale ones those of the last run of the node, whose neighbor has not been back yet.
    pub restored: u32,
    /// When the last of the stale ones goes, unless the neighbor is back before.
    pub stale_until: Option<Instant>,
    /// Routes that the neighbor announces and that were not taken because of `max_prefixes` with
    /// `discard-new`; 262,144 stands for that many and more.
    pub discarded: u32,
    /// When the neighbor was asked for its table, since there was room again for them; none if some
    /// were left out after that.
    pub asked: Option<Instant>,
    /// 80 % of `max_prefixes` or more are there.
    pub near_limit: bool,
    /// Routes by family: IPv4, IPv6.
    pub by_family: [u32; 2],
    /// What was refused since the start.
    pub refused_ever: RefusedEver,
    /// By family, a fingerprint of the prefixes that are footprint: equal for equal sets, on any node.
    /// Only families that have any.
    pub set_hash: BTreeMap<&'static str, String>,
}

/// What a neighbor announced and was refused since the start, counted each time that it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RefusedEver {
    /// Prefixes, for whatever reason.
    pub prefixes: u64,
    /// UPDATEs with our own AS in their path.
    pub as_loops: u64,
    /// UPDATEs with our own identifier in their CLUSTER_LIST.
    pub cluster_loops: u64,
    /// UPDATEs with our own identifier as ORIGINATOR_ID.
    pub own_originators: u64,
}

impl RefusedEver {
    /// An UPDATE is refused for its attributes.
    pub(super) fn count_update(&mut self, why: Refusal) {
        match why {
            Refusal::AsLoop => self.as_loops += 1,
            Refusal::ClusterLoop => self.cluster_loops += 1,
            Refusal::OwnOriginator => self.own_originators += 1,
            _ => {}
        }
    }
}

impl Rib {
    /// The counters. O(neighbors).
    #[must_use]
    pub fn summary(&self) -> RibSummary {
        RibSummary {
            neighbors: self.neighbors.iter().map(Neighbor::summary).collect(),
            footprint: self.footprint.last_totals(),
            attribute_sets: self.attributes.len(),
            held: self.export.held(),
            damped: self.export.damped(),
        }
    }
}

impl Neighbor {
    fn summary(&self) -> NeighborSummary {
        let counts = self.table.counts();
        let refused = Refusal::ALL.into_iter().zip(counts.refused);
        NeighborSummary {
            received: counts.received,
            accepted: counts.accepted,
            rejected: refused
                .filter(|(_, count)| *count > 0)
                .map(|(refusal, count)| (refusal.name(), count))
                .collect(),
            stale: self.table.stale(),
            restored: self.restored_until.map_or(0, |_| self.table.stale()),
            stale_until: self.table.stale_until(),
            discarded: self.limit.left_out.count(),
            asked: self.limit.asked,
            near_limit: self.is_near_limit(),
            by_family: self.table.by_family(),
            refused_ever: self.refused_ever,
            set_hash: ["ipv4-unicast", "ipv6-unicast"]
                .into_iter()
                .zip(counts.accepted_sets)
                .filter(|(_, hash)| *hash != SetHash::default())
                .map(|(family, hash)| (family, hash.to_string()))
                .collect(),
        }
    }
}
