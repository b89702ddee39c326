//! Our OPEN: when it goes out, and what it says on which attempt.

use super::*;

#[test]
fn an_open_is_held_back_for_the_neighbors() {
    let mut f = Fixture::new(|settings| settings.delay_open = Duration::from_secs(5));
    f.feed(Event::Start);
    assert!(f.feed(Event::Connected).is_empty());
    assert_eq!(f.peer.state(), State::Connect);
    let (waited, actions) = f.wait();
    assert_eq!((waited.as_secs(), actions), (5, vec!["send dialled OPEN".to_owned()]));
    assert_eq!(f.peer.state(), State::OpenSent);

    let mut f = Fixture::new(|settings| {
        settings.delay_open = Duration::from_secs(5);
        settings.passive = true;
    });
    f.feed(Event::Start);
    assert_eq!(f.feed(Event::Incoming), ["accept"]);
    assert_eq!(f.peer.state(), State::Active);
    let open = Message::Open(their_open(LOW));
    assert_eq!(f.message(Accepted, open), ["send accepted OPEN", "send accepted KEEPALIVE"]);
    assert_eq!(f.message(Accepted, Message::Keepalive), ["up"]);
}

/// The capabilities of the OPEN among `actions`.
fn sent_capabilities(f: &mut Fixture) -> Vec<Capability> {
    let mut actions = Vec::new();
    f.peer.handle(Event::Connected, f.now, &mut actions);
    let open = actions.into_iter().find_map(|action| match action {
        Action::Send(_, Outgoing::Open(open)) => Some(open),
        _ => None,
    });
    open.unwrap().capabilities
}

#[test]
fn a_router_without_capabilities_gets_an_open_without() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    for without in [false, true, false, true] {
        assert_eq!(sent_capabilities(&mut f).is_empty(), without);
        let refused = Notification::new(NotificationCode::OpenMessage, 4);
        f.message(Dialled, Message::Notification(refused));
        f.wait();
    }
}

#[test]
fn a_restarted_node_says_so_until_a_session_is_up() {
    let restarting = |f: &mut Fixture| {
        sent_capabilities(f)
            .iter()
            .any(|c| matches!(c, Capability::GracefulRestart { restarting: true, .. }))
    };
    let mut f = Fixture::new(|settings| settings.restarted = true);
    f.feed(Event::Start);
    assert!(restarting(&mut f));
    f.message(Dialled, cease(5));
    f.wait();
    assert!(restarting(&mut f), "no session yet");
    f.message(Dialled, Message::Open(their_open(LOW)));
    f.message(Dialled, Message::Keepalive);
    f.message(Dialled, cease(4));
    f.wait();
    assert!(!restarting(&mut f));
}

/// Whichever side it was that minded.
#[test]
fn an_open_that_is_not_taken_comes_with_advice_about_both_opens() {
    use mcc_config::BgpRole::{Customer, Provider};

    let advice = |f: &mut Fixture, event: Event| {
        let mut actions = Vec::new();
        f.peer.handle(event, f.now, &mut actions);
        let error = actions.into_iter().find_map(|action| match action {
            Action::Failed(error) => error.advice,
            _ => None,
        });
        error.unwrap()
    };
    let dialled = |ours| {
        let mut f = Fixture::new(|settings| (settings.asn, settings.role) = (64500, ours));
        f.feed(Event::Start);
        f.feed(Event::Connected);
        f
    };
    let mut theirs = their_open(LOW);
    theirs.asn = 64500;
    theirs.capabilities.push(Capability::Role(3));
    let theirs = || Event::Received(Dialled, Message::Open(theirs.clone()));
    let mismatch = || {
        let mismatch = Notification::new(NotificationCode::OpenMessage, 11);
        Event::Received(Dialled, Message::Notification(mismatch))
    };

    let by_us = advice(&mut dialled(Some(Customer)), theirs());
    assert!(by_us.contains("customer and the router that it is customer: set"), "{by_us}");
    let unheard = advice(&mut dialled(Some(Customer)), mismatch());
    assert!(unheard.contains("so the router has to be provider"), "{unheard}");
    let mut f = dialled(None);
    f.feed(theirs());
    let heard = advice(&mut f, mismatch());
    assert!(heard.ends_with("set `role = \"provider\"` here"), "{heard}");
    let mut f = dialled(Some(Provider));
    f.feed(theirs());
    let fits = advice(&mut f, mismatch());
    assert!(fits.contains("which fit"), "{fits}");
}

/// The only UPDATE of ours that a router can mind is the End-of-RIB.
#[test]
fn an_update_that_is_not_taken_is_ours_only_if_we_have_sent_one() {
    let advice = |open: Option<Open>| {
        let mut f = match open {
            Some(open) => Fixture::established(open),
            None => {
                let mut f = Fixture::new(|_| ());
                f.feed(Event::Start);
                f.feed(Event::Connected);
                f
            }
        };
        let refused = Notification::new(NotificationCode::UpdateMessage, 1);
        let mut actions = Vec::new();
        let refused = Event::Received(Dialled, Message::Notification(refused));
        f.peer.handle(refused, f.now, &mut actions);
        let error = actions.into_iter().find_map(|action| match action {
            Action::Failed(error) => error.advice,
            _ => None,
        });
        error.unwrap()
    };
    for without in [None, Some(their_open(LOW))] {
        let words = advice(without);
        assert!(words.contains("has sent none"), "{words}");
    }
    let words = advice(Some(restarting_open()));
    assert!(words.starts_with("it cannot read the End-of-RIB"), "{words}");
}

/// Its SYN/ACK may have come with a TTL of 255, and its OPEN does not.
#[test]
fn a_router_whose_open_does_not_come_may_lack_ttl_security() {
    for ttl_security in [true, false] {
        let mut f = Fixture::new(|settings| settings.ttl_security = ttl_security);
        f.feed(Event::Start);
        f.feed(Event::Connected);
        f.now += Duration::from_secs(240);
        let mut actions = Vec::new();
        f.peer.handle_timeout(f.now, &mut actions);
        let advice = actions.into_iter().find_map(|action| match action {
            Action::Failed(error) => Some(error.advice),
            _ => None,
        });
        let advice = advice.unwrap().unwrap_or_default();
        assert_eq!(advice.contains("TTL security (GTSM)"), ttl_security, "{advice}");
    }
}
