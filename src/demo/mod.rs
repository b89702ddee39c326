//! `mcc demo`: everything on loopback, with nothing to prepare.
//!
//! The node and the control plane are the real ones, wired as `mcc run` and `mcc control run` wire
//! them. The router and the origin are the demo's own.

mod download;
mod origin;
mod stage;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use crate::cli::Demo;
use crate::commands::Verdict;
use crate::signals::StopSignals;
use crate::{logging, text};
use stage::Stage;

/// How long the slowest step may take before the demo gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: &Demo) -> Result<Verdict> {
    logging::start("error");
    let mut signals = StopSignals::listen()?.and_hangup()?;
    // Made first and dropped last, so that nothing is left behind whenever the demo is stopped.
    let folder = tempfile::Builder::new().prefix("mcc-demo-").tempdir()?;
    let stage = tokio::select! {
        stage = Stage::set(folder.path()) => stage?,
        _ = signals.next() => return Ok(stopped_early(arguments)),
    };
    let outcome = tokio::select! {
        outcome = show(&stage) => Some(outcome),
        _ = signals.next() => None,
    };
    let verdict = match outcome {
        Some(Ok(())) => {
            if !arguments.check {
                say(&stage.what_next())?;
                signals.next().await;
                say("\nStopping.\n")?;
            }
            Verdict::Good
        }
        Some(Err(error)) => {
            say(&format!("\n× {error:#}\n"))?;
            Verdict::Bad
        }
        None => stopped_early(arguments),
    };
    tokio::select! {
        () = stage.clear() => {}
        _ = signals.next() => {}
    }
    if arguments.check {
        say(match verdict {
            Verdict::Good => "\nThe demo is good.\n",
            Verdict::Bad => "\nThe demo is NOT good.\n",
        })?;
    }
    Ok(verdict)
}

/// A check that was not carried out has shown nothing to be good.
fn stopped_early(arguments: &Demo) -> Verdict {
    Verdict::of(!arguments.check)
}

/// The steps, each shown as it is done.
async fn show(stage: &Stage) -> Result<()> {
    say(&stage.parts())?;

    step(1, "The router announces; the node learns")?;
    let status = timeout(PATIENCE, stage.learned())
        .await
        .context("the node did not learn the routes in time")??;
    say(&status)?;
    say(&stage.refused().await?)?;

    step(2, "The control plane steers")?;
    let answer = timeout(PATIENCE, stage.steered())
        .await
        .context("the control plane did not steer in time")??;
    say(&answer)?;

    step(3, "A subscriber downloads, and another one")?;
    say(&format!("$ {}\n", stage.wget()))?;
    let (before, _) = stage.origin_tally();
    let first = timeout(PATIENCE, stage.download()).await.context("the download hangs")??;
    say(&format!("first    {first}\n"))?;
    let (requests, fetched) = stage.origin_tally();
    let second = timeout(PATIENCE, stage.download()).await.context("the download hangs")??;
    say(&format!("second   {second}\n"))?;
    let (_, fetched_after) = stage.origin_tally();
    say(&format!(
        "origin   {} in {} requests for the first, {} for the second\n",
        text::bytes(fetched),
        requests - before,
        text::bytes(fetched_after - fetched)
    ))?;

    ensure!(first.is_right() && second.is_right(), "the bytes are not those of the origin");
    ensure!(!first.is_hit(), "the first download should have been a miss");
    ensure!(second.is_hit(), "the second download should have been a hit");
    ensure!(fetched == stage.file_size(), "each byte should have been fetched once");
    ensure!(fetched_after == fetched, "a hit should fetch nothing");
    Ok(())
}

fn step(number: u32, title: &str) -> Result<()> {
    say(&format!("\n── {number}. {title} ──\n\n"))
}

fn say(what: &str) -> Result<()> {
    Ok(text::print(what)?)
}
