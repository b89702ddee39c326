//! `mcc run`.

use std::path::Path;

use anyhow::Result;
use mcc_config::NodeConfig;

use super::{DEFAULT_NODE_CONFIG, Verdict};
use crate::cli::Common;
use crate::node::Node;
use crate::signals::{self, StopSignals};
use crate::{logging, open_files};

pub(super) async fn run(common: &Common) -> Result<Verdict> {
    logging::start("info");
    signals::outlive_hangup()?;
    let mut stop = StopSignals::listen()?;
    let file = common.config.as_deref().unwrap_or(Path::new(DEFAULT_NODE_CONFIG));
    let config = NodeConfig::load(file)?;
    open_files::raise_limit();
    let node = tokio::select! {
        node = Node::start(config) => node?,
        signal = stop.next() => {
            tracing::info!(signal, "stopped before it was up");
            return Ok(Verdict::Good);
        }
    };
    let signal = stop.next().await;
    tracing::info!(signal, "stopping: sessions are closed, running downloads may end");
    tokio::select! {
        () = node.stop() => tracing::info!("stopped"),
        signal = stop.next() => tracing::warn!(signal, "stopped at once: a second signal came"),
    }
    Ok(Verdict::Good)
}
