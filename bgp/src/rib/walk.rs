//! Walks over the routes of one neighbor, in slices of bounded work.

use std::time::Instant;

use ipnet::IpNet;

use super::adj_rib_in::Place;
use super::export::Why;
use super::prefix_table::{Inclusive, PrefixId};
use super::route::Route;
use super::{Neighbor, NeighborId, Rib};
use crate::wire::Nlri;

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Start,
    /// The last route that it has seen, or could have: prefix and path identifier.
    After(IpNet, u32),
}

/// The routes that one slice of a walk meets.
pub(super) struct Slice<'a, P> {
    neighbor: &'a Neighbor,
    prefixes: P,
    begin: Position,
    within: Option<IpNet>,
    budget: usize,
    /// The prefix that it is at, with the routes of it that are left, last one first.
    at: Option<IpNet>,
    left: Vec<(Place, Route)>,
}

impl<P: Iterator<Item = (IpNet, PrefixId)>> Iterator for Slice<'_, P> {
    type Item = (Place, Route);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left.is_empty() {
            if self.budget == 0 {
                return None;
            }
            let next = self.prefixes.next();
            let inside =
                |(prefix, _): &(IpNet, _)| self.within.is_none_or(|within| within.contains(prefix));
            let Some((prefix, id)) = next.filter(inside) else {
                self.at = None;
                self.budget = 0;
                return None;
            };
            self.budget -= 1;
            self.at = Some(prefix);
            let seen = |path_id: u32| matches!(self.begin, Position::After(p, seen) if p == prefix && path_id <= seen);
            let routes = self.neighbor.table.of(id).filter(|(path_id, _)| !seen(*path_id));
            self.left.extend(routes.map(|(path_id, r)| (Place { prefix, id, path_id }, r)));
            self.left.reverse();
        }
        self.left.pop()
    }
}

impl<P> Slice<'_, P> {
    /// Where the next slice begins, once this one has ended; none if there is nothing more.
    pub(super) fn more(&self) -> Option<Position> {
        self.at.map(|prefix| Position::After(prefix, u32::MAX))
    }
}

impl Rib {
    /// The routes of `neighbor` after `begin`, inside `within` if given, in order of prefix and
    /// path identifier. Ends after `budget` prefixes, whoever has them.
    pub(super) fn slice<'a>(
        &'a self,
        neighbor: &'a Neighbor,
        begin: Position,
        within: Option<IpNet>,
        budget: usize,
    ) -> Slice<'a, impl Iterator<Item = (IpNet, PrefixId)> + 'a> {
        let first = match (begin, within) {
            (Position::After(prefix, _), _) => Some(prefix),
            (Position::Start, within) => within,
        };
        let prefixes = self.prefixes.iter(first.map(|prefix| (prefix, Inclusive(true))));
        Slice { neighbor, prefixes, begin, within, budget, at: None, left: Vec::new() }
    }

    /// Removes one slice of what is doomed; whether there is more.
    pub(super) fn sweep(&mut self, id: NeighborId, budget: usize, now: Instant) -> bool {
        let Some(neighbor) = self.neighbors.get(usize::from(id.0)) else { return false };
        if !neighbor.table.any_doomed() {
            return false;
        }
        let begin = neighbor.table.swept.map(|prefix| Position::After(prefix, u32::MAX));
        let mut slice = self.slice(neighbor, begin.unwrap_or(Position::Start), None, budget);
        let is_doomed = |(place, route): &(Place, Route)| neighbor.table.is_doomed(*place, *route);
        let doomed: Vec<_> = slice.by_ref().filter(is_doomed).collect();
        // At the end it begins anew: more may have been doomed behind it.
        let swept = slice.at;
        drop(slice);
        for (place, route) in doomed {
            let Some(neighbor) = self.neighbors.get(usize::from(id.0)) else { break };
            let expired = neighbor.table.has_expired(&place.prefix, route);
            if !neighbor.table.is_stale(&place.prefix, route) {
                self.unsaid.vanished(id, Nlri { prefix: place.prefix, path_id: place.path_id });
            }
            self.remove(id, place, if expired { Why::Expired } else { Why::Told }, now);
        }
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return false };
        let more = neighbor.table.any_doomed();
        neighbor.table.swept = swept.filter(|_| more);
        more
    }
}
