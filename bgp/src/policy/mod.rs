//! Which prefixes of a neighbor become footprint, and why the others do not.
//!
//! A refused route is not lost: the RIB keeps it with its [`Refusal`], so that an operator who
//! misses a prefix finds it and the reason beside it.

mod refusal;
mod special_purpose;

use std::net::Ipv4Addr;

use ipnet::IpNet;
use mcc_config::{AcceptRules, BgpRole};
use thiserror::Error;

use crate::wire::{Community, PathAttributes};
pub use refusal::Refusal;

/// "Discard traffic to this prefix" (RFC 7999): never a prefix to serve clients in.
const BLACKHOLE: Community = Community(0xffff_029a);

/// Bounds of an IPv6 prefix's length; those of the rules are for IPv4.
const IPV6_LENGTHS: std::ops::RangeInclusive<u8> = 16..=48;

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

/// Who the two sides of a session are, as far as a route can tell that it does not belong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Our AS number in this session.
    pub local_asn: u32,
    /// The neighbor's AS number.
    pub remote_asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Our role, if the operator has given us one (RFC 9234). Without meaning in iBGP.
    pub role: Option<BgpRole>,
}

impl Identity {
    /// Whether the neighbor is of another AS: eBGP.
    #[must_use]
    pub const fn is_external(&self) -> bool {
        self.local_asn != self.remote_asn
    }
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

    /// Whether a route becomes footprint: the smaller of what its attributes and its prefix say.
    ///
    /// # Errors
    /// The reason why not.
    pub fn verdict(&self, prefix: &IpNet, attributes: &PathAttributes) -> Result<(), Refusal> {
        let refusals = [self.refused_by_attributes(attributes), self.refused_by_prefix(prefix)];
        refusals.into_iter().flatten().min().map_or(Ok(()), Err)
    }

    /// The smallest reason against every route with these attributes, whatever its prefix.
    #[must_use]
    pub fn refused_by_attributes(&self, attributes: &PathAttributes) -> Option<Refusal> {
        let ours = self.identity.router_id;
        if attributes.as_path.contains(self.identity.local_asn) {
            return Some(Refusal::AsLoop);
        }
        if attributes.originator_id == Some(ours) {
            return Some(Refusal::OwnOriginator);
        }
        if attributes.cluster_list.contains(&ours) {
            return Some(Refusal::ClusterLoop);
        }
        // Not a fault of the message: the route is kept, so that it can be listed (RFC 9774 §3).
        if attributes.as_path.segments.iter().any(|segment| segment.kind.is_set()) {
            return Some(Refusal::AsSet);
        }
        if attributes.communities.contains(&BLACKHOLE) {
            return Some(Refusal::Blackhole);
        }
        let is_tagged = || attributes.communities.iter().any(|c| self.communities.contains(c));
        (!self.communities.is_empty() && !is_tagged()).then_some(Refusal::NoMatchingCommunity)
    }

    /// The smallest reason against this prefix, whatever its attributes.
    #[must_use]
    pub fn refused_by_prefix(&self, prefix: &IpNet) -> Option<Refusal> {
        if prefix.prefix_len() == 0 {
            return (!self.allow_default_route).then_some(Refusal::DefaultRoute);
        }
        self.refused_by_space(prefix).or_else(|| self.refused_by_length(prefix))
    }

    fn refused_by_space(&self, prefix: &IpNet) -> Option<Refusal> {
        special_purpose::refusal(prefix).filter(|_| !self.allow_bogons)
    }

    fn refused_by_length(&self, prefix: &IpNet) -> Option<Refusal> {
        let bounds = match prefix {
            IpNet::V4(_) => &self.ipv4_lengths,
            IpNet::V6(_) => &IPV6_LENGTHS,
        };
        match prefix.prefix_len() {
            length if length > *bounds.end() => Some(Refusal::TooLong),
            length if length < *bounds.start() => Some(Refusal::TooShort),
            _ => None,
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
