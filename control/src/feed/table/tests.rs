//! The table against a plain map.

use proptest::prelude::*;

use super::*;
use crate::feed::testing::{self, any_changes, any_table, records};

fn digest_of(table: &testing::Table) -> Digest {
    table.iter().fold(Digest::EMPTY, |sum, (p, a)| sum.plus(Digest::of(p, a)))
}

proptest! {
    #[test]
    fn is_a_sorted_map_with_a_digest(start in any_table(), steps in prop::collection::vec(any_changes(), 0..20)) {
        let mut model = start.clone();
        let mut table: RouteTable = records(&start).into_iter().collect();
        for changes in &steps {
            let foretold = table.digest_after(changes);
            for change in changes {
                let before = model.get(&change.prefix()).cloned();
                let changed = table.apply(change);
                prop_assert_eq!(changed, before.as_ref() != change.attributes());
            }
            testing::apply(&mut model, changes);
            prop_assert_eq!(table.digest(), foretold);
        }
        prop_assert_eq!(table.records().collect::<Vec<_>>(), records(&model));
        prop_assert_eq!(table.digest(), digest_of(&model));
        let ipv6 = model.keys().filter(|prefix| prefix.addr().is_ipv6()).count();
        prop_assert_eq!(table.ipv6_len(), ipv6);
        // Attributes are stored once, and only while a route has them.
        let used: HashSet<_> = model.values().cloned().collect();
        prop_assert!(table.shared.is_superset(&used));
    }

    #[test]
    fn attributes_go_with_their_last_route(table in any_table()) {
        let prefixes: Vec<_> = table.keys().copied().collect();
        let records = records(&table);
        let mut routes = RouteTable::new();
        for record in records {
            // As from a body: nobody else keeps the attributes.
            let attributes = Arc::new(RouteAttributes::clone(&record.attributes));
            routes.apply(&Change::Present(RouteRecord { prefix: record.prefix, attributes }));
        }
        for prefix in prefixes {
            prop_assert!(routes.apply(&Change::Absent(prefix)));
        }
        prop_assert!(routes.is_empty() && routes.shared.is_empty());
        prop_assert_eq!(routes.digest(), Digest::EMPTY);
    }

    #[test]
    fn changes_to_lead_there_and_nowhere_twice(from in any_table(), to in any_table()) {
        let mut table: RouteTable = records(&from).into_iter().collect();
        let goal: RouteTable = records(&to).into_iter().collect();
        let changes = table.changes_to(&goal);
        prop_assert!(changes.is_sorted_by(|a, b| a.prefix() < b.prefix()));
        for change in &changes {
            prop_assert!(table.apply(change));
        }
        prop_assert!(table == goal);
        prop_assert!(table.changes_to(&goal).is_empty());
    }
}

#[test]
fn host_bits_do_not_make_another_prefix() {
    let mut table = RouteTable::new();
    let attributes = Arc::new(RouteAttributes::manual());
    let sloppy = RouteRecord { prefix: "192.0.2.1/24".parse().unwrap(), attributes };
    assert!(table.apply(&Change::Present(sloppy)));
    let prefix = "192.0.2.0/24".parse().unwrap();
    assert_eq!(table.digest(), Digest::of(&prefix, &RouteAttributes::manual()));
    assert!(table.apply(&Change::Absent("192.0.2.9/24".parse().unwrap())));
    assert_eq!(table.digest(), Digest::EMPTY);
}
