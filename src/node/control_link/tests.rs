//! The link of a whole node to a real control plane.

use std::fs;

use mcc_config::{ControlConfig, NodeConfig};
use mcc_control::api::types::NodeSettings;
use mcc_control::feed::AdvertiserState;
use mcc_control::server::ControlPlane;
use mcc_control::tokens::{self, Role};

use super::*;
use crate::node::Node;

async fn until(link: &LinkWatch, condition: impl Fn(&LinkState) -> bool) {
    while !condition(&link.state()) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// An operator who enrols a node again (a token that leaked, a node that was deleted) restarts
/// nothing: the node finds the new token by itself, and advertises.
#[tokio::test]
async fn a_node_that_is_refused_takes_up_a_new_token() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let control = format!("[control]\nlisten = [\"127.0.0.1:0\"]\ndata_dir = \"{}\"\n", at("c"));
    let control = ControlConfig::parse(&control, "control.toml").unwrap();
    let plane = ControlPlane::start(control.clone()).await.unwrap();
    let url = format!("http://{}", plane.local_addrs().first().unwrap());
    let owner = tokens::create(&control, Role::Owner).await.unwrap();
    let owner = Client::new(&url, None).unwrap().with_token(owner);
    let settings = r#"{"name": "edge-1", "address": "127.0.0.1"}"#;
    let settings: NodeSettings = serde_json::from_str(settings).unwrap();
    owner.create_node(&settings).await.unwrap();

    let token_file = folder.path().join("node.token");
    fs::write(&token_file, "mcc_of-yesterday\n").unwrap();
    let file = format!(
        r#"
drive = [{{ path = "{}", size = "64MiB" }}]
node = {{ name = "edge-1", address = "127.0.0.1", data_dir = "{}" }}
http.listen = ["127.0.0.1:0"]
https.listen = ["127.0.0.1:0"]
admin.listen = "127.0.0.1:0"
footprint.cidrs = ["198.51.100.0/24"]
control = {{ url = "{url}", token_file = "{}" }}
"#,
        at("drive"),
        at("data"),
        at("node.token"),
    );
    let node = Node::start(NodeConfig::parse(&file, "mcc.toml").unwrap()).await.unwrap();
    let link = node.view.link.clone().unwrap();
    let stopped = |s: &LinkState| matches!(s.advertiser.state, AdvertiserState::Stopped { .. });
    until(&link, |state| state.error.is_some() && stopped(state)).await;

    let key = owner.create_enrolment(&settings.name).await.unwrap().key;
    let registered = Client::new(&url, None).unwrap().register(key).await.unwrap();
    fs::write(&token_file, registered.token.expose()).unwrap();
    until(&link, |state| state.connected && state.advertiser.acknowledged).await;
    node.stop().await;
    plane.shutdown().await;
}
