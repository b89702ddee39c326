//! Capabilities: what a speaker says in its OPEN that it can do (RFC 5492).

use bytes::Bytes;
use nom::combinator::{all_consuming, map_opt};
use nom::multi::{length_data, many0};
use nom::number::complete::{be_u8, be_u16, be_u24, be_u32};
use nom::{IResult, Parser};

use super::Family;

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
    /// Any other, and a known one with a value that makes no sense: the RFCs name no error for
    /// that, so it counts as a capability that the speaker does not have.
    Unknown {
        /// Capability code.
        code: u8,
        /// Its value, 255 bytes at most.
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

/// The flags of graceful restart, in the four bits above the restart time.
const RESTARTING: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const RESTART_TIME: u16 = 0x0fff;
/// F: forwarding state was kept.
const FORWARDING: u8 = 0x80;

impl Capability {
    /// The longest long-lived stale time that the wire has room for, in seconds (RFC 9494 §3.1).
    pub const MAX_STALE_TIME: u32 = (1 << 24) - 1;

    /// The capability code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => 1,
            Self::RouteRefresh => 2,
            Self::ExtendedNextHop(_) => 5,
            Self::ExtendedMessage => 6,
            Self::Role(_) => 9,
            Self::GracefulRestart { .. } => 64,
            Self::FourOctetAs(_) => 65,
            Self::AddPath(_) => 69,
            Self::EnhancedRouteRefresh => 70,
            Self::LongLivedGracefulRestart(_) => 71,
            Self::Fqdn { .. } => 73,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// One after the other, each with code and length; `None` if the last one is cut off.
    pub(super) fn decode_list(bytes: &[u8]) -> Option<Vec<Self>> {
        let list = whole(many0((be_u8, length_data(be_u8))), bytes)?;
        Some(list.into_iter().map(|(code, value)| Self::decode(code, value)).collect())
    }

    /// From code and value.
    pub(super) fn decode(code: u8, value: &[u8]) -> Self {
        Self::decode_known(code, value)
            .unwrap_or_else(|| Self::Unknown { code, value: Bytes::copy_from_slice(value) })
    }

    /// `None` if the code is unknown or the value is malformed.
    fn decode_known(code: u8, value: &[u8]) -> Option<Self> {
        Some(match code {
            1 => {
                let multiprotocol = (be_u16, be_u8, be_u8);
                let (afi, _reserved, safi) = whole(multiprotocol, value)?;
                Self::Multiprotocol(Family { afi, safi })
            }
            2 if value.is_empty() => Self::RouteRefresh,
            5 => {
                // The SAFI has two octets in this one (RFC 8950 §4).
                let family = map_opt((be_u16, be_u16), |(afi, safi)| {
                    Some(Family { afi, safi: u8::try_from(safi).ok()? })
                });
                Self::ExtendedNextHop(whole(many0((family, be_u16)), value)?)
            }
            6 if value.is_empty() => Self::ExtendedMessage,
            9 => Self::Role(whole(be_u8, value)?),
            64 => {
                let forwarding = be_u8.map(|flags: u8| flags & FORWARDING != 0);
                let (head, families) = whole((be_u16, many0((family, forwarding))), value)?;
                Self::GracefulRestart {
                    restarting: head & RESTARTING != 0,
                    notification: head & NOTIFICATION != 0,
                    restart_time: head & RESTART_TIME,
                    families,
                }
            }
            65 => Self::FourOctetAs(whole(be_u32, value)?),
            69 => {
                Self::AddPath(whole(many0((family, map_opt(be_u8, AddPathMode::decode))), value)?)
            }
            70 if value.is_empty() => Self::EnhancedRouteRefresh,
            71 => {
                let forwarding = be_u8.map(|flags: u8| flags & FORWARDING != 0);
                let entry = (family, forwarding, be_u24)
                    .map(|(family, forwarding, seconds)| (family, forwarding, seconds));
                Self::LongLivedGracefulRestart(whole(many0(entry), value)?)
            }
            73 => {
                let (host, domain) = whole((length_data(be_u8), length_data(be_u8)), value)?;
                let name = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
                Self::Fqdn { host: name(host)?, domain: name(domain)? }
            }
            _ => return None,
        })
    }

    /// Appends code, length and value. `false`, and nothing is appended, if the value is longer
    /// than the 255 bytes that a capability can have.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> bool {
        let value = self.value();
        let Ok(length) = u8::try_from(value.len()) else {
            return false;
        };
        out.extend([self.code(), length]);
        out.extend(value);
        true
    }

    fn value(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Multiprotocol(Family { afi, safi }) => {
                out.extend(afi.to_be_bytes());
                out.extend([0, *safi]);
            }
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::ExtendedNextHop(families) => {
                for (family, next_hop_afi) in families {
                    out.extend(family.afi.to_be_bytes());
                    out.extend([0, family.safi]);
                    out.extend(next_hop_afi.to_be_bytes());
                }
            }
            Self::Role(role) => out.push(*role),
            Self::GracefulRestart { restarting, notification, restart_time, families } => {
                let mut head = restart_time & RESTART_TIME;
                head |= if *restarting { RESTARTING } else { 0 };
                head |= if *notification { NOTIFICATION } else { 0 };
                out.extend(head.to_be_bytes());
                for (family, forwarding) in families {
                    put_family(&mut out, *family);
                    out.push(if *forwarding { FORWARDING } else { 0 });
                }
            }
            Self::FourOctetAs(asn) => out.extend(asn.to_be_bytes()),
            Self::AddPath(families) => {
                for (family, mode) in families {
                    put_family(&mut out, *family);
                    out.push(mode.code());
                }
            }
            Self::LongLivedGracefulRestart(families) => {
                for (family, forwarding, seconds) in families {
                    put_family(&mut out, *family);
                    out.push(if *forwarding { FORWARDING } else { 0 });
                    let [_, seconds @ ..] = seconds.to_be_bytes();
                    out.extend(seconds);
                }
            }
            Self::Fqdn { host, domain } => {
                for name in [host, domain] {
                    // Over 255 bytes the whole value is too long, and `encode` says so.
                    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                    out.extend(name.bytes());
                }
            }
            Self::Unknown { value, .. } => out.extend(value),
        }
        out
    }
}

