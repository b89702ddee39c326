//! What holds for every message: what was sent is what is read, and no bytes do harm.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by a panic what is wrong"
)]

#[path = "support/generated.rs"]
mod generated;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use generated::{context, joined, routes};
use ipnet::IpNet;
use mcc_announcer::{Attributes, encode};
use mcc_bgp::wire::{
    AddPathMode, Capability, DecodeContext, Family, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message,
    NeighborKind, Notification, NotificationCode, Open, Outgoing, PathAttributes, RouteRefreshKind,
    decode, frame,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{message, read, read_update};

fn assert_same(read: &PathAttributes, sent: &Attributes, context: &DecodeContext) {
    assert_eq!(read.origin, sent.origin);
    assert_eq!(joined(&read.as_path), joined(&sent.as_path));
    assert_eq!(read.next_hop, Some(sent.next_hop));
    assert_eq!(read.med, sent.med);
    let is_internal = context.neighbor == NeighborKind::Internal;
    assert_eq!(read.local_pref, is_internal.then(|| sent.local_pref.unwrap_or(100)));
    assert_eq!(read.communities.as_slice(), sent.communities);
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
                let nlri = update.announced.allocated() + update.withdrawn.allocated();
                assert!(nlri <= 2 * size, "{nlri} bytes for {size}");
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
            for nlri in &update.announced {
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
