//! `mcc bgp routes`: what the neighbors announced, accepted or not.
//!
//! A full table has a million routes, so pages are printed as they come: nothing is collected.

use std::net::IpAddr;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{Common, Routes, Target};
use crate::table::Rows;
use crate::terminal::Output;
use crate::text::{self, Printed};

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

#[derive(Debug, Deserialize)]
struct Page {
    routes: Vec<Box<RawValue>>,
    next: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Count {
    count: u64,
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
    let mut form = Form::new(common, arguments);
    let mut shown = 0;
    let more = loop {
        let page: Page = client.get_with("/v1/bgp/routes", &request).await?;
        shown += page.routes.len() as u64;
        request.after = page.next;
        if text::print_page(&form.page(&page.routes)?)? == Printed::NobodyReads {
            return Ok(verdict(shown > 0));
        }
        // Without a limit every page is fetched: a list is never cut in silence.
        let left = arguments.limit.map(|limit| u64::from(limit).saturating_sub(shown));
        if left == Some(0) || request.after.is_none() {
            break request.after.is_some();
        }
        request.limit = left.and_then(|left| u32::try_from(left).ok());
    };
    text::print(&form.end(shown > 0))?;
    if more && !common.json {
        eprintln!("There are more routes than --limit {shown}.");
    }
    Ok(verdict(shown > 0))
}

/// In which form routes are printed, page by page.
pub(super) enum Form {
    /// One document, a line each route.
    Json {
        begun: bool,
    },
    Csv {
        begun: bool,
    },
    Table {
        rows: Box<Rows>,
        output: Output,
    },
}

impl Form {
    fn new(common: &Common, arguments: &Routes) -> Self {
        if common.json {
            Self::Json { begun: false }
        } else if arguments.csv {
            Self::Csv { begun: false }
        } else {
            Self::table()
        }
    }

    /// The form that people read.
    pub(super) fn table() -> Self {
        Self::Table { rows: Box::new(headings()), output: Output::standard() }
    }

    pub(super) fn page(&mut self, routes: &[Box<RawValue>]) -> Result<String> {
        match self {
            Self::Json { begun } => {
                let mut out = String::new();
                for route in routes {
                    out.push_str(if *begun { ",\n" } else { "{\"routes\": [\n" });
                    out.push_str(&text::printable_json(route.get()));
                    *begun = true;
                }
                Ok(out)
            }
            Self::Csv { begun } => {
                let mut out = if *begun { String::new() } else { Route::CSV_HEADING.to_owned() };
                *begun = true;
                for route in routes {
                    let route: Route = serde_json::from_str(route.get())?;
                    out.push_str(&text::csv_line(&route.csv()));
                }
                Ok(out)
            }
            Self::Table { .. } if routes.is_empty() => Ok(String::new()),
            Self::Table { rows, output } => {
                for route in routes {
                    rows.push(serde_json::from_str::<Route>(route.get())?.cells(*output));
                }
                Ok(rows.take_page(*output))
            }
        }
    }

    pub(super) fn end(&self, any: bool) -> String {
        match self {
            Self::Json { begun: true } => "\n]}\n".to_owned(),
            Self::Json { begun: false } => "{\"routes\": []}\n".to_owned(),
            Self::Csv { .. } => String::new(),
            Self::Table { .. } if any => LEGEND.to_owned(),
            Self::Table { .. } => NONE.to_owned(),
        }
    }
}

const LEGEND: &str = "\n√ accepted   ~ stale   × refused\n";
const NONE: &str = "no such route\n";

fn headings() -> Rows {
    Rows::new(&[
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
    ])
}

/// The table of some routes.
pub(crate) fn render(routes: &[Value], output: Output) -> Result<String> {
    if routes.is_empty() {
        return Ok(NONE.to_owned());
    }
    let mut rows = headings();
    for route in routes {
        rows.push(Route::deserialize(route)?.cells(output));
    }
    Ok(rows.render(output) + LEGEND)
}

impl Route {
    const CSV_HEADING: &str = "prefix,neighbor,path_id,as_path,origin,next_hop,med,local_pref,\
        communities,large_communities,extended_communities,accepted,refused_reason,stale,\
        age_seconds\n";

    fn csv(&self) -> [String; 15] {
        [
            self.prefix.clone(),
            self.neighbor.to_string(),
            self.path_id.to_string(),
            self.as_path.clone(),
            self.origin.clone(),
            or_nothing(self.next_hop),
            or_nothing(self.med),
            or_nothing(self.local_pref),
            self.communities.join(" "),
            self.large_communities.join(" "),
            self.extended_communities.join(" "),
            self.accepted.to_string(),
            self.refused_reason.clone().unwrap_or_default(),
            self.stale.to_string(),
            self.age_seconds.to_string(),
        ]
    }

    fn cells(self, output: Output) -> [String; 11] {
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
        [
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

    fn raw(prefixes: &[&str]) -> Vec<Box<RawValue>> {
        let raw = |prefix: &&str| serde_json::value::to_raw_value(&route(prefix)).unwrap();
        prefixes.iter().map(raw).collect()
    }

    fn printed(mut form: Form, pages: &[&[&str]]) -> String {
        let any = pages.iter().any(|page| !page.is_empty());
        let pages: String = pages.iter().map(|page| form.page(&raw(page)).unwrap()).collect();
        pages + &form.end(any)
    }

    #[test]
    fn pages_are_one_document() {
        let pages: [&[&str]; 3] = [&["20.0.0.0/24", "20.0.1.0/24"], &[], &["20.0.2.0/24"]];
        let json: Value =
            serde_json::from_str(&printed(Form::Json { begun: false }, &pages)).unwrap();
        assert_eq!(json["routes"].as_array().unwrap().len(), 3);
        assert_eq!(json["routes"][2], route("20.0.2.0/24"));
        let none: Value =
            serde_json::from_str(&printed(Form::Json { begun: false }, &[&[]])).unwrap();
        assert_eq!(none, json!({ "routes": [] }));

        let csv = printed(Form::Csv { begun: false }, &pages);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("prefix,neighbor,"));
        assert_eq!(lines[0].split(',').count(), 15);
        assert_eq!(
            lines[3],
            "20.0.2.0/24,192.0.2.1,0,\"64500 {1,2}\",IGP,,7,,65100:911,65100:1:2,,false,too_long,false,65"
        );
    }

    #[test]
    fn a_table_of_pages_has_one_heading_and_keeps_its_columns() {
        let pages: [&[&str]; 2] = [&["200.100.100.0/24"], &["20.0.2.0/24"]];
        let table =
            printed(Form::Table { rows: Box::new(headings()), output: Output::Pipe }, &pages);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(table.matches("Prefix").count(), 1, "{table}");
        let column = lines[0].find("Neighbor").unwrap();
        let at = |line: &str| {
            line.chars().collect::<String>().find("192.0.2.1").unwrap() - "×".len() + 1
        };
        assert_eq!((at(lines[1]), at(lines[2])), (column, column), "{table}");
        assert!(table.ends_with(LEGEND));
        assert_eq!(
            printed(Form::Table { rows: Box::new(headings()), output: Output::Pipe }, &[&[]]),
            NONE
        );
    }
}
