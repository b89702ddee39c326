//! `mcc config check` and `mcc config example`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mcc_config::{ControlConfig, NodeConfig};

use super::{DEFAULT_CONTROL_CONFIG, DEFAULT_NODE_CONFIG, Verdict, print_json};
use crate::cli::{Common, ConfigCommand};
use crate::text;

pub(super) fn run(common: &Common, command: &ConfigCommand) -> Result<Verdict> {
    match command {
        ConfigCommand::Check { file, control } => check(common, file.as_deref(), *control),
        ConfigCommand::Example { control } => {
            text::print(if *control {
                mcc_config::example_control()
            } else {
                mcc_config::example_node()
            })?;
            Ok(Verdict::Good)
        }
    }
}

fn check(common: &Common, file: Option<&Path>, control: bool) -> Result<Verdict> {
    let default = if control { DEFAULT_CONTROL_CONFIG } else { DEFAULT_NODE_CONFIG };
    let file: PathBuf = file.or(common.config.as_deref()).unwrap_or(Path::new(default)).to_owned();
    let outcome = if control || is_of_control_plane(&file) {
        ControlConfig::load(&file).map(|_| ())
    } else {
        NodeConfig::load(&file).map(|_| ())
    };
    let problems = outcome.as_ref().err().map(ToString::to_string);
    if common.json {
        print_json(&serde_json::json!({
            // A path need not be UTF-8, JSON must be.
            "file": file.display().to_string(),
            "good": problems.is_none(),
            "problems": problems.as_deref().map(|text| text.lines().collect::<Vec<_>>()).unwrap_or_default(),
        }))?;
    } else {
        match &problems {
            None => text::print(&format!("{}: good\n", file.display()))?,
            Some(problems) => text::print(&format!("{problems}\n"))?,
        }
    }
    Ok(Verdict::of(problems.is_none()))
}

/// What cannot be read is told when it is read again, as a node's file.
fn is_of_control_plane(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| mcc_config::is_of_control_plane(&text))
}
