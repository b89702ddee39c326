//! ExaBGP: it announces what it is told, and relays nothing.

use std::fmt::Write as _;

use super::plan::{Dials, Plan, Route, Site};
use super::router::{Dialect, Fault, Words};
use crate::support::containers::Container;

pub(super) struct ExaBgp;

impl Dialect for ExaBgp {
    fn config(&self, site: &Site) -> String {
        let Site { plan, id, router, node, .. } = site;
        let (at, port) = (node.ip(), node.port());
        let passive = plan.dials == Dials::Node;
        let password =
            plan.password.map_or_else(String::new, |key| format!("md5-password '{key}';"));
        let switch = |on: bool| if on { "enable" } else { "disable" };
        let restart = if plan.graceful_restart { "graceful-restart 120;" } else { "" };
        let paths = if plan.several_paths { "add-path send;" } else { "" };
        let hops = if plan.ttl_security { "incoming-ttl 255; outgoing-ttl 255;" } else { "" };
        let families = match (plan.over_ipv6, plan.ipv6) {
            (true, _) => "ipv6 unicast;",
            (false, true) => "ipv4 unicast; ipv6 unicast;",
            (false, false) => "ipv4 unicast;",
        };
        let mut text = format!(
            "process commands {{
                 run /usr/bin/tail -n +1 -F /config/commands;
                 encoder text;
             }}
             neighbor {at} {{
                 router-id {id};
                 local-address {router};
                 local-as {};
                 peer-as {};
                 hold-time {};
                 passive {passive};
                 connect {port};
                 {password} {hops}
                 capability {{ asn4 {}; route-refresh enable; {restart} {paths} }}
                 family {{ {families} }}
                 api {{ processes [ commands ]; }}
                 static {{\n",
            plan.asn,
            plan.node_asn,
            plan.hold_time,
            switch(plan.four_octet_as),
        );
        if !is_large(plan) {
            for (number, route) in plan.routes.iter().enumerate() {
                let Some(route) = in_file(plan, number, route) else { continue };
                writeln!(text, "{route};").unwrap();
            }
        }
        text += "}\n}\n";
        text
    }

    fn can_originate(&self, _: &Plan) -> bool {
        true
    }

    fn originate(&self, router: &Container, site: &Site) {
        let plan = &site.plan;
        // A static IPv6 route makes 4.2.21 refuse the neighbor's IPv4 address.
        let ipv6 = plan.routes.iter().filter(|route| route.prefix.addr().is_ipv6());
        for Route { prefix, .. } in ipv6 {
            router.append("commands", &format!("announce route {prefix} next-hop 2a00:ffff::1\n"));
        }
        if is_large(plan) {
            self.tell(router, "announce", plan, &plan.routes);
        }
    }

    fn change(&self, router: &Container, before: &Site, after: &Site) {
        let (old, new) = (&before.plan.routes, &after.plan.routes);
        let gone: Vec<Route> = old.iter().filter(|route| !new.contains(route)).cloned().collect();
        let come: Vec<Route> = new.iter().filter(|route| !old.contains(route)).cloned().collect();
        self.tell(router, "withdraw", &after.plan, &gone);
        self.tell(router, "announce", &after.plan, &come);
    }

    fn refreshes(&self, router: &Container, _: &Site) -> Result<usize, String> {
        Ok(router.log().matches("<< message of type ROUTE_REFRESH").count())
    }

    fn shut_down(&self, router: &Container, site: &Site, _: &str) {
        router.append("commands", &format!("neighbor {} teardown 2\n", site.node.ip()));
    }

    fn said(&self, router: &Container, _: &Site) -> Result<String, String> {
        Ok(router.log())
    }

    fn words(&self) -> Words {
        Words {
            version: &["exabgp", "--version"],
            prefix_limit: "Cease / Maximum Number of Prefixes Reached",
            restarted: Some("Graceful Restart Flags 0xc"),
            two_octets: None,
            refresh: Some(Fault {
                sign: "'RouteRefresh' object is not iterable",
                words: "ExaBGP 4.2.21 loses the session over a request (TypeError in its log) if enhanced \
                        route refresh is agreed; the node keeps the routes until it is back",
            }),
            shutdown_text: Some(Fault {
                sign: "TypeError: %b requires a bytes-like object",
                words: "ExaBGP 4.2.21 sees the end, but cannot read a text (TypeError in its log)",
            }),
        }
    }
}

impl ExaBgp {
    /// Many routes in few commands.
    fn tell(&self, router: &Container, what: &str, plan: &Plan, routes: &[Route]) {
        for routes in routes.chunks(1000) {
            let mut text = format!("{what} attributes next-hop self");
            if let [first, ..] = routes {
                text += &as_path(plan, first);
            }
            text += " nlri";
            for Route { prefix, .. } in routes {
                write!(text, " {prefix}").unwrap();
            }
            text.push('\n');
            router.append("commands", &text);
        }
    }
}

/// More than a file should hold: it is read line by line in Python.
fn is_large(plan: &Plan) -> bool {
    plan.routes.len() > 1000
}

fn in_file(plan: &Plan, number: usize, route: &Route) -> Option<String> {
    let Route { prefix, .. } = route;
    let id = if plan.several_paths {
        format!(" path-information 0.0.0.{number}")
    } else {
        String::new()
    };
    let path = as_path(plan, route);
    prefix.addr().is_ipv4().then(|| format!("route {prefix} next-hop self{id}{path}"))
}

/// Written out in full, because ExaBGP adds its own AS only where no path is given.
fn as_path(plan: &Plan, route: &Route) -> String {
    if route.as_path.is_empty() {
        return String::new();
    }
    let own = (plan.asn != plan.node_asn).then_some(plan.asn);
    let path: Vec<String> = own.iter().chain(&route.as_path).map(ToString::to_string).collect();
    format!(" as-path [ {} ]", path.join(" "))
}
