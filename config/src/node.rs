//! The node's file, section by section.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    BmpStation, ByteSize, CacheLimits, DynamicNeighbors, HostName, Mrt, Neighbor, NodeName,
};

/// Everything that `mcc run` needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Who the node is.
    pub node: Node,
    /// Where clients come in without TLS.
    #[serde(default)]
    pub http: Http,
    /// Where clients come in with TLS.
    #[serde(default)]
    pub https: Https,
    /// Where the CLI and monitoring ask.
    #[serde(default)]
    pub admin: Admin,
    /// The drives of the cache, at least one.
    #[serde(default, rename = "drive")]
    pub drives: Vec<Drive>,
    /// How the drives are kept, and the limits of the cache.
    #[serde(default)]
    pub cache: CacheKeeping,
    /// Origins beside the built-in allow-list.
    #[serde(default, rename = "origin")]
    pub origins: Vec<Origin>,
    /// The BGP speaker; without it only `footprint.cidrs` are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp: Option<Bgp>,
    /// Prefixes entered by hand.
    #[serde(default)]
    pub footprint: FootprintSettings,
    /// The control plane that the node advertises to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlLink>,
}

impl NodeConfig {
    /// The BGP identifier: `bgp.router_id`, else the node's address, if that is IPv4.
    #[must_use]
    pub fn router_id(&self) -> Option<Ipv4Addr> {
        self.bgp.as_ref().and_then(|bgp| bgp.router_id).or(match self.node.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Whether `address` is the node's own as far as the file tells.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        let bgp = self.bgp.iter().flat_map(|bgp| &bgp.listen);
        let mut listen = self.http.listen.iter().chain(&self.https.listen).chain(bgp);
        address.is_loopback()
            || address == self.node.address
            || address == self.admin.listen.ip()
            || listen.any(|socket| socket.ip() == address)
    }
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique in the control plane.
    pub name: NodeName,
    /// The address that clients are sent to.
    pub address: IpAddr,
    /// State that outlives a restart, beside the drives.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Upper bound of what is sent to clients, in megabits (10^6 bits) per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_egress_mbps: Option<u32>,
    /// Switches IPv6 on everywhere: addresses, prefixes, MP-BGP, steering.
    #[serde(default)]
    pub ipv6: bool,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: vec![any(80)] }
    }
}

/// `[https]`: always on; without a certificate the node signs its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Https {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// PEM file with the certificate chain, leaf first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Default for Https {
    fn default() -> Self {
        Self { listen: vec![any(443)], certificate: None, key: None }
    }
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of the status API, `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)) }
    }
}

/// `[[drive]]`: a folder on its own file system, given to the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drive {
    /// The folder. It must exist: a missing mount must not fill the root file system.
    pub path: PathBuf,
    /// How much of it the cache takes, at least 64 MiB; taken at once, not as it fills.
    pub size: ByteSize,
    /// Takes the folder even when the mount that should be there is missing.
    #[serde(default)]
    pub allow_root: bool,
}

/// `[cache]`: how the drives are kept, and what clients and origins may take of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheKeeping {
    /// Days after which content that nobody has asked for goes first; none: it has no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
    /// Megabytes (10^6 bytes) per second that are read on each drive to look for damage; 0: none.
    pub scrub_rate: u32,
    /// What the cache bears.
    pub limits: CacheLimits,
}

impl Default for CacheKeeping {
    fn default() -> Self {
        Self { max_age: None, scrub_rate: 10, limits: CacheLimits::default() }
    }
}

/// `[[origin]]`: a host that content may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its name, as clients ask for it.
    pub host: HostName,
    /// Other names that hold the same content under the same paths.
    #[serde(default)]
    pub aliases: Vec<HostName>,
    /// Where to connect instead of asking DNS. Private addresses are allowed here, and only here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<SocketAddr>,
    /// Query parameters that belong to the cache key; all others only travel to the origin.
    #[serde(default)]
    pub query_key: BTreeSet<String>,
}

/// `[bgp]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bgp {
    /// Addresses to accept sessions on; empty: only outgoing sessions.
    pub listen: Vec<SocketAddr>,
    /// BGP identifier (RFC 6286: any but 0.0.0.0); without it `node.address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_id: Option<Ipv4Addr>,
    /// Tables and messages, written to files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mrt: Option<Mrt>,
    /// Monitoring stations that are told everything.
    #[serde(rename = "bmp")]
    pub stations: Vec<BmpStation>,
    /// Accepts nothing from an external neighbor whose accept rules are the defaults (RFC 8212).
    pub ebgp_requires_rules: bool,
    /// How long the footprint of the last run stays at most after a start, for a router that does not
    /// come back, in seconds; 0: it is not used.
    pub last_good_time: u32,
    /// The routers.
    #[serde(rename = "neighbor")]
    pub neighbors: Vec<Neighbor>,
    /// Prefixes whose routers may all connect.
    pub dynamic: Vec<DynamicNeighbors>,
}

impl Bgp {
    /// Where this node itself would take the connection when it dials `neighbor`, an address `is_own` says
    /// is the node's: a mistake in the address, and not a router.
    #[must_use]
    pub fn reached_by_dialling(
        &self,
        neighbor: &Neighbor,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Option<SocketAddr> {
        let address = neighbor.address.to_canonical();
        let takes = |listen: &&SocketAddr| {
            let all = listen.ip().is_unspecified() && listen.is_ipv4() == address.is_ipv4();
            listen.port() == neighbor.port && (all || listen.ip() == address)
        };
        let dials_itself = !neighbor.passive && !address.is_unspecified() && is_own(address);
        self.listen.iter().find(takes).filter(|_| dials_itself).copied()
    }

    /// The `[[bgp.dynamic]]` whose password every connection from `prefix` is checked for, by its place
    /// in the list: one that holds `prefix` and has a password. The system looks for the key with the
    /// longest prefix, and knows nothing of neighbors without one.
    #[must_use]
    pub fn signed_range_around(&self, prefix: IpNet) -> Option<usize> {
        let holds = |range: &DynamicNeighbors| {
            range.password.is_some() && range.prefix != prefix && range.prefix.contains(&prefix)
        };
        self.dynamic.iter().position(holds)
    }
}

impl Default for Bgp {
    fn default() -> Self {
        Self {
            listen: vec![any(179)],
            router_id: None,
            mrt: None,
            stations: Vec::new(),
            neighbors: Vec::new(),
            dynamic: Vec::new(),
            ebgp_requires_rules: false,
            last_good_time: 86_400,
        }
    }
}

/// `[footprint]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FootprintSettings {
    /// Prefixes entered by hand; they count whatever BGP says.
    pub cidrs: Vec<IpNet>,
    /// By how many percent, 0 to 100, the IPv4 or the IPv6 of the footprint may grow or shrink within
    /// five minutes before the control plane is told; more waits for `mcc footprint approve`. 0: by
    /// any.
    pub max_change: u8,
    /// Whether a prefix that comes and goes again and again is left as it was told last.
    pub damping: bool,
}

impl Default for FootprintSettings {
    fn default() -> Self {
        Self { cidrs: Vec::new(), max_change: 50, damping: true }
    }
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlLink {
    /// `https://host:port`, or `http://` to a loopback address.
    pub url: String,
    /// File with the node's token, written by `mcc enrol`.
    pub token_file: PathBuf,
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/mcc")
}
