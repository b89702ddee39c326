use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use mcc_config::AcceptRules;
use proptest::prelude::*;

use super::*;
use crate::policy::Identity;
use crate::rib::adj_rib_in::Place;
use crate::testing::{announce, attributes, nlri, prefix, set, withdraw};
use crate::wire::{Community, PathAttributes as Attributes};
use crate::wire::{Family, Nlri, RouteRefreshKind};

pub(super) const A: NeighborId = NeighborId(0);
pub(super) const B: NeighborId = NeighborId(1);
const STALE_TIME: Duration = Duration::from_secs(300);
const KEEP: Retention = Retention::keep(Duration::ZERO);

pub(super) fn rules(last: u8, max_prefixes: u32) -> NeighborRules {
    let identity = Identity {
        local_asn: 65100,
        remote_asn: 65100,
        router_id: Ipv4Addr::new(192, 0, 2, 10),
        role: None,
    };
    let policy = AcceptPolicy::from_rules(&AcceptRules::default(), identity).unwrap();
    NeighborRules {
        address: IpAddr::from([192, 0, 2, last]),
        asn: 65100,
        prefix_limit: PrefixLimit {
            limit: max_prefixes,
            action: mcc_config::MaxPrefixesAction::Restart,
            rest: Duration::from_secs(1800),
        },
        stale_time: STALE_TIME,
        policy,
    }
}

pub(super) struct Fixture {
    pub(super) rib: Rib,
    pub(super) now: Instant,
}

impl Fixture {
    pub(super) fn new(max_prefixes: u32, manual: &[&str]) -> Self {
        let now = Instant::now();
        let manual: Vec<_> = manual.iter().copied().map(prefix).collect();
        let neighbors = vec![rules(1, max_prefixes), rules(2, max_prefixes)];
        Self { rib: Rib::new(neighbors, &manual, ExportRules::default(), now), now }
    }

    pub(super) fn feed(&mut self, id: NeighborId, event: SessionEvent) -> Option<Notice> {
        self.rib.handle(id, event, self.now)
    }

    pub(super) fn announce(
        &mut self,
        id: NeighborId,
        prefixes: &[&str],
        path: &[u32],
    ) -> Option<Notice> {
        self.feed(id, SessionEvent::Update(announce(prefixes, &attributes(path))))
    }

    fn withdraw(&mut self, id: NeighborId, prefixes: &[&str]) {
        self.feed(id, SessionEvent::Update(withdraw(prefixes)));
    }

    pub(super) fn end_of_rib(&mut self, id: NeighborId) {
        let end_of_rib = Some(Family::IPV4_UNICAST);
        self.feed(id, SessionEvent::Update(Update { end_of_rib, ..Update::default() }));
        self.settle();
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.settle();
    }

    /// Does everything that is due.
    pub(super) fn settle(&mut self) {
        while self.rib.next_deadline().is_some_and(|at| at <= self.now) {
            self.rib.handle_timeout(self.now);
        }
    }

    /// A subscriber that has read the whole footprint.
    pub(super) fn subscribe(&mut self) -> (SubscriberId, Vec<(IpNet, PrefixAttributes)>) {
        let (id, mut all, mut page) =
            (self.rib.subscribe(), Vec::new(), self.rib.snapshot_page(None));
        loop {
            all.extend(page.prefixes);
            match page.next {
                None => return (id, all),
                next => page = self.rib.snapshot_page(next),
            }
        }
    }

    pub(super) fn footprint(&self) -> Vec<String> {
        let page = self.rib.footprint(FootprintQuery::default());
        page.prefixes.iter().map(|entry| entry.prefix.to_string()).collect()
    }

    pub(super) fn counts(&self, id: NeighborId) -> NeighborSummary {
        let summary = self.rib.summary().neighbors[usize::from(id.0)].clone();
        // Does not tell what is there now.
        NeighborSummary { refused_ever: RefusedEver::default(), ..summary }
    }

    /// Whose route is the best one of a prefix.
    pub(super) fn best(&self, text: &str) -> NeighborId {
        let prefix = prefix(text);
        let place = Place { prefix, id: self.rib.prefixes.get(&prefix).unwrap(), path_id: 0 };
        self.rib.best_route(place).unwrap().neighbor
    }

