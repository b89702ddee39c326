//! UPDATEs read by this crate and by a decoder that others have written: where both find nothing
//! wrong, they must read the same.
//!
//! The other one is `rustbgpd-wire`, of the daemon rustbgpd. What it is asked for is what a listener
//! uses: prefixes with path identifiers, both ways; next hops; the path with `AS4_PATH` merged in;
//! and the attributes that routes are compared, filtered and shown by.

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

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use generated::{context, joined, routes};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mcc_announcer::encode;
use mcc_bgp::wire::{
    DecodeContext, FamilyOptions, Message, NeighborKind, OriginCode, SegmentKind, Update, decode,
    frame,
};
use proptest::collection::vec;
use proptest::prelude::*;
use rustbgpd_wire::{
    Afi, AsPathSegment, Message as OtherMessage, Origin, PathAttribute, Prefix, Safi,
    decode_message,
};
use support::{message, read_update};

type Key = (IpNet, u32);

/// What an UPDATE says, in the terms of neither decoder.
#[derive(Debug, Default, PartialEq)]
struct Said {
    /// With the next hop of each.
    announced: BTreeSet<(Key, Option<IpAddr>)>,
    withdrawn: BTreeSet<Key>,
    /// `None` where nothing is announced.
    attributes: Option<SaidOfRoutes>,
}

#[derive(Debug, Default, PartialEq)]
struct SaidOfRoutes {
    origin: u8,
    as_path: Vec<(SegmentKind, Vec<u32>)>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<u32>,
    extended_communities: Vec<[u8; 8]>,
    large_communities: BTreeSet<[u32; 3]>,
    originator_id: Option<Ipv4Addr>,
    cluster_list: Vec<Ipv4Addr>,
    only_to_customer: Option<u32>,
}

fn as_we_read(update: &Update) -> Said {
    let key = |nlri: mcc_bgp::wire::Nlri| (nlri.prefix, nlri.path_id);
    let mut said =
        Said { withdrawn: update.withdrawn.iter().map(key).collect(), ..Said::default() };
    let Some(read) = update.attributes.as_ref().map(|set| set.decode()) else { return said };
    for part in update.clone().parts() {
        let next_hop = part.attributes.as_ref().unwrap().decode().next_hop;
        said.announced.extend(part.announced.iter().map(|nlri| (key(nlri), next_hop)));
    }
    let large = read.large_communities.iter().map(|it| [it.global, it.local1, it.local2]);
    said.attributes = Some(SaidOfRoutes {
        origin: match read.origin {
            OriginCode::Igp => 0,
            OriginCode::Egp => 1,
            OriginCode::Incomplete => 2,
        },
        as_path: joined(&read.as_path),
        med: read.med,
        local_pref: read.local_pref,
        communities: read.communities.iter().map(|community| community.0).collect(),
        extended_communities: read.extended_communities.clone(),
        large_communities: large.collect(),
        originator_id: read.originator_id,
        cluster_list: read.cluster_list.clone(),
        only_to_customer: read.only_to_customer,
    });
    said
}

