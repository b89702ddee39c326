//! What a session remembers of itself: its last changes of state, the last messages that are not
//! routine, and the last messages with a fault. Always on.
//!
//! Memory is bounded. A neighbor that behaves costs a few kilobytes. One that does its worst (100
//! OPENs full of capabilities, 50 malformed UPDATEs of 4 KiB or more) costs 700 KiB at most.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::tap::Direction;
use crate::session::State;
use crate::wire::{DecodeError, Disposition, Finding, Update};

/// How many changes of state are remembered.
const STATES: usize = 100;
/// The most changes of state of one attempt to have a session: Idle, Connect, OpenSent, OpenConfirm.
const STEPS_OF_AN_ATTEMPT: usize = 4;
/// How many messages are remembered.
const MESSAGES: usize = 100;
/// How many malformed messages are remembered.
const MALFORMED: usize = 50;
/// The most bytes of a message in words.
const TEXT: usize = 4096;
/// The most bytes that are kept of a malformed message.
const KEPT_BYTES: usize = 4096;
/// The most faults that are kept of one message, gravest first.
const KEPT_FAULTS: usize = 16;

/// A change of state (RFC 4271 §8.2.2).
///
/// A router that is away for a day is dialled a thousand times in vain. The same steps again, for the
/// same reason and without a session between them, are counted: they do not push out what went before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateChange {
    /// When; of several the first time.
    pub at: Timestamp,
    /// How often.
    pub times: u32,
    /// When it was the last time.
    pub last_at: Timestamp,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, in words.
    pub reason: String,
}

/// A message that is not routine: anything but a KEEPALIVE and, in a session, an UPDATE with routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageRecord {
    /// When.
    pub at: Timestamp,
    /// Which way it went.
    pub direction: Direction,
    /// `OPEN`, `NOTIFICATION`, `ROUTE-REFRESH`, `End-of-RIB`, or `UPDATE` for one before its time.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it says, in words.
    pub text: String,
    /// Its bytes, header included.
    pub length: usize,
}

/// A message with a fault, and what it was treated as (RFC 7606).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MalformedMessage {
    /// When.
    pub at: Timestamp,
    /// Who sent it.
    pub neighbor: IpAddr,
    /// What came of it: the gravest of `faults`.
    pub disposition: Disposition,
    /// What is wrong, gravest first; the first 16.
    pub faults: Vec<Fault>,
    /// How many prefixes it is about: those withdrawn by it, or those that lost an attribute.
    /// `None` if it ended the session.
    pub prefixes: Option<usize>,
    /// The first of them, as an example.
    pub example: Option<ipnet::IpNet>,
    /// Its bytes as the header says, or what there was of it.
    pub length: usize,
    /// The message from its marker on, 4096 bytes at most; in JSON as hexadecimal digits.
    #[serde(rename = "hex", serialize_with = "hex")]
    pub bytes: Bytes,
}

/// The malformed messages of one neighbor or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MalformedMessages {
    /// The last of each neighbor, 50 at most; oldest first.
    pub last: Vec<Arc<MalformedMessage>>,
    /// How many there were since the speaker started.
    pub total: u64,
}

/// One thing that is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What follows from it.
    pub disposition: Disposition,
    /// The attribute's name, if the fault is in one.
    pub attribute: Option<String>,
    /// Bytes from the start of the message to the fault.
    pub offset: usize,
    /// In words.
    pub reason: &'static str,
    /// The section that says so, such as `RFC 7606 §7.1`.
    pub rule: Option<&'static str>,
}

/// What a session remembers, oldest first: `mcc bgp history --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionHistory {
    /// The neighbor's address.
    pub address: IpAddr,
    /// The last 100 changes of state.
    pub states: Vec<StateChange>,
    /// The last 100 messages that are not routine.
    pub messages: Vec<MessageRecord>,
}

/// The rings of one session.
#[derive(Debug, Default)]
pub(super) struct History {
    states: Ring<StateChange, STATES>,
    messages: Ring<MessageRecord, MESSAGES>,
    malformed: Ring<Arc<MalformedMessage>, MALFORMED>,
    malformed_ever: u64,
}

impl History {
    pub(super) fn state_changed(&mut self, at: Timestamp, from: State, to: State, reason: String) {
        let recent = self.states.0.iter_mut().rev().take(STEPS_OF_AN_ATTEMPT);
        let mut attempt = recent.take_while(|c| ![c.from, c.to].contains(&State::Established));
        if let Some(same) = attempt.find(|c| (c.from, c.to, &c.reason) == (from, to, &reason)) {
            same.times = same.times.saturating_add(1);
            same.last_at = at;
        } else {
            self.states.push(StateChange { at, times: 1, last_at: at, from, to, reason });
        }
    }

