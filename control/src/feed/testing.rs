//! Small tables for property tests: few prefixes and few attributes, so that runs collide often.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::record::{Change, RouteAttributes, RouteRecord, Source};

/// What a [`super::RouteTable`] is to be equal to.
pub(crate) type Table = BTreeMap<IpNet, Arc<RouteAttributes>>;

pub(crate) fn any_prefix() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (0..16_u32, 26..=32_u8).prop_map(|(n, len)| {
            IpNet::V4(Ipv4Net::new((0xC633_6400 + n * 16).into(), len).unwrap().trunc())
        }),
        (0..8_u128, 124..=128_u8).prop_map(|(n, len)| {
            let address = 0x2001_0db8_u128 << 96 | n;
            IpNet::V6(Ipv6Net::new(address.into(), len).unwrap().trunc())
        }),
    ]
}

pub(crate) fn any_attributes() -> impl Strategy<Value = Arc<RouteAttributes>> {
    (
        any::<bool>(),
        0..3_u32,
        prop::option::of(0..3_u32),
        prop::option::of(0..3_u32),
        prop::collection::vec(prop::sample::select(vec!["65100:911", "65100:1:2"]), 0..3),
    )
        .prop_map(|(manual, path_len, med, neighbor_asn, communities)| {
            Arc::new(RouteAttributes {
                source: if manual { Source::Manual } else { Source::Bgp },
                path_len,
                med,
                neighbor_asn,
                communities: communities.into_iter().map(str::to_owned).collect(),
            })
        })
}

pub(crate) fn any_table() -> impl Strategy<Value = Table> {
    prop::collection::btree_map(any_prefix(), any_attributes(), 0..20)
}

pub(crate) fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::btree_map(any_prefix(), prop::option::of(any_attributes()), 0..8)
        .prop_map(|map| map.into_iter().map(|(p, a)| Change::new(p, a)).collect())
}

pub(crate) fn records(table: &Table) -> Vec<RouteRecord> {
    (table.iter())
        .map(|(prefix, attributes)| RouteRecord {
            prefix: *prefix,
            attributes: Arc::clone(attributes),
        })
        .collect()
}

pub(crate) fn apply(table: &mut Table, changes: &[Change]) {
    for change in changes {
        match change.attributes() {
            Some(attributes) => table.insert(change.prefix(), Arc::clone(attributes)),
            None => table.remove(&change.prefix()),
        };
    }
}
