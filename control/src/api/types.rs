//! The bodies of requests and replies, in one place for the server and every client of it.
//!
//! What an operator sends must not carry unknown keys: a typing mistake is an error, not a setting
//! that is silently ignored. What a node sends may: nodes are updated before and after the control
//! plane.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use mcc_config::{HostName, Neighbor, NodeName, Secret};
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::feed::{Position, Source};
pub use crate::health::NodeState;
pub use crate::node::NodeSettings;
use crate::steering::{Decision, RouteRank};
pub use crate::steering::{PassedOver, Reason};

/// `PATCH /v1/nodes/{name}`: a merge patch (RFC 7396). A key that is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodePatch {
    /// The address that clients are sent to.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub address: Option<IpAddr>,
    /// The egress limit; `null` removes it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub max_egress_mbps: Option<Option<u32>>,
    /// All CIDR blocks; `null` removes them.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "null_is_empty")]
    pub cidrs: Option<Vec<IpNet>>,
    /// All neighbors; `null` removes them.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "null_is_empty")]
    pub neighbors: Option<Vec<Neighbor>>,
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u32>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// Refuses `null` for what a node cannot be without.
fn not_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<IpAddr>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// Takes `null` for a list as RFC 7396 means it: the list is emptied.
fn null_is_empty<'de, D, T>(value: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(value).map(|list| Some(list.unwrap_or_default()))
}

impl NodePatch {
    /// `settings` with the patch applied.
    #[must_use]
    pub fn apply(self, settings: &NodeSettings) -> NodeSettings {
        NodeSettings {
            name: settings.name.clone(),
            address: self.address.unwrap_or(settings.address),
            max_egress_mbps: self.max_egress_mbps.unwrap_or(settings.max_egress_mbps),
            cidrs: self.cidrs.unwrap_or_else(|| settings.cidrs.clone()),
            neighbors: self.neighbors.unwrap_or_else(|| settings.neighbors.clone()),
        }
        .with_passwords_of(settings)
    }
}

/// A node as `GET /v1/nodes/{name}` shows it. Passwords are hidden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// The address that clients are sent to.
    pub address: IpAddr,
    /// Upper bound of what is sent to clients, in megabits per second.
    pub max_egress_mbps: Option<u32>,
    /// Client prefixes entered by hand.
    pub cidrs: Vec<IpNet>,
    /// BGP neighbors.
    pub neighbors: Vec<Neighbor>,
    /// Grows by one with each change of the settings.
    pub generation: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// In the portal's words.
    pub state: NodeState,
    /// Why it is in that state.
    pub reason: String,
    /// What it has advertised.
    pub footprint: Footprint,
    /// When the last heartbeat came.
    pub heard_at: Option<Timestamp>,
    /// What it said: sessions, drives, traffic.
    pub heartbeat: Option<Heartbeat>,
}

/// What a node has advertised, and what was entered by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Prefixes that clients are steered by, each counted once.
    pub prefixes: usize,
    /// What no client is steered by, though it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// The advertisement that was committed last.
    pub feed: Option<Position>,
}

/// Prefixes of a node that the control plane holds and does not steer by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// How many.
    pub prefixes: usize,
    /// Why, and what to do about it.
    pub reason: String,
}

impl LeftOut {
    /// IPv6 prefixes of a control plane without IPv6; `None` if there are none.
    #[must_use]
    pub fn ipv6_off(prefixes: usize) -> Option<Self> {
        let reason = "IPv6 is off in the control plane: `ipv6 = true` under [control] in its file switches it on";
        (prefixes > 0).then(|| Self { prefixes, reason: reason.to_owned() })
    }
}

/// What a node learns of an advertisement that was taken: 200 to `PUT` and `POST /v1/node/routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// What is held now.
    #[serde(flatten)]
    pub position: Position,
    /// What no client is steered by, though it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// `GET /v1/nodes`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeList {
    /// By name.
    pub nodes: Vec<Node>,
}

/// `POST /v1/nodes/{name}/enrolment`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enrolment {
    /// The key, shown this once.
    pub key: Secret,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// What to run on the node.
    pub command: String,
}

/// `POST /v1/node/register`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Register {
    /// The enrolment key.
    pub key: Secret,
}

/// What a node gets for its enrolment key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    /// The name that the node was created with.
    pub node: NodeName,
    /// Its bearer token, shown this once.
    pub token: Secret,
}

/// `POST /v1/node/heartbeat`, every [`HeartbeatAnswer::interval_seconds`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Version of the program.
    pub version: String,
    /// The node was told to drain on its own admin interface.
    pub draining: bool,
    /// Its own `/readyz`.
    pub ready: bool,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// The generation of the settings that it runs; 0 for none.
    pub config_generation: u64,
    /// The advertisement that was acknowledged last.
    pub feed: Option<Position>,
    /// What it has moved since it started.
    pub traffic: Traffic,
    /// Its drives.
    pub drives: Vec<DriveReport>,
    /// Its BGP sessions.
    pub sessions: Vec<SessionReport>,
}

