//! What a node says of itself: its parts, each with what to do when it is not well.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mcc_config::NodeName;
use mcc_control::api::types::LeftOut;
use serde::{Deserialize, Serialize};

use crate::text;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: NodeName,
    pub(crate) address: IpAddr,
    pub(crate) version: String,
    pub(crate) started_at: Timestamp,
    pub(crate) uptime_seconds: u64,
    /// Fit to serve, as `/readyz` says.
    pub(crate) ready: bool,
    /// Why it is not.
    pub(crate) reasons: Vec<String>,
    pub(crate) draining: bool,
    pub(crate) traffic: Traffic,
    pub(crate) footprint: FootprintSummary,
    /// The parts, in the order of `mcc list`.
    pub(crate) parts: Vec<Part>,
}

/// Bytes and requests since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    /// To clients.
    pub(crate) egress_bytes: u64,
    /// From origins.
    pub(crate) fill_bytes: u64,
    /// Of the egress: bytes that had not to be fetched for it.
    pub(crate) hit_bytes: u64,
    /// Of the egress: bytes that had to be fetched, those passed through unstored included.
    pub(crate) miss_bytes: u64,
}

/// The footprint in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FootprintSummary {
    pub(crate) prefixes: u64,
    /// Of IPv4.
    pub(crate) addresses: u64,
    /// IPv6 addresses, in /48s.
    #[serde(default)]
    pub(crate) ipv6_slash48s: u64,
    /// Prefixes that the control plane has acknowledged.
    pub(crate) advertised: u64,
    /// What names the state that was sent last: session and serial.
    pub(crate) generation: Option<String>,
    /// Whether the control plane has all of it.
    pub(crate) acknowledged: bool,
    /// What it has and steers no client by.
    #[serde(default)]
    pub(crate) left_out: Option<LeftOut>,
    /// Set while the control plane is not told, because too much has changed at once.
    pub(crate) held: Option<HeldFootprint>,
    /// Prefixes that the control plane is not told of because they flap.
    #[serde(default)]
    pub(crate) damped: u64,
}

impl FootprintSummary {
    /// `998 prefixes, 255,488 addresses`
    pub(crate) fn size_in_words(&self) -> String {
        text::footprint(self.prefixes, self.addresses, self.ipv6_slash48s)
    }
}

/// A footprint that waits for `mcc footprint approve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldFootprint {
    pub(crate) since_seconds: u64,
    /// What the control plane was told before.
    pub(crate) before_prefixes: u64,
    pub(crate) before_addresses: u64,
    #[serde(default)]
    pub(crate) before_ipv6_slash48s: u64,
}

impl HeldFootprint {
    /// What has happened and what to do, for `mcc status` and `mcc bgp status` alike.
    pub(crate) fn in_words(&self, now: &FootprintSummary) -> (String, String) {
        let Self { before_prefixes, before_addresses, before_ipv6_slash48s, .. } = *self;
        let before = text::footprint(before_prefixes, before_addresses, before_ipv6_slash48s);
        let since = text::duration(self.since_seconds);
        (
            format!(
                "from {before} to {} at once; the control plane keeps what it knew {since} ago",
                now.size_in_words()
            ),
            "if the routers are right, `mcc footprint approve`; if not, mend them: it is told \
             again as soon as the footprint is back"
                .to_owned(),
        )
    }
}

/// One part of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// `http`, `drive /cache/1`, `neighbor 192.0.2.1`, …
    pub(crate) name: String,
    pub(crate) state: PartState,
    /// Seconds in this state, where that is known.
    pub(crate) since_seconds: Option<u64>,
    /// What it is doing, or what is wrong.
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) advice: Option<String>,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PartState {
    /// Does its work.
    Up,
    /// On its way up, or up with something to look at.
    Warning,
    /// Does not.
    Down,
}

impl PartState {
    /// The state in a word and a sign, for those who cannot tell colours apart.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Up => "√ up",
            Self::Warning => "‼ warning",
            Self::Down => "× down",
        }
    }
}

/// Whole seconds since `time`, 0 if that is in the future.
pub(crate) fn seconds_since(time: SystemTime) -> u64 {
    SystemTime::now().duration_since(time).unwrap_or(Duration::ZERO).as_secs()
}
