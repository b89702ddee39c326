use std::net::{Ipv4Addr, SocketAddr};

use mcc_config::AcceptRules;

use super::*;
use crate::policy::Identity;
use crate::rib::{TablePrefix, TableRoute};
use crate::session::Negotiated;
use crate::speaker::{ConnectionEnds, SessionEnds};
use crate::wire::{FamilyOptions, NlriList, Notification};

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// ORIGIN, AS_PATH 65100, NEXT_HOP 192.0.2.1.
const BLOCK: &[u8] = &[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x4c, 0x40, 3, 4, 192, 0, 2, 1];

fn settings(pre_policy: bool, post_policy: bool) -> ReportSettings {
    ReportSettings { name: "edge-1".to_owned(), pre_policy, post_policy }
}

fn policy() -> AcceptPolicy {
    let identity = Identity { local_asn: 65200, remote_asn: 65100, router_id: OURS, role: None };
    AcceptPolicy::from_rules(&AcceptRules::default(), identity).unwrap()
}

fn context() -> DecodeContext {
    let ipv4_unicast = Some(FamilyOptions::default());
    DecodeContext { four_octet_as: true, ipv4_unicast, ..DecodeContext::default() }
}

fn ends() -> SessionEnds {
    SessionEnds { address: ROUTER, asn: 65100, local_asn: 65200, router_id: OURS }
}

fn session(second: i64, port: u16) -> Arc<EstablishedSession> {
    Arc::new(EstablishedSession {
        at: Timestamp::from_second(second).unwrap(),
        neighbor: ends(),
        connection: connection(port),
        sent_open: Bytes::from_static(b"sent"),
        received_open: Bytes::from_static(b"received"),
        context: context(),
        negotiated: Arc::new(Negotiated {
            remote_id: Ipv4Addr::new(192, 0, 2, 9),
            hold_time: 90,
            families: vec![Family::IPV4_UNICAST],
            four_octet_as: true,
            extended_message: false,
            longest_received: MAX_MESSAGE,
            route_refresh: true,
            enhanced_route_refresh: false,
            add_path_receive: vec![],
            extended_next_hop: false,
            graceful_restart: None,
            long_lived: vec![],
            remote_role: None,
            offered: vec![],
            received: vec![],
        }),
    })
}

fn connection(port: u16) -> ConnectionEnds {
    ConnectionEnds {
        local: SocketAddr::new(OURS.into(), 179),
        remote: SocketAddr::new(ROUTER, port),
    }
}

fn observation(second: i64, what: Observed) -> Observation {
    Observation { at: Timestamp::from_second(second).unwrap(), neighbor: ends(), what }
}

fn message(second: i64, port: u16, direction: Direction, bytes: Vec<u8>) -> Observation {
    let (connection, context) = (connection(port), context());
    let bytes = bytes.into();
    observation(second, Observed::Message { direction, connection, context, bytes })
}

fn announcement(prefix: &str, block: &[u8]) -> Vec<u8> {
    let nlri = [Nlri { prefix: prefix.parse().unwrap(), path_id: 0 }];
    announce(block, None, &nlri, false).unwrap()
}

fn down() -> Observed {
    Observed::State {
        from: State::Established,
        to: State::Idle,
        reason: String::new(),
        error: Some(SessionError {
            direction: ErrorDirection::Connection,
            code: None,
            subcode: None,
            text: String::new(),
            advice: None,
            hard_reset: false,
            communication: None,
        }),
    }
}

/// What a station reads: of each message the type, and for routes flags and UPDATE.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    PeerUp,
    /// Reason code and what is beside it.
    PeerDown(u8, Vec<u8>),
    /// Flags; prefixes announced, prefixes withdrawn.
    Routes(u8, Vec<String>, Vec<String>),
    EndOfRib(u8),
    Other(u8),
}

fn told(mut out: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    while !out.is_empty() {
        assert_eq!(out[0], 3);
        let length = u32::from_be_bytes(out[1..5].try_into().unwrap());
        let (message, rest) = out.split_at(usize::try_from(length).unwrap());
        out = rest;
        all.push(match message[5] {
            3 => Told::PeerUp,
            2 => Told::PeerDown(message[48], message[49..].to_vec()),
            0 => {
                let frame = frame(&message[48..], MAX_EXTENDED_MESSAGE).unwrap().unwrap();
                let context = context();
                let update = match decode(frame, &context).unwrap() {
                    crate::wire::Message::Update(update) => update,
                    other => panic!("{other:?}"),
                };
                assert!(update.findings.is_empty(), "{:?}", update.findings);
                let names = |list: &NlriList| list.iter().map(|n| n.prefix.to_string()).collect();
                match update.end_of_rib {
                    Some(_) => Told::EndOfRib(message[7]),
                    None => {
                        Told::Routes(message[7], names(&update.announced), names(&update.withdrawn))
                    }
                }
            }
            code => Told::Other(code),
        });
    }
    all
}

