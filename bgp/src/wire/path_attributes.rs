//! The attribute block of an UPDATE: splits it, judges each attribute, and collects what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nom::bytes::complete::take;
use nom::combinator::{consumed, rest};
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Offset, Parser};

use super::attribute::code;
use super::attribute_rule::{EXTENDED_LENGTH, OPTIONAL, Refusal, Rule};
use super::notification::subcode::update as subcode;
use super::{
    AS_TRANS, AsPath, Community, DecodeContext, DecodeError, Disposition, Family, Finding,
    LargeCommunity, Nlri, Notification, NotificationCode, OriginCode, PathAttributes, as_path,
    nlri::NlriField,
};

/// A fault, with what the neighbor is told if it comes to a session reset.
pub(super) struct Fault<'a> {
    pub(super) finding: Finding,
    pub(super) subcode: u8,
    /// The attribute with its header, or what there is of it.
    pub(super) data: &'a [u8],
}

impl Fault<'_> {
    pub(super) fn into_error(self) -> DecodeError {
        DecodeError {
            reason: self.finding.reason,
            offset: self.finding.offset,
            notification: Notification {
                code: NotificationCode::UpdateMessage,
                subcode: self.subcode,
                data: Bytes::copy_from_slice(self.data),
            },
        }
    }
}

/// `MP_REACH_NLRI` or `MP_UNREACH_NLRI` (RFC 4760 §3, §4).
#[derive(Default)]
pub(super) struct MultiprotocolField {
    /// What it is about; `None` if this family was not negotiated, and the rest unread.
    pub(super) family: Option<Family>,
    pub(super) prefixes: Vec<Nlri>,
    /// In `MP_REACH_NLRI` only.
    next_hop: Option<IpAddr>,
}

/// All of a block. Values of faulty attributes are missing.
#[derive(Default)]
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    /// How many attributes there are.
    pub(super) count: usize,
    pub(super) reach: Option<MultiprotocolField>,
    pub(super) unreach: Option<MultiprotocolField>,
    pub(super) faults: Vec<Fault<'a>>,
    /// Where `MP_REACH_NLRI` and `MP_UNREACH_NLRI` are in `bytes`.
    multiprotocol: Vec<&'a [u8]>,
    seen: Seen,
    origin: Option<OriginCode>,
    as_path: Option<AsPath>,
    as4_path: Option<AsPath>,
    aggregator: Option<u32>,
    next_hop: Option<Ipv4Addr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<Community>,
    extended_communities: Vec<[u8; 8]>,
    large_communities: Vec<LargeCommunity>,
    originator_id: Option<Ipv4Addr>,
    cluster_list: Vec<Ipv4Addr>,
    only_to_customer: Option<u32>,
}

/// Which attribute types were there: a bit each.
#[derive(Default)]
struct Seen([u128; 2]);

impl Seen {
    /// Whether `code` is new.
    fn insert(&mut self, code: u8) -> bool {
        let [low, high] = &mut self.0;
        let half = if code < 128 { low } else { high };
        let bit = 1 << (code % 128);
        let new = *half & bit == 0;
        *half |= bit;
        new
    }
}

/// Flags, type and value (RFC 4271 §4.3).
type Attribute<'a> = (u8, u8, &'a [u8]);

fn attribute(input: &[u8]) -> IResult<&[u8], Attribute<'_>, ()> {
    let (input, (flags, code)) = (be_u8, be_u8).parse(input)?;
    let (input, value) = if flags & EXTENDED_LENGTH == 0 {
        length_data(be_u8).parse(input)?
    } else {
        length_data(be_u16).parse(input)?
    };
    Ok((input, (flags, code, value)))
}

