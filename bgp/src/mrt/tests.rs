use std::net::{IpAddr, Ipv4Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::session::{SessionEnds, SessionMessage, StateChange};
use super::table::{PeerIndexTable, RibEntry, RibPrefix, TablePeer};
use super::*;

/// The bytes of a text of hexadecimal digits; everything else is for people.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn read_one(bytes: &[u8]) -> (u64, String) {
    let mut reader = Reader::new(bytes);
    let (offset, record) = reader.next().unwrap().unwrap();
    (offset, format!("{record:?}"))
}

fn v4(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Each record of the RFCs, byte by byte, and what it says.
#[test]
fn records_of_the_rfcs() {
    let ends = SessionEnds {
        peer_asn: 65100,
        local_asn: 65200,
        interface: 7,
        peer: v4("192.0.2.1"),
        local: v4("192.0.2.10"),
    };
    let keepalive = [[0xff; 16].as_slice(), &[0, 19, 4]].concat();
    let message = |local, four_octet_as, add_path| {
        Body::Message(SessionMessage { ends, local, four_octet_as, add_path, bytes: &keepalive })
    };
    let two_octets = "FE4C FEB0 0007 0001 C0000201 C000020A";
    let four_octets = "0000FE4C 0000FEB0 0007 0001 C0000201 C000020A";
    let marker = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 0013 04";
    let attributes = [0x40, 1, 1, 0];
    let entry = |path_id| RibEntry { peer: 1, originated: 1000, path_id, attributes: &attributes };
    let rib = |prefix: &str, add_path, path_id| {
        let prefix = prefix.parse().unwrap();
        Body::Rib(RibPrefix { sequence: 5, prefix, add_path, entries: vec![entry(path_id)] })
    };
    let seconds = Time { seconds: 0x5f00_0000, micros: None };
    let micros = Time { micros: Some(250_000), ..seconds };
    let peers = PeerIndexTable {
        collector: Ipv4Addr::new(192, 0, 2, 10),
        view: "mcc".to_owned(),
        peers: vec![
            TablePeer { bgp_id: Ipv4Addr::new(192, 0, 2, 1), address: v4("192.0.2.1"), asn: 65100 },
            TablePeer {
                bgp_id: Ipv4Addr::UNSPECIFIED,
                address: "2001:db8::1".parse().unwrap(),
                asn: 4_200_000_001,
            },
        ],
    };
    let table = [
        (
            "PEER_INDEX_TABLE (RFC 6396 §4.3.1)",
            seconds,
            "000D 0001",
            "C000020A 0003 6D6363 0002 \
             02 C0000201 C0000201 0000FE4C \
             03 00000000 20010DB8000000000000000000000001 FA56EA01"
                .to_owned(),
            Body::PeerIndexTable(peers),
        ),
        (
            "RIB_IPV4_UNICAST (RFC 6396 §4.3.2)",
            seconds,
            "000D 0002",
            "00000005 18 C63364 0001 0001 000003E8 0004 40010100".to_owned(),
            rib("198.51.100.0/24", false, 0),
        ),
        (
            "RIB_IPV6_UNICAST (RFC 6396 §4.3.2)",
            seconds,
            "000D 0004",
            "00000005 21 20010DB880 0001 0001 000003E8 0004 40010100".to_owned(),
            rib("2001:db8:8000::/33", false, 0),
        ),
        (
            "RIB_IPV4_UNICAST_ADDPATH (RFC 8050 §4.1)",
            seconds,
            "000D 0008",
            "00000005 00 0001 0001 000003E8 00000009 0004 40010100".to_owned(),
            rib("0.0.0.0/0", true, 9),
        ),
        (
            "RIB_IPV6_UNICAST_ADDPATH (RFC 8050 §4.3)",
            seconds,
            "000D 000A",
            "00000005 20 20010DB8 0001 0001 000003E8 00000009 0004 40010100".to_owned(),
            rib("2001:db8::/32", true, 9),
        ),
        (
            "BGP4MP_MESSAGE (RFC 6396 §4.4.2)",
            seconds,
            "0010 0001",
            format!("{two_octets} {marker}"),
            message(false, false, false),
        ),
        (
            "BGP4MP_MESSAGE_AS4 (RFC 6396 §4.4.3)",
            seconds,
            "0010 0004",
            format!("{four_octets} {marker}"),
            message(false, true, false),
        ),
        (
            "BGP4MP_MESSAGE_LOCAL (RFC 6396 §4.4.5)",
            seconds,
            "0010 0006",
            format!("{two_octets} {marker}"),
            message(true, false, false),
        ),
        (
            "BGP4MP_MESSAGE_AS4_LOCAL (RFC 6396 §4.4.6)",
            seconds,
            "0010 0007",
            format!("{four_octets} {marker}"),
            message(true, true, false),
        ),
        (
            "BGP4MP_MESSAGE_ADDPATH (RFC 8050 §3.1)",
            seconds,
            "0010 0008",
            format!("{two_octets} {marker}"),
            message(false, false, true),
        ),
        (
            "BGP4MP_MESSAGE_AS4_ADDPATH (RFC 8050 §3.2)",
            seconds,
            "0010 0009",
            format!("{four_octets} {marker}"),
            message(false, true, true),
        ),
        (
            "BGP4MP_MESSAGE_LOCAL_ADDPATH (RFC 8050 §3.3)",
            seconds,
            "0010 000A",
            format!("{two_octets} {marker}"),
            message(true, false, true),
        ),
        (
            "BGP4MP_MESSAGE_AS4_LOCAL_ADDPATH (RFC 8050 §3.4)",
            seconds,
            "0010 000B",
            format!("{four_octets} {marker}"),
            message(true, true, true),
        ),
        (
            "BGP4MP_ET / BGP4MP_MESSAGE_AS4 (RFC 6396 §3)",
            micros,
            "0011 0004",
            format!("0003D090 {four_octets} {marker}"),
            message(false, true, false),
        ),
        (
            "BGP4MP_STATE_CHANGE_AS4 (RFC 6396 §4.4.4)",
            seconds,
            "0010 0005",
            format!("{four_octets} 0006 0001"),
            Body::StateChange(StateChange { ends, from: 6, to: 1 }),
        ),
    ];
    for (name, time, kind, body, meaning) in table {
        let body = hex(&body);
        let head = format!("5F000000 {kind} {:08X}", body.len());
        let bytes = [hex(&head), body].concat();
        let record = Record { time, body: meaning };
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(encoded, bytes, "{name}");
        assert_eq!(read_one(&bytes), (0, format!("{record:?}")), "{name}");
    }
}

/// The one form that is read and never written.
#[test]
fn a_state_change_with_two_octet_as_numbers_is_read() {
    let bytes = hex("5F000000 0010 0000 00000014 FE4C FEB0 0000 0001 C0000201 C000020A 0005 0006");
    let mut reader = Reader::new(bytes.as_slice());
    let (_, record) = reader.next().unwrap().unwrap();
    let Body::StateChange(change) = record.body else { panic!("{record:?}") };
    assert_eq!((change.ends.peer_asn, change.from, change.to), (65100, 5, 6));
}

#[test]
fn what_is_no_record_of_ours_is_stepped_over() {
    // TABLE_DUMP, RIB_GENERIC, OSPF, and a BGP4MP subtype from the future.
    let bytes = hex("00000001 000C 0001 00000002 ABCD  00000001 000D 0006 00000001 AB \
                     00000001 000B 0000 00000000  00000001 0010 0063 00000000");
    let mut reader = Reader::new(bytes.as_slice());
    for expected in [(12, 1), (13, 6), (11, 0), (16, 99)] {
        let (_, record) = reader.next().unwrap().unwrap();
        let Body::Other { kind, subtype } = record.body else { panic!("{record:?}") };
        assert_eq!((kind, subtype), expected);
    }
    assert!(reader.next().is_none());
}

/// What is wrong with a file, and what is said of it.
#[test]
fn faults_are_told_with_their_place() {
    let good = "00000001 000B 0000 00000001 AB";
    let table = [
        (hex(""), ""),
        (
            hex("1F8B0800"),
            "is packed with gzip: unpack it on the way, as in `zcat FILE | mcc bgp replay -`",
        ),
        (
            b"BZh91AY".to_vec(),
            "is packed with bzip2: unpack it on the way, as in `bzcat FILE | mcc bgp replay -`",
        ),
        (
            b"# Debian GNU/Linux".to_vec(),
            "is no MRT file: it begins with a record of type 25193 and 541544021 bytes",
        ),
        (
            hex(&format!("{good} 00000001 000D")),
            "ends in the middle of the record at byte 13: 6 of its 12 bytes are there; the file was cut off, or is still being written",
        ),
        (
            hex(&format!("{good} 00000001 000D 0001 00000010 AB")),
            "ends in the middle of the record at byte 13: 13 of its 28 bytes are there; the file was cut off, or is still being written",
        ),
        (
            hex(&format!("{good} 00000001 000D 0001 FFFFFFFF AB")),
            "the record at byte 13 says it has 4294967295 bytes, over the 16777216 possible; what follows cannot be read",
        ),
    ];
    for (bytes, expected) in table {
        let mut reader = Reader::new(bytes.as_slice());
        let error = loop {
            match reader.next() {
                None => break String::new(),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    assert!(error.is_final() && reader.next().is_none());
                    break error.to_string();
                }
            }
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_bad_record_does_not_hide_the_next() {
    let body = "0000000518C6336400010001000003E8FFFF40010100";
    let bad = hex(&format!("00000001 000D 0002 {:08X} {body}", body.len() / 2));
    let bytes = [bad.clone(), hex("00000001 000B 0000 00000000")].concat();
    let mut reader = Reader::new(bytes.as_slice());
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "record at byte 0 (type 13, subtype 2): an entry goes beyond the end (RFC 6396 §4.3.4) (at byte 22 of it)"
    );
    assert!(!error.is_final());
    let (offset, _) = reader.next().unwrap().unwrap();
    assert_eq!(offset, bad.len() as u64);
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from_bits(bits).into()),
    ]
}

