//! What holds for every message: what was sent is what is read, and no bytes do harm.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by a panic what is wrong"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mcc_announcer::{Attributes, Route, encode};
use mcc_bgp::wire::{
    AddPathMode, AsPath, AsPathSegment, Capability, Community, DecodeContext, Family,
    FamilyOptions, LargeCommunity, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, NeighborKind,
    Notification, NotificationCode, Open, OriginCode, Outgoing, PathAttributes, RouteRefreshKind,
    SegmentKind, decode, frame,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{message, read, read_update};

fn context() -> impl Strategy<Value = DecodeContext> {
    let options = || {
        proptest::option::of(
            (any::<bool>(), any::<bool>())
                .prop_map(|(add_path, ipv6_next_hop)| FamilyOptions { add_path, ipv6_next_hop }),
        )
    };
    let flags = any::<[bool; 3]>();
    (flags, options(), options()).prop_map(|(flags, ipv4_unicast, ipv6_unicast)| {
        let [internal, four_octet_as, enhanced_route_refresh] = flags;
        DecodeContext {
            neighbor: if internal { NeighborKind::Internal } else { NeighborKind::External },
            four_octet_as,
            ipv4_unicast,
            ipv6_unicast,
            enhanced_route_refresh,
        }
    })
}

fn prefix_v4() -> impl Strategy<Value = IpNet> {
    (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| {
        Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc().into()
    })
}

fn prefix_v6() -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| {
        Ipv6Net::new(Ipv6Addr::from_bits(bits), length).unwrap().trunc().into()
    })
}

fn as_path() -> impl Strategy<Value = AsPath> {
    let asns = |most| vec(prop_oneof![1..100_000_u32, 1..=u32::MAX], 1..most);
    (proptest::option::of(asns(300)), proptest::option::of(asns(5))).prop_map(|(sequence, set)| {
        let kinds = [(SegmentKind::Sequence, sequence), (SegmentKind::Set, set)];
        let segments =
            kinds.into_iter().filter_map(|(kind, asns)| Some(AsPathSegment { kind, asns: asns? }));
        AsPath { segments: segments.collect() }
    })
}

prop_compose! {
    fn attributes(next_hop: IpAddr)(
        origin in prop_oneof![Just(OriginCode::Igp), Just(OriginCode::Egp), Just(OriginCode::Incomplete)],
        as_path in as_path(),
        med in any::<Option<u32>>(),
        local_pref in any::<Option<u32>>(),
        communities in vec(any::<u32>().prop_map(Community), 0..100),
        extended_communities in vec(any::<[u8; 8]>(), 0..20),
        large in vec(any::<[u32; 3]>(), 0..20),
    ) -> Arc<Attributes> {
        let large_communities = large.into_iter()
            .map(|[global, local1, local2]| LargeCommunity { global, local1, local2 })
            .collect();
        Arc::new(Attributes {
            origin, as_path, next_hop, med, local_pref, communities, extended_communities, large_communities,
        })
    }
}

/// Some sets, each with some prefixes, of both families.
fn routes() -> impl Strategy<Value = Vec<Route>> {
    let of = |next_hop: &str, prefix: BoxedStrategy<IpNet>| {
        let prefixes = vec((prefix, any::<u32>()), 1..700);
        vec((attributes(next_hop.parse().unwrap()), prefixes), 0..3)
    };
    let v4 = of("192.0.2.1", prefix_v4().boxed());
    let v6 = of("2001:db8::1", prefix_v6().boxed());
    (v4, v6).prop_map(|(v4, v6)| {
        let mut routes = Vec::new();
        let mut seen = BTreeSet::new();
        for (attributes, prefixes) in v4.into_iter().chain(v6) {
            for (prefix, path_id) in prefixes {
                // As in a router's table: one route a key. Without ADD-PATH the prefix is the key.
                if seen.insert(prefix) {
                    routes.push(Route { prefix, path_id, attributes: Arc::clone(&attributes) });
                }
            }
        }
        routes
    })
}

