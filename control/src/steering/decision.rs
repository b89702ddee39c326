//! The answer to "which node serves this client", with the rules that led to it.

use std::net::IpAddr;

use ipnet::IpNet;
use mcc_config::NodeName;
use serde::{Deserialize, Serialize};

use super::nodes::{NodeId, NodeStates, PassedOver, Standing};
use super::rank::{self, Contender};
use super::sets::{Entry, RouteRank};

/// A rule of steering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A longer prefix covers the client than any other.
    LongestPrefix,
    /// All nodes of the longer prefixes are passed over; this prefix is the next.
    CoveringPrefix,
    /// No other node has the prefix and may be sent clients.
    OnlyCandidate,
    /// Entered by hand goes before learned.
    Manual,
    /// The AS path is shorter.
    AsPathLength,
    /// The MED is lower, among routes from the same neighbor AS.
    Med,
    /// Alike in all routes say; the larger capacity tipped the rendezvous hash.
    Weight,
    /// Alike in all routes say; the rendezvous hash of the client's /24 or /48 shared them out.
    Rendezvous,
}

/// The bare answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The node that serves the client.
    pub node: NodeId,
    /// The prefix that it was found by.
    pub prefix: IpNet,
}

/// The answer with its whole story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whom it is about.
    pub client: IpAddr,
    /// The node that serves the client; none if no node does.
    pub chosen: Option<Chosen>,
    /// All nodes that could, best first; the first is the chosen one.
    pub candidates: Vec<Candidate>,
    /// The nodes that have a prefix which covers the client and are not sent clients.
    pub passed_over: Vec<Passed>,
}

/// The node that serves the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// Its name.
    pub node: NodeName,
    /// Where to send the client.
    pub address: IpAddr,
    /// The prefix that it was found by.
    pub prefix: IpNet,
    /// Why this prefix, then why this node.
    #[serde(rename = "reason")]
    pub reasons: Vec<Reason>,
}

/// A node that could serve the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its name.
    pub node: NodeName,
    /// Where clients would be sent.
    pub address: IpAddr,
    /// Its longest prefix that covers the client, or a shorter one.
    pub prefix: IpNet,
    /// How the node has the prefix.
    #[serde(flatten)]
    pub route: RouteRank,
    /// Of the first: the rule by which it goes before the second. Of each other: the rule by which
    /// it comes after the one before it.
    pub reason: Reason,
}

/// A node that has a prefix of the client and is not sent clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Its name.
    pub node: NodeName,
    /// The prefix that covers the client.
    pub prefix: IpNet,
    /// How the node has the prefix.
    #[serde(flatten)]
    pub route: RouteRank,
    /// Why it is passed over.
    pub reason: PassedOver,
}

/// Decides among the nodes of all prefixes that cover the client, longest first. Nodes that are
/// not in `nodes` have just been deleted; they do not count.
pub(super) fn decide(
    client: IpAddr,
    covering: &[(IpNet, &[Entry])],
    nodes: &NodeStates,
) -> Decision {
    let mut decision =
        Decision { client, chosen: None, candidates: Vec::new(), passed_over: Vec::new() };
    for (prefix, entries) in covering {
        let contenders = rank::rank(client, entries, nodes);
        let mut first_reason = Reason::LongestPrefix;
        if decision.chosen.is_none() {
            first_reason = why_first(&contenders);
            // Whoever is passed over by now has a longer prefix.
            let why_prefix = if decision.passed_over.is_empty() {
                Reason::LongestPrefix
            } else {
                Reason::CoveringPrefix
            };
            decision.chosen = contenders.first().map(|first| Chosen {
                node: first.known.state.name.clone(),
                address: first.known.state.address,
                prefix: *prefix,
                reasons: vec![why_prefix, first_reason],
            });
        }
        decision.candidates.extend(candidates(*prefix, &contenders, first_reason));
        decision.passed_over.extend(passed_over(*prefix, entries, nodes));
    }
    decision
}

fn why_first(contenders: &[Contender<'_>]) -> Reason {
    match contenders {
        [first, second, ..] => first.compare(second).1,
        _ => Reason::OnlyCandidate,
    }
}

/// `first` is the reason of the first; those of the others are in the order itself.
fn candidates(prefix: IpNet, contenders: &[Contender<'_>], first: Reason) -> Vec<Candidate> {
    let reasons =
        contenders.windows(2).filter_map(|pair| Some(pair.first()?.compare(pair.last()?).1));
    (contenders.iter().zip(std::iter::once(first).chain(reasons)))
        .map(|(contender, reason)| Candidate {
            node: contender.known.state.name.clone(),
            address: contender.known.state.address,
            prefix,
            route: contender.entry.rank,
            reason,
        })
        .collect()
}

fn passed_over(
    prefix: IpNet,
    entries: &[Entry],
    nodes: &NodeStates,
) -> impl Iterator<Item = Passed> {
    entries.iter().filter_map(move |entry| {
        let state = nodes.get(entry.node)?;
        match state.standing {
            Standing::Eligible => None,
            Standing::PassedOver(reason) => {
                Some(Passed { node: state.name.clone(), prefix, route: entry.rank, reason })
            }
        }
    })
}
