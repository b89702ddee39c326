//! The state of a node in the portal's words, as a pure function of stored facts and the time.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How often a node is told to call.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// A node that has been silent for longer than this is `Unhealthy`: three missed heartbeats.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// The states of a node, in the words of the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// Nothing says yet which clients it is to serve.
    #[serde(rename = "Not configured")]
    NotConfigured,
    /// Nobody can enrol it: no enrolment key that is still good.
    #[serde(rename = "Not provisioned")]
    NotProvisioned,
    /// An enrolment key is out and has not been used.
    #[serde(rename = "Registration in progress")]
    RegistrationInProgress,
    /// It has its credential, and has not sent a heartbeat.
    #[serde(rename = "Never phoned home")]
    NeverPhonedHome,
    /// Heartbeats come, and the node says that it is ready.
    Healthy,
    /// Heartbeats are missing, or the node says that it is not ready.
    Unhealthy,
    /// Takes no new clients, by the operator's wish.
    Draining,
    /// Switched off by the operator.
    Disabled,
}

impl NodeState {
    /// Every state, in the order of a node's life.
    pub const ALL: [Self; 8] = [
        Self::NotConfigured,
        Self::NotProvisioned,
        Self::RegistrationInProgress,
        Self::NeverPhonedHome,
        Self::Healthy,
        Self::Unhealthy,
        Self::Draining,
        Self::Disabled,
    ];

    /// The portal's words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "Not configured",
            Self::NotProvisioned => "Not provisioned",
            Self::RegistrationInProgress => "Registration in progress",
            Self::NeverPhonedHome => "Never phoned home",
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
            Self::Draining => "Draining",
            Self::Disabled => "Disabled",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known about a node when its state is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Not switched off by the operator.
    pub enabled: bool,
    /// The operator wants it empty.
    pub draining: bool,
    /// It has CIDR blocks or neighbors.
    pub configured: bool,
    /// When it turned its enrolment key into a credential.
    pub registered_at: Option<Timestamp>,
    /// Until when the newest unused enrolment key is good.
    pub key_expires_at: Option<Timestamp>,
    /// The last heartbeat.
    pub heartbeat: Option<HeartbeatFacts>,
}

/// What the last heartbeat said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatFacts {
    /// How long ago it came, not counting time in which the control plane itself was away.
    pub silence: Duration,
    /// The node's own `/readyz`.
    pub ready: bool,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// The node itself was told to drain.
    pub draining: bool,
}

/// A state and the reason that stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: NodeState,
    /// Why, in one sentence; for `Healthy` when it last called.
    pub reason: String,
}

/// Judges a node. What the operator has decided comes first, then how far it has been set up, then
/// what it says about itself.
#[must_use]
pub fn judge(facts: &Facts, now: Timestamp) -> Verdict {
    let verdict = |state, reason: String| Verdict { state, reason };
    if !facts.enabled {
        return verdict(NodeState::Disabled, "disabled by an operator".to_owned());
    }
    let Some(heartbeat) = &facts.heartbeat else {
        return not_heard_yet(facts, now);
    };
    let trouble = trouble(heartbeat);
    if facts.draining || heartbeat.draining {
        let who = if facts.draining { "drained by an operator" } else { "drained on the node" };
        let reason = match trouble {
            Some(trouble) => format!("{who}; {trouble}"),
            None => who.to_owned(),
        };
        return verdict(NodeState::Draining, reason);
    }
    match trouble {
        Some(trouble) => verdict(NodeState::Unhealthy, trouble),
        None => verdict(
            NodeState::Healthy,
            format!("last heartbeat {} s ago", heartbeat.silence.as_secs()),
        ),
    }
}

