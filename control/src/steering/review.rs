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
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::feed::{Change, RouteAttributes, RouteRecord};
    use crate::steering::{Index, NodeState, Standing};

    const OURS: NodeId = NodeId(1);
    const THEIRS: NodeId = NodeId(2);

    fn record(prefix: &str) -> RouteRecord {
        let attributes = Arc::new(RouteAttributes::manual());
        RouteRecord { prefix: prefix.parse().unwrap(), attributes }
    }

    /// The review of our footprint beside another operator's.
    fn review_of(ours: &[&str], theirs: &[&str]) -> Review {
        let mut index = Index::new();
        for (node, prefixes) in [(OURS, ours), (THEIRS, theirs)] {
            let changes: Vec<_> = prefixes.iter().map(|p| Change::Present(record(p))).collect();
            index.apply(node, &changes);
        }
        index.publish(Instant::now());
        let nodes = [(OURS, "ours"), (THEIRS, "theirs")].map(|(id, name)| {
            let state = NodeState {
                name: name.parse().unwrap(),
                address: IpAddr::from([11, 0, 0, 1]),
                standing: Standing::Eligible,
                weight: NonZeroU32::MIN,
            };
            (id, state)
        });
        let footprint = ours.iter().map(|p| record(p)).collect();
        let steering = index.steering();
        review(
            &footprint,
            &ReviewRules::default(),
            &steering.view(),
            &nodes.into_iter().collect(),
            |node| node == THEIRS,
        )
    }

    #[test]
    fn says_what_is_wrong_with_whom() {
        let found = |ours: &[&str], theirs: &[&str]| -> Vec<String> {
            (review_of(ours, theirs).findings.iter())
                .map(|f| match &f.concern {
                    Concern::Bogon { space, .. } => format!("{} bogon {space}", f.prefix),
                    Concern::CoversTooMuch { min_length } => {
                        format!("{} shorter than {min_length}", f.prefix)
                    }
                    Concern::Overlap { node, with } => format!("{} {node} {with}", f.prefix),
                })
                .collect()
        };
        assert_eq!(found(&["11.0.0.0/8", "2a00::/19"], &["12.0.0.0/8"]), [""; 0]);
        assert_eq!(found(&["0.0.0.0/0"], &[]), ["0.0.0.0/0 shorter than 8"]);
        assert_eq!(found(&["2a00::/18"], &[]), ["2a00::/18 shorter than 19"]);
        assert_eq!(found(&["10.1.0.0/16"], &[]), ["10.1.0.0/16 bogon 10.0.0.0/8"]);
        assert_eq!(found(&["198.16.0.0/12"], &[]), ["198.16.0.0/12 bogon 198.18.0.0/15"]);
        assert_eq!(
            found(&["11.0.0.0/16", "11.9.0.0/16"], &["11.0.0.0/8", "11.0.0.0/16", "11.0.7.0/24"]),
            [
                "11.0.0.0/16 theirs 11.0.0.0/8",
                "11.0.0.0/16 theirs 11.0.0.0/16",
                "11.0.0.0/16 theirs 11.0.7.0/24",
                "11.9.0.0/16 theirs 11.0.0.0/8",
            ]
        );
    }

    #[test]
    fn the_state_is_in_the_portals_words() {
        let word = |ours: &[&str]| serde_json::to_value(review_of(ours, &[]).state()).unwrap();
        assert_eq!(word(&["11.0.0.0/16"]), "Valid");
        assert_eq!(word(&["10.0.0.0/16"]), "Attention required");
        assert_eq!(
            serde_json::to_value(review_of(&["0.0.0.0/0"], &[])).unwrap(),
            serde_json::json!({
                "findings": [{"prefix": "0.0.0.0/0", "rule": "covers_too_much", "min_length": 8}],
                "truncated": false
            })
        );
    }

    #[test]
    fn lists_a_hundred_findings_and_says_that_there_are_more() {
        let prefixes: Vec<String> = (0..101).map(|n| format!("10.0.{n}.0/24")).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let review = review_of(&prefixes, &[]);
        assert_eq!((review.findings.len(), review.truncated), (100, true));
        let review = review_of(&prefixes[..100], &[]);
        assert_eq!((review.findings.len(), review.truncated), (100, false));
    }

    #[test]
    fn every_bogon_is_a_prefix() {
        for (space, _) in BOGONS {
            let net: IpNet = space.parse().unwrap();
            assert_eq!(net, net.trunc());
        }
    }
}
