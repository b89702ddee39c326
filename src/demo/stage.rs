//! The demo's set-up: control plane, origin, router and node on free loopback ports.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::{IpNet, Ipv4Net};
use mcc_announcer::{Attributes, Endpoint, Route, RouterSettings};
use mcc_config::{ControlConfig, NodeConfig, Secret};
use mcc_control::api::types::NodeSettings;
use mcc_control::client::{Client, Steered};
use mcc_control::server::ControlPlane;
use mcc_control::tokens::{self, Role};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::download::Download;
use super::origin::Origin;
use crate::admin_client::AdminClient;
use crate::commands::{render_bgp_status, render_routes, render_steer};
use crate::node::Node;
use crate::private_file::Replacement;
use crate::terminal::Output;

#[expect(clippy::disallowed_types, reason = "the demo's router is what this type is for")]
use mcc_announcer::Router;

const NODE: &str = "demo-edge";
const ASN: u32 = 65100;
const HOST: &str = "downloads.example";
const FILE: &str = "files/update.bin";
const FILE_SIZE: u64 = 64 << 20;
/// A subscriber inside one of the announced prefixes.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 9);
/// Where the first of the announced prefixes begins: benchmarking space (RFC 2544), so that nothing
/// here can be taken for anybody's.
const PREFIXES: u32 = 200;
/// How long the node may take to answer, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// All of it, running.
pub(super) struct Stage {
    folder: PathBuf,
    control: ControlPlane,
    control_url: String,
    steering: Client,
    origin: Origin,
    #[expect(clippy::disallowed_types, reason = "the demo's router is what this type is for")]
    router: Router,
    router_address: SocketAddr,
    node: Node,
    admin: AdminClient,
    stop: CancellationToken,
}

impl Stage {
    /// Starts everything, with all files in the folder `root`.
    pub(super) async fn set(root: &Path) -> Result<Self> {
        let stop = CancellationToken::new();

        let origin_root = root.join("origin");
        let file = origin_root.join(FILE);
        tokio::task::spawn_blocking(move || write_content(&file)).await??;
        let origin = Origin::start(origin_root, stop.clone()).await?;

        let (router, router_address) = start_router()?;

        let control_config = control_config(root)?;
        let control = ControlPlane::start(control_config.clone()).await?;
        let address = control.local_addrs().first().context("the control plane does not listen")?;
        let control_url = format!("http://{address}");
        let owner = tokens::create(&control_config, Role::Owner).await?;
        let token_file = root.join("node.token");
        enrol(&control_url, owner, router_address, &token_file).await?;

        let node = Node::start(node_config(root, &origin, &control_url, &token_file)?).await?;
        let admin = AdminClient::at(&format!("http://{}", node.addresses().admin), PATIENCE)?;
        let steering = Client::new(&control_url, None)?;
        Ok(Self {
            folder: root.to_owned(),
            control,
            control_url,
            steering,
            origin,
            router,
            router_address,
            node,
            admin,
            stop,
        })
    }

    /// What runs where.
    pub(super) fn parts(&self) -> String {
        format!(
            "control plane  {}\n\
             origin         http://{}   (one real file of {} MiB, asked for as {HOST})\n\
             router         {}   AS {ASN}, announces {} prefixes by BGP\n\
             node           http://{}   admin http://{}\n\
             files          {}\n",
            self.control_url,
            self.origin.address,
            FILE_SIZE >> 20,
            self.router_address,
            routes().len(),
            self.http(),
            self.node.addresses().admin,
            self.folder.display(),
        )
    }

