//! `mcc steer IP`: which node serves a client, and why.

use std::fmt::{Display, Write};
use std::path::Path;

use anyhow::{Context, Result};
use mcc_config::NodeConfig;
use mcc_control::api::types::{Considered, Explanation, SteerAnswer};
use mcc_control::client::{Client, Steered};
use serde::Serialize;
use serde_json::Value;

use super::{DEFAULT_NODE_CONFIG, Verdict, print_json};
use crate::cli::{Common, Steer};
use crate::table::Rows;
use crate::terminal::Output;
use crate::text;

pub(super) async fn run(common: &Common, arguments: &Steer) -> Result<Verdict> {
    let url = match &arguments.control {
        Some(url) => url.clone(),
        None => from_config(common)?,
    };
    let client = Client::new(&url, None)?;
    let answer = client
        .steer(arguments.client, arguments.host.as_deref(), true)
        .await
        .with_context(|| format!("asking {url}"))?;
    match &answer {
        Steered::Node(answer) if common.json => print_json(answer)?,
        Steered::Node(answer) => {
            text::print(&render(&arguments.client, answer, Output::standard())?)?;
        }
        Steered::Nobody(explanation) if common.json => print_json(&serde_json::json!({
            "node": null,
            "client": arguments.client,
            "explanation": explanation,
        }))?,
        Steered::Nobody(explanation) => {
            text::print(&render_nobody(
                &arguments.client,
                explanation.as_ref(),
                Output::standard(),
            )?)?;
        }
    }
    Ok(Verdict::of(matches!(answer, Steered::Node(_))))
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
pub(crate) fn render(
    client: &impl Display,
    answer: &SteerAnswer,
    output: Output,
) -> Result<String> {
    let mut out = String::new();
    writeln!(out, "{client} is served by {} ({})", answer.node, answer.address)?;
    let reasons: Vec<_> = answer.reason.iter().map(word).collect::<Result<_>>()?;
    writeln!(out, "by prefix {}, because of {}", answer.prefix, reasons.join(", then "))?;
    if let Some(explanation) = &answer.explanation {
        write!(out, "\n{}", considered(explanation, output)?)?;
    }
    Ok(out)
}

fn render_nobody(
    client: &impl Display,
    explanation: Option<&Explanation>,
    output: Output,
) -> Result<String> {
    Ok(match explanation {
        Some(explanation) if !explanation.passed_over.is_empty() => format!(
            "No node serves {client}: those that have a prefix of it are sent no clients now\n\n{}",
            considered(explanation, output)?
        ),
        _ => format!("No node serves {client}: it is in no node's footprint\n"),
    })
}

fn considered(explanation: &Explanation, output: Output) -> Result<String> {
    let mut rows =
        Rows::new(&["", "Node", "Prefix", "Source", ">AS path", "?>MED", "?>From AS", "~Why"]);
    for candidate in &explanation.candidates {
        push(&mut rows, "√", candidate)?;
    }
    for passed in &explanation.passed_over {
        push(&mut rows, "×", passed)?;
    }
    Ok(rows.render(output))
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
