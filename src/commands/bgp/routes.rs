//! `mcc bgp routes`: what the neighbors announced, accepted or not.

use std::net::IpAddr;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{Common, Routes, Target};
use crate::listing::{Cursor, Listing, Row};
use crate::terminal::Output;
use crate::text;

/// A router can send hundreds of communities with one route: `--json`, `--csv` and a pipe have all of
/// them, on a terminal the table stays one that a person can read.
const LONGEST_CELL: usize = 160;

/// What `GET /v1/bgp/routes` is asked.
#[derive(Debug, Default, Serialize)]
struct Request {
    ip: Option<IpAddr>,
    prefix: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    longer: bool,
    neighbor: Option<IpAddr>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    accepted: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
    reason: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
    origin_as: Option<u32>,
    #[serde(rename = "as")]
    path_as: Option<u32>,
    community: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Count {
    count: u64,
}

/// A route, as a row.
#[derive(Debug, Deserialize)]
pub(super) struct Route {
    prefix: String,
    neighbor: IpAddr,
    path_id: u32,
    as_path: String,
    origin: String,
    next_hop: Option<IpAddr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<String>,
    large_communities: Vec<String>,
    extended_communities: Vec<String>,
    accepted: bool,
    refused_reason: Option<String>,
    stale: bool,
    age_seconds: u64,
}

impl Request {
    fn new(arguments: &Routes) -> Self {
        let (ip, prefix) = match arguments.target {
            Some(Target::Address(address)) => (Some(address), None),
            Some(Target::Prefix(prefix)) => (None, Some(prefix.to_string())),
            None => (None, None),
        };
        Self {
            ip,
            prefix,
            longer: arguments.longer,
            neighbor: arguments.neighbor,
            accepted: arguments.accepted,
            rejected: arguments.rejected,
            reason: arguments.reason.clone(),
            stale: arguments.stale,
            origin_as: arguments.origin_as,
            path_as: arguments.path_as,
            community: arguments.community.clone(),
            limit: arguments.limit,
            after: None,
        }
    }
}

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &Routes,
) -> Result<Verdict> {
    let mut request = Request::new(arguments);
    // Asking for one address or prefix is a question with a yes or no.
    let verdict = |found: bool| Verdict::of(found || arguments.target.is_none());
    if arguments.count {
        let count: Count = client.get_with("/v1/bgp/routes/count", &request).await?;
        if common.json {
            print_json(&count)?;
        } else {
            text::print(&format!("{}\n", count.count))?;
        }
        return Ok(verdict(count.count > 0));
    }
    let listing = Listing::<Route>::new(common.json, arguments.csv);
    let fetch = async |cursor: Cursor| {
        (request.limit, request.after) = (cursor.limit, cursor.after);
        client.get_with("/v1/bgp/routes", &request).await
    };
    let shown = listing.print_all(arguments.limit, fetch).await?;
    Ok(verdict(shown > 0))
}

/// The table of some routes.
pub(crate) fn render(routes: &[Value], output: Output) -> Result<String> {
    let mut listing = Listing::<Route>::table(output);
    let page: Vec<_> = routes.iter().map(to_raw_value).collect::<Result<_, _>>()?;
    Ok(listing.page(&page)? + &listing.end(!routes.is_empty(), None)?)
}

impl Row for Route {
    const NAME: &'static str = "routes";
    const HEADINGS: &'static [&'static str] = &[
        "",
        "Prefix",
        "Neighbor",
        "Next hop",
        "?>MED",
        "?>LocPrf",
        "?>Age",
        "Origin",
        "~AS path",
        "~Refused",
        "~Communities",
    ];
    const CSV_HEADING: &'static str = "prefix,neighbor,path_id,as_path,origin,next_hop,med,local_pref,\
        communities,large_communities,extended_communities,accepted,refused_reason,stale,\
        age_seconds\n";
    const LEGEND: &'static str = "\n√ accepted   ~ stale   × refused\n";
    const NONE: &'static str = "no such route\n";

    fn csv(self) -> Vec<String> {
        vec![
            self.prefix,
            self.neighbor.to_string(),
            self.path_id.to_string(),
            self.as_path,
            self.origin,
            or_nothing(self.next_hop),
            or_nothing(self.med),
            or_nothing(self.local_pref),
            self.communities.join(" "),
            self.large_communities.join(" "),
            self.extended_communities.join(" "),
            self.accepted.to_string(),
            self.refused_reason.unwrap_or_default(),
            self.stale.to_string(),
            self.age_seconds.to_string(),
        ]
    }

    fn cells(self, output: Output) -> Vec<String> {
        let longest = match output {
            Output::Terminal(_) => LONGEST_CELL,
            Output::Pipe => usize::MAX,
        };
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let sign = match (&self.refused_reason, self.stale) {
            (Some(_), _) => "×",
            (None, true) => "~",
            (None, false) => "√",
        };
        let kinds = [self.communities, self.large_communities, self.extended_communities];
        let communities = kinds.concat().join(" ");
        vec![
            sign.to_owned(),
            match self.path_id {
                0 => self.prefix,
                id => format!("{} [{id}]", self.prefix),
            },
            self.neighbor.to_string(),
            dash(or_nothing(self.next_hop)),
            dash(or_nothing(self.med)),
            dash(or_nothing(self.local_pref)),
            text::duration(self.age_seconds),
            self.origin,
            dash(text::shortened(&self.as_path, longest)),
            self.refused_reason.unwrap_or_else(|| "-".to_owned()),
            dash(text::shortened(&communities, longest)),
        ]
    }
}

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(prefix: &str) -> Value {
        json!({
            "prefix": prefix, "neighbor": "192.0.2.1", "path_id": 0, "as_path": "64500 {1,2}",
            "origin": "IGP", "next_hop": null, "med": 7, "local_pref": null,
            "communities": ["65100:911"], "large_communities": ["65100:1:2"],
            "extended_communities": [], "accepted": false, "refused_reason": "too_long",
            "stale": false, "age_seconds": 65,
        })
    }

    fn printed(mut listing: Listing<Route>, route: &Value) -> String {
        listing.page(&[to_raw_value(route).unwrap()]).unwrap() + &listing.end(true, None).unwrap()
    }

    #[test]
    fn every_field_has_its_heading() {
        let csv = printed(Listing::new(false, true), &route("20.0.2.0/24"));
        let (heading, line) = csv.split_once('\n').unwrap();
        assert!(heading.starts_with("prefix,neighbor,"));
        assert_eq!(heading.split(',').count(), 15);
        assert_eq!(
            line,
            "20.0.2.0/24,192.0.2.1,0,\"64500 {1,2}\",IGP,,7,,65100:911,65100:1:2,,false,too_long,false,65\n"
        );
        assert_eq!(
            printed(Listing::table(Output::Pipe), &route("20.0.2.0/24")),
            "   Prefix       Neighbor   Next hop  MED  LocPrf    Age  Origin  AS path      Refused   \
             Communities\n\
             ×  20.0.2.0/24  192.0.2.1  -           7       -  1m 5s  IGP     64500 {1,2}  too_long  \
             65100:911 65100:1:2\n\
             \n√ accepted   ~ stale   × refused\n"
        );
        assert_eq!(render(&[], Output::Pipe).unwrap(), "no such route\n");
    }
}
