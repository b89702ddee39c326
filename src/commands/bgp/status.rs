//! `mcc bgp status`: a line for each neighbor, and below the table what is wrong, with advice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::text::{self, Rows};

/// Seconds for which a session that is up again is shown with what ended the one before.
const RECENT: u64 = 86_400;

/// What the table shows of `GET /v1/bgp`.
#[derive(Debug, Deserialize)]
struct Status {
    router_id: IpAddr,
    neighbors: Vec<Neighbor>,
    footprint: Footprint,
}

/// What is shown of a neighbor.
#[derive(Debug, Deserialize)]
pub(super) struct Neighbor {
    pub(super) address: IpAddr,
    pub(super) asn: u32,
    pub(super) local_asn: u32,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) description: Option<String>,
    pub(super) state: String,
    pub(super) state_seconds: u64,
    pub(super) retry_seconds: Option<u64>,
    pub(super) flaps: u64,
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) stale: u64,
    pub(super) max_prefixes: u64,
    pub(super) hold_time: u16,
    pub(super) messages: Messages,
    pub(super) updates_treated_as_withdraw: u64,
    pub(super) updates_with_discarded_attributes: u64,
    pub(super) malformed_resets: u64,
    pub(super) last_error: Option<LastError>,
    pub(super) dial_error: Option<LastError>,
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

#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct LastError {
    direction: String,
    text: String,
    at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Footprint {
    prefixes: u64,
    addresses: u64,
    advertised: u64,
    generation: Option<String>,
    acknowledged: bool,
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

    /// What is to be said below the table, if anything.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let last_error = self.last_error.as_ref().map(LastError::in_words);
        if self.is_established() {
            let before = last_error.filter(|_| self.state_seconds < RECENT);
            remarks.extend(before.map(|error| format!("the session before: {error}")));
        } else {
            remarks.extend(last_error);
            remarks.extend(
                self.retry_seconds.map(|wait| format!("next attempt in {}", text::duration(wait))),
            );
        }
        if self.stale > 0 {
            let stale = text::prefixes(self.stale);
            remarks.push(format!("{stale} of the lost session still counted: stale"));
        }
        remarks.extend(self.advice.clone());
        if self.malformed() > 0 {
            let malformed = text::count(self.malformed());
            let address = self.address;
            remarks.push(format!("{malformed} malformed: `mcc bgp errors {address}` lists them"));
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

impl LastError {
    /// `Cease / Administrative Shutdown: maintenance (received 2026-11-23 00:30:01Z)`
    pub(super) fn in_words(&self) -> String {
        let how = match self.direction.as_str() {
            "received" => "received ",
            "sent" => "sent ",
            _ => "",
        };
        format!("{} ({how}{})", self.text, text::time(self.at))
    }
}

pub(super) async fn run(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let json: Value = client.get("/v1/bgp").await?;
    if common.json {
        print_json(&json)?;
    } else {
        text::print(&render(&json)?)?;
    }
    let status = Status::deserialize(&json)?;
    Ok(Verdict::of(status.neighbors.iter().all(Neighbor::is_established)))
}

/// The table of `mcc bgp status`, from what `GET /v1/bgp` answers.
pub(crate) fn render(json: &Value) -> Result<String> {
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
            "Type",
            "State",
            ">Up/Down",
            ">MsgRcvd",
            ">MsgSent",
            ">Received",
            ">Accepted",
            ">Refused",
            ">Stale",
            ">Flaps",
        ]);
        for neighbor in &status.neighbors {
            rows.push([
                neighbor.address.to_string(),
                neighbor.asn.to_string(),
                neighbor.kind.clone(),
                neighbor.state.clone(),
                text::duration(neighbor.state_seconds),
                text::count(neighbor.messages.received.total()),
                text::count(neighbor.messages.sent.total()),
                text::count(neighbor.received),
                text::count(neighbor.accepted),
                text::count(neighbor.rejected()),
                text::count(neighbor.stale),
                text::count(neighbor.flaps),
            ]);
        }
        write!(out, "\n{}", rows.render())?;
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
            writeln!(out, "    {}", text::printable(&remark))?;
        }
    }
    let footprint = &status.footprint;
    write!(
        out,
        "\nFootprint: {}, {}",
        text::prefixes(footprint.prefixes),
        text::addresses(footprint.addresses)
    )?;
    match &footprint.generation {
        None => writeln!(out, "; not advertised: no control plane is configured"),
        Some(_) if footprint.acknowledged => {
            writeln!(out, "; all acknowledged by the control plane")
        }
        Some(_) => writeln!(
            out,
            "; {} acknowledged by the control plane so far",
            text::count(footprint.advertised)
        ),
    }?;
    Ok(out)
}