impl<'a> Block<'a> {
    /// Reads the block `bytes`, which lies in `message`.
    ///
    /// # Errors
    ///
    /// What leaves nothing but a session reset.
    pub(super) fn decode(
        message: &'a [u8],
        bytes: &'a [u8],
        context: &DecodeContext,
    ) -> Result<Self, DecodeError> {
        let mut block = Self { bytes, ..Self::default() };
        let mut left = bytes;
        while !left.is_empty() {
            block.count += 1;
            let Ok((after, (whole, (flags, code, value)))) = consumed(attribute).parse(left) else {
                // The NLRI are found all the same, by the length of the block.
                let refusal = Refusal {
                    disposition: Disposition::TreatAsWithdraw,
                    reason: "it goes beyond the end of the attributes (RFC 7606 §4)",
                    subcode: subcode::MALFORMED_ATTRIBUTE_LIST,
                };
                block.found(message, left.get(1).copied(), left, refusal);
                break;
            };
            left = after;
            let Err(refusal) = block.take_in(whole, flags, code, value, context) else { continue };
            let is_reset = refusal.disposition == Disposition::SessionReset;
            block.found(message, Some(code), whole, refusal);
            if is_reset && let Some(fault) = block.faults.pop() {
                return Err(fault.into_error());
            }
        }
        Ok(block)
    }

    fn found(&mut self, message: &[u8], code: Option<u8>, data: &'a [u8], refusal: Refusal) {
        let Refusal { disposition, reason, subcode } = refusal;
        let offset = message.offset(data);
        let finding = Finding { disposition, attribute: code, offset, reason };
        self.faults.push(Fault { finding, subcode, data });
    }

    /// Judges one attribute and keeps its value.
    fn take_in(
        &mut self,
        whole: &'a [u8],
        flags: u8,
        code: u8,
        value: &'a [u8],
        context: &DecodeContext,
    ) -> Result<(), Refusal> {
        let multiprotocol = matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
        if !self.seen.insert(code) {
            return Err(duplicate(multiprotocol));
        }
        if multiprotocol {
            self.multiprotocol.push(whole);
        }
        let Some(rule) = Rule::of(code, context) else {
            if flags & OPTIONAL != 0 {
                return Ok(());
            }
            return Err(Refusal {
                disposition: Disposition::SessionReset,
                reason: "a well-known attribute of an unknown type (RFC 4271 §6.3)",
                subcode: subcode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE,
            });
        };
        rule.check(code, flags, value, context)?;
        self.read(code, value, context).map_err(|(disposition, subcode, reason)| Refusal {
            disposition: disposition.unwrap_or(rule.malformed),
            reason,
            subcode,
        })
    }