fn not_heard_yet(facts: &Facts, now: Timestamp) -> Verdict {
    let (state, reason) = if let Some(at) = facts.registered_at {
        (NodeState::NeverPhonedHome, format!("registered at {at:.0}, no heartbeat since"))
    } else if let Some(until) = facts.key_expires_at.filter(|until| *until > now) {
        let reason = format!("the enrolment key waits for `mcc enrol` until {until:.0}");
        (NodeState::RegistrationInProgress, reason)
    } else if !facts.configured {
        (NodeState::NotConfigured, "it has neither CIDR blocks nor neighbors".to_owned())
    } else if let Some(until) = facts.key_expires_at {
        let reason = format!("the enrolment key expired unused at {until:.0}: create another");
        (NodeState::NotProvisioned, reason)
    } else {
        (NodeState::NotProvisioned, "it has no enrolment key: create one".to_owned())
    };
    Verdict { state, reason }
}

fn trouble(heartbeat: &HeartbeatFacts) -> Option<String> {
    if heartbeat.silence > SILENCE_LIMIT {
        let silence = heartbeat.silence.as_secs();
        let limit = SILENCE_LIMIT.as_secs();
        return Some(format!("no heartbeat for {silence} s (limit {limit} s)"));
    }
    if heartbeat.ready {
        return None;
    }
    Some(if heartbeat.reasons.is_empty() {
        "the node says that it is not ready, without a reason".to_owned()
    } else {
        format!("the node is not ready: {}", heartbeat.reasons.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn at(offset: i64) -> Timestamp {
        Timestamp::from_second(NOW + offset).unwrap()
    }

    fn fresh() -> Facts {
        Facts {
            enabled: true,
            draining: false,
            configured: true,
            registered_at: None,
            key_expires_at: None,
            heartbeat: None,
        }
    }

    fn heard(silence: u64, ready: bool, reasons: &[&str]) -> Facts {
        Facts {
            registered_at: Some(at(-100)),
            heartbeat: Some(HeartbeatFacts {
                silence: Duration::from_secs(silence),
                ready,
                reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
                draining: false,
            }),
            ..fresh()
        }
    }

    fn assert_state(facts: &Facts, state: NodeState, reason: &str) {
        let verdict = judge(facts, at(0));
        assert_eq!(verdict.state, state, "{facts:?}");
        assert!(verdict.reason.contains(reason), "`{}` lacks `{reason}`", verdict.reason);
    }

    #[test]
    fn a_node_grows_up() {
        let bare = Facts { configured: false, ..fresh() };
        assert_state(&bare, NodeState::NotConfigured, "neither CIDR blocks nor neighbors");
        assert_state(&fresh(), NodeState::NotProvisioned, "no enrolment key");
        let expired = Facts { key_expires_at: Some(at(0)), ..fresh() };
        assert_state(&expired, NodeState::NotProvisioned, "expired unused");
        let waiting = Facts { key_expires_at: Some(at(1)), ..bare };
        assert_state(&waiting, NodeState::RegistrationInProgress, "waits for `mcc enrol`");
        let registered = Facts { registered_at: Some(at(-5)), ..waiting };
        assert_state(&registered, NodeState::NeverPhonedHome, "no heartbeat since");
    }

    #[test]
    fn health_is_a_recent_heartbeat_that_says_ready() {
        assert_state(&heard(30, true, &[]), NodeState::Healthy, "last heartbeat 30 s ago");
        assert_state(&heard(31, true, &[]), NodeState::Unhealthy, "no heartbeat for 31 s");
        let broken = heard(1, false, &["drive /cache/1 is down", "no neighbor is up"]);
        assert_state(&broken, NodeState::Unhealthy, "drive /cache/1 is down; no neighbor is up");
        assert_state(&heard(1, false, &[]), NodeState::Unhealthy, "without a reason");
    }

    #[test]
    fn the_operators_wish_comes_first() {
        let drained = Facts { draining: true, ..heard(1, false, &["full"]) };
        assert_state(
            &drained,
            NodeState::Draining,
            "drained by an operator; the node is not ready",
        );
        let mut local = heard(1, true, &[]);
        local.heartbeat.as_mut().unwrap().draining = true;
        assert_state(&local, NodeState::Draining, "drained on the node");
        let disabled = Facts { enabled: false, ..drained };
        assert_state(&disabled, NodeState::Disabled, "disabled by an operator");
    }

    #[test]
    fn the_words_are_the_portals() {
        for state in NodeState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }
}
