//! A control plane on a free loopback port with its own folder, and ways to talk to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use mcc_config::{ControlConfig, NodeName, Secret};
use mcc_control::api::types::{Heartbeat, NodeSettings};
use mcc_control::client::Client;
use mcc_control::feed::{Advertiser, Answer, RouteAttributes, RouteRecord};
use mcc_control::server::ControlPlane;
use mcc_control::tokens::{self, Role};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Plane {
    pub(crate) config: ControlConfig,
    folder: TempDir,
    running: ControlPlane,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ControlConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ControlConfig { control: Default::default(), dns: None };
        config.control.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        config.control.data_dir = folder.path().to_owned();
        change(&mut config);
        let running = ControlPlane::start(config.clone()).await.unwrap();
        Self { config, folder, running }
    }

    /// Stops it and starts another on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { config, folder, running } = self;
        running.shutdown().await;
        let running = ControlPlane::start(config.clone()).await.unwrap();
        Self { config, folder, running }
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown().await;
    }

    /// Drops it, which leaves running requests unanswered, and starts another on the same folder.
    pub(crate) async fn drop_and_start(self) -> Self {
        let Self { config, folder, running } = self;
        drop(running);
        let running = ControlPlane::start(config.clone()).await.unwrap();
        Self { config, folder, running }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.config.control.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.running.local_addrs()[0])
    }

    pub(crate) async fn token(&self, role: Role) -> Secret {
        tokens::create(&self.config, role).await.unwrap()
    }

    pub(crate) fn client(&self, token: &Secret) -> Client {
        Client::new(&self.url(), None).unwrap().with_token(token.clone())
    }

    pub(crate) async fn owner(&self) -> Client {
        self.client(&self.token(Role::Owner).await)
    }

    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.url(), None).unwrap()
    }

    /// Creates a node, enrols it and lets it call once, healthy.
    pub(crate) async fn healthy_node(&self, owner: &Client, settings: &NodeSettings) -> NodeLink {
        owner.create_node(settings).await.unwrap();
        let link = self.enrol(owner, &settings.name).await;
        link.client.heartbeat(&healthy()).await.unwrap();
        link
    }

    pub(crate) async fn enrol(&self, owner: &Client, name: &NodeName) -> NodeLink {
        let key = owner.create_enrolment(name).await.unwrap().key;
        let token = self.stranger().register(key).await.unwrap().token;
        NodeLink { client: self.client(&token), token }
    }

    /// A request as some other program would send it: method, path, headers, body.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let mut request =
            http().request(method.parse().unwrap(), format!("{}{path}", self.url())).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        Reply { status, headers, text }
    }
}

/// A node's side.
pub(crate) struct NodeLink {
    pub(crate) client: Client,
    pub(crate) token: Secret,
}

impl NodeLink {
    /// Sends what the advertiser wants to send, until it has nothing more to say at `now`.
    pub(crate) async fn advertise(&self, advertiser: &mut Advertiser, now: Instant) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(request) = advertiser.poll(now) {
            let answer = self.client.advertise(&request).await.unwrap().answer;
            advertiser.answer(answer.clone(), now);
            answers.push(answer);
        }
        answers
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The detail of a problem; every error must be one.
    pub(crate) fn detail(&self) -> String {
        let media_type = &self.headers["content-type"];
        assert_eq!(media_type, "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// An HTTP client without any knowledge of the control plane.
fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}

pub(crate) fn settings(name: &str, address: &str, cidrs: &[&str]) -> NodeSettings {
    NodeSettings {
        name: name.parse().unwrap(),
        address: address.parse().unwrap(),
        max_egress_mbps: None,
        cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        neighbors: Vec::new(),
    }
}

pub(crate) fn healthy() -> Heartbeat {
    Heartbeat { version: "test".to_owned(), ready: true, ..Heartbeat::default() }
}

pub(crate) fn route(prefix: &str) -> RouteRecord {
    RouteRecord {
        prefix: prefix.parse().unwrap(),
        attributes: Arc::new(RouteAttributes::bgp(3, 65100)),
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
