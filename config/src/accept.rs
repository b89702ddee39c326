//! Which prefixes of a neighbor become footprint, as the operator writes it.
//!
//! [`AcceptRules`] holds the entries of lists as they stand in the file or came over the API, so
//! that one bad entry is a problem with a place and not the end of reading; [`AcceptRules::lists`]
//! gives them read.

mod as_path_pattern;
mod asn_range;
mod community;
mod contradictions;
mod prefix_rule;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ImpossibleValue;
pub use as_path_pattern::AsPathPattern;
pub use asn_range::{AsnEntry, AsnRange};
pub use community::CommunityRule;
pub use prefix_rule::PrefixRule;

/// An entry that cannot be read: what would be accepted in its place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct RuleError(pub(crate) Cow<'static, str>);

/// Which prefixes of a neighbor become footprint: `[bgp.neighbor.accept]`.
///
/// A route must pass every rule; a list that is empty says nothing. Of several reasons against a
/// route one is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcceptRules {
    /// A route must carry at least one of these; entries as in [`CommunityRule`].
    pub communities: Vec<String>,
    /// A route must carry all of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities_all: Vec<String>,
    /// A route must carry none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities_none: Vec<String>,
    /// A prefix must be named by one of these; entries as in [`PrefixRule`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_prefixes: Vec<String>,
    /// A prefix must be named by none of these, whatever `allow_prefixes` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_prefixes: Vec<String>,
    /// The AS that originates a route must be one of these: the last of its path (RFC 6811 §2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origin_asns: Vec<AsnEntry>,
    /// The path must match at least one of these; entries as in [`AsPathPattern`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub as_path: Vec<String>,
    /// The path must match none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub as_path_none: Vec<String>,
    /// Longest path, counted as routers do: with each prepended AS, a set as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_as_path_length: Option<u32>,
    /// Longest IPv4 prefix, in bits: 0 to 32; 24 if the operator does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u8>,
    /// Shortest IPv4 prefix, in bits: 0 to 32; 8 if the operator does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u8>,
    /// Longest IPv6 prefix, in bits: 0 to 128; 48 if the operator does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length_ipv6: Option<u8>,
    /// Shortest IPv6 prefix, in bits: 0 to 128; 16 if the operator does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length_ipv6: Option<u8>,
    /// The path of an external neighbor must begin with its AS number (RFC 4271 §6.3). Route
    /// servers leave theirs out (RFC 7947 §2.2.2.1).
    pub enforce_first_as: bool,
    /// Accepts paths with an `AS_SET` (deprecated by RFC 9774).
    pub allow_as_sets: bool,
    /// Accepts paths with AS numbers that nobody has on the internet: private, reserved, for
    /// documentation, `AS_TRANS`.
    pub allow_bogon_asns: bool,
    /// Accepts 0.0.0.0/0 (and ::/0), whatever `min_length` says.
    pub allow_default_route: bool,
    /// Accepts special-purpose space (RFC 6890): private, documentation, …, shared.
    pub allow_bogons: bool,
    /// Accepts shared address space, 100.64.0.0/10 (RFC 6598), for clients behind CGNAT.
    pub allow_cgnat: bool,
}

/// Shortest and longest prefixes where the operator does not say.
const USUAL_IPV4: (u8, u8) = (8, 24);
const USUAL_IPV6: (u8, u8) = (16, 48);

impl Default for AcceptRules {
    fn default() -> Self {
        Self {
            communities: Vec::new(),
            communities_all: Vec::new(),
            communities_none: Vec::new(),
            allow_prefixes: Vec::new(),
            deny_prefixes: Vec::new(),
            origin_asns: Vec::new(),
            as_path: Vec::new(),
            as_path_none: Vec::new(),
            max_as_path_length: None,
            max_length: None,
            min_length: None,
            max_length_ipv6: None,
            min_length_ipv6: None,
            enforce_first_as: false,
            allow_as_sets: false,
            allow_bogon_asns: true,
            allow_default_route: false,
            allow_bogons: false,
            allow_cgnat: false,
        }
    }
}

/// The lists of [`AcceptRules`], read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptLists {
    /// Any of these.
    pub communities: Vec<CommunityRule>,
    /// All of these.
    pub communities_all: Vec<CommunityRule>,
    /// None of these.
    pub communities_none: Vec<CommunityRule>,
    /// Any of these.
    pub allow_prefixes: Vec<PrefixRule>,
    /// None of these.
    pub deny_prefixes: Vec<PrefixRule>,
    /// Any of these.
    pub origin_asns: Vec<AsnRange>,
    /// Any of these.
    pub as_path: Vec<AsPathPattern>,
    /// None of these.
    pub as_path_none: Vec<AsPathPattern>,
}

