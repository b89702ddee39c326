//! Everything that one neighbor announced, refused routes included (RFC 4271 §3.2).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

use super::generation::Generations;
use super::route::Route;
use crate::policy::Refusal;
use crate::wire::{Family, Nlri};

/// The routes of one neighbor with their counters.
#[derive(Debug)]
pub(super) struct AdjRibIn {
    /// Routes with path identifier 0: all of them unless ADD-PATH was negotiated.
    routes: JointPrefixMap<IpNet, Route>,
    /// Routes with another path identifier (RFC 7911).
    paths: BTreeMap<(IpNet, u32), Route>,
    counts: Counts,
    ipv4: Generations,
    ipv6: Generations,
    sweep: Position,
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
}

/// How far a walk over an [`AdjRibIn`] has come: the last route it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Start,
    After(Nlri),
}

impl AdjRibIn {
    pub(super) fn new() -> Self {
        Self {
            routes: JointPrefixMap::new(),
            paths: BTreeMap::new(),
            counts: Counts::default(),
            ipv4: Generations::new(),
            ipv6: Generations::new(),
            sweep: Position::Start,
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

    /// The route of this prefix and path identifier.
    pub(super) fn get(&self, nlri: Nlri) -> Option<Route> {
        match nlri.path_id {
            0 => self.routes.get(&nlri.prefix).copied(),
            path_id => self.paths.get(&(nlri.prefix, path_id)).copied(),
        }
    }

    /// Stores a route and returns the one it replaces.
    pub(super) fn insert(&mut self, nlri: Nlri, route: Route) -> Option<Route> {
        let replaced = match nlri.path_id {
            0 => self.routes.insert(nlri.prefix, route),
            path_id => self.paths.insert((nlri.prefix, path_id), route),
        };
        if let Some(replaced) = replaced {
            self.uncount(&nlri.prefix, replaced);
        }
        self.counts.received += 1;
        *self.counts.of(route) += 1;
        self.generations_mut(&nlri.prefix).added(route.generation());
        replaced
    }

    /// Removes a route and returns it.
    pub(super) fn remove(&mut self, nlri: Nlri) -> Option<Route> {
        let removed = match nlri.path_id {
            0 => self.routes.remove(&nlri.prefix),
            path_id => self.paths.remove(&(nlri.prefix, path_id)),
        }?;
        self.uncount(&nlri.prefix, removed);
        Some(removed)
    }

    fn uncount(&mut self, prefix: &IpNet, route: Route) {
        self.counts.received -= 1;
        *self.counts.of(route) -= 1;
        self.generations_mut(prefix).removed(route.generation());
    }

    /// The routes of exactly this prefix.
    pub(super) fn exact(&self, prefix: IpNet) -> impl Iterator<Item = (Nlri, Route)> {
        let first = self.routes.get(&prefix).map(|&route| (Nlri { prefix, path_id: 0 }, route));
        // Nearly no neighbor has any: do not search an empty map.
        let paths = (!self.paths.is_empty()).then(|| {
            let range = self.paths.range((prefix, 0)..=(prefix, u32::MAX));
            range.map(|(&(prefix, path_id), &route)| (Nlri { prefix, path_id }, route))
        });
        first.into_iter().chain(paths.into_iter().flatten())
    }

    /// The routes of the longest prefix that covers `host` and has any.
    pub(super) fn longest_match(&self, host: IpNet) -> Vec<(Nlri, Route)> {
        let covering = std::iter::successors(Some(host), IpNet::supernet);
        let mut matches = covering.map(|prefix| self.exact(prefix).collect::<Vec<_>>());
        matches.find(|routes| !routes.is_empty()).unwrap_or_default()
    }

    /// Up to `budget` routes after `position`, inside `within` if given, and where to go on.
    pub(super) fn slice(
        &self,
        position: Position,
        within: Option<IpNet>,
        budget: usize,
    ) -> (Vec<(Nlri, Route)>, Option<Position>) {
        let inside =
            |(nlri, _): &(Nlri, Route)| within.is_none_or(|within| within.contains(&nlri.prefix));
        let mut found = Vec::new();
        // Routes with path identifier 0 come first, then the others.
        if matches!(position, Position::Start | Position::After(Nlri { path_id: 0, .. })) {
            let routes = match (position, within) {
                (Position::After(nlri), _) => self.routes.iter_from(&nlri.prefix, false),
                (Position::Start, Some(within)) => self.routes.iter_from(&within, true),
                (Position::Start, None) => self.routes.iter(),
            };
            let routes = routes.map(|(prefix, &route)| (Nlri { prefix, path_id: 0 }, route));
            found.extend(routes.take_while(inside).take(budget));
        }
        let begin = match (position, within) {
            (Position::After(Nlri { prefix, path_id: path_id @ 1.. }), _) => {
                Bound::Excluded((prefix, path_id))
            }
            (_, Some(within)) => Bound::Included((within, 0)),
            (_, None) => Bound::Unbounded,
        };
        let paths = self.paths.range((begin, Bound::Unbounded));
        let paths = paths.map(|(&(prefix, path_id), &route)| (Nlri { prefix, path_id }, route));
        found.extend(paths.take_while(inside).take(budget - found.len()));
        let more = found.len() == budget;
        let next = found.last().filter(|_| more).map(|(nlri, _)| Position::After(*nlri));
        (found, next)
    }

    /// The next routes to be removed, having looked at no more than `budget`.
    pub(super) fn doomed(&mut self, budget: usize) -> Vec<Nlri> {
        if !self.any_doomed() {
            self.sweep = Position::Start;
            return Vec::new();
        }
        let (slice, next) = self.slice(self.sweep, None, budget);
        // At the end it begins anew: more may have been doomed behind it.
        self.sweep = next.unwrap_or(Position::Start);
        let is_doomed = |(nlri, route): &(Nlri, Route)| {
            self.generations(&nlri.prefix).is_doomed(route.generation())
        };
        slice.into_iter().filter(is_doomed).map(|(nlri, _)| nlri).collect()
    }

    pub(super) fn any_doomed(&self) -> bool {
        self.ipv4.any_doomed() || self.ipv6.any_doomed()
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