/// `None` where the other decoder refuses the UPDATE.
fn as_the_other_reads(bytes: &[u8], context: &DecodeContext) -> Option<Said> {
    let mut buffer = Bytes::copy_from_slice(bytes);
    let Ok(OtherMessage::Update(raw)) = decode_message(&mut buffer, u16::MAX) else { return None };
    let has_paths = |family: Option<FamilyOptions>| family.is_some_and(|it| it.add_path);
    let families = [
        (Afi::Ipv4, has_paths(context.ipv4_unicast)),
        (Afi::Ipv6, has_paths(context.ipv6_unicast)),
    ];
    let families: Vec<_> =
        families.iter().filter(|(_, on)| *on).map(|(afi, _)| (*afi, Safi::Unicast)).collect();
    let classic_has_paths = has_paths(context.ipv4_unicast);
    let update = raw.parse(context.four_octet_as, classic_has_paths, &families).ok()?;

    let mut said = Said::default();
    let mut routes = SaidOfRoutes::default();
    let mut classic_next_hop = None;
    for attribute in &update.attributes {
        match attribute {
            PathAttribute::Origin(origin) => {
                routes.origin = match origin {
                    Origin::Igp => 0,
                    Origin::Egp => 1,
                    Origin::Incomplete => 2,
                };
            }
            PathAttribute::AsPath(path) => {
                routes.as_path = joined_segments(path.segments.iter().map(|it| match it {
                    AsPathSegment::AsSet(asns) => (SegmentKind::Set, asns.clone()),
                    AsPathSegment::AsSequence(asns) => (SegmentKind::Sequence, asns.clone()),
                }));
            }
            PathAttribute::NextHop(address) => classic_next_hop = Some((*address).into()),
            PathAttribute::Med(med) => routes.med = Some(*med),
            PathAttribute::LocalPref(pref) => routes.local_pref = Some(*pref),
            PathAttribute::Communities(all) | PathAttribute::CommunitiesPartial(all) => {
                routes.communities.clone_from(all);
            }
            PathAttribute::ExtendedCommunities(all)
            | PathAttribute::ExtendedCommunitiesPartial(all) => {
                routes.extended_communities =
                    all.iter().map(|it| it.as_u64().to_be_bytes()).collect();
            }
            PathAttribute::LargeCommunities(all) | PathAttribute::LargeCommunitiesPartial(all) => {
                let all = all.iter().map(|it| [it.global_admin, it.local_data1, it.local_data2]);
                routes.large_communities = all.collect();
            }
            PathAttribute::OriginatorId(id) => routes.originator_id = Some(*id),
            PathAttribute::ClusterList(ids) => routes.cluster_list.clone_from(ids),
            PathAttribute::OnlyToCustomer(asn) | PathAttribute::OnlyToCustomerPartial(asn) => {
                routes.only_to_customer = Some(*asn);
            }
            PathAttribute::MpReachNlri(reach) => {
                let keys = reach.announced.iter().map(|it| (prefix(&it.prefix), it.path_id));
                said.announced.extend(keys.map(|key| (key, Some(reach.next_hop))));
            }
            PathAttribute::MpUnreachNlri(unreach) => {
                said.withdrawn
                    .extend(unreach.withdrawn.iter().map(|it| (prefix(&it.prefix), it.path_id)));
            }
            // Aggregates are compared by hand-checked bytes, the rest is not read here.
            _ => {}
        }
    }
    let classic =
        update.announced.iter().map(|it| (ipv4(it.prefix.addr, it.prefix.len), it.path_id));
    said.announced.extend(classic.map(|key| (key, classic_next_hop)));
    let classic =
        update.withdrawn.iter().map(|it| (ipv4(it.prefix.addr, it.prefix.len), it.path_id));
    said.withdrawn.extend(classic);
    said.attributes = (!said.announced.is_empty()).then_some(routes);
    Some(said)
}

fn ipv4(address: Ipv4Addr, length: u8) -> IpNet {
    Ipv4Net::new(address, length).unwrap().into()
}

fn prefix(prefix: &Prefix) -> IpNet {
    match prefix {
        Prefix::V4(prefix) => ipv4(prefix.addr, prefix.len),
        Prefix::V6(prefix) => Ipv6Net::new(prefix.addr, prefix.len).unwrap().into(),
    }
}

fn joined_segments(
    segments: impl Iterator<Item = (SegmentKind, Vec<u32>)>,
) -> Vec<(SegmentKind, Vec<u32>)> {
    let segments =
        segments.map(|(kind, asns)| mcc_bgp::wire::AsPathSegment { kind, asns: asns.into() });
    joined(&mcc_bgp::wire::AsPath { segments: segments.collect() })
}

