//! `mcc status`.

use std::fmt::Write;

use anyhow::Result;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::node::status::{PartState, Status};
use crate::text;

pub(super) async fn run(common: &Common) -> Result<Verdict> {
    let status: Status = AdminClient::new(common)?.get("/v1/status").await?;
    if common.json {
        print_json(&status)?;
    } else {
        text::print(&render(&status)?)?;
    }
    Ok(Verdict::of(status.ready))
}

fn render(status: &Status) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let fit = match (status.ready, status.draining) {
        (true, _) => "ready",
        (false, true) => "draining",
        (false, false) => "NOT READY",
    };
    writeln!(
        out,
        "{} ({}) is {fit}, up {}, mcc {}",
        status.name,
        status.address,
        text::duration(status.uptime_seconds),
        status.version
    )?;
    for reason in &status.reasons {
        writeln!(out, "  not ready: {}", text::printable(reason))?;
    }
    let traffic = &status.traffic;
    writeln!(
        out,
        "\nTraffic     {} sent to clients, {} fetched from origins, {} requests, {} connections",
        text::bytes(traffic.egress_bytes),
        text::bytes(traffic.fill_bytes),
        text::count(traffic.requests),
        text::count(traffic.connections)
    )?;
    writeln!(
        out,
        "Hit ratio   {} of bytes",
        text::percent(
            traffic.egress_bytes.saturating_sub(traffic.fill_bytes),
            traffic.egress_bytes
        )
    )?;
    let footprint = &status.footprint;
    writeln!(out, "Footprint   {}; {}", footprint.size_in_words(), footprint.told_in_words())?;
    let up = status.parts.iter().filter(|part| part.state == PartState::Up).count();
    writeln!(out, "Parts       {up} of {} up", status.parts.len())?;
    for part in status.parts.iter().filter(|part| part.state != PartState::Up) {
        writeln!(
            out,
            "  {}  {}: {}",
            part.state.word(),
            text::printable(&part.name),
            text::printable(&part.detail)
        )?;
        if let Some(advice) = &part.advice {
            writeln!(out, "      {}", text::printable(advice))?;
        }
    }
    Ok(out)
}
