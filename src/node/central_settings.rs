//! Settings that were made for this node in the control plane: neighbors, CIDR blocks, egress limit.
//!
//! They are fetched when the node starts and kept in `data_dir`, so that a node whose control plane
//! is away starts with the last ones it got. The node's own file goes first: what it says of a
//! neighbor or of the egress limit stays.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use mcc_config::{Bgp, NodeConfig};
use mcc_control::api::types::{NodeConfiguration, NodeSettings};
use mcc_control::client::Client;
use mcc_control::node::{SettingsError, check_cidr, check_neighbor};
use tokio::time::timeout;

use super::{own_address, token_file};
use crate::private_file::Replacement;

/// How long a start waits for the control plane.
const PATIENCE: Duration = Duration::from_secs(3);

/// The settings of the control plane beside those of the node's file.
#[derive(Debug)]
pub(super) struct CentralSettings {
    file: NodeConfig,
    /// What the node runs with.
    running: NodeConfig,
    /// Where the last settings are kept.
    kept: PathBuf,
    /// The generation in `running`; 0 for none.
    pub(super) generation: u64,
}

impl CentralSettings {
    /// Asks the control plane for its settings, or takes the kept ones if it does not answer.
    pub(super) async fn fetch(file: NodeConfig) -> Result<Self> {
        let kept = file.node.data_dir.join("control-settings.json");
        let mut this = Self { running: file.clone(), file, kept, generation: 0 };
        let Some(control) = &this.file.control else { return Ok(this) };
        let client = Client::new(&control.url, None).context("control.url")?;
        let central = match token_file::read(&control.token_file).await {
            Ok(token) => ask(&client.with_token(token), &control.url).await,
            // The link to the control plane tells why, again and again.
            Err(_) => None,
        };
        let central = match central {
            Some(central) => {
                this.keep(&central).await;
                Some(central)
            }
            None => this.load().await,
        };
        if let Some(central) = central
            && this.is_for_this_node(&central)
        {
            this.running = merge(this.file.clone(), &central.settings, own_address::is_own);
            this.generation = central.generation;
        }
        Ok(this)
    }

    /// The node's file and the settings of the control plane in one.
    pub(super) fn running(&self) -> &NodeConfig {
        &self.running
    }

    /// CIDR blocks that only the control plane's settings have.
    pub(super) fn central_cidrs(&self) -> BTreeSet<IpNet> {
        let own = &self.file.footprint.cidrs;
        let running = self.running.footprint.cidrs.iter();
        running.filter(|cidr| !own.contains(cidr)).copied().collect()
    }

    /// Keeps new settings for the next start, and says whether they change anything.
    pub(super) async fn received(&self, central: &NodeConfiguration) -> bool {
        if !self.is_for_this_node(central) {
            return false;
        }
        self.keep(central).await;
        merge(self.file.clone(), &central.settings, own_address::is_own) != self.running
    }

    fn is_for_this_node(&self, central: &NodeConfiguration) -> bool {
        let is_ours = central.settings.name == self.file.node.name;
        if !is_ours {
            tracing::warn!(
                here = %self.file.node.name,
                there = %central.settings.name,
                "the token in control.token_file belongs to a node of another name; its settings are not used"
            );
        }
        is_ours
    }

    async fn keep(&self, central: &NodeConfiguration) {
        if let Err(error) = save(&self.kept, central).await {
            tracing::warn!(%error, file = %self.kept.display(), "cannot keep the settings of the control plane");
        }
    }

    async fn load(&self) -> Option<NodeConfiguration> {
        let json = tokio::fs::read(&self.kept).await.ok()?;
        serde_json::from_slice(&json)
            .inspect_err(|error| {
                tracing::warn!(%error, file = %self.kept.display(), "the kept settings cannot be read");
            })
            .ok()
    }
}

async fn ask(client: &Client, url: &str) -> Option<NodeConfiguration> {
    let why = match timeout(PATIENCE, client.configuration(None)).await {
        Ok(Ok(settings)) => return settings,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(url, why, "starting with the last settings that the control plane gave");
    None
}

/// What stands in both is the file's. What this node cannot run with is left out: a mistake made in
/// the control plane must not keep the node down.
fn merge(
    mut config: NodeConfig,
    central: &NodeSettings,
    is_own: impl Fn(IpAddr) -> bool,
) -> NodeConfig {
    let ipv6 = config.node.ipv6;
    for (i, neighbor) in central.neighbors.iter().enumerate() {
        if !can_use(check_neighbor(&format!("neighbors[{i}]"), neighbor, ipv6)) {
            continue;
        }
        let bgp = config.bgp.get_or_insert_with(Bgp::default);
        if neighbor.password.is_none()
            && let Some(range) = bgp.signed_range_around(neighbor.address.into())
        {
            let (address, range) = (neighbor.address, bgp.dynamic.get(range).map(|r| r.prefix));
            tracing::warn!(
                neighbor = %address,
                ?range,
                "a neighbor of the control plane is left out on this node: it has no password, and a \
                 [[bgp.dynamic]] around it has one"
            );
            continue;
        }
        if let Some(listen) = bgp.reached_by_dialling(neighbor, &is_own) {
            let address = neighbor.address;
            tracing::warn!(
                neighbor = %address,
                %listen,
                "a neighbor of the control plane is left out on this node: the address is the node's own"
            );
            continue;
        }
        if !bgp.neighbors.iter().any(|own| own.address == neighbor.address) {
            bgp.neighbors.push(neighbor.clone());
        }
    }
    for (i, cidr) in central.cidrs.iter().enumerate() {
        let good = can_use(check_cidr(&format!("cidrs[{i}]"), *cidr, ipv6));
        if good && !config.footprint.cidrs.contains(cidr) {
            config.footprint.cidrs.push(*cidr);
        }
    }
    let limit = central.max_egress_mbps.filter(|limit| *limit > 0);
    config.node.max_egress_mbps = config.node.max_egress_mbps.or(limit);
    config
}

fn can_use(checked: Result<(), SettingsError>) -> bool {
    checked
        .inspect_err(|error| {
            tracing::warn!(%error, "a setting of the control plane is left out on this node");
        })
        .is_ok()
}

/// Readable by the owner only: there are passwords in it.
async fn save(file: &Path, settings: &NodeConfiguration) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(settings)?;
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || {
        // At the first start of a node nothing has made its `data_dir` yet.
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Replacement::prepare(&file)?.commit(&json)
    })
    .await
    .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(address: IpAddr) -> bool {
        address.is_loopback()
    }

    const FILE: &str = r#"
