//! What the tests of the codec are run over: contexts, and tables of an announcer.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mcc_announcer::{Attributes, Route};
use mcc_bgp::wire::{
    AsPath, AsPathSegment, Community, DecodeContext, FamilyOptions, LargeCommunity, NeighborKind,
    OriginCode, SegmentKind,
};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn context() -> impl Strategy<Value = DecodeContext> {
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
        let segments = kinds
            .into_iter()
            .filter_map(|(kind, asns)| Some(AsPathSegment { kind, asns: asns?.into() }));
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
pub(crate) fn routes() -> impl Strategy<Value = Vec<Route>> {
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
pub(crate) fn joined(path: &AsPath) -> Vec<(SegmentKind, Vec<u32>)> {
    let mut out: Vec<(SegmentKind, Vec<u32>)> = Vec::new();
    for segment in &path.segments {
        match out.last_mut() {
            Some((kind, asns)) if *kind == segment.kind => asns.extend(&segment.asns),
            _ => out.push((segment.kind, segment.asns.to_vec())),
        }
    }
    out
}