/// Whether the message was an UPDATE that both found nothing wrong with.
fn both_read_the_same(bytes: &[u8], context: &DecodeContext) -> bool {
    let Ok(Some(framed)) = frame(bytes, mcc_bgp::wire::MAX_EXTENDED_MESSAGE) else { return false };
    let Ok(Message::Update(update)) = decode(framed, context) else { return false };
    if !update.findings.is_empty() {
        return false;
    }
    let Some(theirs) = as_the_other_reads(framed.bytes(), context) else { return false };
    assert_eq!(as_we_read(&update), theirs, "{context:?} {:02x?}", framed.bytes());
    true
}

proptest! {
    // A case is a table of hundreds of routes.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_an_announcer_sends(routes in routes(), context in context()) {
        let routes: Vec<_> = routes.into_iter().filter(|it| encode::check(it).is_ok()).collect();
        let keys: Vec<_> = routes.iter().map(|route| (route.prefix, route.path_id)).collect();
        let messages = [encode::announce(&routes, &context), encode::withdraw(&keys, &context)];
        // The other decoder takes no AS_SET in AS4_PATH (RFC 9774 §3), which is for our rules to judge.
        let has_set = |route: &mcc_announcer::Route| {
            route.attributes.as_path.segments.iter().any(|segment| segment.kind.is_set())
        };
        let may_refuse = !context.four_octet_as && routes.iter().any(has_set);
        for bytes in messages.concat() {
            prop_assert!(both_read_the_same(&bytes, &context) || may_refuse, "{bytes:02x?}");
        }
    }
}

/// The seeds of the fuzz target `bgp_message`: two bytes of options, then what comes in.
#[test]
fn the_good_messages_of_the_fuzz_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/bgp_message");
    let (mut updates, mut names) = (0, Vec::new());
    for seed in fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        let input = fs::read(&path).unwrap();
        let [first, second, stream @ ..] = &input[..] else { continue };
        let bit = |byte: u8, bit: u8| byte & 1 << bit != 0;
        let family = |negotiated: bool, add_path| {
            negotiated.then_some(FamilyOptions { add_path, ipv6_next_hop: bit(*second, 0) })
        };
        let context = DecodeContext {
            neighbor: if bit(*first, 0) { NeighborKind::Internal } else { NeighborKind::External },
            four_octet_as: bit(*first, 1),
            ipv4_unicast: family(bit(*first, 2), bit(*first, 3)),
            ipv6_unicast: family(bit(*first, 4), bit(*first, 5)),
            enhanced_route_refresh: bit(*first, 6),
        };
        let mut stream = match (bit(*second, 2), stream) {
            (true, [code, body @ ..]) => message(*code, body),
            _ => stream.to_vec(),
        };
        let before = updates;
        while let Ok(Some(framed)) = frame(&stream, mcc_bgp::wire::MAX_EXTENDED_MESSAGE) {
            let length = framed.len();
            updates += usize::from(both_read_the_same(&stream[..length], &context));
            stream.drain(..length);
        }
        if updates > before {
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    let expected = [
        "update_add_path",
        "update_every_attribute",
        "update_extended_length",
        "update_ipv4",
        "update_ipv6",
        "update_ipv6_next_hop",
        "update_ipv6_withdraw",
        "update_old_speaker",
        "update_sets",
    ];
    for name in expected {
        assert!(names.iter().any(|found| found == name), "{name} is not compared: {names:?}");
    }
    println!("{updates} UPDATEs of {} seeds", names.len());
}

