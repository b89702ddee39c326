//! `mcc footprint`.

use std::net::IpAddr;

use anyhow::Result;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{Common, Footprint as Arguments};
use crate::text::{self, Rows};

/// `mcc footprint --json`
#[derive(Debug, Serialize, Deserialize)]
struct Footprint {
    prefixes: Vec<Prefix>,
    count: u64,
    addresses: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Prefix {
    prefix: IpNet,
    source: String,
    neighbors: Vec<IpAddr>,
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(flatten)]
    footprint: Footprint,
    next: Option<IpNet>,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<Verdict> {
    let footprint = fetch(&AdminClient::new(common)?).await?;
    if arguments.aggregate {
        let prefixes: Vec<IpNet> = footprint.prefixes.iter().map(|p| p.prefix).collect();
        return aggregated(common, arguments, &footprint, &IpNet::aggregate(&prefixes));
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
        let mut rows = Rows::new(&["Prefix", "Source", "Neighbors"]);
        for prefix in &footprint.prefixes {
            rows.push([prefix.prefix.to_string(), prefix.source.clone(), neighbors(prefix)]);
        }
        text::print(&format!("{}\n{}", rows.render(), summary(&footprint)))?;
    }
    Ok(Verdict::Good)
}

/// All of it, page by page.
async fn fetch(client: &AdminClient) -> Result<Footprint> {
    let mut page: Page = client.get("/v1/footprint").await?;
    let mut prefixes = page.footprint.prefixes;
    while let Some(after) = page.next {
        page = client.get_with("/v1/footprint", &[("after", after)]).await?;
        prefixes.append(&mut page.footprint.prefixes);
    }
    Ok(Footprint { prefixes, ..page.footprint })
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

fn neighbors(prefix: &Prefix) -> String {
    let neighbors: Vec<_> = prefix.neighbors.iter().map(ToString::to_string).collect();
    neighbors.join(" ")
}

fn summary(footprint: &Footprint) -> String {
    format!("{}, {}\n", text::prefixes(footprint.count), text::addresses(footprint.addresses))
}