    pub(super) fn message(&mut self, mut message: MessageRecord) {
        message.text.truncate(message.text.floor_char_boundary(TEXT));
        self.messages.push(message);
    }

    pub(super) fn malformed(&mut self, message: Arc<MalformedMessage>) {
        self.malformed.push(message);
        self.malformed_ever = self.malformed_ever.saturating_add(1);
    }

    pub(super) fn of(&self, address: IpAddr) -> SessionHistory {
        SessionHistory { address, states: self.states.to_vec(), messages: self.messages.to_vec() }
    }

    pub(super) fn malformed_messages(&self) -> MalformedMessages {
        MalformedMessages { last: self.malformed.to_vec(), total: self.malformed_ever }
    }
}

/// The last `N` of what was pushed.
#[derive(Debug)]
struct Ring<T, const N: usize>(VecDeque<T>);

impl<T, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone, const N: usize> Ring<T, N> {
    fn push(&mut self, item: T) {
        if self.0.len() == N {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }

    fn to_vec(&self) -> Vec<T> {
        self.0.iter().cloned().collect()
    }
}

impl MalformedMessage {
    /// An UPDATE that did not end the session; `None` if there is nothing wrong with it.
    pub(super) fn of_update(neighbor: IpAddr, bytes: &[u8], update: &Update) -> Option<Self> {
        let disposition = update.findings.iter().map(|found| found.disposition).max()?;
        let prefixes = match disposition {
            Disposition::AttributeDiscard => &update.announced,
            Disposition::TreatAsWithdraw | Disposition::SessionReset => &update.withdrawn,
        };
        let mut found: Vec<&Finding> = update.findings.iter().collect();
        // The sort is stable: of equal gravity the first comes first.
        found.sort_by_key(|found| std::cmp::Reverse(found.disposition));
        Some(Self {
            at: Timestamp::now(),
            neighbor,
            disposition,
            faults: found.into_iter().take(KEPT_FAULTS).map(Fault::from).collect(),
            prefixes: Some(prefixes.len()),
            example: prefixes.iter().next().map(|nlri| nlri.prefix),
            length: bytes.len(),
            bytes: kept(bytes),
        })
    }

    /// Something that ended the session. `bytes` are those of the message, or what there is of it.
    pub(super) fn of_error(neighbor: IpAddr, bytes: &[u8], error: &DecodeError) -> Self {
        let disposition = Disposition::SessionReset;
        let DecodeError { reason, offset, .. } = *error;
        let rule = rule_of(reason);
        Self {
            at: Timestamp::now(),
            neighbor,
            disposition,
            faults: vec![Fault { disposition, attribute: None, offset, reason, rule }],
            prefixes: None,
            example: None,
            length: bytes.len(),
            bytes: kept(bytes),
        }
    }
}

impl From<&Finding> for Fault {
    fn from(found: &Finding) -> Self {
        Self {
            disposition: found.disposition,
            attribute: found.attribute_name(),
            offset: found.offset,
            reason: found.reason,
            rule: rule_of(found.reason),
        }
    }
}

/// A copy: a slice would keep alive everything that was read with it.
fn kept(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes.get(..KEPT_BYTES).unwrap_or(bytes))
}

