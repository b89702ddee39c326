//! Which accepted route of a prefix the footprint shows (RFC 4271 §9.1.1, §9.1.2.2 a and c).

use std::num::NonZeroU32;
use std::time::Instant;

use super::adj_rib_in::Place;
use super::attributes::Traits;
use super::export::{Change, Why};
use super::footprint::{Best, Entry};
use super::totals::Totals;
use super::{NeighborId, PrefixAttributes, PrefixSource, Rib};

impl Rib {
    /// Finds the best accepted route of a prefix and brings the footprint in line with it.
    /// `why` a route of `neighbor` there has changed.
    pub(super) fn choose_best(
        &mut self,
        neighbor: NeighborId,
        place: Place,
        why: Why,
        now: Instant,
    ) {
        let before = self.footprint.get(place.id);
        let best = match self.prefixes.holders(place.id) {
            0 => None,
            1 => self.best_of_one(neighbor, place),
            _ => self.best_route(place),
        };
        if let Some(best) = best {
            self.attributes.add_user(best.attributes);
        }
        let entry = Entry::new(before.is_some_and(Entry::is_manual), best);
        self.footprint.set(&place.prefix, place.id, entry, now);
        let change = match (before, entry) {
            (None, Some(_)) => Some(Change::Come),
            (Some(_), None) => Some(Change::Gone),
            (Some(before), Some(entry)) if self.export.has_subscribers() => {
                let same = self.describe(before) == self.describe(entry);
                (!same).then_some(Change::Attributes)
            }
            _ => None,
        };
        if let Some(change) = change {
            let is_expected = self.is_expected(neighbor, place, change, why);
            self.export.changed(place.prefix, change, is_expected, now);
        }
        if let Some(old) = before.and_then(Entry::best) {
            self.attributes.release(old.attributes);
        }
    }

    /// Whether a prefix goes because its neighbor has been away for too long, or comes because it is
    /// back: what the operator has set, and no accident. The guard then counts with it.
    fn is_expected(&mut self, id: NeighborId, place: Place, change: Change, why: Why) -> bool {
        let Some(neighbor) = self.neighbors.get(usize::from(id.0)) else { return false };
        let address = neighbor.rules.address;
        let share = || {
            let addresses = self.footprint.addresses_of_alone(place.prefix, &self.prefixes);
            Totals::of_one(&place.prefix, addresses)
        };
        match (change, why) {
            (Change::Gone, Why::Expired) => {
                self.export.neighbor_is_away(address, share());
                true
            }
            (Change::Come, Why::Told) => {
                self.export.awaits(address) && self.export.neighbor_is_back(address, share())
            }
            _ => false,
        }
    }

    /// Where one neighbor has routes of the prefix, and most likely this one.
    fn best_of_one(&self, neighbor: NeighborId, place: Place) -> Option<Best> {
        let table = &self.neighbors.get(usize::from(neighbor.0))?.table;
        match table.single(place.id) {
            Some(route) => {
                route.is_accepted().then(|| Best { neighbor, attributes: route.attributes() })
            }
            None if table.has(place.id) => self.best_among([neighbor], place),
            None => self.best_route(place),
        }
    }

    pub(super) fn best_route(&self, place: Place) -> Option<Best> {
        self.best_among(self.ids(), place)
    }

    fn best_among(
        &self,
        neighbors: impl IntoIterator<Item = NeighborId>,
        place: Place,
    ) -> Option<Best> {
        let mut best: Option<(Best, Candidate)> = None;
        for neighbor in neighbors {
            let Some(routes) = self.neighbors.get(usize::from(neighbor.0)) else { continue };
            for (_, route) in routes.table.of(place.id).filter(|(_, route)| route.is_accepted()) {
                let attributes = route.attributes();
                let Some(mut traits) = self.attributes.traits(attributes) else { continue };
                traits.first_asn = traits.first_asn.or(NonZeroU32::new(routes.rules.asn));
                let last_resort =
                    traits.is_llgr_stale() || routes.table.is_long_lived(&place.prefix, route);
                let candidate = Candidate { traits, last_resort };
                if best.as_ref().is_none_or(|(_, leader)| is_better(&candidate, leader)) {
                    best = Some((Best { neighbor, attributes }, candidate));
                }
            }
        }
        best.map(|(best, _)| best)
    }

    pub(super) fn describe(&self, entry: Entry) -> Option<PrefixAttributes> {
        if entry.is_manual() {
            return Some(PrefixAttributes {
                source: PrefixSource::Manual,
                as_path_length: 0,
                med: None,
                neighbor_asn: None,
            });
        }
        let best = entry.best()?;
        let traits = self.attributes.traits(best.attributes)?;
        let neighbor = self.neighbors.get(usize::from(best.neighbor.0))?;
        Some(PrefixAttributes {
            source: PrefixSource::Bgp,
            as_path_length: u32::from(traits.as_path_length),
            med: traits.med(),
            neighbor_asn: Some(traits.first_asn.map_or(neighbor.rules.asn, NonZeroU32::get)),
        })
    }
}

/// What a route is compared by.
struct Candidate {
    traits: Traits,
    /// It is long-lived stale, here or at a router on the way: taken only where there is no other
    /// (RFC 9494 §4.3).
    last_resort: bool,
}

/// Strictly better; of equals the one of the neighbor named first in the configuration stays.
/// MEDs say something only about routes from one AS; a missing one counts as 0.
fn is_better(one: &Candidate, other: &Candidate) -> bool {
    let comparable = one.traits.first_asn == other.traits.first_asn;
    let med = |traits: &Traits| if comparable { traits.med().unwrap_or(0) } else { 0 };
    let key = |Candidate { traits, last_resort }: &Candidate| {
        (*last_resort, u32::MAX - traits.local_pref, traits.as_path_length, med(traits))
    };
    key(one) < key(other)
}
