//! `mcc cache ls`: what is stored.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Verdict, now};
use crate::admin_client::AdminClient;
use crate::cli::{CacheLs, CacheSort, Common};
use crate::listing::{Cursor, Listing, Row};
use crate::terminal::Output;
use crate::text;

/// What `GET /v1/cache/objects` is asked.
#[derive(Debug, Serialize)]
struct Request<'a> {
    prefix: &'a str,
    sort: &'static str,
    limit: Option<u32>,
    after: Option<String>,
}

/// An object, as a row.
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
    let listing = Listing::<Object>::new(common.json, arguments.csv);
    let fetch = async |cursor: Cursor| {
        (request.limit, request.after) = (cursor.limit, cursor.after);
        client.get_with("/v1/cache/objects", &request).await
    };
    listing.print_all(arguments.limit, fetch).await?;
    Ok(Verdict::Good)
}

/// The table stays one that a person can read; `--json` and `--csv` have all of it.
const LONGEST_VALIDATOR: usize = 16;

impl Row for Object {
    const NAME: &'static str = "objects";
    // The URL comes last: it is what may be long.
    const HEADINGS: &'static [&'static str] =
        &["", ">Length", ">Stored", ">Fresh for", "?>Age", "?Validator", "~URL"];
    const CSV_HEADING: &'static str =
        "url,length,stored,fresh_until,stored_at,etag,last_modified,asked_at,pinned\n";
    const LEGEND: &'static str = "\n* pinned\n";
    const NONE: &'static str = "nothing is stored that begins so\n";

    fn cells(self, _: Output) -> Vec<String> {
        self.cells_at(now()).into()
    }

    fn csv(self) -> Vec<String> {
        vec![
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
}

impl Object {
    fn cells_at(self, now: u64) -> [String; 7] {
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

    fn read(url: &str) -> Object {
        Object::deserialize(object(url)).unwrap()
    }

    #[test]
    fn a_table_says_in_words_how_an_object_is() {
        let words = ["*", "2.00 MB", "50.0 %", "59m 0s", "1m 0s", "\"a,b\"", "a.example/1"];
        assert_eq!(read("a.example/1").cells_at(1060), words);
        assert_eq!(words.len(), Object::HEADINGS.len());
        assert_eq!(read("a.example/1").cells_at(4600)[3], "stale");
    }

    #[test]
    fn every_field_has_its_heading() {
        let csv = read("a.example/3").csv();
        assert_eq!(csv.join("|"), "a.example/3|2000000|1000000|4600|1000|\"a,b\"|||true");
        assert_eq!(Object::CSV_HEADING.split(',').count(), csv.len());
    }
}
