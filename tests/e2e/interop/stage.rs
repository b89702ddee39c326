//! A router, what feeds it, and a node: what every scenario plays on.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::Value;

use super::bird::feeder_file;
use super::plan::{Plan, Site};
use super::router::Make;
use crate::support::containers::{Container, Image, Network};
use crate::support::node::{Node, Setup};
use crate::support::wait::wait_for;

// In the order in which they are to go: the network last.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) router: Container,
    feeder: Option<Container>,
    pub(super) site: Site,
    pub(super) make: Make,
    _network: Network,
}

impl Stage {
    /// Starts everything.
    pub(super) fn set(make: Make, plan: Plan) -> Self {
        let network = if plan.ipv6 { Network::create_with_ipv6() } else { Network::create() };
        let network = network.expect("the matrix has asked whether containers run");
        let rest = plan.neighbor(network.address(2));
        let setup = Setup { ipv6: plan.ipv6, ..Setup::new("edge-1", network.host(), &rest) };
        let feeds = !make.dialect().can_originate(&plan);
        let site = Site {
            plan,
            router: network.address(2),
            node: setup.bgp,
            feeder: feeds.then(|| network.address(3)),
        };
        let feeder = site.feeder.map(|at| network.start(Image::Bird, 3, &feeder_file(at, &site)));
        let router = network.start(make.image(), 2, &make.dialect().config(&site));
        let stage = Self { node: setup.start(), router, feeder, site, make, _network: network };
        stage.originate();
        stage
    }

    /// The router announces what is not in its configuration.
    pub(super) fn originate(&self) {
        if self.feeder.is_none() {
            self.make.dialect().originate(&self.router, &self.site);
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

    /// The session is up, and the node has learned exactly what the router announces.
    #[track_caller]
    pub(super) fn wait_until_learned(&self) -> Value {
        let all: BTreeSet<IpNet> = self.site.plan.prefixes().into_iter().collect();
        let up = self.wait_for("session with all prefixes", |neighbor| {
            is_up(neighbor)
                && neighbor["stale"] == 0
                && neighbor["accepted"] == self.site.plan.routes.len()
        });
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
        up
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
        let Self { node, router, feeder, site, make, _network } = self;
        let (setup, stopped) = node.kill();
        let node = setup.start_in(stopped.folder);
        Self { node, router, feeder, site, make, _network }
    }
}
