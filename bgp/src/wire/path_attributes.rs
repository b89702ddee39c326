//! The attribute block of an UPDATE: splits it, judges each attribute, and collects what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use nom::bytes::complete::take;
use nom::combinator::{consumed, rest};
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Offset, Parser};

use super::attribute::code;
use super::attribute_rule::{EXTENDED_LENGTH, OPTIONAL, Refusal, Rule};
use super::attribute_set::number;
use super::notification::subcode::update as subcode;
use super::{
    Aggregator, AttributeSet, DecodeContext, DecodeError, Disposition, Family, Finding,
    Notification, NotificationCode, OriginCode, as_path,
    nlri::{CheckedNlri, NlriField},
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
#[derive(Clone, Copy)]
pub(super) struct MultiprotocolField<'a> {
    /// What it is about; `None` if this family was not negotiated, and the rest unread.
    pub(super) family: Option<Family>,
    pub(super) prefixes: CheckedNlri<'a>,
    /// In `MP_REACH_NLRI` only; `None` there if it is not the address of a host.
    next_hop: Option<IpAddr>,
}

/// All of a block.
#[derive(Default)]
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    /// How many attributes there are.
    pub(super) count: usize,
    pub(super) reach: Option<MultiprotocolField<'a>>,
    pub(super) unreach: Option<MultiprotocolField<'a>>,
    pub(super) faults: Vec<Fault<'a>>,
    /// The attributes in `bytes` that are no part of the set: `MP_REACH_NLRI`, `MP_UNREACH_NLRI`
    /// and what was discarded. In their order.
    left_out: Vec<&'a [u8]>,
    seen: Seen,
}

/// Which attribute types were there: a bit each.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// Whether `code` is new.
    fn insert(&mut self, code: u8) -> bool {
        let [first, second, third, last] = &mut self.0;
        let quarter = match code {
            0..64 => first,
            64..128 => second,
            128..192 => third,
            192.. => last,
        };
        let bit = 1 << (code % 64);
        let new = *quarter & bit == 0;
        *quarter |= bit;
        new
    }
}

impl MultiprotocolField<'_> {
    const NOT_NEGOTIATED: Self =
        Self { family: None, prefixes: CheckedNlri::EMPTY, next_hop: None };
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

/// Type and value of each attribute of a block that has been checked.
pub(super) fn attributes(block: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut left = block;
    std::iter::from_fn(move || {
        let (after, (_, code, value)) = attribute(left).ok()?;
        left = after;
        Some((code, value))
    })
}

impl<'a> Block<'a> {
    /// The block `bytes`, not read yet.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Reads the block, which lies in `message`.
    ///
    /// # Errors
    ///
    /// What leaves nothing but a session reset.
    pub(super) fn read_all(
        &mut self,
        message: &'a [u8],
        context: &DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut left = self.bytes;
        while !left.is_empty() {
            self.count += 1;
            let Ok((after, (whole, (flags, code, value)))) = consumed(attribute).parse(left) else {
                let code = left.get(1).copied();
                self.found(message, code, left, overrun(code))?;
                break;
            };
            left = after;
            let Err(refusal) = self.take_in(whole, flags, code, value, context) else { continue };
            if !is_multiprotocol(code) {
                self.left_out.push(whole);
            }
            self.found(message, Some(code), whole, refusal)?;
        }
        Ok(())
    }

