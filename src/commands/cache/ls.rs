//! `mcc cache ls`: what is stored.
//!
//! There may be millions of objects, so pages are printed as they come: nothing is collected.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Verdict, now};
use crate::admin_client::AdminClient;
use crate::cli::{CacheLs, CacheSort, Common};
use crate::table::Rows;
use crate::terminal::Output;
use crate::text::{self, Printed};

/// What `GET /v1/cache/objects` is asked.
#[derive(Debug, Serialize)]
struct Request<'a> {
    prefix: &'a str,
    sort: &'static str,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    objects: Vec<Box<RawValue>>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Object {
    url: String,
    length: u64,
    stored: u64,
    etag: Option<String>,
    last_modified: Option<String>,
    stored_at: u64,
    fresh_until: u64,
    asked_at: Option<u64>,
    pinned: bool,
}

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &CacheLs,
) -> Result<Verdict> {
    let mut request = Request {
        prefix: arguments.prefix.as_deref().unwrap_or_default(),
        sort: match arguments.sort {
            CacheSort::Url => "url",
            CacheSort::Size => "size",
            CacheSort::Stored => "stored",
            CacheSort::Recent => "recent",
        },
        limit: arguments.limit,
        after: None,
    };
    let mut form = Form::new(common, arguments);
    let mut shown = 0;
    let more = loop {
        let page: Page = client.get_with("/v1/cache/objects", &request).await?;
        shown += page.objects.len() as u64;
        request.after = page.next;
        if text::print_page(&form.page(&page.objects, now())?)? == Printed::NobodyReads {
            return Ok(Verdict::Good);
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
        eprintln!("There are more objects than --limit {shown}.");
    }
    Ok(Verdict::Good)
}

/// In which form objects are printed, page by page.
enum Form {
    /// One document, a line each object.
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

const LEGEND: &str = "\n* pinned\n";
const NONE: &str = "nothing is stored that begins so\n";
const CSV_HEADING: &str =
    "url,length,stored,fresh_until,stored_at,etag,last_modified,asked_at,pinned\n";
/// The table stays one that a person can read; `--json` and `--csv` have all of it.
const LONGEST_VALIDATOR: usize = 16;

impl Form {
    fn new(common: &Common, arguments: &CacheLs) -> Self {
        if common.json {
            Self::Json { begun: false }
        } else if arguments.csv {
            Self::Csv { begun: false }
        } else {
            // The URL comes last: it is what may be long.
            let headings = ["", ">Length", ">Stored", ">Fresh for", "?>Age", "?Validator", "~URL"];
            Self::Table { rows: Box::new(Rows::new(&headings)), output: Output::standard() }
        }
    }

    fn page(&mut self, objects: &[Box<RawValue>], now: u64) -> Result<String> {
        match self {
            Self::Json { begun } => {
                let mut out = String::new();
                for object in objects {
                    out.push_str(if *begun { ",\n" } else { "{\"objects\": [\n" });
                    out.push_str(&text::printable_json(object.get()));
                    *begun = true;
                }
                Ok(out)
            }
            Self::Csv { begun } => {
                let mut out = if *begun { String::new() } else { CSV_HEADING.to_owned() };
                *begun = true;
                for object in objects {
                    let object: Object = serde_json::from_str(object.get())?;
                    out.push_str(&text::csv_line(&object.csv()));
                }
                Ok(out)
            }
            Self::Table { .. } if objects.is_empty() => Ok(String::new()),
            Self::Table { rows, output } => {
                for object in objects {
                    rows.push(serde_json::from_str::<Object>(object.get())?.cells(now));
                }
                Ok(rows.take_page(*output))
            }
        }
    }

    fn end(&self, any: bool) -> String {
        match self {
            Self::Json { begun: true } => "\n]}\n".to_owned(),
            Self::Json { begun: false } => "{\"objects\": []}\n".to_owned(),
            Self::Csv { .. } => String::new(),
            Self::Table { .. } if any => LEGEND.to_owned(),
            Self::Table { .. } => NONE.to_owned(),
        }
    }
}

impl Object {
    fn csv(self) -> [String; 9] {
        [
            self.url,
            self.length.to_string(),
            self.stored.to_string(),
            self.fresh_until.to_string(),
            self.stored_at.to_string(),
            self.etag.unwrap_or_default(),
            self.last_modified.unwrap_or_default(),
            self.asked_at.map(|at| at.to_string()).unwrap_or_default(),
            self.pinned.to_string(),
        ]
    }

    fn cells(self, now: u64) -> [String; 7] {
        let validator = self.etag.or(self.last_modified).unwrap_or_else(|| "-".to_owned());
        [
            if self.pinned { "*" } else { "" }.to_owned(),
            text::bytes(self.length),
            text::percent(self.stored, self.length),
            match self.fresh_until.checked_sub(now) {
                None | Some(0) => "stale".to_owned(),
                Some(left) => text::duration(left),
            },
            text::duration(now.saturating_sub(self.stored_at)),
            text::shortened(&validator, LONGEST_VALIDATOR),
            self.url,
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(url: &str) -> Value {
        json!({
            "url": url, "number": 7, "length": 2_000_000, "stored": 1_000_000, "etag": "\"a,b\"",
            "last_modified": null, "stored_at": 1000, "fresh_until": 4600, "asked_at": null,
            "pinned": true,
        })
    }

    fn printed(mut form: Form, pages: &[&[&str]]) -> String {
        let raw = |url: &&str| serde_json::value::to_raw_value(&object(url)).unwrap();
        let any = pages.iter().any(|page| !page.is_empty());
        let mut page =
            |urls: &&[&str]| form.page(&urls.iter().map(raw).collect::<Vec<_>>(), 1060).unwrap();
        let pages: String = pages.iter().map(&mut page).collect();
        pages + &form.end(any)
    }

    #[test]
    fn pages_are_one_document() {
        let pages: [&[&str]; 3] = [&["a.example/1", "a.example/2"], &[], &["a.example/3"]];
        let text = printed(Form::Json { begun: false }, &pages);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["objects"].as_array().unwrap().len(), 3);
        assert_eq!(json["objects"][2], object("a.example/3"));
        let none = printed(Form::Json { begun: false }, &[&[]]);
        assert_eq!(serde_json::from_str::<Value>(&none).unwrap(), json!({ "objects": [] }));
        let csv = printed(Form::Csv { begun: false }, &pages);
        assert_eq!(csv.lines().count(), 4);
        let line = "a.example/3,2000000,1000000,4600,1000,\"\"\"a,b\"\"\",,,true";
        assert_eq!(csv.lines().last(), Some(line));
        assert_eq!(CSV_HEADING.split(',').count(), 9);
    }

    #[test]
    fn a_table_says_in_words_how_an_object_is() {
        let arguments = CacheLs { prefix: None, sort: CacheSort::Url, limit: None, csv: false };
        let common = Common { config: None, admin: None, timeout: 5, json: false };
        let table = printed(Form::new(&common, &arguments), &[&["a.example/1"]]);
        let words: Vec<&str> = table.lines().nth(1).unwrap().split("  ").map(str::trim).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        assert_eq!(words, ["*", "2.00 MB", "50.0 %", "59m 0s", "1m 0s", "\"a,b\"", "a.example/1"]);
        assert_eq!(printed(Form::new(&common, &arguments), &[&[]]), NONE);
        let stale = Object::deserialize(object("a.example/1")).unwrap().cells(4600);
        assert_eq!(stale[3], "stale");
    }
}
