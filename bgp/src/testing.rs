//! Values that the unit tests of several modules need.

use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;

use crate::wire::{AsPath, AsPathSegment, Nlri, OriginCode, PathAttributes, SegmentKind, Update};

pub(crate) fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Attributes with this AS path, different from those with any other path.
pub(crate) fn attributes(path: &[u32]) -> PathAttributes {
    let segment = AsPathSegment { kind: SegmentKind::Sequence, asns: path.to_vec() };
    PathAttributes {
        origin: OriginCode::Igp,
        as_path: AsPath { segments: if path.is_empty() { vec![] } else { vec![segment] } },
        next_hop: None,
        med: None,
        local_pref: None,
        communities: vec![],
        extended_communities: vec![],
        large_communities: vec![],
        originator_id: None,
        cluster_list: vec![],
        only_to_customer: None,
        raw: path.iter().flat_map(|asn| asn.to_be_bytes()).collect::<Bytes>(),
    }
}

pub(crate) fn nlri(text: &str) -> Nlri {
    Nlri { prefix: prefix(text), path_id: 0 }
}

pub(crate) fn announce(prefixes: &[&str], attributes: PathAttributes) -> Update {
    Update {
        announced: prefixes.iter().copied().map(nlri).collect(),
        attributes: Some(Arc::new(attributes)),
        ..Update::default()
    }
}

pub(crate) fn withdraw(prefixes: &[&str]) -> Update {
    Update { withdrawn: prefixes.iter().copied().map(nlri).collect(), ..Update::default() }
}
