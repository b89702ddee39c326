//! The link of a whole node to a real control plane.

use std::fs;

use mcc_config::{ControlConfig, NodeConfig, NodeName};
use mcc_control::api::types::{NodePatch, NodeSettings};
use mcc_control::feed::AdvertiserState;
use mcc_control::server::ControlPlane;
use mcc_control::tokens::{self, Role};
use tempfile::TempDir;

use super::*;
use crate::node::Node;

/// A control plane that knows one node, and a place for that node's files.
struct Scene {
    folder: TempDir,
    plane: ControlPlane,
    url: String,
    owner: Client,
    name: NodeName,
}

impl Scene {
    async fn with_cidrs(cidrs: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("control");
        let control =
            format!("[control]\nlisten = [\"127.0.0.1:0\"]\ndata_dir = \"{}\"\n", data.display());
        let control = ControlConfig::parse(&control, "control.toml").unwrap();
        let plane = ControlPlane::start(control.clone()).await.unwrap();
        let url = format!("http://{}", plane.local_addrs().first().unwrap());
        let token = tokens::create(&control, Role::Owner).await.unwrap();
        let owner = Client::new(&url, None).unwrap().with_token(token);
        let settings = format!(r#"{{"name": "edge-1", "address": "127.0.0.1", "cidrs": {cidrs}}}"#);
        let settings: NodeSettings = serde_json::from_str(&settings).unwrap();
        owner.create_node(&settings).await.unwrap();
        Self { folder, plane, url, owner, name: settings.name }
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("node.token")
    }

    /// What `mcc enrol` does.
    async fn enrol(&self) {
        let key = self.owner.create_enrolment(&self.name).await.unwrap().key;
        let registered = Client::new(&self.url, None).unwrap().register(key).await.unwrap();
        fs::write(self.token_file(), registered.token.expose()).unwrap();
    }

    async fn start_node(&self) -> (Node, LinkWatch) {
        self.start_node_with("", r#"["198.51.100.0/24"]"#).await
    }

    async fn start_node_with(&self, node: &str, cidrs: &str) -> (Node, LinkWatch) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        fs::create_dir_all(at("drive")).unwrap();
        let file = format!(
            r#"
drive = [{{ path = "{}", size = "64MiB" }}]
node = {{ name = "edge-1", address = "127.0.0.1", data_dir = "{}"{node} }}
http.listen = ["127.0.0.1:0"]
https.listen = ["127.0.0.1:0"]
admin.listen = "127.0.0.1:0"
footprint.cidrs = {cidrs}
control = {{ url = "{}", token_file = "{}" }}
"#,
            at("drive"),
            at("data"),
            self.url,
            at("node.token"),
        );
        let node = Node::start(NodeConfig::parse(&file, "mcc.toml").unwrap()).await.unwrap();
        let link = node.view.link.clone().unwrap();
        (node, link)
    }

    async fn serves(&self, client: &str) -> bool {
        let steered = self.owner.steer(client.parse().unwrap(), None, false).await.unwrap();
        steered.node().is_some()
    }

    async fn end(self, node: Node) {
        node.stop().await;
        self.plane.shutdown().await;
    }
}

async fn until(link: &LinkWatch, condition: impl Fn(&LinkState) -> bool) {
    while !condition(&link.state()) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// An operator who enrols a node again (a token that leaked, a node that was deleted) restarts
/// nothing: the node finds the new token by itself, and advertises.
#[tokio::test]
async fn a_node_that_is_refused_takes_up_a_new_token() {
    let scene = Scene::with_cidrs("[]").await;
    fs::write(scene.token_file(), "mcc_of-yesterday\n").unwrap();
    let (node, link) = scene.start_node().await;
    let stopped = |s: &LinkState| matches!(s.advertiser.state, AdvertiserState::Stopped { .. });
    until(&link, |state| state.error.is_some() && stopped(state)).await;
    scene.enrol().await;
    until(&link, |state| state.connected && state.advertiser.acknowledged).await;
    scene.end(node).await;
}

/// A block that was entered in the control plane is its own to give and to take: the node serves it
/// and does not advertise it back.
#[tokio::test]
async fn a_block_removed_in_the_control_plane_steers_no_more() {
    let scene = Scene::with_cidrs(r#"["203.0.113.0/24"]"#).await;
    scene.enrol().await;
    let (node, link) = scene.start_node().await;
    until(&link, |state| state.connected && state.advertiser.acknowledged).await;
    assert_eq!(node.view.speaker.status().footprint.prefixes, 2);
    assert_eq!((link.state().advertiser.routes, link.state().withheld), (1, 1));
    assert!(scene.serves("203.0.113.7").await && scene.serves("198.51.100.7").await);
    let patch = NodePatch { cidrs: Some(Vec::new()), ..NodePatch::default() };
    scene.owner.change_node(&scene.name, &patch).await.unwrap();
    assert!(!scene.serves("203.0.113.7").await);
    assert!(scene.serves("198.51.100.7").await, "what stands in the node's file stays");
    scene.end(node).await;
}

/// A node with IPv6 and a control plane without: IPv4 steers, and both say what does not.
#[tokio::test]
async fn what_the_control_plane_leaves_out_is_said_by_the_node() {
    let scene = Scene::with_cidrs("[]").await;
    scene.enrol().await;
    let cidrs = r#"["198.51.100.0/24", "2001:db8:1::/48"]"#;
    let (node, link) = scene.start_node_with(", ipv6 = true", cidrs).await;
    until(&link, |state| state.connected && state.advertiser.acknowledged).await;
    assert!(scene.serves("198.51.100.7").await);
    let status = crate::node::report::status(&node.view);
    assert_eq!(status.footprint.left_out.map(|left_out| left_out.prefixes), Some(1));
    let part = status.parts.iter().find(|part| part.name == "footprint").unwrap();
    assert_eq!(part.detail, "no client is steered by 1 prefix of it");
    assert!(part.advice.as_deref().unwrap().contains("`ipv6 = true` under [control]"), "{part:?}");
    let shown = scene.owner.node(&scene.name).await.unwrap().footprint;
    assert_eq!(shown.left_out.map(|left_out| left_out.prefixes), Some(1));
    scene.end(node).await;
}
