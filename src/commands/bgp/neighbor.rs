//! `mcc bgp neighbor`: everything about one session on one page.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::Result;
use mcc_bgp::policy::Refusal;
use serde::Deserialize;
use serde_json::Value;

use super::history::StateChange;
use super::status::{Neighbor, in_words};
use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::table::{Rows, labelled};
use crate::terminal::Output;
use crate::text;

/// How many changes of state the page shows; `mcc bgp history` has all that are remembered.
const TAIL: usize = 8;

/// What the page shows of `GET /v1/bgp/neighbors/{address}`.
#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(flatten)]
    neighbor: Neighbor,
    timers: Timers,
    negotiated: Option<Negotiated>,
    capabilities: Vec<String>,
    states: Vec<StateChange>,
}

#[derive(Debug, Deserialize)]
struct Timers {
    hold_remaining: Option<u64>,
    keepalive: Option<u64>,
    keepalive_remaining: Option<u64>,
    retry_remaining: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Negotiated {
    remote_id: IpAddr,
    offered: Vec<Capability>,
    received: Vec<Capability>,
}

/// A capability in an OPEN.
#[derive(Debug, Deserialize)]
struct Capability {
    name: String,
    detail: Option<String>,
}

pub(super) async fn run(common: &Common, client: &AdminClient, address: IpAddr) -> Result<Verdict> {
    let json: Value = client.get(&format!("/v1/bgp/neighbors/{address}")).await?;
    let detail = Detail::deserialize(&json)?;
    if common.json {
        print_json(&json)?;
    } else {
        text::print(&render(&detail, Output::standard())?)?;
    }
    Ok(Verdict::of(detail.neighbor.is_established()))
}

fn render(detail: &Detail, output: Output) -> Result<String, std::fmt::Error> {
    let mut page = Page { text: String::new(), output };
    let neighbor = &detail.neighbor;
    page.line("Neighbor", &neighbor.address.to_string())?;
    if let Some(description) = &neighbor.description {
        page.line("Description", description)?;
    }
    if let Some(prefix) = &neighbor.dynamic {
        page.line("Dynamic", &format!("by `[[bgp.dynamic]]` {prefix}"))?;
    }
    let Neighbor { asn, local_asn, kind, .. } = neighbor;
    page.line("AS", &format!("{asn}, ours {local_asn} ({kind})"))?;
    if let Some(negotiated) = &detail.negotiated {
        page.line("Identifier", &negotiated.remote_id.to_string())?;
    }
    let since = text::duration(neighbor.up_down_seconds);
    let flaps = match neighbor.flaps {
        0 => "never lost".to_owned(),
        1 => "lost once".to_owned(),
        n => format!("lost {} times", text::count(n)),
    };
    let up_down = match (neighbor.is_established(), neighbor.flaps) {
        (true, _) => format!("up for {since}, {flaps}"),
        (false, 0) => format!("not up yet, for {since}"),
        (false, _) => format!("down for {since}, {flaps}"),
    };
    page.line("State", &format!("{}, {up_down}", neighbor.state))?;
    if let Some(words) = neighbor.shut_down_in_words() {
        page.line("", &words)?;
    }
    render_timers(&mut page, detail)?;
    render_routes(&mut page, detail)?;
    render_errors(&mut page, neighbor)?;
    if let Some(negotiated) = &detail.negotiated {
        render_capabilities(&mut page, negotiated, &detail.capabilities)?;
    }
    render_messages(&mut page, neighbor)?;
    render_states(&mut page, detail)?;
    Ok(page.text)
}

/// Lines of a name and a value.
struct Page {
    text: String,
    output: Output,
}

/// Where the values begin.
const VALUES_AT: usize = 14;

impl Page {
    fn line(&mut self, key: &str, value: &str) -> std::fmt::Result {
        self.text.write_str(&labelled(key, VALUES_AT, value, self.output))
    }

