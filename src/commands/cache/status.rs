//! `mcc cache status`: the drives and what is on them, traffic, origins.

use std::fmt::Write;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{Verdict, now, print_json, time};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::node::status::PartState;
use crate::text::{self, Rows};

#[derive(Debug, Deserialize)]
struct Cache {
    draining: bool,
    store: Store,
    pins: u64,
    egress_bytes: u64,
    hit_bytes: u64,
    fill_bytes: u64,
    objects_in_flight: u64,
    fills_in_flight: u64,
    connections: u64,
    origins: Vec<Origin>,
}

#[derive(Debug, Deserialize)]
struct Store {
    drives: Vec<Drive>,
    objects: u64,
    blocks: u64,
    size: u64,
    used: u64,
}

#[derive(Debug, Deserialize)]
struct Drive {
    path: String,
    #[serde(flatten)]
    state: State,
    note: Option<String>,
    damage: Option<Damage>,
    size: u64,
    used: u64,
    blocks: u64,
    written: u64,
    evicted: u64,
    refused: u64,
    errors: u64,
    corrupt: u64,
    slow: u64,
    pinned: u64,
    scrub: Scrub,
}

#[derive(Debug, Deserialize)]
struct Damage {
    what: String,
    action: String,
    since: u64,
}

#[derive(Debug, Deserialize)]
struct Scrub {
    percent: u8,
    last_pass: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum State {
    Up,
    Opening { read: u64, records: u64 },
    Offline { reason: String, action: String, since: u64 },
}

#[derive(Debug, Deserialize)]
struct Origin {
    origin: String,
    egress_bytes: u64,
    fill_bytes: u64,
    failures: u64,
    last_error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
struct LastError {
    text: String,
    at: u64,
}

pub(super) async fn run(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let answer: Value = client.get("/v1/cache").await?;
    let cache = Cache::deserialize(&answer)?;
    if common.json {
        print_json(&answer)?;
    } else {
        text::print(&render(&cache)?)?;
    }
    let offline = |drive: &Drive| matches!(drive.state, State::Offline { .. });
    Ok(Verdict::of(!cache.store.drives.iter().any(offline)))
}

fn render(cache: &Cache) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let store = &cache.store;
    writeln!(
        out,
        "Content   {} of {} used ({}), {} ({} pinned), {}",
        text::bytes(store.used),
        text::bytes(store.size),
        text::percent(store.used, store.size),
        text::objects(store.objects),
        text::count(cache.pins),
        text::blocks(store.blocks)
    )?;
    writeln!(
        out,
        "Traffic   {}",
        text::traffic(cache.egress_bytes, cache.hit_bytes, cache.fill_bytes)
    )?;
    writeln!(out, "Hit ratio {}", text::hit_ratio(cache.hit_bytes, cache.egress_bytes))?;
    writeln!(
        out,
        "Now       {} connections, {} being fetched by {} requests{}",
        text::count(cache.connections),
        text::objects(cache.objects_in_flight),
        text::count(cache.fills_in_flight),
        if cache.draining { "; draining" } else { "" }
    )?;
    out.push('\n');
    out.push_str(&drives(&store.drives));
    for drive in &store.drives {
        let path = text::printable(&drive.path);
        match &drive.state {
            State::Up => {}
            State::Opening { read, records } => writeln!(
                out,
                "\n{path} is being opened ({} of its index read): nothing to do, it joins by itself",
                text::percent(*read, *records)
            )?,
            State::Offline { reason, action, since } => writeln!(
                out,
                "\n{path} is offline since {}: {}\n    {}",
                time(*since),
                text::printable(reason),
                text::printable(action)
            )?,
        }
        if let Some(Damage { what, action, since }) = &drive.damage {
            let (what, action) = (text::printable(what), text::printable(action));
            writeln!(out, "\n{path} is damaged, noticed {}: {what}\n    {action}", time(*since))?;
        }
        if let Some(note) = &drive.note {
            writeln!(out, "\n{path}: {}", text::printable(note))?;
        }
    }
    if !cache.origins.is_empty() {
        out.push('\n');
        out.push_str(&origins(&cache.origins));
    }
    for origin in &cache.origins {
        if let Some(LastError { text, at }) = &origin.last_error {
            let (origin, text) = (text::printable(&origin.origin), text::printable(text));
            writeln!(out, "\n{origin} does not answer since {}: {text}", time(*at))?;
        }
    }
    Ok(out)
}

fn drives(drives: &[Drive]) -> String {
    let mut space = Rows::new(&[
        "Drive",
        "State",
        ">Used",
        ">Size",
        ">Full",
        ">Blocks",
        ">Pinned",
        ">Scrubbed",
    ]);
    let mut counts =
        Rows::new(&["Drive", ">Written", ">Evicted", ">Refused", ">Errors", ">Slow", ">Corrupt"]);
    for drive in drives {
        let state = match drive.state {
            State::Up if drive.note.is_some() || drive.damage.is_some() => {
                PartState::Warning.word()
            }
            State::Up => PartState::Up.word(),
            State::Opening { .. } => "‼ opening",
            State::Offline { .. } => "× offline",
        };
        space.push([
            drive.path.clone(),
            state.to_owned(),
            text::bytes(drive.used),
            text::bytes(drive.size),
            text::percent(drive.used, drive.size),
            text::count(drive.blocks),
            text::count(drive.pinned),
            scrubbed(&drive.scrub, now()),
        ]);
        counts.push([
            drive.path.clone(),
            text::count(drive.written),
            text::count(drive.evicted),
            text::count(drive.refused),
            text::count(drive.errors),
            text::count(drive.slow),
            text::count(drive.corrupt),
        ]);
    }
    format!(
        "{}\nSince the start, in blocks of 1 MiB; errors and slow ones in operations:\n{}",
        space.render(),
        counts.render()
    )
}

/// How far the pass is that is going on, or how long ago the last one ended.
fn scrubbed(scrub: &Scrub, now: u64) -> String {
    match (scrub.percent, scrub.last_pass) {
        (0, Some(last)) => format!("{} ago", text::duration(now.saturating_sub(last))),
        (percent, _) => format!("{percent} %"),
    }
}

fn origins(origins: &[Origin]) -> String {
    let mut rows = Rows::new(&["Origin", ">Sent", ">Fetched", ">Failures"]);
    for origin in origins {
        rows.push([
            origin.origin.clone(),
            text::bytes(origin.egress_bytes),
            text::bytes(origin.fill_bytes),
            text::count(origin.failures),
        ]);
    }
    rows.render()
}
