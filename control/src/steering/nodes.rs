//! What steering knows of the nodes themselves: where they are, what they can take, and whether
//! they may be sent clients at all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use mcc_config::NodeName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A node within one control plane: a small number that the database hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Why a node is not sent clients for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedOver {
    /// An operator is emptying it.
    Draining,
    /// No heartbeat for too long, or it says itself that it is not ready.
    Unhealthy,
    /// An operator has switched it off.
    Disabled,
    /// It sends as much as it may.
    OverEgress,
}

/// Whether a node may be sent clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Eligible,
    /// It may not.
    PassedOver(PassedOver),
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Unique in the control plane. The rendezvous hash is of the name, so that it comes out the
    /// same after a restore and in each replica.
    pub name: NodeName,
    /// Where clients are sent.
    pub address: IpAddr,
    /// Whether they are.
    pub standing: Standing,
    /// Capacity in proportion to the other nodes, such as `max_egress_mbps`.
    pub weight: NonZeroU32,
}

/// All nodes of a control plane.
///
/// Small and cheap to build anew: whoever judges the nodes builds one and swaps it in.
#[derive(Debug, Clone, Default)]
pub struct NodeStates {
    nodes: HashMap<NodeId, Known>,
}

#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) state: NodeState,
    /// Of the name, for the rendezvous hash.
    pub(super) seed: u64,
}

impl NodeStates {
    /// Without a node.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node, or replaces what was said of it.
    pub fn insert(&mut self, id: NodeId, state: NodeState) {
        let name: [u8; 32] = Sha256::digest(state.name.as_str()).into();
        let (first, _) = name.split_first_chunk().unwrap_or((&[0; 8], &[]));
        self.nodes.insert(id, Known { state, seed: u64::from_be_bytes(*first) });
    }

    /// What is said of a node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&NodeState> {
        self.known(id).map(|known| &known.state)
    }

    /// All nodes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &NodeState)> {
        self.nodes.iter().map(|(id, known)| (*id, &known.state))
    }

    pub(super) fn known(&self, id: NodeId) -> Option<&Known> {
        self.nodes.get(&id)
    }
}

impl FromIterator<(NodeId, NodeState)> for NodeStates {
    fn from_iter<I: IntoIterator<Item = (NodeId, NodeState)>>(nodes: I) -> Self {
        let mut states = Self::new();
        for (id, state) in nodes {
            states.insert(id, state);
        }
        states
    }
}
