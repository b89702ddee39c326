//! The review of a footprint by rule, at once: is it what its operator can mean?
//!
//! A review warns; it takes no prefix away. What a node must not accept at all is refused by its
//! neighbors' accept rules before it gets here.

use ipnet::IpNet;
use mcc_config::NodeName;
use serde::Serialize;

use super::index::View;
use super::nodes::{NodeId, NodeStates};
use crate::feed::RouteTable;

/// Findings beyond these are not listed: the first ones tell what is wrong.
const FINDINGS_MAX: usize = 100;

/// Space that no client on the internet has: the special-purpose registries (RFC 6890) where they
/// say "not globally reachable", and what is not unicast.
const BOGONS: [(&str, &str); 22] = [
    ("0.0.0.0/8", "this network (RFC 791)"),
    ("10.0.0.0/8", "private (RFC 1918)"),
    ("100.64.0.0/10", "shared between provider and subscriber (RFC 6598)"),
    ("127.0.0.0/8", "loopback (RFC 1122)"),
    ("169.254.0.0/16", "link-local (RFC 3927)"),
    ("172.16.0.0/12", "private (RFC 1918)"),
    ("192.0.0.0/24", "protocol assignments (RFC 6890)"),
    ("192.0.2.0/24", "documentation (RFC 5737)"),
    ("192.168.0.0/16", "private (RFC 1918)"),
    ("198.18.0.0/15", "benchmarking (RFC 2544)"),
    ("198.51.100.0/24", "documentation (RFC 5737)"),
    ("203.0.113.0/24", "documentation (RFC 5737)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("240.0.0.0/4", "reserved (RFC 1112)"),
    ("::/8", "unspecified, loopback and mapped addresses (RFC 4291)"),
    ("100::/64", "discard-only (RFC 6666)"),
    ("2001:2::/48", "benchmarking (RFC 5180)"),
    ("2001:db8::/32", "documentation (RFC 3849)"),
    ("3fff::/20", "documentation (RFC 9637)"),
    ("fc00::/7", "unique local (RFC 4193)"),
    ("fe80::/10", "link-local (RFC 4291)"),
    ("ff00::/8", "multicast (RFC 4291)"),
];

/// How much one prefix may cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewRules {
    /// Shortest IPv4 prefix, in bits.
    pub min_length_v4: u8,
    /// Shortest IPv6 prefix, in bits.
    pub min_length_v6: u8,
}

impl Default for ReviewRules {
    /// Nobody holds more than a /8 of IPv4 in one piece, or was given more than a /19 of IPv6.
    fn default() -> Self {
        Self { min_length_v4: 8, min_length_v6: 19 }
    }
}

/// The outcome, in the portal's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ReviewState {
    /// Nothing was found.
    #[serde(rename = "Valid")]
    Valid,
    /// A person should look at the findings.
    #[serde(rename = "Attention required")]
    AttentionRequired,
}

/// What was found in a footprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Up to 100 findings, in order of prefix.
    pub findings: Vec<Finding>,
    /// There are more than are listed.
    pub truncated: bool,
}

impl Review {
    /// The outcome.
    #[must_use]
    pub fn state(&self) -> ReviewState {
        match self.findings.is_empty() {
            true => ReviewState::Valid,
            false => ReviewState::AttentionRequired,
        }
    }
}

/// A prefix that a person should look at, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The prefix of the footprint.
    pub prefix: IpNet,
    /// Why.
    #[serde(flatten)]
    pub concern: Concern,
}

/// What can be wrong with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Concern {
    /// It lies in, or covers, space that no client on the internet has.
    Bogon {
        /// That space.
        space: IpNet,
        /// What the space is for, and who says so.
        purpose: &'static str,
    },
    /// It is shorter than any one operator's space.
    CoversTooMuch {
        /// The shortest length that would pass.
        min_length: u8,
    },
    /// A node of another operator has clients in it too.
    Overlap {
        /// That node.
        node: NodeName,
        /// The other node's prefix.
        with: IpNet,
    },
}

/// Reviews a footprint. `other_operator` says of a node whether it belongs to someone else than
/// the footprint does.
#[must_use]
pub fn review(
    footprint: &RouteTable,
    rules: &ReviewRules,
    view: &View,
    nodes: &NodeStates,
    other_operator: impl Fn(NodeId) -> bool,
) -> Review {
    let bogons: Vec<(IpNet, &'static str)> =
        BOGONS.iter().filter_map(|(space, why)| Some((space.parse().ok()?, *why))).collect();
    let mut concerns = footprint.iter().flat_map(|(prefix, _)| {
        let too_much = covers_too_much(prefix, rules);
        // A prefix that covers nearly everything covers the bogons too; once is enough.
        let bogon = match too_much {
            Some(_) => None,
            None => bogon(prefix, &bogons),
        };
        let overlaps =
            view.overlapping(prefix).filter(|(_, node)| other_operator(*node)).filter_map(
                |(with, node)| Some(Concern::Overlap { node: nodes.get(node)?.name.clone(), with }),
            );
        (too_much.into_iter().chain(bogon).chain(overlaps))
            .map(move |concern| Finding { prefix, concern })
    });
    let findings = concerns.by_ref().take(FINDINGS_MAX).collect();
    Review { findings, truncated: concerns.next().is_some() }
}

fn covers_too_much(prefix: IpNet, rules: &ReviewRules) -> Option<Concern> {
    let min_length = match prefix {
        IpNet::V4(_) => rules.min_length_v4,
        IpNet::V6(_) => rules.min_length_v6,
    };
    (prefix.prefix_len() < min_length).then_some(Concern::CoversTooMuch { min_length })
}

fn bogon(prefix: IpNet, bogons: &[(IpNet, &'static str)]) -> Option<Concern> {
    (bogons.iter())
        .find(|(space, _)| space.contains(&prefix) || prefix.contains(space))
        .map(|(space, purpose)| Concern::Bogon { space: *space, purpose })
}

#[cfg(test)]
mod tests {}