/// Counters of a node, in bytes since it started, and the rate of the moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Sent to clients.
    pub egress_bytes: u64,
    /// Of that, without asking an origin.
    pub hit_bytes: u64,
    /// Fetched from origins.
    pub fill_bytes: u64,
    /// Sent to clients over the last interval, in megabits (10^6 bits) per second.
    pub egress_mbps: f64,
}

/// One drive of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveReport {
    /// Its folder.
    pub path: String,
    /// In use.
    pub up: bool,
    /// What the cache was given, in bytes.
    pub size_bytes: u64,
    /// What it holds, in bytes.
    pub used_bytes: u64,
    /// Why it is not in use.
    #[serde(default)]
    pub error: Option<String>,
}

/// One BGP session of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The router.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// State of the session (RFC 4271 §8.2.2).
    pub state: String,
    /// Seconds since it came up, or has been down.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// Prefixes received.
    #[serde(default)]
    pub received: u64,
    /// Of those, accepted into the footprint.
    #[serde(default)]
    pub accepted: u64,
    /// Why the session went down last.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// What a node learns from its heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// The newest generation of its settings.
    pub config_generation: u64,
    /// Its advertisement differs from what is stored here: send all of it.
    pub send_snapshot: bool,
    /// Seconds until the next heartbeat.
    pub interval_seconds: u64,
    /// What no client is steered by, though it is held. Here too, since it changes when the control
    /// plane is started with other settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// `GET /v1/node/config`: the node's settings, passwords included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfiguration {
    /// Grows by one with each change.
    pub generation: u64,
    /// The settings.
    pub settings: NodeSettings,
}

/// A client to steer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteerQuestion {
    /// The client's address.
    pub client: IpAddr,
    /// The host that it wants to download from. Every node serves every origin for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
}

/// `POST /v1/steer`: many clients at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteerQuestions {
    /// At most 10,000.
    pub questions: Vec<SteerQuestion>,
}

/// The answers to [`SteerQuestions`], in their order. All are made from the same view of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerAnswers {
    /// One for each question.
    pub answers: Vec<ClientAnswer>,
}

/// One of [`SteerAnswers`]: as [`SteerAnswer`], with nulls when no node serves the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAnswer {
    /// Whom it is about.
    pub client: IpAddr,
    /// The node that serves the client.
    pub node: Option<NodeName>,
    /// Where to send the client.
    pub address: Option<IpAddr>,
    /// The prefix that it was found by.
    pub prefix: Option<IpNet>,
}

/// `GET /v1/steer`: the node that serves a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerAnswer {
    /// Its name.
    pub node: NodeName,
    /// Where to send the client.
    pub address: IpAddr,
    /// The prefix that it was found by.
    pub prefix: IpNet,
    /// Why this prefix, then why this node.
    pub reason: Vec<Reason>,
    /// With `explain=true`: the whole story.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// Every node that has a prefix of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Those that could serve it, best first.
    pub candidates: Vec<Considered<Reason>>,
    /// Those that are not sent clients for now.
    pub passed_over: Vec<Considered<PassedOver>>,
}

/// A node that was considered, and the word that decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered<R> {
    /// Its name.
    pub node: NodeName,
    /// The prefix that covers the client.
    pub prefix: IpNet,
    /// How the node has the prefix.
    pub source: Source,
    /// Length of the AS path; 0 for a manual prefix.
    pub path_len: u32,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// The AS that the route was learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbor_asn: Option<u32>,
    /// Of a candidate: the rule by which it goes before or after the next. Of the others: why they
    /// are passed over.
    pub reason: R,
}

impl From<Decision> for Explanation {
    fn from(decision: Decision) -> Self {
        let candidates = decision.candidates.into_iter();
        let passed_over = decision.passed_over.into_iter();
        Self {
            candidates: candidates
                .map(|c| considered(c.node, c.prefix, c.route, c.reason))
                .collect(),
            passed_over: passed_over
                .map(|p| considered(p.node, p.prefix, p.route, p.reason))
                .collect(),
        }
    }
}

fn considered<R>(node: NodeName, prefix: IpNet, route: RouteRank, reason: R) -> Considered<R> {
    let RouteRank { source, path_len, med, neighbor_asn } = route;
    Considered { node, prefix, source, path_len, med, neighbor_asn, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_with_null_empties_and_without_the_key_leaves() {
        let settings: NodeSettings = serde_json::from_str(
            r#"{"name":"a","address":"192.0.2.1","max_egress_mbps":5,"cidrs":["198.51.100.0/24"],
                "neighbors":[{"address":"192.0.2.9","asn":65100}]}"#,
        )
        .unwrap();
        let patched =
            |json: &str| serde_json::from_str::<NodePatch>(json).unwrap().apply(&settings);
        assert_eq!(patched("{}"), settings);
        let bare = patched(r#"{"max_egress_mbps":null,"cidrs":null,"neighbors":null}"#);
        assert_eq!((bare.max_egress_mbps, bare.cidrs.len(), bare.neighbors.len()), (None, 0, 0));
    }
}
