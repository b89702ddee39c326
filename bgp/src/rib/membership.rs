//! Neighbors that come and go while the RIB is there: routers of a `[[bgp.dynamic]]` prefix.

use std::time::Instant;

use super::{Neighbor, NeighborId, NeighborRules, Rib};
use crate::session::Retention;

impl NeighborId {
    /// The number that no neighbor has.
    pub const NOBODY: Self = Self(u16::MAX);
}

impl Rib {
    /// Takes in one more neighbor, without routes. `id` is the next number, or that of a neighbor
    /// that [`Rib::neighbor_leaves`] has removed; with any other nothing happens.
    pub fn neighbor_joins(&mut self, id: NeighborId, rules: NeighborRules) {
        let neighbor = Neighbor::new(rules);
        let count = self.neighbors.len();
        match self.neighbors.get_mut(usize::from(id.0)) {
            Some(left) if left.table.counts().received == 0 => {
                *left = neighbor;
                self.attributes.forget_verdicts_of(id);
            }
            None if usize::from(id.0) == count => self.neighbors.push(neighbor),
            Some(_) | None => {}
        }
    }

    /// Removes the routes of a neighbor, all at once, and frees its number. Meant for one that has
    /// none left; with a full table it takes as long as withdrawing it, some 0.3 s.
    pub fn neighbor_leaves(&mut self, id: NeighborId, now: Instant) {
        self.session_lost(id, &Retention::Withdraw, now);
        while self.sweep(id, usize::MAX, now) {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mcc_config::AcceptRules;

    use super::*;
    use crate::policy::{AcceptPolicy, Identity};
    use crate::rib::tests::rules;
    use crate::rib::{ExportRules, SessionEvent};
    use crate::testing::{announce, attributes};

    #[test]
    fn a_number_that_is_used_again_has_the_rules_of_the_new_neighbor() {
        let now = Instant::now();
        let mut rib = Rib::new(vec![rules(1, 1000)], &[], ExportRules::default(), now);
        let (first, second) = (NeighborId(0), NeighborId(1));
        rib.neighbor_joins(NeighborId(2), rules(3, 1000));
        assert_eq!(rib.summary().neighbors.len(), 1, "numbers leave no gap");
        rib.neighbor_joins(second, rules(2, 1000));
        let announce = |rib: &mut Rib, id, prefix| {
            let update = announce(&[prefix], &attributes(&[64500]));
            rib.handle(id, &SessionEvent::Update(update), now);
        };
        for id in [second, first, second] {
            rib.handle(id, &SessionEvent::Up, now);
            announce(&mut rib, id, "8.8.0.0/16");
        }
        announce(&mut rib, second, "8.9.0.0/16");
        assert_eq!(rib.summary().footprint.prefixes(), 2);

        rib.neighbor_leaves(second, now);
        let summary = rib.summary();
        assert_eq!((summary.footprint.prefixes(), summary.neighbors[1].received), (1, 0));
        assert_eq!(rib.next_deadline().filter(|at| *at <= now), None, "nothing is left to sweep");

        // The attributes are still there, and the rules of the one who left took them.
        let identity = Identity {
            local_asn: 65100,
            remote_asn: 65100,
            router_id: Ipv4Addr::new(192, 0, 2, 10),
            role: None,
        };
        let accept =
            AcceptRules { communities: vec!["65100:1".to_owned()], ..AcceptRules::default() };
        let policy = AcceptPolicy::from_rules(&accept, identity).unwrap();
        rib.neighbor_joins(second, NeighborRules { policy, ..rules(4, 1000) });
        announce(&mut rib, second, "8.8.0.0/16");
        let summary = rib.summary();
        assert_eq!((summary.neighbors[1].received, summary.neighbors[1].accepted), (1, 0));
        // Whoever is there is not replaced.
        rib.neighbor_joins(second, rules(5, 1000));
        assert_eq!(rib.summary().neighbors[1].received, 1);
    }
}
