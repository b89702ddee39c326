use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::mrt::session::StateChange;
use crate::mrt::table::PeerIndexTable;
use crate::mrt::{Reader, Time};
use crate::wire::{Family, Notification, Outgoing};

mod limit;

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// ORIGIN, AS_PATH 65100, NEXT_HOP 192.0.2.1.
const BLOCK: &[u8] = &[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x4c, 0x40, 3, 4, 192, 0, 2, 1];
const OLD_BLOCK: &[u8] = &[0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0xfe, 0x4c, 0x40, 3, 4, 192, 0, 2, 1];

fn settings() -> ReplaySettings {
    let neighbor =
        r#"{"address": "192.0.2.1", "asn": 65100, "local_asn": 65200, "max_prefixes": 4}"#;
    ReplaySettings {
        ebgp_requires_rules: false,
        neighbors: vec![serde_json::from_str(neighbor).unwrap()],
        dynamic: vec![],
        router_id: OURS,
        ipv6: false,
        manual: vec![],
        rules_of: None,
        only_peer: None,
    }
}

/// Writes the records to bytes and reads them back: a replay is of a file.
fn replay(settings: ReplaySettings, records: &[Record<'_>]) -> Replay {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record.encode(&mut bytes));
    let mut replay = Replay::new(settings).unwrap();
    let mut reader = Reader::new(bytes.as_slice());
    while let Some(record) = reader.next() {
        let (offset, record) = record.unwrap();
        replay.record(offset, &record);
    }
    replay
}

fn at(seconds: u32, body: Body<'_>) -> Record<'_> {
    Record { time: Time { seconds, micros: None }, body }
}

fn peers() -> Record<'static> {
    let peer = |address, asn| TablePeer { bgp_id: Ipv4Addr::UNSPECIFIED, address, asn };
    at(
        1000,
        Body::PeerIndexTable(PeerIndexTable {
            collector: OURS,
            view: String::new(),
            peers: vec![peer(ROUTER, 65100), peer(STRANGER, 65101)],
        }),
    )
}

fn rib<'a>(prefix: &str, entries: &[(u16, &'a [u8])]) -> Record<'a> {
    let entry = |&(peer, attributes)| RibEntry { peer, originated: 900, path_id: 0, attributes };
    at(
        1000,
        Body::Rib(RibPrefix {
            sequence: 0,
            prefix: prefix.parse().unwrap(),
            add_path: false,
            entries: entries.iter().map(entry).collect(),
        }),
    )
}

fn ends(peer: IpAddr) -> SessionEnds {
    SessionEnds { peer_asn: 65100, local_asn: 65100, interface: 0, peer, local: OURS.into() }
}

fn message(seconds: u32, four_octet_as: bool, bytes: &[u8]) -> Record<'_> {
    let message =
        SessionMessage { ends: ends(ROUTER), local: false, four_octet_as, add_path: false, bytes };
    at(seconds, Body::Message(message))
}

fn update(prefixes: &[&str], block: &[u8]) -> Vec<u8> {
    let nlri: Vec<_> =
        prefixes.iter().map(|text| Nlri { prefix: text.parse().unwrap(), path_id: 0 }).collect();
    announce(block, None, &nlri, false).unwrap()
}

fn prefixes(replay: &Replay) -> Vec<String> {
    let page = replay.routes(&RouteQuery::default());
    page.routes.into_iter().map(|route| route.prefix.to_string()).collect()
}

#[test]
fn a_table_is_judged_by_the_rules_of_its_neighbor() {
    let records = [
        peers(),
        rib("20.0.0.0/16", &[(0, BLOCK), (1, BLOCK)]),
        rib("20.1.0.0/25", &[(0, BLOCK)]),
        rib("10.0.0.0/8", &[(0, BLOCK)]),
        rib("0.0.0.0/0", &[(0, BLOCK)]),
        rib("2001:db8::/32", &[(0, BLOCK)]),
    ];
    let report = replay(settings(), &records).report();
    let [peer] = report.peers.as_slice() else { panic!("{report:?}") };
    let rejected = BTreeMap::from([("bogon", 1), ("default_route", 1), ("too_long", 1)]);
    assert_eq!((peer.received, peer.accepted, &peer.rejected), (4, 1, &rejected));
    assert_eq!((peer.updates, peer.ipv6_left_out), (5, 1));
    let stranger = SkippedPeer { address: STRANGER, asn: 65101, updates: 1 };
    assert_eq!(report.skipped_peers, [stranger]);
    assert_eq!((report.footprint.prefixes, report.footprint.addresses), (1, 65536));
    assert_eq!((report.records, report.malformed_updates), (6, 0));
}