/// A sequence of over 255 AS numbers travels as several, and between old speakers a merge may join
/// what travelled apart: so paths are compared with neighboring sequences joined.
fn joined(path: &AsPath) -> Vec<(SegmentKind, Vec<u32>)> {
    let mut out: Vec<(SegmentKind, Vec<u32>)> = Vec::new();
    for segment in &path.segments {
        match out.last_mut() {
            Some((kind, asns)) if *kind == segment.kind => asns.extend(&segment.asns),
            _ => out.push((segment.kind, segment.asns.clone())),
        }
    }
    out
}

fn assert_same(read: &PathAttributes, sent: &Attributes, context: &DecodeContext) {
    assert_eq!(read.origin, sent.origin);
    assert_eq!(joined(&read.as_path), joined(&sent.as_path));
    assert_eq!(read.next_hop, Some(sent.next_hop));
    assert_eq!(read.med, sent.med);
    let is_internal = context.neighbor == NeighborKind::Internal;
    assert_eq!(read.local_pref, is_internal.then(|| sent.local_pref.unwrap_or(100)));
    assert_eq!(read.communities, sent.communities);
    assert_eq!(read.extended_communities, sent.extended_communities);
    assert_eq!(read.large_communities, sent.large_communities);
}

fn capability() -> impl Strategy<Value = Capability> {
    let family = || (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| Family { afi, safi });
    let mode =
        prop_oneof![Just(AddPathMode::Receive), Just(AddPathMode::Send), Just(AddPathMode::Both)];
    let graceful = (any::<[bool; 2]>(), 0..4096_u16, vec((family(), any::<bool>()), 0..9));
    prop_oneof![
        family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedMessage),
        Just(Capability::EnhancedRouteRefresh),
        any::<u8>().prop_map(Capability::Role),
        any::<u32>().prop_filter("not 0", |asn| *asn != 0).prop_map(Capability::FourOctetAs),
        vec((family(), any::<u16>()), 0..9).prop_map(Capability::ExtendedNextHop),
        vec((family(), mode), 0..9).prop_map(Capability::AddPath),
        graceful.prop_map(|([restarting, notification], restart_time, families)| {
            Capability::GracefulRestart { restarting, notification, restart_time, families }
        }),
        vec((family(), any::<bool>(), 0..1_u32 << 24), 0..9)
            .prop_map(Capability::LongLivedGracefulRestart),
        ("[a-z0-9.-]{0,40}", "[a-z0-9.-]{0,40}")
            .prop_map(|(host, domain)| Capability::Fqdn { host, domain }),
        (100..=255_u8, vec(any::<u8>(), 0..200))
            .prop_map(|(code, value)| Capability::Unknown { code, value: value.into() }),
    ]
}

fn outgoing() -> impl Strategy<Value = Outgoing> {
    let family = prop_oneof![Just(Family::IPV4_UNICAST), Just(Family::IPV6_UNICAST)];
    let hold_time = prop_oneof![Just(0_u16), 3..=u16::MAX];
    let open = (1..=65535_u32, hold_time, 1..=u32::MAX, vec(capability(), 0..12));
    prop_oneof![
        open.prop_map(|(asn, hold_time, id, capabilities)| {
            let four_octet = capabilities.iter().find_map(|capability| match capability {
                Capability::FourOctetAs(asn) => Some(*asn),
                _ => None,
            });
            let bgp_id = Ipv4Addr::from_bits(id);
            Outgoing::Open(Open { asn: four_octet.unwrap_or(asn), hold_time, bgp_id, capabilities })
        }),
        Just(Outgoing::Keepalive),
        (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300)).prop_map(|(code, subcode, data)| {
            let code = NotificationCode::from(code);
            Outgoing::Notification(Notification { code, subcode, data: data.into() })
        }),
        family.clone().prop_map(Outgoing::RouteRefreshRequest),
        family.prop_map(Outgoing::EndOfRib),
    ]
}

