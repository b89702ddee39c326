//! Good UPDATEs, and the other small messages: what each byte comes to.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by a panic what is wrong"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr};

use mcc_bgp::wire::{
    Aggregator, Community, DecodeContext, Family, FamilyOptions, LargeCommunity, Message,
    OriginCode, Outgoing, RouteRefresh, RouteRefreshKind,
};
use support::{
    AS_PATH, AS_PATH_OLD, EXTERNAL, INTERNAL, MP_REACH, NEXT_HOP, OLD, ORIGIN, PREFIX, message,
    prefixes, read, read_update, told, update_message,
};

#[test]
fn every_attribute_says_what_it_says() {
    #[rustfmt::skip]
    let attributes: Vec<u8> = [
        &[0x40, 1, 1, 1][..],
        &[0x40, 2, 14, 2, 3, 0, 0, 0xfe, 0x4c, 0, 1, 0x11, 0x70, 0, 0, 0, 7],
        NEXT_HOP,
        &[0x80, 4, 4, 0, 0, 1, 0],
        &[0x40, 5, 4, 0, 0, 0, 200],
        &[0x40, 6, 0],
        &[0xc0, 7, 8, 0, 0, 0xfe, 0x4c, 192, 0, 2, 1],
        &[0xc0, 8, 8, 0xfe, 0x4c, 3, 0x8f, 0xff, 0xff, 2, 0x9a],
        &[0x80, 9, 4, 192, 0, 2, 9],
        &[0x80, 10, 8, 192, 0, 2, 10, 192, 0, 2, 11],
        &[0xc0, 16, 8, 0, 2, 0xfe, 0x4c, 0, 0, 0, 1],
        &[0xc0, 25, 40, 0, 2, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0,
          0x40, 0x0b, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 7],
        &[0xc0, 32, 12, 0, 0, 0xfe, 0x4c, 0, 0, 0, 1, 0, 0, 0, 2],
        &[0xc0, 35, 4, 0, 0, 0xfe, 0x4c],
        &[0xc0, 99, 2, 1, 2],
    ].concat();
    let update = read_update(&update_message(&[], &attributes, PREFIX), &INTERNAL).unwrap();
    assert_eq!(update.findings, []);
    let read = update.attributes.clone().unwrap().decode();
    assert_eq!(read.origin, OriginCode::Egp);
    assert_eq!(read.as_path.to_string(), "65100 70000 7");
    assert_eq!(read.next_hop, Some(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(read.med, Some(256));
    assert_eq!(read.local_pref, Some(200));
    assert!(read.atomic_aggregate);
    let aggregator = Aggregator { asn: 65100, address: Ipv4Addr::new(192, 0, 2, 1) };
    assert_eq!(read.aggregator, Some(aggregator));
    assert_eq!(aggregator.to_string(), "65100 192.0.2.1");
    assert_eq!(read.communities.as_slice(), [Community(65100 << 16 | 911), Community(0xffff_029a)]);
    assert_eq!(read.originator_id, Some(Ipv4Addr::new(192, 0, 2, 9)));
    assert_eq!(read.cluster_list, [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)]);
    assert_eq!(read.extended_communities, [[0, 2, 0xfe, 0x4c, 0, 0, 0, 1]]);
    // RFC 5701 §2: type, subtype, an IPv6 address, two bytes of the administrator's own.
    let ipv6: Vec<_> = read.ipv6_extended_communities.iter().map(ToString::to_string).collect();
    assert_eq!(ipv6, ["rt:[2001:db8::1]:256", "0x400b:[2001:db8::2]:7"]);
    let large = LargeCommunity { global: 65100, local1: 1, local2: 2 };
    assert_eq!(read.large_communities, [large]);
    assert_eq!(read.only_to_customer, Some(65100));
    assert_eq!(update.attributes.unwrap().attributes(), attributes);
}

#[test]
fn prefixes_lose_their_host_bits() {
    let usual = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    let field = [0, 1, 0xff, 20, 10, 0xff, 0xff, 32, 192, 0, 2, 1, 1, 0xff];
    let update = read_update(&update_message(&[], &usual, &field), &EXTERNAL).unwrap();
    let expected = ["0.0.0.0/0", "128.0.0.0/1", "10.255.240.0/20", "192.0.2.1/32", "128.0.0.0/1"];
    assert_eq!(prefixes(&update.announced), expected);
    assert_eq!(update.announced.allocated(), 0, "14 bytes need no memory of their own");
}

#[test]
fn withdrawn_and_announced_at_once_is_in_both_lists() {
    let usual = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    let update = read_update(&update_message(PREFIX, &usual, PREFIX), &EXTERNAL).unwrap();
    assert_eq!(prefixes(&update.withdrawn), ["198.51.100.0/24"]);
    assert_eq!(prefixes(&update.announced), ["198.51.100.0/24"]);
    assert_eq!(update.findings, []);
}

#[test]
fn multiprotocol_routes_and_their_next_hops() {
    let both = [MP_REACH, ORIGIN, AS_PATH].concat();
    let update = read_update(&update_message(&[], &both, &[]), &EXTERNAL).unwrap();
    assert_eq!(prefixes(&update.announced), ["2001:db8::/32"]);
    let read = update.attributes.clone().unwrap().decode();
    assert_eq!(read.next_hop, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(
        update.attributes.unwrap().attributes(),
        [ORIGIN, AS_PATH].concat(),
        "raw is without MP_REACH_NLRI"
    );

    let mut link_local = vec![0x80, 14, 42, 0, 2, 1, 32];
    link_local.extend(MP_REACH[7..23].iter().chain(&[0xfe, 0x80]).chain(&[0; 14]));
    link_local.extend([0, 32, 0x20, 1, 0xd, 0xb8]);
    let both = [ORIGIN, &link_local, AS_PATH].concat();
    let update = read_update(&update_message(&[], &both, &[]), &EXTERNAL).unwrap();
    let read = update.attributes.clone().unwrap().decode();
    assert_eq!(read.next_hop, Some("2001:db8::1".parse().unwrap()), "the global one (RFC 2545)");
    assert_eq!(update.attributes.unwrap().attributes(), [ORIGIN, AS_PATH].concat());

    let ipv4 = [&[0x80, 14, 13, 0, 1, 1, 4, 192, 0, 2, 7, 0, 24, 198, 51, 100], ORIGIN, AS_PATH];
    let update = read_update(&update_message(&[], &ipv4.concat(), &[]), &EXTERNAL).unwrap();
    assert_eq!(prefixes(&update.announced), ["198.51.100.0/24"]);
    assert_eq!(update.attributes.unwrap().decode().next_hop, Some(IpAddr::from([192, 0, 2, 7])));

    let unreach = [0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8];
    let update = read_update(&update_message(PREFIX, &unreach, &[]), &EXTERNAL).unwrap();
    assert_eq!(prefixes(&update.withdrawn), ["198.51.100.0/24", "2001:db8::/32"]);
    assert_eq!((update.attributes, update.end_of_rib), (None, None));
}

/// Routers are not to send both (RFC 7606 §5.1), and a listener has to take it.
#[test]
fn routes_of_both_kinds_in_one_update_have_each_their_next_hop() {
    let both = [ORIGIN, AS_PATH, NEXT_HOP, MP_REACH].concat();
    let update = read_update(&update_message(&[], &both, PREFIX), &EXTERNAL).unwrap();
    assert_eq!(update.findings, []);
    let parts: Vec<_> = update.parts().collect();
    let shown: Vec<_> = parts
        .iter()
        .map(|part| {
            let next_hop = part.attributes.as_ref().unwrap().decode().next_hop.unwrap();
            (prefixes(&part.announced)[0].clone(), next_hop.to_string())
        })
        .collect();
    let expected = [("198.51.100.0/24", "192.0.2.1"), ("2001:db8::/32", "2001:db8::1")];
    assert_eq!(shown, expected.map(|(prefix, hop)| (prefix.to_owned(), hop.to_owned())));

    // The next hop of one kind is not that of the other, though both are IPv4.
    let ipv4 = [0x80, 14, 13, 0, 1, 1, 4, 192, 0, 2, 7, 0, 24, 203, 0, 113];
    let both = [&ipv4, ORIGIN, AS_PATH, NEXT_HOP].concat();
    let update = read_update(&update_message(&[], &both, PREFIX), &EXTERNAL).unwrap();
    let hops: Vec<_> =
        update.parts().map(|part| part.attributes.unwrap().decode().next_hop.unwrap()).collect();
    assert_eq!(hops, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 7])]);

    // What is wrong is wrong for all of them.
    let wrong = [ORIGIN, AS_PATH, NEXT_HOP, MP_REACH, &[0xc0, 8, 0]].concat();
    let update = read_update(&update_message(&[], &wrong, PREFIX), &EXTERNAL).unwrap();
    assert_eq!(prefixes(&update.withdrawn), ["198.51.100.0/24", "2001:db8::/32"]);
    assert!(update.announced.is_empty() && update.other_next_hop.is_none());
    let without = [ORIGIN, AS_PATH, MP_REACH].concat();
    let update = read_update(&update_message(&[], &without, PREFIX), &EXTERNAL).unwrap();
    assert!(update.treated_as_withdraw(), "the routes outside need a NEXT_HOP");
    assert_eq!(update.withdrawn.len(), 2);
}

