//! What becomes of the routes of a session that is lost, or of a table that is refreshed.

use super::*;

#[test]
fn a_lost_session_leaves_stale_routes_that_expire() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16", "8.9.0.0/16"], &[64500]);
    f.feed(A, &SessionEvent::Down(KEEP));
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
    f.feed(A, &SessionEvent::Down(KEEP));
    f.feed(A, &SessionEvent::Up);
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
    f.feed(A, &SessionEvent::Down(KEEP));
    f.feed(A, &SessionEvent::Up);
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
    f.feed(A, &SessionEvent::Down(Retention::keep(restart_time)));
    f.pass(590);
    assert_eq!(f.footprint().len(), 1);
    f.feed(A, &SessionEvent::Up);
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
    f.feed(A, &SessionEvent::Down(retention));
    f.pass(1299);
    assert_eq!(f.footprint().len(), 1);
    f.pass(1);
    assert!(f.footprint().is_empty());
}

#[test]
fn each_lost_session_has_its_own_time() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    f.feed(A, &SessionEvent::Down(KEEP));
    f.pass(200);
    f.announce(A, &["8.9.0.0/16"], &[64500]);
    f.feed(A, &SessionEvent::Down(KEEP));
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
    f.feed(A, &SessionEvent::Down(KEEP));
    f.pass(100);
    // The first return: it has 300 s to announce its table, and brings a part of it.
    f.feed(A, &SessionEvent::Up);
    f.announce(A, &["8.8.0.0/16"], &[64500]);
    f.pass(100);
    for _ in 0..9 {
        f.feed(A, &SessionEvent::Down(KEEP));
        f.pass(10);
        f.feed(A, &SessionEvent::Up);
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
        f.feed(A, &SessionEvent::Down(KEEP));
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
    f.feed(A, &SessionEvent::Down(KEEP));
    f.feed(A, &SessionEvent::Up);
    f.announce(A, &["8.8.0.0/16", "8.9.0.0/16"], &[64500]);
    f.feed(A, &marker(RouteRefreshKind::BeginningOfRefresh));
    assert_eq!(f.counts(A).stale, 1, "a refresh makes nothing stale");
    f.announce(A, &["8.9.0.0/16"], &[64500]);
    f.feed(A, &marker(RouteRefreshKind::EndOfRefresh));
    f.settle();
    assert_eq!(f.footprint(), ["8.7.0.0/16", "8.9.0.0/16"]);
    f.end_of_rib(A);
    assert_eq!(f.footprint(), ["8.9.0.0/16"]);
}

/// Graceful restart of one family, and a router that comes back without any (RFC 4724 §4.2).
#[test]
fn a_restart_time_is_that_of_its_family_and_nothing_goes_because_a_router_is_back() {
    let mut f = Fixture::new(100, &[]);
    f.announce(A, &["8.8.0.0/16", "2001:db8::/32"], &[64500]);
    let restart = vec![(Family::IPV6_UNICAST, Duration::from_secs(900))];
    let long_lived = Vec::new();
    let retention = Retention::Keep { at_least: Duration::ZERO, restart, long_lived };
    f.feed(A, &SessionEvent::Down(retention));
    f.pass(299);
    assert_eq!(f.counts(A).stale, 2);
    f.pass(1);
    assert_eq!(f.counts(A).by_family, [0, 1]);
    f.pass(590);
    // The RIB is not even told what the new session has agreed on.
    f.feed(A, &SessionEvent::Up);
    f.settle();
    assert_eq!(f.counts(A).by_family, [0, 1]);
    f.pass(299);
    assert_eq!(f.counts(A).by_family, [0, 1], "it has time to announce its table");
    f.pass(1);
    assert_eq!(f.counts(A).by_family, [0, 0]);
}