[node]
name = "edge-1"
address = "192.0.2.10"
[[drive]]
path = "/cache/1"
size = "1GB"
[[bgp.neighbor]]
address = "192.0.2.1"
asn = 65100
[footprint]
cidrs = ["198.51.100.0/24"]
"#;

    fn central(neighbors: &str) -> NodeSettings {
        let json = format!(
            r#"{{"name": "edge-1", "address": "192.0.2.10", "max_egress_mbps": 500,
                "cidrs": ["198.51.100.0/24", "203.0.113.0/24"], "neighbors": {neighbors}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_file_goes_first() {
        let file = NodeConfig::parse(FILE, "mcc.toml").unwrap();
        let merged = merge(
            file,
            &central(
                r#"[{"address": "192.0.2.1", "asn": 65200}, {"address": "192.0.2.2", "asn": 65300}]"#,
            ),
            is_own,
        );
        let neighbors: Vec<_> = merged.bgp.unwrap().neighbors;
        let asns: Vec<u32> = neighbors.iter().map(|neighbor| neighbor.asn.get()).collect();
        assert_eq!(asns, [65100, 65300]);
        assert_eq!(merged.footprint.cidrs.len(), 2, "a block in both counts once");
        assert_eq!(merged.node.max_egress_mbps, Some(500));
    }

    #[test]
    fn neighbors_of_the_control_plane_switch_bgp_on() {
        let mut file = NodeConfig::parse(FILE, "mcc.toml").unwrap();
        file.bgp = None;
        assert_eq!(merge(file.clone(), &central("[]"), is_own).bgp, None);
        let merged = merge(file, &central(r#"[{"address": "192.0.2.2", "asn": 65300}]"#), is_own);
        assert_eq!(merged.bgp.unwrap().neighbors.len(), 1);
    }

    #[test]
    fn what_the_node_cannot_run_with_does_not_keep_it_down() {
        let file = NodeConfig::parse(FILE, "mcc.toml").unwrap();
        let merged = merge(
            file.clone(),
            &central(
                r#"[{"address": "192.0.2.2", "asn": 65300, "accept": {"communities": ["x"]}},
                    {"address": "2001:db8::1", "asn": 65300},
                    {"address": "192.0.2.3", "asn": 65300}]"#,
            ),
            is_own,
        );
        let neighbors: Vec<_> =
            merged.bgp.unwrap().neighbors.iter().map(|n| n.address.to_string()).collect();
        assert_eq!(neighbors, ["192.0.2.1", "192.0.2.3"]);
    }

    #[test]
    fn a_neighbor_that_a_password_of_the_file_would_keep_out_is_left_out() {
        let range = "[[bgp.dynamic]]\nprefix = \"203.0.113.0/24\"\npassword = \"secret\"\n";
        let file = FILE.replace("[footprint]", &format!("{range}[footprint]"));
        let merged = merge(
            NodeConfig::parse(&file, "mcc.toml").unwrap(),
            &central(
                r#"[{"address": "203.0.113.7", "asn": 65300},
                    {"address": "203.0.113.8", "asn": 65300, "password": "x"}]"#,
            ),
            is_own,
        );
        let neighbors: Vec<_> =
            merged.bgp.unwrap().neighbors.iter().map(|n| n.address.to_string()).collect();
        assert_eq!(neighbors, ["192.0.2.1", "203.0.113.8"]);
    }

    #[test]
    fn a_neighbor_that_is_the_node_itself_is_left_out() {
        let file = FILE
            .replace("[[bgp.neighbor]]", "[bgp]\nlisten = [\"127.0.0.1:1790\"]\n[[bgp.neighbor]]");
        let merged = merge(
            NodeConfig::parse(&file, "mcc.toml").unwrap(),
            &central(
                r#"[{"address": "127.0.0.1", "port": 1790, "asn": 65300},
                    {"address": "127.0.0.1", "port": 179, "asn": 65300}]"#,
            ),
            is_own,
        );
        let neighbors: Vec<_> =
            merged.bgp.unwrap().neighbors.iter().map(|n| (n.address.to_string(), n.port)).collect();
        assert_eq!(neighbors, [("192.0.2.1".to_owned(), 179), ("127.0.0.1".to_owned(), 179)]);
    }

    #[tokio::test]
    async fn settings_are_kept_in_a_data_dir_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("lib/mcc/control-settings.json");
        let settings = NodeConfiguration { generation: 7, settings: central("[]") };
        save(&kept, &settings).await.unwrap();
        let read: NodeConfiguration =
            serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        assert_eq!(read, settings);
    }
}