/// A report after its Initiation, and what it says of the session.
fn report(pre_policy: bool, post_policy: bool) -> StationReport {
    let mut out = Vec::new();
    let mut report = StationReport::begin(settings(pre_policy, post_policy), &mut out);
    report.judge_by(ROUTER, policy());
    report.established(&session(100, 40000), &mut out);
    assert_eq!(told(&out), [Told::Other(4), Told::PeerUp]);
    report
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().copied().map(ToOwned::to_owned).collect()
}

#[test]
fn a_session_is_told_once_and_its_end_with_the_reason() {
    let mut out = Vec::new();
    let mut report = report(true, false);
    report.observe(&observation(100, Observed::Established(session(100, 40000))), &mut out);
    assert_eq!(told(&out), []);
    let notification =
        Outgoing::Notification(Notification::administrative_shutdown(Some("bye"))).encode();
    let cases = [(Some(Direction::Received), 3), (Some(Direction::Sent), 1), (None, 4)];
    for (direction, code) in cases {
        out.clear();
        let mut beside = vec![];
        if let Some(direction) = direction {
            report.observe(&message(200, 40000, direction, notification.clone()), &mut out);
            beside.clone_from(&notification);
        }
        report.observe(&observation(200, down()), &mut out);
        // Down already: there is nothing more to say.
        report.observe(&observation(201, down()), &mut out);
        report.observe(&observation(300, Observed::Established(session(300, 40000))), &mut out);
        assert_eq!(told(&out), [Told::PeerDown(code, beside), Told::PeerUp]);
    }
}

#[test]
fn what_was_on_its_way_before_the_session_is_outdated() {
    let report = report(true, false);
    assert!(report.is_outdated(&observation(99, down())));
    assert!(!report.is_outdated(&observation(100, down())));
}

#[test]
fn pre_policy_routes_are_the_routers_own_words() {
    let mut out = Vec::new();
    let mut report = report(true, false);
    let update = announcement("198.51.100.0/24", BLOCK);
    report.observe(&message(200, 40000, Direction::Received, update.clone()), &mut out);
    assert!(out.ends_with(&update));
    assert_eq!(told(&out), [Told::Routes(0, names(&["198.51.100.0/24"]), vec![])]);
    // Another connection is not the session, and what we send is no route of the router.
    out.clear();
    report.observe(&message(200, 40001, Direction::Received, update.clone()), &mut out);
    report.observe(&message(200, 40000, Direction::Sent, update), &mut out);
    assert_eq!(told(&out), []);
}

#[test]
fn an_update_that_is_treated_as_withdraw_is_told_as_one() {
    let mut out = Vec::new();
    let mut report = report(true, false);
    let bad_origin = [&[0x40, 1, 1, 9], &BLOCK[4..]].concat();
    let update = announcement("198.51.100.0/24", &bad_origin);
    report.observe(&message(200, 40000, Direction::Received, update), &mut out);
    assert_eq!(told(&out), [Told::Routes(0, vec![], names(&["198.51.100.0/24"]))]);
}

#[test]
fn post_policy_routes_are_those_that_the_rules_let_through() {
    let mut out = Vec::new();
    let mut report = report(false, true);
    let nlri = ["20.0.0.0/16", "20.1.0.0/25"]
        .map(|prefix| Nlri { prefix: prefix.parse().unwrap(), path_id: 0 });
    let update = announce(BLOCK, None, &nlri, false).unwrap();
    report.observe(&message(200, 40000, Direction::Received, update), &mut out);
    let end = Outgoing::EndOfRib(Family::IPV4_UNICAST).encode();
    report.observe(&message(200, 40000, Direction::Received, end), &mut out);
    let expected = [
        Told::Routes(0x40, vec![], names(&["20.1.0.0/25"])),
        Told::Routes(0x40, names(&["20.0.0.0/16"]), vec![]),
        Told::EndOfRib(0x40),
    ];
    assert_eq!(told(&out), expected);
}

