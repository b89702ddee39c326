//! Path attributes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::AsPath;

/// What the attributes of a route say, as far as a listener needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: OriginCode,
    /// `AS_PATH`, with `AS4_PATH` merged in (RFC 6793 §4.2.3).
    pub as_path: AsPath,
    /// `NEXT_HOP`; of routes in `MP_REACH_NLRI` the one in there (the global one of two).
    pub next_hop: Option<IpAddr>,
    /// `MULTI_EXIT_DISC`.
    pub med: Option<u32>,
    /// `LOCAL_PREF`; ignored from an external neighbor (RFC 7606 §7.5).
    pub local_pref: Option<u32>,
    /// `ATOMIC_AGGREGATE`: an aggregate whose path does not name every AS (RFC 4271 §5.1.6).
    pub atomic_aggregate: bool,
    /// `AGGREGATOR`, or in its place the `AS4_AGGREGATOR` of an old speaker (RFC 6793 §4.2.3).
    pub aggregator: Option<Aggregator>,
    /// `COMMUNITIES` (RFC 1997).
    pub communities: SmallVec<[Community; 8]>,
    /// `EXTENDED COMMUNITIES` (RFC 4360), eight bytes each.
    pub extended_communities: Vec<[u8; 8]>,
    /// `LARGE_COMMUNITY` (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// IPv6 Address Specific Extended Communities (RFC 5701).
    pub ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// `ORIGINATOR_ID` (RFC 4456); ignored from an external neighbor.
    pub originator_id: Option<Ipv4Addr>,
    /// `CLUSTER_LIST` (RFC 4456); ignored from an external neighbor.
    pub cluster_list: Vec<Ipv4Addr>,
    /// `ONLY_TO_CUSTOMER` (RFC 9234).
    pub only_to_customer: Option<u32>,
}

/// Attribute type codes: the name in the RFC, the number at IANA.
pub(super) mod code {
    pub(in crate::wire) const ORIGIN: u8 = 1;
    pub(in crate::wire) const AS_PATH: u8 = 2;
    pub(in crate::wire) const NEXT_HOP: u8 = 3;
    pub(in crate::wire) const MULTI_EXIT_DISC: u8 = 4;
    pub(in crate::wire) const LOCAL_PREF: u8 = 5;
    pub(in crate::wire) const ATOMIC_AGGREGATE: u8 = 6;
    pub(in crate::wire) const AGGREGATOR: u8 = 7;
    pub(in crate::wire) const COMMUNITIES: u8 = 8;
    pub(in crate::wire) const ORIGINATOR_ID: u8 = 9;
    pub(in crate::wire) const CLUSTER_LIST: u8 = 10;
    pub(in crate::wire) const MP_REACH_NLRI: u8 = 14;
    pub(in crate::wire) const MP_UNREACH_NLRI: u8 = 15;
    pub(in crate::wire) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(in crate::wire) const AS4_PATH: u8 = 17;
    pub(in crate::wire) const AS4_AGGREGATOR: u8 = 18;
    pub(in crate::wire) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    pub(in crate::wire) const LARGE_COMMUNITY: u8 = 32;
    pub(in crate::wire) const ONLY_TO_CUSTOMER: u8 = 35;
}

/// The name of an attribute that this speaker reads.
pub(super) const fn attribute_name(code: u8) -> Option<&'static str> {
    Some(match code {
        code::ORIGIN => "ORIGIN",
        code::AS_PATH => "AS_PATH",
        code::NEXT_HOP => "NEXT_HOP",
        code::MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
        code::LOCAL_PREF => "LOCAL_PREF",
        code::ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        code::AGGREGATOR => "AGGREGATOR",
        code::COMMUNITIES => "COMMUNITIES",
        code::ORIGINATOR_ID => "ORIGINATOR_ID",
        code::CLUSTER_LIST => "CLUSTER_LIST",
        code::MP_REACH_NLRI => "MP_REACH_NLRI",
        code::MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
        code::EXTENDED_COMMUNITIES => "EXTENDED COMMUNITIES",
        code::AS4_PATH => "AS4_PATH",
        code::AS4_AGGREGATOR => "AS4_AGGREGATOR",
        code::IPV6_EXTENDED_COMMUNITIES => "IPv6 EXTENDED COMMUNITIES",
        code::LARGE_COMMUNITY => "LARGE_COMMUNITY",
        code::ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
        _ => return None,
    })
}

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OriginCode {
    /// 0
    #[default]
    Igp,
    /// 1
    Egp,
    /// 2
    Incomplete,
}

impl OriginCode {
    pub(super) fn from_value(value: &[u8]) -> Option<Self> {
        Some(match value {
            [0] => Self::Igp,
            [1] => Self::Egp,
            [2] => Self::Incomplete,
            _ => return None,
        })
    }
}

impl fmt::Display for OriginCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "IGP",
            Self::Egp => "EGP",
            Self::Incomplete => "incomplete",
        })
    }
}

/// Who has made an aggregate (RFC 4271 §5.1.7), printed as `65100 192.0.2.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// Its AS number.
    pub asn: u32,
    /// Its address or identifier.
    pub address: Ipv4Addr,
}

impl Aggregator {
    /// From a value of 6 bytes (two-octet AS numbers) or 8.
    pub(super) fn from_value(value: &[u8]) -> Option<Self> {
        let (asn, &address) = value.split_last_chunk::<4>()?;
        let asn = match *asn {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => return None,
        };
        Some(Self { asn, address: address.into() })
    }
}

impl fmt::Display for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.asn, self.address)
    }
}

/// A community (RFC 1997), printed as `65100:911`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A large community (RFC 8092), printed as `65100:1:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator.
    pub global: u32,
    /// Local data part 1.
    pub local1: u32,
    /// Local data part 2.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// An IPv6 Address Specific Extended Community (RFC 5701 §2), printed as `rt:[2001:db8::1]:7`, with
/// type and subtype in hex in place of `rt` if it is no route target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6ExtendedCommunity(pub [u8; 20]);

impl fmt::Display for Ipv6ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, subkind, address @ .., high, low] = self.0;
        match (kind, subkind) {
            (0, 2) => f.write_str("rt")?,
            _ => write!(f, "0x{kind:02x}{subkind:02x}")?,
        }
        let local = u16::from_be_bytes([high, low]);
        write!(f, ":[{}]:{local}", Ipv6Addr::from(address))
    }
}