impl AddPathMode {
    const fn decode(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Receive,
            2 => Self::Send,
            3 => Self::Both,
            _ => return None,
        })
    }

    const fn code(self) -> u8 {
        match self {
            Self::Receive => 1,
            Self::Send => 2,
            Self::Both => 3,
        }
    }
}

/// The value if `parser` takes all of it.
fn whole<'a, P>(parser: P, value: &'a [u8]) -> Option<P::Output>
where
    P: Parser<&'a [u8], Error = ()>,
{
    all_consuming(parser).parse(value).ok().map(|(_, output)| output)
}

fn family(input: &[u8]) -> IResult<&[u8], Family, ()> {
    (be_u16, be_u8).map(|(afi, safi)| Family { afi, safi }).parse(input)
}

fn put_family(out: &mut Vec<u8>, family: Family) {
    out.extend(family.afi.to_be_bytes());
    out.push(family.safi);
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Family = Family::IPV4_UNICAST;
    const V6: Family = Family::IPV6_UNICAST;

    /// Each capability with its bytes, written down by hand from its RFC.
    #[test]
    fn capabilities_are_what_the_rfcs_say() {
        let cases: [(&[u8], Capability); 14] = [
            (&[1, 4, 0, 1, 0, 1], Capability::Multiprotocol(V4)),
            (&[1, 4, 0, 2, 0, 1], Capability::Multiprotocol(V6)),
            (&[2, 0], Capability::RouteRefresh),
            (&[5, 6, 0, 1, 0, 1, 0, 2], Capability::ExtendedNextHop(vec![(V4, 2)])),
            (&[6, 0], Capability::ExtendedMessage),
            (&[9, 1, 3], Capability::Role(3)),
            (
                &[64, 6, 0xc0, 0x78, 0, 1, 1, 0x80],
                Capability::GracefulRestart {
                    restarting: true,
                    notification: true,
                    restart_time: 120,
                    families: vec![(V4, true)],
                },
            ),
            (
                &[64, 2, 0x0f, 0xff],
                Capability::GracefulRestart {
                    restarting: false,
                    notification: false,
                    restart_time: 4095,
                    families: vec![],
                },
            ),
            (&[65, 4, 0, 1, 0, 0], Capability::FourOctetAs(65536)),
            (
                &[69, 8, 0, 1, 1, 1, 0, 2, 1, 3],
                Capability::AddPath(vec![(V4, AddPathMode::Receive), (V6, AddPathMode::Both)]),
            ),
            (&[70, 0], Capability::EnhancedRouteRefresh),
            (
                &[71, 7, 0, 1, 1, 0x80, 1, 0, 0],
                Capability::LongLivedGracefulRestart(vec![(V4, true, 65536)]),
            ),
            (b"\x49\x06\x02r1\x02ex", Capability::Fqdn { host: "r1".into(), domain: "ex".into() }),
            (&[128, 0], Capability::Unknown { code: 128, value: Bytes::new() }),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Capability::decode(bytes[0], &bytes[2..]), expected);
            let mut out = Vec::new();
            assert!(expected.encode(&mut out));
            assert_eq!(out, bytes, "{expected:?}");
        }
    }

    #[test]
    fn a_malformed_capability_is_one_that_is_not_there() {
        let cases: [(u8, &[u8], &str); 11] = [
            (1, &[0, 1, 0], "multiprotocol of three bytes"),
            (2, &[0], "route refresh with a value"),
            (5, &[0, 1, 1, 1, 0, 2], "extended next hop with a SAFI over 255"),
            (6, &[0], "extended message with a value"),
            (9, &[], "role without a value"),
            (64, &[0], "graceful restart of one byte"),
            (64, &[0, 0, 0, 1, 1], "graceful restart with half a family"),
            (65, &[0, 1], "four-octet AS of two bytes"),
            (69, &[0, 1, 1, 4], "ADD-PATH mode 4 (RFC 7911 §4)"),
            (71, &[0, 1, 1, 0, 0, 0], "long-lived graceful restart of six bytes"),
            (73, b"\x05abc", "host name beyond the end"),
        ];
        for (code, value, what) in cases {
            let expected = Capability::Unknown { code, value: Bytes::copy_from_slice(value) };
            assert_eq!(Capability::decode(code, value), expected, "{what}");
        }
    }

    #[test]
    fn a_value_over_255_bytes_is_not_encoded() {
        let mut out = Vec::new();
        assert!(
            !Capability::Fqdn { host: "h".repeat(255), domain: String::new() }.encode(&mut out)
        );
        assert!(out.is_empty());
    }
}
