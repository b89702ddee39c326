//! `mcc bgp …`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{BgpCommand, Common, Routes, Target};
use crate::text::{self, Rows};

pub(super) async fn run(common: &Common, command: &BgpCommand) -> Result<Verdict> {
    let client = AdminClient::new(common)?;
    match command {
        BgpCommand::Status => status(common, &client).await,
        BgpCommand::Neighbor { address } => neighbor(common, &client, *address).await,
        BgpCommand::Routes(arguments) => routes(common, &client, arguments).await,
        BgpCommand::Refresh { address } => {
            client.post(&format!("/v1/bgp/neighbors/{address}/refresh")).await?;
            text::print(&format!("{address} was asked for its table.\n"))?;
            Ok(Verdict::Good)
        }
        BgpCommand::Reset { address } => {
            client.post(&format!("/v1/bgp/neighbors/{address}/reset")).await?;
            text::print(&format!(
                "The session with {address} is closed; it comes back by itself.\n"
            ))?;
            Ok(Verdict::Good)
        }
    }
}

/// What the tables show of `GET /v1/bgp`.
#[derive(Debug, Deserialize)]
struct BgpStatus {
    router_id: IpAddr,
    neighbors: Vec<Neighbor>,
    footprint: Footprint,
}

#[derive(Debug, Deserialize)]
struct Neighbor {
    address: IpAddr,
    asn: u32,
    local_asn: u32,
    #[serde(rename = "type")]
    kind: String,
    description: Option<String>,
    state: String,
    state_seconds: u64,
    retry_seconds: Option<u64>,
    flaps: u64,
    received: u64,
    accepted: u64,
    rejected: BTreeMap<String, u64>,
    stale: u64,
    max_prefixes: u64,
    hold_time: u16,
    capabilities: Vec<String>,
    messages_received: u64,
    updates_treated_as_withdraw: u64,
    updates_with_discarded_attributes: u64,
    last_error: Option<LastError>,
    dial_error: Option<LastError>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct LastError {
    direction: String,
    text: String,
    at: String,
}

#[derive(Debug, Deserialize)]
struct Footprint {
    prefixes: u64,
    addresses: u64,
    advertised: u64,
    generation: Option<String>,
    acknowledged: bool,
}

impl BgpStatus {
    fn all_established(&self) -> bool {
        self.neighbors.iter().all(Neighbor::is_established)
    }
}

impl Neighbor {
    fn is_established(&self) -> bool {
        self.state == "Established"
    }

    fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }
}

async fn status(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let json: Value = client.get("/v1/bgp").await?;
    let status = BgpStatus::deserialize(&json)?;
    if common.json {
        print_json(&json)?;
    } else {
        text::print(&render_status(&json)?)?;
    }
    Ok(Verdict::of(status.all_established()))
}

/// The table of `mcc bgp status`, from what `GET /v1/bgp` answers.
pub(crate) fn render_status(json: &Value) -> Result<String> {
    let status = BgpStatus::deserialize(json)?;
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
            ">Since",
            ">Received",
            ">Accepted",
            ">Refused",
            ">Stale",
            ">Flaps",
            "Last error",
        ]);
        for neighbor in &status.neighbors {
            rows.push([
                neighbor.address.to_string(),
                neighbor.asn.to_string(),
                neighbor.kind.clone(),
                neighbor.state.clone(),
                text::duration(neighbor.state_seconds),
                text::count(neighbor.received),
                text::count(neighbor.accepted),
                text::count(neighbor.rejected()),
                text::count(neighbor.stale),
                text::count(neighbor.flaps),
                neighbor.last_error.as_ref().map_or_else(|| "-".to_owned(), LastError::in_words),
            ]);
        }
        write!(out, "\n{}", rows.render())?;
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

impl LastError {
    fn in_words(&self) -> String {
        format!("{} ({})", self.text, self.direction)
    }
}

async fn neighbor(common: &Common, client: &AdminClient, address: IpAddr) -> Result<Verdict> {
    let json: Value = client.get("/v1/bgp").await?;
    let status = BgpStatus::deserialize(&json)?;
    let position = status.neighbors.iter().position(|neighbor| neighbor.address == address);
    let found =
        position.and_then(|i| Some((status.neighbors.get(i)?, json.get("neighbors")?.get(i)?)));
    let Some((neighbor, json)) = found else {
        let known: Vec<_> = status.neighbors.iter().map(|n| n.address.to_string()).collect();
        bail!(
            "no neighbor {address}; the configured ones are: {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
    };
    if common.json {
        print_json(json)?;
    } else {
        text::print(&render_neighbor(neighbor)?)?;
    }
    Ok(Verdict::of(neighbor.is_established()))
}

fn render_neighbor(neighbor: &Neighbor) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let mut line = |key: &str, value: String| writeln!(out, "{key:<16}{}", text::printable(&value));
    line("Neighbor", neighbor.address.to_string())?;
    if let Some(description) = &neighbor.description {
        line("Description", description.clone())?;
    }
    line("AS", format!("{} (ours {}, {})", neighbor.asn, neighbor.local_asn, neighbor.kind))?;
    let retry = neighbor.retry_seconds.map(text::duration);
    let retry = retry.map_or_else(String::new, |wait| format!(", next attempt in {wait}"));
    let since = text::duration(neighbor.state_seconds);
    line("State", format!("{} for {since}{retry}", neighbor.state))?;
    line("Flaps", text::count(neighbor.flaps))?;
    line("Hold time", format!("{} s", neighbor.hold_time))?;
    line(
        "Capabilities",
        match neighbor.capabilities.as_slice() {
            [] => "-".to_owned(),
            capabilities => capabilities.join(", "),
        },
    )?;
    line(
        "Received",
        format!(
            "{} of at most {}",
            text::count(neighbor.received),
            text::count(neighbor.max_prefixes)
        ),
    )?;
    line("Accepted", text::count(neighbor.accepted))?;
    line("Stale", text::count(neighbor.stale))?;
    line("Refused", text::count(neighbor.rejected()))?;
    for (reason, count) in &neighbor.rejected {
        line("", format!("{} {reason}", text::count(*count)))?;
    }
    line("Messages", format!("{} received", text::count(neighbor.messages_received)))?;
    line(
        "Malformed",
        format!(
            "{} updates treated as withdraw, {} with an attribute discarded (RFC 7606)",
            text::count(neighbor.updates_treated_as_withdraw),
            text::count(neighbor.updates_with_discarded_attributes)
        ),
    )?;
    let when = |error: &LastError| format!("{} at {}", error.in_words(), error.at);
    line("Last error", neighbor.last_error.as_ref().map_or_else(|| "-".to_owned(), when))?;
    // Without another error the failed dial stands there already.
    if let Some(error) =
        neighbor.dial_error.as_ref().filter(|e| neighbor.last_error.as_ref() != Some(e))
    {
        line("Dialling", when(error))?;
    }
    Ok(out)
}

