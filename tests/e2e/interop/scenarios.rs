//! What every router must get through with a node. Each scenario is written once, for all makes.

use std::net::IpAddr;

use serde_json::Value;

use super::plan::{Dials, FEEDER_AS, Plan, Route, fed, own};
use super::router::Make;
use super::stage::{Stage, is_up, last_error};
use crate::support::containers::Container;
use crate::support::wait::wait_for;

/// A scenario that has come to its end.
pub(super) enum Outcome {
    Passed,
    /// It has passed, as far as the router can show it; why not further.
    PassedBut(&'static str),
    /// The router cannot play this; why.
    Impossible(&'static str),
}
use Outcome::{Impossible, Passed, PassedBut};

pub(super) type Scenario = (&'static str, fn(Make) -> Outcome);

pub(super) const ALL: [Scenario; 26] = [
    ("iBGP", ibgp),
    ("eBGP", ebgp),
    ("four-octet AS numbers", four_octet_as),
    ("router without four-octet AS (AS_TRANS, AS4_PATH)", two_octet_as),
    ("TCP MD5, right password", md5_right),
    ("TCP MD5, wrong password: no session, and told why; another neighbor unharmed", md5_wrong),
    ("TTL security (GTSM)", ttl_security),
    ("TTL security on the node only: not even the router's SYN is answered", ttl_too_low),
    ("router that the node knows by its prefix only (dynamic neighbor)", dynamic),
    ("only the router dials", node_passive),
    ("only the node dials", router_passive),
    ("both dial at once (collision): one session; and after three resets", collision),
    ("router killed and back with other routes: stale meanwhile, none lost", router_restarts),
    ("node killed and back: serves what it knew", node_restarts),
    ("route refresh", refresh),
    ("router hangs: hold timer", hold_timer),
    ("more than max_prefixes: Cease 6/1", max_prefixes),
    ("more than max_prefixes, `discard-new`: session and first routes stay", discard_new),
    ("more than max_prefixes, `keep-last-good`: what was there before stays", keep_last_good),
    ("back after the rest that max_prefixes has led to", back_after_rest),
    ("router's shutdown, with its text", router_shuts_down),
    ("node's shutdown, with its text", node_shuts_down),
    ("ADD-PATH", add_path),
    ("IPv6 (MP-BGP)", ipv6),
    ("IPv6 over TCP over IPv6", over_ipv6),
    ("100,000 routes, a third withdrawn, announced again", churn),
];

fn learn(make: Make, plan: Plan) -> Stage {
    let stage = Stage::set(make, plan);
    stage.wait_until_learned();
    stage
}

fn ibgp(make: Make) -> Outcome {
    let plan = Plan::new();
    let stage = learn(make, Plan { node_asn: plan.asn, ..plan });
    assert_eq!(stage.wait_for("kind", is_up)["type"], "ibgp");
    Passed
}

fn ebgp(make: Make) -> Outcome {
    let stage = learn(make, Plan::new());
    assert_eq!(stage.wait_for("kind", is_up)["type"], "ebgp");
    Passed
}

fn as_path(stage: &Stage) -> String {
    let prefix = stage.site.plan.routes[0].prefix;
    let routes = stage.node.ask(&format!("bgp routes {prefix} --json")).good().json();
    routes["routes"][0]["as_path"].as_str().unwrap().to_owned()
}

fn four_octet_as(make: Make) -> Outcome {
    let (asn, node_asn) = (4_200_000_100, 4_200_000_200);
    let stage = learn(make, Plan { asn, node_asn, routes: fed(0..10), ..Plan::new() });
    assert_eq!(as_path(&stage), format!("{asn} {FEEDER_AS}"));
    Passed
}

fn two_octet_as(make: Make) -> Outcome {
    if let Some(why) = make.dialect().words().two_octets {
        return Impossible(why);
    }
    let stage = learn(make, Plan { four_octet_as: false, routes: fed(0..10), ..Plan::new() });
    let up = stage.wait_for("session", is_up);
    assert!(!up["capabilities"].as_array().unwrap().contains(&"four-octet-as".into()), "{up}");
    assert_eq!(as_path(&stage), format!("{} {FEEDER_AS}", stage.site.plan.asn));
    Passed
}

fn md5_right(make: Make) -> Outcome {
    let password = Some("s3cret");
    learn(make, Plan { password, node_password: password, ..Plan::new() });
    Passed
}

fn md5_wrong(make: Make) -> Outcome {
    let (password, node_password) = (Some("s3cret"), Some("another"));
    let plan = Plan { password, node_password, ..Plan::new() };
    let beside = Plan { node_password: password, routes: own(100..107), ..plan.clone() };
    let stage = Stage::set_with(make, plan, Some(beside), |_| ());
    let neighbor = stage.wait_for("word of the password", |neighbor| {
        assert!(!is_up(neighbor), "{neighbor}");
        neighbor["dial_error"]["text"].as_str().is_some_and(|text| text.contains("password"))
    });
    assert_eq!(neighbor["received"], 0);
    // The other neighbor, whose password is right, has nothing to do with that.
    let status = stage.node.ask("bgp status --json").json();
    let other = &status["neighbors"][1];
    assert!(is_up(other) && other["flaps"] == 0 && other["accepted"] == 7, "{other}");
    Passed
}

fn ttl_security(make: Make) -> Outcome {
    learn(make, Plan { ttl_security: true, node_ttl_security: true, ..Plan::new() });
    Passed
}

/// The router sends with the TTL of its make, 64 or 1.
fn ttl_too_low(make: Make) -> Outcome {
    let plan = Plan { node_ttl_security: true, dials: Dials::Router, ..Plan::new() };
    let stage = Stage::set(make, plan);
    wait_for("SYN without an answer", || {
        let waits = stage.router_dials_in_vain();
        waits.then_some(()).ok_or_else(|| "the router has sent none".to_owned())
    });
    let neighbor = stage.wait_for("neighbor", |neighbor| neighbor["state"] == "Active");
    assert_eq!(neighbor["messages_received"], 0, "{neighbor}");
    let advice = neighbor["advice"].as_str().unwrap();
    assert!(advice.contains("TTL security (GTSM)"), "{neighbor}");
    Passed
}

fn dynamic(make: Make) -> Outcome {
    let stage = learn(make, Plan { dynamic: true, dials: Dials::Router, ..Plan::new() });
    let neighbor = stage.wait_for("session", is_up);
    assert_eq!(neighbor["dynamic"], format!("{}/32", stage.site.router), "{neighbor}");
    Passed
}

fn node_passive(make: Make) -> Outcome {
    learn(make, Plan { dials: Dials::Router, ..Plan::new() });
    Passed
}

fn router_passive(make: Make) -> Outcome {
    learn(make, Plan { dials: Dials::Node, ..Plan::new() });
    Passed
}

fn collision(make: Make) -> Outcome {
    // The router is frozen until the node has dialled it, and dials when it wakes up.
    let freeze = |router: &Container| {
        wait_for("listening router", || {
            let sockets = router.exec(&["cat", "/proc/net/tcp"])?;
            let listens = |line: &str| line.contains(":00B3 00000000:0000 0A");
            sockets.lines().any(listens).then_some(()).ok_or(sockets)
        });
        router.pause();
    };
    let stage = Stage::set_with(make, Plan::new(), None, freeze);
    stage.wait_for("connection of the node's", |neighbor| neighbor["state"] == "OpenSent");
    stage.router.unpause();
    let neighbor = stage.wait_until_learned();
    assert_eq!((&neighbor["flaps"], stage.connections()), (&0.into(), 1), "{neighbor}");
    // OpenBGPD waits longer after each.
    let count = if make == Make::OpenBgpd { 1 } else { 3 };
    for resets in 1..=count {
        stage.node.ask(&format!("bgp reset {}", stage.site.router)).good();
        stage.wait_for("session after a reset", |n| is_up(n) && n["flaps"] == resets);
        stage.wait_until_learned();
    }
    wait_for("a single connection", || match stage.connections() {
        1 => Ok(()),
        count => Err(format!("{count} connections")),
    });
    if count < 3 { PassedBut("with one reset: it waits longer after each") } else { Passed }
}

fn router_restarts(make: Make) -> Outcome {
    let mut stage = learn(make, Plan { graceful_restart: true, ..Plan::new() });
    assert_graceful(&stage);
    stage.router.kill();
    stage.wait_for("stale routes", |n| !is_up(n) && n["stale"] == 10 && n["accepted"] == 10);
    // It comes back without the first route, and with a new one.
    stage.router_back_with(own(1..11));
    stage.wait_for("session again, with what is announced now", |neighbor| {
        let accepted = neighbor["accepted"].as_u64().unwrap();
        assert!(accepted >= 9, "some are lost meanwhile: {neighbor}");
        is_up(neighbor) && neighbor["stale"] == 0 && accepted == 10
    });
    stage.wait_until_learned();
    let said = graceful_restart_of(&stage, "received");
    assert!(said.contains("restarting"), "the R bit of its OPEN: {said}");
    Passed
}

/// Graceful restart is agreed on.
fn assert_graceful(stage: &Stage) {
    let up = stage.wait_for("session", is_up);
    let agreed = up["capabilities"].as_array().unwrap();
    assert!(agreed.contains(&"graceful-restart".into()), "{up}");
}

/// What the OPEN of one side said on graceful restart.
fn graceful_restart_of(stage: &Stage, side: &str) -> String {
    let command = format!("bgp neighbor {} --json", stage.site.router);
    let neighbor = stage.node.ask(&command).good().json();
    let all = neighbor["negotiated"][side].as_array().unwrap_or_else(|| panic!("{neighbor}"));
    let found = all.iter().find(|capability| capability["name"] == "graceful-restart");
    found.and_then(|it| it["detail"].as_str()).unwrap_or_default().to_owned()
}

fn node_restarts(make: Make) -> Outcome {
    let mut stage = learn(make, Plan { graceful_restart: true, ..Plan::new() });
    assert_graceful(&stage);
    assert_ne!(hears_restart(&stage), Some(true), "not yet");
    let saved = stage.node.process.folder().join("footprint.last-good");
    wait_for("saved footprint", || saved.exists().then_some(()).ok_or_else(String::new));
    // From a router that hangs the node learns nothing: what it serves is what it has kept.
    stage.router.pause();
    stage = stage.with_node_killed_and_back();
    let neighbor = stage.wait_for("what it knew", |neighbor| neighbor["stale"] == 10);
    assert!(!is_up(&neighbor) && neighbor["accepted"] == 10, "{neighbor}");
    assert_eq!(stage.node.ask("footprint --json").good().json()["count"], 10);
    stage.router.unpause();
    stage.wait_for("session again", |neighbor| {
        assert_eq!(neighbor["accepted"], 10, "none is lost meanwhile");
        is_up(neighbor) && neighbor["stale"] == 0
    });
    stage.wait_until_learned();
    let said = graceful_restart_of(&stage, "offered");
    assert!(said.contains("restarting"), "the R bit of our OPEN: {said}");
    assert_ne!(hears_restart(&stage), Some(false), "the R bit as the router reads it");
    Passed
}

/// Whether the router says that the node has come back from a restart; `None` if it never says so.
fn hears_restart(stage: &Stage) -> Option<bool> {
    let dialect = stage.make.dialect();
    let word = dialect.words().restarted?;
    let said = dialect.said(&stage.router, &stage.site).unwrap();
    // Before these BIRD shows its own.
    let of_node = said.rsplit_once("Neighbor capabilities").map_or(&*said, |(_, theirs)| theirs);
    Some(of_node.contains(word))
}

fn refresh(make: Make) -> Outcome {
    let stage = learn(make, Plan::new());
    let dialect = make.dialect();
    let updates = |neighbor: &Value| neighbor["messages"]["received"]["update"].as_u64().unwrap();
    let updates_before = updates(&stage.wait_for("session", is_up));
    let before = dialect.refreshes(&stage.router, &stage.site).unwrap();
    stage.node.ask(&format!("bgp refresh {}", stage.site.router)).good();
    wait_for("request at the router", || {
        let now = dialect.refreshes(&stage.router, &stage.site)?;
        (now > before).then_some(()).ok_or_else(|| now.to_string())
    });
    let outcome = if let Some(fault) = dialect.words().refresh {
        stage.wait_for_word(fault.sign);
        Impossible(fault.words)
    } else {
        let all = stage.wait_for("the table again", |neighbor| updates(neighbor) > updates_before);
        assert_eq!(all["flaps"], 0, "{all}");
        Passed
    };
    let neighbor = stage.wait_for("session", |neighbor| {
        assert_eq!(neighbor["accepted"], 10, "none is lost, whatever the router does");
        is_up(neighbor)
    });
    assert_eq!(neighbor["rejected"], serde_json::json!({}));
    stage.wait_until_learned();
    outcome
}

fn hold_timer(make: Make) -> Outcome {
    let stage = learn(make, Plan { hold_time: 6, ..Plan::new() });
    stage.router.pause();
    // The state and the routes are told by two tasks: either may be first.
    let neighbor = stage
        .wait_for("end of the session", |neighbor| !is_up(neighbor) && neighbor["stale"] == 10);
    stage.router.unpause();
    let error = &neighbor["last_error"];
    assert_eq!((&error["direction"], &error["code"]), (&"sent".into(), &4.into()), "{neighbor}");
    assert_eq!(neighbor["stale"], 10);
    stage.wait_until_learned();
    Passed
}

fn max_prefixes(make: Make) -> Outcome {
    let stage = Stage::set(make, Plan { max_prefixes: 5, ..Plan::new() });
    let neighbor = stage.wait_for("end of the session", |n| n["last_error"]["code"] == 6);
    assert_eq!(
        (&neighbor["state"], &neighbor["last_error"]["subcode"]),
        (&"Idle".into(), &1.into())
    );
    assert!(last_error(&neighbor).contains("Maximum Number of Prefixes Reached"), "{neighbor}");
    stage.wait_for_word(make.dialect().words().prefix_limit);
    Passed
}

fn discard_new(make: Make) -> Outcome {
    let plan = Plan { max_prefixes: 5, max_prefixes_action: "discard-new", ..Plan::new() };
    let stage = Stage::set(make, plan);
    let neighbor = stage.wait_for("as many as may be", |n| n["discarded"] == 5);
    assert!(is_up(&neighbor) && neighbor["flaps"] == 0, "{neighbor}");
    assert_eq!(neighbor["accepted"], 5, "{neighbor}");
    Passed
}

fn keep_last_good(make: Make) -> Outcome {
    // Good is what was there at an End-of-RIB, which routers send if they may restart gracefully.
    let (max_prefixes, max_prefixes_action) = (10, "keep-last-good");
    let (routes, graceful_restart) = (fed(0..5), true);
    let plan = Plan { max_prefixes, max_prefixes_action, graceful_restart, routes, ..Plan::new() };
    let mut stage = learn(make, plan.clone());
    let first = format!("bgp routes {} --json", stage.site.plan.routes[0].prefix);
    // Who was there before is told by the second. An End-of-RIB that comes before the routes says
    // nothing of them: then it takes a calm minute.
    let ages: &[u64] = match make {
        Make::GoBgp | Make::Frr | Make::OpenBgpd | Make::ExaBgp => &[2, 32, 62],
        Make::Bird => &[2],
    };
    for &least in ages {
        wait_for("routes of some age", || {
            let page = stage.node.ask(&first).good().json();
            let age = page["routes"][0]["age_seconds"].as_u64();
            age.filter(|&age| age >= least).ok_or_else(|| page.to_string())
        });
    }
    let before = stage.site.clone();
    stage.announce(Plan { routes: fed(0..20), ..plan });
    let neighbor = stage.wait_for("end of the session", |n| n["last_error"]["code"] == 6);
    assert_eq!(neighbor["last_error"]["subcode"], 1, "{neighbor}");
    stage.site = before;
    stage.wait_for("what was there", |n| n["state"] == "Idle" && n["accepted"] == 5);
    stage.wait_for_footprint();
    Passed
}

fn back_after_rest(make: Make) -> Outcome {
    if make == Make::OpenBgpd {
        return Impossible("it waits for minutes after it was told of its prefixes twice");
    }
    let plan = Plan { max_prefixes: 5, max_prefixes_rest: 5, routes: fed(0..10), ..Plan::new() };
    let mut stage = Stage::set(make, plan.clone());
    stage.wait_for("end of the session", |n| n["last_error"]["code"] == 6);
    stage.announce(Plan { routes: fed(0..5), ..plan });
    stage.wait_until_learned();
    Passed
}

fn router_shuts_down(make: Make) -> Outcome {
    let stage = learn(make, Plan::new());
    let text = "maintenance-until-04:00";
    make.dialect().shut_down(&stage.router, &stage.site, text);
    // Some come back at once.
    let neighbor = stage.wait_for("end of the session", |neighbor| neighbor["flaps"] == 1);
    assert_eq!(
        (&neighbor["last_error"]["code"], &neighbor["last_error"]["subcode"]),
        (&6.into(), &2.into())
    );
    assert_eq!(neighbor["accepted"], 10, "its routes stay for a while");
    if make == Make::ExaBgp {
        return PassedBut("it sends no text");
    }
    assert!(last_error(&neighbor).contains(text), "{neighbor}");
    Passed
}

fn node_shuts_down(make: Make) -> Outcome {
    let stage = learn(make, Plan::new());
    stage.node.process.signal(rustix::process::Signal::TERM);
    match make.dialect().words().shutdown_text {
        Some(fault) => {
            stage.wait_for_word(fault.sign);
            PassedBut(fault.words)
        }
        None => {
            stage.wait_for_word("mcc is stopping");
            Passed
        }
    }
}

fn add_path(make: Make) -> Outcome {
    let other = |route: &Route| Route { as_path: vec![FEEDER_AS, 64999], ..route.clone() };
    let first = fed(0..5);
    let routes = first.iter().cloned().chain(first.iter().map(other)).collect();
    let stage = Stage::set(make, Plan { several_paths: true, routes, ..Plan::new() });
    let neighbor = stage.wait_for("two paths a prefix", |n| is_up(n) && n["accepted"] == 10);
    assert!(
        neighbor["capabilities"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c.as_str().is_some_and(|c| c.starts_with("add-path")))
    );
    let asn = stage.site.plan.asn;
    let both = [format!("{asn} {FEEDER_AS}"), format!("{asn} {FEEDER_AS} 64999")];
    for Route { prefix, .. } in first {
        let found = stage.node.ask(&format!("bgp routes {prefix} --json")).good().json();
        let paths = found["routes"].as_array().unwrap().iter();
        let paths: std::collections::BTreeSet<&str> =
            paths.map(|r| r["as_path"].as_str().unwrap()).collect();
        assert_eq!(paths, both.iter().map(String::as_str).collect(), "{prefix}");
    }
    assert_eq!(stage.node.ask("footprint --json").good().json()["count"], 5);
    Passed
}

fn ipv6(make: Make) -> Outcome {
    let more = (1..=5)
        .map(|i| Route { prefix: format!("2a00:{i}::/32").parse().unwrap(), as_path: Vec::new() });
    let routes = own(0..5).into_iter().chain(more).collect();
    learn(make, Plan { ipv6: true, routes, ..Plan::new() });
    Passed
}

fn over_ipv6(make: Make) -> Outcome {
    let routes = (1..=5)
        .map(|i| Route { prefix: format!("2a00:{i}::/32").parse().unwrap(), as_path: Vec::new() });
    let stage = learn(make, Plan { over_ipv6: true, routes: routes.collect(), ..Plan::new() });
    let neighbor = stage.wait_for("session", is_up);
    assert_eq!(neighbor["address"], stage.site.router.to_string());
    assert_eq!(neighbor["capabilities"][0], "ipv6-unicast", "and nothing of IPv4: {neighbor}");
    let prefix = stage.site.plan.routes[0].prefix;
    let routes = stage.node.ask(&format!("bgp routes {prefix} --json")).good().json();
    let next_hop: IpAddr = routes["routes"][0]["next_hop"].as_str().unwrap().parse().unwrap();
    assert!(next_hop.is_ipv6(), "{routes}");
    Passed
}

fn churn(make: Make) -> Outcome {
    // ExaBGP is a tool for tests, in Python.
    let count = if make == Make::ExaBgp { 10_000 } else { 100_000 };
    let all = fed(0..count);
    let mut stage = learn(make, Plan { routes: all.clone(), ..Plan::new() });
    let kept: Vec<Route> =
        all.iter().enumerate().filter(|(i, _)| i % 3 != 0).map(|(_, r)| r.clone()).collect();
    for routes in [kept, all] {
        stage.announce(Plan { routes, ..stage.site.plan.clone() });
        stage.wait_until_learned();
    }
    if count < 100_000 { PassedBut("with 10,000 routes") } else { Passed }
}