/// RFC 4760 §3: beside `MP_REACH_NLRI` alone `NEXT_HOP` is ignored, whichever of the two is first.
#[test]
fn what_next_hop_says_counts_only_for_routes_outside_of_multiprotocol_attributes() {
    let unspecified: &[u8] = &[0x40, 3, 4, 0, 0, 0, 0];
    let group: &[u8] = &[0x40, 3, 4, 224, 0, 0, 1];
    let ipv4: &[u8] = &[0x80, 14, 13, 0, 1, 1, 4, 192, 0, 2, 7, 0, 24, 203, 0, 113];
    for (reach, prefix, hop) in
        [(MP_REACH, "2001:db8::/32", "2001:db8::1"), (ipv4, "203.0.113.0/24", "192.0.2.7")]
    {
        for no_host in [unspecified, group] {
            for attributes in [
                [ORIGIN, AS_PATH, no_host, reach].concat(),
                [reach, ORIGIN, no_host, AS_PATH].concat(),
            ] {
                let update =
                    read_update(&update_message(&[], &attributes, &[]), &EXTERNAL).unwrap();
                assert_eq!(update.findings, []);
                assert_eq!(prefixes(&update.announced), [prefix]);
                let next_hop = update.attributes.unwrap().decode().next_hop;
                assert_eq!(next_hop, Some(hop.parse().unwrap()));

                // The routes outside need one, and what is wrong is wrong for all.
                let update =
                    read_update(&update_message(&[], &attributes, PREFIX), &EXTERNAL).unwrap();
                assert!(update.treated_as_withdraw());
                assert_eq!(prefixes(&update.withdrawn), ["198.51.100.0/24", prefix]);
            }
        }
        // It is malformed by its length (RFC 7606 §7.3) and by its flags (§3c), whatever it says.
        for malformed in [&[0x40, 3, 3, 0, 0, 0][..], &[0xc0, 3, 4, 192, 0, 2, 1]] {
            let attributes = [ORIGIN, AS_PATH, malformed, reach].concat();
            let update = read_update(&update_message(&[], &attributes, &[]), &EXTERNAL).unwrap();
            assert!(update.treated_as_withdraw(), "{malformed:?}");
        }
    }
}

