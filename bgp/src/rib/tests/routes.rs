//! Routes as they come: what is taken, what of it is kept, and how it is found again.

use super::*;

#[test]
fn refused_routes_are_kept_with_their_reason_and_out_of_the_footprint() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16", "8.9.1.0/28", "10.0.0.0/16", "0.0.0.0/0"], &[64500, 7]);
    assert_eq!(f.footprint(), ["8.8.0.0/16"]);
    let counts = f.counts(A);
    assert_eq!((counts.received, counts.accepted), (4, 1));
    let expected = [("bogon", 1), ("default_route", 1), ("too_long", 1)];
    assert_eq!(counts.rejected, BTreeMap::from(expected));

    let refused = f.all_routes(RouteQuery { conditions: refused(), ..RouteQuery::default() });
    let refused: Vec<_> =
        refused.iter().map(|r| (r.prefix.to_string(), r.refused_reason.unwrap())).collect();
    let expected =
        [("0.0.0.0/0", "default_route"), ("8.9.1.0/28", "too_long"), ("10.0.0.0/16", "bogon")];
    assert_eq!(refused, expected.map(|(prefix, reason)| (prefix.to_owned(), reason)));
}

#[test]
fn a_route_can_become_accepted_and_refused_again() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16"], &[64500, 65100]);
    assert_eq!(f.counts(A).rejected, BTreeMap::from([("as_loop", 1)]));
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    assert_eq!(f.footprint(), ["8.8.0.0/16"]);
    f.announce(A, &["8.8.0.0/16"], &[64500, 65100]);
    assert!(f.footprint().is_empty());
    assert_eq!((f.counts(A).received, f.counts(A).accepted), (1, 0));
    assert_eq!(f.rib.summary().attribute_sets, 1);
}

#[test]
fn a_route_is_as_old_as_its_last_change() {
    let mut f = Fixture::new(100, &[]);
    let age = |f: &Fixture| {
        let page = f.rib.routes(&RouteQuery { limit: 1, ..RouteQuery::default() }, 1, f.now);
        page.routes[0].age_seconds
    };
    f.feed(A, &SessionEvent::Up);
    f.announce(A, &["20.0.0.0/24"], &[1]);
    f.pass(10);
    f.announce(A, &["20.0.0.0/24"], &[1]);
    assert_eq!(age(&f), 10, "the same again");
    f.feed(A, &SessionEvent::Down(KEEP));
    f.feed(A, &SessionEvent::Up);
    f.announce(A, &["20.0.0.0/24"], &[1]);
    assert_eq!(age(&f), 10, "the same in the next session");
    f.announce(A, &["20.0.0.0/24"], &[1, 2]);
    assert_eq!(age(&f), 0, "another path");
}

#[test]
fn add_path_routes_are_apart_and_a_prefix_stays_with_any_of_them() {
    let mut f = Fixture::new(100, &[]);
    let path = |path_id, path: &[u32]| {
        let announced = std::iter::once(Nlri { prefix: prefix("8.8.0.0/16"), path_id }).collect();
        let attributes = Some(set(&attributes(path)));
        SessionEvent::Update(Update { announced, attributes, ..Update::default() })
    };
    f.feed(A, &path(1, &[64500, 1, 2]));
    f.feed(A, &path(2, &[64500, 1]));
    assert_eq!(f.counts(A).received, 2);
    let describe = |f: &Fixture| {
        let entry =
            f.rib.footprint.get(f.rib.prefixes.get(&prefix("8.8.0.0/16")).unwrap()).unwrap();
        f.rib.describe(entry).unwrap().as_path_length
    };
    assert_eq!(describe(&f), 2);
    let withdrawn = [Nlri { prefix: prefix("8.8.0.0/16"), path_id: 2 }];
    f.feed(
        A,
        &SessionEvent::Update(Update {
            withdrawn: withdrawn.into_iter().collect(),
            ..Update::default()
        }),
    );
    assert_eq!(describe(&f), 3);
    f.feed(A, &SessionEvent::Down(KEEP));
    f.pass(300);
    assert!(f.footprint().is_empty());
}

#[test]
fn routes_by_address_prefix_and_neighbor() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.0.0.0/8", "8.8.0.0/16", "8.8.8.0/24", "9.0.0.0/8"], &[64500]);
    f.announce(B, &["8.8.0.0/16"], &[64501]);
    f.now += Duration::from_secs(4);
    let list = |filter, neighbor: Option<[u8; 4]>| {
        let neighbor = neighbor.map(IpAddr::from);
        let routes = f.all_routes(RouteQuery { filter, neighbor, ..RouteQuery::default() });
        let name = |r: &RouteView| format!("{} {}", r.neighbor, r.prefix);
        routes.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        list(RouteFilter::LongestMatch(IpAddr::from([8, 8, 8, 8])), None),
        ["192.0.2.1 8.8.8.0/24", "192.0.2.2 8.8.0.0/16"]
    );
    assert_eq!(
        list(RouteFilter::Exact(prefix("8.8.0.0/16")), None),
        ["192.0.2.1 8.8.0.0/16", "192.0.2.2 8.8.0.0/16"]
    );
    assert_eq!(
        list(RouteFilter::Longer(prefix("8.8.0.0/16")), None),
        ["192.0.2.1 8.8.0.0/16", "192.0.2.1 8.8.8.0/24", "192.0.2.2 8.8.0.0/16"]
    );
    assert_eq!(list(RouteFilter::All, Some([192, 0, 2, 2])), ["192.0.2.2 8.8.0.0/16"]);
    assert_eq!(list(RouteFilter::All, None).len(), 5);
    assert!(list(RouteFilter::LongestMatch(IpAddr::from([7, 0, 0, 1])), None).is_empty());
    let from_as = |asn, filter| {
        let conditions = RouteConditions { origin_as: Some(asn), ..RouteConditions::default() };
        let query = RouteQuery { filter, conditions, ..RouteQuery::default() };
        (f.all_routes(query.clone()).len(), f.count_routes(query))
    };
    assert_eq!(from_as(64500, RouteFilter::All), (4, 4));
    assert_eq!(from_as(64501, RouteFilter::Longer(prefix("8.8.0.0/16"))), (1, 1));
    assert_eq!(from_as(64501, RouteFilter::Exact(prefix("8.8.0.0/16"))), (1, 1));
    let route = &f.all_routes(RouteQuery::default())[0];
    assert_eq!(route.age_seconds, 4);
    assert_eq!(
        serde_json::to_value(route).unwrap(),
        serde_json::json!({
            "prefix": "8.0.0.0/8", "neighbor": "192.0.2.1", "path_id": 0, "as_path": "64500",
            "origin": "IGP", "next_hop": null, "med": null, "local_pref": null,
            "communities": [], "large_communities": [], "extended_communities": [],
            "ipv6_extended_communities": [], "aggregator": null, "atomic_aggregate": false,
            "originator_id": null, "cluster_list": [], "only_to_customer": null, "accepted": true,
            "refused_reason": null, "stale": false, "age_seconds": 4
        })
    );
}

#[test]
fn unknown_neighbors_and_prefixes_are_nothing() {
    let mut f = Fixture::new(10, &[]);
    f.announce(NeighborId(7), &["8.8.0.0/16"], &[1]);
    f.withdraw(A, &["8.8.0.0/16"]);
    f.rib.withdraw(A, nlri("8.8.0.0/16"), f.now);
    assert_eq!(f.rib.summary().footprint.prefixes(), 0);
}
