//! The footprint: every prefix that any neighbor's accepted routes or the configuration name.

use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::NeighborId;
use super::attributes::AttributesId;
use super::column::Column;
use super::prefix_set::PrefixSet;
use super::prefix_table::{Inclusive, PrefixId, PrefixTable};
use super::totals::Totals;

/// The prefixes, with how many addresses they cover together.
///
/// Addresses are counted by a walk over everything, some 15 ns a prefix. So the count is due in a
/// pause of changes of one microsecond a prefix, and without a pause after eight: at once for a small
/// table, and for the full one never more than a hundredth of the time.
#[derive(Debug)]
pub(super) struct Footprint {
    entries: Column<Entry>,
    /// The prefixes that have an entry.
    there: PrefixSet,
    /// Prefixes as they are now, addresses as they were counted last.
    totals: Totals,
    /// The first and the last change that the addresses do not know of.
    uncounted: Option<(Instant, Instant)>,
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
            there: PrefixSet::default(),
            totals: Totals::default(),
            uncounted: None,
        }
    }

    pub(super) fn get(&self, id: PrefixId) -> Option<Entry> {
        self.entries.get(id)
    }

    /// How large it is; an address in two prefixes counts once. The addresses are those of the last
    /// count.
    pub(super) fn last_totals(&self) -> Totals {
        self.totals
    }

    /// When [`Footprint::count_addresses`] is due.
    pub(super) fn count_due(&self, prefixes: &PrefixTable) -> Option<Instant> {
        let pause = Duration::from_micros(u64::try_from(prefixes.len()).unwrap_or(u64::MAX));
        let (first, last) = self.uncounted?;
        Some((last + pause).min(first + pause.saturating_mul(8)))
    }

    /// How large it is now.
    pub(super) fn totals(&mut self, prefixes: &PrefixTable) -> Totals {
        if self.uncounted.is_some() {
            self.count_addresses(prefixes);
        }
        self.totals
    }

    /// Counts the addresses.
    pub(super) fn count_addresses(&mut self, prefixes: &PrefixTable) {
        // In order, the first prefix that has an address is the one that covers it.
        let (mut ipv4, mut covered_to) = (0_u64, None);
        prefixes.for_each_ipv4_range(|first, last, id| {
            if self.there.contains(id) && covered_to.is_none_or(|covered_to| first > covered_to) {
                ipv4 += u64::from(last - first) + 1;
                covered_to = Some(last);
            }
        });
        let (mut ipv6, mut covered_to) = (0_u128, None);
        for (prefix, id) in prefixes.ipv6() {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            if self.there.contains(id) && covered_to.is_none_or(|covered_to| first > covered_to) {
                ipv6 = ipv6.saturating_add(last - first).saturating_add(1);
                covered_to = Some(last);
            }
        }
        self.totals.ipv4.addresses = ipv4.into();
        self.totals.ipv6.addresses = ipv6;
        self.uncounted = None;
    }

    /// How many addresses of `prefix` no other prefix of the footprint covers.
    pub(super) fn addresses_of_alone(&self, prefix: IpNet, prefixes: &PrefixTable) -> u128 {
        let is_other =
            |(other, id): &(IpNet, PrefixId)| *other != prefix && self.entries.get(*id).is_some();
        if prefixes.covering(&prefix).any(|other| is_other(&other)) {
            return 0;
        }
        let mut alone = size(prefix);
        let mut outermost: Option<IpNet> = None;
        let inside = prefixes.iter(Some((prefix, Inclusive(true))));
        let inside = inside.take_while(|(other, _)| prefix.contains(other));
        for (other, _) in inside.filter(is_other) {
            if !outermost.is_some_and(|outer| outer.contains(&other)) {
                alone = alone.saturating_sub(size(other));
                outermost = Some(other);
            }
        }
        alone
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
    pub(super) fn set(&mut self, prefix: &IpNet, id: PrefixId, entry: Option<Entry>, now: Instant) {
        let before = match entry {
            Some(entry) => self.entries.insert(id, entry),
            None => self.entries.remove(id),
        };
        match (before, entry) {
            (None, Some(_)) => {
                self.there.insert(id);
                self.totals.family_mut(prefix).prefixes += 1;
            }
            (Some(_), None) => {
                self.there.remove(id);
                self.totals.family_mut(prefix).prefixes -= 1;
            }
            _ => return,
        }
        let (first, _) = self.uncounted.unwrap_or((now, now));
        self.uncounted = Some((first, now));
    }
}

/// Number of addresses; `u128::MAX` for ::/0.
fn size(prefix: IpNet) -> u128 {
    let host_bits = u32::from(prefix.max_prefix_len() - prefix.prefix_len());
    1u128.checked_shl(host_bits).unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;

    fn addresses(footprint: &Footprint) -> u128 {
        footprint.last_totals().ipv4.addresses
    }

    proptest! {
        #[test]
        fn addresses_are_those_of_the_union(
            steps in prop::collection::vec((any::<bool>(), 0u32..64, 24u8..=32), 1..80),
            default_route in any::<bool>(),
        ) {
            let now = Instant::now();
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
                let (before, changes) =
                    (addresses(&footprint), footprint.get(id).is_some() != add);
                let alone = footprint.addresses_of_alone(prefix.into(), &prefixes);
                footprint.set(&prefix.into(), id, Entry::new(add, None), now);
                if add { there.insert(prefix) } else { there.remove(&prefix) };
                footprint.count_addresses(&prefixes);
                let union = Ipv4Net::aggregate(&there.iter().copied().collect());
                let anew: u64 = union.iter().map(|net| 1u64 << (32 - net.prefix_len())).sum();
                prop_assert_eq!(addresses(&footprint), u128::from(anew));
                let difference = addresses(&footprint).abs_diff(before);
                prop_assert_eq!(difference, if changes { alone } else { 0 });
                prop_assert_eq!(footprint.last_totals().prefixes(), there.len());
                prop_assert_eq!(footprint.count_due(&prefixes), None);
            }
        }
    }

    #[test]
    fn an_entry_takes_eight_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 8);
    }
}