    /// Reads the value, of which the length is right.
    fn read(&mut self, code: u8, value: &'a [u8], context: &DecodeContext) -> Result<(), BadValue> {
        let optional_error = |reason| (None, subcode::OPTIONAL_ATTRIBUTE_ERROR, reason);
        match code {
            code::ORIGIN => {
                self.origin = Some(match value {
                    [0] => OriginCode::Igp,
                    [1] => OriginCode::Egp,
                    [2] => OriginCode::Incomplete,
                    _ => {
                        let reason = "the value is not 0, 1 or 2 (RFC 7606 §7.1)";
                        return Err((None, subcode::INVALID_ORIGIN_ATTRIBUTE, reason));
                    }
                });
            }
            code::AS_PATH => {
                let path =
                    as_path::decode_as_path(value, context).map_err(|(disposition, reason)| {
                        (Some(disposition), subcode::MALFORMED_AS_PATH, reason)
                    })?;
                self.as_path = Some(path);
            }
            code::AS4_PATH => {
                let path = as_path::decode_as4_path(value).map_err(|(disposition, reason)| {
                    (Some(disposition), subcode::OPTIONAL_ATTRIBUTE_ERROR, reason)
                })?;
                self.as4_path = Some(path);
            }
            code::NEXT_HOP => {
                let address = number(value).map(Ipv4Addr::from_bits);
                if address.is_none_or(|it| it.octets()[0] == 0 || it.octets()[0] >= 224) {
                    let reason = "it is not the address of a host (RFC 4271 §6.3, RFC 7606 §3e)";
                    return Err((None, subcode::INVALID_NEXT_HOP_ATTRIBUTE, reason));
                }
                self.next_hop = address;
            }
            code::MULTI_EXIT_DISC => self.med = number(value),
            code::LOCAL_PREF => self.local_pref = number(value),
            code::AGGREGATOR => {
                let asn = match *value {
                    [high, low, _, _, _, _] => Some(u32::from(u16::from_be_bytes([high, low]))),
                    _ => number(value),
                };
                if asn == Some(0) {
                    return Err(optional_error("its AS is 0 (RFC 7607 §2)"));
                }
                self.aggregator = asn;
            }
            code::AS4_AGGREGATOR if number(value) == Some(0) => {
                return Err(optional_error("its AS is 0 (RFC 7607 §2)"));
            }
            code::COMMUNITIES => {
                let communities = value.as_chunks().0.iter();
                self.communities =
                    communities.map(|&bytes| Community(u32::from_be_bytes(bytes))).collect();
            }
            code::EXTENDED_COMMUNITIES => self.extended_communities = value.as_chunks().0.to_vec(),
            code::LARGE_COMMUNITY => {
                let communities = value.as_chunks::<12>().0.iter();
                self.large_communities = communities.map(large_community).collect();
            }
            code::ORIGINATOR_ID => self.originator_id = number(value).map(Ipv4Addr::from_bits),
            code::CLUSTER_LIST => {
                let ids = value.as_chunks::<4>().0.iter();
                self.cluster_list = ids.map(|&bytes| Ipv4Addr::from(bytes)).collect();
            }
            code::ONLY_TO_CUSTOMER => self.only_to_customer = number(value),
            code::MP_REACH_NLRI => {
                let reach = multiprotocol_reach(value, context).map_err(optional_error)?;
                if self.reach.insert(reach).family.is_none() {
                    return Err(NOT_NEGOTIATED);
                }
            }
            code::MP_UNREACH_NLRI => {
                let unreach = multiprotocol_unreach(value, context).map_err(optional_error)?;
                if self.unreach.insert(unreach).family.is_none() {
                    return Err(NOT_NEGOTIATED);
                }
            }
            // Their rule's check was all.
            _ => {}
        }
        Ok(())
    }

    /// The attribute that routes cannot be without and that is missing (RFC 4271 §6.3):
    /// `NEXT_HOP` only for routes outside of `MP_REACH_NLRI`.
    pub(super) fn missing(&self, has_classic_nlri: bool) -> Option<u8> {
        let must_be_there =
            [(code::ORIGIN, true), (code::AS_PATH, true), (code::NEXT_HOP, has_classic_nlri)];
        let Seen([seen, _]) = self.seen;
        must_be_there
            .into_iter()
            .find_map(|(code, must)| (must && seen & (1 << code) == 0).then_some(code))
    }

    /// The attributes of the routes in this UPDATE; `None` if ORIGIN or `AS_PATH` is missing.
    pub(super) fn attributes(self, has_classic_nlri: bool) -> Option<Arc<PathAttributes>> {
        let raw = self.raw();
        let mut as_path = self.as_path?;
        // An AGGREGATOR with a true AS number was made by an old speaker that knew nothing of
        // AS4_PATH, so that is older than the aggregate (RFC 6793 §4.2.3).
        let is_outdated = self.aggregator.is_some_and(|asn| asn != u32::from(AS_TRANS));
        if let Some(as4_path) = self.as4_path
            && !is_outdated
        {
            as_path = as_path::merge(as_path, as4_path);
        }
        let classic = self.next_hop.map(IpAddr::V4);
        // One set for all routes: with both kinds in one UPDATE, which nobody sends (RFC 7606
        // §5.1), those of MP_REACH_NLRI show the other next hop.
        let multiprotocol = self.reach.and_then(|reach| reach.next_hop);
        Some(Arc::new(PathAttributes {
            origin: self.origin?,
            as_path,
            next_hop: if has_classic_nlri { classic } else { multiprotocol },
            med: self.med,
            local_pref: self.local_pref,
            communities: self.communities,
            extended_communities: self.extended_communities,
            large_communities: self.large_communities,
            originator_id: self.originator_id,
            cluster_list: self.cluster_list,
            only_to_customer: self.only_to_customer,
            raw,
        }))
    }

