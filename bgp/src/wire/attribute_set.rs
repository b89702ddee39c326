//! The attributes of an UPDATE's routes as they came: checked, but not taken apart.
//!
//! A full table has a quarter of a million different sets. Most are only stored and compared, so
//! they travel as bytes, and [`AttributeSet::decode`] makes values of them for whoever looks.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::attribute::code;
use super::path_attributes::attributes;
use super::{
    AS_TRANS, Aggregator, Community, DecodeContext, Ipv6ExtendedCommunity, LargeCommunity,
    OriginCode, PathAttributes, as_path,
};

/// Sets up to this size, which most are, need no memory of their own while they travel.
const INLINE: usize = 64;

/// Checked attributes. Two sets are equal if their bytes on the wire, and the way to read them, are.
///
/// The first byte says how to read the rest: with AS numbers of four octets or two, and whether the
/// next hop of `MP_REACH_NLRI`, which is no part of the set, stands before the attributes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AttributeSet(SmallVec<[u8; INLINE]>);

/// So many large communities are compared with each other faster than they are hashed. A message has
/// room for thousands.
const FEW: usize = 16;

const FOUR_OCTET_AS: u8 = 1;
const IPV4_NEXT_HOP: u8 = 2;
const IPV6_NEXT_HOP: u8 = 4;

impl AttributeSet {
    /// From attributes that were found to be good. `next_hop` is that of `MP_REACH_NLRI`, if the
    /// routes are from there.
    pub(crate) fn new<'a>(
        context: &DecodeContext,
        next_hop: Option<IpAddr>,
        attributes: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let mut head = if context.four_octet_as { FOUR_OCTET_AS } else { 0 };
        let mut bytes = SmallVec::new();
        match next_hop {
            None => bytes.push(head),
            Some(IpAddr::V4(next_hop)) => {
                head |= IPV4_NEXT_HOP;
                bytes.push(head);
                bytes.extend_from_slice(&next_hop.octets());
            }
            Some(IpAddr::V6(next_hop)) => {
                head |= IPV6_NEXT_HOP;
                bytes.push(head);
                bytes.extend_from_slice(&next_hop.octets());
            }
        }
        for part in attributes {
            // As large as it will be: nearly always it is the only one.
            bytes.reserve_exact(part.len());
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }

    /// Everything, to be stored and compared.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What [`AttributeSet::as_bytes`] gave.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// Whether AS numbers in [`AttributeSet::attributes`] have four octets (RFC 6793).
    #[must_use]
    pub fn four_octet_as(&self) -> bool {
        self.0.first().is_some_and(|head| head & FOUR_OCTET_AS != 0)
    }

    /// The next hop that stood in `MP_REACH_NLRI`; `None` if it is in [`AttributeSet::attributes`].
    #[must_use]
    pub fn multiprotocol_next_hop(&self) -> Option<IpAddr> {
        let (head, rest) = self.0.split_first()?;
        if head & IPV4_NEXT_HOP != 0 {
            rest.first_chunk::<4>().map(|&octets| Ipv4Addr::from(octets).into())
        } else if head & IPV6_NEXT_HOP != 0 {
            rest.first_chunk::<16>().map(|&octets| Ipv6Addr::from(octets).into())
        } else {
            None
        }
    }

    /// The attribute block as it came (RFC 4271 §4.3), without `MP_REACH_NLRI`, `MP_UNREACH_NLRI`
    /// and what RFC 7606 discards.
    #[must_use]
    pub fn attributes(&self) -> &[u8] {
        let head = self.0.first().copied().unwrap_or_default();
        let skip = match head & (IPV4_NEXT_HOP | IPV6_NEXT_HOP) {
            0 => 1,
            IPV4_NEXT_HOP => 5,
            _ => 17,
        };
        self.0.get(skip..).unwrap_or_default()
    }

    /// What the attributes say.
    #[must_use]
    pub fn decode(&self) -> PathAttributes {
        let mut read = PathAttributes::default();
        self.decode_into(&mut read);
        read
    }

