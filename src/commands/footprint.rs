//! `mcc footprint`.

use std::net::IpAddr;

use anyhow::Result;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{Common, Footprint as Arguments, FootprintCommand};
use crate::node::status::{FootprintSummary, Status};
use crate::table::Rows;
use crate::terminal::Output;
use crate::text;

/// `mcc footprint --json`
#[derive(Debug, Serialize, Deserialize)]
struct Footprint {
    prefixes: Vec<Prefix>,
    count: u64,
    addresses: u64,
    ipv6_slash48s: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Prefix {
    prefix: IpNet,
    source: String,
    neighbors: Vec<IpAddr>,
    /// Only where `--inconsistent` asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<IpAddr>,
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(flatten)]
    footprint: Footprint,
    next: Option<IpNet>,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<Verdict> {
    let client = AdminClient::new(common)?;
    if let Some(FootprintCommand::Approve) = arguments.command {
        return approve(common, &client).await;
    }
    if arguments.damped {
        return damped(common, &client).await;
    }
    let footprint = fetch(&client, arguments.inconsistent).await?;
    if arguments.aggregate {
        let prefixes: Vec<IpNet> = footprint.prefixes.iter().map(|p| p.prefix).collect();
        return aggregated(common, arguments, &footprint, &IpNet::aggregate(&prefixes));
    }
    if arguments.inconsistent {
        return inconsistent(common, arguments, &footprint);
    }
    if common.json {
        print_json(&footprint)?;
    } else if arguments.csv {
        let mut out = "prefix,source,neighbors\n".to_owned();
        for prefix in &footprint.prefixes {
            out.push_str(&format!("{},{},{}\n", prefix.prefix, prefix.source, neighbors(prefix)));
        }
        text::print(&out)?;
    } else {
        let mut rows = Rows::new(&["Prefix", "Source", "~Neighbors"]);
        for prefix in &footprint.prefixes {
            rows.push([prefix.prefix.to_string(), prefix.source.clone(), neighbors(prefix)]);
        }
        let status: Status = client.get("/v1/status").await?;
        let (output, told) = (Output::standard(), if_held(&status.footprint));
        text::print(&format!("{}\n{}{told}", rows.render(output), summary(&footprint)))?;
    }
    Ok(Verdict::Good)
}

/// What `GET /v1/footprint` is asked.
#[derive(Debug, Serialize)]
struct Request {
    inconsistent: bool,
    after: Option<IpNet>,
}

/// All of it, page by page.
async fn fetch(client: &AdminClient, inconsistent: bool) -> Result<Footprint> {
    let mut request = Request { inconsistent, after: None };
    let mut prefixes = Vec::new();
    loop {
        let mut page: Page = client.get_with("/v1/footprint", &request).await?;
        prefixes.append(&mut page.footprint.prefixes);
        request.after = page.next;
        if request.after.is_none() {
            return Ok(Footprint { prefixes, ..page.footprint });
        }
    }
}

/// Bad if there is anything: somebody should look.
fn inconsistent(common: &Common, arguments: &Arguments, footprint: &Footprint) -> Result<Verdict> {
    let list = |addresses: &[IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let prefixes = &footprint.prefixes;
    if common.json {
        print_json(footprint)?;
    } else if arguments.csv {
        let mut out = "prefix,neighbors,missing\n".to_owned();
        for Prefix { prefix, neighbors, missing, .. } in prefixes {
            out.push_str(&format!("{prefix},{},{}\n", list(neighbors), list(missing)));
        }
        text::print(&out)?;
    } else if prefixes.is_empty() {
        text::print("All neighbors announce the same prefixes.\n")?;
    } else {
        let mut rows = Rows::new(&["Prefix", "~Announced by", "~Not by"]);
        for Prefix { prefix, neighbors, missing, .. } in prefixes {
            rows.push([prefix.to_string(), list(neighbors), list(missing)]);
        }
        let count = text::prefixes(prefixes.len() as u64);
        text::print(&format!(
            "{}\n{count} out of {}",
            rows.render(Output::standard()),
            summary(footprint)
        ))?;
    }
    Ok(Verdict::of(prefixes.is_empty()))
}

async fn approve(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let answer: Value = client.ask("/v1/footprint/approve").await?;
    if common.json {
        print_json(&answer)?;
    } else if answer.get("held") == Some(&Value::Bool(true)) {
        text::print("The control plane is told of the footprint as it is now.\n")?;
    } else {
        text::print("Nothing was held: the control plane is told of every change.\n")?;
    }
    Ok(Verdict::Good)
}

#[derive(Debug, Deserialize)]
struct Damped {
    prefix: IpNet,
    penalty: u64,
    free_in_seconds: u64,
}

async fn damped(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let answer: Value = client.get("/v1/footprint/damped").await?;
    if common.json {
        print_json(&answer)?;
        return Ok(Verdict::Good);
    }
    let prefixes = answer.get("prefixes").cloned().unwrap_or_default();
    let prefixes = Vec::<Damped>::deserialize(prefixes)?;
    if prefixes.is_empty() {
        text::print("No prefix is damped.\n")?;
        return Ok(Verdict::Good);
    }
    let mut rows = Rows::new(&["Prefix", ">Penalty", ">Free in"]);
    for damped in prefixes {
        let free = text::duration(damped.free_in_seconds);
        rows.push([damped.prefix.to_string(), text::count(damped.penalty), free]);
    }
    text::print(&format!(
        "{}\nThe control plane keeps what it knew of these until they are calm.\n",
        rows.render(Output::standard())
    ))?;
    Ok(Verdict::Good)
}

fn aggregated(
    common: &Common,
    arguments: &Arguments,
    footprint: &Footprint,
    prefixes: &[IpNet],
) -> Result<Verdict> {
    if common.json {
        print_json(&serde_json::json!({
            "prefixes": prefixes,
            "count": prefixes.len(),
            "addresses": footprint.addresses,
            "ipv6_slash48s": footprint.ipv6_slash48s,
        }))?;
        return Ok(Verdict::Good);
    }
    let mut out = if arguments.csv { "prefix\n".to_owned() } else { String::new() };
    for prefix in prefixes {
        out.push_str(&format!("{prefix}\n"));
    }
    if !arguments.csv {
        out.push_str(&format!("\n{} out of ", text::prefixes(prefixes.len() as u64)));
        out.push_str(&summary(footprint));
    }
    text::print(&out)?;
    Ok(Verdict::Good)
}

/// What the control plane knows instead of the footprint, while that is held; else nothing.
fn if_held(footprint: &FootprintSummary) -> String {
    match footprint.held {
        Some(_) => format!("{}; `mcc bgp status` tells more\n", footprint.told_in_words()),
        None => String::new(),
    }
}

fn neighbors(prefix: &Prefix) -> String {
    let neighbors: Vec<_> = prefix.neighbors.iter().map(ToString::to_string).collect();
    neighbors.join(" ")
}

fn summary(footprint: &Footprint) -> String {
    let Footprint { count, addresses, ipv6_slash48s, .. } = footprint;
    format!("{}\n", text::footprint(*count, *addresses, *ipv6_slash48s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::status::HeldFootprint;

    #[test]
    fn below_the_list_stands_how_much_of_it_the_control_plane_knows_while_it_is_held() {
        let held = HeldFootprint {
            since_seconds: 7,
            before_prefixes: 8000,
            before_addresses: 2_048_000,
            before_ipv6_slash48s: 0,
        };
        let mut footprint = FootprintSummary {
            prefixes: 2000,
            advertised: 4700,
            generation: Some("a/7".to_owned()),
            ..FootprintSummary::default()
        };
        assert_eq!(if_held(&footprint), "");
        footprint.held = Some(held);
        assert_eq!(
            if_held(&footprint),
            "held back: the control plane knows 4,700 prefixes; `mcc bgp status` tells more\n"
        );
    }
}
