//! `mcc cache verify`: the node compares what its drives hold with its checksums, and this shows how it goes.

use std::io::{self, IsTerminal};

use anyhow::Result;
use serde_json::json;

use super::bars::Bars;
use super::{Verdict, WrongUse, print_json};
use crate::admin_client::{AdminClient, Events};
use crate::cli::{CacheVerify, Common};
use crate::node::verify::{DamagedBlock, VerifyEvent, VerifyOrder, VerifyState};
use crate::signals::StopSignals;
use crate::text;

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &CacheVerify,
) -> Result<Verdict> {
    let drive = arguments.drive.clone();
    if drive.as_ref().is_some_and(|drive| drive.to_str().is_none()) {
        return Err(WrongUse("--drive is no text".to_owned()).into());
    }
    let mut signals = StopSignals::listen()?;
    let order = VerifyOrder { drive };
    let events = client.tell_for_events("/v1/cache/verify", &order).await?;
    let mut seen = Seen {
        bars: (!common.json && io::stderr().is_terminal()).then(Bars::of_blocks),
        is_json: common.json,
        damaged: Vec::new(),
        state: VerifyState::default(),
    };
    let broken_off = tokio::select! {
        broken_off = follow(events, &mut seen) => broken_off?,
        // The node breaks it off when the connection goes.
        signal = signals.next() => Some(format!("stopped by {signal}")),
    };
    let Seen { bars, damaged, state, .. } = seen;
    drop(bars);
    let is_whole = broken_off.is_none() && !state.drives.is_empty();
    let verdict = Verdict::of(is_whole && state.damaged() == 0);
    if common.json {
        let drives = &state.drives;
        print_json(&json!({ "drives": drives, "damaged": damaged, "broken_off": broken_off }))?;
    } else {
        text::print(&summary(&state, broken_off.as_deref()))?;
    }
    Ok(verdict)
}

/// What has come so far.
struct Seen {
    bars: Option<Bars>,
    is_json: bool,
    /// For the one document that `--json` prints.
    damaged: Vec<DamagedBlock>,
    state: VerifyState,
}

/// Shows what comes until the end. Returns why that was none.
async fn follow(mut events: Events, seen: &mut Seen) -> Result<Option<String>> {
    loop {
        match events.next().await {
            Ok(Some(VerifyEvent::Progress(state))) => {
                seen.state = state;
                let Some(bars) = &mut seen.bars else { continue };
                let paths: Vec<(String, u64, u64)> = seen
                    .state
                    .drives
                    .iter()
                    .map(|drive| (drive.path.display().to_string(), drive.done, drive.blocks))
                    .collect();
                bars.parts(paths.iter().map(|(path, done, of)| (path.as_str(), *done, *of)));
            }
            Ok(Some(VerifyEvent::Damaged(block))) if seen.is_json => seen.damaged.push(block),
            Ok(Some(VerifyEvent::Damaged(block))) => match &seen.bars {
                Some(bars) => bars.above(|| text::print(&line(&block)))?,
                None => text::print(&line(&block))?,
            },
            Ok(Some(VerifyEvent::End(state))) => {
                seen.state = state;
                return Ok(None);
            }
            Ok(None) => return Ok(Some("the node has stopped".to_owned())),
            Err(error) => return Ok(Some(format!("{error:#}"))),
        }
    }
}

fn line(block: &DamagedBlock) -> String {
    let what = if block.unreadable { "unreadable" } else { "damaged" };
    let drive = block.drive.display().to_string();
    let (url, drive) = (text::printable(&block.url), text::printable(&drive));
    format!("× {what}  block {} of {url} on {drive}\n", block.block)
}

fn summary(state: &VerifyState, broken_off: Option<&str>) -> String {
    let mut out = String::new();
    for drive in &state.drives {
        let path = drive.path.display().to_string();
        out.push_str(&format!(
            "{}: {} of {} compared, {} damaged, {} unreadable\n",
            text::printable(&path),
            text::count(drive.done),
            text::blocks(drive.blocks),
            text::count(drive.mismatches),
            text::count(drive.errors),
        ));
    }
    if state.drives.is_empty() {
        out.push_str("No drive is up: there is nothing to compare.\n");
    }
    if state.damaged() > 0 {
        out.push_str("What is damaged was dropped, and is fetched anew when it is asked for.\n");
        out.push_str("If it comes again, look at `dmesg` and the drive's SMART values.\n");
    } else if broken_off.is_none() && state.done() > 0 {
        out.push_str("All is as it was stored.\n");
    }
    if let Some(why) = broken_off {
        out.push_str(&format!("Broken off: {}.\n", text::printable(why)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::verify::VerifiedDrive;

    fn state(mismatches: u64) -> VerifyState {
        let path = "/cache/1".into();
        VerifyState {
            drives: vec![VerifiedDrive { path, blocks: 1200, done: 1200, mismatches, errors: 0 }],
        }
    }

    #[test]
    fn the_summary_says_what_to_do() {
        let good = summary(&state(0), None);
        assert_eq!(
            good,
            "/cache/1: 1,200 of 1,200 blocks compared, 0 damaged, 0 unreadable\n\
             All is as it was stored.\n"
        );
        let bad = summary(&state(2), None);
        assert!(bad.contains("2 damaged") && bad.contains("fetched anew"), "{bad}");
        let part = summary(&state(0), Some("stopped by SIGINT"));
        assert!(part.ends_with("Broken off: stopped by SIGINT.\n"), "{part}");
        assert!(!part.contains("All is"), "{part}");
    }

    #[test]
    fn a_damaged_block_is_named() {
        let block = DamagedBlock {
            drive: "/cache/1".into(),
            url: "a.example/f\u{1b}".to_owned(),
            block: 7,
            unreadable: false,
        };
        assert_eq!(line(&block), "× damaged  block 7 of a.example/f\\u{1b} on /cache/1\n");
    }
}