    fn count_routes(&self, mut query: RouteQuery) -> usize {
        let mut count = 0;
        loop {
            let slice = self.rib.count_routes(&query);
            count += slice.count;
            query.after = slice.next;
            if query.after.is_none() {
                return count;
            }
        }
    }

    fn all_routes(&self, query: RouteQuery) -> Vec<RouteView> {
        let (mut query, mut routes) = (query, Vec::new());
        loop {
            let page = self.rib.routes(&query, 3, self.now);
            routes.extend(page.routes);
            match page.next {
                // As it travels through a URL.
                Some(next) => query.after = Some(next.to_string().parse().unwrap()),
                None => return routes,
            }
        }
    }
}

fn refused() -> RouteConditions {
    RouteConditions { verdict: Verdict::Refused, ..RouteConditions::default() }
}

pub(super) fn marker(kind: RouteRefreshKind) -> SessionEvent {
    SessionEvent::RefreshMarker(RouteRefresh { family: Family::IPV4_UNICAST, kind })
}

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
    assert_eq!(f.rib.summary().addresses, (1 << 24) + 256);
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
            f.feed(id, SessionEvent::Update(announce(&["8.8.0.0/16"], attributes)));
        }
        assert_eq!(f.best("8.8.0.0/16"), better);
    }
}

#[test]
fn a_lost_session_leaves_stale_routes_that_expire() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16", "8.9.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    assert_eq!(f.counts(A).stale, 2);
    f.pass(299);
    assert_eq!(f.footprint().len(), 2);
    assert!(f.all_routes(RouteQuery::default()).iter().all(|route| route.stale));
    f.pass(1);
    assert!(f.footprint().is_empty());
    assert_eq!(f.counts(A), NeighborSummary::default());
    for _ in 0..3 {
        f.pass(1000);
    }
    assert_eq!(f.rib.next_deadline(), None, "nothing is left to wait for");
}

#[test]
fn end_of_rib_sweeps_what_did_not_come_again() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16", "8.9.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    f.feed(A, SessionEvent::Up);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    assert_eq!((f.counts(A).received, f.counts(A).stale), (2, 1));
    f.end_of_rib(A);
    assert_eq!(f.footprint(), ["8.8.0.0/16"]);
    assert_eq!((f.counts(A).received, f.counts(A).stale), (1, 0));
}

#[test]
fn an_end_of_rib_before_any_route_is_not_believed_at_once() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    f.feed(A, SessionEvent::Up);
    f.end_of_rib(A);
    f.pass(14);
    assert_eq!(f.footprint(), ["8.8.0.0/16"], "its routes may follow");
    f.pass(1);
    assert!(f.footprint().is_empty(), "it has none");
}

#[test]
fn graceful_restart_time_counts_if_longer_and_a_new_session_extends_it() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    let restart_time = Duration::from_secs(600);
    f.feed(A, SessionEvent::Down(Retention::keep(restart_time)));
    f.pass(590);
    assert_eq!(f.footprint().len(), 1);
    f.feed(A, SessionEvent::Up);
    f.pass(299);
    assert_eq!(f.footprint().len(), 1, "the router has time to send its table");
    f.pass(1);
    assert!(f.footprint().is_empty());
}

#[test]
fn long_lived_routes_stay_beyond_the_stale_time_of_their_neighbor() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    let long_lived = vec![(Family::IPV4_UNICAST, Duration::from_secs(1000))];
    let restart = vec![(Family::IPV4_UNICAST, Duration::from_secs(120))];
    let retention = Retention::Keep { at_least: Duration::ZERO, restart, long_lived };
    f.feed(A, SessionEvent::Down(retention));
    f.pass(1299);
    assert_eq!(f.footprint().len(), 1);
    f.pass(1);
    assert!(f.footprint().is_empty());
}

