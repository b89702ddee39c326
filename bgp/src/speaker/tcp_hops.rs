//! How far a connection may reach: the TTL that is sent, and GTSM (RFC 5082).
//!
//! Every router on the way takes one off the TTL (IPv6: the hop limit), and nobody can send more
//! than 255. So a segment that arrives with 255 comes from next door, whatever its source address
//! says. Linux drops what arrives with less than `IP_MINTTL` in silence: if only one side has the
//! setting, neither hears anything from the other. What a listener gets is the matter of
//! [`ttl_filter`](super::ttl_filter).
#![expect(unsafe_code, reason = "setsockopt with IP_MINTTL has no safe wrapper")]

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use socket2::Socket;

const LONGEST: u8 = 255;

/// What the operator says of the distance to a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hops {
    /// The TTL is the system's, mostly 64: enough for any neighbor of an ordinary network. RFC 4271
    /// does not ask for 1 between ASes, and a node is often several hops from the router, on a
    /// loopback address or behind a firewall.
    System,
    /// `multihop`: the TTL to send with.
    Multihop(u8),
    /// `ttl_security`: the neighbor is this many hops away at most, 1 to 254. Sends 255.
    Security(u8),
}

impl Hops {
    pub(super) fn of(multihop: Option<u8>, ttl_security: Option<u8>) -> Self {
        match (ttl_security, multihop) {
            (Some(hops), _) => Self::Security(hops),
            (None, Some(ttl)) => Self::Multihop(ttl),
            (None, None) => Self::System,
        }
    }

    /// The least TTL that a segment of the neighbor may come with; `None`: any.
    pub(super) fn least_ttl(self) -> Option<u8> {
        match self {
            Self::System | Self::Multihop(_) => None,
            // A direct neighbor's segments come with 255, those of the next hop with 254.
            Self::Security(hops) => Some((LONGEST - hops).saturating_add(1)),
        }
    }

    /// Sets a socket up that talks to `neighbor`: before it connects, or right after it was
    /// accepted.
    pub(super) fn apply(self, socket: &Socket, neighbor: IpAddr) -> io::Result<()> {
        match self {
            Self::System => {}
            Self::Multihop(ttl) => send_with(socket, neighbor, ttl)?,
            Self::Security(_) => send_with(socket, neighbor, LONGEST)?,
        }
        self.least_ttl().map_or(Ok(()), |least| drop_below(socket, neighbor, least))
    }
}

/// Makes a listener on `address` answer with a TTL of 255: a neighbor with GTSM drops a SYN/ACK
/// that has less, before there is a socket of its own to set up.
pub(super) fn answer_with_the_longest(listener: &Socket, address: IpAddr) -> io::Result<()> {
    send_with(listener, address, LONGEST)
}

fn send_with(socket: &Socket, neighbor: IpAddr, ttl: u8) -> io::Result<()> {
    match neighbor {
        IpAddr::V4(_) => socket.set_ttl_v4(ttl.into()),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()),
    }
}

fn drop_below(socket: &Socket, neighbor: IpAddr, ttl: u8) -> io::Result<()> {
    let (level, name) = match neighbor {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MINTTL),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
    };
    let ttl = libc::c_int::from(ttl);
    let length = libc::socklen_t::try_from(size_of_val(&ttl)).unwrap_or_default();
    // SAFETY: the file descriptor is open as long as `socket` is borrowed; the pointer and the
    // length describe `ttl`, which outlives the call, and the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const ttl).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
