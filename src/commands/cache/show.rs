//! `mcc cache show`: everything about one stored object.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{Verdict, now, print_json, time};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::text;

#[derive(Debug, Deserialize)]
struct Object {
    url: String,
    origin: String,
    number: u64,
    length: u64,
    stored: u64,
    etag: Option<String>,
    last_modified: Option<String>,
    stored_at: u64,
    fresh_until: u64,
    asked_at: Option<u64>,
    pinned: bool,
    blocks: u64,
    stored_blocks: u64,
    drives: Vec<DriveShare>,
    headers: Vec<(String, String)>,
    in_flight: bool,
}

#[derive(Debug, Deserialize)]
struct DriveShare {
    path: PathBuf,
    blocks: u64,
    bytes: u64,
}

pub(super) async fn run(common: &Common, client: &AdminClient, url: &str) -> Result<Verdict> {
    let answer: Value = client.get_with("/v1/cache/object", &[("url", url)]).await?;
    if common.json {
        print_json(&answer)?;
    } else {
        text::print(&render(&Object::deserialize(answer)?, now())?)?;
    }
    Ok(Verdict::Good)
}

fn render(object: &Object, now: u64) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let none = || "none".to_owned();
    writeln!(out, "{}\n", text::printable(&object.url))?;
    writeln!(out, "Origin         {}", text::printable(&object.origin))?;
    writeln!(out, "Generation     {}", object.number)?;
    writeln!(
        out,
        "Length         {} ({} bytes), {}",
        text::bytes(object.length),
        text::count(object.length),
        text::blocks(object.blocks),
    )?;
    writeln!(
        out,
        "Stored         {}: {} in {}",
        text::percent(object.stored, object.length),
        text::bytes(object.stored),
        text::blocks(object.stored_blocks),
    )?;
    for drive in &object.drives {
        let path = drive.path.display().to_string();
        let bytes = text::bytes(drive.bytes);
        writeln!(out, "  {}: {bytes} in {}", text::printable(&path), text::blocks(drive.blocks))?;
    }
    writeln!(out, "Freshness      {}", freshness(object, now))?;
    let age = text::duration(now.saturating_sub(object.stored_at));
    writeln!(out, "Confirmed      by the origin {age} ago, {}", time(object.stored_at))?;
    let asked = object.asked_at.map_or_else(
        || "not since the node started".to_owned(),
        |hour| format!("in the hour from {}", time(hour)),
    );
    writeln!(out, "Asked for      {asked}")?;
    let pinned = if object.pinned { "yes: it stays, whatever else is asked for" } else { "no" };
    writeln!(out, "Pinned         {pinned}")?;
    let in_flight = if object.in_flight {
        "yes: bytes of it are being fetched, or a drive is to write them"
    } else {
        "no"
    };
    writeln!(out, "In flight      {in_flight}")?;
    let shown = |value: &Option<String>| {
        value.as_deref().map_or_else(none, |value| text::printable(value).into_owned())
    };
    writeln!(out, "ETag           {}", shown(&object.etag))?;
    writeln!(out, "Last-Modified  {}", shown(&object.last_modified))?;
    if !object.headers.is_empty() {
        writeln!(out, "\nSent with it:")?;
    }
    for (name, value) in &object.headers {
        writeln!(out, "  {}: {}", text::printable(name), text::printable(value))?;
    }
    Ok(out)
}

fn freshness(object: &Object, now: u64) -> String {
    let until = time(object.fresh_until);
    match object.fresh_until.checked_sub(now) {
        None | Some(0) => {
            let since = text::duration(now.saturating_sub(object.fresh_until));
            format!("stale for {since}: the origin is asked before it is served again")
        }
        Some(left) => {
            let left = text::duration(left);
            format!("served without asking the origin for another {left}, until {until}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object {
            url: "a.example/f".to_owned(),
            origin: "a.example".to_owned(),
            number: 7,
            length: 3_000_000,
            stored: 1_048_576,
            etag: Some("\"e\u{1b}\"".to_owned()),
            last_modified: None,
            stored_at: 1_000_000,
            fresh_until: 1_003_600,
            asked_at: None,
            pinned: true,
            blocks: 3,
            stored_blocks: 1,
            drives: vec![DriveShare { path: "/cache/1".into(), blocks: 1, bytes: 1_048_576 }],
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            in_flight: false,
        }
    }

    #[test]
    fn it_is_told_in_words() {
        let text = render(&object(), 1_000_060).unwrap();
        for words in [
            "a.example/f\n",
            "Length         3.00 MB (3,000,000 bytes), 3 blocks\n",
            "Stored         35.0 %: 1.05 MB in 1 block\n",
            "  /cache/1: 1.05 MB in 1 block\n",
            "for another 59m 0s, until 1970-01-12 14:46:40Z\n",
            "by the origin 1m 0s ago, 1970-01-12 13:46:40Z\n",
            "Last-Modified  none\n",
            "Asked for      not since the node started\n",
            "Pinned         yes",
            "  content-type: text/plain\n",
        ] {
            assert!(text.contains(words), "no `{words}` in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "an origin cannot steer the terminal");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let stale = render(&object(), 1_003_660).unwrap();
        assert!(stale.contains("stale for 1m 0s: the origin is asked"), "{stale}");
    }
}
