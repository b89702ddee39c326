//! `mcc steer IP`: which node serves a client, and why.

use std::fmt::{Display, Write};
use std::path::Path;

use anyhow::{Context, Result};
use mcc_config::NodeConfig;
use mcc_control::api::types::{Considered, SteerAnswer};
use mcc_control::client::Client;
use serde::Serialize;
use serde_json::Value;

use super::{DEFAULT_NODE_CONFIG, Verdict, print_json};
use crate::cli::{Common, Steer};
use crate::text::{self, Rows};

pub(super) async fn run(common: &Common, arguments: &Steer) -> Result<Verdict> {
    let url = match &arguments.control {
        Some(url) => url.clone(),
        None => from_config(common)?,
    };
    let client = Client::new(&url, None)?;
    let answer = client.steer(arguments.client, arguments.host.as_deref(), true).await?;
    match (&answer, common.json) {
        (answer, true) => print_json(answer)?,
        (Some(answer), false) => text::print(&render(&arguments.client, answer)?)?,
        (None, false) => text::print(&format!(
            "No node serves {}: no footprint covers it, or no node that has it may be sent clients.\n",
            arguments.client
        ))?,
    }
    Ok(Verdict::of(answer.is_some()))
}

fn from_config(common: &Common) -> Result<String> {
    let file = common.config.as_deref().unwrap_or(Path::new(DEFAULT_NODE_CONFIG));
    let config = NodeConfig::load(file).context(
        "which control plane? `--control URL` names it, or `[control] url` in the node's file",
    )?;
    let control = config.control.with_context(|| {
        format!(
            "{} has no [control] section: `--control URL` names the control plane",
            file.display()
        )
    })?;
    Ok(control.url)
}

/// The answer as `mcc steer` and `mcc demo` print it.
pub(crate) fn render(client: &impl Display, answer: &SteerAnswer) -> Result<String> {
    let mut out = String::new();
    writeln!(out, "{client} is served by {} ({})", answer.node, answer.address)?;
    let reasons: Vec<_> = answer.reason.iter().map(word).collect::<Result<_>>()?;
    writeln!(out, "by prefix {}, because of {}", answer.prefix, reasons.join(", then "))?;
    if let Some(explanation) = &answer.explanation {
        let mut rows =
            Rows::new(&["", "Node", "Prefix", "Source", ">AS path", ">MED", ">From AS", "Why"]);
        for candidate in &explanation.candidates {
            push(&mut rows, "√", candidate)?;
        }
        for passed in &explanation.passed_over {
            push(&mut rows, "×", passed)?;
        }
        write!(out, "\n{}", rows.render())?;
    }
    Ok(out)
}

fn push<R: Serialize>(rows: &mut Rows, sign: &str, node: &Considered<R>) -> Result<()> {
    let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    rows.push([
        sign.to_owned(),
        node.node.to_string(),
        node.prefix.to_string(),
        node.source.to_string(),
        node.path_len.to_string(),
        number(node.med),
        number(node.neighbor_asn),
        word(&node.reason)?,
    ]);
    Ok(())
}

/// A reason code as words: `longest_prefix` → `longest prefix`.
fn word(reason: &impl Serialize) -> Result<String> {
    Ok(match serde_json::to_value(reason)? {
        Value::String(code) => code.replace('_', " "),
        other => other.to_string(),
    })
}
