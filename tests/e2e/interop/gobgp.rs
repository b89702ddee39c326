//! GoBGP. It takes its own routes on the command line, so after a restart it has none until it is
//! told again; those of a restart come from a feeder.

use super::plan::{Dials, FEEDER_AS, Plan, Site};
use super::router::{Dialect, Words};
use crate::support::containers::Container;

pub(super) struct GoBgp;

impl Dialect for GoBgp {
    fn config(&self, site: &Site) -> String {
        let Site { plan, id, node, feeder, .. } = site;
        let transport = match plan.dials {
            Dials::Node => "passive-mode = true".to_owned(),
            Dials::Router | Dials::Both => format!("remote-port = {}", node.port()),
        };
        let password = plan.password.unwrap_or("");
        let mut text = format!(
            "[global.config]
             as = {}
             router-id = \"{id}\"
             [[neighbors]]
             [neighbors.config]
             neighbor-address = \"{}\"
             peer-as = {}
             auth-password = \"{password}\"
             [neighbors.transport.config]
             {transport}
             [neighbors.timers.config]
             hold-time = {}
             keepalive-interval = {}
             connect-retry = 1
             idle-hold-time-after-reset = 1
             [neighbors.graceful-restart.config]
             enabled = {}
             restart-time = 120
             ",
            plan.asn,
            node.ip(),
            plan.node_asn,
            plan.hold_time,
            plan.hold_time / 3,
            plan.graceful_restart
        );
        if plan.ttl_security {
            text += "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n";
        }
        text += &families(plan, "send-max = 8");
        if let Some(feeder) = feeder {
            text += &format!(
                "[[neighbors]]
                 [neighbors.config]
                 neighbor-address = \"{feeder}\"
                 peer-as = {FEEDER_AS}
                 [neighbors.transport.config]
                 passive-mode = true
                 [neighbors.timers.config]
                 idle-hold-time-after-reset = 1
                 [neighbors.graceful-restart.config]
                 enabled = {}
                 restart-time = 120
                 ",
                plan.graceful_restart
            );
            text += &families(plan, "receive = true");
        }
        text
    }

    fn can_originate(&self, plan: &Plan) -> bool {
        plan.routes.iter().all(|route| route.as_path.is_empty()) && !plan.graceful_restart
    }

    fn originate(&self, router: &Container, site: &Site) {
        router.wait_for("answer of GoBGP", "neighbor", |answer| {
            answer.contains(&site.node.ip().to_string()).then_some(())
        });
        for route in &site.plan.routes {
            let (prefix, next_hop) = (route.prefix, "2a00:ffff::1");
            let add = if prefix.addr().is_ipv4() {
                format!("global rib add {prefix}")
            } else {
                format!("global rib add -a ipv6 {prefix} nexthop {next_hop}")
            };
            router.ask(&add).unwrap();
        }
    }

    fn refreshes(&self, router: &Container, site: &Site) -> Result<usize, String> {
        let neighbor = router.ask(&format!("-j neighbor {}", site.node.ip()))?;
        let json: serde_json::Value =
            serde_json::from_str(&neighbor).map_err(|_| neighbor.clone())?;
        let count = json["state"]["messages"]["received"]["refresh"].as_u64().unwrap_or(0);
        Ok(usize::try_from(count).unwrap())
    }

    fn shut_down(&self, router: &Container, site: &Site, text: &str) {
        let node = site.node.ip().to_string();
        router.exec(&["gobgp", "neighbor", &node, "shutdown", "--reason", text]).unwrap();
    }

    fn said(&self, router: &Container, _: &Site) -> Result<String, String> {
        Ok(router.log())
    }

    fn words(&self) -> Words {
        Words {
            version: &["gobgpd", "--version"],
            prefix_limit: "code 6(cease) subcode 1(maximum number of prefixes reached)",
            restarted: None,
            two_octets: Some("GoBGP has no setting that keeps it from four-octet AS numbers"),
            refresh: None,
            shutdown_text: None,
        }
    }
}

fn families(plan: &Plan, paths: &str) -> String {
    let names: &[&str] = match (plan.over_ipv6, plan.ipv6) {
        (true, _) => &["ipv6-unicast"],
        (false, true) => &["ipv4-unicast", "ipv6-unicast"],
        (false, false) => &["ipv4-unicast"],
    };
    let family = |name: &&str| {
        let add_path = if plan.several_paths {
            format!("[neighbors.afi-safis.add-paths.config]\n{paths}\n")
        } else {
            String::new()
        };
        format!(
            "[[neighbors.afi-safis]]
             [neighbors.afi-safis.config]
             afi-safi-name = \"{name}\"
             [neighbors.afi-safis.mp-graceful-restart.config]
             enabled = {}
             {add_path}",
            plan.graceful_restart
        )
    };
    names.iter().map(family).collect()
}
