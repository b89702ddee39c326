//! What a scenario asks of a router, in no make's words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use crate::support::containers::Network;

/// The router's AS in most scenarios.
pub(super) const ROUTER_AS: u32 = 65100;
/// The node's AS where it is not the router's.
pub(super) const NODE_AS: u32 = 65200;
/// The AS behind the router.
pub(super) const FEEDER_AS: u32 = 4_200_000_001;

/// Who dials whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dials {
    Router,
    Node,
    Both,
}

/// One router and the node's session with it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) asn: u32,
    pub(super) node_asn: u32,
    pub(super) dials: Dials,
    /// TCP MD5, on the router.
    pub(super) password: Option<&'static str>,
    /// TCP MD5, on the node.
    pub(super) node_password: Option<&'static str>,
    /// Seconds, on both.
    pub(super) hold_time: u16,
    /// Whether the router is to come back by graceful restart.
    pub(super) graceful_restart: bool,
    /// Whether the router says that it knows AS numbers of four octets.
    pub(super) four_octet_as: bool,
    /// Whether the router is to send all paths that it has (ADD-PATH).
    pub(super) several_paths: bool,
    pub(super) ipv6: bool,
    /// Whether router and node know each other by their IPv6 addresses, and speak of IPv6 only.
    pub(super) over_ipv6: bool,
    /// TTL security (RFC 5082) for one hop, on the router.
    pub(super) ttl_security: bool,
    /// TTL security for one hop, on the node.
    pub(super) node_ttl_security: bool,
    /// Whether the node knows the router only by the prefix that it is in.
    pub(super) dynamic: bool,
    /// On the node.
    pub(super) max_prefixes: u32,
    /// On the node: what to do beyond, and for how many seconds a session rests then.
    pub(super) max_prefixes_action: &'static str,
    pub(super) max_prefixes_rest: u32,
    /// What the router announces.
    pub(super) routes: Vec<Route>,
}

/// A route of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) prefix: IpNet,
    /// The AS path as the router has it: empty for a route of its own, else it begins with
    /// [`FEEDER_AS`].
    pub(super) as_path: Vec<u32>,
}

/// Where everyone is.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) plan: Plan,
    /// What the router calls itself.
    pub(super) id: Ipv4Addr,
    /// Its address towards the node.
    pub(super) router: IpAddr,
    /// Where the node listens.
    pub(super) node: SocketAddr,
    /// Who announces the routes to the router; none if they are its own.
    pub(super) feeder: Option<Ipv4Addr>,
}

impl Plan {
    /// A session between two ASes in which both dial, with ten routes.
    pub(super) fn new() -> Self {
        Self {
            asn: ROUTER_AS,
            node_asn: NODE_AS,
            dials: Dials::Both,
            password: None,
            node_password: None,
            hold_time: 90,
            graceful_restart: false,
            four_octet_as: true,
            several_paths: false,
            ipv6: false,
            over_ipv6: false,
            ttl_security: false,
            node_ttl_security: false,
            dynamic: false,
            max_prefixes: 200_000,
            max_prefixes_action: "restart",
            max_prefixes_rest: 1800,
            routes: own(0..10),
        }
    }

    /// The section of the node's file.
    pub(super) fn neighbor(&self, router: IpAddr) -> String {
        let Self { asn, node_asn, hold_time, max_prefixes, .. } = self;
        let passive = self.dials == Dials::Router;
        let who = if self.dynamic {
            format!("[[bgp.dynamic]]\nprefix = \"{router}/32\"\nasns = [{asn}]\n")
        } else {
            format!("[[bgp.neighbor]]\naddress = \"{router}\"\nasn = {asn}\npassive = {passive}\n")
        };
        let password =
            self.node_password.map_or_else(String::new, |key| format!("password = \"{key}\"\n"));
        let hops = if self.node_ttl_security { "ttl_security = 1\n" } else { "" };
        let (action, rest) = (self.max_prefixes_action, self.max_prefixes_rest);
        format!(
            "{who}local_asn = {node_asn}\nhold_time = {hold_time}\nmax_prefixes = {max_prefixes}\n\
             max_prefixes_action = \"{action}\"\nmax_prefixes_rest = {rest}\n{hops}{password}"
        )
    }

    /// The address that ends in `last`, in the family that router and node know each other by.
    pub(super) fn address(&self, network: &Network, last: u8) -> IpAddr {
        if self.over_ipv6 { network.address6(last).into() } else { network.address(last).into() }
    }

    /// The prefixes of its routes.
    pub(super) fn prefixes(&self) -> Vec<IpNet> {
        self.routes.iter().map(|route| route.prefix).collect()
    }
}

/// The `i`th of 2^18 prefixes that the default rules accept.
pub(super) fn prefix(i: u32) -> IpNet {
    let [_, a, b, c] = i.to_be_bytes();
    format!("{}.{b}.{c}.0/24", 20 + a).parse().unwrap()
}

/// Routes of the router's own.
pub(super) fn own(numbers: impl IntoIterator<Item = u32>) -> Vec<Route> {
    numbers.into_iter().map(|i| Route { prefix: prefix(i), as_path: Vec::new() }).collect()
}

/// Routes that come to the router from the AS behind it.
pub(super) fn fed(numbers: impl IntoIterator<Item = u32>) -> Vec<Route> {
    numbers.into_iter().map(|i| Route { prefix: prefix(i), as_path: vec![FEEDER_AS] }).collect()
}

impl Route {
    /// The route as the AS behind the router has it, which adds its number by itself.
    pub(super) fn behind_feeder(self) -> Self {
        let as_path = self.as_path.into_iter().skip(1).collect();
        Self { as_path, ..self }
    }
}