#[test]
fn each_lost_session_has_its_own_time() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    f.pass(200);
    f.announce(A, &["8.9.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    assert_eq!(f.counts(A).stale, 2);
    f.pass(100);
    assert_eq!(f.footprint(), ["8.9.0.0/16"]);
    f.pass(200);
    assert!(f.footprint().is_empty());
}

/// Flaps without an End-of-RIB: each return would give the old routes another five minutes.
#[test]
fn a_router_that_flaps_does_not_hold_old_routes_for_ever() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.7.0.0/16", "8.8.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    f.pass(100);
    // The first return: it has 300 s to announce its table, and brings a part of it.
    f.feed(A, SessionEvent::Up);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    f.pass(100);
    for _ in 0..9 {
        f.feed(A, SessionEvent::Down(KEEP));
        f.pass(10);
        f.feed(A, SessionEvent::Up);
        f.pass(10);
    }
    assert_eq!(f.footprint(), ["8.7.0.0/16", "8.8.0.0/16"], "280 s after the first return");
    f.pass(20);
    assert_eq!(f.footprint(), ["8.8.0.0/16"], "what the first session alone had is over");
    // What the second session had has the time of its own return, 110 s after the first.
    f.pass(109);
    assert_eq!(f.footprint(), ["8.8.0.0/16"]);
    f.pass(1);
    assert!(f.footprint().is_empty());
}

#[test]
fn more_lost_sessions_than_generations() {
    let mut f = Fixture::new(100, &[]);
    for i in 0..40 {
        f.announce(A, &[format!("8.{i}.0.0/16").as_str()], &[64500]);
        f.feed(A, SessionEvent::Down(KEEP));
        f.pass(1);
        assert!(f.footprint().contains(&format!("8.{i}.0.0/16")), "the newest one stays");
    }
    assert_eq!(f.counts(A).stale, f.counts(A).received);
    f.announce(A, &["9.0.0.0/16"], &[64500]);
    f.end_of_rib(A);
    assert_eq!(f.footprint(), ["9.0.0.0/16"]);
}

#[test]
fn refresh_replaces_the_table_but_judges_no_stale_route() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.7.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    f.feed(A, SessionEvent::Up);
    f.announce(A, &["8.8.0.0/16", "8.9.0.0/16"], &[64500]);
    f.feed(A, marker(RouteRefreshKind::BeginningOfRefresh));
    assert_eq!(f.counts(A).stale, 1, "a refresh makes nothing stale");
    f.announce(A, &["8.9.0.0/16"], &[64500]);
    f.feed(A, marker(RouteRefreshKind::EndOfRefresh));
    f.settle();
    assert_eq!(f.footprint(), ["8.7.0.0/16", "8.9.0.0/16"]);
    f.end_of_rib(A);
    assert_eq!(f.footprint(), ["8.9.0.0/16"]);
}

#[test]
fn a_route_is_as_old_as_its_last_change() {
    let mut f = Fixture::new(100, &[]);
    let age = |f: &Fixture| {
        let page = f.rib.routes(&RouteQuery { limit: 1, ..RouteQuery::default() }, 1, f.now);
        page.routes[0].age_seconds
    };
    f.feed(A, SessionEvent::Up);
    f.announce(A, &["20.0.0.0/24"], &[1]);
    f.pass(10);
    f.announce(A, &["20.0.0.0/24"], &[1]);
    assert_eq!(age(&f), 10, "the same again");
    f.feed(A, SessionEvent::Down(KEEP));
    f.feed(A, SessionEvent::Up);
    f.announce(A, &["20.0.0.0/24"], &[1]);
    assert_eq!(age(&f), 10, "the same in the next session");
    f.announce(A, &["20.0.0.0/24"], &[1, 2]);
    assert_eq!(age(&f), 0, "another path");
}

