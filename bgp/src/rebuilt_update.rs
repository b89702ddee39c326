//! UPDATEs made again from stored attributes: for BMP stations, which take routes in this form, and
//! for the decoder when a recorded table is replayed.
//!
//! No router is ever sent one: what reaches a BGP socket is a [`wire::Outgoing`](crate::wire), which
//! has no place for these bytes.

use std::net::IpAddr;

use ipnet::IpNet;
use nom::combinator::consumed;
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use crate::wire::{AS_TRANS, AsPath, AttributeSet, Family, HEADER, Nlri, SegmentKind};

const EXTENDED_LENGTH: u8 = 0x10;
const OPTIONAL: u8 = 0x80;
/// ATTRIBUTE types that this is about (RFC 4271 §5, RFC 4760, RFC 6793).
const AS_PATH: u8 = 2;
const AGGREGATOR: u8 = 7;
pub(crate) const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;

/// An attribute as it lies in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawAttribute<'a> {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: &'a [u8],
    /// With flags, type and length.
    pub(crate) whole: &'a [u8],
}

/// The attributes of a block; the last item is what is left over at a fault.
pub(crate) fn split(block: &[u8]) -> impl Iterator<Item = Result<RawAttribute<'_>, &[u8]>> {
    let mut left = block;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let Ok((after, (whole, (flags, code, value)))) = consumed(attribute).parse(left) else {
            return Some(Err(std::mem::take(&mut left)));
        };
        left = after;
        Some(Ok(RawAttribute { flags, code, value, whole }))
    })
}

fn attribute(input: &[u8]) -> IResult<&[u8], (u8, u8, &[u8]), ()> {
    let (input, (flags, code)) = (be_u8, be_u8).parse(input)?;
    let (input, value) = if flags & EXTENDED_LENGTH == 0 {
        length_data(be_u8).parse(input)?
    } else {
        length_data(be_u16).parse(input)?
    };
    Ok((input, (flags, code, value)))
}

/// Appends an attribute, with a length of two octets where it needs them.
pub(crate) fn push_attribute(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    if let Ok(length) = u8::try_from(value.len()) {
        out.extend([flags & !EXTENDED_LENGTH, code, length]);
    } else {
        out.extend([flags | EXTENDED_LENGTH, code]);
        out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    }
    out.extend(value);
}

/// The attribute block of a set with four-octet AS numbers, as a new speaker would have sent it:
/// `AS4_PATH` and `AS4_AGGREGATOR` are merged in (RFC 6793 §4.2.3). As in the set there is no
/// multiprotocol attribute in it.
pub(crate) fn four_octet_block(set: &AttributeSet) -> Vec<u8> {
    let block = set.attributes();
    if set.four_octet_as() {
        return block.to_vec();
    }
    let read = set.decode();
    let find = |code| split(block).flatten().find(|attribute| attribute.code == code);
    let mut out = Vec::with_capacity(block.len() + 32);
    for RawAttribute { flags, code, value, whole } in split(block).flatten() {
        match (code, value) {
            (AS_PATH, _) => push_attribute(&mut out, flags, code, &as_path_value(&read.as_path)),
            (AS4_PATH | AS4_AGGREGATOR, _) => {}
            (AGGREGATOR, [high, low, address @ ..]) => {
                let asn = u16::from_be_bytes([*high, *low]);
                let true_one = find(AS4_AGGREGATOR).filter(|_| asn == AS_TRANS);
                let four_octets = || [&[0, 0, *high, *low], address].concat();
                let value = true_one.map_or_else(four_octets, |it| it.value.to_vec());
                push_attribute(&mut out, flags, code, &value);
            }
            _ => out.extend(whole),
        }
    }
    out
}