    /// Notes a fault, or fails with it if nothing but a session reset is left.
    fn found(
        &mut self,
        message: &[u8],
        code: Option<u8>,
        data: &'a [u8],
        refusal: Refusal,
    ) -> Result<(), DecodeError> {
        let Refusal { disposition, reason, subcode } = refusal;
        let offset = message.offset(data);
        let finding = Finding { disposition, attribute: code, offset, reason };
        let fault = Fault { finding, subcode, data };
        if disposition == Disposition::SessionReset {
            return Err(fault.into_error());
        }
        self.faults.push(fault);
        Ok(())
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
        let multiprotocol = is_multiprotocol(code);
        if multiprotocol {
            self.left_out.push(whole);
        }
        if !self.seen.insert(code) {
            return Err(duplicate(multiprotocol));
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

    /// Checks the value, of which the length is right, and reads the multiprotocol ones.
    fn read(&mut self, code: u8, value: &'a [u8], context: &DecodeContext) -> Result<(), BadValue> {
        let optional_error = |reason| (None, subcode::OPTIONAL_ATTRIBUTE_ERROR, reason);
        match code {
            code::ORIGIN if OriginCode::from_value(value).is_none() => {
                let reason = "the value is not 0, 1 or 2 (RFC 7606 §7.1)";
                return Err((None, subcode::INVALID_ORIGIN_ATTRIBUTE, reason));
            }
            code::AS_PATH => {
                as_path::check_as_path(value, context).map_err(|(disposition, reason)| {
                    (Some(disposition), subcode::MALFORMED_AS_PATH, reason)
                })?;
            }
            code::AS4_PATH => {
                as_path::check_as4_path(value).map_err(|(disposition, reason)| {
                    (Some(disposition), subcode::OPTIONAL_ATTRIBUTE_ERROR, reason)
                })?;
            }
            code::NEXT_HOP => {
                let address = number(value).map(|bits| Ipv4Addr::from_bits(bits).into());
                if !address.is_some_and(is_host) {
                    let reason = "it is not the address of a host (RFC 4271 §6.3, RFC 7606 §3e)";
                    return Err((None, subcode::INVALID_NEXT_HOP_ATTRIBUTE, reason));
                }
            }
            code::AGGREGATOR | code::AS4_AGGREGATOR
                if Aggregator::from_value(value).is_some_and(|it| it.asn == 0) =>
            {
                return Err(optional_error("its AS is 0 (RFC 7607 §2)"));
            }
            code::MP_REACH_NLRI => {
                let reach = multiprotocol_reach(value, context).map_err(optional_error)?;
                let reach = self.reach.insert(reach);
                if reach.family.is_none() {
                    return Err(NOT_NEGOTIATED);
                }
                if reach.next_hop.is_none() {
                    return Err(NO_HOST);
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

    /// There are no routes outside of the attributes. Those in `MP_REACH_NLRI` have their next hop in
    /// there, and `NEXT_HOP` beside it is to be ignored (RFC 4760 §3): no address in it is wrong, and
    /// one that is no host's, which some routers put there, is no part of the set. Flags and length
    /// are no matter of what it says, and are judged all the same (RFC 7606 §3c, §7.3).
    pub(super) fn ignore_next_hop(&mut self) {
        if self.reach.is_some() {
            self.faults.retain(|fault| {
                (fault.finding.attribute, fault.subcode)
                    != (Some(code::NEXT_HOP), subcode::INVALID_NEXT_HOP_ATTRIBUTE)
            });
        }
    }

    /// The attribute that routes cannot be without and that is missing (RFC 4271 §6.3):
    /// `NEXT_HOP` only for routes outside of `MP_REACH_NLRI`.
    pub(super) fn missing(&self, has_classic_nlri: bool) -> Option<u8> {
        let must_be_there =
            [(code::ORIGIN, true), (code::AS_PATH, true), (code::NEXT_HOP, has_classic_nlri)];
        let Seen([seen, ..]) = self.seen;
        must_be_there
            .into_iter()
            .find_map(|(code, must)| (must && seen & (1 << code) == 0).then_some(code))
    }

    /// The attributes of the routes outside of `MP_REACH_NLRI`.
    pub(super) fn attributes(&self, context: &DecodeContext) -> AttributeSet {
        AttributeSet::new(context, None, self.kept())
    }

    /// Those of the routes in `MP_REACH_NLRI`, which have the next hop in there.
    pub(super) fn multiprotocol_attributes(&self, context: &DecodeContext) -> AttributeSet {
        let next_hop = self.reach.as_ref().and_then(|reach| reach.next_hop);
        AttributeSet::new(context, next_hop, self.kept())
    }

    /// The block without what is left out, in pieces.
    fn kept(&self) -> impl Iterator<Item = &'a [u8]> {
        let starts = self.left_out.iter().map(|part| self.bytes.offset(part));
        let ends = self.left_out.iter().map(|part| self.bytes.offset(part) + part.len());
        let pieces = std::iter::once(0).chain(ends).zip(starts.chain([self.bytes.len()]));
        pieces.map(|(from, to)| self.bytes.get(from..to).unwrap_or_default())
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

/// The prefixes are known, so they are withdrawn, as those beside such a `NEXT_HOP`.
const NO_HOST: BadValue = (
    Some(Disposition::TreatAsWithdraw),
    subcode::INVALID_NEXT_HOP_ATTRIBUTE,
    "the next hop is not the address of a host (RFC 4760 §3, RFC 7606 §3e)",
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

/// The prefixes outside of the attributes are found all the same, by the length of the block; those
/// in the attribute that is cut off are not.
fn overrun(code: Option<u8>) -> Refusal {
    if code.is_some_and(is_multiprotocol) {
        return Refusal {
            disposition: Disposition::SessionReset,
            reason: "it goes beyond the end of the attributes, and its prefixes cannot be read \
                     (RFC 7606 §3j)",
            subcode: subcode::OPTIONAL_ATTRIBUTE_ERROR,
        };
    }
    Refusal {
        disposition: Disposition::TreatAsWithdraw,
        reason: "it goes beyond the end of the attributes (RFC 7606 §4)",
        subcode: subcode::MALFORMED_ATTRIBUTE_LIST,
    }
}

fn is_multiprotocol(code: u8) -> bool {
    matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI)
}

/// Whether it can be the address of a router: neither unspecified nor that of a group.
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.octets(), [0 | 224.., ..]),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

/// AFI, SAFI, next hop with its length, a reserved byte, prefixes.
fn multiprotocol_reach<'a>(
    value: &'a [u8],
    context: &DecodeContext,
) -> Result<MultiprotocolField<'a>, &'static str> {
    let (field, (afi, safi)) =
        (be_u16::<_, ()>, be_u8).parse(value).map_err(|_| "it has no family (RFC 7606 §5.3)")?;
    let family = Family { afi, safi };
    let Some(options) = context.family(family) else {
        return Ok(MultiprotocolField::NOT_NEGOTIATED);
    };
    let (_, (next_hop, _reserved, bytes)) = (length_data(be_u8::<_, ()>), take(1_usize), rest)
        .parse(field)
        .map_err(|_| "the next hop goes beyond the end of the attribute (RFC 7606 §7.11)")?;
    let next_hop = match (next_hop.len(), family, options.ipv6_next_hop) {
        (4, Family::IPV4_UNICAST, _) => {
            number(next_hop).map(|bits| Ipv4Addr::from_bits(bits).into()).filter(|&it| is_host(it))
        }
        // The global address, and perhaps a link-local one after it (RFC 2545 §3). Some routers have
        // no global one, and leave its place empty.
        (16 | 32, Family::IPV6_UNICAST, _) | (16 | 32, Family::IPV4_UNICAST, true) => {
            let addresses = next_hop.as_chunks::<16>().0.iter();
            addresses.map(|&octets| Ipv6Addr::from(octets).into()).find(|&it| is_host(it))
        }
        _ => return Err("the next hop's length does not fit the family (RFC 7606 §7.11)"),
    };
    let prefixes = NlriField { bytes, family, options }.check().map_err(|(_, why)| why)?;
    Ok(MultiprotocolField { family: Some(family), prefixes, next_hop })
}

/// AFI, SAFI, prefixes.
fn multiprotocol_unreach<'a>(
    value: &'a [u8],
    context: &DecodeContext,
) -> Result<MultiprotocolField<'a>, &'static str> {
    let (bytes, (afi, safi)) =
        (be_u16::<_, ()>, be_u8).parse(value).map_err(|_| "it has no family (RFC 7606 §5.3)")?;
    let family = Family { afi, safi };
    let Some(options) = context.family(family) else {
        return Ok(MultiprotocolField::NOT_NEGOTIATED);
    };
    let prefixes = NlriField { bytes, family, options }.check().map_err(|(_, why)| why)?;
    Ok(MultiprotocolField { family: Some(family), prefixes, next_hop: None })
}