#[test]
fn next_hops_that_are_no_host_withdraw_their_routes() {
    let reach = |next_hop: &[u8]| {
        let head = [0x80, 14, u8::try_from(next_hop.len() + 10).unwrap(), 0, 2, 1];
        let length = [u8::try_from(next_hop.len()).unwrap()];
        [&head[..], &length, next_hop, &[0, 32, 0x20, 1, 0xd, 0xb8], ORIGIN, AS_PATH].concat()
    };
    let read = |next_hop: &[u8]| {
        read_update(&update_message(&[], &reach(next_hop), &[]), &EXTERNAL).unwrap()
    };
    let (nothing, group) = ([0; 16], [&[0xff, 2], &[0; 13][..], &[1]].concat());
    let link_local = [&[0xfe, 0x80], &[0; 13][..], &[1]].concat();
    for bad in [&nothing[..], &group, &[nothing, nothing].concat()] {
        let update = read(bad);
        assert!(update.treated_as_withdraw(), "{bad:x?}");
        assert_eq!(prefixes(&update.withdrawn), ["2001:db8::/32"]);
        assert_eq!(update.findings[0].attribute, Some(14));
    }
    for good in [&link_local[..], &[&nothing[..], &link_local].concat()] {
        let next_hop = read(good).attributes.unwrap().decode().next_hop;
        assert_eq!(next_hop, Some("fe80::1".parse().unwrap()), "{good:x?}");
    }
    for bad in [[0, 0, 0, 0], [224, 0, 0, 5], [255, 255, 255, 255]] {
        let head = [0x80, 14, 13, 0, 1, 1, 4];
        let ipv4 = [&head[..], &bad, &[0, 24, 198, 51, 100], ORIGIN, AS_PATH].concat();
        let update = read_update(&update_message(&[], &ipv4, &[]), &EXTERNAL).unwrap();
        assert!(update.treated_as_withdraw(), "{bad:?}");
    }
}