    fn table(&mut self, rows: Rows) -> std::fmt::Result {
        write!(self.text, "\n{}", rows.render(self.output))
    }
}

fn render_timers(page: &mut Page, detail: &Detail) -> std::fmt::Result {
    let Timers { hold_remaining, keepalive, keepalive_remaining, retry_remaining } = detail.timers;
    let mut timers = vec![match (detail.neighbor.hold_time, hold_remaining) {
        (0, _) => "hold time 0: never runs out".to_owned(),
        (hold_time, Some(left)) => {
            // Before the OPEN it is another, longer timer.
            let of = if keepalive.is_some() { format!(" of {hold_time} s") } else { String::new() };
            format!("hold {left} s left{of}")
        }
        (hold_time, None) => format!("hold time {hold_time} s"),
    }];
    if let (Some(interval), Some(left)) = (keepalive, keepalive_remaining) {
        timers.push(format!("keepalive every {interval} s, next in {left} s"));
    }
    timers.extend(retry_remaining.and_then(|_| detail.neighbor.wait_in_words()));
    page.line("Timers", &timers.join("; "))
}

fn render_routes(page: &mut Page, detail: &Detail) -> std::fmt::Result {
    let Detail { neighbor, capabilities, .. } = detail;
    let paths = match capabilities.iter().any(|name| name == "add-path") {
        true => " (each path of ADD-PATH counts)",
        false => "",
    };
    let of = format!(
        "{} received of at most {}{paths}, {} accepted, {} refused, {} stale",
        text::count(neighbor.received),
        text::count(neighbor.max_prefixes),
        text::count(neighbor.accepted),
        text::count(neighbor.rejected()),
        text::count(neighbor.stale),
    );
    page.line("Routes", &of)?;
    for (reason, count) in &neighbor.rejected {
        // A node of a newer version may have reasons that this program does not know.
        let meaning = Refusal::named(reason).map(|it| format!(" ({})", it.meaning()));
        let meaning = meaning.unwrap_or_default();
        page.line("", &format!("{} refused: {reason}{meaning}", text::count(*count)))?;
    }
    for words in [neighbor.stale_in_words(), neighbor.limit_in_words()].into_iter().flatten() {
        page.line("", &words)?;
    }
    // Equal for equal sets of accepted prefixes, on any node: to be compared by eye.
    let hashes = neighbor.set_hash.iter().map(|(family, hash)| format!("{hash} ({family})"));
    match hashes.collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        hashes => page.line("Fingerprint", &hashes.join(", ")),
    }
}

fn render_errors(page: &mut Page, neighbor: &Neighbor) -> std::fmt::Result {
    if neighbor.malformed() > 0 {
        let malformed = format!(
            "{} treated as withdraw, {} with an attribute discarded, {} ended the session: \
             `mcc bgp errors {}`",
            text::count(neighbor.updates_treated_as_withdraw),
            text::count(neighbor.updates_with_discarded_attributes),
            text::count(neighbor.malformed_resets),
            neighbor.address
        );
        page.line("Malformed", &malformed)?;
    }
    let last = neighbor.last_error.as_ref();
    page.line("Last error", &last.map_or_else(|| "none".to_owned(), in_words))?;
    // Without another error the failed dial stands there already.
    if let Some(error) = neighbor.dial_error.as_ref().filter(|&error| last != Some(error)) {
        page.line("Dialling", &in_words(error))?;
    }
    match &neighbor.advice {
        Some(advice) => page.line("What to do", advice),
        None => Ok(()),
    }
}

fn render_messages(page: &mut Page, neighbor: &Neighbor) -> std::fmt::Result {
    let (received, sent) = (neighbor.messages.received, neighbor.messages.sent);
    let mut rows = Rows::new(&["Messages", ">received", ">sent"]);
    for (name, received, sent) in [
        ("OPEN", received.open, sent.open),
        ("UPDATE", received.update, sent.update),
        ("KEEPALIVE", received.keepalive, sent.keepalive),
        ("NOTIFICATION", received.notification, sent.notification),
        ("ROUTE-REFRESH", received.route_refresh, sent.route_refresh),
        ("all", received.total(), sent.total()),
    ] {
        rows.push([name.to_owned(), text::count(received), text::count(sent)]);
    }
    page.table(rows)
}

fn render_states(page: &mut Page, detail: &Detail) -> std::fmt::Result {
    let skipped = detail.states.len().saturating_sub(TAIL);
    let mut rows = Rows::new(&["Time", "State", "~Why"]);
    for change in detail.states.iter().skip(skipped) {
        rows.push([text::time(change.at), change.to.clone(), change.why()]);
    }
    page.table(rows)?;
    if skipped > 0 {
        let address = detail.neighbor.address;
        let earlier = text::counted(skipped as u64, "earlier change", "earlier changes");
        writeln!(page.text, "\n{earlier}: `mcc bgp history {address}`")?;
    }
    Ok(())
}