    /// Waits until the control plane has acknowledged the footprint, and shows the session.
    pub(super) async fn learned(&self) -> Result<String> {
        loop {
            let json: serde_json::Value = self.admin.get("/v1/bgp").await?;
            let prefixes = json.pointer("/footprint/prefixes").and_then(serde_json::Value::as_u64);
            let acknowledged = json.pointer("/footprint/acknowledged");
            if prefixes == Some(u64::from(PREFIXES))
                && acknowledged == Some(&serde_json::Value::Bool(true))
            {
                return render_bgp_status(&json, Output::standard());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// What the accept rules keep out, with the reason.
    pub(super) async fn refused(&self) -> Result<String> {
        let page: serde_json::Value = self.admin.get("/v1/bgp/routes?rejected=true").await?;
        let routes =
            page.get("routes").and_then(|routes| routes.as_array()).context("no routes")?;
        Ok(format!("\nRefused, with the reason:\n\n{}", render_routes(routes, Output::standard())?))
    }

    /// Waits until the control plane steers the demo's subscriber.
    pub(super) async fn steered(&self) -> Result<String> {
        loop {
            if let Steered::Node(answer) = self.steering.steer(CLIENT.into(), None, true).await? {
                return render_steer(&CLIENT, &answer, Output::standard());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The verification command, to copy.
    pub(super) fn wget(&self) -> String {
        format!("wget -O /dev/null '{}'", self.url())
    }

    pub(super) async fn download(&self) -> Result<Download> {
        Download::run(&self.url(), Content).await
    }

    /// Requests and body bytes that the origin has answered with.
    pub(super) fn origin_tally(&self) -> (u64, u64) {
        self.origin.tally.read()
    }

    pub(super) fn file_size(&self) -> u64 {
        FILE_SIZE
    }

    /// What a person can try while it runs.
    pub(super) fn what_next(&self) -> String {
        let admin = self.node.addresses().admin;
        format!(
            "\nAll of it is running. Try:\n\n\
             \x20 mcc --admin http://{admin} status\n\
             \x20 mcc --admin http://{admin} bgp status\n\
             \x20 mcc --admin http://{admin} bgp routes {CLIENT}\n\
             \x20 mcc --admin http://{admin} footprint --aggregate\n\
             \x20 mcc steer {CLIENT} --control {}\n\
             \x20 {}\n\
             \x20 curl http://{admin}/metrics\n\n\
             Ctrl-C ends it and leaves nothing behind.\n",
            self.control_url,
            self.wget(),
        )
    }

    /// Stops everything in order.
    pub(super) async fn clear(self) {
        self.node.stop().await;
        self.router.close(None).await;
        self.control.shutdown().await;
        self.stop.cancel();
    }

    fn http(&self) -> SocketAddr {
        // The configuration of the demo has exactly one address.
        self.node.addresses().http.first().copied().unwrap_or(([127, 0, 0, 1], 80).into())
    }

    fn url(&self) -> String {
        format!("http://{}/{FILE}?cacheHostOrigin={HOST}", self.http())
    }
}

#[expect(clippy::disallowed_types, reason = "the demo's router is what this type is for")]
fn start_router() -> Result<(Router, SocketAddr)> {
    let endpoint = Endpoint::Listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let settings = RouterSettings::new(endpoint, ASN, Ipv4Addr::new(127, 0, 0, 2));
    let router = Router::start(settings, routes())?;
    let address = router.local_addr().context("the router does not listen")?;
    Ok((router, address))
}

/// 200 prefixes of subscribers, and three that the rules refuse.
fn routes() -> Vec<Route> {
    let next_hop = Ipv4Addr::LOCALHOST.into();
    let access = Arc::new(Attributes::new(next_hop, &[]));
    let downstream = Arc::new(Attributes::new(next_hop, &[65200, 65201]));
    let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    let subscribers = (0..PREFIXES).filter_map(|n| {
        let prefix = Ipv4Net::new(Ipv4Addr::from(base + (n << 8)), 24).ok()?;
        let attributes = if n % 4 == 3 { &downstream } else { &access };
        Some(Route::new(IpNet::V4(prefix), attributes))
    });
    let refused = [
        (Ipv4Addr::UNSPECIFIED, 0),
        (Ipv4Addr::new(198, 19, 0, 16), 28),
        (Ipv4Addr::new(6, 0, 0, 0), 7),
    ];
    let refused = refused.into_iter().filter_map(|(address, length)| {
        let prefix = Ipv4Net::new(address, length).ok()?.trunc();
        Some(Route::new(IpNet::V4(prefix), &access))
    });
    subscribers.chain(refused).collect()
}

fn control_config(root: &Path) -> Result<ControlConfig> {
    let data_dir = root.join("control");
    std::fs::create_dir(&data_dir)?;
    let text =
        format!("[control]\nlisten = [\"127.0.0.1:0\"]\ndata_dir = {}\n", toml_string(&data_dir));
    Ok(ControlConfig::parse(&text, "control.toml of the demo")?)
}

/// Creates the node, with the router as its neighbor, and turns an enrolment key into its token:
/// what an operator does by API and `mcc enrol`.
async fn enrol(url: &str, owner: Secret, router: SocketAddr, token_file: &Path) -> Result<()> {
    let operator = Client::new(url, None)?.with_token(owner);
    let settings: NodeSettings = serde_json::from_value(serde_json::json!({
        "name": NODE,
        "address": "127.0.0.1",
        "max_egress_mbps": 10_000,
        "neighbors": [{
            "address": router.ip(),
            "port": router.port(),
            "asn": ASN,
            "description": "the demo's router",
            "accept": { "allow_bogons": true },
        }],
    }))?;
    operator.create_node(&settings).await?;
    let enrolment = operator.create_enrolment(&settings.name).await?;
    let registered = Client::new(url, None)?.register(enrolment.key).await?;
    Replacement::prepare(token_file)?.commit(registered.token.expose().as_bytes())?;
    Ok(())
}

fn node_config(
    root: &Path,
    origin: &Origin,
    control_url: &str,
    token_file: &Path,
) -> Result<NodeConfig> {
    let (data_dir, drive) = (root.join("node"), root.join("drive"));
    std::fs::create_dir(&data_dir)?;
    std::fs::create_dir(&drive)?;
    let text = format!(
        r#"
[node]
name = "{NODE}"
address = "127.0.0.1"
data_dir = {data_dir}
[http]
listen = ["127.0.0.1:0"]
[https]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[[drive]]
path = {drive}
size = "256MiB"
[[origin]]
host = "{HOST}"
connect = "{origin}"
[bgp]
listen = []
[control]
url = "{control_url}"
token_file = {token_file}
"#,
        data_dir = toml_string(&data_dir),
        drive = toml_string(&drive),
        origin = origin.address,
        token_file = toml_string(token_file),
    );
    Ok(NodeConfig::parse(&text, "mcc.toml of the demo")?)
}

fn toml_string(path: &Path) -> String {
    // JSON's basic strings are TOML's, for all that a path can hold.
    serde_json::Value::String(path.display().to_string()).to_string()
}

/// The content of the demo's file: not a byte of it has to be kept to know what is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content;

impl Content {
    pub(super) fn chunks(self) -> Chunks {
        Chunks { state: 0x9e37_79b9_7f4a_7c15, word: [0; 8], taken: 8, left: FILE_SIZE }
    }
}

/// A pseudo-random sequence (xorshift64), byte by byte.
pub(super) struct Chunks {
    state: u64,
    word: [u8; 8],
    taken: usize,
    left: u64,
}

impl Chunks {
    /// Whether the sequence goes on with `bytes`; moves behind them.
    pub(super) fn matches(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.next() == Some(*byte))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0
    }
}

impl Iterator for Chunks {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        if self.taken == self.word.len() {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.word = self.state.to_le_bytes();
            self.taken = 0;
        }
        let byte = self.word.get(self.taken).copied();
        self.taken += 1;
        byte
    }
}

fn write_content(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut out = io::BufWriter::with_capacity(1 << 20, std::fs::File::create(file)?);
    let mut bytes = Content.chunks();
    let mut buffer = Vec::with_capacity(1 << 16);
    loop {
        buffer.clear();
        buffer.extend(bytes.by_ref().take(1 << 16));
        if buffer.is_empty() {
            return out.flush();
        }
        out.write_all(&buffer)?;
    }
}
