//! Settings that were made for this node in the control plane: neighbors, CIDR blocks, egress limit.
//!
//! They are fetched when the node starts and kept in `data_dir`, so that a node whose control plane
//! is away starts with the last ones it got. The node's own file goes first: what it says of a
//! neighbor or of the egress limit stays.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mcc_config::{Bgp, NodeConfig, Secret};
use mcc_control::api::types::NodeConfiguration;
use mcc_control::client::Client;
use tokio::time::timeout;

use crate::private_file::Replacement;

/// How long a start waits for the control plane.
const PATIENCE: Duration = Duration::from_secs(3);

/// `config` with the settings of the control plane added, and their generation (0: none).
pub(super) async fn merged(config: NodeConfig) -> Result<(NodeConfig, u64)> {
    let Some(control) = &config.control else { return Ok((config, 0)) };
    let saved = config.node.data_dir.join("control-settings.json");
    let token = tokio::fs::read_to_string(&control.token_file).await.unwrap_or_default();
    let settings = if token.trim().is_empty() {
        None
    } else {
        let client = Client::new(&control.url, None)
            .context("control.url")?
            .with_token(Secret::new(token.trim().to_owned()));
        match timeout(PATIENCE, client.configuration(None)).await {
            Ok(Ok(settings)) => settings,
            Ok(Err(error)) => {
                tracing::warn!(%error, "starting with the last settings that the control plane gave");
                None
            }
            Err(_) => {
                tracing::warn!(
                    url = control.url,
                    "the control plane does not answer: starting with the last settings it gave"
                );
                None
            }
        }
    };
    let settings = match settings {
        Some(settings) => {
            if let Err(error) = save(&saved, &settings).await {
                tracing::warn!(%error, file = %saved.display(), "cannot keep the settings");
            }
            Some(settings)
        }
        None => load(&saved).await,
    };
    match settings {
        Some(settings) if settings.settings.name == config.node.name => Ok(merge(config, settings)),
        Some(settings) => {
            tracing::warn!(
                here = %config.node.name,
                there = %settings.settings.name,
                "the token in control.token_file belongs to a node of another name; its settings are not used"
            );
            Ok((config, 0))
        }
        None => Ok((config, 0)),
    }
}

fn merge(mut config: NodeConfig, central: NodeConfiguration) -> (NodeConfig, u64) {
    let settings = central.settings;
    if !settings.neighbors.is_empty() {
        let bgp = config.bgp.get_or_insert_with(Bgp::default);
        for neighbor in settings.neighbors {
            if !bgp.neighbors.iter().any(|own| own.address == neighbor.address) {
                bgp.neighbors.push(neighbor);
            }
        }
    }
    for cidr in settings.cidrs {
        if !config.footprint.cidrs.contains(&cidr) {
            config.footprint.cidrs.push(cidr);
        }
    }
    config.node.max_egress_mbps = config.node.max_egress_mbps.or(settings.max_egress_mbps);
    (config, central.generation)
}

/// Readable by the owner only: there are passwords in it.
async fn save(file: &Path, settings: &NodeConfiguration) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(settings)?;
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || Replacement::prepare(&file)?.commit(&json))
        .await
        .map_err(io::Error::other)?
}

async fn load(file: &Path) -> Option<NodeConfiguration> {
    let json = tokio::fs::read(file).await.ok()?;
    match serde_json::from_slice(&json) {
        Ok(settings) => Some(settings),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the kept settings cannot be read");
            None
        }
    }
}
