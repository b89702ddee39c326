//! Address space that no client on the Internet has (RFC 6890 and the IANA registries it began).
//!
//! A prefix is refused if it lies inside such a block. One that merely covers a block is not: a /8
//! with a small reserved corner still has clients in it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Refusal;

const CGNAT: Ipv4Net = v4([100, 64, 0, 0], 10);

const IPV4: [Ipv4Net; 14] = [
    v4([0, 0, 0, 0], 8),       // this network (RFC 791)
    v4([10, 0, 0, 0], 8),      // private (RFC 1918)
    v4([127, 0, 0, 0], 8),     // loopback (RFC 1122)
    v4([169, 254, 0, 0], 16),  // link local (RFC 3927)
    v4([172, 16, 0, 0], 12),   // private (RFC 1918)
    v4([192, 0, 0, 0], 24),    // IETF protocol assignments (RFC 6890)
    v4([192, 0, 2, 0], 24),    // documentation (RFC 5737)
    v4([192, 88, 99, 0], 24),  // 6to4 relay anycast, deprecated (RFC 7526)
    v4([192, 168, 0, 0], 16),  // private (RFC 1918)
    v4([198, 18, 0, 0], 15),   // benchmarking (RFC 2544)
    v4([198, 51, 100, 0], 24), // documentation (RFC 5737)
    v4([203, 0, 113, 0], 24),  // documentation (RFC 5737)
    v4([224, 0, 0, 0], 4),     // multicast (RFC 5771)
    v4([240, 0, 0, 0], 4),     // reserved (RFC 1112)
];

const IPV6: [Ipv6Net; 11] = [
    v6([0, 0], 8),           // unspecified, loopback, IPv4-mapped (RFC 4291)
    v6([0x64, 0xff9b], 32),  // IPv4/IPv6 translation (RFC 6052, RFC 8215)
    v6([0x100, 0], 32),      // discard only (RFC 6666)
    v6([0x2001, 0], 23),     // IETF protocol assignments (RFC 2928)
    v6([0x2001, 0xdb8], 32), // documentation (RFC 3849)
    v6([0x2002, 0], 16),     // 6to4 (RFC 3056)
    v6([0x3fff, 0], 20),     // documentation (RFC 9637)
    v6([0x5f00, 0], 16),     // segment routing SIDs (RFC 9602)
    v6([0xfc00, 0], 7),      // unique local (RFC 4193)
    v6([0xfe80, 0], 10),     // link local (RFC 4291)
    v6([0xff00, 0], 8),      // multicast (RFC 4291)
];

/// Whether any IPv4 block has addresses with this first octet. Few have, and each of a million prefixes
/// is asked for.
const fn is_worth_a_look(octet: u8) -> bool {
    matches!(octet, 0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..=255)
}

/// The reason against a prefix inside special-purpose space.
pub(super) fn refusal(prefix: &IpNet) -> Option<Refusal> {
    let is_bogon = match prefix {
        IpNet::V4(prefix) if !is_worth_a_look(prefix.addr().octets()[0]) => return None,
        IpNet::V4(prefix) if CGNAT.contains(prefix) => return Some(Refusal::Cgnat),
        IpNet::V4(prefix) => IPV4.iter().any(|block| block.contains(prefix)),
        IpNet::V6(prefix) => IPV6.iter().any(|block| block.contains(prefix)),
    };
    is_bogon.then_some(Refusal::Bogon)
}

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cut_leads_past_no_block() {
        for octet in 0..=255 {
            let first = Ipv4Net::new(Ipv4Addr::new(octet, 0, 0, 0), 8).unwrap();
            let touches = |block: &Ipv4Net| block.contains(&first) || first.contains(block);
            assert_eq!(is_worth_a_look(octet), IPV4.iter().chain([&CGNAT]).any(touches), "{octet}");
        }
    }
}