#[test]
fn the_limit_counts_refused_routes_warns_and_then_stops() {
    let mut f = Fixture::new(5, &[]);
    let prefixes: Vec<_> = (0..7).map(|i| format!("10.{i}.0.0/16")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    assert_eq!(f.announce(A, &prefixes[..3], &[64500]), None);
    let near = Some(Notice::NearLimit { received: 4, limit: 5 });
    assert_eq!(f.announce(A, &prefixes[..4], &[64500]), near);
    assert_eq!(f.announce(A, &prefixes[..5], &[64500]), None);
    assert_eq!(f.announce(A, &prefixes, &[64500]), Some(Notice::OverLimit { limit: 5 }));
    assert_eq!(f.announce(A, &prefixes, &[64500]), None, "told once");
    f.feed(A, SessionEvent::Down(Retention::Withdraw));
    f.settle();
    assert_eq!(f.counts(A), NeighborSummary::default());
    f.feed(A, SessionEvent::Up);
    assert_eq!(f.announce(A, &prefixes[..1], &[64500]), None);
    assert_eq!(f.counts(A).received, 1);
}

#[test]
fn a_table_that_comes_back_changed_is_not_over_the_limit() {
    let mut f = Fixture::new(2, &[]);
    f.announce(A, &["8.7.0.0/16", "8.8.0.0/16"], &[64500]);
    f.feed(A, SessionEvent::Down(KEEP));
    f.feed(A, SessionEvent::Up);
    let notice = f.announce(A, &["9.7.0.0/16", "9.8.0.0/16"], &[64500]);
    assert_eq!(notice, Some(Notice::NearLimit { received: 2, limit: 2 }));
}

#[test]
fn add_path_routes_are_apart_and_a_prefix_stays_with_any_of_them() {
    let mut f = Fixture::new(100, &[]);
    let path = |path_id, path: &[u32]| {
        let announced = std::iter::once(Nlri { prefix: prefix("8.8.0.0/16"), path_id }).collect();
        let attributes = Some(set(&attributes(path)));
        SessionEvent::Update(Update { announced, attributes, ..Update::default() })
    };
    f.feed(A, path(1, &[64500, 1, 2]));
    f.feed(A, path(2, &[64500, 1]));
    assert_eq!(f.counts(A).received, 2);
    let describe = |f: &Fixture| {
        let entry =
            f.rib.footprint.get(f.rib.prefixes.get(&prefix("8.8.0.0/16")).unwrap()).unwrap();
        f.rib.describe(entry).unwrap().as_path_length
    };
    assert_eq!(describe(&f), 2);
    let withdrawn = vec![Nlri { prefix: prefix("8.8.0.0/16"), path_id: 2 }];
    f.feed(A, SessionEvent::Update(Update { withdrawn: withdrawn.into(), ..Update::default() }));
    assert_eq!(describe(&f), 3);
    f.feed(A, SessionEvent::Down(KEEP));
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
fn a_flapping_prefix_stays_as_it_was_told_until_it_is_calm() {
    let mut f = Fixture::new(100, &[]);
    let (id, _) = f.subscribe();
    let mut told = 0;
    for _ in 0..10 {
        f.announce(A, &["8.8.0.0/16"], &[64500]);
        told += f.rib.take_changes(&id, 10).len();
        f.withdraw(A, &["8.8.0.0/16"]);
        told += f.rib.take_changes(&id, 10).len();
        f.pass(1);
    }
    assert_eq!(told, 7, "announced four times, withdrawn three times");
    assert!(f.footprint().is_empty(), "the footprint itself follows");
    assert_eq!(f.rib.damped(f.now)[0].prefix, prefix("8.8.0.0/16"));
    f.pass(3600);
    assert_eq!(f.rib.take_changes(&id, 10), [(prefix("8.8.0.0/16"), None)]);
    assert_eq!(f.rib.summary().damped, 0);
}

#[test]
fn a_table_that_collapses_is_not_told_before_it_is_approved() {
    let mut f = Fixture::new(1000, &[]);
    let prefixes: Vec<_> = (0..200).map(|i| format!("8.{i}.0.0/16")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let (id, _) = f.subscribe();
    f.announce(A, &prefixes, &[64500]);
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 200, "a first table is told at once");
    f.pass(300);
    f.withdraw(A, &prefixes[..150]);
    assert!(f.rib.take_changes(&id, 1000).is_empty());
    f.pass(5);
    assert_eq!(f.rib.summary().held.unwrap().before.prefixes, 200);
    assert_eq!(f.footprint().len(), 50);
    assert!(f.rib.take_changes(&id, 1000).is_empty());
    assert!(f.rib.approve(f.now));
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 150);
}

#[test]
fn routes_that_expire_are_told() {
    let mut f = Fixture::new(1000, &[]);
    let prefixes: Vec<_> = (0..200).map(|i| format!("8.{i}.0.0/16")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let (id, _) = f.subscribe();
    f.announce(A, &prefixes, &[64500]);
    f.pass(300);
    f.feed(A, SessionEvent::Down(KEEP));
    f.rib.take_changes(&id, 1000);
    f.pass(300);
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 200);
}

/// A router that is away for longer than it is waited for takes its own prefixes with it, and brings
/// them back: told at once, both times. What another does meanwhile is looked at as ever.
#[test]
fn routes_that_expire_open_the_guard_for_themselves_only() {
    let mut f = Fixture::new(1000, &[]);
    let names = |first: u32| (0..200).map(|i| format!("{first}.{i}.0.0/16")).collect::<Vec<_>>();
    let (of_a, of_b) = (names(8), names(9));
    let of_a: Vec<_> = of_a.iter().map(String::as_str).collect();
    let of_b: Vec<_> = of_b.iter().map(String::as_str).collect();
    let (id, _) = f.subscribe();
    f.announce(A, &of_a, &[64500]);
    f.announce(B, &of_b, &[64501]);
    f.pass(300);
    f.feed(A, SessionEvent::Down(KEEP));
    f.rib.take_changes(&id, 1000);
    f.pass(300);
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 200, "what expires is told");
    f.withdraw(B, &of_b[..150]);
    f.pass(5);
    assert!(f.rib.take_changes(&id, 1000).is_empty(), "and nothing else");
    assert_eq!(f.rib.summary().held.unwrap().before.prefixes, 200);
    f.pass(1);
    f.announce(B, &of_b, &[64501]);
    f.pass(5);
    assert_eq!(f.rib.summary().held, None);
    f.rib.take_changes(&id, 1000);
    f.pass(1000);
    f.feed(A, SessionEvent::Up);
    f.announce(A, &of_a, &[64500]);
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 200, "it is back");
    f.withdraw(A, &of_a);
    f.withdraw(B, &of_b[..150]);
    f.pass(5);
    assert_eq!(f.rib.summary().held.unwrap().before.prefixes, 400);
}

