//! What the end of a session leads to: when the peer comes back, and what becomes of the routes.

use super::*;

/// RFC 4486, RFC 9384: who closes the session for long is dialled late, who means to come back soon.
#[test]
fn what_a_cease_leads_to() {
    for (subcode, first_wait) in [
        (1, 60.0),
        (2, 60.0),
        (3, 60.0),
        (4, 1.0),
        (5, 1.0),
        (6, 1.0),
        (7, 1.0),
        (8, 60.0),
        (10, 1.0),
    ] {
        let mut f = Fixture::established(their_open(LOW));
        let actions = f.message(Dialled, cease(subcode));
        assert_eq!(actions.last().unwrap(), "down, keep 0");
        assert_eq!(f.peer.state(), State::Active, "6/{subcode}: it may come back by itself");
        let (waited, actions) = f.wait();
        let waited = waited.as_secs_f64();
        assert!((first_wait * 0.75..=first_wait).contains(&waited), "6/{subcode}: {waited}");
        assert_eq!(actions, ["dial"]);
    }
    let mut f = Fixture::established(their_open(LOW));
    f.message(Dialled, cease(2));
    assert_eq!(f.feed(Event::Incoming), ["accept", "send accepted OPEN"], "switched on again");
}

#[test]
fn who_is_removed_is_told_so_and_not_dialled_again() {
    let mut f = Fixture::established(their_open(LOW));
    let actions = f.feed(Event::Stop(StopReason::Removed));
    assert_eq!(actions[..2], ["send dialled 6/3", "close dialled"]);
    assert_eq!((f.peer.state(), f.peer.next_deadline()), (State::Idle, None));
    assert_eq!(f.feed(Event::Incoming), ["refuse: idle"]);

    let mut f = Fixture::established(graceful_open(true));
    let hard = f.feed(Event::Stop(StopReason::Removed));
    assert_eq!(hard[0], "send dialled 6/9", "or it would keep routes for us: RFC 8538 §5.1");
}

/// RFC 4486 §4 has a place for the limit of one family.
#[test]
fn the_limit_of_several_families_together_is_told_as_no_familys() {
    let limit = |families: &[Family]| StopReason::MaxPrefixes { limit: 7 }.notification(families);
    let both = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
    assert_eq!(limit(&both[..1]).prefix_limit(), Some((Family::IPV4_UNICAST, 7)));
    assert_eq!(limit(&both[1..]).prefix_limit(), Some((Family::IPV6_UNICAST, 7)));
    assert!(limit(&both).data.is_empty());

    let mut f = Fixture::new(|settings| settings.ipv6 = true);
    f.feed(Event::Start);
    f.feed(Event::Connected);
    let mut open = their_open(LOW);
    open.capabilities.push(Capability::Multiprotocol(Family::IPV6_UNICAST));
    f.message(Dialled, Message::Open(open));
    f.message(Dialled, Message::Keepalive);
    let actions = f.feed(Event::Stop(StopReason::MaxPrefixes { limit: 7 }));
    let failed = actions.iter().find(|action| action.starts_with("failed")).unwrap();
    assert!(failed.contains("limit 7, of all families together"), "{failed}");
}

#[test]
fn routes_are_kept_over_a_notification_where_both_sides_say_so() {
    let mut long_lived = graceful_open(true);
    long_lived.capabilities.push(Capability::LongLivedGracefulRestart(vec![(
        Family::IPV4_UNICAST,
        true,
        3600,
    )]));
    let hard = |inner: Notification| Message::Notification(inner.into_hard_reset());
    for (open, closed, notified, hard_reset) in [
        (their_open(LOW), "down, keep 0", "down, keep 0", "down, keep 0"),
        (graceful_open(false), "down, keep 120", "down, keep 0", "down, keep 0"),
        (graceful_open(true), "down, keep 120", "down, keep 120", "down, keep 0"),
        (
            long_lived,
            "down, keep 120 + 3600 of ipv4-unicast",
            "down, keep 120 + 3600 of ipv4-unicast",
            "down, keep 0",
        ),
    ] {
        let ends = |end: &dyn Fn(&mut Fixture) -> Vec<String>| {
            end(&mut Fixture::established(open.clone())).pop().unwrap()
        };
        let tcp = |f: &mut Fixture| f.feed(Event::Closed(Dialled, "reset".to_owned()));
        assert_eq!(ends(&tcp), closed);
        assert_eq!(ends(&|f| f.message(Dialled, cease(4))), notified, "received");
        assert_eq!(ends(&|f| f.message(Dialled, second_open())), notified, "sent: 5/3");
        let reset = Notification::new(NotificationCode::Cease, 4);
        assert_eq!(ends(&|f| f.message(Dialled, hard(reset.clone()))), hard_reset);
        let shutdown = Notification::administrative_shutdown(None);
        assert_eq!(ends(&|f| f.message(Dialled, hard(shutdown.clone()))), hard_reset);
        let deadline = |f: &mut Fixture| {
            f.pass(30.0).into_iter().filter(|a| a != "send dialled KEEPALIVE").collect()
        };
        assert_eq!(ends(&deadline), notified, "hold time");
    }
}

/// A second OPEN on a connection: we answer with 5/3.
fn second_open() -> Message {
    Message::Open(their_open(LOW))
}

#[test]
fn what_is_for_long_goes_as_a_hard_reset_to_who_would_wait() {
    let stop = |open: Open, reason: StopReason| {
        Fixture::established(open).feed(Event::Stop(reason)).remove(0)
    };
    let limit = StopReason::MaxPrefixes { limit: 7 };
    for (reason, with, without) in [
        (StopReason::Shutdown(None), "send dialled 6/9", "send dialled 6/2"),
        (limit, "send dialled 6/9", "send dialled 6/1"),
        (StopReason::Reset, "send dialled 6/4", "send dialled 6/4"),
    ] {
        assert_eq!(stop(graceful_open(true), reason.clone()), with);
        assert_eq!(stop(graceful_open(false), reason), without);
    }
}