/// One attribute; with `wide` the length has two bytes though one would do.
fn encoded(flags: u8, code: u8, value: &[u8], wide: bool) -> Vec<u8> {
    let mut bytes = vec![flags, code];
    match u8::try_from(value.len()) {
        Ok(length) if !wide => bytes.push(length),
        _ => {
            bytes[0] |= 0x10;
            bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend(value);
    bytes
}

/// A field of prefixes as a router writes it, host bits not always cleared.
fn nlri_field(width: u8, add_path: bool, most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec((any::<u32>(), 0..=width, any::<[u8; 16]>()), 0..most).prop_map(move |prefixes| {
        let mut field = Vec::new();
        for (path_id, length, bytes) in prefixes {
            if add_path {
                field.extend(path_id.to_be_bytes());
            }
            field.push(length);
            field.extend(&bytes[..usize::from(length.div_ceil(8))]);
        }
        field
    })
}

/// Segments of an `AS_PATH`, in octets of the session.
fn path_value(four_octet_as: bool, kinds: RangeInclusive<u8>) -> impl Strategy<Value = Vec<u8>> {
    let most = if four_octet_as { u32::MAX } else { 0xffff };
    let asn = prop_oneof![Just(23456_u32), 1..=most];
    vec((kinds, vec(asn, 1..8)), 0..4).prop_map(move |segments| {
        let mut value = Vec::new();
        for (kind, asns) in segments {
            value.extend([kind, u8::try_from(asns.len()).unwrap()]);
            for asn in asns {
                let skip = if four_octet_as { 0 } else { 2 };
                value.extend(&asn.to_be_bytes()[skip..]);
            }
        }
        value
    })
}

fn flat<const N: usize>(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; N]>(), 1..most).prop_map(|values| values.concat())
}

fn host() -> impl Strategy<Value = Vec<u8>> {
    (1..=223_u8, any::<[u8; 3]>()).prop_map(|(first, [b, c, d])| vec![first, b, c, d])
}

/// The value of an attribute that is always there.
fn always(value: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Option<Vec<u8>>> {
    value.prop_map(Some)
}

fn sometimes(value: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(value)
}

fn never() -> impl Strategy<Value = Option<Vec<u8>>> {
    Just(None)
}

/// `value` if `wanted`, which is known before anything is generated.
fn only(
    wanted: bool,
    value: impl Strategy<Value = Vec<u8>> + 'static,
) -> BoxedStrategy<Option<Vec<u8>>> {
    if wanted { sometimes(value).boxed() } else { never().boxed() }
}

/// `MP_REACH_NLRI` of a family: with 16 or 32 bytes of next hop for IPv6.
fn reach(ipv6: bool, add_path: bool) -> impl Strategy<Value = Vec<u8>> {
    let next_hop = if ipv6 {
        let global = any::<[u8; 14]>().prop_map(|rest| [&[0x20, 1], &rest[..]].concat());
        let link_local =
            any::<[u8; 8]>().prop_map(|id| [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0], &id[..]].concat());
        (global, proptest::option::of(link_local))
            .prop_map(|(global, link_local)| [global, link_local.unwrap_or_default()].concat())
            .boxed()
    } else {
        host().boxed()
    };
    let width = if ipv6 { 128 } else { 32 };
    (next_hop, nlri_field(width, add_path, 20)).prop_map(move |(next_hop, prefixes)| {
        let head = [0, 1 + u8::from(ipv6), 1, u8::try_from(next_hop.len()).unwrap()];
        [&head[..], &next_hop, &[0], &prefixes].concat()
    })
}