/// RFC 6793 §3, §4.2.3: octets of `AS4_AGGREGATOR`, and when it is taken.
#[test]
fn the_aggregator_of_an_old_speaker() {
    let stand_in: &[u8] = &[0xc0, 7, 6, 0x5b, 0xa0, 192, 0, 2, 1];
    let true_one: &[u8] = &[0xc0, 7, 6, 0xfe, 0x4c, 192, 0, 2, 1];
    let as4: &[u8] = &[0xc0, 18, 8, 0, 1, 0x11, 0x70, 192, 0, 2, 7];
    let aggregator = |parts: &[&[u8]]| {
        let attributes = [ORIGIN, AS_PATH_OLD, NEXT_HOP, &parts.concat()].concat();
        let update = read_update(&update_message(&[], &attributes, PREFIX), &OLD).unwrap();
        assert_eq!(update.findings, []);
        update.attributes.unwrap().decode().aggregator.map(|found| found.to_string())
    };
    assert_eq!(aggregator(&[as4, stand_in]).as_deref(), Some("70000 192.0.2.7"));
    assert_eq!(aggregator(&[true_one, as4]).as_deref(), Some("65100 192.0.2.1"));
    assert_eq!(aggregator(&[stand_in]).as_deref(), Some("23456 192.0.2.1"));
    assert_eq!(aggregator(&[as4]), None, "it is only a part of AGGREGATOR");
}

#[test]
fn ipv4_by_way_of_ipv6_where_negotiated() {
    let options = FamilyOptions { add_path: false, ipv6_next_hop: true };
    let context = DecodeContext { ipv4_unicast: Some(options), ..EXTERNAL };
    let mut reach = vec![0x80, 14, 25, 0, 1, 1, 16];
    reach.extend(&MP_REACH[7..23]);
    reach.extend([0, 24, 198, 51, 100]);
    let attributes = [&reach, ORIGIN, AS_PATH].concat();
    let update = read_update(&update_message(&[], &attributes, &[]), &context).unwrap();
    assert_eq!(prefixes(&update.announced), ["198.51.100.0/24"]);
    assert_eq!(update.attributes.unwrap().decode().next_hop, Some("2001:db8::1".parse().unwrap()));
}

#[test]
fn path_identifiers_where_negotiated() {
    let options = FamilyOptions { add_path: true, ipv6_next_hop: false };
    let context = DecodeContext { ipv4_unicast: Some(options), ..EXTERNAL };
    let usual = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    let two = [[0, 0, 0, 1].as_slice(), PREFIX, &[0, 0, 1, 0], PREFIX].concat();
    let update = read_update(&update_message(&two, &usual, &two), &context).unwrap();
    for list in [update.announced, update.withdrawn] {
        assert_eq!(list.iter().map(|nlri| nlri.path_id).collect::<Vec<_>>(), [1, 256]);
        assert_eq!(prefixes(&list), ["198.51.100.0/24", "198.51.100.0/24"]);
    }
    let error = read_update(&update_message(&[], &usual, PREFIX), &context).unwrap_err();
    assert_eq!(told(&error), (3, 10, vec![]), "without an identifier");
}

/// RFC 6793 §4.2.3: only both attributes together say that the aggregate is younger than `AS4_PATH`.
#[test]
fn as4_path_is_merged_unless_an_old_speaker_has_aggregated() {
    let path = [0x40, 2, 6, 2, 2, 0xfe, 0x4c, 0x5b, 0xa0];
    let as4_path = [0xc0, 17, 6, 2, 1, 0, 1, 0x11, 0x70];
    let stand_in: &[u8] = &[0xc0, 7, 6, 0x5b, 0xa0, 192, 0, 2, 1];
    let true_one: &[u8] = &[0xc0, 7, 6, 0xfe, 0x4c, 192, 0, 2, 1];
    let as4_aggregator: &[u8] = &[0xc0, 18, 8, 0, 1, 0x11, 0x70, 192, 0, 2, 7];
    let as4_aggregator_of_as_0: &[u8] = &[0xc0, 18, 8, 0, 0, 0, 0, 192, 0, 2, 7];
    let as_path = |more: &[&[u8]]| {
        let attributes = [ORIGIN, &path, NEXT_HOP, &as4_path, &more.concat()].concat();
        let update = read_update(&update_message(&[], &attributes, PREFIX), &OLD).unwrap();
        update.attributes.unwrap().decode().as_path.to_string()
    };
    assert_eq!(as_path(&[]), "65100 70000");
    assert_eq!(as_path(&[as4_aggregator]), "65100 70000");
    assert_eq!(as_path(&[stand_in]), "65100 70000");
    assert_eq!(as_path(&[stand_in, as4_aggregator]), "65100 70000");
    assert_eq!(as_path(&[true_one]), "65100 70000");
    assert_eq!(as_path(&[true_one, as4_aggregator]), "65100 23456");
    assert_eq!(as_path(&[as4_aggregator, true_one]), "65100 23456", "in any order");
    assert_eq!(as_path(&[true_one, as4_aggregator_of_as_0]), "65100 70000", "that is discarded");
}

