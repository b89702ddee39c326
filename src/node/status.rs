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
    /// Whether the control plane has all of it, but for what is `damped`.
    pub(crate) acknowledged: bool,
    /// What it has and steers no client by.
    #[serde(default)]
    pub(crate) left_out: Option<LeftOut>,
    /// Set while the control plane is not told, because too much has changed within minutes.
    pub(crate) held: Option<HeldFootprint>,
    /// Prefixes that the control plane is not told of because they flap.
    #[serde(default)]
    pub(crate) damped: u64,
}

impl FootprintSummary {
    /// How far the control plane knows it, for `mcc status` and `mcc bgp status` alike.
    pub(crate) fn told_in_words(&self) -> String {
        let known = match (&self.generation, &self.held) {
            (None, _) => return "not advertised: no control plane is configured".to_owned(),
            (Some(_), Some(_)) => return format!("held back: {}", self.known_while_held()),
            (Some(_), None) if self.acknowledged && self.damped == 0 => {
                "all acknowledged by the control plane".to_owned()
            }
            (Some(_), None) if self.acknowledged => "acknowledged by the control plane".to_owned(),
            (Some(_), None) => {
                format!("{} acknowledged by the control plane so far", text::count(self.advertised))
            }
        };
        match self.damped {
            0 => known,
            damped => format!("{known}, but for {} that flap", text::count(damped)),
        }
    }

    /// What the control plane knows is neither what there is nor what there was: of a change that
    /// comes in steps it has been told the first ones.
    fn known_while_held(&self) -> String {
        match self.advertised {
            0 => "the control plane has not answered yet".to_owned(),
            known => format!("the control plane knows {}", text::prefixes(known)),
        }
    }

    /// `998 prefixes, 255,488 addresses`
    pub(crate) fn size_in_words(&self) -> String {
        text::footprint(self.prefixes, self.addresses, self.ipv6_slash48s)
    }
}

/// A footprint that waits for `mcc footprint approve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldFootprint {
    pub(crate) since_seconds: u64,
    /// What it was up to five minutes before.
    pub(crate) before_prefixes: u64,
    pub(crate) before_addresses: u64,
    #[serde(default)]
    pub(crate) before_ipv6_slash48s: u64,
}

impl HeldFootprint {
    /// What has happened and what to do, for `mcc status` and `mcc bgp status` alike.
    pub(crate) fn in_words(&self, now: &FootprintSummary) -> (String, String) {
        let Self { before_prefixes, before_addresses, before_ipv6_slash48s, since_seconds } = *self;
        let before = text::footprint(before_prefixes, before_addresses, before_ipv6_slash48s);
        let (now_words, since) = (now.size_in_words(), text::duration(since_seconds));
        let change = format!("from {before} to {now_words} within five minutes, held for {since}");
        if now.generation.is_none() {
            return (
                format!("{change}; no control plane is configured that could be misled"),
                "if that is no accident of a router, `mcc footprint approve` makes it the measure"
                    .to_owned(),
            );
        }
        (
            format!("{change}; {}", now.known_while_held()),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody is to believe that the control plane knows what it is not told.
    #[test]
    fn what_is_held_back_is_not_called_acknowledged() {
        let advertised = FootprintSummary {
            prefixes: 998,
            addresses: 255_488,
            advertised: 998,
            generation: Some("a/7".to_owned()),
            acknowledged: true,
            ..FootprintSummary::default()
        };
        let held = HeldFootprint {
            since_seconds: 61,
            before_prefixes: 5000,
            before_addresses: 1_280_000,
            before_ipv6_slash48s: 0,
        };
        let told = |change: &dyn Fn(&mut FootprintSummary)| {
            let mut footprint = advertised.clone();
            change(&mut footprint);
            footprint.told_in_words()
        };
        assert_eq!(told(&|_| {}), "all acknowledged by the control plane");
        assert_eq!(
            told(&|footprint| footprint.damped = 5),
            "acknowledged by the control plane, but for 5 that flap"
        );
        assert_eq!(
            told(&|footprint| footprint.held = Some(held)),
            "held back: the control plane knows 998 prefixes"
        );
        assert_eq!(
            told(&|footprint| (footprint.held, footprint.advertised) = (Some(held), 0)),
            "held back: the control plane has not answered yet"
        );
        assert_eq!(
            told(&|footprint| footprint.acknowledged = false),
            "998 acknowledged by the control plane so far"
        );
        let alone = FootprintSummary { generation: None, ..advertised.clone() };
        assert_eq!(alone.told_in_words(), "not advertised: no control plane is configured");

        // It was told the first steps of the change, before the guard saw how far it goes.
        let halfway = FootprintSummary { advertised: 3000, ..advertised.clone() };
        let (what, advice) = held.in_words(&halfway);
        assert!(what.ends_with("; the control plane knows 3,000 prefixes"), "{what}");
        assert!(advice.contains("`mcc footprint approve`"), "{advice}");
        let (what, advice) = held.in_words(&alone);
        let change = "from 5,000 prefixes, 1,280,000 addresses to 998 prefixes, 255,488 addresses \
                      within five minutes, held for 1m 1s; no control plane is configured that could be misled";
        assert_eq!(what, change);
        assert!(advice.contains("`mcc footprint approve`"), "{advice}");
    }
}
