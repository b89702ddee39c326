//! The footprint: every prefix that any neighbor's accepted routes or the configuration name.

use ipnet::IpNet;

use super::NeighborId;
use super::attributes::AttributesId;
use super::column::Column;
use super::prefix_table::{Inclusive, PrefixId, PrefixTable};

/// The prefixes, with how many addresses they cover together.
#[derive(Debug)]
pub(super) struct Footprint {
    entries: Column<Entry>,
    count: usize,
    ipv4_addresses: u64,
    /// Modulo 2^128.
    ipv6_addresses: u128,
    /// ::/0 is an entry: 2^128 addresses, which no number here can say.
    all_of_ipv6: bool,
}

/// Why a prefix is in the footprint: it was entered by hand, there is an accepted route, or both.
/// In eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    attributes: Option<AttributesId>,
    neighbor: NeighborId,
    manual: bool,
}

/// A route, by who announced it and its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Best {
    pub(super) neighbor: NeighborId,
    pub(super) attributes: AttributesId,
}

impl Entry {
    /// None if nothing names the prefix.
    pub(super) fn new(manual: bool, best: Option<Best>) -> Option<Self> {
        (manual || best.is_some()).then_some(Self {
            attributes: best.map(|best| best.attributes),
            neighbor: best.map_or(NeighborId(0), |best| best.neighbor),
            manual,
        })
    }

    /// Whether it was entered by hand.
    pub(super) fn is_manual(self) -> bool {
        self.manual
    }

    /// The best of the accepted routes.
    pub(super) fn best(self) -> Option<Best> {
        Some(Best { neighbor: self.neighbor, attributes: self.attributes? })
    }
}

impl Footprint {
    pub(super) fn new() -> Self {
        Self {
            entries: Column::new(),
            count: 0,
            ipv4_addresses: 0,
            ipv6_addresses: 0,
            all_of_ipv6: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, id: PrefixId) -> Option<Entry> {
        self.entries.get(id)
    }

    /// Size of the union of all prefixes: an address in two of them counts once.
    pub(super) fn addresses(&self) -> u128 {
        if self.all_of_ipv6 {
            return u128::MAX;
        }
        self.ipv6_addresses.saturating_add(u128::from(self.ipv4_addresses))
    }

    /// In order of address, then length; after `after` if given.
    pub(super) fn iter_after<'a>(
        &'a self,
        prefixes: &'a PrefixTable,
        after: Option<IpNet>,
    ) -> impl Iterator<Item = (IpNet, PrefixId, Entry)> + 'a {
        let all = prefixes.iter(after.map(|after| (after, Inclusive(false))));
        all.filter_map(|(prefix, id)| Some((prefix, id, self.entries.get(id)?)))
    }

    /// Sets or removes the entry of a prefix.
    pub(super) fn set(
        &mut self,
        prefixes: &PrefixTable,
        (prefix, id): (IpNet, PrefixId),
        entry: Option<Entry>,
    ) {
        let before = match entry {
            Some(entry) => self.entries.insert(id, entry),
            None => self.entries.remove(id),
        };
        if before.is_some() == entry.is_some() {
            return;
        }
        let is_there = entry.is_some();
        self.count = if is_there { self.count + 1 } else { self.count - 1 };
        let uncovered = self.addresses_only_in(prefixes, prefix);
        match (prefix, u64::try_from(uncovered).unwrap_or(0)) {
            (IpNet::V4(_), uncovered) if is_there => self.ipv4_addresses += uncovered,
            (IpNet::V4(_), uncovered) => self.ipv4_addresses -= uncovered,
            (IpNet::V6(_), _) if is_there => {
                self.ipv6_addresses = self.ipv6_addresses.wrapping_add(uncovered);
            }
            (IpNet::V6(_), _) => self.ipv6_addresses = self.ipv6_addresses.wrapping_sub(uncovered),
        }
        if prefix == IpNet::V6(ipnet::Ipv6Net::default()) {
            self.all_of_ipv6 = is_there;
        }
    }

    /// How many addresses `prefix` has beyond all other entries.
    fn addresses_only_in(&self, prefixes: &PrefixTable, prefix: IpNet) -> u128 {
        let is_other =
            |(other, id): &(IpNet, PrefixId)| *other != prefix && self.entries.get(*id).is_some();
        if prefixes.covering(&prefix).any(|other| is_other(&other)) {
            return 0;
        }
        let mut rest = size(prefix);
        let mut outermost: Option<IpNet> = None;
        for (inside, _) in prefixes.inside(&prefix).filter(is_other) {
            if !outermost.is_some_and(|outer| outer.contains(&inside)) {
                rest = rest.wrapping_sub(size(inside));
                outermost = Some(inside);
            }
        }
        rest
    }
}

/// Number of addresses, modulo 2^128.
fn size(prefix: IpNet) -> u128 {
    let host_bits = u32::from(prefix.max_prefix_len() - prefix.prefix_len());
    1u128.checked_shl(host_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The running count is what counting anew gives.
        #[test]
        fn addresses_are_those_of_the_union(
            steps in prop::collection::vec((any::<bool>(), 0u32..64, 24u8..=32), 1..80),
            default_route in any::<bool>(),
        ) {
            let mut footprint = Footprint::new();
            let mut prefixes = PrefixTable::default();
            let mut there = BTreeSet::new();
            let first = default_route.then(|| (true, Ipv4Net::default()));
            let steps = steps.into_iter().map(|(add, host, length)| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 + host * 16);
                (add, Ipv4Net::new(address, length).unwrap().trunc())
            });
            for (add, prefix) in first.into_iter().chain(steps) {
                // Prefixes that are no entries are between them.
                let id = prefixes.number(prefix.into());
                footprint.set(&prefixes, (prefix.into(), id), Entry::new(add, None));
                if add { there.insert(prefix) } else { there.remove(&prefix) };
                let union = Ipv4Net::aggregate(&there.iter().copied().collect());
                let anew: u64 = union.iter().map(|net| 1u64 << (32 - net.prefix_len())).sum();
                prop_assert_eq!(footprint.addresses(), u128::from(anew));
                prop_assert_eq!(footprint.len(), there.len());
            }
        }
    }

    #[test]
    fn an_entry_takes_eight_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 8);
    }
}
