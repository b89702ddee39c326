//! OPEN and its capabilities.

use std::net::Ipv4Addr;

use bytes::Bytes;

use super::Family;

/// An OPEN message (RFC 4271 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The speaker's AS number: from the four-octet capability if there is one (RFC 6793),
    /// else from the header field.
    pub asn: u32,
    /// Proposed hold time in seconds, 0 or at least 3.
    pub hold_time: u16,
    /// BGP identifier, not 0 (RFC 6286).
    pub bgp_id: Ipv4Addr,
    /// Capabilities in the order sent (RFC 5492).
    pub capabilities: Vec<Capability>,
}

/// A capability (RFC 5492). Those that this speaker has no use for are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// 1: multiprotocol extensions (RFC 4760).
    Multiprotocol(Family),
    /// 2: route refresh (RFC 2918).
    RouteRefresh,
    /// 5: extended next hop encoding (RFC 8950): (family, AFI of the next hop).
    ExtendedNextHop(Vec<(Family, u16)>),
    /// 6: extended messages (RFC 8654).
    ExtendedMessage,
    /// 9: BGP role (RFC 9234).
    Role(u8),
    /// 64: graceful restart (RFC 4724, RFC 8538).
    GracefulRestart {
        /// R: the speaker has restarted.
        restarting: bool,
        /// N: NOTIFICATION keeps routes too (RFC 8538).
        notification: bool,
        /// Restart time in seconds, 0 to 4095.
        restart_time: u16,
        /// Families, each with F: forwarding state was kept.
        families: Vec<(Family, bool)>,
    },
    /// 65: four-octet AS numbers (RFC 6793), with the speaker's AS.
    FourOctetAs(u32),
    /// 69: ADD-PATH (RFC 7911).
    AddPath(Vec<(Family, AddPathMode)>),
    /// 70: enhanced route refresh (RFC 7313).
    EnhancedRouteRefresh,
    /// 71: long-lived graceful restart (RFC 9494): (family, F bit, stale time in seconds).
    LongLivedGracefulRestart(Vec<(Family, bool, u32)>),
    /// 73: host and domain name (draft-walton-bgp-hostname-capability).
    Fqdn {
        /// Host name.
        host: String,
        /// Domain name.
        domain: String,
    },
    /// Any other.
    Unknown {
        /// Capability code.
        code: u8,
        /// Its value.
        value: Bytes,
    },
}

/// Which way a speaker can do ADD-PATH (RFC 7911 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddPathMode {
    /// 1
    Receive,
    /// 2
    Send,
    /// 3
    Both,
}
