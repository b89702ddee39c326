//! BGP4MP (RFC 6396 §4.4, RFC 8050 §3): what went over a session, and its states.

use std::net::IpAddr;

use nom::number::complete::be_u16;
use nom::{IResult, Parser};

use super::table::{address, asn, push_address};
use super::{Body, Malformed};

/// Subtypes (RFC 6396 §4.4).
const STATE_CHANGE: u16 = 0;
const MESSAGE: u16 = 1;
const MESSAGE_AS4: u16 = 4;
const STATE_CHANGE_AS4: u16 = 5;
const MESSAGE_LOCAL: u16 = 6;
const MESSAGE_AS4_LOCAL: u16 = 7;
/// The same with path identifiers are the four from here on (RFC 8050 §3), in the order of `MESSAGE`,
/// `MESSAGE_AS4`, `MESSAGE_LOCAL` and `MESSAGE_AS4_LOCAL`.
const MESSAGE_ADDPATH: u16 = 8;
const MESSAGE_AS4_ADDPATH: u16 = 9;
const MESSAGE_LOCAL_ADDPATH: u16 = 10;
const MESSAGE_AS4_LOCAL_ADDPATH: u16 = 11;

/// Address families of a session's addresses.
const AFI_IPV4: u16 = 1;
const AFI_IPV6: u16 = 2;

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnds {
    /// The neighbor's AS number.
    pub peer_asn: u32,
    /// That of whoever recorded.
    pub local_asn: u32,
    /// Index of the network interface; 0 if it is not known.
    pub interface: u16,
    /// The neighbor's address.
    pub peer: IpAddr,
    /// Address of whoever recorded, of the same family; the unspecified one if it is not known.
    pub local: IpAddr,
}

/// A BGP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionMessage<'a> {
    /// Whose session it went over.
    pub ends: SessionEnds,
    /// Whether the recorder sent it; else the neighbor did.
    pub local: bool,
    /// Whether AS numbers in `AS_PATH` have four octets.
    pub four_octet_as: bool,
    /// Whether its prefixes have path identifiers (RFC 8050 §3).
    pub add_path: bool,
    /// The message from its marker on. Nothing in here is checked.
    pub bytes: &'a [u8],
}

/// A session changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// Whose session it is.
    pub ends: SessionEnds,
    /// State before, as RFC 4271 §8.2.2 counts: 1 Idle, 2 Connect, 3 Active, 4 OpenSent,
    /// 5 OpenConfirm, 6 Established.
    pub from: u16,
    /// State after.
    pub to: u16,
}

/// The number of the state Established.
pub const ESTABLISHED: u16 = 6;

/// `None`: a subtype that is stepped over.
pub(super) fn decode(subtype: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, Malformed<'_>> {
    let four_octet_as = matches!(
        subtype,
        MESSAGE_AS4
            | STATE_CHANGE_AS4
            | MESSAGE_AS4_LOCAL
            | MESSAGE_AS4_ADDPATH
            | MESSAGE_AS4_LOCAL_ADDPATH
    );
    let local = matches!(
        subtype,
        MESSAGE_LOCAL | MESSAGE_AS4_LOCAL | MESSAGE_LOCAL_ADDPATH | MESSAGE_AS4_LOCAL_ADDPATH
    );
    Ok(Some(match subtype {
        STATE_CHANGE | STATE_CHANGE_AS4 => {
            let (rest, ends) = SessionEnds::decode(bytes, four_octet_as)?;
            let Ok((_, (from, to))) = (be_u16::<_, ()>, be_u16).parse(rest) else {
                return Err(("the states are missing (RFC 6396 §4.4.1)", rest));
            };
            Body::StateChange(StateChange { ends, from, to })
        }
        MESSAGE | MESSAGE_AS4 | MESSAGE_LOCAL..=MESSAGE_AS4_LOCAL_ADDPATH => {
            let (bytes, ends) = SessionEnds::decode(bytes, four_octet_as)?;
            let add_path = subtype >= MESSAGE_ADDPATH;
            Body::Message(SessionMessage { ends, local, four_octet_as, add_path, bytes })
        }
        _ => return Ok(None),
    }))
}

impl SessionEnds {
    fn decode(bytes: &[u8], four_octet_as: bool) -> Result<(&[u8], Self), Malformed<'_>> {
        let numbers: IResult<_, _, ()> =
            (|i| asn(i, four_octet_as), |i| asn(i, four_octet_as), be_u16, be_u16).parse(bytes);
        let Ok((rest, (peer_asn, local_asn, interface, afi))) = numbers else {
            return Err(("the record is cut short (RFC 6396 §4.4)", bytes));
        };
        if !matches!(afi, AFI_IPV4 | AFI_IPV6) {
            return Err(("the address family is neither IPv4 nor IPv6 (RFC 6396 §4.4)", rest));
        }
        let is_ipv6 = afi == AFI_IPV6;
        let addresses = (|i| address(i, is_ipv6), |i| address(i, is_ipv6)).parse(rest);
        let Ok((rest, (peer, local))) = addresses else {
            return Err(("the addresses go beyond the end (RFC 6396 §4.4)", rest));
        };
        Ok((rest, Self { peer_asn, local_asn, interface, peer, local }))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Self { peer_asn, local_asn, interface, peer, local } = *self;
        out.extend(peer_asn.to_be_bytes());
        out.extend(local_asn.to_be_bytes());
        out.extend(interface.to_be_bytes());
        let afi = if peer.is_ipv6() { AFI_IPV6 } else { AFI_IPV4 };
        out.extend(afi.to_be_bytes());
        push_address(out, peer);
        push_address(out, of_family(local, peer));
    }

    fn encode_two_octets(&self, out: &mut Vec<u8>) {
        let octets = |asn: u32| u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes();
        let begin = out.len();
        self.encode(out);
        out.splice(begin..begin + 8, [octets(self.peer_asn), octets(self.local_asn)].concat());
    }
}

use crate::wire::AS_TRANS;

/// The record has one family for both addresses.
fn of_family(address: IpAddr, peer: IpAddr) -> IpAddr {
    match (address, peer) {
        (IpAddr::V4(address), IpAddr::V6(_)) => address.to_ipv6_mapped().into(),
        (IpAddr::V6(address), IpAddr::V4(_)) => {
            address.to_ipv4_mapped().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED).into()
        }
        _ => address,
    }
}

impl SessionMessage<'_> {
    pub(super) fn subtype(&self) -> u16 {
        match (self.add_path, self.local, self.four_octet_as) {
            (false, false, false) => MESSAGE,
            (false, false, true) => MESSAGE_AS4,
            (false, true, false) => MESSAGE_LOCAL,
            (false, true, true) => MESSAGE_AS4_LOCAL,
            (true, false, false) => MESSAGE_ADDPATH,
            (true, false, true) => MESSAGE_AS4_ADDPATH,
            (true, true, false) => MESSAGE_LOCAL_ADDPATH,
            (true, true, true) => MESSAGE_AS4_LOCAL_ADDPATH,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if self.four_octet_as {
            self.ends.encode(out);
        } else {
            self.ends.encode_two_octets(out);
        }
        out.extend(self.bytes);
    }
}

impl StateChange {
    /// Always the form with four-octet AS numbers, in which any number fits.
    pub(super) fn subtype(&self) -> u16 {
        STATE_CHANGE_AS4
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.ends.encode(out);
        out.extend(self.from.to_be_bytes());
        out.extend(self.to.to_be_bytes());
    }
}
