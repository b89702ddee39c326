//! Which routes to list, by what is known of them beside the prefix: pure predicates.

use std::borrow::Borrow;

use mcc_config::CommunityRule;
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
    pub community: Option<CommunityRule>,
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
        if (self.origin_as, self.path_as, self.community) == (None, None, None) {
            return true;
        }
        attributes().is_some_and(|attributes| self.hold_for(attributes.borrow()))
    }

    fn hold_for(&self, attributes: &PathAttributes) -> bool {
        let path = &attributes.as_path;
        self.origin_as.is_none_or(|asn| begins_in(path, asn))
            && self.path_as.is_none_or(|asn| path.contains(asn))
            && self.community.is_none_or(|community| carries(attributes, community))
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

fn carries(attributes: &PathAttributes, community: CommunityRule) -> bool {
    match community {
        CommunityRule::Standard(value) => attributes.communities.contains(&Community(value)),
        CommunityRule::Large([global, local1, local2]) => {
            let community = LargeCommunity { global, local1, local2 };
            attributes.large_communities.contains(&community)
        }
        CommunityRule::Extended(bytes) => attributes.extended_communities.contains(&bytes),
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
        route.communities = vec![Community(65100 << 16 | 911)].into();
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
        path.segments.push(AsPathSegment { kind: SegmentKind::Set, asns: vec![1, 2].into() });
        assert!(begins_in(&path, 1) && begins_in(&path, 2) && !begins_in(&path, 64500));
        assert!(!begins_in(&AsPath::default(), 64500), "of an internal route");
    }

    #[test]
    fn a_reason_has_the_name_that_is_shown() {
        assert_eq!(Verdict::refused_for("too_long"), Ok(Verdict::RefusedFor(Refusal::TooLong)));
        let error = Verdict::refused_for("toolong").unwrap_err().to_string();
        assert!(error.starts_with("`toolong` is no reason") && error.contains("too_short"));
    }
}