/// A router can send hundreds of communities with one route: `--json` has all of them, the table
/// stays one that a person can read.
const LONGEST_CELL: usize = 80;

/// What `GET /v1/bgp/routes` is asked.
#[derive(Debug, Default, Serialize)]
struct RouteRequest {
    ip: Option<IpAddr>,
    prefix: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    longer: bool,
    neighbor: Option<IpAddr>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RoutePage {
    routes: Vec<Value>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Route {
    prefix: String,
    neighbor: IpAddr,
    path_id: u32,
    as_path: String,
    origin: String,
    next_hop: Option<IpAddr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<String>,
    refused_reason: Option<String>,
    stale: bool,
    age_seconds: u64,
}

async fn routes(common: &Common, client: &AdminClient, arguments: &Routes) -> Result<Verdict> {
    let mut request = RouteRequest {
        longer: arguments.longer,
        neighbor: arguments.neighbor,
        rejected: arguments.rejected,
        limit: arguments.limit,
        ..RouteRequest::default()
    };
    match arguments.target {
        Some(Target::Address(address)) => request.ip = Some(address),
        Some(Target::Prefix(prefix)) => request.prefix = Some(prefix.to_string()),
        None => {}
    }
    let mut routes = Vec::new();
    let more = loop {
        let page: RoutePage = client.get_with("/v1/bgp/routes", &request).await?;
        routes.extend(page.routes);
        request.after = page.next;
        // Without a limit every page is fetched: a list is never cut in silence.
        let full = arguments.limit.is_some_and(|limit| routes.len() as u64 >= u64::from(limit));
        if full || request.after.is_none() {
            break request.after.is_some();
        }
    };
    let found = !routes.is_empty();
    if common.json {
        print_json(&serde_json::json!({ "routes": routes }))?;
    } else {
        text::print(&render_routes(&routes)?)?;
        if more {
            eprintln!("There are more routes than --limit {}.", routes.len());
        }
    }
    // Asking for one address or prefix is a question with a yes or no.
    Ok(Verdict::of(found || arguments.target.is_none()))
}

/// The table of `mcc bgp routes`.
pub(crate) fn render_routes(routes: &[Value]) -> Result<String> {
    if routes.is_empty() {
        return Ok("no such route\n".to_owned());
    }
    let mut rows = Rows::new(&[
        "",
        "Prefix",
        "Neighbor",
        "AS path",
        "Origin",
        "Next hop",
        ">MED",
        ">Local pref",
        "Communities",
        ">Age",
        "Refused",
    ]);
    for route in routes {
        let route = Route::deserialize(route)?;
        let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let sign = match (&route.refused_reason, route.stale) {
            (Some(_), _) => "×",
            (None, true) => "~",
            (None, false) => "√",
        };
        rows.push([
            sign.to_owned(),
            match route.path_id {
                0 => route.prefix,
                id => format!("{} [{id}]", route.prefix),
            },
            route.neighbor.to_string(),
            text::shortened(&route.as_path, LONGEST_CELL),
            route.origin,
            route.next_hop.map_or_else(|| "-".to_owned(), |hop| hop.to_string()),
            number(route.med),
            number(route.local_pref),
            text::shortened(&route.communities.join(" "), LONGEST_CELL),
            text::duration(route.age_seconds),
            route.refused_reason.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    Ok(format!("{}\n√ accepted   ~ stale   × refused\n", rows.render()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbor_that_rests_says_until_when_and_why() {
        let neighbor = serde_json::json!({
            "address": "192.0.2.1", "asn": 65100, "local_asn": 65100, "type": "ibgp",
            "description": null, "state": "Idle", "state_seconds": 2, "retry_seconds": 1798,
            "flaps": 1, "received": 0, "accepted": 0, "rejected": {}, "stale": 0,
            "max_prefixes": 1000, "hold_time": 90, "capabilities": [], "messages_received": 4,
            "updates_treated_as_withdraw": 0, "updates_with_discarded_attributes": 0,
            "last_error": {"direction": "sent", "text": "Cease", "at": "10:00"},
            "dial_error": {"direction": "dial", "text": "refused", "at": "10:01"},
        });
        let text = render_neighbor(&Neighbor::deserialize(&neighbor).unwrap()).unwrap();
        for line in [
            "State           Idle for 2s, next attempt in 29m 58s\n",
            "Last error      Cease (sent) at 10:00\n",
            "Dialling        refused (dial) at 10:01\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
