use std::time::Duration;

use super::*;
use crate::session::tests::{LOW, OURS, restarting_open, settings, their_open};

/// What comes of the OPEN of `settings` and `open`.
fn outcome(settings: &PeerSettings, open: &Open) -> Result<Negotiated, OpenRefusal> {
    negotiate(settings, &settings.open(false), open)
}

#[test]
fn opens_that_are_refused() {
    let internal = settings();
    let external = PeerSettings { local_asn: 65200, ..settings() };
    let with = |change: &dyn Fn(&mut Open)| {
        let mut open = their_open(LOW);
        change(&mut open);
        open
    };
    let only_ipv6 = |open: &mut Open| {
        open.capabilities[0] = Capability::Multiprotocol(Family::IPV6_UNICAST);
    };
    let refused = |settings: &PeerSettings, open: &Open| {
        let refusal = negotiate(settings, &settings.open(false), open).unwrap_err();
        (refusal.notification.subcode, refusal.detail, refusal.notification.data.to_vec())
    };
    let text = "the router says AS 65101, this neighbor is configured with asn = 65100";
    assert_eq!(refused(&internal, &with(&|o| o.asn = 65101)), (2, text.to_owned(), vec![]));
    assert_eq!(refused(&internal, &with(&|o| o.bgp_id = OURS)).0, 3);
    assert!(outcome(&external, &with(&|o| o.bgp_id = OURS)).is_ok(), "RFC 6286 §2.2");
    assert_eq!(refused(&internal, &with(&|o| o.bgp_id = Ipv4Addr::UNSPECIFIED)).0, 3);
    for hold_time in [1, 2] {
        assert_eq!(refused(&internal, &with(&|o| o.hold_time = hold_time)).0, 6);
    }
    let (subcode, detail, data) = refused(&internal, &with(&only_ipv6));
    assert_eq!((subcode, data), (7, vec![1, 4, 0, 1, 0, 1]));
    assert_eq!(detail, "the router offers only ipv6-unicast");
    let both = PeerSettings { ipv6: true, ..settings() };
    assert_eq!(outcome(&both, &with(&only_ipv6)).unwrap().families, [Family::IPV6_UNICAST]);
}

#[test]
fn what_both_sides_agree_on() {
    let bare = Open { capabilities: vec![], hold_time: 0, ..their_open(LOW) };
    let agreed = outcome(&settings(), &bare).unwrap();
    assert_eq!(agreed.families, [Family::IPV4_UNICAST]);
    assert_eq!(agreed.hold_time, 0);
    assert_eq!(agreed.capabilities(), ["ipv4-unicast"]);

    let mut full = restarting_open();
    full.capabilities.extend([
        Capability::ExtendedMessage,
        Capability::EnhancedRouteRefresh,
        Capability::AddPath(vec![
            (Family::IPV4_UNICAST, AddPathMode::Both),
            (Family::IPV6_UNICAST, AddPathMode::Send),
        ]),
    ]);
    let agreed = outcome(&settings(), &full).unwrap();
    assert_eq!(
        agreed.capabilities(),
        [
            "ipv4-unicast",
            "four-octet-as",
            "route-refresh",
            "enhanced-route-refresh",
            "extended-message",
            "graceful-restart",
            "add-path"
        ]
    );
    assert_eq!(agreed.add_path_receive, [Family::IPV4_UNICAST]);
    assert_eq!(agreed.graceful_restart.as_ref().unwrap().restart_time, 120);

    // What we take does not depend on what the neighbor takes (RFC 8654 §4).
    assert!(agreed.extended_message && agreed.longest_received == MAX_EXTENDED_MESSAGE);
    let alone = outcome(&settings(), &their_open(LOW)).unwrap();
    assert!(!alone.extended_message && alone.longest_received == MAX_EXTENDED_MESSAGE);

    // A neighbor that can only receive several paths sends one.
    let mut receives = their_open(LOW);
    let mode = (Family::IPV4_UNICAST, AddPathMode::Receive);
    receives.capabilities.push(Capability::AddPath(vec![mode]));
    assert!(outcome(&settings(), &receives).unwrap().add_path_receive.is_empty());
}