fn prefix() -> impl Strategy<Value = ipnet::IpNet> {
    (address(), 0..=128_u8).prop_map(|(address, length)| {
        let length = if address.is_ipv4() { length.min(32) } else { length };
        ipnet::IpNet::new(address, length).unwrap().trunc()
    })
}

/// Owned parts of any record.
#[derive(Debug, Clone)]
enum Parts {
    Peers(Vec<(u32, IpAddr, u32)>, String),
    Rib(u32, ipnet::IpNet, bool, Vec<(u16, u32, u32, Vec<u8>)>),
    Message([u32; 2], IpAddr, [bool; 3], Vec<u8>),
    State([u32; 2], IpAddr, u16, u16),
}

fn parts() -> impl Strategy<Value = Parts> {
    let entry = (any::<u16>(), any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..40));
    prop_oneof![
        (vec((any::<u32>(), address(), any::<u32>()), 0..5), ".{0,20}")
            .prop_map(|(p, v)| Parts::Peers(p, v)),
        (any::<u32>(), prefix(), any::<bool>(), vec(entry, 0..4))
            .prop_map(|(s, p, a, e)| Parts::Rib(s, p, a, e)),
        (any::<[u32; 2]>(), address(), any::<[bool; 3]>(), vec(any::<u8>(), 0..60))
            .prop_map(|(n, a, f, b)| Parts::Message(n, a, f, b)),
        (any::<[u32; 2]>(), address(), any::<u16>(), any::<u16>())
            .prop_map(|(n, a, f, t)| Parts::State(n, a, f, t)),
    ]
}