#[test]
fn end_of_rib_in_each_form() {
    let unreach = |afi, safi| [0x80, 15, 3, 0, afi, safi];
    let cases = [
        (update_message(&[], &[], &[]), Some(Family::IPV4_UNICAST)),
        (update_message(&[], &unreach(1, 1), &[]), Some(Family::IPV4_UNICAST)),
        (update_message(&[], &unreach(2, 1), &[]), Some(Family::IPV6_UNICAST)),
        (update_message(PREFIX, &unreach(2, 1), &[]), None),
        (update_message(&[], &[&unreach(2, 1), ORIGIN].concat(), &[]), None),
        (update_message(&[], &unreach(2, 2), &[]), None),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read_update(&bytes, &EXTERNAL).unwrap().end_of_rib, expected, "{bytes:x?}");
    }
    for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
        let update = read_update(&Outgoing::EndOfRib(family).encode(), &EXTERNAL).unwrap();
        assert_eq!(update.end_of_rib, Some(family));
        assert!(update.announced.is_empty() && update.withdrawn.is_empty());
    }
}

#[test]
fn route_refresh_and_its_length() {
    let enhanced = DecodeContext { enhanced_route_refresh: true, ..EXTERNAL };
    let kinds = [
        RouteRefreshKind::Request,
        RouteRefreshKind::BeginningOfRefresh,
        RouteRefreshKind::EndOfRefresh,
        RouteRefreshKind::Unknown(3),
    ];
    for (subtype, kind) in (0..).zip(kinds) {
        let expected = RouteRefresh { family: Family::IPV6_UNICAST, kind };
        let found = read(&message(5, &[0, 2, subtype, 1]), &enhanced);
        assert_eq!(found, Ok(Message::RouteRefresh(expected)));
    }
    for body in [&[0, 1, 0][..], &[0, 1, 1, 1, 0]] {
        let bytes = message(5, body);
        let plain = read(&bytes, &EXTERNAL).unwrap_err();
        assert_eq!(told(&plain), (1, 2, vec![0, u8::try_from(bytes.len()).unwrap()]));
        let found = read(&bytes, &enhanced).unwrap_err();
        assert_eq!(told(&found), (7, 1, bytes), "RFC 7313 §5: with the whole message");
    }
    let request = Outgoing::RouteRefreshRequest(Family::IPV4_UNICAST).encode();
    assert_eq!(request, message(5, &[0, 1, 0, 1]));
}

#[test]
fn the_messages_without_content() {
    assert_eq!(Outgoing::Keepalive.encode(), message(4, &[]));
    assert_eq!(read(&message(4, &[]), &EXTERNAL), Ok(Message::Keepalive));
}

/// RFC 8092 §3: of equal large communities all but one are removed without a word.
#[test]
fn each_large_community_is_there_once() {
    let community = |last: u32| [[1_u32, 2, last].map(u32::to_be_bytes).concat()].concat();
    let read = |all: &[u32]| {
        let value: Vec<u8> = all.iter().flat_map(|&last| community(last)).collect();
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        let attributes = [ORIGIN, AS_PATH, NEXT_HOP, &[0xd0, 32], &length, &value].concat();
        let update = read_update(&update_message(&[], &attributes, PREFIX), &EXTERNAL).unwrap();
        assert_eq!(update.findings, []);
        let read = update.attributes.unwrap().decode();
        read.large_communities.iter().map(|it| it.local2).collect::<Vec<_>>()
    };
    assert_eq!(read(&[3, 3]), [3]);
    assert_eq!(read(&[9, 1, 9, 4, 1, 9, 2]), [9, 1, 4, 2], "in the order in which they came");
    let many: Vec<u32> = (0..200).rev().collect();
    assert_eq!(read(&[&many[..], &many[..100]].concat()), many);
}