/// A good UPDATE, its attributes in any order, written without our encoder.
fn update(context: DecodeContext) -> impl Strategy<Value = Vec<u8>> {
    let has_paths = |family: Option<FamilyOptions>| family.is_some_and(|it| it.add_path);
    let (v4, v6) = (has_paths(context.ipv4_unicast), has_paths(context.ipv6_unicast));
    let internal = context.neighbor == NeighborKind::Internal;
    let old = !context.four_octet_as;
    let aggregator = if old {
        (1..=0xffff_u16, any::<[u8; 4]>())
            .prop_map(|(asn, id)| [&asn.to_be_bytes()[..], &id].concat())
            .boxed()
    } else {
        (1..=u32::MAX, any::<[u8; 4]>())
            .prop_map(|(asn, id)| [asn.to_be_bytes(), id].concat())
            .boxed()
    };
    let as4_aggregator =
        (1..=u32::MAX, any::<[u8; 4]>()).prop_map(|(asn, id)| [asn.to_be_bytes(), id].concat());
    let as4_path = path_value(true, 2..=2).prop_filter("not empty", |value| !value.is_empty());
    let unreach = |afi: u8, width, add_path| {
        nlri_field(width, add_path, 20).prop_map(move |field| [&[0, afi, 1][..], &field].concat())
    };
    let with_ipv4 = context.ipv4_unicast.is_some();
    let with_ipv6 = context.ipv6_unicast.is_some();
    let mandatory = (
        always((0..=2_u8).prop_map(|origin| vec![origin])),
        always(path_value(context.four_octet_as, 1..=2)),
        always(host()),
    );
    let usual = (
        sometimes(flat::<4>(2)),
        only(internal, flat::<4>(2)),
        sometimes(Just(Vec::new())),
        sometimes(aggregator),
        sometimes(flat::<4>(80)),
        only(internal, flat::<4>(2)),
        only(internal, flat::<4>(9)),
        sometimes(flat::<8>(40)),
        sometimes(flat::<20>(3)),
        sometimes(flat::<12>(30)),
    );
    let rare = (
        only(old, as4_path),
        only(old, as4_aggregator),
        sometimes(flat::<4>(2)),
        sometimes(vec(any::<u8>(), 0..300)),
        prop_oneof![only(with_ipv6, reach(true, v6)), only(with_ipv4, reach(false, v4))],
        prop_oneof![only(with_ipv6, unreach(2, 128, v6)), only(with_ipv4, unreach(1, 32, v4))],
    );
    let field = |there: bool| {
        if there { nlri_field(32, v4, 30).boxed() } else { Just(Vec::new()).boxed() }
    };
    let fields = (field(with_ipv4), field(with_ipv4));
    (mandatory, usual, rare, fields, any::<[bool; 19]>(), Just((0..19).collect::<Vec<_>>()).prop_shuffle())
        .prop_map(|(mandatory, usual, rare, (withdrawn, announced), wide, order)| {
            let (origin, as_path, next_hop) = mandatory;
            let (med, local_pref, atomic, aggregator, communities, originator, clusters, extended, ipv6_extended, large) = usual;
            let (as4_path, as4_aggregator, otc, unknown, reach, unreach) = rare;
            #[rustfmt::skip]
            let all = [
                (0x40, 1, origin), (0x40, 2, as_path), (0x40, 3, next_hop), (0x80, 4, med), (0x40, 5, local_pref),
                (0x40, 6, atomic), (0xc0, 7, aggregator), (0xc0, 8, communities), (0x80, 9, originator),
                (0x80, 10, clusters), (0x80, 14, reach), (0x80, 15, unreach), (0xc0, 16, extended), (0xc0, 17, as4_path),
                (0xc0, 18, as4_aggregator), (0xc0, 25, ipv6_extended), (0xc0, 32, large), (0xc0, 35, otc),
                (0xc0, 199, unknown),
            ];
            let mut attributes = Vec::new();
            for index in order {
                if let (flags, code, Some(value)) = &all[index] {
                    attributes.extend(encoded(*flags, *code, value, wide[index]));
                }
            }
            support::update_message(&withdrawn, &attributes, &announced)
        })
}

proptest! {
    #[test]
    fn what_nobody_sends(
        (context, bytes) in context().prop_flat_map(|context| (Just(context), update(context)))
    ) {
        let read = read_update(&bytes, &context).unwrap();
        prop_assert_eq!(&read.findings, &vec![]);
        prop_assert!(both_read_the_same(&bytes, &context), "the other decoder refuses {bytes:02x?}");
    }

    /// Most of these only one of the two takes, by what else it asks of a message.
    #[test]
    fn what_is_damaged(
        (context, bytes) in context().prop_flat_map(|context| (Just(context), update(context))),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = bytes;
        for (index, byte) in damage {
            let at = 19 + index.index(bytes.len() - 19);
            bytes[at] = byte;
        }
        both_read_the_same(&bytes, &context);
    }
}
