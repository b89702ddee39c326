//! An entry of `communities`, `communities_all` or `communities_none`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::RuleError;

/// A community of any of the three kinds, or the name of a well-known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommunityRule {
    /// RFC 1997: `65100:911`, or a name such as `no-export`.
    Standard(u32),
    /// RFC 8092: `65100:1:2`.
    Large([u32; 3]),
    /// RFC 4360: `rt:65100:1`, `soo:192.0.2.1:7`, or all eight bytes as `ext:0x0002fe4c00000001`.
    Extended([u8; 8]),
}

impl CommunityRule {
    /// "Discard traffic to this prefix" (RFC 7999).
    pub const BLACKHOLE: Self = Self::Standard(0xffff_029a);
}

/// IANA, "Border Gateway Protocol (BGP) Well-known Communities".
const WELL_KNOWN: [(&str, u32); 11] = [
    ("graceful-shutdown", 0xffff_0000),   // RFC 8326
    ("accept-own", 0xffff_0001),          // RFC 7611
    ("llgr-stale", 0xffff_0006),          // RFC 9494
    ("no-llgr", 0xffff_0007),             // RFC 9494
    ("accept-own-nexthop", 0xffff_0008),  // draft-agrewal-idr-accept-own-nexthop
    ("standby-pe", 0xffff_0009),          // RFC 9026
    ("blackhole", 0xffff_029a),           // RFC 7999
    ("no-export", 0xffff_ff01),           // RFC 1997
    ("no-advertise", 0xffff_ff02),        // RFC 1997
    ("no-export-subconfed", 0xffff_ff03), // RFC 1997
    ("no-peer", 0xffff_ff04),             // RFC 3765
];

const FORM: &str = "`65100:911`, a large one such as `65100:1:2`, an extended one such as \
                    `rt:65100:1`, `soo:65100:1` or `ext:0x` and 16 hex digits, or a name: \
                    graceful-shutdown, accept-own, llgr-stale, no-llgr, accept-own-nexthop, \
                    standby-pe, blackhole, no-export, no-advertise, no-export-subconfed, no-peer";

/// Subtypes of the extended communities with a name of their own (RFC 4360 §4, §5).
const SUBTYPES: [(&str, u8); 2] = [("rt", 0x02), ("soo", 0x03)];

/// Types, which say how the six bytes after the subtype are split.
const TWO_OCTET_AS: u8 = 0x00; // RFC 4360 §3.1
const IPV4_ADDRESS: u8 = 0x01; // RFC 4360 §3.2
const FOUR_OCTET_AS: u8 = 0x02; // RFC 5668

impl FromStr for CommunityRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let well_known = WELL_KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, value)) = well_known {
            return Ok(Self::Standard(*value));
        }
        let subtype = |kind: &str| SUBTYPES.iter().find(|(name, _)| *name == kind);
        let parts: Vec<_> = text.split(':').collect();
        let rule = match *parts {
            ["ext", hex] => extended_of_hex(hex),
            [high, low] => standard(high, low),
            [first, second, third] => match subtype(first) {
                Some((_, subtype)) => extended(*subtype, second, third),
                None => large(first, second, third),
            },
            _ => None,
        };
        rule.ok_or_else(|| RuleError(FORM.into()))
    }
}

/// Digits only: `parse` alone would take a sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn standard(high: &str, low: &str) -> Option<CommunityRule> {
    let (high, low): (u16, u16) = (number(high)?, number(low)?);
    Some(CommunityRule::Standard(u32::from(high) << 16 | u32::from(low)))
}

fn large(global: &str, local1: &str, local2: &str) -> Option<CommunityRule> {
    Some(CommunityRule::Large([number(global)?, number(local1)?, number(local2)?]))
}

/// As routers encode it: by the size of the AS number, whatever the session's AS numbers are.
fn extended(subtype: u8, administrator: &str, value: &str) -> Option<CommunityRule> {
    let (kind, [a, b, c, d, e, f]) = if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        (IPV4_ADDRESS, join(address.octets(), number::<u16>(value)?.to_be_bytes()))
    } else if let Some(asn) = number::<u16>(administrator) {
        let ([a, b], [c, d, e, f]) = (asn.to_be_bytes(), number::<u32>(value)?.to_be_bytes());
        (TWO_OCTET_AS, [a, b, c, d, e, f])
    } else {
        let asn = number::<u32>(administrator)?;
        (FOUR_OCTET_AS, join(asn.to_be_bytes(), number::<u16>(value)?.to_be_bytes()))
    };
    Some(CommunityRule::Extended([kind, subtype, a, b, c, d, e, f]))
}

