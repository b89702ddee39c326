//! Which prefixes of a neighbor become footprint, and why the others do not.
//!
//! A refused route is not lost: the RIB keeps it with its [`Refusal`], so that an operator who
//! misses a prefix finds it and the reason beside it.

mod special_purpose;

use std::net::Ipv4Addr;

use ipnet::IpNet;
use mcc_config::AcceptRules;
use serde::Serialize;
use thiserror::Error;

use crate::wire::{Community, PathAttributes};

/// "Discard traffic to this prefix" (RFC 7999): never a prefix to serve clients in.
const BLACKHOLE: Community = Community(0xffff_029a);

/// Bounds of an IPv6 prefix's length; those of the rules are for IPv4.
const IPV6_LENGTHS: std::ops::RangeInclusive<u8> = 16..=48;

/// Why a route does not become footprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Refusal {
    /// Our AS number is in the path (RFC 4271 §9.1.2).
    AsLoop,
    /// Our identifier is the ORIGINATOR_ID (RFC 4456 §8).
    OwnOriginator,
    /// 0.0.0.0/0 or ::/0, without `allow_default_route`.
    DefaultRoute,
    /// Carries the BLACKHOLE community (RFC 7999).
    Blackhole,
    /// Shared address space 100.64.0.0/10 (RFC 6598), without `allow_bogons`.
    Cgnat,
    /// Other special-purpose space (RFC 6890), without `allow_bogons`.
    Bogon,
    /// More specific than `max_length`.
    TooLong,
    /// Less specific than `min_length`.
    TooShort,
    /// Carries none of `communities`.
    NoMatchingCommunity,
}

impl Refusal {
    /// All of them; `ALL[r as usize] == r`.
    pub const ALL: [Self; 9] = [
        Self::AsLoop,
        Self::OwnOriginator,
        Self::DefaultRoute,
        Self::Blackhole,
        Self::Cgnat,
        Self::Bogon,
        Self::TooLong,
        Self::TooShort,
        Self::NoMatchingCommunity,
    ];

    /// The name in JSON and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AsLoop => "as_loop",
            Self::OwnOriginator => "own_originator",
            Self::DefaultRoute => "default_route",
            Self::Blackhole => "blackhole",
            Self::Cgnat => "cgnat",
            Self::Bogon => "bogon",
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::NoMatchingCommunity => "no_matching_community",
        }
    }
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// An entry of `communities`.
    #[error("accept.communities: `{0}` is no community: two numbers up to 65535 like `65100:911`")]
    Community(String),
    /// `min_length` and `max_length` exclude everything.
    #[error("accept: min_length {min} is longer than max_length {max}, so nothing is accepted")]
    Lengths {
        /// `min_length`
        min: u8,
        /// `max_length`
        max: u8,
    },
}

/// Who we are in the session: what a looped route has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Our AS number in this session.
    pub local_asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
}

/// The accept rules of one neighbor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptPolicy {
    identity: Identity,
    communities: Vec<Community>,
    ipv4_lengths: std::ops::RangeInclusive<u8>,
    allow_default_route: bool,
    allow_bogons: bool,
}

impl AcceptPolicy {
    /// Reads the rules.
    ///
    /// # Errors
    /// Names the rule that cannot be read, and what would be right.
    pub fn from_rules(rules: &AcceptRules, identity: Identity) -> Result<Self, PolicyError> {
        let (min, max) = (rules.min_length, rules.max_length);
        if min > max {
            return Err(PolicyError::Lengths { min, max });
        }
        Ok(Self {
            identity,
            communities: rules
                .communities
                .iter()
                .map(|text| parse_community(text))
                .collect::<Result<_, _>>()?,
            ipv4_lengths: min..=max,
            allow_default_route: rules.allow_default_route,
            allow_bogons: rules.allow_bogons,
        })
    }

    /// Whether a route becomes footprint. Of several reasons against it the one is named that an
    /// operator would look at first: loops, then what the prefix is, then its length, then tags.
    ///
    /// # Errors
    /// The reason why not.
    pub fn verdict(&self, prefix: &IpNet, attributes: &PathAttributes) -> Result<(), Refusal> {
        if attributes.as_path.contains(self.identity.local_asn) {
            return Err(Refusal::AsLoop);
        }
        if attributes.originator_id == Some(self.identity.router_id) {
            return Err(Refusal::OwnOriginator);
        }
        if attributes.communities.contains(&BLACKHOLE) {
            return Err(Refusal::Blackhole);
        }
        if prefix.prefix_len() == 0 {
            if !self.allow_default_route {
                return Err(Refusal::DefaultRoute);
            }
        } else {
            self.check_space(prefix)?;
            self.check_length(prefix)?;
        }
        let is_tagged = || attributes.communities.iter().any(|c| self.communities.contains(c));
        if self.communities.is_empty() || is_tagged() {
            Ok(())
        } else {
            Err(Refusal::NoMatchingCommunity)
        }
    }

    fn check_space(&self, prefix: &IpNet) -> Result<(), Refusal> {
        match special_purpose::refusal(prefix) {
            Some(refusal) if !self.allow_bogons => Err(refusal),
            _ => Ok(()),
        }
    }

    fn check_length(&self, prefix: &IpNet) -> Result<(), Refusal> {
        let bounds = match prefix {
            IpNet::V4(_) => &self.ipv4_lengths,
            IpNet::V6(_) => &IPV6_LENGTHS,
        };
        match prefix.prefix_len() {
            length if length > *bounds.end() => Err(Refusal::TooLong),
            length if length < *bounds.start() => Err(Refusal::TooShort),
            _ => Ok(()),
        }
    }
}

fn parse_community(text: &str) -> Result<Community, PolicyError> {
    let parse = || {
        let (high, low) = text.split_once(':')?;
        let (high, low): (u16, u16) = (high.parse().ok()?, low.parse().ok()?);
        Some(Community(u32::from(high) << 16 | u32::from(low)))
    };
    parse().ok_or_else(|| PolicyError::Community(text.to_owned()))
}

#[cfg(test)]
mod tests;