#[test]
fn only_updates_are_counted_as_such() {
    let open = their_message(1, &[4, 0xfe, 0x4c, 0, 90, 192, 0, 2, 1, 0]);
    let (keepalive, notification) = (their_message(4, &[]), their_message(3, &[6, 4]));
    let (first, second) = (update(&["20.0.0.0/16"], BLOCK), update(&["20.1.0.0/16"], BLOCK));
    let messages = [&open, &keepalive, &first, &keepalive, &second, &keepalive, &notification];
    let records: Vec<_> = messages.into_iter().map(|bytes| message(1000, true, bytes)).collect();
    let report = replay(settings(), &records).report();
    assert_eq!((report.records, report.peers[0].updates, report.malformed_updates), (7, 2, 0));
    let other = ReplaySettings { only_peer: Some(STRANGER), ..settings() };
    assert_eq!(replay(other, &records).report().skipped_peers[0].updates, 2);
}

fn their_message(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16], &length.to_be_bytes()[..], &[code], body].concat()
}

#[test]
fn one_neighbors_rules_can_judge_every_peer_or_one() {
    let records = [peers(), rib("20.0.0.0/16", &[(0, BLOCK), (1, BLOCK)])];
    let all = ReplaySettings { rules_of: Some(ROUTER), ..settings() };
    let report = replay(all.clone(), &records).report();
    assert_eq!(
        report.peers.iter().map(|peer| peer.address).collect::<Vec<_>>(),
        [ROUTER, STRANGER]
    );
    assert_eq!(report.footprint.prefixes, 1, "it is the union");
    let one = ReplaySettings { only_peer: Some(STRANGER), ..all };
    let report = replay(one, &records).report();
    assert_eq!(report.peers.iter().map(|peer| peer.address).collect::<Vec<_>>(), [STRANGER]);
    let nobody = ReplaySettings { rules_of: Some(STRANGER), ..settings() };
    let error = Replay::new(nobody).unwrap_err().to_string();
    assert_eq!(error, "no neighbor 192.0.2.2 in the configuration; there are: 192.0.2.1");
}

#[test]
fn a_router_of_a_range_is_judged_by_its_rules() {
    let records = [peers(), rib("20.0.0.0/16", &[(0, BLOCK), (1, BLOCK)])];
    let range = |prefix: &str, asns: &[u32], min_length| {
        let mut range = DynamicNeighbors::new(prefix.parse().unwrap());
        range.asns = asns.iter().map(|&asn| Asn::new(asn).unwrap()).collect();
        range.accept.min_length = Some(min_length);
        range
    };
    let judged = |dynamic: Vec<DynamicNeighbors>| {
        let report = replay(ReplaySettings { dynamic, ..settings() }, &records).report();
        let peers = report.peers.iter();
        peers.map(|peer| (peer.address, peer.dynamic, peer.accepted)).collect::<Vec<_>>()
    };
    let (wide, long): (IpNet, IpNet) =
        ("192.0.2.0/24".parse().unwrap(), "192.0.2.0/29".parse().unwrap());
    // A configured neighbor goes first, then the longest prefix.
    assert_eq!(
        judged(vec![range("192.0.2.0/29", &[], 17), range("192.0.2.0/24", &[], 8)]),
        [(ROUTER, None, 1), (STRANGER, Some(long), 0)]
    );
    assert_eq!(
        judged(vec![range("192.0.2.0/24", &[65101], 8)]),
        [(ROUTER, None, 1), (STRANGER, Some(wide), 1)]
    );
    assert_eq!(judged(vec![range("192.0.2.0/24", &[65102], 8)]), [(ROUTER, None, 1)]);
}

#[test]
fn ipv6_next_hops_are_read_in_both_forms() {
    let next_hop = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
    let block = |value: &[u8]| {
        let mut block = BLOCK[..13].to_vec();
        crate::rebuilt_update::push_attribute(&mut block, 0x80, MP_REACH_NLRI, value);
        block
    };
    let short = block(&[&[16], next_hop.octets().as_slice()].concat());
    let whole = [0, 2, 1, 16].into_iter().chain(next_hop.octets()).chain([0, 16, 0x2a, 0]);
    let whole = block(&whole.collect::<Vec<_>>());
    let records = [peers(), rib("2a00::/16", &[(0, &short)]), rib("2a01::/16", &[(0, &whole)])];
    let mut replay = replay(ReplaySettings { ipv6: true, ..settings() }, &records);
    assert_eq!(replay.report().malformed_updates, 0);
    let routes = replay.routes(&RouteQuery::default()).routes;
    assert_eq!(routes.len(), 2);
    assert!(routes.iter().all(|route| route.next_hop == Some(next_hop.into())));
}

