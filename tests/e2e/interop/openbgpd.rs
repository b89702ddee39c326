//! OpenBGPD.

use std::fmt::Write as _;

use super::plan::{Dials, FEEDER_AS, Plan, Site};
use super::router::{Dialect, Fault, Words};
use crate::support::containers::Container;

pub(super) struct OpenBgpd;

impl Dialect for OpenBgpd {
    fn config(&self, site: &Site) -> String {
        let Site { plan, id, router, node, feeder } = site;
        let mut text = format!(
            "AS {}\nrouter-id {id}\nfib-update no\nconnect-retry 1\nlisten on {router}\n\
             holdtime {}\nallow from any\nallow to any\n",
            plan.asn, plan.hold_time
        );
        if feeder.is_none() {
            for prefix in plan.prefixes() {
                writeln!(text, "network {prefix}").unwrap();
            }
        }
        let options = [
            (plan.dials == Dials::Node, "passive".to_owned()),
            (
                plan.password.is_some(),
                format!("tcp md5sig password {}", plan.password.unwrap_or("")),
            ),
            (!plan.four_octet_as, "announce as-4byte no".to_owned()),
            (!plan.graceful_restart, "announce restart no".to_owned()),
            (plan.several_paths, "announce add-path send all".to_owned()),
            (plan.ipv6 || plan.over_ipv6, "announce IPv6 unicast".to_owned()),
            (plan.ttl_security, "ttl-security yes".to_owned()),
        ];
        let (at, port) = (node.ip(), node.port());
        writeln!(text, "neighbor {at} {{\nremote-as {}\nlocal-address {router}", plan.node_asn)
            .unwrap();
        let ipv4 = if plan.over_ipv6 { "none" } else { "unicast" };
        writeln!(text, "port {port}\nannounce IPv4 {ipv4}").unwrap();
        for (_, option) in options.iter().filter(|(on, _)| *on) {
            writeln!(text, "{option}").unwrap();
        }
        writeln!(text, "}}").unwrap();
        if let Some(feeder) = feeder {
            let paths = if plan.several_paths { "announce add-path recv yes\n" } else { "" };
            writeln!(text, "neighbor {feeder} {{\nremote-as {FEEDER_AS}\npassive\n{paths}}}")
                .unwrap();
        }
        text
    }

    fn can_originate(&self, plan: &Plan) -> bool {
        plan.routes.iter().all(|route| route.as_path.is_empty())
    }

    fn refreshes(&self, router: &Container, site: &Site) -> Result<usize, String> {
        let neighbor = router.ask(&format!("show neighbor {}", site.node.ip()))?;
        let count = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["Route", "Refresh", _sent, received] = words[..] else { return None };
            received.parse().ok()
        };
        neighbor.lines().find_map(count).ok_or(neighbor)
    }

    fn shut_down(&self, router: &Container, site: &Site, text: &str) {
        let node = site.node.ip().to_string();
        router.exec(&["bgpctl", "neighbor", &node, "down", text]).unwrap();
    }

    fn said(&self, router: &Container, _: &Site) -> Result<String, String> {
        Ok(router.log())
    }

    fn words(&self) -> Words {
        Words {
            version: &["bgpd", "-V"],
            prefix_limit: "max-prefix exceeded",
            restarted: None,
            two_octets: None,
            refresh: Some(Fault {
                sign: "route refresh: AID IPv4 unicast not negotiated",
                words: "OpenBGPD 7.7 counts each request and answers none, whoever asks (`AID IPv4 unicast not \
                        negotiated` in its log)",
            }),
            shutdown_text: None,
        }
    }
}