/// Reasons name their rule at the end, in brackets.
fn rule_of(reason: &'static str) -> Option<&'static str> {
    let (_, rule) = reason.strip_suffix(')')?.rsplit_once('(')?;
    rule.starts_with("RFC ").then_some(rule)
}

fn hex<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    serializer.serialize_str(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Nlri;

    const NEIGHBOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn finding(disposition: Disposition, offset: usize) -> Finding {
        let reason = "the length is not 1 (RFC 7606 §7.1)";
        Finding { disposition, attribute: Some(1), offset, reason }
    }

    #[test]
    fn only_the_last_are_remembered() {
        let mut history = History::default();
        for i in 0..STATES + 7 {
            let at = Timestamp::UNIX_EPOCH;
            history.state_changed(at, State::Idle, State::Connect, i.to_string());
        }
        let states = history.of(NEIGHBOR).states;
        assert_eq!((states.len(), states[0].reason.as_str()), (STATES, "7"));
        assert_eq!(states.last().unwrap().reason, (STATES + 6).to_string());
    }

    #[test]
    fn of_malformed_messages_all_are_counted_and_the_last_are_remembered() {
        let mut history = History::default();
        let findings = vec![finding(Disposition::TreatAsWithdraw, 23)];
        let update = Update { findings, ..Update::default() };
        for length in 0..MALFORMED + 7 {
            let message = MalformedMessage::of_update(NEIGHBOR, &vec![0xff; length], &update);
            history.malformed(Arc::new(message.unwrap()));
        }
        let MalformedMessages { last, total } = history.malformed_messages();
        assert_eq!((last.len(), total), (MALFORMED, (MALFORMED + 7) as u64));
        assert_eq!(last[0].length, 7);
    }

    #[test]
    fn attempts_in_vain_are_counted_and_sessions_are_not() {
        use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};
        let mut history = History::default();
        let mut second = 0;
        let mut step = |from, to, reason: &str| {
            second += 1;
            let at = Timestamp::from_second(second).unwrap();
            history.state_changed(at, from, to, reason.to_owned());
        };
        for _ in 0..50 {
            step(Active, Connect, "dialling");
            step(Connect, Active, "refused");
        }
        step(Active, Connect, "dialling");
        for _ in 0..3 {
            step(Connect, OpenSent, "connected");
            step(OpenSent, OpenConfirm, "good");
            step(OpenConfirm, Established, "up");
            step(Established, Idle, "hold timer");
            step(Idle, Connect, "dialling");
        }
        let states = history.of(NEIGHBOR).states;
        let seen: Vec<_> = states.iter().map(|c| (c.from, c.to, c.times)).collect();
        assert_eq!(seen[..2], [(Active, Connect, 51), (Connect, Active, 50)]);
        assert_eq!((states[0].at.as_second(), states[0].last_at.as_second()), (1, 101));
        assert_eq!(seen.len(), 2 + 3 * 5, "each loss of a session stands for itself: {seen:?}");
        assert!(seen[2..].iter().all(|(.., times)| *times == 1), "{seen:?}");
    }

    #[test]
    fn a_message_in_words_is_cut_between_characters() {
        let mut history = History::default();
        history.message(MessageRecord {
            at: Timestamp::UNIX_EPOCH,
            direction: Direction::Received,
            kind: "OPEN",
            text: format!("x{}", "ü".repeat(TEXT)),
            length: 29,
        });
        assert_eq!(history.of(NEIGHBOR).messages[0].text.len(), TEXT - 1);
    }

    #[test]
    fn of_an_update_the_gravest_fault_comes_first_and_the_bytes_are_bounded() {
        let nlri = |prefix: &str| Nlri { prefix: prefix.parse().unwrap(), path_id: 0 };
        let mut findings = vec![finding(Disposition::AttributeDiscard, 23); 40];
        findings.push(finding(Disposition::TreatAsWithdraw, 30));
        let update = Update {
            withdrawn: [nlri("20.0.0.0/24"), nlri("20.0.1.0/24")].into_iter().collect(),
            findings,
            ..Update::default()
        };
        let bytes = vec![0xff; 5000];
        let malformed = MalformedMessage::of_update(NEIGHBOR, &bytes, &update).unwrap();
        assert_eq!(malformed.disposition, Disposition::TreatAsWithdraw);
        assert_eq!((malformed.faults.len(), malformed.faults[0].offset), (KEPT_FAULTS, 30));
        assert_eq!((malformed.faults[1].offset, malformed.prefixes), (23, Some(2)));
        assert_eq!((malformed.length, malformed.bytes.len()), (5000, KEPT_BYTES));
        assert_eq!(malformed.faults[0].rule, Some("RFC 7606 §7.1"));
        assert_eq!(malformed.faults[0].attribute.as_deref(), Some("ORIGIN"));
        let json = serde_json::to_value(&malformed).unwrap();
        assert_eq!(json["disposition"], "treat_as_withdraw");
        assert_eq!(json["hex"].as_str().unwrap().len(), 2 * KEPT_BYTES);
        let good = Update { findings: vec![], ..update };
        assert_eq!(MalformedMessage::of_update(NEIGHBOR, &bytes, &good), None);
    }

    #[test]
    fn a_rule_is_what_the_reason_ends_with() {
        assert_eq!(rule_of("it is bad (RFC 4271 §6.3)"), Some("RFC 4271 §6.3"));
        assert_eq!(rule_of("the OPEN is cut short"), None);
        assert_eq!(rule_of("it is bad (at length)"), None);
    }
}
