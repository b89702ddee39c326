//! Which routes to list, by what is known of them beside the prefix: pure predicates.

use std::borrow::Borrow;
use std::net::Ipv4Addr;
use std::str::FromStr;

use thiserror::Error;

use crate::policy::Refusal;
use crate::wire::{AsPath, Community, LargeCommunity, PathAttributes, SegmentKind};

/// What a route must be to be listed. All conditions must hold; the default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteConditions {
    /// Accepted or refused.
    pub verdict: Verdict,
    /// Only routes of a lost session.
    pub stale: bool,
    /// Only paths that begin in this AS.
    pub origin_as: Option<u32>,
    /// Only paths with this AS anywhere.
    pub path_as: Option<u32>,
    /// Only routes with this community.
    pub community: Option<CommunityCondition>,
}

/// What became of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Either.
    #[default]
    Any,
    /// It is footprint.
    Accepted,
    /// It is not.
    Refused,
    /// It is not, for this reason.
    RefusedFor(Refusal),
}

/// A community of any of the three kinds, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommunityCondition {
    /// `65100:911` (RFC 1997).
    Standard(Community),
    /// `65100:1:2` (RFC 8092).
    Large(LargeCommunity),
    /// As [`extended_community`] prints it. The same target can have several forms on the wire.
    Extended(String),
}

/// Text that is no community.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no community: `65100:911`, large `65100:1:2`, extended `rt:65100:1`, `soo:65100:1` or `ext:0x` and 16 digits"
)]
pub struct CommunityError(String);

/// A reason that no route is refused for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{found}` is no reason to refuse a route; the reasons are: {known}")]
pub struct ReasonError {
    found: String,
    known: String,
}

impl Verdict {
    /// Refused for the reason with this [name](Refusal::name).
    ///
    /// # Errors
    /// There is no such reason; names those there are.
    pub fn refused_for(name: &str) -> Result<Self, ReasonError> {
        Refusal::named(name).map(Self::RefusedFor).ok_or_else(|| ReasonError {
            found: name.to_owned(),
            known: Refusal::ALL.map(Refusal::name).join(", "),
        })
    }

    fn holds(self, refusal: Option<Refusal>) -> bool {
        match self {
            Self::Any => true,
            Self::Accepted => refusal.is_none(),
            Self::Refused => refusal.is_some(),
            Self::RefusedFor(reason) => refusal == Some(reason),
        }
    }
}

impl RouteConditions {
    /// Whether there is any condition, so that a page can be much shorter than what was looked at.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a route is to be listed. `attributes` are asked for only if they matter.
    #[must_use]
    pub fn hold<A: Borrow<PathAttributes>>(
        &self,
        refusal: Option<Refusal>,
        stale: bool,
        attributes: impl FnOnce() -> Option<A>,
    ) -> bool {
        if !self.verdict.holds(refusal) || (self.stale && !stale) {
            return false;
        }
        let any_attributes = (None, None, &None);
        if (self.origin_as, self.path_as, &self.community) == any_attributes {
            return true;
        }
        attributes().is_some_and(|attributes| self.hold_for(attributes.borrow()))
    }

    fn hold_for(&self, attributes: &PathAttributes) -> bool {
        let path = &attributes.as_path;
        self.origin_as.is_none_or(|asn| begins_in(path, asn))
            && self.path_as.is_none_or(|asn| path.contains(asn))
            && self.community.as_ref().is_none_or(|community| community.is_in(attributes))
    }
}

/// Whether the last AS of the path is `asn`, or one of the last if they are a set.
fn begins_in(path: &AsPath, asn: u32) -> bool {
    let Some(segment) = path.segments.last() else { return false };
    match segment.kind {
        SegmentKind::Sequence | SegmentKind::ConfederationSequence => {
            segment.asns.last() == Some(&asn)
        }
        SegmentKind::Set | SegmentKind::ConfederationSet => segment.asns.contains(&asn),
    }
}

impl CommunityCondition {
    fn is_in(&self, attributes: &PathAttributes) -> bool {
        match self {
            Self::Standard(community) => attributes.communities.contains(community),
            Self::Large(community) => attributes.large_communities.contains(community),
            Self::Extended(text) => {
                attributes.extended_communities.iter().any(|c| extended_community(*c) == *text)
            }
        }
    }
}

impl FromStr for CommunityCondition {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        let parse = || {
            if text.starts_with("ext:0x") || text.starts_with("rt:") || text.starts_with("soo:") {
                return is_extended(text).then(|| Self::Extended(text.to_ascii_lowercase()));
            }
            let numbers: Option<Vec<u32>> = text.split(':').map(|n| n.parse().ok()).collect();
            match *numbers? {
                [high, low] => {
                    let (high, low) = (u16::try_from(high).ok()?, u16::try_from(low).ok()?);
                    Some(Self::Standard(Community(u32::from(high) << 16 | u32::from(low))))
                }
                [global, local1, local2] => {
                    Some(Self::Large(LargeCommunity { global, local1, local2 }))
                }
                _ => None,
            }
        };
        parse().ok_or_else(|| CommunityError(text.to_owned()))
    }
}

