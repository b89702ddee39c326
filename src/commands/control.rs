//! `mcc control run` and `mcc control token create`.

use std::path::Path;

use anyhow::Result;
use mcc_config::ControlConfig;
use mcc_control::server::ControlPlane;
use mcc_control::tokens;

use super::{DEFAULT_CONTROL_CONFIG, Verdict, print_json};
use crate::cli::{Common, ControlCommand, Role, TokenCommand};
use crate::signals::{self, StopSignals};
use crate::{logging, text};

pub(super) async fn run(common: &Common, command: &ControlCommand) -> Result<Verdict> {
    let file = common.config.as_deref().unwrap_or(Path::new(DEFAULT_CONTROL_CONFIG));
    let config = ControlConfig::load(file)?;
    match command {
        ControlCommand::Run => {
            logging::start("info");
            signals::outlive_hangup()?;
            let mut stop = StopSignals::listen()?;
            let plane = ControlPlane::start(config).await?;
            let signal = stop.next().await;
            tracing::info!(signal, "stopping");
            plane.shutdown().await;
        }
        ControlCommand::Token(TokenCommand::Create { role }) => {
            let role = match role {
                Role::Owner => tokens::Role::Owner,
                Role::Operator => tokens::Role::Operator,
                Role::Viewer => tokens::Role::Viewer,
            };
            let token = tokens::create(&config, role).await?;
            if common.json {
                print_json(&serde_json::json!({ "token": token.expose() }))?;
            } else {
                text::print(&format!("{}\n", token.expose()))?;
            }
        }
    }
    Ok(Verdict::Good)
}
