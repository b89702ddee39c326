//! Every prefix that any neighbor announced or the configuration names, each with a number.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::ipv4_prefixes::{BeginOfSearch, Ipv4Prefixes};

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
    ipv4: Ipv4Prefixes,
    ipv6: PrefixMap<Ipv6Net, PrefixId>,
    numbers: Numbers,
    /// How many neighbors have a route of the prefix, by its number: to look into each of five hundred
    /// costs more than everything else that is done for a route.
    holders: Vec<u16>,
}

/// The numbers of prefixes. There are fewer prefixes than numbers: each takes memory.
#[derive(Debug, Default)]
struct Numbers {
    /// The lowest that was never given.
    next: u32,
    /// Those that came back.
    free: Vec<PrefixId>,
}

impl Numbers {
    fn give(&mut self) -> PrefixId {
        self.free.pop().unwrap_or_else(|| {
            let id = PrefixId(self.next);
            self.next = self.next.saturating_add(1);
            id
        })
    }

    fn given(&self) -> usize {
        PrefixId(self.next).index().saturating_sub(self.free.len())
    }
}

impl PrefixTable {
    /// The number of a prefix, which gets one if it has none.
    pub(super) fn number(&mut self, prefix: IpNet) -> PrefixId {
        let new = || self.numbers.give();
        match prefix {
            IpNet::V4(prefix) => self.ipv4.get_or_insert_with(&prefix, new),
            IpNet::V6(prefix) => *self.ipv6.entry(prefix).or_insert_with(new),
        }
    }

    /// Where [`PrefixTable::number`] will begin to read, for those who look ahead.
    pub(super) fn begin_of_search(&self, prefix: &IpNet) -> Option<BeginOfSearch<'_>> {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.begin_of_search(prefix),
            IpNet::V6(_) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.given()
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<PrefixId> {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.get(prefix),
            IpNet::V6(prefix) => self.ipv6.get(prefix).copied(),
        }
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
        let removed = match prefix {
            IpNet::V4(prefix) => self.ipv4.remove(prefix),
            IpNet::V6(prefix) => self.ipv6.remove(prefix),
        };
        self.numbers.free.extend(removed);
    }

    /// All of IPv4, in order of address, then length: each as its first and last address.
    pub(super) fn for_each_ipv4_range(&self, each: impl FnMut(u32, u32, PrefixId)) {
        self.ipv4.for_each_range(each);
    }

    /// All of IPv6, in order of address, then length.
    pub(super) fn ipv6(&self) -> impl Iterator<Item = (Ipv6Net, PrefixId)> + '_ {
        self.ipv6.iter().map(|(prefix, &id)| (prefix, id))
    }

    /// In order of address, then length: from `first`, or after it, or from the beginning.
    pub(super) fn iter(
        &self,
        first: Option<(IpNet, Inclusive)>,
    ) -> impl Iterator<Item = (IpNet, PrefixId)> + '_ {
        let (ipv4, ipv6) = match first {
            None => (Some(self.ipv4.iter_from(Ipv4Net::default())), self.ipv6.iter()),
            Some((IpNet::V4(first), _)) => (Some(self.ipv4.iter_from(first)), self.ipv6.iter()),
            Some((IpNet::V6(first), Inclusive(inclusive))) => {
                (None, self.ipv6.iter_from(&first, inclusive))
            }
        };
        let left_out = first.filter(|(_, Inclusive(inclusive))| !inclusive).map(|(first, _)| first);
        let ipv4 = ipv4.into_iter().flatten().map(|(prefix, id)| (IpNet::from(prefix), id));
        let ipv6 = ipv6.map(|(prefix, &id)| (IpNet::from(prefix), id));
        ipv4.skip_while(move |(prefix, _)| Some(*prefix) == left_out).chain(ipv6)
    }

    /// The prefixes that cover `prefix`, itself included, shortest first.
    pub(super) fn covering(&self, prefix: &IpNet) -> impl Iterator<Item = (IpNet, PrefixId)> + '_ {
        let (ipv4, ipv6) = match prefix {
            IpNet::V4(prefix) => (Some(self.ipv4.covering(*prefix)), None),
            IpNet::V6(prefix) => (None, Some(self.ipv6.cover(prefix))),
        };
        let ipv4 = ipv4.into_iter().flatten().map(|(prefix, id)| (IpNet::from(prefix), id));
        let ipv6 = ipv6.into_iter().flatten().map(|(prefix, &id)| (IpNet::from(prefix), id));
        ipv4.chain(ipv6)
    }
}

/// Whether a walk begins at its first prefix, or after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inclusive(pub(super) bool);
