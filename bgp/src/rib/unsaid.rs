//! What becomes of routes without an UPDATE that says so: for those who follow the UPDATEs.
//!
//! Kept until somebody takes it, and only for routes that are still as it says: a route that is
//! announced and taken in the meantime is struck off.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::{NeighborId, Rib};
use crate::wire::Nlri;

/// Where a route has gone that its neighbor has announced and not withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// A route refresh did not bring it again (RFC 7313 §4).
    NotRefreshed,
    /// It was not taken in, because of `max_prefixes` with `discard-new`.
    NotTaken,
}

type Set = HashSet<(NeighborId, Nlri), RandomState>;

#[derive(Debug, Default)]
pub(super) struct Unsaid {
    vanished: Set,
    not_taken: Set,
}

impl Unsaid {
    pub(super) fn vanished(&mut self, id: NeighborId, route: Nlri) {
        self.vanished.insert((id, route));
    }

    pub(super) fn not_taken(&mut self, id: NeighborId, route: Nlri) {
        self.not_taken.insert((id, route));
    }

    fn is_empty(&self) -> bool {
        self.vanished.is_empty() && self.not_taken.is_empty()
    }

    pub(super) fn taken(&mut self, id: NeighborId, route: Nlri) {
        // Asked for each route, and nearly always there are none.
        for set in [&mut self.vanished, &mut self.not_taken] {
            if !set.is_empty() {
                set.remove(&(id, route));
            }
        }
    }
}

impl Rib {
    /// The routes that have gone without an UPDATE since this was asked last. To be asked often: they
    /// are kept until then.
    pub fn take_departures(&mut self) -> Vec<(NeighborId, Departure, Vec<Nlri>)> {
        if self.unsaid.is_empty() {
            return Vec::new();
        }
        let Unsaid { vanished, not_taken } = std::mem::take(&mut self.unsaid);
        let mut all = Vec::new();
        for (set, why) in [(vanished, Departure::NotRefreshed), (not_taken, Departure::NotTaken)] {
            let mut routes: Vec<_> = set.into_iter().collect();
            routes.sort_by_key(|(id, route)| (*id, route.prefix, route.path_id));
            for of_one in routes.chunk_by(|one, other| one.0 == other.0) {
                if let Some(&(id, _)) = of_one.first() {
                    all.push((id, why, of_one.iter().map(|(_, route)| *route).collect()));
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::tests::{A, Fixture, marker};
    use crate::testing::nlri;
    use crate::wire::RouteRefreshKind::{BeginningOfRefresh, EndOfRefresh};

    #[test]
    fn what_a_refresh_did_not_bring_is_told_unless_it_comes_after_all() {
        let mut f = Fixture::new(100, &[]);
        f.announce(A, &["8.7.0.0/16", "8.8.0.0/16", "8.9.0.0/16"], &[64500]);
        f.feed(A, &marker(BeginningOfRefresh));
        f.announce(A, &["8.9.0.0/16"], &[64500]);
        f.feed(A, &marker(EndOfRefresh));
        f.settle();
        f.announce(A, &["8.8.0.0/16"], &[64500]);
        let gone = vec![(A, Departure::NotRefreshed, vec![nlri("8.7.0.0/16")])];
        assert_eq!(f.rib.take_departures(), gone);
        assert_eq!(f.rib.take_departures(), []);
    }
}