fn is_extended(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("ext:0x") {
        return digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let mut parts = text.split(':').skip(1);
    let administrator =
        |part: &str| part.parse::<u32>().is_ok() || part.parse::<Ipv4Addr>().is_ok();
    parts.next().is_some_and(administrator)
        && parts.next().is_some_and(|part| part.parse::<u32>().is_ok())
        && parts.next().is_none()
}

/// An extended community in words: a route target `rt:65100:1` or site of origin `soo:65100:1`
/// (RFC 4360 §4, §5, RFC 5668 §2), else its bytes: `ext:0x4301000000000001`.
#[must_use]
pub fn extended_community(bytes: [u8; 8]) -> String {
    const TWO_OCTET_AS: u8 = 0;
    const IPV4_ADDRESS: u8 = 1;
    const FOUR_OCTET_AS: u8 = 2;
    let [kind, subtype, a, b, c, d, e, f] = bytes;
    let name = match subtype {
        2 => "rt",
        3 => "soo",
        _ => return format!("ext:0x{:016x}", u64::from_be_bytes(bytes)),
    };
    match kind {
        TWO_OCTET_AS => {
            let (asn, number) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
            format!("{name}:{asn}:{number}")
        }
        IPV4_ADDRESS => {
            format!("{name}:{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, f]))
        }
        FOUR_OCTET_AS => {
            let (asn, number) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]));
            format!("{name}:{asn}:{number}")
        }
        _ => format!("ext:0x{:016x}", u64::from_be_bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attributes;
    use crate::wire::AsPathSegment;

    fn holds(
        conditions: &RouteConditions,
        refusal: Option<Refusal>,
        attributes: &PathAttributes,
    ) -> bool {
        conditions.hold(refusal, false, || Some(attributes))
    }

    #[test]
    fn each_condition_is_one_that_a_route_can_fail() {
        let mut route = attributes(&[64500, 64501, 64502]);
        route.communities = vec![Community(65100 << 16 | 911)];
        route.large_communities = vec![LargeCommunity { global: 65100, local1: 1, local2: 2 }];
        route.extended_communities = vec![[0, 2, 0xfe, 0x4c, 0, 0, 0, 7]];
        let base = RouteConditions::default;
        let community = |text: &str| Some(text.parse().unwrap());
        let cases = [
            (base(), true),
            (RouteConditions { verdict: Verdict::Accepted, ..base() }, false),
            (RouteConditions { verdict: Verdict::Refused, ..base() }, true),
            (RouteConditions { verdict: Verdict::RefusedFor(Refusal::TooLong), ..base() }, true),
            (RouteConditions { verdict: Verdict::RefusedFor(Refusal::Bogon), ..base() }, false),
            (RouteConditions { stale: true, ..base() }, false),
            (RouteConditions { origin_as: Some(64502), ..base() }, true),
            (RouteConditions { origin_as: Some(64501), ..base() }, false),
            (RouteConditions { path_as: Some(64501), ..base() }, true),
            (RouteConditions { path_as: Some(64503), ..base() }, false),
            (RouteConditions { community: community("65100:911"), ..base() }, true),
            (RouteConditions { community: community("65100:912"), ..base() }, false),
            (RouteConditions { community: community("65100:1:2"), ..base() }, true),
            (RouteConditions { community: community("65100:1:3"), ..base() }, false),
            (RouteConditions { community: community("rt:65100:7"), ..base() }, true),
            (RouteConditions { community: community("soo:65100:7"), ..base() }, false),
        ];
        for (conditions, expected) in cases {
            assert_eq!(
                holds(&conditions, Some(Refusal::TooLong), &route),
                expected,
                "{conditions:?}"
            );
        }
        let accepted = RouteConditions { verdict: Verdict::Accepted, ..base() };
        assert!(holds(&accepted, None, &route));
        let stale = RouteConditions { stale: true, ..base() };
        assert!(
            stale.hold(None, true, || None::<&PathAttributes>),
            "it does not depend on the attributes"
        );
    }

    #[test]
    fn a_path_begins_in_its_last_as_or_in_each_of_a_set() {
        let mut path = attributes(&[64500]).as_path;
        assert!(begins_in(&path, 64500));
        path.segments.push(AsPathSegment { kind: SegmentKind::Set, asns: vec![1, 2] });
        assert!(begins_in(&path, 1) && begins_in(&path, 2) && !begins_in(&path, 64500));
        assert!(!begins_in(&AsPath::default(), 64500), "of an internal route");
    }

    #[test]
    fn communities_read_as_they_are_printed() {
        for text in ["65100:911", "4200000000:1:2", "rt:192.0.2.1:7", "ext:0x4301000000000001"] {
            assert!(text.parse::<CommunityCondition>().is_ok(), "{text}");
        }
        for text in ["", "65100", "65536:1", "1:2:3:4", "a:b", "rt:1", "rt:1:2:3", "ext:0x1"] {
            let error = text.parse::<CommunityCondition>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no community")), "{error}");
        }
        for (bytes, text) in [
            ([0, 2, 0xfe, 0x4c, 0, 1, 0, 0], "rt:65100:65536"),
            ([2, 2, 0, 1, 0, 0, 0, 7], "rt:65536:7"),
            ([1, 3, 192, 0, 2, 1, 0, 7], "soo:192.0.2.1:7"),
            ([0x43, 1, 0, 0, 0, 0, 0, 1], "ext:0x4301000000000001"),
            ([0x43, 2, 0, 0, 0, 0, 0, 1], "ext:0x4302000000000001"),
        ] {
            assert_eq!(extended_community(bytes), text);
            let condition: CommunityCondition = text.parse().unwrap();
            assert_eq!(condition, CommunityCondition::Extended(text.to_owned()));
        }
    }

    #[test]
    fn a_reason_has_the_name_that_is_shown() {
        assert_eq!(Verdict::refused_for("too_long"), Ok(Verdict::RefusedFor(Refusal::TooLong)));
        let error = Verdict::refused_for("toolong").unwrap_err().to_string();
        assert!(error.starts_with("`toolong` is no reason") && error.contains("too_short"));
    }
}
