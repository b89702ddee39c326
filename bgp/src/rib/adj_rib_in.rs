//! Everything that one neighbor announced, refused routes included (RFC 4271 §3.2).

use std::collections::BTreeMap;
use std::time::Instant;

use ipnet::IpNet;

use super::column::Column;
use super::generation::Generations;
use super::prefix_table::PrefixId;
use super::route::Route;
use super::set_hash::SetHash;
use super::walk::Position;
use crate::policy::Refusal;
use crate::wire::Family;

/// The routes of one neighbor with their counters.
#[derive(Debug)]
pub(super) struct AdjRibIn {
    /// Routes with path identifier 0: all of them unless ADD-PATH was negotiated.
    routes: Column<Route>,
    /// Routes with another path identifier (RFC 7911).
    paths: BTreeMap<(PrefixId, u32), Route>,
    counts: Counts,
    ipv4: Generations,
    ipv6: Generations,
    /// Prefixes that came with a flood: their routes are to be removed.
    flood: Column<()>,
    /// How far it has come to look at what has become long-lived (RFC 9494); none: all is seen.
    pub(super) aging: Option<Position>,
    /// How far the sweep has come: the last prefix that it looked at.
    pub(super) swept: Option<IpNet>,
}

/// How many routes there are of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All.
    pub(super) received: u32,
    /// Those of the footprint.
    pub(super) accepted: u32,
    /// The others, in the order of [`Refusal::ALL`].
    pub(super) refused: [u32; Refusal::ALL.len()],
    /// Of the prefixes that have an accepted route: IPv4, IPv6.
    pub(super) accepted_sets: [SetHash; 2],
}

/// Where a route is in an [`AdjRibIn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) prefix: IpNet,
    /// That of `prefix`.
    pub(super) id: PrefixId,
    /// ADD-PATH identifier (RFC 7911 §3); 0 without.
    pub(super) path_id: u32,
}

