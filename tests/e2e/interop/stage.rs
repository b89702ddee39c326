//! A router, what feeds it, and a node: what every scenario plays on.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde_json::Value;

use super::bird::feeder_file;
use super::plan::{Plan, Route, Site};
use super::router::Make;
use crate::support::containers::{Container, Image, Network};
use crate::support::node::{Node, Setup};
use crate::support::wait::wait_for;

// In the order in which they are to go: the network last.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) router: Container,
    feeder: Option<Container>,
    /// Another router of the same make: the node's second neighbor.
    _beside: Option<Container>,
    pub(super) site: Site,
    pub(super) make: Make,
    _network: Network,
}

impl Stage {
    /// Starts everything.
    pub(super) fn set(make: Make, plan: Plan) -> Self {
        Self::set_with(make, plan, None, |_| ())
    }

    /// Starts everything, with a second router that announces what `beside` says, and calls `ready`
    /// when all but the node runs.
    pub(super) fn set_with(
        make: Make,
        plan: Plan,
        beside: Option<Plan>,
        ready: impl FnOnce(&Container),
    ) -> Self {
        let network = if plan.ipv6 || plan.over_ipv6 {
            Network::create_with_ipv6()
        } else {
            Network::create()
        };
        let network = network.expect("the matrix has asked whether containers run");
        let second = beside.as_ref().map(|plan| plan.neighbor(plan.address(&network, 4)));
        let rest = plan.neighbor(plan.address(&network, 2)) + &second.unwrap_or_default();
        let ipv6 = plan.ipv6 || plan.over_ipv6;
        let mut setup = Setup { ipv6, ..Setup::new("edge-1", network.host(), &rest) };
        let node = SocketAddr::new(plan.address(&network, 1), setup.bgp.port());
        if plan.over_ipv6 {
            // The host's own address is there only once somebody else is on the network.
            setup.bgp.set_ip(Ipv6Addr::UNSPECIFIED.into());
        }
        let dialect = make.dialect();
        let beside = beside.map(|plan| {
            let (id, router) = (network.address(4), plan.address(&network, 4));
            let site = Site { plan, id, router, node, feeder: None };
            let router = network.start(make.image(), 4, &dialect.config(&site));
            dialect.originate(&router, &site);
            router
        });
        let feeds = !dialect.can_originate(&plan);
        let (id, router) = (network.address(2), plan.address(&network, 2));
        let site = Site { plan, id, router, node, feeder: feeds.then(|| network.address(3)) };
        let feeder = site.feeder.map(|at| network.start(Image::Bird, 3, &feeder_file(at, &site)));
        let router = network.start(make.image(), 2, &dialect.config(&site));
        if feeder.is_none() {
            dialect.originate(&router, &site);
        }
        ready(&router);
        let node = setup.start();
        Self { node, router, feeder, _beside: beside, site, make, _network: network }
    }

    /// The router was killed. It starts again, and announces other routes than before.
    pub(super) fn router_back_with(&mut self, routes: Vec<Route>) {
        self.site.plan.routes = routes;
        if let (Some(feeder), Some(at)) = (&self.feeder, self.site.feeder) {
            feeder.configure(&feeder_file(at, &self.site));
            feeder.ask("configure").unwrap();
        }
        let dialect = self.make.dialect();
        self.router.configure(&dialect.config(&self.site));
        self.router.start_again();
        if self.feeder.is_none() {
            dialect.originate(&self.router, &self.site);
        }
    }

    /// The router announces other routes from now on.
    pub(super) fn announce(&mut self, plan: Plan) {
        let after = Site { plan, ..self.site.clone() };
        match (&self.feeder, after.feeder) {
            (Some(feeder), Some(at)) => {
                feeder.configure(&feeder_file(at, &after));
                feeder.ask("configure").unwrap();
            }
            _ => self.make.dialect().change(&self.router, &self.site, &after),
        }
        self.site = after;
    }

    /// `mcc bgp status` of the neighbor, once it is what is wanted.
    #[track_caller]
    pub(super) fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.node.wait_for(what, "bgp status", |status| {
            let neighbor = &status["neighbors"][0];
            wanted(neighbor).then(|| neighbor.clone())
        })
    }

    /// The router tells its operator this.
    #[track_caller]
    pub(super) fn wait_for_word(&self, word: &str) {
        wait_for(&format!("`{word}` at the router"), || {
            let said = self.make.dialect().said(&self.router, &self.site)?;
            said.contains(word).then_some(()).ok_or(said)
        });
    }

    /// How many TCP connections the router has with the node.
    pub(super) fn connections(&self) -> usize {
        self.sockets_towards_node("01")
    }

    /// Whether the router dials the node and has got no answer to its SYN.
    pub(super) fn router_dials_in_vain(&self) -> bool {
        self.sockets_towards_node("02") > 0
    }

    /// Those of the router, in a state of /proc/net/tcp: 01 is ESTABLISHED, 02 is `SYN_SENT`.
    fn sockets_towards_node(&self, state: &str) -> usize {
        let node = match self.site.node.ip() {
            IpAddr::V4(address) => u32::from_le_bytes(address.octets()),
            IpAddr::V6(address) => panic!("no IPv4 address: {address}"),
        };
        let is_with_node = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // Number, local and remote address, state.
            matches!(words[..], [_, _, remote, its_state, ..]
                if its_state == state && remote.starts_with(&format!("{node:08X}:")))
        };
        self.router.exec(&["cat", "/proc/net/tcp"]).unwrap().lines().filter(is_with_node).count()
    }

    /// The session is up, and the node has learned exactly what the router announces.
    #[track_caller]
    pub(super) fn wait_until_learned(&self) -> Value {
        let up = self.wait_for("session with all prefixes", |neighbor| {
            is_up(neighbor)
                && neighbor["stale"] == 0
                && neighbor["accepted"] == self.site.plan.routes.len()
        });
        self.wait_for_footprint();
        up
    }

    /// The footprint is exactly what the router announces by the plan.
    #[track_caller]
    pub(super) fn wait_for_footprint(&self) {
        let all: BTreeSet<IpNet> = self.site.plan.prefixes().into_iter().collect();
        wait_for("the same set", || {
            let csv = self.node.ask("footprint --csv").good().stdout;
            let learned: BTreeSet<IpNet> = csv
                .lines()
                .skip(1)
                .map(|line| line.split(',').next().unwrap().parse().unwrap())
                .collect();
            let differ = learned.symmetric_difference(&all).count();
            if differ == 0 { Ok(()) } else { Err(format!("{differ} prefixes differ")) }
        });
    }
}

pub(super) fn is_up(neighbor: &Value) -> bool {
    neighbor["state"] == "Established"
}

/// The last error, as text.
pub(super) fn last_error(neighbor: &Value) -> String {
    neighbor["last_error"]["text"].as_str().unwrap_or_default().to_owned()
}

impl Stage {
    /// The node dies without a word and is started again where it was.
    pub(super) fn with_node_killed_and_back(self) -> Self {
        let (setup, stopped) = self.node.kill();
        Self { node: setup.start_in(stopped.folder), ..self }
    }
}
