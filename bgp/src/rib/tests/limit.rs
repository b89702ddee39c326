//! `max_prefixes`, as the table sees it.

use super::*;

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
    f.feed(A, &SessionEvent::Down(Retention::Withdraw));
    f.settle();
    assert_eq!(f.counts(A), NeighborSummary::default());
    f.feed(A, &SessionEvent::Up);
    assert_eq!(f.announce(A, &prefixes[..1], &[64500]), None);
    assert_eq!(f.counts(A).received, 1);
}

#[test]
fn a_table_that_comes_back_changed_is_not_over_the_limit() {
    let mut f = Fixture::new(2, &[]);
    f.announce(A, &["8.7.0.0/16", "8.8.0.0/16"], &[64500]);
    f.feed(A, &SessionEvent::Down(KEEP));
    f.feed(A, &SessionEvent::Up);
    let notice = f.announce(A, &["9.7.0.0/16", "9.8.0.0/16"], &[64500]);
    assert_eq!(notice, Some(Notice::NearLimit { received: 2, limit: 2 }));
}