/// The value of an `AS_PATH` with four-octet AS numbers. A merged segment of more than 255 AS
/// numbers becomes several.
fn as_path_value(path: &AsPath) -> Vec<u8> {
    let mut value = Vec::new();
    for segment in &path.segments {
        let kind = match segment.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => 2,
            SegmentKind::ConfederationSequence => 3,
            SegmentKind::ConfederationSet => 4,
        };
        for asns in segment.asns.chunks(usize::from(u8::MAX)) {
            value.extend([kind, u8::try_from(asns.len()).unwrap_or(u8::MAX)]);
            value.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
        }
    }
    value
}

/// What stands before the prefixes of `MP_REACH_NLRI` (RFC 4760 §3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) family: Family,
    /// The next hop as it is on the wire.
    pub(crate) next_hop: &'a [u8],
}

/// An UPDATE that announces `nlri`, all of one family, with the attributes `block`; with `reach`
/// the prefixes go into `MP_REACH_NLRI`. `None` if it would be longer than a message can be.
pub(crate) fn announce(
    block: &[u8],
    reach: Option<Reach<'_>>,
    nlri: &[Nlri],
    add_path: bool,
) -> Option<Vec<u8>> {
    let mut prefixes = Vec::with_capacity(nlri.len() * 9);
    nlri.iter().for_each(|nlri| push_nlri(&mut prefixes, *nlri, add_path));
    let Some(Reach { family, next_hop }) = reach else {
        return update(&[], &[block], &prefixes);
    };
    let mut value = family_bytes(family).to_vec();
    value.push(u8::try_from(next_hop.len()).ok()?);
    value.extend(next_hop);
    value.push(0);
    value.extend(prefixes);
    u16::try_from(value.len()).ok()?;
    // First, as RFC 7606 §5.1 asks.
    let mut attribute = Vec::with_capacity(value.len() + 4);
    push_attribute(&mut attribute, OPTIONAL, MP_REACH_NLRI, &value);
    update(&[], &[&attribute, block], &[])
}

/// An UPDATE that withdraws `nlri`, all of one family. `None` if it would be too long.
pub(crate) fn withdraw(family: Family, nlri: &[Nlri], add_path: bool) -> Option<Vec<u8>> {
    let mut prefixes = Vec::new();
    nlri.iter().for_each(|nlri| push_nlri(&mut prefixes, *nlri, add_path));
    if family == Family::IPV4_UNICAST {
        return update(&prefixes, &[], &[]);
    }
    let value = [family_bytes(family).as_slice(), &prefixes].concat();
    u16::try_from(value.len()).ok()?;
    let mut attribute = Vec::new();
    push_attribute(&mut attribute, OPTIONAL, MP_UNREACH_NLRI, &value);
    update(&[], &[&attribute], &[])
}

/// The family of a prefix.
pub(crate) fn family_of(prefix: &IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::IPV4_UNICAST,
        IpNet::V6(_) => Family::IPV6_UNICAST,
    }
}

fn family_bytes(Family { afi, safi }: Family) -> [u8; 3] {
    let [high, low] = afi.to_be_bytes();
    [high, low, safi]
}

fn push_nlri(out: &mut Vec<u8>, Nlri { prefix, path_id }: Nlri, add_path: bool) {
    if add_path {
        out.extend(path_id.to_be_bytes());
    }
    let bits = prefix.prefix_len();
    out.push(bits);
    let bytes = usize::from(bits.div_ceil(8));
    match prefix.addr() {
        IpAddr::V4(address) => out.extend(address.octets().iter().take(bytes)),
        IpAddr::V6(address) => out.extend(address.octets().iter().take(bytes)),
    }
}