    /// A copy of the block without the multiprotocol attributes. A copy, so that a kept set does
    /// not keep the read buffer.
    fn raw(&self) -> Bytes {
        let mut raw = BytesMut::with_capacity(self.bytes.len());
        let mut from = 0;
        for attribute in &self.multiprotocol {
            let start = self.bytes.offset(attribute);
            raw.extend_from_slice(self.bytes.get(from..start).unwrap_or_default());
            from = start + attribute.len();
        }
        raw.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        raw.freeze()
    }
}

/// Disposition where it is not that of the attribute's rule, subcode, reason.
type BadValue = (Option<Disposition>, u8, &'static str);

/// Such routes are ignored: what they are was never agreed on.
const NOT_NEGOTIATED: BadValue = (
    Some(Disposition::AttributeDiscard),
    subcode::OPTIONAL_ATTRIBUTE_ERROR,
    "its address family was not negotiated (RFC 4760 §8)",
);

fn duplicate(multiprotocol: bool) -> Refusal {
    let disposition =
        if multiprotocol { Disposition::SessionReset } else { Disposition::AttributeDiscard };
    Refusal {
        disposition,
        reason: "it is there more than once (RFC 7606 §3g)",
        subcode: subcode::MALFORMED_ATTRIBUTE_LIST,
    }
}

/// The first four bytes.
fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|&bytes| u32::from_be_bytes(bytes))
}

fn large_community(bytes: &[u8; 12]) -> LargeCommunity {
    let [g0, g1, g2, g3, a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
    LargeCommunity {
        global: u32::from_be_bytes([g0, g1, g2, g3]),
        local1: u32::from_be_bytes([a0, a1, a2, a3]),
        local2: u32::from_be_bytes([b0, b1, b2, b3]),
    }
}

/// AFI, SAFI, next hop with its length, a reserved byte, prefixes.
fn multiprotocol_reach(
    value: &[u8],
    context: &DecodeContext,
) -> Result<MultiprotocolField, &'static str> {
    let (field, (afi, safi)) =
        (be_u16::<_, ()>, be_u8).parse(value).map_err(|_| "it has no family (RFC 7606 §5.3)")?;
    let family = Family { afi, safi };
    let Some(options) = context.family(family) else {
        return Ok(MultiprotocolField::default());
    };
    let (_, (next_hop, _reserved, bytes)) = (length_data(be_u8::<_, ()>), take(1_usize), rest)
        .parse(field)
        .map_err(|_| "the next hop goes beyond the end of the attribute (RFC 7606 §7.11)")?;
    let next_hop = match (next_hop.len(), family, options.ipv6_next_hop) {
        (4, Family::IPV4_UNICAST, _) => {
            number(next_hop).map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        // The global address, and perhaps a link-local one after it (RFC 2545 §3).
        (16 | 32, Family::IPV6_UNICAST, _) | (16 | 32, Family::IPV4_UNICAST, true) => {
            next_hop.first_chunk::<16>().map(|&octets| Ipv6Addr::from(octets).into())
        }
        _ => return Err("the next hop's length does not fit the family (RFC 7606 §7.11)"),
    };
    let mut prefixes = Vec::new();
    NlriField { bytes, family, options }.read_into(&mut prefixes).map_err(|(_, why)| why)?;
    Ok(MultiprotocolField { family: Some(family), prefixes, next_hop })
}

/// AFI, SAFI, prefixes.
fn multiprotocol_unreach(
    value: &[u8],
    context: &DecodeContext,
) -> Result<MultiprotocolField, &'static str> {
    let (bytes, (afi, safi)) =
        (be_u16::<_, ()>, be_u8).parse(value).map_err(|_| "it has no family (RFC 7606 §5.3)")?;
    let family = Family { afi, safi };
    let Some(options) = context.family(family) else {
        return Ok(MultiprotocolField::default());
    };
    let mut prefixes = Vec::new();
    NlriField { bytes, family, options }.read_into(&mut prefixes).map_err(|(_, why)| why)?;
    Ok(MultiprotocolField { family: Some(family), prefixes, next_hop: None })
}