fn body(parts: &Parts) -> Body<'_> {
    let ends = |[peer_asn, local_asn]: [u32; 2], peer: IpAddr| SessionEnds {
        peer_asn,
        local_asn,
        interface: 0,
        peer,
        local: peer,
    };
    match parts {
        Parts::Peers(peers, view) => Body::PeerIndexTable(PeerIndexTable {
            collector: Ipv4Addr::LOCALHOST,
            view: view.clone(),
            peers: peers
                .iter()
                .map(|&(id, address, asn)| TablePeer {
                    bgp_id: Ipv4Addr::from_bits(id),
                    address,
                    asn,
                })
                .collect(),
        }),
        Parts::Rib(sequence, prefix, add_path, entries) => Body::Rib(RibPrefix {
            sequence: *sequence,
            prefix: *prefix,
            add_path: *add_path,
            entries: entries
                .iter()
                .map(|(peer, originated, path_id, attributes)| RibEntry {
                    peer: *peer,
                    originated: *originated,
                    path_id: if *add_path { *path_id } else { 0 },
                    attributes,
                })
                .collect(),
        }),
        Parts::Message(asns, peer, [local, four_octet_as, add_path], bytes) => {
            let asns = if *four_octet_as { *asns } else { asns.map(|asn| asn & 0xffff) };
            Body::Message(SessionMessage {
                ends: ends(asns, *peer),
                local: *local,
                four_octet_as: *four_octet_as,
                add_path: *add_path,
                bytes,
            })
        }
        Parts::State(asns, peer, from, to) => {
            Body::StateChange(StateChange { ends: ends(*asns, *peer), from: *from, to: *to })
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        all in vec((parts(), any::<u32>(), any::<bool>(), 0..1_000_000_u32), 0..8)
    ) {
        let records: Vec<_> = all.iter().map(|(parts, seconds, exact, micros)| {
            let on_session = matches!(parts, Parts::Message(..) | Parts::State(..));
            let micros = (*exact && on_session).then_some(*micros);
            Record { time: Time { seconds: *seconds, micros }, body: body(parts) }
        }).collect();
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        let mut reader = Reader::new(bytes.as_slice());
        for record in &records {
            prop_assert_eq!(&reader.next().unwrap().unwrap().1, record);
        }
        prop_assert!(reader.next().is_none());
        prop_assert_eq!(reader.offset(), bytes.len() as u64);
    }

    /// Any bytes: it ends, and each record or error is at a place further on.
    #[test]
    fn no_bytes_do_harm(
        kinds in vec((prop_oneof![Just(13_u16), Just(16), Just(17), any::<u16>()], 0..12_u16, vec(any::<u8>(), 0..80)), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (kind, subtype, body) in kinds {
            bytes.extend(1_u32.to_be_bytes());
            bytes.extend(kind.to_be_bytes());
            bytes.extend(subtype.to_be_bytes());
            bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend(body);
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let mut reader = Reader::new(bytes.as_slice());
        while let Some(record) = reader.next() {
            if let Err(error) = record {
                error.to_string();
            }
        }
        prop_assert!(reader.offset() <= bytes.len() as u64);
    }
}
