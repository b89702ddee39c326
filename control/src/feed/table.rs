//! A footprint as both ends of a feed hold it: prefix to attributes, with the digest kept up.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

use super::digest::Digest;
use super::record::{Change, RouteAttributes, RouteRecord};

/// Routes by prefix. Equal attributes are stored once, so a route costs about 20 bytes.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: JointPrefixMap<IpNet, Arc<RouteAttributes>>,
    // Holds one reference to each; the routes hold the others.
    shared: HashSet<Arc<RouteAttributes>>,
    digest: Digest,
    ipv6: usize,
}

impl RouteTable {
    /// Without a route.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// How many of them are IPv6.
    #[must_use]
    pub fn ipv6_len(&self) -> usize {
        self.ipv6
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The fingerprint of all routes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The attributes of exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: &IpNet) -> Option<&Arc<RouteAttributes>> {
        self.routes.get(prefix)
    }

    /// All routes, IPv4 first, each family in ascending order of address, then length.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &Arc<RouteAttributes>)> {
        self.routes.iter()
    }

    /// All routes as records, in the same order.
    pub fn records(&self) -> impl Iterator<Item = RouteRecord> {
        self.iter()
            .map(|(prefix, attributes)| RouteRecord { prefix, attributes: Arc::clone(attributes) })
    }

    /// Makes the prefix what the change says. `false`: it was that before.
    pub fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Present(record) => self.set(record),
            Change::Absent(prefix) => self.remove(&prefix.trunc()),
        }
    }

    /// The digest after these changes, each of another prefix, without making them.
    #[must_use]
    pub fn digest_after(&self, changes: &[Change]) -> Digest {
        changes.iter().fold(self.digest, |digest, change| {
            let prefix = change.prefix();
            let digest = match self.get(&prefix) {
                Some(old) => digest.minus(Digest::of(&prefix, old)),
                None => digest,
            };
            match change.attributes() {
                Some(new) => digest.plus(Digest::of(&prefix, new)),
                None => digest,
            }
        })
    }

    /// The changes that turn this table into `to`, in order of prefix.
    #[must_use]
    pub fn changes_to(&self, to: &Self) -> Vec<Change> {
        let gone = self.iter().filter(|(prefix, _)| to.get(prefix).is_none());
        let new = to.records().filter(|new| self.get(&new.prefix) != Some(&new.attributes));
        let mut changes: Vec<Change> = gone
            .map(|(prefix, _)| Change::Absent(prefix))
            .chain(new.map(Change::Present))
            .collect();
        changes.sort_unstable_by_key(Change::prefix);
        changes
    }

    fn set(&mut self, record: &RouteRecord) -> bool {
        let prefix = record.prefix.trunc();
        if self.routes.get(&prefix) == Some(&record.attributes) {
            return false;
        }
        let attributes = match self.shared.get(&record.attributes) {
            Some(shared) => Arc::clone(shared),
            None => {
                self.shared.insert(Arc::clone(&record.attributes));
                Arc::clone(&record.attributes)
            }
        };
        self.digest = self.digest.plus(Digest::of(&prefix, &attributes));
        match self.routes.insert(prefix, attributes) {
            Some(old) => self.forget(&prefix, &old),
            None => self.ipv6 += usize::from(matches!(prefix, IpNet::V6(_))),
        }
        true
    }

    fn remove(&mut self, prefix: &IpNet) -> bool {
        let Some(old) = self.routes.remove(prefix) else { return false };
        self.ipv6 -= usize::from(matches!(prefix, IpNet::V6(_)));
        self.forget(prefix, &old);
        true
    }

    fn forget(&mut self, prefix: &IpNet, old: &Arc<RouteAttributes>) {
        self.digest = self.digest.minus(Digest::of(prefix, old));
        // `old` itself and `shared` are left: no route has these attributes any more.
        if Arc::strong_count(old) <= 2 {
            self.shared.remove(old);
        }
        // Sets that someone outside held just then are still there. Sweep before they add up.
        if self.shared.len() > 2 * self.routes.len() + 1_024 {
            self.shared.retain(|attributes| Arc::strong_count(attributes) > 1);
        }
    }
}

impl FromIterator<RouteRecord> for RouteTable {
    fn from_iter<I: IntoIterator<Item = RouteRecord>>(records: I) -> Self {
        let mut table = Self::new();
        for record in records {
            table.set(&record);
        }
        table
    }
}

impl PartialEq for RouteTable {
    fn eq(&self, other: &Self) -> bool {
        self.routes == other.routes
    }
}

impl Eq for RouteTable {}

#[cfg(test)]
mod tests;