impl AcceptRules {
    /// The lists, ready for use.
    ///
    /// # Errors
    /// Every value that is impossible; at least one.
    pub fn lists(&self) -> Result<AcceptLists, Vec<ImpossibleValue>> {
        let (lists, wrong) = self.check();
        if wrong.is_empty() { Ok(lists) } else { Err(wrong) }
    }

    /// The lengths that IPv4 prefixes may have.
    #[must_use]
    pub fn ipv4_lengths(&self) -> RangeInclusive<u8> {
        self.min_length.unwrap_or(USUAL_IPV4.0)..=self.max_length.unwrap_or(USUAL_IPV4.1)
    }

    /// The lengths that IPv6 prefixes may have.
    #[must_use]
    pub fn ipv6_lengths(&self) -> RangeInclusive<u8> {
        self.min_length_ipv6.unwrap_or(USUAL_IPV6.0)..=self.max_length_ipv6.unwrap_or(USUAL_IPV6.1)
    }

    /// Whether the operator has written a rule that keeps something out, be it one that holds without
    /// being written. What only lets more in (`allow_default_route`, a `max_length` of 32) is none, and
    /// neither is an empty list.
    #[must_use]
    pub fn keep_something_out(&self) -> bool {
        // Named one by one, so that a new rule cannot be forgotten here.
        let Self {
            communities,
            communities_all,
            communities_none,
            allow_prefixes,
            deny_prefixes,
            origin_asns,
            as_path,
            as_path_none,
            max_as_path_length,
            max_length,
            min_length,
            max_length_ipv6,
            min_length_ipv6,
            enforce_first_as,
            allow_bogon_asns,
            allow_as_sets: _,
            allow_default_route: _,
            allow_bogons: _,
            allow_cgnat: _,
        } = self;
        let lists = [
            communities,
            communities_all,
            communities_none,
            allow_prefixes,
            deny_prefixes,
            as_path,
            as_path_none,
        ];
        lists.into_iter().any(|list| !list.is_empty())
            || !origin_asns.is_empty()
            || max_as_path_length.is_some()
            || max_length.is_some_and(|most| most < 32)
            || max_length_ipv6.is_some_and(|most| most < 128)
            || [min_length, min_length_ipv6].into_iter().flatten().any(|least| *least > 0)
            || *enforce_first_as
            || !allow_bogon_asns
    }

    /// Every value that cannot be read, or that no route could ever pass.
    #[must_use]
    pub fn impossible_values(&self) -> Vec<ImpossibleValue> {
        self.check().1
    }

    /// The entries for IPv6 prefixes: key below the neighbor, position, entry.
    pub fn ipv6_prefixes(&self) -> impl Iterator<Item = (&'static str, usize, &str)> {
        let lists = [
            ("accept.allow_prefixes", &self.allow_prefixes),
            ("accept.deny_prefixes", &self.deny_prefixes),
        ];
        lists.into_iter().flat_map(|(key, list)| {
            let entries = list.iter().enumerate();
            entries.filter_map(move |(index, entry)| {
                let is_ipv6 = entry.parse::<PrefixRule>().ok()?.prefix().addr().is_ipv6();
                is_ipv6.then_some((key, index, entry.as_str()))
            })
        })
    }

    /// The lists without the entries that cannot be read, and what is wrong.
    fn check(&self) -> (AcceptLists, Vec<ImpossibleValue>) {
        let mut wrong = Vec::new();
        let lists = AcceptLists {
            communities: read("accept.communities", &self.communities, &mut wrong),
            communities_all: read("accept.communities_all", &self.communities_all, &mut wrong),
            communities_none: read("accept.communities_none", &self.communities_none, &mut wrong),
            allow_prefixes: read("accept.allow_prefixes", &self.allow_prefixes, &mut wrong),
            deny_prefixes: read("accept.deny_prefixes", &self.deny_prefixes, &mut wrong),
            origin_asns: read("accept.origin_asns", &self.origin_asns, &mut wrong),
            as_path: read("accept.as_path", &self.as_path, &mut wrong),
            as_path_none: read("accept.as_path_none", &self.as_path_none, &mut wrong),
        };
        // With an entry missing, positions are not those of the operator's lists.
        if wrong.is_empty() {
            wrong = contradictions::all(self, &lists);
        }
        (lists, wrong)
    }
}

fn read<T: FromStr<Err = RuleError>>(
    key: &'static str,
    entries: &[impl ToString],
    wrong: &mut Vec<ImpossibleValue>,
) -> Vec<T> {
    let mut list = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let found = entry.to_string();
        match found.parse() {
            Ok(rule) => list.push(rule),
            Err(RuleError(accepted)) => {
                let index = Some(index);
                wrong.push(ImpossibleValue { key, index, found, accepted, beside: None });
            }
        }
    }
    list
}

#[cfg(test)]
mod tests;