/// What each side can do, and what of it is in use.
fn render_capabilities(
    page: &mut Page,
    negotiated: &Negotiated,
    in_use: &[String],
) -> std::fmt::Result {
    let mut names: Vec<&str> = Vec::new();
    for capability in negotiated.offered.iter().chain(&negotiated.received) {
        if !names.contains(&capability.name.as_str()) {
            names.push(&capability.name);
        }
    }
    let said = |capabilities: &[Capability], name: &str| {
        let found = capabilities.iter().find(|capability| capability.name == name);
        let words = found.map(|found| found.detail.clone().unwrap_or_else(|| "yes".to_owned()));
        words.unwrap_or_else(|| "-".to_owned())
    };
    let mut rows = Rows::new(&["Capability", "in use", "~of the router", "~of this node"]);
    for name in names {
        rows.push([
            name.to_owned(),
            if in_use.iter().any(|used| used == name) { "yes" } else { "-" }.to_owned(),
            said(&negotiated.received, name),
            said(&negotiated.offered, name),
        ]);
    }
    page.table(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_neighbor_that_rests_says_until_when_and_why() {
        let counts = json!({
            "open": 1, "update": 0, "notification": 1, "keepalive": 1200, "route_refresh": 0
        });
        let states: Vec<_> = (0..10)
            .map(|i| {
                let at = format!("2026-11-23T00:00:{i:02}Z");
                json!({ "at": at, "times": 1, "last_at": at, "from": "Connect", "to": "Idle",
                        "reason": format!("why {i}") })
            })
            .collect();
        let neighbor = json!({
            "address": "192.0.2.1", "asn": 65100, "local_asn": 65100, "type": "ibgp",
            "description": null, "state": "Idle", "up_down_seconds": 2, "retry_seconds": 1798,
            "flaps": 1, "received": 0, "accepted": 0, "rejected": { "too_long": 7 }, "stale": 0,
            "dynamic": null, "set_hash": { "ipv4-unicast": "00c0ffee" }, "discarded": 0,
            "max_prefixes": 1000, "hold_time": 90, "capabilities": ["add-path"],
            "negotiated": null,
            "messages": { "received": counts, "sent": counts },
            "updates_treated_as_withdraw": 3, "updates_with_discarded_attributes": 0,
            "malformed_resets": 0,
            "last_error": {"direction": "sent", "code": 6, "subcode": 1, "text": "Cease",
                           "at": "2026-11-23T10:00:00.5Z"},
            "dial_error": {"direction": "dial", "code": null, "subcode": null, "text": "refused",
                           "at": "2026-11-23T10:01:00Z"},
            "advice": "look at the router's log",
            "timers": { "hold_remaining": null, "keepalive": null, "keepalive_remaining": null,
                        "retry_remaining": 1798 },
            "states": states,
        });
        let text = render(&Detail::deserialize(&neighbor).unwrap(), Output::Pipe).unwrap();
        for line in [
            "State         Idle, down for 2s, lost once\n",
            "Timers        hold time 90 s; next attempt in 29m 58s\n",
            "Routes        0 received of at most 1,000 (each path of ADD-PATH counts), 0 accepted, 7 \
             refused, 0 stale\n",
            "              7 refused: too_long (it is more specific than `max_length`)\n",
            "Last error    2026-11-23 10:00:00Z: this node closed the session: Cease (6/1)\n",
            "Dialling      2026-11-23 10:01:00Z: refused\n",
            "Fingerprint   00c0ffee (ipv4-unicast)\n",
            "What to do    look at the router's log\n",
            "KEEPALIVE         1,200  1,200\n",
            "2026-11-23 00:00:02Z  Idle   why 2\n",
            "2 earlier changes: `mcc bgp history 192.0.2.1`\n",
        ] {
            assert!(text.contains(line), "no {line} in:\n{text}");
        }
        assert!(!text.contains("Capability"), "{text}");
        assert!(text.contains("3 treated as withdraw"), "{text}");
        assert!(!text.contains("why 1\n"), "{text}");
    }

    #[test]
    fn capabilities_are_shown_side_by_side() {
        let negotiated = json!({
            "remote_id": "192.0.2.1",
            "offered": [{ "code": 2, "name": "route-refresh" },
                        { "code": 65, "name": "four-octet-as", "detail": "65100" }],
            "received": [{ "code": 65, "name": "four-octet-as", "detail": "65200" },
                         { "code": 128, "name": "capability-128" }],
        });
        let negotiated = Negotiated::deserialize(negotiated).unwrap();
        let mut page = Page { text: String::new(), output: Output::Pipe };
        render_capabilities(&mut page, &negotiated, &["four-octet-as".to_owned()]).unwrap();
        let lines: Vec<Vec<&str>> =
            page.text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                ["route-refresh", "-", "-", "yes"],
                ["four-octet-as", "yes", "65200", "65100"],
                ["capability-128", "-", "yes", "-"],
            ]
        );
    }
}
