//! `mcc cache status`: the drives and what is on them, traffic, origins.

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{Verdict, now, print_json, time};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::node::status::PartState;
use crate::table::{Rows, indented, labelled};
use crate::terminal::Output;
use crate::text;

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
        text::print(&render(&cache, Output::standard()))?;
    }
    let offline = |drive: &Drive| matches!(drive.state, State::Offline { .. });
    Ok(Verdict::of(!cache.store.drives.iter().any(offline)))
}

/// Where the values begin.
const VALUES_AT: usize = 10;

fn render(cache: &Cache, output: Output) -> String {
    let mut out = String::new();
    let store = &cache.store;
    let content = format!(
        "{} of {} used ({}), {} ({} pinned), {}",
        text::bytes(store.used),
        text::bytes(store.size),
        text::percent(store.used, store.size),
        text::objects(store.objects),
        text::count(cache.pins),
        text::blocks(store.blocks)
    );
    out.push_str(&labelled("Content", VALUES_AT, &content, output));
    let traffic = text::traffic(cache.egress_bytes, cache.hit_bytes, cache.fill_bytes);
    out.push_str(&labelled("Traffic", VALUES_AT, &traffic, output));
    let hits = text::hit_ratio(cache.hit_bytes, cache.egress_bytes);
    out.push_str(&labelled("Hit ratio", VALUES_AT, &hits, output));
    let going_on = format!(
        "{}, {} being fetched by {}{}",
        text::counted(cache.connections, "connection", "connections"),
        text::objects(cache.objects_in_flight),
        text::counted(cache.fills_in_flight, "request", "requests"),
        if cache.draining { "; draining" } else { "" }
    );
    out.push_str(&labelled("Now", VALUES_AT, &going_on, output));
    out.push('\n');
    out.push_str(&drives(&store.drives, output));
    for drive in &store.drives {
        let path = &drive.path;
        let words = match &drive.state {
            State::Up => String::new(),
            State::Opening { read, records } => format!(
                "{path} is being opened ({} of its index read): nothing to do, it joins by itself",
                text::percent(*read, *records)
            ),
            State::Offline { reason, since, .. } => {
                format!("{path} is offline since {}: {reason}", time(*since))
            }
        };
        paragraph(&mut out, &words, output);
        if let State::Offline { action, .. } = &drive.state {
            out.push_str(&indented(action, 4, output));
        }
        if let Some(Damage { what, action, since }) = &drive.damage {
            let words = format!("{path} is damaged, noticed {}: {what}", time(*since));
            paragraph(&mut out, &words, output);
            out.push_str(&indented(action, 4, output));
        }
        if let Some(note) = &drive.note {
            paragraph(&mut out, &format!("{path}: {note}"), output);
        }
    }
    if !cache.origins.is_empty() {
        out.push('\n');
        out.push_str(&origins(&cache.origins, output));
    }
    for origin in &cache.origins {
        if let Some(LastError { text, at }) = &origin.last_error {
            let words = format!("{} does not answer since {}: {text}", origin.origin, time(*at));
            paragraph(&mut out, &words, output);
        }
    }
    out
}

/// What there is to say, after an empty line.
fn paragraph(out: &mut String, words: &str, output: Output) {
    if !words.is_empty() {
        out.push('\n');
        out.push_str(&indented(words, 0, output));
    }
}

fn drives(drives: &[Drive], output: Output) -> String {
    let mut space = Rows::new(&[
        "Drive",
        "State",
        ">Used",
        ">Size",
        ">Full",
        "?>Blocks",
        "?>Pinned",
        "?>Scrubbed",
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
        space.render(output),
        counts.render(output)
    )
}

/// How far the pass is that is going on, or how long ago the last one ended.
fn scrubbed(scrub: &Scrub, now: u64) -> String {
    match (scrub.percent, scrub.last_pass) {
        (0, Some(last)) => format!("{} ago", text::duration(now.saturating_sub(last))),
        (percent, _) => format!("{percent} %"),
    }
}

fn origins(origins: &[Origin], output: Output) -> String {
    let mut rows = Rows::new(&["Origin", ">Sent", ">Fetched", ">Failures"]);
    for origin in origins {
        rows.push([
            origin.origin.clone(),
            text::bytes(origin.egress_bytes),
            text::bytes(origin.fill_bytes),
            text::count(origin.failures),
        ]);
    }
    rows.render(output)
}
