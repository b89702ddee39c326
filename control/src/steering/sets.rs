//! Which nodes have a prefix, stored once for all prefixes that the same nodes have alike.
//!
//! A thousand nodes with the same million prefixes are a million small numbers and one set, not a
//! billion entries.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::nodes::NodeId;
use crate::feed::{RouteAttributes, Source};

/// The attributes of a route that steering ranks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RouteRank {
    /// How the prefix came into the node's footprint.
    pub source: Source,
    /// Length of the AS path; 0 for a manual prefix.
    pub path_len: u32,
    /// MULTI_EXIT_DISC. A route without one counts as 0 (RFC 4271 §9.1.2.2 (c)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// The AS that the route was learned from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbor_asn: Option<u32>,
}

impl From<&RouteAttributes> for RouteRank {
    fn from(attributes: &RouteAttributes) -> Self {
        Self {
            source: attributes.source,
            path_len: attributes.path_len,
            med: attributes.med,
            neighbor_asn: attributes.neighbor_asn,
        }
    }
}

/// A node that has a prefix, and how it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    pub(super) node: NodeId,
    pub(super) rank: RouteRank,
}

/// Names a set within one [`NodeSets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetId(u32);

/// The sets in use, sorted by node, each counted.
#[derive(Debug, Default)]
pub(super) struct NodeSets {
    slots: Vec<Slot>,
    ids: HashMap<Arc<[Entry]>, SetId>,
    free: Vec<SetId>,
}

#[derive(Debug)]
struct Slot {
    entries: Arc<[Entry]>,
    users: u32,
}

/// The sets as they were at one time, for readers.
#[derive(Debug, Clone, Default)]
pub(super) struct SetList(Vec<Arc<[Entry]>>);

impl SetList {
    pub(super) fn get(&self, id: SetId) -> &[Entry] {
        position(id).and_then(|i| self.0.get(i)).map_or(&[], |entries| entries)
    }
}

impl NodeSets {
    /// The set of these entries, with one more user. `None` of no entry, or of a set more than
    /// fits (2^32).
    pub(super) fn acquire(&mut self, entries: &[Entry]) -> Option<SetId> {
        if entries.is_empty() {
            return None;
        }
        if let Some(id) = self.ids.get(entries).copied() {
            let slot = self.slots.get_mut(position(id)?)?;
            slot.users = slot.users.checked_add(1)?;
            return Some(id);
        }
        let entries: Arc<[Entry]> = entries.into();
        let slot = Slot { entries: Arc::clone(&entries), users: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                *self.slots.get_mut(position(id)?)? = slot;
                id
            }
            None => {
                let id = SetId(u32::try_from(self.slots.len()).ok()?);
                self.slots.push(slot);
                id
            }
        };
        self.ids.insert(entries, id);
        Some(id)
    }

    /// One user less; the set goes with the last.
    pub(super) fn release(&mut self, id: SetId) {
        let Some(slot) = position(id).and_then(|i| self.slots.get_mut(i)) else { return };
        slot.users = slot.users.saturating_sub(1);
        if slot.users == 0 {
            self.ids.remove(&slot.entries);
            slot.entries = Arc::new([]);
            self.free.push(id);
        }
    }

    pub(super) fn get(&self, id: SetId) -> &[Entry] {
        position(id).and_then(|i| self.slots.get(i)).map_or(&[], |slot| &slot.entries)
    }

    /// How many different sets are in use.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn list(&self) -> SetList {
        SetList(self.slots.iter().map(|slot| Arc::clone(&slot.entries)).collect())
    }
}

fn position(id: SetId) -> Option<usize> {
    usize::try_from(id.0).ok()
}
