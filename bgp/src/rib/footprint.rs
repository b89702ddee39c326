//! The footprint: every prefix that any neighbor's accepted routes or the configuration name.

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

use super::NeighborId;
use super::attributes::AttributesId;

/// The prefixes, with how many addresses they cover together.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    entries: JointPrefixMap<IpNet, Entry>,
    ipv4_addresses: u64,
    /// Modulo 2^128.
    ipv6_addresses: u128,
}

/// Why a prefix is in the footprint: at least one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Entered by hand.
    pub(super) manual: bool,
    /// The best of the accepted routes.
    pub(super) best: Option<Best>,
}

/// A route, by who announced it and its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Best {
    pub(super) neighbor: NeighborId,
    pub(super) attributes: AttributesId,
}

impl Footprint {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<Entry> {
        self.entries.get(prefix).copied()
    }

    /// Size of the union of all prefixes: an address in two of them counts once.
    pub(super) fn addresses(&self) -> u128 {
        if self.entries.contains_key(&IpNet::V6(ipnet::Ipv6Net::default())) {
            return u128::MAX;
        }
        self.ipv6_addresses.saturating_add(u128::from(self.ipv4_addresses))
    }

    /// In order of address, then length; after `after` if given.
    pub(super) fn iter_after(
        &self,
        after: Option<IpNet>,
    ) -> impl Iterator<Item = (IpNet, Entry)> + '_ {
        let entries = match after {
            Some(after) => self.entries.iter_from(&after, false),
            None => self.entries.iter(),
        };
        entries.map(|(prefix, entry)| (prefix, *entry))
    }

    pub(super) fn set(&mut self, prefix: IpNet, entry: Entry) {
        if let Some(known) = self.entries.get_mut(&prefix) {
            *known = entry;
            return;
        }
        let uncovered = self.addresses_only_in(prefix);
        self.entries.insert(prefix, entry);
        match prefix {
            IpNet::V4(_) => self.ipv4_addresses += u64::try_from(uncovered).unwrap_or(0),
            IpNet::V6(_) => self.ipv6_addresses = self.ipv6_addresses.wrapping_add(uncovered),
        }
    }

    pub(super) fn remove(&mut self, prefix: &IpNet) {
        if self.entries.remove(prefix).is_none() {
            return;
        }
        let uncovered = self.addresses_only_in(*prefix);
        match prefix {
            IpNet::V4(_) => self.ipv4_addresses -= u64::try_from(uncovered).unwrap_or(0),
            IpNet::V6(_) => self.ipv6_addresses = self.ipv6_addresses.wrapping_sub(uncovered),
        }
    }

    /// How many addresses `prefix`, which is not an entry now, has beyond all entries.
    fn addresses_only_in(&self, prefix: IpNet) -> u128 {
        if self.entries.get_lpm(&prefix).is_some() {
            return 0;
        }
        let mut rest = size(prefix);
        let mut outermost: Option<IpNet> = None;
        for (inside, _) in self.entries.children(&prefix) {
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
    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;

    const MANUAL: Entry = Entry { manual: true, best: None };

    proptest! {
        /// The running count is what counting anew gives.
        #[test]
        fn addresses_are_those_of_the_union(
            steps in prop::collection::vec((any::<bool>(), 0u32..64, 24u8..=32), 1..80),
            default_route in any::<bool>(),
        ) {
            let mut footprint = Footprint::default();
            if default_route {
                footprint.set("0.0.0.0/0".parse().unwrap(), MANUAL);
            }
            for (add, host, length) in steps {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 + host * 16);
                let prefix = IpNet::V4(Ipv4Net::new(address, length).unwrap().trunc());
                if add { footprint.set(prefix, MANUAL) } else { footprint.remove(&prefix) }
                let anew = footprint.entries.t1.address_count().map_or(1 << 32, u128::from);
                prop_assert_eq!(footprint.addresses(), anew);
            }
        }
    }
}
