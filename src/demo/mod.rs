//! `mcc demo`: everything on loopback, with nothing to prepare.
//!
//! The node and the control plane are the real ones, wired as `mcc run` and `mcc control run` wire
//! them. The router and the origin are the demo's own.

mod download;
mod origin;
mod stage;

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use crate::cli::Demo;
use crate::commands::Verdict;
use crate::{logging, signals, text};
use stage::Stage;

/// How long the slowest step may take before the demo gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: &Demo) -> Result<Verdict> {
    logging::start("error");
    // One for all of it: the first Ctrl-C counts, whatever the demo is doing.
    let mut stop = pin!(signals::stop_signal());
    // A demo that is cut short is no failure, but it has not shown that all is well either.
    let cut_short = Verdict::of(!arguments.check);
    let stage = tokio::select! {
        // First, so that signals are looked out for before there is anything to leave behind.
        biased;
        signal = &mut stop => return Ok(signal.map(|_| cut_short)?),
        stage = Stage::set() => stage?,
    };
    let shown = tokio::select! {
        signal = &mut stop => signal.map(|_| None)?,
        outcome = show(&stage) => Some(outcome),
    };
    let verdict = match shown {
        None => cut_short,
        Some(Err(error)) => {
            say(&format!("\n× {error:#}\n"))?;
            Verdict::Bad
        }
        Some(Ok(())) if arguments.check => Verdict::Good,
        Some(Ok(())) => {
            say(&stage.what_next())?;
            stop.await?;
            say("\nStopping.\n")?;
            Verdict::Good
        }
    };
    stage.clear().await;
    if arguments.check {
        say(match verdict {
            Verdict::Good => "\nThe demo is good.\n",
            Verdict::Bad => "\nThe demo is NOT good.\n",
        })?;
    }
    Ok(verdict)
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
