//! BMP messages to bytes (RFC 7854 §4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;

use crate::rib::RefusedEver;
use crate::wire::Family;

/// The version of RFC 7854.
const VERSION: u8 = 3;
/// Version, length and type (RFC 7854 §4.1).
const COMMON_HEADER: usize = 6;

/// Bits of a peer's flags (RFC 7854 §4.2).
const PEER_IS_IPV6: u8 = 0x80;
const POST_POLICY: u8 = 0x40;
const TWO_OCTET_AS: u8 = 0x20;

/// Types of information in Initiation and Peer Up (RFC 7854 §4.4).
const SYSTEM_DESCRIPTION: u16 = 1;
const SYSTEM_NAME: u16 = 2;
/// Types of information in Termination (RFC 7854 §4.5).
const TERMINATION_STRING: u16 = 0;
const TERMINATION_REASON: u16 = 1;
/// Reason of a Termination: "session administratively closed".
const ADMINISTRATIVELY_CLOSED: u16 = 0;

/// Statistics (RFC 7854 §4.8).
const PREFIXES_REFUSED: u16 = 0;
const CLUSTER_LIST_LOOPS: u16 = 3;
const AS_PATH_LOOPS: u16 = 4;
const OWN_ORIGINATOR_IDS: u16 = 5;
const ROUTES_IN_ADJ_RIB_IN: u16 = 7;
const ROUTES_OF_FAMILY: u16 = 9;
const UPDATES_TREATED_AS_WITHDRAW: u16 = 11;

/// Whom a message is about: the per-peer header (RFC 7854 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerHeader {
    /// The router's address.
    pub address: IpAddr,
    /// The router's AS number.
    pub asn: u32,
    /// The router's BGP identifier.
    pub bgp_id: Ipv4Addr,
    /// The routes are those that the accept rules let through (flag L).
    pub post_policy: bool,
    /// AS numbers in the UPDATE have two octets (flag A).
    pub two_octet_as: bool,
    /// When it happened; when the route was learned.
    pub at: Timestamp,
}

