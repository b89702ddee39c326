//! Every prefix that any neighbor announced or the configuration names, each with a number.

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

/// Number of a prefix in a [`PrefixTable`]; used again after the prefix has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PrefixId(pub(super) u32);

impl PrefixId {
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct PrefixTable {
    ids: JointPrefixMap<IpNet, PrefixId>,
    free: Vec<PrefixId>,
    /// How many neighbors have a route of the prefix, by its number: to look into each of five hundred
    /// costs more than everything else that is done for a route.
    holders: Vec<u16>,
}

impl PrefixTable {
    /// The number of a prefix, which gets one if it has none. There are fewer prefixes than
    /// numbers: each takes memory.
    pub(super) fn number(&mut self, prefix: IpNet) -> PrefixId {
        let next = u32::try_from(self.ids.len() + self.free.len()).unwrap_or(u32::MAX);
        let free = &mut self.free;
        *self.ids.entry(prefix).or_insert_with(|| free.pop().unwrap_or(PrefixId(next)))
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<PrefixId> {
        self.ids.get(prefix).copied()
    }

    /// One neighbor more has a route of the prefix.
    pub(super) fn add_holder(&mut self, id: PrefixId) {
        if self.holders.len() <= id.index() {
            self.holders.resize(id.index() + 1, 0);
        }
        if let Some(holders) = self.holders.get_mut(id.index()) {
            *holders += 1;
        }
    }

    /// One neighbor has its last route of the prefix no more.
    pub(super) fn remove_holder(&mut self, id: PrefixId) {
        if let Some(holders) = self.holders.get_mut(id.index()) {
            *holders -= 1;
        }
    }

    /// How many neighbors have a route of the prefix.
    pub(super) fn holders(&self, id: PrefixId) -> u16 {
        self.holders.get(id.index()).copied().unwrap_or(0)
    }

    /// Forgets a prefix that nobody has any more.
    pub(super) fn remove(&mut self, prefix: &IpNet) {
        self.free.extend(self.ids.remove(prefix));
    }

    /// In order of address, then length: from `first`, or after it, or from the beginning.
    pub(super) fn iter(
        &self,
        first: Option<(IpNet, Inclusive)>,
    ) -> impl Iterator<Item = (IpNet, PrefixId)> + '_ {
        let prefixes = match first {
            Some((first, Inclusive(inclusive))) => self.ids.iter_from(&first, inclusive),
            None => self.ids.iter(),
        };
        prefixes.map(|(prefix, &id)| (prefix, id))
    }

    /// The prefixes that cover `prefix`, itself included, shortest first.
    pub(super) fn covering(&self, prefix: &IpNet) -> impl Iterator<Item = (IpNet, PrefixId)> + '_ {
        self.ids.cover(prefix).map(|(prefix, &id)| (prefix, id))
    }
}

/// Whether a walk begins at its first prefix, or after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inclusive(pub(super) bool);
