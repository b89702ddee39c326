//! Routes to UPDATE messages. Only this crate can do that.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mcc_bgp::wire::{
    AS_TRANS, AsPath, DecodeContext, Family, HEADER, MAX_MESSAGE, NeighborKind, OriginCode,
    SegmentKind,
};
use thiserror::Error;

use crate::{Attributes, Route};

/// A route that has no form on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The next hop is of the other family.
    #[error("route to {prefix}: its next hop {next_hop} is of the other address family")]
    NextHopFamily {
        /// The route.
        prefix: IpNet,
        /// What its attributes say.
        next_hop: IpAddr,
    },
    /// The attributes leave no room for a prefix in a message.
    #[error("route to {prefix}: its attributes have {length} bytes, at most {MAX_ATTRIBUTES} fit")]
    TooLong {
        /// The route.
        prefix: IpNet,
        /// Bytes of its attributes.
        length: usize,
    },
}

/// Bytes of attributes that leave room for `MP_REACH_NLRI` with an IPv6 prefix.
const MAX_ATTRIBUTES: usize = 4000;
/// Bytes of an UPDATE around attributes and prefixes (RFC 4271 §4.3).
const UPDATE: usize = HEADER + 4;
/// Bytes of `MP_REACH_NLRI` around its prefixes, with a global IPv6 next hop (RFC 4760 §3).
const MP_REACH: usize = 4 + 5 + 16;
/// Bytes of `MP_UNREACH_NLRI` around its prefixes (RFC 4760 §4).
const MP_UNREACH: usize = 4 + 3;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;
/// AS numbers that one segment holds; its length has one byte.
const SEGMENT: usize = 255;

/// Whether `route` can be sent to anyone.
///
/// # Errors
///
/// Why not.
pub fn check(route: &Route) -> Result<(), EncodeError> {
    let Route { prefix, ref attributes, .. } = *route;
    let next_hop = attributes.next_hop;
    if prefix.addr().is_ipv4() != next_hop.is_ipv4() {
        return Err(EncodeError::NextHopFamily { prefix, next_hop });
    }
    // AS4_PATH may make the form for an old speaker the longer one.
    let lengths = [true, false].map(|four_octet_as| {
        let neighbor = NeighborKind::Internal;
        let context = DecodeContext { neighbor, four_octet_as, ..Default::default() };
        attribute_block(attributes, prefix, &context).len()
    });
    let length = lengths.into_iter().max().unwrap_or(0);
    if length > MAX_ATTRIBUTES {
        return Err(EncodeError::TooLong { prefix, length });
    }
    Ok(())
}

/// UPDATEs that announce `routes` to a neighbor that reads them under `context`: one for each
/// attribute set, or several where its prefixes do not fit. Routes of families that were not
/// negotiated are left out. The routes are [checked](check).
#[must_use]
pub fn announce<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    context: &DecodeContext,
) -> Vec<Vec<u8>> {
    let mut sets: Vec<(&Attributes, Family, Vec<Vec<u8>>)> = Vec::new();
    let mut index = HashMap::new();
    for route in routes {
        let family = family(route.prefix);
        let Some(options) = context.family(family) else { continue };
        let key = (&*route.attributes, family);
        let at = *index.entry(key).or_insert_with(|| {
            sets.push((key.0, family, Vec::new()));
            sets.len() - 1
        });
        if let Some((_, _, nlri)) = sets.get_mut(at) {
            nlri.push(prefix_bytes(route.prefix, options.add_path.then_some(route.path_id)));
        }
    }

    let mut messages = Vec::new();
    for (attributes, family, nlri) in sets {
        let Some(any) = default_prefix(family) else { continue };
        let block = attribute_block(attributes, any, context);
        if family == Family::IPV4_UNICAST {
            for field in packed(&nlri, MAX_MESSAGE - UPDATE - block.len()) {
                messages.push(update(&[], &block, &field));
            }
        } else {
            for field in packed(&nlri, MAX_MESSAGE - UPDATE - MP_REACH - block.len()) {
                let mut value = family_bytes(family);
                if let IpAddr::V6(next_hop) = attributes.next_hop {
                    value.push(16);
                    value.extend(next_hop.octets());
                }
                value.push(0);
                value.extend(field);
                // First, as RFC 7606 §5.1 asks.
                let mut with_reach = attribute(OPTIONAL, 14, &value);
                with_reach.extend(&block);
                messages.push(update(&[], &with_reach, &[]));
            }
        }
    }
    messages
}

/// UPDATEs that withdraw the routes with these prefixes and path identifiers.
#[must_use]
pub fn withdraw(routes: &[(IpNet, u32)], context: &DecodeContext) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
        let Some(options) = context.family(family) else { continue };
        let of_family = routes.iter().filter(|(prefix, _)| self::family(*prefix) == family);
        let nlri: Vec<_> = of_family
            .map(|&(prefix, path_id)| prefix_bytes(prefix, options.add_path.then_some(path_id)))
            .collect();
        for field in packed(&nlri, MAX_MESSAGE - UPDATE - MP_UNREACH) {
            messages.push(if family == Family::IPV4_UNICAST {
                update(&field, &[], &[])
            } else {
                let mut value = family_bytes(family);
                value.extend(field);
                update(&[], &attribute(OPTIONAL, 15, &value), &[])
            });
        }
    }
    messages
}

