//! Routes that wait for their neighbor beyond its restart time (RFC 9494).
//!
//! When that phase begins, those with the community NO_LLGR go, and the others become what is taken
//! only where there is no other route: the best route of each of their prefixes is chosen anew.

use std::time::Instant;

use super::adj_rib_in::Place;
use super::export::Why;
use super::route::Route;
use super::{NeighborId, Rib};

impl Rib {
    /// Looks at one slice of what has become long-lived.
    pub(super) fn age(&mut self, id: NeighborId, budget: usize, now: Instant) {
        let Some(neighbor) = self.neighbors.get(usize::from(id.0)) else { return };
        let Some(begin) = neighbor.table.aging else { return };
        let mut slice = self.slice(neighbor, begin, None, budget);
        let is_long_lived =
            |(place, route): &(Place, Route)| neighbor.table.is_long_lived(&place.prefix, *route);
        let aged: Vec<_> = slice.by_ref().filter(is_long_lived).collect();
        let more = slice.more();
        drop(slice);
        for (place, route) in aged {
            let traits = self.attributes.traits(route.attributes());
            if traits.is_some_and(|traits| traits.is_no_llgr()) {
                self.remove(id, place, Why::Expired, now);
            } else if route.is_accepted() {
                self.choose_best(id, place, Why::Told, now);
            }
        }
        if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
            neighbor.table.aging = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use crate::rib::tests::{A, B, Fixture};
    use crate::rib::{NeighborId, SessionEvent};
    use crate::session::Retention;
    use crate::testing::{announce, attributes};
    use crate::wire::{Community, Family};

    const LLGR_STALE: Community = Community(0xffff_0006);
    const NO_LLGR: Community = Community(0xffff_0007);

    /// The session of a neighbor with long-lived graceful restart is lost.
    fn lose(f: &mut Fixture, id: NeighborId) {
        let times = |seconds| vec![(Family::IPV4_UNICAST, Duration::from_secs(seconds))];
        let retention = Retention::Keep {
            at_least: Duration::ZERO,
            restart: times(400),
            long_lived: times(3600),
        };
        f.feed(id, &SessionEvent::Down(retention));
    }

    fn tell(f: &mut Fixture, id: NeighborId, prefix: &str, path: &[u32], with: &[Community]) {
        let mut attributes = attributes(path);
        attributes.communities.extend_from_slice(with);
        f.feed(id, &SessionEvent::Update(announce(&[prefix], &attributes)));
    }

    #[test]
    fn routes_that_do_not_want_it_go_when_the_long_lived_phase_begins() {
        let mut f = Fixture::new(100, &[]);
        tell(&mut f, A, "8.7.0.0/16", &[64500], &[NO_LLGR]);
        tell(&mut f, A, "8.8.0.0/16", &[64500], &[]);
        lose(&mut f, A);
        f.pass(399);
        assert_eq!(f.footprint(), ["8.7.0.0/16", "8.8.0.0/16"]);
        f.pass(1);
        assert_eq!(f.footprint(), ["8.8.0.0/16"]);
        assert_eq!(f.counts(A).stale, 1);
        f.pass(3599);
        assert_eq!(f.footprint(), ["8.8.0.0/16"]);
        f.pass(1);
        assert!(f.footprint().is_empty());
        assert_eq!(f.rib.summary().attribute_sets, 0);
    }

    #[test]
    fn long_lived_routes_are_taken_only_where_there_is_no_other() {
        let mut f = Fixture::new(100, &[]);
        tell(&mut f, A, "8.8.0.0/16", &[1], &[]);
        tell(&mut f, B, "8.8.0.0/16", &[1, 2, 3], &[]);
        let (id, _) = f.subscribe();
        assert_eq!(f.best("8.8.0.0/16"), A);
        lose(&mut f, A);
        f.pass(399);
        assert_eq!(f.best("8.8.0.0/16"), A);
        f.pass(1);
        assert_eq!(f.best("8.8.0.0/16"), B);
        assert_eq!(f.rib.take_changes(&id, 9)[0].1.unwrap().as_path_length, 3, "it is told");
        // Of two that are both long-lived the better one counts again.
        lose(&mut f, B);
        f.pass(400);
        assert_eq!(f.best("8.8.0.0/16"), A);
        // It is back.
        f.feed(B, &SessionEvent::Up);
        tell(&mut f, B, "8.8.0.0/16", &[1, 2, 3], &[]);
        assert_eq!(f.best("8.8.0.0/16"), B);
    }

    #[test]
    fn a_route_that_a_router_on_the_way_has_kept_for_long_is_the_last_resort() {
        let mut f = Fixture::new(100, &[]);
        tell(&mut f, A, "8.8.0.0/16", &[1], &[LLGR_STALE]);
        assert_eq!(f.best("8.8.0.0/16"), A);
        tell(&mut f, B, "8.8.0.0/16", &[1, 2, 3], &[Community(0xffff_0000)]);
        assert_eq!(f.best("8.8.0.0/16"), B, "one that is about to go is better");
        let address = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(f.rib.neighbors[usize::from(B.0)].rules.address, address);
    }
}