    /// The same in the place of what was in `read`.
    pub(crate) fn decode_into(&self, read: &mut PathAttributes) {
        *read = PathAttributes::default();
        let (mut as4_path, mut aggregator, mut as4_aggregator) = (None, None, None);
        for (code, value) in attributes(self.attributes()) {
            match code {
                code::ORIGIN => read.origin = OriginCode::from_value(value).unwrap_or_default(),
                code::AS_PATH => read.as_path = as_path::read_as_path(value, self.four_octet_as()),
                code::AS4_PATH => as4_path = Some(as_path::read_as4_path(value)),
                code::NEXT_HOP => {
                    read.next_hop = number(value).map(|bits| Ipv4Addr::from_bits(bits).into());
                }
                code::MULTI_EXIT_DISC => read.med = number(value),
                code::LOCAL_PREF => read.local_pref = number(value),
                code::ATOMIC_AGGREGATE => read.atomic_aggregate = true,
                code::AGGREGATOR => aggregator = Aggregator::from_value(value),
                code::AS4_AGGREGATOR => as4_aggregator = Aggregator::from_value(value),
                code::COMMUNITIES => {
                    let communities = value.as_chunks().0.iter();
                    read.communities =
                        communities.map(|&bytes| Community(u32::from_be_bytes(bytes))).collect();
                }
                code::EXTENDED_COMMUNITIES => {
                    read.extended_communities = value.as_chunks().0.to_vec();
                }
                code::LARGE_COMMUNITY => {
                    read.large_communities = large_communities(value.as_chunks().0);
                }
                code::IPV6_EXTENDED_COMMUNITIES => {
                    let communities = value.as_chunks().0.iter();
                    read.ipv6_extended_communities =
                        communities.map(|&bytes| Ipv6ExtendedCommunity(bytes)).collect();
                }
                code::ORIGINATOR_ID => read.originator_id = number(value).map(Ipv4Addr::from_bits),
                code::CLUSTER_LIST => {
                    let ids = value.as_chunks::<4>().0.iter();
                    read.cluster_list = ids.map(|&bytes| Ipv4Addr::from(bytes)).collect();
                }
                code::ONLY_TO_CUSTOMER => read.only_to_customer = number(value),
                _ => {}
            }
        }
        read.next_hop = self.multiprotocol_next_hop().or(read.next_hop);
        // Both, and the first not a stand-in: an old speaker has made an aggregate of routes of which
        // the AS4 attributes say nothing true any more (RFC 6793 §4.2.3).
        let aggregated_since =
            aggregator.is_some_and(|it| it.asn != u32::from(AS_TRANS)) && as4_aggregator.is_some();
        if let Some(as4_path) = as4_path
            && !aggregated_since
        {
            read.as_path = as_path::merge(std::mem::take(&mut read.as_path), as4_path);
        }
        read.aggregator = match as4_aggregator {
            Some(_) if aggregator.is_some() && !aggregated_since => as4_aggregator,
            _ => aggregator,
        };
    }
}

impl fmt::Debug for AttributeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decode().fmt(f)
    }
}

/// The first four bytes.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|&bytes| u32::from_be_bytes(bytes))
}

/// Each once (RFC 8092 §3), in the order in which they came.
fn large_communities(all: &[[u8; 12]]) -> Vec<LargeCommunity> {
    let mut distinct = Vec::with_capacity(all.len());
    if all.len() <= FEW {
        for community in all.iter().map(large_community) {
            if !distinct.contains(&community) {
                distinct.push(community);
            }
        }
    } else {
        let mut seen = HashSet::with_capacity(all.len());
        let unseen = all.iter().filter(|&bytes| seen.insert(bytes));
        distinct.extend(unseen.map(large_community));
    }
    distinct
}

fn large_community(bytes: &[u8; 12]) -> LargeCommunity {
    let [g0, g1, g2, g3, a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
    LargeCommunity {
        global: u32::from_be_bytes([g0, g1, g2, g3]),
        local1: u32::from_be_bytes([a0, a1, a2, a3]),
        local2: u32::from_be_bytes([b0, b1, b2, b3]),
    }
}