/// Why a session ended (RFC 7854 §4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason<'a> {
    /// 1: we ended it, with this NOTIFICATION, from its marker on.
    LocalNotification(&'a [u8]),
    /// 2: we ended it without a word; with the number of the event (RFC 4271 §8.1), 0 if there is
    /// none.
    LocalWithout(u16),
    /// 3: the router ended it, with this NOTIFICATION.
    RemoteNotification(&'a [u8]),
    /// 4: the router ended it without a word.
    RemoteWithout,
}

/// What a station is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first message: who speaks (RFC 7854 §4.3).
    Initiation {
        /// What kind of system.
        description: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A session is established (RFC 7854 §4.10).
    PeerUp {
        /// Whose.
        peer: PeerHeader,
        /// Our end of the TCP connection.
        local: SocketAddr,
        /// The router's port.
        remote_port: u16,
        /// Our OPEN, from its marker on.
        sent_open: &'a [u8],
        /// The router's OPEN.
        received_open: &'a [u8],
    },
    /// A session has ended (RFC 7854 §4.9).
    PeerDown {
        /// Whose.
        peer: PeerHeader,
        /// Why.
        reason: DownReason<'a>,
    },
    /// Routes (RFC 7854 §4.6).
    RouteMonitoring {
        /// Whose.
        peer: PeerHeader,
        /// An UPDATE, from its marker on.
        update: &'a [u8],
    },
    /// Counters of a session (RFC 7854 §4.8).
    Statistics {
        /// Whose.
        peer: PeerHeader,
        /// Routes of it that are stored.
        routes: u64,
        /// The same by family.
        by_family: [(Family, u32); 2],
        /// What the accept rules have refused.
        refused: RefusedEver,
        /// UPDATEs of it that were treated as withdraw (RFC 7606).
        treated_as_withdraw: u64,
    },
    /// The last message (RFC 7854 §4.5).
    Termination {
        /// Why, in words.
        why: &'a str,
    },
}

impl Message<'_> {
    fn code(&self) -> u8 {
        match self {
            Self::RouteMonitoring { .. } => 0,
            Self::Statistics { .. } => 1,
            Self::PeerDown { .. } => 2,
            Self::PeerUp { .. } => 3,
            Self::Initiation { .. } => 4,
            Self::Termination { .. } => 5,
        }
    }

    /// Appends the whole message, header included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.push(VERSION);
        out.extend([0; 4]);
        out.push(self.code());
        match *self {
            Self::Initiation { description, name } => {
                push_information(out, SYSTEM_DESCRIPTION, description.as_bytes());
                push_information(out, SYSTEM_NAME, name.as_bytes());
            }
            Self::PeerUp { peer, local, remote_port, sent_open, received_open } => {
                peer.encode(out);
                push_address(out, local.ip());
                out.extend(local.port().to_be_bytes());
                out.extend(remote_port.to_be_bytes());
                out.extend(sent_open);
                out.extend(received_open);
            }
            Self::PeerDown { peer, reason } => {
                peer.encode(out);
                match reason {
                    DownReason::LocalNotification(notification) => {
                        out.push(1);
                        out.extend(notification);
                    }
                    DownReason::LocalWithout(event) => {
                        out.push(2);
                        out.extend(event.to_be_bytes());
                    }
                    DownReason::RemoteNotification(notification) => {
                        out.push(3);
                        out.extend(notification);
                    }
                    DownReason::RemoteWithout => out.push(4),
                }
            }
            Self::RouteMonitoring { peer, update } => {
                peer.encode(out);
                out.extend(update);
            }
            Self::Statistics { peer, routes, by_family, refused, treated_as_withdraw } => {
                peer.encode(out);
                let counters = [
                    (PREFIXES_REFUSED, refused.prefixes),
                    (CLUSTER_LIST_LOOPS, refused.cluster_loops),
                    (AS_PATH_LOOPS, refused.as_loops),
                    (OWN_ORIGINATOR_IDS, refused.own_originators),
                    (UPDATES_TREATED_AS_WITHDRAW, treated_as_withdraw),
                ];
                out.extend(8_u32.to_be_bytes());
                for (kind, count) in counters {
                    // Begins again at 0 when it is full.
                    let count = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(0);
                    push_information(out, kind, &count.to_be_bytes());
                }
                push_information(out, ROUTES_IN_ADJ_RIB_IN, &routes.to_be_bytes());
                for (Family { afi, safi }, routes) in by_family {
                    let [high, low] = afi.to_be_bytes();
                    let mut value = vec![high, low, safi];
                    value.extend(u64::from(routes).to_be_bytes());
                    push_information(out, ROUTES_OF_FAMILY, &value);
                }
            }
            Self::Termination { why } => {
                push_information(out, TERMINATION_STRING, why.as_bytes());
                let reason = ADMINISTRATIVELY_CLOSED.to_be_bytes();
                push_information(out, TERMINATION_REASON, &reason);
            }
        }
        let length = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(begin + 1..begin + COMMON_HEADER - 1) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

impl PeerHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        const GLOBAL_INSTANCE_PEER: u8 = 0;
        const NO_DISTINGUISHER: [u8; 8] = [0; 8];
        let mut flags = 0;
        for (flag, on) in [
            (PEER_IS_IPV6, self.address.is_ipv6()),
            (POST_POLICY, self.post_policy),
            (TWO_OCTET_AS, self.two_octet_as),
        ] {
            flags |= if on { flag } else { 0 };
        }
        out.extend([GLOBAL_INSTANCE_PEER, flags]);
        out.extend(NO_DISTINGUISHER);
        push_address(out, self.address);
        out.extend(self.asn.to_be_bytes());
        out.extend(self.bgp_id.octets());
        out.extend(u32::try_from(self.at.as_second()).unwrap_or(0).to_be_bytes());
        out.extend(u32::try_from(self.at.subsec_microsecond()).unwrap_or(0).to_be_bytes());
    }
}

