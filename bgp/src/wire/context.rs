//! How a message is to be read: what the two sides agreed on in their OPENs.

use super::Family;

/// What a session has negotiated, as far as it changes the meaning of bytes.
///
/// The default is the time before the OPENs: no family, two-octet AS numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DecodeContext {
    /// Internal or external neighbor.
    pub neighbor: NeighborKind,
    /// Both sides sent the four-octet capability: AS numbers in `AS_PATH` and `AGGREGATOR` have
    /// four octets, and `AS4_PATH` means nothing (RFC 6793 §4.1).
    pub four_octet_as: bool,
    /// IPv4 unicast, if it was negotiated. It is without a word said when a neighbor sends no
    /// multiprotocol capability at all (RFC 4760 §8).
    pub ipv4_unicast: Option<FamilyOptions>,
    /// IPv6 unicast, if it was negotiated.
    pub ipv6_unicast: Option<FamilyOptions>,
    /// Both sides sent the enhanced route refresh capability: a ROUTE-REFRESH of a wrong length
    /// has an error code of its own (RFC 7313 §5).
    pub enhanced_route_refresh: bool,
}

/// Which side of the border a neighbor is on. Some attributes cross it and some do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum NeighborKind {
    /// Another AS: eBGP.
    #[default]
    External,
    /// The same AS: iBGP.
    Internal,
}

/// What was negotiated for one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FamilyOptions {
    /// The neighbor sends path identifiers (RFC 7911 §3).
    pub add_path: bool,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950 §4). Nothing for IPv6.
    pub ipv6_next_hop: bool,
}

impl DecodeContext {
    /// What was negotiated for `family`; `None` if it was not.
    #[must_use]
    pub fn family(&self, family: Family) -> Option<FamilyOptions> {
        match family {
            Family::IPV4_UNICAST => self.ipv4_unicast,
            Family::IPV6_UNICAST => self.ipv6_unicast,
            Family { .. } => None,
        }
    }
}
