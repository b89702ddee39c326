//! FRR.

use std::fmt::Write as _;

use super::plan::{Dials, FEEDER_AS, Plan, Site};
use super::router::{Dialect, Words};
use crate::support::containers::Container;

pub(super) struct Frr;

impl Dialect for Frr {
    fn config(&self, site: &Site) -> String {
        let Site { plan, id, node, feeder, .. } = site;
        let (at, keepalive) = (node.ip(), plan.hold_time / 3);
        let mut session = vec![
            format!("remote-as {}", plan.node_asn),
            format!("port {}", node.port()),
            format!("timers {keepalive} {}", plan.hold_time),
            "timers connect 1".to_owned(),
        ];
        if plan.dials == Dials::Node {
            session.push("passive".to_owned());
        }
        if plan.ttl_security {
            session.push("ttl-security hops 1".to_owned());
        }
        if let Some(password) = plan.password {
            session.push(format!("password {password}"));
        }
        if !plan.four_octet_as {
            session.push("dont-capability-negotiate".to_owned());
        }
        let mut text = format!(
            "router bgp {}
 bgp router-id {id}
 bgp log-neighbor-changes
 no bgp ebgp-requires-policy
 no bgp network import-check
",
            plan.asn
        );
        if plan.graceful_restart {
            text += " bgp graceful-restart\n";
        }
        for line in session {
            writeln!(text, " neighbor {at} {line}").unwrap();
        }
        if let Some(feeder) = feeder {
            writeln!(text, " neighbor {feeder} remote-as {FEEDER_AS}").unwrap();
            writeln!(text, " neighbor {feeder} passive").unwrap();
        }
        let (ipv4, ipv6): (Vec<_>, Vec<_>) =
            plan.routes.iter().map(|r| r.prefix).partition(|prefix| prefix.addr().is_ipv4());
        let families =
            [("ipv4", ipv4, !plan.over_ipv6), ("ipv6", ipv6, plan.ipv6 || plan.over_ipv6)];
        for (family, prefixes, on) in families {
            writeln!(text, " address-family {family} unicast").unwrap();
            if on {
                writeln!(text, "  neighbor {at} activate").unwrap();
                if plan.several_paths {
                    writeln!(text, "  neighbor {at} addpath-tx-all-paths").unwrap();
                }
                writeln!(text, "  neighbor {at} route-map {family} out").unwrap();
            } else {
                writeln!(text, "  no neighbor {at} activate").unwrap();
            }
            if feeder.is_none() {
                for prefix in prefixes {
                    writeln!(text, "  network {prefix}").unwrap();
                }
            }
            writeln!(text, " exit-address-family").unwrap();
        }
        text += "route-map ipv4 permit 10\nroute-map ipv6 permit 10\n set ipv6 next-hop global 2a00:ffff::1\n";
        text
    }

    fn can_originate(&self, plan: &Plan) -> bool {
        plan.routes.iter().all(|route| route.as_path.is_empty())
    }

    fn refreshes(&self, router: &Container, site: &Site) -> Result<usize, String> {
        let neighbor = router.ask(&format!("show bgp neighbors {}", site.node.ip()))?;
        let line = neighbor.lines().find(|line| line.trim().starts_with("Route Refresh:"));
        let received = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
        received.ok_or(neighbor)
    }

    fn shut_down(&self, router: &Container, site: &Site, text: &str) {
        let lines = [
            "configure terminal".to_owned(),
            format!("router bgp {}", site.plan.asn),
            format!("neighbor {} shutdown message {text}", site.node.ip()),
        ];
        let mut command = vec!["vtysh", "--vty_socket", "/run/frr", "-d", "bgpd"];
        command.extend(lines.iter().flat_map(|line| ["-c", line]));
        router.exec(&command).unwrap();
    }

    fn said(&self, router: &Container, site: &Site) -> Result<String, String> {
        // The text of a shutdown is in the log only.
        Ok(router.ask(&format!("show bgp neighbors {}", site.node.ip()))? + &router.log())
    }

    fn words(&self) -> Words {
        Words {
            version: &["/usr/lib/frr/bgpd", "--version"],
            prefix_limit: "Cease/Maximum Number of Prefixes Reached",
            restarted: Some("R bit: True"),
            two_octets: None,
            refresh: None,
            shutdown_text: None,
        }
    }
}
