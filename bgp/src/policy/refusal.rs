//! The reasons why a route does not become footprint.

use serde::Serialize;

/// Why a route does not become footprint.
///
/// The order of the variants is the order in which an operator would want to be told: of several
/// reasons against a route the smallest is the one that is kept. What is wrong with the neighbor
/// comes first, then where the route has been, then what its prefix is, then what the operator's
/// lists say. [`AcceptPolicy::verdict`](super::AcceptPolicy::verdict) relies on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Refusal {
    /// An external neighbor without accept rules that keep anything out, under `ebgp_requires_rules` (RFC 8212).
    NoRules,
    /// Our AS number is in the path (RFC 4271 §9.1.2).
    AsLoop,
    /// Our identifier is the ORIGINATOR_ID (RFC 4456 §8).
    OwnOriginator,
    /// Our identifier is in the CLUSTER_LIST (RFC 4456 §8).
    ClusterLoop,
    /// The path of an external neighbor does not begin with its AS, under `enforce_first_as`.
    WrongFirstAs,
    /// It came up from a customer, or past a peer, that must not pass it on (RFC 9234 §5).
    RouteLeak,
    /// The path has an `AS_SET` (RFC 9774), without `allow_as_sets`.
    AsSet,
    /// A private, reserved or documentation AS is in the path, with `allow_bogon_asns` off.
    BogonAsn,
    /// Carries the BLACKHOLE community (RFC 7999).
    Blackhole,
    /// 0.0.0.0/0 or ::/0, without `allow_default_route`.
    DefaultRoute,
    /// Shared address space 100.64.0.0/10 (RFC 6598), without `allow_cgnat`.
    Cgnat,
    /// Other special-purpose space (RFC 6890), without `allow_bogons`.
    Bogon,
    /// In `deny_prefixes`.
    DeniedPrefix,
    /// More specific than `max_length`, or `max_length_ipv6`.
    TooLong,
    /// Less specific than `min_length`, or `min_length_ipv6`.
    TooShort,
    /// Not in `allow_prefixes`.
    NoMatchingPrefix,
    /// Carries one of `communities_none`.
    DeniedCommunity,
    /// Lacks one of `communities_all`.
    MissingCommunity,
    /// Carries none of `communities`.
    NoMatchingCommunity,
    /// Originated by none of `origin_asns`.
    NoMatchingOrigin,
    /// The path matches one of `as_path_none`.
    DeniedAsPath,
    /// The path matches none of `as_path`.
    NoMatchingAsPath,
    /// The path is longer than `max_as_path_length`.
    AsPathTooLong,
}

/// A route of the RIB has 5 bits for its verdict.
const _: () = assert!(Refusal::ALL.len() <= 31);

impl Refusal {
    /// All of them; `ALL[r as usize] == r`.
    pub const ALL: [Self; 23] = [
        Self::NoRules,
        Self::AsLoop,
        Self::OwnOriginator,
        Self::ClusterLoop,
        Self::WrongFirstAs,
        Self::RouteLeak,
        Self::AsSet,
        Self::BogonAsn,
        Self::Blackhole,
        Self::DefaultRoute,
        Self::Cgnat,
        Self::Bogon,
        Self::DeniedPrefix,
        Self::TooLong,
        Self::TooShort,
        Self::NoMatchingPrefix,
        Self::DeniedCommunity,
        Self::MissingCommunity,
        Self::NoMatchingCommunity,
        Self::NoMatchingOrigin,
        Self::DeniedAsPath,
        Self::NoMatchingAsPath,
        Self::AsPathTooLong,
    ];

    /// The name in JSON and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRules => "no_rules",
            Self::AsLoop => "as_loop",
            Self::OwnOriginator => "own_originator",
            Self::ClusterLoop => "cluster_loop",
            Self::WrongFirstAs => "wrong_first_as",
            Self::RouteLeak => "route_leak",
            Self::AsSet => "as_set",
            Self::BogonAsn => "bogon_asn",
            Self::Blackhole => "blackhole",
            Self::DefaultRoute => "default_route",
            Self::Cgnat => "cgnat",
            Self::Bogon => "bogon",
            Self::DeniedPrefix => "denied_prefix",
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::NoMatchingPrefix => "no_matching_prefix",
            Self::DeniedCommunity => "denied_community",
            Self::MissingCommunity => "missing_community",
            Self::NoMatchingCommunity => "no_matching_community",
            Self::NoMatchingOrigin => "no_matching_origin",
            Self::DeniedAsPath => "denied_as_path",
            Self::NoMatchingAsPath => "no_matching_as_path",
            Self::AsPathTooLong => "as_path_too_long",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.name() == name)
    }

    /// What the name stands for, in an operator's words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NoRules => {
                "the neighbor has no accept rule that keeps anything out, and `ebgp_requires_rules` is set"
            }
            Self::AsLoop => "our own AS is in the path",
            Self::OwnOriginator => "it is our own route, reflected (ORIGINATOR_ID)",
            Self::ClusterLoop => "our own identifier is in the CLUSTER_LIST",
            Self::WrongFirstAs => "the path does not begin with the neighbor's AS",
            Self::RouteLeak => "a route leak: its ONLY_TO_CUSTOMER says that it must not come here",
            Self::AsSet => "the path has an AS_SET",
            Self::BogonAsn => "a private, reserved or documentation AS is in the path",
            Self::Blackhole => "it carries the BLACKHOLE community",
            Self::DefaultRoute => "it is the default route",
            Self::Cgnat => "it is shared address space, 100.64.0.0/10",
            Self::Bogon => "it is private, documentation or other special-purpose space",
            Self::DeniedPrefix => "it is in `deny_prefixes`",
            Self::TooLong => "it is more specific than `max_length`",
            Self::TooShort => "it is less specific than `min_length`",
            Self::NoMatchingPrefix => "it is not in `allow_prefixes`",
            Self::DeniedCommunity => "it carries one of `communities_none`",
            Self::MissingCommunity => "it lacks one of `communities_all`",
            Self::NoMatchingCommunity => "it carries none of `communities`",
            Self::NoMatchingOrigin => "its origin AS is not in `origin_asns`",
            Self::DeniedAsPath => "its path matches one of `as_path_none`",
            Self::NoMatchingAsPath => "its path matches none of `as_path`",
            Self::AsPathTooLong => "its path is longer than `max_as_path_length`",
        }
    }
}