/// An UPDATE of its three fields (RFC 4271 §4.3).
fn update(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Option<Vec<u8>> {
    const UPDATE: u8 = 2;
    let attributes_length: usize = attributes.iter().map(|part| part.len()).sum();
    let length = HEADER + 4 + withdrawn.len() + attributes_length + nlri.len();
    let mut message = Vec::with_capacity(length);
    message.extend([0xff; 16]);
    message.extend(u16::try_from(length).ok()?.to_be_bytes());
    message.push(UPDATE);
    message.extend(u16::try_from(withdrawn.len()).ok()?.to_be_bytes());
    message.extend(withdrawn);
    message.extend(u16::try_from(attributes_length).ok()?.to_be_bytes());
    attributes.iter().for_each(|part| message.extend(*part));
    message.extend(nlri);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DecodeContext, FamilyOptions, MAX_EXTENDED_MESSAGE, Message, decode, frame};

    fn context(four_octet_as: bool) -> DecodeContext {
        let options = Some(FamilyOptions { add_path: true, ipv6_next_hop: true });
        DecodeContext {
            four_octet_as,
            ipv4_unicast: options,
            ipv6_unicast: options,
            ..DecodeContext::default()
        }
    }

    fn read(message: &[u8], four_octet_as: bool) -> crate::wire::Update {
        let frame = frame(message, MAX_EXTENDED_MESSAGE).unwrap().unwrap();
        match decode(frame, &context(four_octet_as)).unwrap() {
            Message::Update(update) => update,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_old_speakers_attributes_become_those_of_a_new_one() {
        let nlri = [Nlri { prefix: "198.51.100.0/24".parse().unwrap(), path_id: 7 }];
        let old = [
            [0x40, 1, 1, 0].as_slice(),
            // 65100 23456, and 65100 70000 in AS4_PATH.
            &[0x40, 2, 6, 2, 2, 0xfe, 0x4c, 0x5b, 0xa0],
            &[0x40, 3, 4, 192, 0, 2, 1],
            &[0xc0, 7, 6, 0x5b, 0xa0, 192, 0, 2, 9],
            &[0xc0, 17, 10, 2, 2, 0, 0, 0xfe, 0x4c, 0, 1, 0x11, 0x70],
            &[0xc0, 18, 8, 0, 1, 0x11, 0x70, 192, 0, 2, 9],
        ];
        let message = announce(&old.concat(), None, &nlri, true).unwrap();
        let update = read(&message, false);
        let set = update.attributes.unwrap();
        let new = [
            [0x40, 1, 1, 0].as_slice(),
            &[0x40, 2, 10, 2, 2, 0, 0, 0xfe, 0x4c, 0, 1, 0x11, 0x70],
            &[0x40, 3, 4, 192, 0, 2, 1],
            &[0xc0, 7, 8, 0, 1, 0x11, 0x70, 192, 0, 2, 9],
        ];
        assert_eq!(four_octet_block(&set), new.concat());
        let again = announce(&four_octet_block(&set), None, &nlri, true).unwrap();
        let again = read(&again, true);
        assert!(again.announced.iter().eq(nlri));
        assert_eq!(again.attributes.unwrap().decode(), set.decode());
    }

    #[test]
    fn each_family_goes_where_it_belongs() {
        let block = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x4c];
        let v6 = [Nlri { prefix: "2001:db8::/32".parse().unwrap(), path_id: 1 }];
        let v4 = [Nlri { prefix: "198.51.100.0/24".parse().unwrap(), path_id: 1 }];
        let next_hop: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        for (nlri, family) in [(v6, Family::IPV6_UNICAST), (v4, Family::IPV4_UNICAST)] {
            let reach = Reach { family, next_hop: &next_hop.octets() };
            let announced = read(&announce(&block, Some(reach), &nlri, true).unwrap(), true);
            assert!(announced.announced.iter().eq(nlri));
            assert_eq!(announced.attributes.unwrap().decode().next_hop, Some(next_hop.into()));
            assert!(announced.findings.is_empty(), "{:?}", announced.findings);
            let withdrawn = read(&withdraw(family, &nlri, true).unwrap(), true);
            assert!(withdrawn.withdrawn.iter().eq(nlri));
        }
    }

    #[test]
    fn what_does_not_fit_a_message_is_not_made() {
        let nlri = vec![Nlri { prefix: "198.51.100.0/24".parse().unwrap(), path_id: 1 }; 9000];
        assert_eq!(announce(&[], None, &nlri, true), None);
        assert_eq!(withdraw(Family::IPV4_UNICAST, &nlri, true), None);
    }
}
