//! `mcc run`.

use std::path::Path;

use anyhow::Result;
use mcc_config::NodeConfig;

use super::{DEFAULT_NODE_CONFIG, Verdict};
use crate::cli::Common;
use crate::logging;
use crate::node::Node;
use crate::signals::StopSignals;

pub(super) async fn run(common: &Common) -> Result<Verdict> {
    logging::start("info");
    let file = common.config.as_deref().unwrap_or(Path::new(DEFAULT_NODE_CONFIG));
    let config = NodeConfig::load(file)?;
    let node = Node::start(config).await?;
    let mut signals = StopSignals::listen()?;
    let signal = signals.next().await;
    tracing::info!(signal, "stopping: sessions are closed, running downloads may end");
    tokio::select! {
        () = node.stop() => tracing::info!("stopped"),
        again = signals.next() => {
            tracing::warn!(signal = again, "stopped at once: a second signal came");
        }
    }
    Ok(Verdict::Good)
}
