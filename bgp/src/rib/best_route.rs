//! Which accepted route of a prefix the footprint shows (RFC 4271 §9.1.1, §9.1.2.2 a and c).

use std::num::NonZeroU32;
use std::time::Instant;

use super::adj_rib_in::Place;
use super::attributes::Traits;
use super::export::Change;
use super::footprint::{Best, Entry};
use super::prefix_table::PrefixId;
use super::{PrefixAttributes, PrefixSource, Rib};

impl Rib {
    /// Finds the best accepted route of a prefix and brings the footprint in line with it.
    pub(super) fn choose_best(&mut self, place: Place, now: Instant) {
        let before = self.footprint.get(place.id);
        let best = self.best_route(place.id);
        if let Some(best) = best {
            self.attributes.add_user(best.attributes);
        }
        let entry = Entry::new(before.is_some_and(Entry::is_manual), best);
        self.footprint.set(place.id, entry, now);
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
            self.export.changed(place.prefix, change, now);
        }
        if let Some(old) = before.and_then(Entry::best) {
            self.attributes.release(old.attributes);
        }
    }

    pub(super) fn best_route(&self, id: PrefixId) -> Option<Best> {
        let mut best: Option<(Best, Traits)> = None;
        for (neighbor, routes) in self.ids().zip(&self.neighbors) {
            for (_, route) in routes.table.of(id).filter(|(_, route)| route.is_accepted()) {
                let attributes = route.attributes();
                let Some(mut traits) = self.attributes.traits(attributes) else { continue };
                traits.first_asn = traits.first_asn.or(NonZeroU32::new(routes.rules.asn));
                if best.as_ref().is_none_or(|(_, leader)| is_better(&traits, leader)) {
                    best = Some((Best { neighbor, attributes }, traits));
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

/// Strictly better; of equals the one of the neighbor named first in the configuration stays.
/// MEDs say something only about routes from one AS; a missing one counts as 0.
fn is_better(one: &Traits, other: &Traits) -> bool {
    let comparable = one.first_asn == other.first_asn;
    let med = |traits: &Traits| if comparable { traits.med().unwrap_or(0) } else { 0 };
    let key = |traits: &Traits| (u32::MAX - traits.local_pref, traits.as_path_length, med(traits));
    key(one) < key(other)
}