fn join([a, b, c, d]: [u8; 4], [e, f]: [u8; 2]) -> [u8; 6] {
    [a, b, c, d, e, f]
}

fn extended_of_hex(text: &str) -> Option<CommunityRule> {
    let digits = text.strip_prefix("0x")?;
    let is_whole = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let value = is_whole.then(|| u64::from_str_radix(digits, 16).ok())??;
    Some(CommunityRule::Extended(value.to_be_bytes()))
}

impl fmt::Display for CommunityRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Standard(value) => match WELL_KNOWN.iter().find(|(_, known)| *known == value) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{}:{}", value >> 16, value & 0xffff),
            },
            Self::Large([global, local1, local2]) => write!(f, "{global}:{local1}:{local2}"),
            Self::Extended(bytes) => extended_text(f, bytes),
        }
    }
}

fn extended_text(f: &mut fmt::Formatter<'_>, bytes: [u8; 8]) -> fmt::Result {
    let [kind, subtype, a, b, c, d, e, g] = bytes;
    let (four, two) = ([a, b, c, d], u16::from_be_bytes([e, g]));
    match (kind, SUBTYPES.iter().find(|(_, known)| *known == subtype)) {
        (TWO_OCTET_AS, Some((name, _))) => {
            let (asn, value) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g]));
            write!(f, "{name}:{asn}:{value}")
        }
        (IPV4_ADDRESS, Some((name, _))) => write!(f, "{name}:{}:{two}", Ipv4Addr::from(four)),
        // A small number would be read back as one of two octets.
        (FOUR_OCTET_AS, Some((name, _))) if four > [0, 0, 0xff, 0xff] => {
            write!(f, "{name}:{}:{two}", u32::from_be_bytes(four))
        }
        _ => write!(f, "ext:0x{:016x}", u64::from_be_bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_read_and_printed() {
        use CommunityRule::{Extended, Large, Standard};
        for (text, expected) in [
            ("65100:911", Standard(65100 << 16 | 911)),
            ("0:0", Standard(0)),
            ("no-export", Standard(0xffff_ff01)),
            ("blackhole", CommunityRule::BLACKHOLE),
            ("graceful-shutdown", Standard(0xffff_0000)),
            ("4200000000:1:4294967295", Large([4_200_000_000, 1, u32::MAX])),
            ("rt:65100:70000", Extended([0, 2, 0xfe, 0x4c, 0, 1, 0x11, 0x70])),
            ("soo:65100:1", Extended([0, 3, 0xfe, 0x4c, 0, 0, 0, 1])),
            ("rt:192.0.2.1:7", Extended([1, 2, 192, 0, 2, 1, 0, 7])),
            ("rt:70000:7", Extended([2, 2, 0, 1, 0x11, 0x70, 0, 7])),
            ("ext:0x4006000000001f40", Extended([0x40, 6, 0, 0, 0, 0, 0x1f, 0x40])),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!("65535:666".parse(), Ok(CommunityRule::BLACKHOLE));
        assert_eq!("NO-EXPORT".parse(), Ok(Standard(0xffff_ff01)));
    }

    #[test]
    fn what_is_no_community_is_an_error() {
        for bad in [
            "",
            "65100",
            "65536:1",
            "1:65536",
            "a:b",
            "1:2:3:4",
            "65100:-1",
            "+1:2",
            "1:",
            ":1",
            "1:2:4294967296",
            "rt:65100",
            "rt:65100:4294967296",
            "rt:70000:65536",
            "rt:192.0.2.1:65536",
            "ext:1",
            "ext:0x12",
            "ext:0x+006000000001f40",
            "no-exports",
            " 1:2",
        ] {
            assert_eq!(bad.parse::<CommunityRule>(), Err(RuleError(FORM.into())), "{bad}");
        }
    }

    #[test]
    fn the_error_names_every_well_known_community() {
        for (name, _) in WELL_KNOWN {
            assert!(FORM.contains(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            rule in prop_oneof![
                any::<u32>().prop_map(CommunityRule::Standard),
                any::<[u32; 3]>().prop_map(CommunityRule::Large),
                any::<[u8; 8]>().prop_map(CommunityRule::Extended),
                (0..4_u8, 0..5_u8, any::<[u8; 6]>()).prop_map(|(kind, subtype, [a, b, c, d, e, f])| {
                    CommunityRule::Extended([kind, subtype, a & 1, b & 1, c, d, e, f])
                }),
            ]
        ) {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9:.+-]{0,24}|.*") {
            let _ = text.parse::<CommunityRule>();
        }
    }
}
