//! BIRD 2, as the router and as what feeds other routers.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::plan::{Dials, FEEDER_AS, Plan, Route, Site};
use super::router::{Dialect, Words};
use crate::support::containers::Container;

pub(super) struct Bird;

impl Dialect for Bird {
    fn config(&self, site: &Site) -> String {
        let Site { plan, id, router, node, .. } = site;
        let options = [
            (plan.dials == Dials::Node, "passive;".to_owned()),
            (plan.password.is_some(), format!("password \"{}\";", plan.password.unwrap_or(""))),
            (plan.graceful_restart, "graceful restart on;".to_owned()),
            (!plan.four_octet_as, "enable as4 off;".to_owned()),
            (plan.ttl_security, "ttl security on;".to_owned()),
        ];
        let options: String = options.iter().filter(|(on, _)| *on).map(|(_, o)| &**o).collect();
        let paths = if plan.several_paths { "add paths tx;" } else { "" };
        let ipv6 = if plan.ipv6 {
            "ipv6 { import none; export all; next hop address 2a00:ffff::1; };".to_owned()
        } else if plan.over_ipv6 {
            "ipv6 { import none; export filter announced; };".to_owned()
        } else {
            String::new()
        };
        let ipv4 = if plan.over_ipv6 {
            String::new()
        } else {
            format!("ipv4 {{ import none; export filter announced; {paths} }};")
        };
        format!(
            "{}
             protocol bgp node {{
                 local {router} as {};
                 neighbor {} port {} as {};
                 hold time {};
                 connect delay time 1; connect retry time 1; error wait time 1,2;
                 debug {{ packets }};
                 {options}
                 {ipv4}
                 {ipv6}
             }}",
            table(*id, &plan.routes),
            plan.asn,
            node.ip(),
            node.port(),
            plan.node_asn,
            plan.hold_time,
        )
    }

    fn can_originate(&self, _: &Plan) -> bool {
        true
    }

    fn reload(&self, router: &Container, _: &Site) {
        router.ask("configure").unwrap();
    }

    fn refreshes(&self, router: &Container, _: &Site) -> Result<usize, String> {
        Ok(router.log().matches("Got ROUTE-REFRESH").count())
    }

    fn shut_down(&self, router: &Container, _: &Site, text: &str) {
        router
            .exec(&["birdc", "-s", "/run/bird.ctl", &format!("disable node \"{text}\"")])
            .unwrap();
    }

    fn said(&self, router: &Container, _: &Site) -> Result<String, String> {
        // What ended the session is shown until the next attempt only, but logged too.
        Ok(router.log() + &router.ask("show protocols all node")?)
    }

    fn words(&self) -> Words {
        Words {
            version: &["bird", "--version"],
            prefix_limit: "Received: Maximum number of prefixes reached",
            restarted: Some("Restart recovery"),
            two_octets: None,
            refresh: None,
            shutdown_text: None,
        }
    }
}

/// The file of a BIRD that announces `routes` to `router` as the AS behind it.
pub(super) fn feeder_file(feeder: Ipv4Addr, site: &Site) -> String {
    let Site { plan, router, .. } = site;
    // What BIRD prepends by itself.
    let behind: Vec<Route> = plan.routes.iter().cloned().map(Route::behind_feeder).collect();
    let paths = if plan.several_paths { "add paths tx;" } else { "" };
    format!(
        "{}
         protocol bgp fed {{
             local {feeder} as {FEEDER_AS};
             neighbor {router} as {};
             connect delay time 1; connect retry time 1; error wait time 1,2;
             ipv4 {{ import none; export filter announced; {paths} }};
         }}",
        table(feeder, &behind),
        plan.asn
    )
}

/// What stands before the session: the routes, each AS path in a protocol of its own, and the filter
/// that gives the routes of each its path.
fn table(id: Ipv4Addr, routes: &[Route]) -> String {
    let mut text = format!("log stderr all;\nrouter id {id};\nprotocol device {{}}\n");
    let mut paths: Vec<&[u32]> = routes.iter().map(|route| &*route.as_path).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut filter = String::new();
    for (number, path) in paths.into_iter().enumerate() {
        let mine = routes.iter().filter(|route| route.as_path == path);
        let (ipv4, ipv6): (Vec<_>, Vec<_>) = mine.partition(|r| r.prefix.addr().is_ipv4());
        for (family, routes) in [("ipv4", ipv4), ("ipv6", ipv6)] {
            if routes.is_empty() {
                continue;
            }
            writeln!(text, "protocol static {family}_{number} {{ {family};").unwrap();
            for Route { prefix, .. } in routes {
                writeln!(text, "route {prefix} blackhole;").unwrap();
            }
            writeln!(text, "}}").unwrap();
            for asn in path.iter().rev() {
                writeln!(filter, "if proto = \"{family}_{number}\" then bgp_path.prepend({asn});")
                    .unwrap();
            }
        }
    }
    writeln!(text, "filter announced {{ {filter} accept; }}").unwrap();
    text
}
