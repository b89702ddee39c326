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
use tokio::signal::unix::{SignalKind, signal};
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
    // One for all of it: the first Ctrl-C counts, whatever the demo is doing.
    let mut stop = pin!(stopped());
    // Made first and dropped last, so that nothing is left behind whenever the demo is stopped.
    let folder = tempfile::Builder::new().prefix("mcc-demo-").tempdir()?;
    let stage = tokio::select! {
        // First, so that signals are looked out for before there is anything to leave behind.
        biased;
        stopped = &mut stop => return stopped.map(|()| stopped_early(arguments)),
        stage = Stage::set(folder.path()) => stage?,
    };
    let outcome = tokio::select! {
        stopped = &mut stop => stopped.map(|()| None)?,
        outcome = show(&stage) => Some(outcome),
    };
    let verdict = match outcome {
        Some(Ok(())) => {
            if !arguments.check {
                say(&stage.what_next())?;
                stop.await?;
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
        // Asked again: the folder still goes.
        stopped = stopped() => stopped?,
    }
    if arguments.check {
        say(match verdict {
            Verdict::Good => "\nThe demo is good.\n",
            Verdict::Bad => "\nThe demo is NOT good.\n",
        })?;
    }
    Ok(verdict)
}

/// Waits for a signal that stops the demo. The terminal's end is one of them: nobody is left to
/// stop it later.
async fn stopped() -> Result<()> {
    let mut stop = StopSignals::catch()?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = stop.next() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
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