#[test]
fn a_malformed_update_is_named_with_its_place() {
    let bad_origin = [&[0x40, 1, 1, 9], &BLOCK[4..]].concat();
    let overrun = [BLOCK, &[0xc0, 8, 200, 1]].concat();
    let records = [
        peers(),
        rib("20.0.0.0/16", &[(0, &bad_origin)]),
        rib("20.1.0.0/16", &[(0, &overrun)]),
        rib("20.2.0.0/16", &[(7, BLOCK)]),
        message(1001, true, b"short"),
    ];
    let report = replay(settings(), &records).report();
    let mut place = Vec::new();
    records[0].encode(&mut place);
    let [first, second, third, fourth] = report.malformed.as_slice() else { panic!("{report:?}") };
    assert_eq!((first.offset, first.peer), (place.len() as u64, ROUTER));
    assert_eq!(first.disposition, Disposition::TreatAsWithdraw);
    assert!(first.text.starts_with("ORIGIN: the value is not 0, 1 or 2"), "{}", first.text);
    assert!(second.text.contains("beyond the end of the attributes"), "{}", second.text);
    assert!(third.text.contains("not in the peer table"), "{}", third.text);
    assert_eq!(fourth.disposition, Disposition::SessionReset);
    assert_eq!((report.malformed_updates, report.peers[0].received), (4, 0));
}

#[test]
fn a_log_runs_by_its_own_clock() {
    let (one, two) = (update(&["20.0.0.0/16"], BLOCK), update(&["20.1.0.0/16"], OLD_BLOCK));
    let state = |seconds, from, to| {
        at(seconds, Body::StateChange(StateChange { ends: ends(ROUTER), from, to }))
    };
    let end_of_rib = Outgoing::EndOfRib(Family::IPV4_UNICAST).encode();
    let mut records = vec![
        state(1000, 5, 6),
        message(1001, true, &one),
        message(1002, false, &two),
        state(2000, 6, 1),
    ];
    let mut lost = replay(settings(), &records);
    assert_eq!(prefixes(&lost), ["20.0.0.0/16", "20.1.0.0/16"]);
    assert_eq!(lost.report().peers[0].stale, 2);
    assert_eq!(lost.routes(&RouteQuery::default()).routes[0].age_seconds, 999);
    // It comes back without the second.
    records.extend([
        state(2010, 5, 6),
        message(2011, true, &one),
        message(2012, true, &end_of_rib),
    ]);
    records.push(message(2013, true, &end_of_rib));
    assert_eq!(prefixes(&replay(settings(), &records)), ["20.0.0.0/16"]);
    // Or not at all, for longer than its routes stay.
    records.truncate(4);
    records.push(state(9000, 1, 2));
    assert_eq!(prefixes(&replay(settings(), &records)), Vec::<String>::new());
}

#[test]
fn a_notification_ends_a_session_as_its_state_does() {
    let one = update(&["20.0.0.0/16"], BLOCK);
    let bye = Outgoing::Notification(Notification::administrative_shutdown(None)).encode();
    let records = [message(1000, true, &one), message(1001, true, &bye)];
    assert_eq!(replay(settings(), &records).report().peers[0].stale, 1);
}

proptest! {
    /// A file with some bytes changed and cut anywhere: it ends, and the counts add up.
    #[test]
    fn no_bytes_do_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let (one, two) = (update(&["20.0.0.0/16"], BLOCK), update(&["20.1.0.0/16"], OLD_BLOCK));
        let state = StateChange { ends: ends(ROUTER), from: 6, to: 1 };
        let records = [
            peers(),
            rib("20.0.0.0/16", &[(0, BLOCK), (1, BLOCK)]),
            rib("2001:db8::/32", &[(0, BLOCK)]),
            message(1001, true, &one),
            message(1002, false, &two),
            at(1003, Body::StateChange(state)),
            message(9000, true, &one),
        ];
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let settings = ReplaySettings { rules_of: Some(ROUTER), ipv6: true, ..settings() };
        let mut replay = Replay::new(settings).unwrap();
        let mut reader = Reader::new(bytes.as_slice());
        while let Some(record) = reader.next() {
            match record {
                Ok((offset, record)) => replay.record(offset, &record),
                Err(error) => replay.malformed_record(&error),
            }
        }
        for peer in replay.report().peers {
            let refused: u32 = peer.rejected.values().sum();
            prop_assert_eq!(peer.received, peer.accepted + refused);
        }
    }
}
