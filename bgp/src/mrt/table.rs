//! TABLE_DUMP_V2 (RFC 6396 §4.3, RFC 8050 §4): a table, prefix by prefix, and the peers that it is
//! from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nom::bytes::complete::take;
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u128};
use nom::{IResult, Parser};

use super::{Body, Malformed};

/// Subtypes (RFC 6396 §4.3, RFC 8050 §4).
pub(super) const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;
const RIB_IPV4_UNICAST_ADDPATH: u16 = 8;
const RIB_IPV6_UNICAST_ADDPATH: u16 = 10;

/// Bits of a peer's type (RFC 6396 §4.3.1).
const PEER_IPV6: u8 = 0b01;
const PEER_FOUR_OCTET_AS: u8 = 0b10;

/// The peers of a table. The records after it name them by their place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIndexTable {
    /// BGP identifier of whoever recorded.
    pub collector: Ipv4Addr,
    /// Name of the table; may be empty. What goes beyond 65,535 bytes is not written.
    pub view: String,
    /// At most 65,535.
    pub peers: Vec<TablePeer>,
}

/// One peer of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TablePeer {
    /// BGP identifier; 0.0.0.0 if it is not known.
    pub bgp_id: Ipv4Addr,
    /// Address of its session.
    pub address: IpAddr,
    /// AS number.
    pub asn: u32,
}

/// A prefix, and what the peers said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RibPrefix<'a> {
    /// Counts up from 0 in a table, and begins again after 2^32 - 1.
    pub sequence: u32,
    /// The prefix, its host bits cleared.
    pub prefix: IpNet,
    /// Whether the entries have path identifiers (RFC 8050 §4).
    pub add_path: bool,
    /// One for each peer, or each of its paths; at most 65,535.
    pub entries: Vec<RibEntry<'a>>,
}

/// What one peer said of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RibEntry<'a> {
    /// Place of the peer in the [`PeerIndexTable`].
    pub peer: u16,
    /// When the route was learned, in seconds since 1970.
    pub originated: u32,
    /// ADD-PATH identifier; 0 without `add_path`.
    pub path_id: u32,
    /// Path attributes: four-octet AS numbers always, and of `MP_REACH_NLRI` only the next hop with
    /// its length (RFC 6396 §4.3.4). At most 65,535 bytes.
    pub attributes: &'a [u8],
}

/// `None`: a subtype that is stepped over.
pub(super) fn decode(subtype: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, Malformed<'_>> {
    let (is_ipv4, add_path) = match subtype {
        PEER_INDEX_TABLE => {
            return PeerIndexTable::decode(bytes).map(Body::PeerIndexTable).map(Some);
        }
        RIB_IPV4_UNICAST => (true, false),
        RIB_IPV6_UNICAST => (false, false),
        RIB_IPV4_UNICAST_ADDPATH => (true, true),
        RIB_IPV6_UNICAST_ADDPATH => (false, true),
        _ => return Ok(None),
    };
    RibPrefix::decode(bytes, is_ipv4, add_path).map(Body::Rib).map(Some)
}

impl PeerIndexTable {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed<'_>> {
        let head: IResult<_, _, ()> = (be_u32, length_data(be_u16), be_u16).parse(bytes);
        let Ok((mut rest, (collector, view, count))) = head else {
            return Err(("the peer table is cut short (RFC 6396 §4.3.1)", bytes));
        };
        let mut peers = Vec::new();
        for _ in 0..count {
            let Ok((after, peer)) = peer(rest) else {
                return Err(("a peer goes beyond the end of the table (RFC 6396 §4.3.1)", rest));
            };
            peers.push(peer);
            rest = after;
        }
        let view = String::from_utf8_lossy(view).into_owned();
        Ok(Self { collector: Ipv4Addr::from_bits(collector), view, peers })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.collector.octets());
        let view = self.view.floor_char_boundary(usize::from(u16::MAX));
        let view = self.view.get(..view).unwrap_or_default();
        out.extend(u16::try_from(view.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(view.as_bytes());
        let count = u16::try_from(self.peers.len()).unwrap_or(u16::MAX);
        out.extend(count.to_be_bytes());
        for TablePeer { bgp_id, address, asn } in self.peers.iter().take(usize::from(count)) {
            let family = if address.is_ipv6() { PEER_IPV6 } else { 0 };
            out.push(PEER_FOUR_OCTET_AS | family);
            out.extend(bgp_id.octets());
            push_address(out, *address);
            out.extend(asn.to_be_bytes());
        }
    }
}

