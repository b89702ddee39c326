//! `mcc status`.

use std::fmt::Write;

use anyhow::Result;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::node::status::{PartState, Status};
use crate::table::{indented, labelled};
use crate::terminal::Output;
use crate::text;

pub(super) async fn run(common: &Common) -> Result<Verdict> {
    let status: Status = AdminClient::new(common)?.get("/v1/status").await?;
    if common.json {
        print_json(&status)?;
    } else {
        text::print(&render(&status, Output::standard())?)?;
    }
    Ok(Verdict::of(status.ready))
}

/// Where the values begin.
const VALUES_AT: usize = 12;

fn render(status: &Status, output: Output) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let fit = match (status.ready, status.draining) {
        (true, _) => "ready",
        (false, true) => "draining",
        (false, false) => "NOT READY",
    };
    let title = format!(
        "{} ({}) is {fit}, up {}, mcc {}",
        status.name,
        status.address,
        text::duration(status.uptime_seconds),
        status.version
    );
    out.push_str(&indented(&title, 0, output));
    for reason in &status.reasons {
        out.push_str(&indented(&format!("not ready: {reason}"), 2, output));
    }
    let traffic = &status.traffic;
    let sent = text::traffic(traffic.egress_bytes, traffic.hit_bytes, traffic.fill_bytes);
    write!(out, "\n{}", labelled("Traffic", VALUES_AT, &sent, output))?;
    let hits = text::hit_ratio(traffic.hit_bytes, traffic.egress_bytes);
    out.push_str(&labelled("Hit ratio", VALUES_AT, &hits, output));
    let clients = format!(
        "{} since the start, {} now",
        text::counted(traffic.requests, "request", "requests"),
        text::counted(traffic.connections, "connection", "connections")
    );
    out.push_str(&labelled("Clients", VALUES_AT, &clients, output));
    let footprint = &status.footprint;
    let size = format!("{}; {}", footprint.size_in_words(), footprint.told_in_words());
    out.push_str(&labelled("Footprint", VALUES_AT, &size, output));
    let up = status.parts.iter().filter(|part| part.state == PartState::Up).count();
    writeln!(out, "Parts       {up} of {} up", status.parts.len())?;
    for part in status.parts.iter().filter(|part| part.state != PartState::Up) {
        let line = format!("{}  {}: {}", part.state.word(), part.name, part.detail);
        out.push_str(&indented(&line, 2, output));
        out.push_str(&indented(part.advice.as_deref().unwrap_or_default(), 6, output));
    }
    Ok(out)
}