/// Reads all messages in `bytes` up to the first error, and checks what holds for each.
fn read_all(mut bytes: &[u8], context: &DecodeContext) {
    while let Ok(Some(framed)) = frame(bytes, MAX_EXTENDED_MESSAGE) {
        let size = framed.len();
        match decode(framed, context) {
            Ok(Message::Update(update)) => {
                let nlri = update.announced.capacity() + update.withdrawn.capacity();
                assert!(nlri <= 2 * size, "{nlri} prefixes for {size} bytes");
                assert!(update.findings.len() <= size / 3 + 2);
                assert_eq!(update.attributes.is_some(), !update.announced.is_empty());
                assert!(!(update.treated_as_withdraw() && update.attributes.is_some()));
                assert!(update.findings.iter().all(|finding| finding.offset <= size));
                if let Some(attributes) = &update.attributes {
                    assert!(attributes.attributes().len() <= size);
                }
            }
            Ok(Message::Notification(notification)) => {
                assert!(notification.to_string().len() < 2000, "{notification}");
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.offset <= size, "{error}");
                let _words = error.notification.to_string();
            }
        }
        bytes = &bytes[size..];
    }
}

proptest! {
    // A case is a table of hundreds of routes.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_an_announcer_sends_is_what_is_read(routes in routes(), context in context()) {
        let routes: Vec<_> = routes.into_iter().filter(|it| encode::check(it).is_ok()).collect();
        let expected: BTreeMap<_, _> = routes
            .iter()
            .filter_map(|route| {
                let family = match route.prefix {
                    IpNet::V4(_) => Family::IPV4_UNICAST,
                    IpNet::V6(_) => Family::IPV6_UNICAST,
                };
                let add_path = context.family(family)?.add_path;
                Some(((route.prefix, if add_path { route.path_id } else { 0 }), route))
            })
            .collect();

        let mut read = BTreeMap::new();
        for bytes in encode::announce(&routes, &context) {
            prop_assert!(bytes.len() <= MAX_MESSAGE);
            let update = read_update(&bytes, &context).unwrap();
            prop_assert_eq!(update.findings, vec![]);
            let attributes = Arc::new(update.attributes.unwrap().decode());
            for nlri in update.announced {
                let new = read.insert((nlri.prefix, nlri.path_id), Arc::clone(&attributes)).is_none();
                prop_assert!(new, "sent twice: {}", nlri.prefix);
            }
        }
        prop_assert_eq!(read.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (key, attributes) in &read {
            assert_same(attributes, &expected[key].attributes, &context);
        }

        let keys: Vec<_> = routes.iter().map(|route| (route.prefix, route.path_id)).collect();
        let mut withdrawn = BTreeSet::new();
        for bytes in encode::withdraw(&keys, &context) {
            let update = read_update(&bytes, &context).unwrap();
            withdrawn.extend(update.withdrawn.iter().map(|nlri| (nlri.prefix, nlri.path_id)));
        }
        prop_assert_eq!(withdrawn.iter().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    }

    /// Closer to the truth than any bytes: a good table with some bytes changed.
    #[test]
    fn a_damaged_message_does_no_harm(
        routes in routes(),
        context in context(),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let routes: Vec<_> = routes.into_iter().filter(|it| encode::check(it).is_ok()).collect();
        for mut bytes in encode::announce(&routes, &context) {
            for (index, byte) in &damage {
                let at = 19 + index.index(bytes.len() - 19);
                bytes[at] = *byte;
            }
            read_all(&bytes, &context);
        }
    }
}

proptest! {
    #[test]
    fn what_this_speaker_sends_is_what_is_read(sent in outgoing()) {
        let bytes = sent.encode();
        prop_assert!(bytes.len() <= MAX_MESSAGE);
        let read = read(&bytes, &support::EXTERNAL).unwrap();
        let same = match (&sent, &read) {
            (Outgoing::Open(sent), Message::Open(read)) => sent == read,
            (Outgoing::Keepalive, Message::Keepalive) => true,
            (Outgoing::Notification(sent), Message::Notification(read)) => sent == read,
            (Outgoing::RouteRefreshRequest(family), Message::RouteRefresh(read)) => {
                (*family, RouteRefreshKind::Request) == (read.family, read.kind)
            }
            (Outgoing::EndOfRib(family), Message::Update(read)) => {
                read.end_of_rib == Some(*family) && read.announced.is_empty()
            }
            _ => false,
        };
        prop_assert!(same, "{:?} became {:?}", sent, read);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200), context in context()) {
        read_all(&bytes, &context);
    }

    #[test]
    fn any_body_does_no_harm(code in 1..=5_u8, body in vec(any::<u8>(), 0..600), context in context()) {
        read_all(&message(code, &body), &context);
    }
}