#[test]
fn what_is_not_offered_is_not_in_use() {
    let mut full = restarting_open();
    full.capabilities.extend([
        Capability::AddPath(vec![(Family::IPV4_UNICAST, AddPathMode::Both)]),
        Capability::ExtendedNextHop(vec![(Family::IPV4_UNICAST, 2)]),
        Capability::LongLivedGracefulRestart(vec![(Family::IPV4_UNICAST, true, 3600)]),
    ]);
    let all = outcome(&PeerSettings { ipv6: true, ..settings() }, &full).unwrap();
    assert!(all.extended_next_hop && all.graceful_restart.is_some());
    assert_eq!(all.add_path_receive, [Family::IPV4_UNICAST]);
    assert_eq!(all.long_lived, [LongLived { family: Family::IPV4_UNICAST, seconds: 3600 }]);

    let bare = PeerSettings { graceful_restart: false, add_path: false, ..settings() };
    let none = outcome(&bare, &full).unwrap();
    assert_eq!(none.capabilities(), ["ipv4-unicast", "four-octet-as", "route-refresh"]);

    let less = Duration::from_secs(60);
    let less = PeerSettings { long_lived_stale_time: less, ..settings() };
    assert_eq!(outcome(&less, &full).unwrap().long_lived[0].seconds, 60, "no more than ours");
    let off = PeerSettings { long_lived_stale_time: Duration::ZERO, ..settings() };
    assert_eq!(outcome(&off, &full).unwrap().long_lived, []);

    // To a router of the time before capabilities.
    let plain = Open { capabilities: vec![], ..settings().open(false) };
    let old = negotiate(&settings(), &plain, &full).unwrap();
    assert_eq!(old.longest_received, MAX_MESSAGE);
    assert_eq!(old.capabilities(), ["ipv4-unicast"]);
}

#[test]
fn of_several_graceful_restarts_the_last_counts() {
    let mut open = restarting_open();
    open.capabilities.push(Capability::GracefulRestart {
        restarting: true,
        notification: true,
        restart_time: 9,
        families: vec![(Family::IPV4_UNICAST, true), (Family::IPV6_UNICAST, true)],
    });
    let restart = outcome(&settings(), &open).unwrap().graceful_restart.unwrap();
    assert_eq!((restart.restart_time, restart.notification), (9, true));
    assert_eq!(restart.families, [Family::IPV4_UNICAST], "of those in use");
}

#[test]
fn roles() {
    let customer = PeerSettings {
        local_asn: 65200,
        role: Some(BgpRole::Customer),
        role_strict: true,
        ..settings()
    };
    let open = |role| {
        let mut open = their_open(LOW);
        open.capabilities.push(Capability::Role(role));
        open
    };
    let provider = outcome(&customer, &open(0)).unwrap();
    assert_eq!(provider.remote_role, Some(BgpRole::Provider));
    assert!(provider.capabilities().contains(&"role".to_owned()));
    for wrong in [their_open(LOW), open(3)] {
        let refusal = outcome(&customer, &wrong).unwrap_err().notification;
        assert_eq!((refusal.code, refusal.subcode), (NotificationCode::OpenMessage, 11));
    }
    // What it does not say is not said for it.
    let lenient = PeerSettings { role_strict: false, ..customer.clone() };
    let unsaid = outcome(&lenient, &their_open(LOW)).unwrap();
    assert_eq!(unsaid.remote_role, None);
    assert!(!unsaid.capabilities().contains(&"role".to_owned()));
    // No role inside of one AS, and none if none is configured.
    let internal = PeerSettings { local_asn: 65100, ..customer.clone() };
    assert_eq!(outcome(&internal, &open(3)).unwrap().remote_role, None);
    let silent = PeerSettings { role: None, ..customer };
    assert_eq!(outcome(&silent, &open(3)).unwrap().remote_role, None);
}

#[test]
fn both_opens_are_shown() {
    let mut open = their_open(LOW);
    let value = Bytes::from_static(&[1, 2]);
    open.capabilities.push(Capability::Unknown { code: 128, value });
    let json = serde_json::to_value(outcome(&settings(), &open).unwrap()).unwrap();
    assert_eq!(json["offered"][0], serde_json::json!({"code": 1, "name": "ipv4-unicast"}));
    let unknown = serde_json::json!({"code": 128, "name": "capability-128", "detail": "0x0102"});
    assert_eq!(json["received"][3], unknown);
    let names = json["offered"].as_array().unwrap().iter().map(|c| c["name"].clone());
    let names: Vec<_> = names.collect();
    for agreed in outcome(&settings(), &open).unwrap().capabilities() {
        assert!(names.contains(&agreed.into()), "one word for one thing: {names:?}");
    }
}

#[test]
fn our_open() {
    let open = PeerSettings { ipv6: true, ..settings() }.open(false);
    assert_eq!((open.asn, open.hold_time, open.bgp_id), (65100, 90, OURS));
    let add_path = Capability::AddPath(vec![
        (Family::IPV4_UNICAST, AddPathMode::Receive),
        (Family::IPV6_UNICAST, AddPathMode::Receive),
    ]);
    assert!(open.capabilities.contains(&add_path), "never an offer to send");
    let restarting = |open: &Open| {
        open.capabilities.iter().any(|capability| {
            matches!(capability, Capability::GracefulRestart { restarting: true, .. })
        })
    };
    assert!(!restarting(&open) && restarting(&settings().open(true)));
    let refusal = outcome(&settings(), &open).unwrap_err();
    assert_eq!(refusal.notification.subcode, 3, "we are not our own neighbor");
}
