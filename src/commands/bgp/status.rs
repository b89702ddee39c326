//! `mcc bgp status`: a line for each neighbor, and below the table what is wrong, with advice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use anyhow::Result;
use mcc_bgp::session::ErrorDirection;
use mcc_bgp::speaker::{LastError, OperatorShutdown};
use mcc_control::api::types::LeftOut;
use serde::Deserialize;
use serde_json::Value;

use super::exports::Exports;
use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::node::status::FootprintSummary;
use crate::table::{Rows, indented};
use crate::terminal::Output;
use crate::text;

/// The node counts no further those that it does not take.
const DISCARDED_MOST: u64 = 262_144;
/// Seconds for which a session that is up again is shown with what ended the one before.
const RECENT: u64 = 86_400;

/// What the table shows of `GET /v1/bgp`.
#[derive(Debug, Deserialize)]
struct Status {
    router_id: IpAddr,
    neighbors: Vec<Neighbor>,
    dynamic: Vec<DynamicRange>,
    footprint: FootprintSummary,
    #[serde(flatten)]
    exports: Exports,
}

/// What is shown of a neighbor.
#[derive(Debug, Deserialize)]
pub(super) struct Neighbor {
    pub(super) address: IpAddr,
    pub(super) asn: u32,
    pub(super) local_asn: u32,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The `[[bgp.dynamic]]` that it came by.
    pub(super) dynamic: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) passive: bool,
    pub(super) state: String,
    /// Since it came up, or has been down.
    pub(super) up_down_seconds: u64,
    pub(super) retry_seconds: Option<u64>,
    pub(super) flaps: u64,
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) stale: u64,
    #[serde(default)]
    pub(super) restored: u64,
    #[serde(default)]
    pub(super) stale_seconds: Option<u64>,
    pub(super) set_hash: BTreeMap<String, String>,
    pub(super) discarded: u64,
    pub(super) max_prefixes: u64,
    #[serde(default)]
    pub(super) near_limit: bool,
    pub(super) hold_time: u16,
    pub(super) messages: Messages,
    pub(super) updates_treated_as_withdraw: u64,
    pub(super) updates_with_discarded_attributes: u64,
    pub(super) malformed_resets: u64,
    pub(super) last_error: Option<LastError>,
    pub(super) dial_error: Option<LastError>,
    #[serde(default)]
    pub(super) shut_down_by_router: Option<OperatorShutdown>,
    pub(super) advice: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Messages {
    pub(super) received: CountsByType,
    pub(super) sent: CountsByType,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct CountsByType {
    pub(super) open: u64,
    pub(super) update: u64,
    pub(super) notification: u64,
    pub(super) keepalive: u64,
    pub(super) route_refresh: u64,
}

/// Neighbors that come by themselves: a `[[bgp.dynamic]]`.
#[derive(Debug, Deserialize)]
struct DynamicRange {
    prefix: String,
    sessions: u64,
    #[serde(default)]
    gone: u64,
    max_sessions: u64,
    refused: BTreeMap<String, u64>,
}

impl Neighbor {
    pub(super) fn is_established(&self) -> bool {
        self.state == "Established"
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Messages that had a fault (RFC 7606).
    pub(super) fn malformed(&self) -> u64 {
        self.updates_treated_as_withdraw
            + self.updates_with_discarded_attributes
            + self.malformed_resets
    }

    /// `shut down by the router's operator since 2026-11-23 10:00:00Z: "maintenance"`
    pub(super) fn shut_down_in_words(&self) -> Option<String> {
        let OperatorShutdown { since, text } = self.shut_down_by_router.as_ref()?;
        let text = text.as_ref().map(|text| format!(": \"{text}\"")).unwrap_or_default();
        Some(format!("shut down by the router's operator since {}{text}", text::time(*since)))
    }

    /// Whether the last session was ended because of `max_prefixes` (RFC 4486 §4: 6/1).
    fn was_over_limit(&self) -> bool {
        let error = self.last_error.as_ref().map(|last| &last.error);
        error.is_some_and(|error| {
            error.direction == ErrorDirection::Sent
                && (error.code, error.subcode) == (Some(6), Some(1))
        })
    }

    /// Whose stale routes are kept, and for how long.
    pub(super) fn stale_in_words(&self) -> Option<String> {
        let at_most = self.stale_seconds.map(text::duration);
        let at_most = at_most.map(|time| format!(", for {time} at most")).unwrap_or_default();
        let (stale, are) = (text::routes(self.stale), text::are(self.stale));
        match (self.stale, self.restored) {
            (0, _) => None,
            (_, 0) if self.was_over_limit() => Some(format!(
                "{stale} of before the flood {are} kept as stale, each as it was announced \
                 last{at_most}"
            )),
            (_, 0) => Some(format!("{stale} of the lost session {are} kept as stale{at_most}")),
            _ => Some(format!(
                "{stale} of the last run of the node {are} kept until the router has announced its \
                 table{at_most}"
            )),
        }
    }

    /// What a neighbor without a session waits for.
    pub(super) fn wait_in_words(&self) -> Option<String> {
        let wait = self.retry_seconds.map(text::duration);
        match (self.passive, self.state.as_str()) {
            (false, _) => wait.map(|wait| format!("next attempt in {wait}")),
            (true, "Idle") => wait.map(|wait| format!("lets the router in again in {wait}")),
            (true, "Active") => Some("waits for the router to connect (`passive`)".to_owned()),
            (true, _) => None,
        }
    }

    /// How near to `max_prefixes` the router is, or what it has beyond.
    pub(super) fn limit_in_words(&self) -> Option<String> {
        if self.discarded > 0 {
            let more = if self.discarded >= DISCARDED_MOST { " or more" } else { "" };
            let discarded = text::routes(self.discarded);
            return Some(format!("{discarded}{more} over `max_prefixes` not taken"));
        }
        let percent = self.received.saturating_sub(self.stale) * 100 / self.max_prefixes.max(1);
        let limit = text::count(self.max_prefixes);
        self.near_limit.then(|| format!("{percent} % of `max_prefixes` ({limit}) are there"))
    }

    /// What is to be said below the table, if anything.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        remarks.extend(self.shut_down_in_words());
        let last_error = self.last_error.as_ref().map(in_words);
        if self.is_established() {
            let before = last_error.filter(|_| self.up_down_seconds < RECENT);
            remarks.extend(before.map(|error| format!("before: {error}")));
        } else {
            remarks.extend(last_error);
            remarks.extend(self.wait_in_words());
        }
        remarks.extend(self.stale_in_words());
        remarks.extend(self.limit_in_words());
        remarks.extend(self.advice.clone());
        let list = format!("`mcc bgp errors {}`", self.address);
        let is_told = self.advice.as_ref().is_some_and(|advice| advice.contains(&list));
        if self.malformed() > 0 && !is_told {
            let malformed = text::count(self.malformed());
            remarks.push(format!("{malformed} malformed: {list} shows the last ones"));
        }
        remarks
    }
}

impl CountsByType {
    pub(super) fn total(self) -> u64 {
        let Self { open, update, notification, keepalive, route_refresh } = self;
        open + update + notification + keepalive + route_refresh
    }
}

/// `2026-11-23 00:30:01Z: the router closed the session: Cease / Administrative Shutdown:
/// maintenance (6/2)`
pub(super) fn in_words(last: &LastError) -> String {
    format!("{}: {}", text::time(last.at), last.error.what_happened())
}

pub(super) async fn run(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let json: Value = client.get("/v1/bgp").await?;
    if common.json {
        print_json(&json)?;
    } else {
        text::print(&render(&json, Output::standard())?)?;
    }
    let status = Status::deserialize(&json)?;
    Ok(Verdict::of(status.neighbors.iter().all(Neighbor::is_established)))
}

/// The table of `mcc bgp status`, from what `GET /v1/bgp` answers.
pub(crate) fn render(json: &Value, output: Output) -> Result<String> {
    let status = Status::deserialize(json)?;
    let mut out = String::new();
    let established = status.neighbors.iter().filter(|n| n.is_established()).count();
    writeln!(
        out,
        "Router ID {}, {established} of {} sessions established",
        status.router_id,
        status.neighbors.len()
    )?;
    if !status.neighbors.is_empty() {
        let mut rows = Rows::new(&[
            "Neighbor",
            ">AS",
            "?Type",
            "State",
            ">Up/Down",
            "?>MsgRcvd",
            "?>MsgSent",
            ">Received",
            ">Accepted",
            ">Refused",
            "?>Stale",
            "?>Flaps",
        ]);
        for neighbor in &status.neighbors {
            rows.push([
                neighbor.address.to_string(),
                neighbor.asn.to_string(),
                neighbor.kind.clone(),
                neighbor.state.clone(),
                text::duration(neighbor.up_down_seconds),
                text::count(neighbor.messages.received.total()),
                text::count(neighbor.messages.sent.total()),
                text::count(neighbor.received),
                text::count(neighbor.accepted),
                text::count(neighbor.rejected()),
                text::count(neighbor.stale),
                text::count(neighbor.flaps),
            ]);
        }
        write!(out, "\n{}", rows.render(output))?;
    }
    for neighbor in &status.neighbors {
        let remarks = neighbor.remarks();
        if remarks.is_empty() {
            continue;
        }
        let description = neighbor.description.as_deref().unwrap_or_default();
        let title = format!("{} {description}", neighbor.address);
        writeln!(out, "\n{}", text::printable(title.trim_end()))?;
        for remark in remarks {
            out.push_str(&indented(&remark, 4, output));
        }
    }
    for range in &status.dynamic {
        write!(out, "\n{}", indented(&range.in_words(), 0, output))?;
        let remark = range.remark().unwrap_or_default();
        out.push_str(&indented(&remark, 4, output));
    }
    write!(out, "\n{}", footprint_in_words(&status.footprint, output))?;
    out.push_str(&status.exports.render(output));
    Ok(out)
}

impl DynamicRange {
    /// `Routers in 198.51.100.0/24: 3 of at most 100; refused: 2 asn, 1 no_open`
    fn in_words(&self) -> String {
        let refused: Vec<_> = self.refused.iter().filter(|(_, count)| **count > 0).collect();
        let refused: Vec<_> =
            refused.iter().map(|(why, count)| format!("{} {why}", text::count(**count))).collect();
        let Self { prefix, sessions, gone, max_sessions, refused: _ } = self;
        let mut words = format!("Routers in {prefix}: {sessions} of at most {max_sessions}");
        if *gone > 0 {
            words.push_str(&format!(", {gone} of them gone"));
        }
        if !refused.is_empty() {
            words.push_str(&format!("; refused: {}", refused.join(", ")));
        }
        words
    }

    /// Why no further router is let in, and who keeps the places, if routers were turned away.
    fn remark(&self) -> Option<String> {
        let Self { sessions, gone, max_sessions, refused, .. } = self;
        let turned_away = refused.get("max_sessions").is_some_and(|n| *n > 0);
        if sessions < max_sessions || !turned_away {
            return None;
        }
        let mut words = "no further router is let in: raise `max_sessions`".to_owned();
        if *gone > 0 {
            words.push_str(&format!(
                ", or wait: the {gone} that are gone keep their places for `stale_time` or the rest \
                 after a failure"
            ));
        }
        Some(words)
    }
}

fn footprint_in_words(footprint: &FootprintSummary, output: Output) -> String {
    let size = format!("Footprint: {}; {}", footprint.size_in_words(), footprint.told_in_words());
    let mut words = indented(&size, 0, output);
    if let Some(LeftOut { prefixes, reason }) = &footprint.left_out {
        let prefixes = text::prefixes(*prefixes as u64);
        let left_out = format!("no client is steered by {prefixes} of it: {reason}");
        words.push_str(&indented(&left_out, 4, output));
    }
    if footprint.damped > 0 {
        let flap = text::counted(footprint.damped, "flaps and is", "flap and are");
        let calm = if footprint.damped == 1 { "it is calm" } else { "they are calm" };
        let kept_back = format!("{flap} kept back until {calm}: `mcc footprint --damped`");
        words.push_str(&indented(&kept_back, 4, output));
    }
    if let Some(held) = footprint.held {
        let (what, advice) = held.in_words(footprint);
        words.push_str(&indented(&what, 4, output));
        words.push_str(&indented(&advice, 4, output));
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_stands_below_the_table_with_advice() {
        let counts = json!({
            "open": 1, "update": 2000, "notification": 0, "keepalive": 3, "route_refresh": 0
        });
        let status = json!({
            "router_id": "192.0.2.10",
            "neighbors": [{
                "address": "192.0.2.1", "asn": 65100, "local_asn": 65100, "type": "ibgp",
                "dynamic": null, "description": "rack 4", "state": "Idle", "up_down_seconds": 2,
                "retry_seconds": 1798, "flaps": 1, "received": 1000, "accepted": 998,
                "rejected": { "too_long": 2 }, "stale": 1000, "set_hash": {}, "discarded": 0,
                "max_prefixes": 1000, "hold_time": 90,
                "messages": { "received": counts, "sent": counts },
                "updates_treated_as_withdraw": 3, "updates_with_discarded_attributes": 0,
                "malformed_resets": 0,
                "last_error": { "direction": "received", "code": 6, "subcode": 2,
                                "text": "Cease / Administrative Shutdown: maintenance",
                                "at": "2026-11-23T10:00:00Z" },
                "dial_error": null, "advice": "it was ended on the router",
                "shut_down_by_router": { "since": "2026-11-23T10:00:00Z", "text": "maintenance" },
                "restored": 0, "stale_seconds": 240, "near_limit": true,
            }],
            "dynamic": [{ "prefix": "198.51.100.0/24", "sessions": 3, "max_sessions": 100,
                          "refused": { "asn": 2, "busy": 0 } }],
            "footprint": { "prefixes": 998, "addresses": 255488, "advertised": 998,
                           "generation": "a/7", "acknowledged": true, "damped": 5,
                           "left_out": { "prefixes": 2, "reason": "IPv6 is off" },
                           "held": { "since_seconds": 61, "before_prefixes": 5000,
                                     "before_addresses": 1 } },
        });
        let text = render(&status, Output::Pipe).unwrap();
        for words in [
            "Router ID 192.0.2.10, 0 of 1 sessions established\n",
            "\n192.0.2.1 rack 4\n    shut down by the router's operator since 2026-11-23 10:00:00Z: \
             \"maintenance\"\n    2026-11-23 10:00:00Z: the router closed the session: Cease / \
             Administrative Shutdown: maintenance (6/2)\n    next attempt in 29m 58s\n",
            "    1,000 routes of the lost session are kept as stale, for 4m 0s at most\n",
            "    0 % of `max_prefixes` (1,000) are there\n",
            "    it was ended on the router\n",
            "    3 malformed: `mcc bgp errors 192.0.2.1` shows the last ones\n",
            "\nRouters in 198.51.100.0/24: 3 of at most 100; refused: 2 asn\n",
            "\nFootprint: 998 prefixes, 255,488 addresses; held back: the control plane knows 998 \
             prefixes\n",
            "    no client is steered by 2 prefixes of it: IPv6 is off\n",
            "    5 flap and are kept back until they are calm: `mcc footprint --damped`\n",
            "    from 5,000 prefixes, 1 address to 998 prefixes, 255,488 addresses within five \
             minutes, held for 1m 1s; the control plane knows 998 prefixes\n    if the routers are right, `mcc footprint approve`",
        ] {
            assert!(text.contains(words), "no {words} in:\n{text}");
        }
        let line = text.lines().find(|line| line.starts_with("192.0.2.1  ")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        let expected = "192.0.2.1 65100 ibgp Idle 2s 2,004 2,004 1,000 998 2 1,000 1".split(' ');
        assert_eq!(cells, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_full_range_says_who_keeps_the_places() {
        let shown = |gone: u64, refused: u64| {
            let range = json!({
                "prefix": "198.51.100.0/24", "sessions": 3, "gone": gone, "max_sessions": 3,
                "refused": { "max_sessions": refused }
            });
            let status = json!({
                "router_id": "192.0.2.10", "neighbors": [], "dynamic": [range],
                "footprint": FootprintSummary::default(),
            });
            let text = render(&status, Output::Pipe).unwrap();
            let (_, of_range) = text.split_once("\n\n").unwrap();
            of_range.split_once("\n\n").unwrap().0.to_owned()
        };
        assert_eq!(shown(0, 0), "Routers in 198.51.100.0/24: 3 of at most 3");
        assert_eq!(
            shown(0, 7),
            "Routers in 198.51.100.0/24: 3 of at most 3; refused: 7 max_sessions\n    no further \
             router is let in: raise `max_sessions`"
        );
        assert_eq!(
            shown(2, 7),
            "Routers in 198.51.100.0/24: 3 of at most 3, 2 of them gone; refused: 7 max_sessions\n    \
             no further router is let in: raise `max_sessions`, or wait: the 2 that are gone keep \
             their places for `stale_time` or the rest after a failure"
        );
    }

    #[test]
    fn what_is_kept_and_what_is_left_out_is_said_in_words() {
        let counts = json!({
            "open": 0, "update": 0, "notification": 0, "keepalive": 0, "route_refresh": 0
        });
        let neighbor = json!({
            "address": "192.0.2.1", "asn": 65100, "local_asn": 65100, "type": "ibgp",
            "dynamic": null, "description": null, "state": "Active", "up_down_seconds": 2,
            "retry_seconds": null, "flaps": 0, "received": 90, "accepted": 90, "rejected": {},
            "stale": 0, "set_hash": {}, "discarded": 0, "max_prefixes": 100, "hold_time": 90,
            "messages": { "received": counts, "sent": counts }, "updates_treated_as_withdraw": 0,
            "updates_with_discarded_attributes": 0, "malformed_resets": 0, "last_error": null,
            "dial_error": null, "advice": null, "near_limit": true,
        });
        let mut neighbor = Neighbor::deserialize(&neighbor).unwrap();
        assert_eq!(neighbor.remarks(), ["90 % of `max_prefixes` (100) are there"]);
        neighbor.near_limit = false;
        neighbor.updates_treated_as_withdraw = 3000;
        let malformed = "3,000 malformed: `mcc bgp errors 192.0.2.1` shows the last ones";
        assert_eq!(neighbor.remarks(), [malformed]);
        let advice = "3,000 UPDATEs were malformed, `mcc bgp errors 192.0.2.1` shows the last ones";
        neighbor.advice = Some(advice.to_owned());
        assert_eq!(neighbor.remarks(), [advice], "it is not told twice");
        (neighbor.updates_treated_as_withdraw, neighbor.advice) = (0, None);
        let mut wait = |passive, state: &str, retry_seconds| {
            (neighbor.passive, neighbor.retry_seconds) = (passive, retry_seconds);
            neighbor.state = state.to_owned();
            neighbor.remarks().join("; ")
        };
        assert_eq!(wait(false, "Active", Some(5)), "next attempt in 5s");
        let waits = "waits for the router to connect (`passive`)";
        assert_eq!(wait(true, "Active", Some(5)), waits, "it does not dial then");
        assert_eq!(wait(true, "Idle", Some(5)), "lets the router in again in 5s");
        assert_eq!(wait(false, "Active", None), "");
        neighbor.discarded = 7;
        assert_eq!(neighbor.remarks(), ["7 routes over `max_prefixes` not taken"]);
        neighbor.discarded = DISCARDED_MOST;
        assert_eq!(neighbor.remarks(), ["262,144 routes or more over `max_prefixes` not taken"]);
        (neighbor.discarded, neighbor.near_limit) = (0, false);
        (neighbor.stale, neighbor.restored, neighbor.stale_seconds) = (90, 90, Some(3600));
        assert_eq!(
            neighbor.remarks(),
            ["90 routes of the last run of the node are kept until the router has announced its \
              table, for 1h 0m at most"]
        );
        neighbor.restored = 0;
        let flood = json!({ "direction": "sent", "code": 6, "subcode": 1, "text": "Cease",
                            "at": "2026-11-23T10:00:00Z" });
        neighbor.last_error = Some(LastError::deserialize(&flood).unwrap());
        assert_eq!(
            neighbor.stale_in_words().unwrap(),
            "90 routes of before the flood are kept as stale, each as it was announced last, for 1h \
             0m at most"
        );
        (neighbor.stale, neighbor.last_error) = (1, None);
        assert_eq!(
            neighbor.remarks(),
            ["1 route of the lost session is kept as stale, for 1h 0m at most"]
        );
    }
}
