//! The footprint, the best route of each prefix, and who follows them.

use super::*;

#[test]
fn a_prefix_goes_with_its_last_neighbor() {
    let mut f = Fixture::new(100, &["8.9.0.0/16"]);
    f.announce(A, &["8.8.0.0/16", "8.9.0.0/16"], &[64500]);
    f.announce(B, &["8.8.0.0/16"], &[64501, 1]);
    f.pass(1);
    let page = f.rib.footprint(FootprintQuery::default());
    let [first, second] = page.prefixes.as_slice() else { panic!("{page:?}") };
    assert_eq!(first.neighbors, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])]);
    assert_eq!(first.source, PrefixSource::Bgp);
    assert_eq!(second.source, PrefixSource::Manual);
    assert_eq!((page.count, page.addresses), (2, 2 * 65536));

    f.withdraw(A, &["8.8.0.0/16", "8.9.0.0/16"]);
    assert_eq!(f.footprint(), ["8.8.0.0/16", "8.9.0.0/16"]);
    f.withdraw(B, &["8.8.0.0/16"]);
    assert_eq!(f.footprint(), ["8.9.0.0/16"]);
    assert_eq!(f.rib.summary().attribute_sets, 0);
}

#[test]
fn addresses_are_counted_once() {
    let mut f = Fixture::new(100, &["8.0.0.0/8"]);
    f.announce(A, &["8.8.0.0/16", "9.0.0.0/24"], &[64500]);
    f.pass(1);
    assert_eq!(f.rib.summary().footprint.addresses(), (1 << 24) + 256);
}

#[test]
fn subscribers_get_a_snapshot_and_then_what_changed_in_the_end() {
    let mut f = Fixture::new(100, &["8.9.0.0/16"]);
    let (id, snapshot) = f.subscribe();
    assert_eq!(snapshot.len(), 1);
    assert_eq!(snapshot[0].1.source, PrefixSource::Manual);

    f.announce(A, &["8.7.0.0/16", "8.8.0.0/16", "8.9.0.0/16"], &[64500, 1]);
    f.withdraw(A, &["8.7.0.0/16"]);
    f.announce(B, &["8.8.0.0/16"], &[64501]);
    let changes = f.rib.take_changes(&id, 100);
    let best = PrefixAttributes {
        source: PrefixSource::Bgp,
        as_path_length: 1,
        med: None,
        neighbor_asn: Some(64501),
    };
    assert_eq!(changes, [(prefix("8.7.0.0/16"), None), (prefix("8.8.0.0/16"), Some(best))]);
    assert!(f.rib.take_changes(&id, 100).is_empty());

    // Announced again with nothing that ranks it otherwise: no change.
    f.announce(B, &["8.8.0.0/16"], &[64501]);
    assert!(f.rib.take_changes(&id, 100).is_empty());
}

#[test]
fn best_route_by_local_pref_then_path_then_med_of_one_as() {
    let with = |path: &[u32], change: &dyn Fn(&mut Attributes)| {
        let mut attributes = attributes(path);
        change(&mut attributes);
        attributes
    };
    let short = with(&[1], &|_| {});
    let long = with(&[1, 2], &|_| {});
    let preferred = with(&[1, 2, 3], &|a| a.local_pref = Some(200));
    let leaving = with(&[1], &|a| {
        a.local_pref = Some(300);
        a.communities.push(Community(0xffff_0000));
    });
    let far = with(&[1], &|a| a.med = Some(10));
    let far_elsewhere = with(&[9], &|a| a.med = Some(10));
    for (a, b, better) in [
        (&long, &short, B),
        (&short, &long, A),
        (&short, &preferred, B),
        (&leaving, &long, B),
        (&far, &short, B),
        // MEDs of different ASes say nothing: the first neighbor stays.
        (&far_elsewhere, &short, A),
    ] {
        let mut f = Fixture::new(100, &[]);
        for (id, attributes) in [(A, a), (B, b)] {
            f.feed(id, &SessionEvent::Update(announce(&["8.8.0.0/16"], attributes)));
        }
        assert_eq!(f.best("8.8.0.0/16"), better);
    }
}

#[test]
fn what_neighbors_disagree_on_is_listed_and_their_fingerprints_differ() {
    let mut f = Fixture::new(100, &["8.9.0.0/16"]);
    let inconsistent = |f: &Fixture| {
        let query = FootprintQuery { inconsistent: true, ..FootprintQuery::default() };
        let page = f.rib.footprint(query);
        page.prefixes.into_iter().map(|p| (p.prefix, p.missing)).collect::<Vec<_>>()
    };
    f.announce(A, &["8.7.0.0/16", "8.8.0.0/16", "10.0.0.0/8"], &[64500]);
    assert!(inconsistent(&f).is_empty(), "one neighbor alone agrees with itself");
    f.announce(B, &["8.7.0.0/16"], &[64501]);
    let b = IpAddr::from([192, 0, 2, 2]);
    assert_eq!(inconsistent(&f), [(prefix("8.8.0.0/16"), vec![b])]);
    assert_ne!(f.counts(A).set_hash, f.counts(B).set_hash);
    f.announce(B, &["8.8.0.0/16"], &[64502]);
    assert!(inconsistent(&f).is_empty());
    assert_eq!(f.counts(A).set_hash, f.counts(B).set_hash);
    assert_eq!(f.counts(A).set_hash.len(), 1);
}

#[test]
fn addresses_are_those_of_ipv4_and_ipv6_is_counted_in_48s() {
    let f = Fixture::new(100, &["8.0.0.0/8", "8.8.0.0/16", "2a00::/32", "2a00::/48"]);
    let page = f.rib.footprint(FootprintQuery::default());
    assert_eq!((page.count, page.addresses, page.ipv6_slash48s), (4, 1 << 24, 65_536));
    let f = Fixture::new(100, &["::/0"]);
    let page = f.rib.footprint(FootprintQuery::default());
    assert_eq!((page.addresses, page.ipv6_slash48s), (0, 1 << 48));
}
