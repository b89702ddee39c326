//! What holds whatever happens in whatever order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Announce(u16, u8, u32),
    Withdraw(u16, u8),
    Down(u16, bool),
    Up(u16),
    EndOfRib(u16),
    Refresh(u16, bool),
    Pass(u16),
    Slice,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u16..2;
    prop_oneof![
        8 => (id.clone(), 0u8..24, 1u32..4).prop_map(|(n, p, a)| Step::Announce(n, p, a)),
        3 => (id.clone(), 0u8..24).prop_map(|(n, p)| Step::Withdraw(n, p)),
        1 => (id.clone(), any::<bool>()).prop_map(|(n, keep)| Step::Down(n, keep)),
        1 => id.clone().prop_map(Step::Up),
        1 => id.clone().prop_map(Step::EndOfRib),
        1 => (id, any::<bool>()).prop_map(|(n, begins)| Step::Refresh(n, begins)),
        1 => (0u16..400).prop_map(Step::Pass),
        1 => Just(Step::Slice),
    ]
}

proptest! {
    /// Whatever happens in whatever order: counters, footprint and a subscriber that follows the
    /// changes agree with the routes that are there.
    #[test]
    fn everything_that_is_kept_twice_agrees(steps in prop::collection::vec(step(), 1..120)) {
        let mut f = Fixture::new(20, &["8.3.0.0/16"]);
        f.rib.export = Export::new(ExportRules { max_change: 0, damping: false });
        let (id, snapshot) = f.subscribe();
        let mut followed: BTreeMap<_, _> = snapshot.into_iter().collect();
        for step in steps {
            match step {
                // Every third prefix is a bogon.
                Step::Announce(n, p, asn) => {
                    let prefix = format!("{}.{p}.0.0/16", if p % 3 == 0 { 10 } else { 8 });
                    f.announce(NeighborId(n), &[&prefix], &[asn]);
                }
                Step::Withdraw(n, p) => {
                    let prefix = format!("{}.{p}.0.0/16", if p % 3 == 0 { 10 } else { 8 });
                    f.withdraw(NeighborId(n), &[&prefix]);
                }
                Step::Down(n, true) => {
                    f.feed(NeighborId(n), &SessionEvent::Down(KEEP));
                }
                Step::Down(n, false) => {
                    f.feed(NeighborId(n), &SessionEvent::Down(Retention::Withdraw));
                }
                Step::Up(n) => {
                    f.feed(NeighborId(n), &SessionEvent::Up);
                }
                Step::EndOfRib(n) => f.end_of_rib(NeighborId(n)),
                Step::Refresh(n, true) => {
                    f.feed(NeighborId(n), &marker(RouteRefreshKind::BeginningOfRefresh));
                }
                Step::Refresh(n, false) => {
                    f.feed(NeighborId(n), &marker(RouteRefreshKind::EndOfRefresh));
                }
                Step::Pass(seconds) => f.pass(u64::from(seconds)),
                Step::Slice => drop(f.rib.handle_timeout(f.now)),
            }
            for (prefix, attributes) in f.rib.take_changes(&id, 5) {
                match attributes {
                    Some(attributes) => followed.insert(prefix, attributes),
                    None => followed.remove(&prefix),
                };
            }
        }
        for (prefix, attributes) in f.rib.take_changes(&id, usize::MAX) {
            match attributes {
                Some(attributes) => followed.insert(prefix, attributes),
                None => followed.remove(&prefix),
            };
        }
        let routes = f.all_routes(RouteQuery::default());
        for id in [A, B] {
            let address = IpAddr::from([192, 0, 2, u8::try_from(id.0).unwrap() + 1]);
            let of = |wanted: &dyn Fn(&RouteView) -> bool| {
                let count = routes.iter().filter(|r| r.neighbor == address && wanted(r)).count();
                u32::try_from(count).unwrap()
            };
            let counts = f.counts(id);
            prop_assert_eq!(counts.received, of(&|_| true));
            prop_assert_eq!(counts.accepted, of(&|route| route.accepted));
            prop_assert_eq!(counts.rejected.values().sum::<u32>(), of(&|route| !route.accepted));
            prop_assert_eq!(counts.stale, of(&|route| route.stale));
        }
        let mut expected: BTreeSet<_> =
            routes.iter().filter(|route| route.accepted).map(|route| route.prefix).collect();
        expected.insert(prefix("8.3.0.0/16"));
        let footprint: BTreeSet<_> =
            f.rib.footprint(FootprintQuery::default()).prefixes.into_iter().map(|entry| entry.prefix).collect();
        prop_assert_eq!(&footprint, &expected);
        prop_assert_eq!(followed.keys().copied().collect::<BTreeSet<_>>(), expected);

        // With the last route the last attribute set goes.
        for id in [A, B] {
            f.feed(id, &SessionEvent::Down(Retention::Withdraw));
        }
        f.settle();
        for id in [A, B] {
            prop_assert_eq!(f.counts(id), NeighborSummary::default());
        }
        prop_assert_eq!(f.rib.summary().attribute_sets, 0);
        prop_assert_eq!(f.rib.summary().footprint.prefixes(), 1);
    }

    #[test]
    fn cursors_from_outside_never_panic(text in ".{0,40}") {
        if let Ok(cursor) = text.parse::<RouteCursor>() {
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
}