/// 16 bytes; an IPv4 address is the last four of them.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.extend([0; 12]);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => out.extend(address.octets()),
    }
}

/// Type, length, value.
fn push_information(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(value.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// Each message of RFC 7854 §4, byte by byte.
    #[test]
    fn messages_of_the_rfc() {
        let peer = PeerHeader {
            address: "192.0.2.1".parse().unwrap(),
            asn: 65100,
            bgp_id: Ipv4Addr::new(192, 0, 2, 9),
            post_policy: false,
            two_octet_as: false,
            at: Timestamp::new(0x5f00_0000, 250_000_000).unwrap(),
        };
        let ipv6 = PeerHeader { address: "2001:db8::1".parse().unwrap(), ..peer };
        let post_policy = PeerHeader { post_policy: true, two_octet_as: true, ..peer };
        let who = "00 FLAGS 0000000000000000 000000000000000000000000C0000201 0000FE4C C0000209 5F000000 0003D090";
        let of = |flags: &str| who.replace("FLAGS", flags);
        let open = [1, 2, 3];
        let table = [
            (
                Message::Initiation { description: "mcc", name: "edge-1" },
                "0001 0003 6D6363 0002 0006 656467652D31".to_owned(),
                "04",
            ),
            (
                Message::PeerUp {
                    peer,
                    local: "192.0.2.10:179".parse().unwrap(),
                    remote_port: 40000,
                    sent_open: &open,
                    received_open: &open,
                },
                format!("{} 000000000000000000000000C000020A 00B3 9C40 010203 010203", of("00")),
                "03",
            ),
            (
                Message::RouteMonitoring { peer: post_policy, update: &open },
                format!("{} 010203", of("60")),
                "00",
            ),
            (
                Message::RouteMonitoring { peer: ipv6, update: &open },
                format!("{} 010203", of("80")).replace(
                    "000000000000000000000000C0000201",
                    "20010DB8000000000000000000000001",
                ),
                "00",
            ),
            (
                Message::PeerDown { peer, reason: DownReason::LocalNotification(&open) },
                format!("{} 01 010203", of("00")),
                "02",
            ),
            (
                Message::PeerDown { peer, reason: DownReason::LocalWithout(18) },
                format!("{} 02 0012", of("00")),
                "02",
            ),
            (
                Message::PeerDown { peer, reason: DownReason::RemoteNotification(&open) },
                format!("{} 03 010203", of("00")),
                "02",
            ),
            (
                Message::PeerDown { peer, reason: DownReason::RemoteWithout },
                format!("{} 04", of("00")),
                "02",
            ),
            (
                Message::Statistics {
                    peer,
                    routes: 1_015_306,
                    by_family: [(Family::IPV4_UNICAST, 1_015_305), (Family::IPV6_UNICAST, 1)],
                    refused: RefusedEver {
                        prefixes: (1 << 32) + 7,
                        as_loops: 4,
                        cluster_loops: 2,
                        own_originators: 1,
                    },
                    treated_as_withdraw: 3,
                },
                format!(
                    "{} 00000008 0000 0004 00000007 0003 0004 00000002 0004 0004 00000004 \
                     0005 0004 00000001 000B 0004 00000003 0007 0008 00000000000F7E0A \
                     0009 000B 0001 01 00000000000F7E09 0009 000B 0002 01 0000000000000001",
                    of("00")
                ),
                "01",
            ),
            (
                Message::Termination { why: "bye" },
                "0000 0003 627965 0001 0002 0000".to_owned(),
                "05",
            ),
        ];
        for (message, body, code) in table {
            let body = hex(&body);
            let expected = [hex(&format!("03 {:08X} {code}", body.len() + 6)), body].concat();
            let mut encoded = vec![];
            message.encode(&mut encoded);
            assert_eq!(encoded, expected, "{message:?}");
        }
    }
}
