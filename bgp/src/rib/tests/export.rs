//! What is told of the footprint, and what is held back.

use super::*;

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
    assert_eq!(f.rib.summary().held.unwrap().before.prefixes(), 200);
    assert_eq!(f.footprint().len(), 50);
    assert!(f.rib.take_changes(&id, 1000).is_empty());
    assert!(f.rib.approve(f.now));
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 150);
}

/// A /32 of IPv6 has more addresses than all of IPv4.
#[test]
fn the_loss_of_all_ipv4_is_seen_beside_ipv6() {
    let mut f = Fixture::new(1000, &[]);
    let prefixes: Vec<_> = (0..200).map(|i| format!("8.{i}.0.0/16")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let (id, _) = f.subscribe();
    f.announce(A, &prefixes, &[64500]);
    f.announce(A, &["2a00::/32"], &[64500]);
    f.pass(300);
    f.rib.take_changes(&id, 1000);
    f.withdraw(A, &prefixes);
    f.pass(5);
    let summary = f.rib.summary();
    let before = summary.held.unwrap().before;
    assert_eq!((before.addresses(), before.ipv6_slash48s()), (200 << 16, 65_536));
    assert_eq!((summary.footprint.addresses(), summary.footprint.ipv6_slash48s()), (0, 65_536));
    assert_eq!(f.rib.take_changes(&id, 1000), []);
}

#[test]
fn routes_that_expire_are_told() {
    let mut f = Fixture::new(1000, &[]);
    let prefixes: Vec<_> = (0..200).map(|i| format!("8.{i}.0.0/16")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let (id, _) = f.subscribe();
    f.announce(A, &prefixes, &[64500]);
    f.pass(300);
    f.feed(A, &SessionEvent::Down(KEEP));
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
    f.feed(A, &SessionEvent::Down(KEEP));
    f.rib.take_changes(&id, 1000);
    f.pass(300);
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 200, "what expires is told");
    f.withdraw(B, &of_b[..150]);
    f.pass(5);
    assert!(f.rib.take_changes(&id, 1000).is_empty(), "and nothing else");
    assert_eq!(f.rib.summary().held.unwrap().before.prefixes(), 200);
    f.pass(1);
    f.announce(B, &of_b, &[64501]);
    f.pass(5);
    assert_eq!(f.rib.summary().held, None);
    f.rib.take_changes(&id, 1000);
    f.pass(1000);
    f.feed(A, &SessionEvent::Up);
    f.announce(A, &of_a, &[64500]);
    assert_eq!(f.rib.take_changes(&id, 1000).len(), 200, "it is back");
    f.withdraw(A, &of_a);
    f.withdraw(B, &of_b[..150]);
    f.pass(5);
    assert_eq!(f.rib.summary().held.unwrap().before.prefixes(), 400);
}
