//! BIRD announces, the node learns: all of it, exactly, and says nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::support::containers::{Container, Image, Network};
use crate::support::node::{Node, Setup};
use crate::support::process::Stopped;

/// Prefixes that become footprint.
fn subscribers() -> BTreeSet<String> {
    (0..1000).map(|i| format!("20.{}.{}.0/24", i / 250, i % 250)).collect()
}

/// Prefixes that the default rules refuse, with the reason that is to be named.
const REFUSED: [(&str, &str); 7] = [
    ("0.0.0.0/0", "default_route"),
    ("6.0.0.0/7", "too_short"),
    ("20.100.0.16/28", "too_long"),
    ("192.168.7.0/24", "bogon"),
    ("100.64.7.0/24", "cgnat"),
    ("20.101.0.0/24", "as_loop"),
    ("20.102.0.0/24", "blackhole"),
];

/// BIRD's file: it waits for the node to dial.
fn bird_file<'a>(
    bird: Ipv4Addr,
    node: Ipv4Addr,
    prefixes: impl IntoIterator<Item = &'a str>,
) -> String {
    let routes: String =
        prefixes.into_iter().map(|prefix| format!("route {prefix} blackhole;\n")).collect();
    format!(
        "log stderr all;
         router id {bird};
         protocol device {{}}
         protocol static clients {{ ipv4; {routes} }}
         filter to_node {{
             if net = 20.101.0.0/24 then bgp_path.prepend(65100);
             if net = 20.102.0.0/24 then bgp_community.add((65535, 666));
             accept;
         }}
         protocol bgp node {{
             local {bird} as 65100;
             neighbor {node} as 65100;
             passive;
             hold time 9;
             ipv4 {{ import all; export filter to_node; }};
         }}"
    )
}

/// BIRD at `.2`, and a node that dials it.
fn stage<'a>(network: &Network, prefixes: impl IntoIterator<Item = &'a str>) -> (Container, Node) {
    let (bird_at, host) = (network.address(2), network.host());
    let bird = network.start(Image::Bird, 2, &bird_file(bird_at, host, prefixes));
    bird.wait_for("answer of BIRD", "show status", |answer| {
        answer.contains("up and running").then_some(())
    });
    let rest = format!("[[bgp.neighbor]]\naddress = \"{bird_at}\"\nasn = 65100\nhold_time = 9\n");
    (bird, Setup::new("edge-1", host, &rest).start())
}

