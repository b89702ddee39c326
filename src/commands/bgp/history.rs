//! `mcc bgp history`: what the sessions did, in the order of time.

use std::net::IpAddr;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{BgpHistory, Common};
use crate::table::Rows;
use crate::terminal::Output;
use crate::text;

/// What the table shows of `GET /v1/bgp/history`.
#[derive(Debug, Deserialize)]
struct History {
    neighbors: Vec<SessionHistory>,
}

#[derive(Debug, Deserialize)]
struct SessionHistory {
    address: IpAddr,
    states: Vec<StateChange>,
    messages: Vec<Message>,
}

/// A change of state.
#[derive(Debug, Deserialize)]
pub(super) struct StateChange {
    pub(super) at: Timestamp,
    times: u32,
    last_at: Timestamp,
    pub(super) from: String,
    pub(super) to: String,
    reason: String,
}

impl StateChange {
    /// Why, and how often if more than once.
    pub(super) fn why(&self) -> String {
        match self.times {
            1 => self.reason.clone(),
            n => format!("{} ({n} times, last {})", self.reason, text::time(self.last_at)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Message {
    at: Timestamp,
    direction: String,
    #[serde(rename = "type")]
    kind: String,
    text: String,
}

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &BgpHistory,
) -> Result<Verdict> {
    let query = [("neighbor", arguments.address)];
    let json: Value = match arguments.address {
        Some(_) => client.get_with("/v1/bgp/history", &query).await?,
        None => client.get("/v1/bgp/history").await?,
    };
    if common.json {
        print_json(&json)?;
    } else {
        let history = History::deserialize(&json)?;
        text::print(&render(&history, arguments.messages, Output::standard()))?;
    }
    Ok(Verdict::Good)
}

fn render(history: &History, messages: bool, output: Output) -> String {
    let mut lines = Vec::new();
    for session in &history.neighbors {
        lines.extend(session.states.iter().map(|change| {
            let what = format!("{} → {}", change.from, change.to);
            (change.at, session.address, what, change.why())
        }));
        lines.extend(session.messages.iter().filter(|_| messages).map(|message| {
            let what = format!("{} {}", message.direction, message.kind);
            (message.at, session.address, what, message.text.clone())
        }));
    }
    if lines.is_empty() {
        return "nothing has happened yet\n".to_owned();
    }
    lines.sort_by_key(|(at, ..)| *at);
    let mut rows = Rows::new(&["Time", "Neighbor", "What", "~Why"]);
    for (at, address, what, why) in lines {
        rows.push([text::time_millis(at), address.to_string(), what, why]);
    }
    rows.render(output)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_and_messages_stand_in_the_order_of_time() {
        let history = History::deserialize(json!({ "neighbors": [
            { "address": "192.0.2.1",
              "states": [{ "at": "2026-11-23T10:00:00Z", "times": 1,
                           "last_at": "2026-11-23T10:00:00Z", "from": "Idle", "to": "Connect",
                           "reason": "dialling the router" },
                         { "at": "2026-11-23T10:00:02Z", "times": 7,
                           "last_at": "2026-11-23T11:00:00Z", "from": "Connect", "to": "OpenSent",
                           "reason": "connected" }],
              "messages": [{ "at": "2026-11-23T10:00:02.0005Z", "direction": "sent",
                             "type": "OPEN", "text": "AS 65100", "length": 53 }] },
            { "address": "192.0.2.2",
              "states": [{ "at": "2026-11-23T10:00:01.25Z", "times": 1,
                           "last_at": "2026-11-23T10:00:01.25Z", "from": "Idle", "to": "Connect",
                           "reason": "dialling the router" }],
              "messages": [] },
        ]}))
        .unwrap();
        let text = render(&history, true, Output::Pipe);
        let lines: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split("  ").map(str::trim).collect()).collect();
        assert_eq!(lines[0][..2], ["2026-11-23 10:00:00.000Z", "192.0.2.1"]);
        assert_eq!(lines[1][..2], ["2026-11-23 10:00:01.250Z", "192.0.2.2"]);
        assert!(text.contains("sent OPEN           AS 65100"), "{text}");
        assert!(text.contains("connected (7 times, last 2026-11-23 11:00:00Z)"), "{text}");
        assert!(!render(&history, false, Output::Pipe).contains("OPEN  "));
        assert_eq!(
            render(&History { neighbors: vec![] }, true, Output::Pipe),
            "nothing has happened yet\n"
        );
    }
}