/// The family that `prefix` is announced under.
pub(crate) const fn family(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::IPV4_UNICAST,
        IpNet::V6(_) => Family::IPV6_UNICAST,
    }
}

/// Fields of at most `room` bytes that hold all prefixes, in order.
fn packed(nlri: &[Vec<u8>], room: usize) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for prefix in nlri {
        match fields.last_mut() {
            Some(field) if field.len() + prefix.len() <= room => field.extend(prefix),
            _ => fields.push(prefix.clone()),
        }
    }
    fields
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = UPDATE + withdrawn.len() + attributes.len() + nlri.len();
    let mut message = vec![0xff; 16];
    message.extend(two_bytes(length));
    message.push(2);
    for field in [withdrawn, attributes] {
        message.extend(two_bytes(field.len()));
        message.extend(field);
    }
    message.extend(nlri);
    message
}

/// All attributes but the multiprotocol ones; `NEXT_HOP` if `prefix` needs it.
fn attribute_block(attributes: &Attributes, prefix: IpNet, context: &DecodeContext) -> Vec<u8> {
    let mut block = Vec::new();
    let origin = match attributes.origin {
        OriginCode::Igp => 0,
        OriginCode::Egp => 1,
        OriginCode::Incomplete => 2,
    };
    block.extend(attribute(TRANSITIVE, 1, &[origin]));
    let as_path = path_bytes(&attributes.as_path, context.four_octet_as);
    block.extend(attribute(TRANSITIVE, 2, &as_path));
    if let (IpNet::V4(_), IpAddr::V4(next_hop)) = (prefix, attributes.next_hop) {
        block.extend(attribute(TRANSITIVE, 3, &next_hop.octets()));
    }
    if let Some(med) = attributes.med {
        block.extend(attribute(OPTIONAL, 4, &med.to_be_bytes()));
    }
    if context.neighbor == NeighborKind::Internal {
        let local_pref = attributes.local_pref.unwrap_or(100);
        block.extend(attribute(TRANSITIVE, 5, &local_pref.to_be_bytes()));
    }
    let communities: Vec<_> =
        attributes.communities.iter().flat_map(|community| community.0.to_be_bytes()).collect();
    let extended = attributes.extended_communities.concat();
    let large: Vec<_> = attributes
        .large_communities
        .iter()
        .flat_map(|it| [it.global, it.local1, it.local2].map(u32::to_be_bytes).concat())
        .collect();
    for (code, value) in [(8, communities), (16, extended), (32, large)] {
        if !value.is_empty() {
            block.extend(attribute(OPTIONAL | TRANSITIVE, code, &value));
        }
    }
    if !context.four_octet_as {
        let mut path = attributes.as_path.clone();
        let is_long = |asn: &u32| u16::try_from(*asn).is_err();
        if path.segments.iter().any(|segment| segment.asns.iter().any(is_long)) {
            // Confederation segments do not belong there (RFC 6793 §3).
            path.segments.retain(|it| matches!(it.kind, SegmentKind::Set | SegmentKind::Sequence));
            block.extend(attribute(OPTIONAL | TRANSITIVE, 17, &path_bytes(&path, true)));
        }
    }
    block
}

fn path_bytes(path: &AsPath, four_octet_as: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in &path.segments {
        let kind = match segment.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => 2,
            SegmentKind::ConfederationSequence => 3,
            SegmentKind::ConfederationSet => 4,
        };
        for asns in segment.asns.chunks(SEGMENT) {
            out.extend([kind, u8::try_from(asns.len()).unwrap_or(u8::MAX)]);
            for asn in asns {
                if four_octet_as {
                    out.extend(asn.to_be_bytes());
                } else {
                    out.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
                }
            }
        }
    }
    out
}

fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = match u8::try_from(value.len()) {
        Ok(length) => vec![flags, code, length],
        Err(_) => {
            let [high, low] = two_bytes(value.len());
            vec![flags | EXTENDED_LENGTH, code, high, low]
        }
    };
    out.extend(value);
    out
}

fn prefix_bytes(prefix: IpNet, path_id: Option<u32>) -> Vec<u8> {
    let bits = prefix.prefix_len();
    let significant = usize::from(bits.div_ceil(8));
    let mut out: Vec<u8> = path_id.map(u32::to_be_bytes).into_iter().flatten().collect();
    out.push(bits);
    match prefix.network() {
        IpAddr::V4(address) => out.extend(address.octets().iter().take(significant)),
        IpAddr::V6(address) => out.extend(address.octets().iter().take(significant)),
    }
    out
}

fn family_bytes(Family { afi, safi }: Family) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    vec![high, low, safi]
}

fn default_prefix(family: Family) -> Option<IpNet> {
    match family {
        Family::IPV4_UNICAST => Some(IpNet::V4(ipnet::Ipv4Net::default())),
        Family::IPV6_UNICAST => Some(IpNet::V6(ipnet::Ipv6Net::default())),
        Family { .. } => None,
    }
}

/// A length field. All lengths here are bounded by [`MAX_MESSAGE`].
fn two_bytes(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}