/// The footprint as the command line shows it.
fn footprint(node: &Node) -> BTreeSet<String> {
    let json = node.ask("footprint --json").good().json();
    let prefixes = json["prefixes"].as_array().unwrap();
    assert_eq!(json["count"], prefixes.len());
    prefixes.iter().map(|entry| entry["prefix"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_footprint_is_what_bird_announces_less_what_the_rules_refuse() {
    let Some(network) = Network::create() else { return };
    let mut announced = subscribers();
    let refused = REFUSED.map(|(prefix, _)| prefix);
    let all = announced.iter().map(String::as_str).chain(refused);
    let (bird, node) = stage(&network, all);
    let bird_at = bird.address().to_string();

    let status = node.wait_for("all routes", "bgp status", |status| {
        (status["neighbors"][0]["received"] == 1007).then(|| status.clone())
    });
    let neighbor = &status["neighbors"][0];
    assert_eq!(neighbor["address"], bird_at);
    assert_eq!(neighbor["type"], "ibgp");
    assert_eq!(neighbor["state"], "Established");
    assert_eq!(neighbor["accepted"], 1000);
    assert_eq!(neighbor["hold_time"], 9);
    let reasons: BTreeMap<&str, u32> = REFUSED.iter().map(|(_, reason)| (*reason, 1)).collect();
    assert_eq!(neighbor["rejected"], json!(reasons));
    assert_eq!(status["footprint"]["prefixes"], 1000);
    assert_eq!(status["footprint"]["addresses"], 256_000);
    assert_eq!(footprint(&node), announced);

    // The same in words.
    let table = node.ask("bgp status").good().stdout;
    let line = table.lines().find(|line| line.starts_with(&bird_at)).unwrap();
    for word in ["65100", "ibgp", "Established", "1,007", "1,000", "7"] {
        assert!(line.split_whitespace().any(|found| found == word), "no {word} in: {line}");
    }

    // One route, by its prefix and by an address in it.
    for question in ["20.0.7.0/24", "20.0.7.9"] {
        let found = node.ask(&format!("bgp routes {question} --json")).good().json();
        let routes = found["routes"].as_array().unwrap();
        assert_eq!(routes.len(), 1, "{question}: {routes:?}");
        let route = &routes[0];
        let expected = json!({
            "prefix": "20.0.7.0/24", "neighbor": bird_at, "path_id": 0, "as_path": "",
            "origin": "IGP", "next_hop": bird_at, "med": null, "local_pref": 100,
            "communities": [], "large_communities": [],
            "accepted": true, "refused_reason": null, "stale": false,
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&route[key], value, "{question}: {key}");
        }
    }
    // Only the default route has this address in it.
    let found = node.ask("bgp routes 21.0.0.1 --json").good().json();
    assert_eq!(found["routes"][0]["refused_reason"], "default_route");
    assert_eq!(node.ask("bgp routes 21.0.0.0/24").code, Some(1));
    let found = node.ask("bgp routes --rejected --json").good().json();
    let pair = |route: &Value| {
        (
            route["prefix"].as_str().unwrap().to_owned(),
            route["refused_reason"].as_str().unwrap().to_owned(),
        )
    };
    let found: BTreeSet<_> = found["routes"].as_array().unwrap().iter().map(pair).collect();
    assert_eq!(found, REFUSED.iter().map(|(p, r)| ((*p).to_owned(), (*r).to_owned())).collect());

    // BIRD's own view.
    let view = bird.ask("show protocols all node").unwrap();
    assert!(view.contains("0 imported, 1007 exported"), "{view}");
    let updates = view.lines().find(|line| line.contains("Import updates:")).unwrap();
    assert!(
        updates.split_whitespace().skip(2).all(|count| matches!(count, "0" | "---")),
        "{updates}"
    );

    // 100 prefixes go away, and one comes.
    announced = announced.into_iter().skip(100).collect();
    announced.insert("20.200.0.0/16".to_owned());
    bird.configure(&bird_file(
        bird.address(),
        network.host(),
        announced.iter().map(String::as_str),
    ));
    bird.ask("configure").unwrap();
    node.wait_for("change of the table", "bgp status", |status| {
        (status["neighbors"][0]["received"] == 901).then_some(())
    });
    assert_eq!(footprint(&node), announced);

    let (_, Stopped { status, log, .. }) = node.stop();
    assert!(status.success(), "{status}\n{log}");
    let view = bird.ask("show protocols all node").unwrap();
    assert!(view.contains("Received: Administrative shutdown"), "{view}");
    let log = bird.log();
    assert!(log.contains("mcc is stopping"), "no reason in BIRD's log:\n{log}");
}

#[test]
fn routes_of_a_killed_router_are_kept_and_fresh_again_when_it_is_back() {
    let Some(network) = Network::create() else { return };
    let announced = subscribers();
    let (bird, node) = stage(&network, announced.iter().map(String::as_str));
    node.wait_for_footprint(1000);

    bird.kill();
    let status = node.wait_for("stale routes", "bgp status", |status| {
        (status["neighbors"][0]["stale"] == 1000).then(|| status.clone())
    });
    let neighbor = &status["neighbors"][0];
    assert_ne!(neighbor["state"], "Established");
    assert_eq!(neighbor["flaps"], 1);
    assert!(!neighbor["last_error"]["text"].as_str().unwrap().is_empty(), "{neighbor}");
    assert_eq!(footprint(&node), announced);
    assert_eq!(node.ask("bgp status").code, Some(1), "a lost session is bad");

    bird.start_again();
    node.wait_for("fresh routes", "bgp status", |status| {
        let neighbor = &status["neighbors"][0];
        (neighbor["state"] == "Established"
            && neighbor["stale"] == 0
            && neighbor["accepted"] == 1000)
            .then_some(())
    });
    assert_eq!(footprint(&node), announced);
}
