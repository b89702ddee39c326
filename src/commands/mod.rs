//! The commands, one file each. A command says what it found and whether that is good.

mod bgp;
mod cache;
mod config;
mod control;
mod enrol;
mod footprint;
mod list;
mod run;
mod status;
mod steer;

pub(crate) use bgp::{render_routes, render_status as render_bgp_status};
pub(crate) use steer::render as render_steer;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin_client::AdminClient;
use crate::cli::{Cli, Command, Common};
use crate::{demo, text};

/// Where the node's file is unless `--config` names another.
pub(crate) const DEFAULT_NODE_CONFIG: &str = "/etc/mcc/mcc.toml";
/// Where the control plane's file is unless `--config` names another.
pub(crate) const DEFAULT_CONTROL_CONFIG: &str = "/etc/mcc/control.toml";

/// What the thing asked about is; the exit status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit status 0.
    Good,
    /// Exit status 1.
    Bad,
}

/// The command line asks for what cannot be; the exit status is 2, as for what clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(pub(crate) String);

impl Verdict {
    /// Good if `good`.
    pub(crate) fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

/// Carries out one command line.
pub(crate) async fn run(cli: Cli) -> Result<Verdict> {
    let common = &cli.common;
    match &cli.command {
        Command::Run => run::run(common).await,
        Command::Control(command) => control::run(common, command).await,
        Command::Enrol(arguments) => enrol::run(common, arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Status => status::run(common).await,
        Command::List => list::run(common).await,
        Command::Bgp(command) => bgp::run(common, command).await,
        Command::Cache(command) => cache::run(common, command).await,
        Command::Footprint(arguments) => footprint::run(common, arguments).await,
        Command::Steer(arguments) => steer::run(common, arguments).await,
        Command::Config(command) => config::run(common, command),
        Command::Drain => {
            AdminClient::new(common)?.post("/v1/drain").await?;
            let words = "Draining: new clients get 503, running downloads go on.";
            done(common, &json!({ "draining": true }), words)
        }
        Command::Undrain => {
            AdminClient::new(common)?.post("/v1/undrain").await?;
            done(common, &json!({ "draining": false }), "Taking clients again.")
        }
    }
}

/// Says that what was asked for is done.
fn done(common: &Common, json: &Value, words: &str) -> Result<Verdict> {
    if common.json {
        print_json(json)?;
    } else {
        text::print(&format!("{words}\n"))?;
    }
    Ok(Verdict::Good)
}

/// Prints `value` as JSON for `--json`.
fn print_json(value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_string_pretty(value)?;
    json.push('\n');
    Ok(text::print(&text::printable_json(&json))?)
}