impl AdjRibIn {
    pub(super) fn new() -> Self {
        Self {
            routes: Column::new(),
            paths: BTreeMap::new(),
            counts: Counts::default(),
            ipv4: Generations::new(),
            ipv6: Generations::new(),
            flood: Column::new(),
            aging: None,
            swept: None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// How many routes are left of a lost session.
    pub(super) fn stale(&self) -> u32 {
        self.ipv4.stale() + self.ipv6.stale()
    }

    pub(super) fn is_stale(&self, prefix: &IpNet, route: Route) -> bool {
        self.generations(prefix).is_stale(route.generation())
    }

    /// Whether a route waits for its neighbor beyond the restart time (RFC 9494 §4.2).
    pub(super) fn is_long_lived(&self, prefix: &IpNet, route: Route) -> bool {
        self.generations(prefix).is_long_lived(route.generation())
    }

    /// Whether a route is to be removed because nobody has come back for it.
    pub(super) fn has_expired(&self, prefix: &IpNet, route: Route) -> bool {
        self.generations(prefix).has_expired(route.generation())
    }

    /// Routes by family: IPv4, IPv6.
    pub(super) fn by_family(&self) -> [u32; 2] {
        [self.ipv4.routes(), self.ipv6.routes()]
    }

    /// When the last of the stale routes goes, unless the neighbor is back before.
    pub(super) fn stale_until(&self) -> Option<Instant> {
        [self.ipv4.stale_until(), self.ipv6.stale_until()].into_iter().flatten().max()
    }

    /// Whether a route is to be removed by the next sweep.
    pub(super) fn is_doomed(&self, place: Place, route: Route) -> bool {
        self.generations(&place.prefix).is_doomed(route.generation())
            || self.flood.get(place.id).is_some()
    }

    /// All routes of these prefixes are to be removed, unless they are announced again.
    pub(super) fn doom_prefixes(&mut self, prefixes: Column<()>) {
        self.flood = prefixes;
    }

    /// Whether there is a route of a prefix.
    pub(super) fn has(&self, id: PrefixId) -> bool {
        self.of(id).next().is_some()
    }

    pub(super) fn generations(&self, prefix: &IpNet) -> &Generations {
        match prefix {
            IpNet::V4(_) => &self.ipv4,
            IpNet::V6(_) => &self.ipv6,
        }
    }

    fn generations_mut(&mut self, prefix: &IpNet) -> &mut Generations {
        match prefix {
            IpNet::V4(_) => &mut self.ipv4,
            IpNet::V6(_) => &mut self.ipv6,
        }
    }

    /// Of a family; `None` for a family that has no table here.
    pub(super) fn family_mut(&mut self, family: Family) -> Option<&mut Generations> {
        match family {
            Family::IPV4_UNICAST => Some(&mut self.ipv4),
            Family::IPV6_UNICAST => Some(&mut self.ipv6),
            Family { .. } => None,
        }
    }

    pub(super) fn families_mut(&mut self) -> [&mut Generations; 2] {
        [&mut self.ipv4, &mut self.ipv6]
    }

    pub(super) fn get(&self, place: Place) -> Option<Route> {
        match place.path_id {
            0 => self.routes.get(place.id),
            path_id => self.paths.get(&(place.id, path_id)).copied(),
        }
    }

    /// Stores a route and returns the one it replaces.
    pub(super) fn insert(&mut self, place: Place, route: Route) -> Option<Route> {
        if !self.flood.is_empty() {
            self.flood.remove(place.id);
        }
        let replaced = match place.path_id {
            0 => self.routes.insert(place.id, route),
            path_id => self.paths.insert((place.id, path_id), route),
        };
        if let Some(replaced) = replaced {
            self.uncount(&place.prefix, replaced);
        }
        self.counts.received += 1;
        *self.counts.of(route) += 1;
        self.generations_mut(&place.prefix).added(route.generation());
        let was_accepted = replaced.is_some_and(Route::is_accepted);
        self.note_acceptance(place, was_accepted, route.is_accepted());
        replaced
    }

    /// Removes a route and returns it.
    pub(super) fn remove(&mut self, place: Place) -> Option<Route> {
        let removed = match place.path_id {
            0 => self.routes.remove(place.id),
            path_id => self.paths.remove(&(place.id, path_id)),
        }?;
        self.uncount(&place.prefix, removed);
        self.note_acceptance(place, removed.is_accepted(), false);
        if !self.has(place.id) {
            self.flood.remove(place.id);
        }
        Some(removed)
    }

    /// Whether any route of a prefix is accepted.
    pub(super) fn accepts(&self, id: PrefixId) -> bool {
        self.of(id).any(|(_, route)| route.is_accepted())
    }

    /// Whether there is no other route of the prefix than the one at `place`.
    pub(super) fn is_alone(&self, place: Place) -> bool {
        self.is_surely_alone(place) || self.others(place).next().is_none()
    }

    /// Without path identifiers, which nearly no neighbor has.
    fn is_surely_alone(&self, place: Place) -> bool {
        place.path_id == 0 && self.paths.is_empty()
    }

    fn others(&self, place: Place) -> impl Iterator<Item = Route> {
        let all = self.of(place.id);
        all.filter_map(move |(path_id, route)| (path_id != place.path_id).then_some(route))
    }

    /// The route at `place` was accepted before, or is now, or both.
    fn note_acceptance(&mut self, place: Place, before: bool, now: bool) {
        if before == now {
            return;
        }
        if self.is_surely_alone(place) || !self.others(place).any(Route::is_accepted) {
            let [ipv4, ipv6] = &mut self.counts.accepted_sets;
            let set = if matches!(place.prefix, IpNet::V4(_)) { ipv4 } else { ipv6 };
            set.toggle(&place.prefix);
        }
    }

    fn uncount(&mut self, prefix: &IpNet, route: Route) {
        self.counts.received -= 1;
        *self.counts.of(route) -= 1;
        self.generations_mut(prefix).removed(route.generation());
    }

    /// The route of a prefix if it is sure to have but one: without a path identifier.
    pub(super) fn single(&self, id: PrefixId) -> Option<Route> {
        if self.paths.is_empty() { self.routes.get(id) } else { None }
    }

    /// The routes of a prefix with their path identifiers, in order of these.
    pub(super) fn of(&self, id: PrefixId) -> impl Iterator<Item = (u32, Route)> {
        // Nearly no neighbor has any: do not search an empty map.
        let paths = (!self.paths.is_empty()).then(|| {
            let range = self.paths.range((id, 0)..=(id, u32::MAX));
            range.map(|(&(_, path_id), &route)| (path_id, route))
        });
        let first = self.routes.get(id).map(|route| (0, route));
        first.into_iter().chain(paths.into_iter().flatten())
    }

    pub(super) fn any_doomed(&self) -> bool {
        self.ipv4.any_doomed() || self.ipv6.any_doomed() || !self.flood.is_empty()
    }

    /// When stale routes expire next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        [self.ipv4.next_expiry(), self.ipv6.next_expiry()].into_iter().flatten().min()
    }
}

impl Counts {
    fn of(&mut self, route: Route) -> &mut u32 {
        let refusal = route.refusal();
        match refusal.and_then(|refusal| self.refused.get_mut(refusal as usize)) {
            Some(count) => count,
            None => &mut self.accepted,
        }
    }
}
