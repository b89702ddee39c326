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
        "\nTraffic     {}",
        text::traffic(traffic.egress_bytes, traffic.hit_bytes, traffic.fill_bytes)
    )?;
    writeln!(out, "Hit ratio   {}", text::hit_ratio(traffic.hit_bytes, traffic.egress_bytes))?;
    writeln!(
        out,
        "Clients     {} requests since the start, {} connections now",
        text::count(traffic.requests),
        text::count(traffic.connections)
    )?;
    let footprint = &status.footprint;
    writeln!(
        out,
        "Footprint   {}, {}{}",
        text::prefixes(footprint.prefixes),
        text::addresses(footprint.addresses),
        match (&footprint.generation, footprint.acknowledged) {
            (None, _) => String::new(),
            (Some(_), true) => ", acknowledged by the control plane".to_owned(),
            (Some(_), false) => format!(
                ", {} acknowledged by the control plane so far",
                text::count(footprint.advertised)
            ),
        }
    )?;
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
