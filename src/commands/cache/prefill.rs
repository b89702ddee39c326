//! `mcc cache prefill`: the node fetches a list of URLs, and this shows how it goes.

use std::io::{self, IsTerminal};

use anyhow::Result;

use super::bars::Bars;
use super::{Verdict, url_list};
use crate::admin_client::{AdminClient, Events};
use crate::cli::{CachePrefill, Common};
use crate::node::prefill::{
    PrefillEvent, PrefillOrder, PrefillOutcome, PrefillState, PrefillTally, PrefilledObject,
};
use crate::signals::StopSignals;
use crate::text;

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &CachePrefill,
) -> Result<Verdict> {
    let order = PrefillOrder {
        urls: url_list::read(&arguments.file)?,
        parallel: arguments.parallel as usize,
        rate_mbps: arguments.rate_mbps,
    };
    order.check().map_err(super::WrongUse)?;
    let objects = order.urls.len() as u64;
    let mut signals = StopSignals::listen()?;
    let events = client.tell_for_events("/v1/cache/prefill", &order).await?;
    let mut show = if common.json { Show::Json { begun: false } } else { Show::lines() };
    let mut tally = PrefillTally::default();
    let ended = tokio::select! {
        ended = follow(events, &mut show, &mut tally) => ended?,
        // The node stops when the connection goes.
        signal = signals.next() => Err(format!("stopped by {signal}")),
    };
    let good = ended.is_ok() && tally.failed == 0;
    show.end(objects, tally, ended.err().as_deref())?;
    Ok(Verdict::of(good))
}

/// Shows what comes until the end; the inner error says why that was none.
async fn follow(
    mut events: Events,
    show: &mut Show,
    tally: &mut PrefillTally,
) -> Result<Result<(), String>> {
    loop {
        let event = match events.next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(Err("the node has stopped".to_owned())),
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        match event {
            PrefillEvent::Progress(state) => show.progress(&state),
            PrefillEvent::Object(object) => {
                tally.count(&object);
                show.object(&object)?;
            }
            PrefillEvent::End(end) => {
                *tally = end;
                return Ok(Ok(()));
            }
        }
    }
}

/// How it is shown.
enum Show {
    /// One document, a line each object.
    Json { begun: bool },
    /// A line each object, and on a terminal bars below them.
    Lines { bars: Option<Bars> },
}

impl Show {
    fn lines() -> Self {
        Self::Lines { bars: io::stderr().is_terminal().then(Bars::of_bytes) }
    }

    fn progress(&mut self, state: &PrefillState) {
        let Self::Lines { bars: Some(bars) } = self else { return };
        let done = state.tally.objects();
        let fetched = text::bytes(state.fetched_bytes);
        bars.total(done, state.objects, format!("objects, {fetched} fetched"));
        let running = state.running.iter();
        bars.parts(running.map(|object| (object.url.as_str(), object.bytes, object.length)));
    }

    fn object(&mut self, object: &PrefilledObject) -> Result<()> {
        match self {
            Self::Json { begun } => {
                let before = if *begun { ",\n" } else { "{\"objects\": [\n" };
                *begun = true;
                text::print(&format!("{before}{}", serde_json::to_string(object)?))?;
            }
            Self::Lines { bars } => {
                let line = line(object);
                match bars {
                    Some(bars) => bars.above(|| text::print(&line))?,
                    None => text::print(&line)?,
                }
            }
        }
        Ok(())
    }

    fn end(self, objects: u64, tally: PrefillTally, broken_off: Option<&str>) -> Result<()> {
        match self {
            Self::Json { begun } => {
                let begin = if begun { "\n]" } else { "{\"objects\": []" };
                let tally = serde_json::to_string(&tally)?;
                let error = serde_json::to_string(&broken_off)?;
                text::print(&format!(
                    "{begin},\n\"tally\": {tally},\n\"broken_off\": {error}}}\n"
                ))?;
            }
            Self::Lines { bars } => {
                drop(bars);
                text::print(&summary(objects, tally, broken_off))?;
            }
        }
        Ok(())
    }
}

fn line(object: &PrefilledObject) -> String {
    let url = text::printable(&object.url);
    let length = text::bytes(object.length);
    match object.outcome {
        PrefillOutcome::Fetched => format!("√ stored   {length:>8}  {url}\n"),
        PrefillOutcome::AlreadyStored => format!("= was here {length:>8}  {url}\n"),
        PrefillOutcome::Failed => {
            let error = object.error.as_deref().unwrap_or("no reason was told");
            format!("× failed             {url}\n      {}\n", text::printable(error))
        }
    }
}

fn summary(objects: u64, tally: PrefillTally, broken_off: Option<&str>) -> String {
    let mut out = format!(
        "\n{} of {}: {} fetched ({}), {} stored already, {} failed\n",
        text::count(tally.objects()),
        text::objects(objects),
        text::count(tally.fetched),
        text::bytes(tally.fetched_bytes),
        text::count(tally.already_stored),
        text::count(tally.failed),
    );
    if let Some(why) = broken_off {
        out.push_str(&format!(
            "Broken off: {}. What was stored stays; the same again fetches the rest.\n",
            text::printable(why)
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_became_of_each() {
        let object = |outcome, error: Option<&str>| PrefilledObject {
            url: "a.example/f".to_owned(),
            outcome,
            length: 41_900_000,
            fetched_bytes: 0,
            error: error.map(str::to_owned),
        };
        let stored = line(&object(PrefillOutcome::Fetched, None));
        assert_eq!(stored, "√ stored    41.9 MB  a.example/f\n");
        let here = line(&object(PrefillOutcome::AlreadyStored, None));
        assert_eq!(here, "= was here  41.9 MB  a.example/f\n");
        let failed = line(&object(PrefillOutcome::Failed, Some("the origin answered 404\u{1b}")));
        assert!(failed.contains("a.example/f\n      the origin answered 404\\u{1b}\n"), "{failed}");
    }

    #[test]
    fn the_summary_adds_up() {
        let tally =
            PrefillTally { fetched: 2, already_stored: 1, failed: 1, fetched_bytes: 5_000_000 };
        let all = summary(4, tally, None);
        assert_eq!(all, "\n4 of 4 objects: 2 fetched (5.00 MB), 1 stored already, 1 failed\n");
        let part = summary(9, tally, Some("stopped by SIGINT"));
        assert!(part.starts_with("\n4 of 9 objects: "), "{part}");
        assert!(part.contains("Broken off: stopped by SIGINT. What was stored stays"), "{part}");
    }
}