fn peer(input: &[u8]) -> IResult<&[u8], TablePeer, ()> {
    let (input, (kind, bgp_id)) = (be_u8, be_u32).parse(input)?;
    let (input, address) = address(input, kind & PEER_IPV6 != 0)?;
    let (input, asn) = asn(input, kind & PEER_FOUR_OCTET_AS != 0)?;
    Ok((input, TablePeer { bgp_id: Ipv4Addr::from_bits(bgp_id), address, asn }))
}

impl<'a> RibPrefix<'a> {
    pub(super) fn subtype(&self) -> u16 {
        match (self.prefix, self.add_path) {
            (IpNet::V4(_), false) => RIB_IPV4_UNICAST,
            (IpNet::V4(_), true) => RIB_IPV4_UNICAST_ADDPATH,
            (IpNet::V6(_), false) => RIB_IPV6_UNICAST,
            (IpNet::V6(_), true) => RIB_IPV6_UNICAST_ADDPATH,
        }
    }

    fn decode(bytes: &'a [u8], is_ipv4: bool, add_path: bool) -> Result<Self, Malformed<'a>> {
        let head: IResult<_, _, ()> = (be_u32, be_u8).parse(bytes);
        let Ok((at, (sequence, bits))) = head else {
            return Err(("the record is cut short (RFC 6396 §4.3.2)", bytes));
        };
        if bits > if is_ipv4 { 32 } else { 128 } {
            return Err(("the prefix is longer than its addresses (RFC 6396 §4.3.2)", at));
        }
        let Ok((at, (prefix, count))) = (take::<_, _, ()>(bits.div_ceil(8)), be_u16).parse(at)
        else {
            return Err(("the prefix goes beyond the end (RFC 6396 §4.3.2)", at));
        };
        let Some(prefix) = net(is_ipv4, bits, prefix) else {
            return Err(("the prefix cannot be (RFC 6396 §4.3.2)", bytes));
        };
        let mut rest = at;
        let mut entries = Vec::new();
        for _ in 0..count {
            let Ok((after, entry)) = entry(rest, add_path) else {
                return Err(("an entry goes beyond the end (RFC 6396 §4.3.4)", rest));
            };
            entries.push(entry);
            rest = after;
        }
        Ok(Self { sequence, prefix, add_path, entries })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.sequence.to_be_bytes());
        push_prefix(out, self.prefix);
        let count = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        out.extend(count.to_be_bytes());
        for entry in self.entries.iter().take(usize::from(count)) {
            let RibEntry { peer, originated, path_id, attributes } = *entry;
            out.extend(peer.to_be_bytes());
            out.extend(originated.to_be_bytes());
            if self.add_path {
                out.extend(path_id.to_be_bytes());
            }
            let length = u16::try_from(attributes.len()).unwrap_or(u16::MAX);
            out.extend(length.to_be_bytes());
            out.extend(attributes.iter().take(usize::from(length)));
        }
    }
}

fn entry(input: &[u8], add_path: bool) -> IResult<&[u8], RibEntry<'_>, ()> {
    let (input, (peer, originated)) = (be_u16, be_u32).parse(input)?;
    let (input, path_id) = if add_path { be_u32(input)? } else { (input, 0) };
    let (input, attributes) = length_data(be_u16).parse(input)?;
    Ok((input, RibEntry { peer, originated, path_id, attributes }))
}

fn net(is_ipv4: bool, bits: u8, bytes: &[u8]) -> Option<IpNet> {
    let mut octets = [0; 16];
    octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
    if is_ipv4 {
        let address = Ipv4Addr::from(*octets.first_chunk::<4>()?);
        Some(Ipv4Net::new(address, bits).ok()?.trunc().into())
    } else {
        Some(Ipv6Net::new(Ipv6Addr::from(octets), bits).ok()?.trunc().into())
    }
}

/// Length in bits, then the bytes that it needs (RFC 4271 §4.3).
fn push_prefix(out: &mut Vec<u8>, prefix: IpNet) {
    let bits = prefix.prefix_len();
    out.push(bits);
    let bytes = usize::from(bits.div_ceil(8));
    match prefix.addr() {
        IpAddr::V4(address) => out.extend(address.octets().iter().take(bytes)),
        IpAddr::V6(address) => out.extend(address.octets().iter().take(bytes)),
    }
}

pub(super) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
}

pub(super) fn address(input: &[u8], is_ipv6: bool) -> IResult<&[u8], IpAddr, ()> {
    if is_ipv6 {
        be_u128.map(|bits| Ipv6Addr::from_bits(bits).into()).parse(input)
    } else {
        be_u32.map(|bits| Ipv4Addr::from_bits(bits).into()).parse(input)
    }
}

pub(super) fn asn(input: &[u8], four_octets: bool) -> IResult<&[u8], u32, ()> {
    if four_octets { be_u32(input) } else { be_u16.map(u32::from).parse(input) }
}