#[test]
fn what_no_update_says_is_told_as_withdrawn() {
    let routes: Arc<[Nlri]> =
        Arc::new([Nlri { prefix: "20.0.0.0/16".parse().unwrap(), path_id: 0 }]);
    let gone = |flags| Told::Routes(flags, vec![], names(&["20.0.0.0/16"]));
    let mut out = Vec::new();
    let mut report = report(true, true);
    let departed = |why| observation(200, Observed::Departed(why, Arc::clone(&routes)));
    report.observe(&departed(Departure::NotRefreshed), &mut out);
    assert_eq!(told(&out), [gone(0), gone(0x40)]);
    out.clear();
    // The router has announced it, and still does.
    report.observe(&departed(Departure::NotTaken), &mut out);
    assert_eq!(told(&out), [gone(0x40)]);
    out.clear();
    report.observe(&observation(201, down()), &mut out);
    report.observe(&departed(Departure::NotRefreshed), &mut out);
    assert!(matches!(told(&out)[..], [Told::PeerDown(..)]));
}

#[test]
fn the_table_is_told_packed_by_attributes() {
    let set = |med: u8| {
        let block = [BLOCK, &[0x80, 4, 4, 0, 0, 0, med]].concat();
        let message = announcement("20.0.0.0/8", &block);
        let frame = frame(&message, MAX_MESSAGE).unwrap().unwrap();
        match decode(frame, &context()).unwrap() {
            crate::wire::Message::Update(update) => update.attributes.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let route = |neighbor, med, accepted, stale| TableRoute {
        neighbor,
        path_id: 0,
        attributes: set(med),
        age: Duration::from_secs(5),
        accepted,
        stale,
    };
    let of = |prefix: &str, routes| TablePrefix { prefix: prefix.parse().unwrap(), routes };
    let unknown = IpAddr::from([192, 0, 2, 2]);
    let page = TablePage {
        prefixes: vec![
            of("20.0.0.0/16", vec![route(ROUTER, 1, true, false), route(unknown, 1, true, false)]),
            of("20.1.0.0/16", vec![route(ROUTER, 2, true, false)]),
            of("20.2.0.0/16", vec![route(ROUTER, 1, true, false)]),
            of("20.3.0.0/16", vec![route(ROUTER, 1, true, true)]),
            of("20.4.0.0/25", vec![route(ROUTER, 1, false, false)]),
        ],
        next: None,
    };
    let mut out = Vec::new();
    let mut report = report(true, true);
    let now = Timestamp::from_second(200).unwrap();
    report.table(&page, now, &mut out);
    report.end_of_table(now, &mut out);
    let both =
        |prefixes: &[&str]| [0, 0x40].map(|flags| Told::Routes(flags, names(prefixes), vec![]));
    let mut expected = Vec::from(both(&["20.0.0.0/16", "20.2.0.0/16"]));
    expected.extend(both(&["20.1.0.0/16"]));
    expected.push(Told::Routes(0, names(&["20.4.0.0/25"]), vec![]));
    expected.extend([Told::EndOfRib(0), Told::EndOfRib(0x40)]);
    assert_eq!(told(&out), expected);
    // Learned five seconds before.
    assert_eq!(out[40..44], 195_u32.to_be_bytes());
}

#[test]
fn many_prefixes_of_one_set_become_messages_of_the_usual_length() {
    let session = session(100, 40000);
    let peer = Peer { session, notification: None };
    let message = announcement("20.0.0.0/8", BLOCK);
    let frame = frame(&message, MAX_MESSAGE).unwrap().unwrap();
    let crate::wire::Message::Update(update) = decode(frame, &context()).unwrap() else {
        panic!("no UPDATE")
    };
    let nlri: Vec<_> = (0..3000_u32)
        .map(|i| Nlri {
            prefix: ipnet::Ipv4Net::new(Ipv4Addr::from_bits(i << 8), 24).unwrap().into(),
            path_id: 0,
        })
        .collect();
    let updates = announcements(&peer, &update.attributes.unwrap(), &nlri);
    assert!(updates.iter().all(|update| update.len() <= MAX_MESSAGE));
    let count = |update: &Vec<u8>| (update.len() - 23 - BLOCK.len()) / 4;
    assert_eq!(updates.iter().map(count).sum::<usize>(), 3000);
    assert_eq!(withdrawals(&peer, nlri).len(), 16);
}
