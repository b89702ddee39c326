//! Values that the unit tests of several modules need.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::{
    AsPath, AsPathSegment, AttributeSet, DecodeContext, NeighborKind, Nlri, PathAttributes,
    SegmentKind, Update,
};

pub(crate) fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Attributes with this AS path, different from those with any other path.
pub(crate) fn attributes(path: &[u32]) -> PathAttributes {
    let segment = AsPathSegment { kind: SegmentKind::Sequence, asns: path.into() };
    let segments = if path.is_empty() { vec![] } else { vec![segment] };
    PathAttributes { as_path: AsPath { segments: segments.into() }, ..PathAttributes::default() }
}

/// These attributes as they would come in: ORIGIN, `AS_PATH` of sequences, `NEXT_HOP`, MED,
/// `LOCAL_PREF` and communities; the others are left out.
pub(crate) fn set(attributes: &PathAttributes) -> AttributeSet {
    let mut bytes = vec![0x40, 1, 1, 0, 0x40, 2];
    let asns: usize = attributes.as_path.segments.iter().map(|s| 2 + 4 * s.asns.len()).sum();
    bytes.push(u8::try_from(asns).unwrap());
    for segment in &attributes.as_path.segments {
        assert_eq!(segment.kind, SegmentKind::Sequence);
        bytes.extend([2, u8::try_from(segment.asns.len()).unwrap()]);
        bytes.extend(segment.asns.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    if let Some(IpAddr::V4(next_hop)) = attributes.next_hop {
        bytes.extend([0x40, 3, 4]);
        bytes.extend(next_hop.octets());
    }
    for (flags, code, value) in [(0x80, 4, attributes.med), (0x40, 5, attributes.local_pref)] {
        if let Some(value) = value {
            bytes.extend([flags, code, 4]);
            bytes.extend(value.to_be_bytes());
        }
    }
    if !attributes.communities.is_empty() {
        bytes.extend([0xc0, 8, u8::try_from(4 * attributes.communities.len()).unwrap()]);
        bytes.extend(attributes.communities.iter().flat_map(|community| community.0.to_be_bytes()));
    }
    let context = DecodeContext {
        neighbor: NeighborKind::Internal,
        four_octet_as: true,
        ..DecodeContext::default()
    };
    AttributeSet::new(&context, None, std::iter::once(bytes.as_slice()))
}

pub(crate) fn nlri(text: &str) -> Nlri {
    Nlri { prefix: prefix(text), path_id: 0 }
}

pub(crate) fn announce(prefixes: &[&str], attributes: &PathAttributes) -> Update {
    Update {
        announced: prefixes.iter().copied().map(nlri).collect(),
        attributes: Some(set(attributes)),
        ..Update::default()
    }
}

pub(crate) fn withdraw(prefixes: &[&str]) -> Update {
    Update { withdrawn: prefixes.iter().copied().map(nlri).collect(), ..Update::default() }
}