/// Graceful restart of one family, and a router that comes back without any (RFC 4724 §4.2).
#[test]
fn a_restart_time_is_that_of_its_family_and_nothing_goes_because_a_router_is_back() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16", "2001:db8::/32"], &[64500]);
    let restart = vec![(Family::IPV6_UNICAST, Duration::from_secs(900))];
    let long_lived = Vec::new();
    let retention = Retention::Keep { at_least: Duration::ZERO, restart, long_lived };
    f.feed(A, SessionEvent::Down(retention));
    f.pass(299);
    assert_eq!(f.counts(A).stale, 2);
    f.pass(1);
    assert_eq!(f.counts(A).by_family, [0, 1]);
    f.pass(590);
    // The RIB is not even told what the new session has agreed on.
    f.feed(A, SessionEvent::Up);
    f.settle();
    assert_eq!(f.counts(A).by_family, [0, 1]);
    f.pass(299);
    assert_eq!(f.counts(A).by_family, [0, 1], "it has time to announce its table");
    f.pass(1);
    assert_eq!(f.counts(A).by_family, [0, 0]);
}

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
                    f.feed(NeighborId(n), SessionEvent::Down(KEEP));
                }
                Step::Down(n, false) => {
                    f.feed(NeighborId(n), SessionEvent::Down(Retention::Withdraw));
                }
                Step::Up(n) => {
                    f.feed(NeighborId(n), SessionEvent::Up);
                }
                Step::EndOfRib(n) => f.end_of_rib(NeighborId(n)),
                Step::Refresh(n, true) => {
                    f.feed(NeighborId(n), marker(RouteRefreshKind::BeginningOfRefresh));
                }
                Step::Refresh(n, false) => {
                    f.feed(NeighborId(n), marker(RouteRefreshKind::EndOfRefresh));
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
            f.feed(id, SessionEvent::Down(Retention::Withdraw));
        }
        f.settle();
        for id in [A, B] {
            prop_assert_eq!(f.counts(id), NeighborSummary::default());
        }
        prop_assert_eq!(f.rib.summary().attribute_sets, 0);
        prop_assert_eq!(f.rib.summary().prefixes, 1);
    }

    #[test]
    fn cursors_from_outside_never_panic(text in ".{0,40}") {
        if let Ok(cursor) = text.parse::<RouteCursor>() {
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
}

#[test]
fn unknown_neighbors_and_prefixes_are_nothing() {
    let mut f = Fixture::new(10, &[]);
    f.announce(NeighborId(7), &["8.8.0.0/16"], &[1]);
    f.withdraw(A, &["8.8.0.0/16"]);
    f.rib.withdraw(A, nlri("8.8.0.0/16"), f.now);
    assert_eq!(f.rib.summary().prefixes, 0);
}
