//! Nodes and their control plane: who serves which client, and what goes on when one is away.

use std::net::Ipv4Addr;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::command::mcc;
use crate::support::containers::{Image, Network};
use crate::support::control::ControlPlane;
use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::origin::{HOST, Origin};
use crate::support::wait::wait_for;

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Waits until clients at this address are steered to `node`, or to none.
#[track_caller]
fn wait_for_steering(plane: &ControlPlane, client: &str, node: Option<&str>) {
    wait_for(&format!("{client} steered to {node:?}"), || {
        let answer = plane.steer(client);
        (answer.json()["node"].as_str() == node).then_some(()).ok_or(answer.text())
    });
}

/// A node without neighbors, created with these CIDR blocks, enrolled and running.
#[track_caller]
fn start_node(plane: &ControlPlane, name: &str, address: &str, cidrs: &[&str]) -> Node {
    let section = plane.enrol(&json!({ "name": name, "address": address, "cidrs": cidrs }));
    Setup::new(name, LOOPBACK, &section).start()
}

#[test]
fn a_client_is_steered_to_the_node_with_the_longest_prefix() {
    let plane = ControlPlane::start();
    let wide = start_node(&plane, "wide", "192.0.2.1", &["20.0.0.0/16", "21.0.0.0/16"]);
    wait_for_steering(&plane, "20.0.7.9", Some("wide"));
    let answer = plane.steer("20.0.7.9").json();
    assert_eq!(answer["address"], "192.0.2.1");
    assert_eq!(answer["prefix"], "20.0.0.0/16");
    assert_eq!(answer["reason"], json!(["longest_prefix", "only_candidate"]));

    // What nobody serves, and what is no address.
    assert_eq!(plane.steer("30.0.0.1").status, 404);
    let nonsense = plane.steer("edge");
    assert_eq!(nonsense.status, 400);
    assert!(nonsense.json()["detail"].as_str().unwrap().contains("`edge`"), "{}", nonsense.text());

    // A more specific prefix of another node.
    let narrow = start_node(&plane, "narrow", "192.0.2.2", &["20.0.7.0/24"]);
    wait_for_steering(&plane, "20.0.7.9", Some("narrow"));
    let answer = plane.steer("20.0.7.9").json();
    assert_eq!(
        (&answer["address"], &answer["prefix"]),
        (&"192.0.2.2".into(), &"20.0.7.0/24".into())
    );
    let candidates: Vec<_> =
        answer["candidates"].as_array().unwrap().iter().map(|node| &node["node"]).collect();
    assert_eq!(candidates, ["narrow", "wide"]);
    assert_eq!(plane.node_of("20.0.8.9").as_deref(), Some("wide"));

    // The same in words, and as JSON.
    let table = mcc(&["steer", "20.0.7.9", "--control", &plane.url]).good().stdout;
    assert!(table.starts_with("20.0.7.9 is served by narrow (192.0.2.2)\n"), "{table}");
    assert!(table.contains("by prefix 20.0.7.0/24, because of longest prefix"), "{table}");
    let line = |table: &str, node: &str| {
        table.lines().find(|line| line.split_whitespace().nth(1) == Some(node)).unwrap().to_owned()
    };
    assert!(line(&table, "wide").starts_with('√'), "{table}");
    let found = mcc(&["steer", "20.0.7.9", "--json", "--control", &plane.url]).good().json();
    assert_eq!((&found["node"], &found["prefix"]), (&"narrow".into(), &"20.0.7.0/24".into()));
    let nobody = mcc(&["steer", "30.0.0.1", "--control", &plane.url]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stdout.starts_with("No node serves 30.0.0.1"), "{nobody:?}");

    // As Windows asks; the proxy on loopback is trusted to say for whom.
    let geo = |client: &str| {
        let url = format!("{}/geo?doClientVersion=10.0.26100.1&profile=1", plane.url);
        http::get(&url, &[("x-forwarded-for", client)]).unwrap()
    };
    let answer = geo("20.0.7.9");
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/json"));
    let reply = answer.json();
    assert_eq!(reply["ExternalIpAddress"], "20.0.7.9");
    assert_eq!(reply["CacheHost"], "192.0.2.2,192.0.2.1");
    for key in ["CountryCode", "KeyValue_EndpointFullUri", "Version", "CacheHostFlag"] {
        assert!(!reply[key].is_null(), "no {key}: {reply}");
    }
    assert_eq!(geo("30.0.0.1").json().get("CacheHost"), None);

    // Drained by its operator: passed over at once, with the reason; then taken again.
    let drained = plane.api(Method::POST, "/v1/nodes/narrow/drain", None);
    assert_eq!(drained.json()["state"], "Draining", "{}", drained.text());
    let answer = plane.steer("20.0.7.9").json();
    assert_eq!(
        (&answer["node"], &answer["reason"][0]),
        (&"wide".into(), &"covering_prefix".into())
    );
    let passed = &answer["passed_over"][0];
    assert_eq!((&passed["node"], &passed["reason"]), (&"narrow".into(), &"draining".into()));
    let table = mcc(&["steer", "20.0.7.9", "--control", &plane.url]).good().stdout;
    assert!(line(&table, "narrow").starts_with('×'), "{table}");
    assert!(line(&table, "narrow").ends_with("draining"), "{table}");
    plane.api(Method::POST, "/v1/nodes/narrow/undrain", None);
    assert_eq!(plane.node_of("20.0.7.9").as_deref(), Some("narrow"));

    // Drained on the node itself: it says so by its next heartbeat, and refuses meanwhile.
    narrow.ask("drain").good();
    assert_eq!(http::get(&narrow.url("/"), &[]).unwrap().status, 503);
    wait_for_steering(&plane, "20.0.7.9", Some("wide"));

    // A node that is stopped says a last word: no client is sent to it for another 30 s.
    let (_, stopped) = wide.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    assert_eq!(plane.node_of("20.0.8.9"), None);
    let answer = plane.steer("20.0.8.9").json();
    assert_eq!(answer["explanation"]["passed_over"][0]["node"], "wide", "{answer}");
    let known = plane.api(Method::GET, "/v1/nodes/wide", None).json();
    assert!(known["reason"].as_str().unwrap().contains("the node has been stopped"), "{known}");
}

/// What a node is told by its control plane: neighbors that it dials, CIDR blocks, a limit.
#[test]
fn routes_of_a_neighbor_made_in_the_control_plane_steer_clients_while_either_is_away() {
    let Some(network) = Network::create() else { return };
    let host = network.host();
    let bird_file = |routes: &str| {
        format!(
            "log stderr all;
             router id {bird};
             protocol device {{}}
             protocol static clients {{ ipv4; {routes} }}
             protocol bgp node {{
                 local {bird} as 65100;
                 neighbor {host} as 65200;
                 passive;
                 ipv4 {{ import all; export all; }};
             }}",
            bird = network.address(2)
        )
    };
    let bird = network.start(Image::Bird, 2, &bird_file("route 20.0.0.0/16 blackhole;"));
    let origin = Origin::start(&network, 3);
    origin.make_file("/fresh/f.bin", 3 << 20);
    let whole = origin.read("/fresh/f.bin");
    let plane = ControlPlane::start();
    let control = plane.enrol(&json!({
        "name": "edge-1",
        "address": host.to_string(),
        "max_egress_mbps": 5000,
        "cidrs": ["21.0.0.0/16"],
        "neighbors": [{ "address": bird.address().to_string(), "asn": 65100, "local_asn": 65200 }],
    }));
    let node = Setup::new("edge-1", host, &format!("{}{control}", origin.section())).start();
    let download = || {
        let url = node.url(&format!("/fresh/f.bin?cacheHostOrigin={HOST}"));
        assert!(http::get(&url, &[]).unwrap().body == whole, "wrong bytes");
    };
    let control_part = |node: &Node| -> Value {
        let parts = node.ask("list --json").json();
        parts
            .as_array()
            .unwrap()
            .iter()
            .find(|part| part["name"] == "control plane")
            .unwrap()
            .clone()
    };

    let status = node.wait_for_footprint(2);
    assert_eq!(status["neighbors"][0]["type"], "ebgp");
    wait_for_steering(&plane, "20.0.7.9", Some("edge-1"));
    let answer = plane.steer("20.0.7.9").json();
    assert_eq!(
        (&answer["address"], &answer["prefix"]),
        (&host.to_string().into(), &"20.0.0.0/16".into())
    );
    let route = &answer["candidates"][0];
    assert_eq!(
        (&route["source"], &route["path_len"], &route["neighbor_asn"]),
        (&"bgp".into(), &1.into(), &65100.into())
    );
    assert_eq!(plane.steer("21.0.7.9").json()["candidates"][0]["source"], "manual");
    node.wait_for("acknowledged footprint", "bgp status", |status| {
        (status["footprint"]["acknowledged"] == true && status["footprint"]["advertised"] == 2)
            .then_some(())
    });
    wait_for("healthy node with its session", || {
        let known = plane.api(Method::GET, "/v1/nodes/edge-1", None).json();
        let session = &known["heartbeat"]["sessions"][0];
        (known["state"] == "Healthy" && session["state"] == "Established")
            .then_some(())
            .ok_or(known.to_string())
    });

    // A route less and a route more.
    bird.configure(&bird_file("route 22.0.0.0/16 blackhole;"));
    bird.ask("configure").unwrap();
    wait_for_steering(&plane, "22.0.7.9", Some("edge-1"));
    wait_for_steering(&plane, "20.0.7.9", None);

    // Without the control plane: downloads and sessions go on, changes too, and the status names it.
    let stopped = plane.stop();
    download();
    bird.configure(&bird_file("route 22.0.0.0/16 blackhole; route 23.0.0.0/16 blackhole;"));
    bird.ask("configure").unwrap();
    node.wait_for_footprint(3);
    let status = wait_for("words about the control plane", || {
        let status = node.ask("status").good().stdout;
        if status.contains("× down  control plane: ") { Ok(status) } else { Err(status) }
    });
    assert!(status.contains("serving goes on; steering uses the last footprint"), "{status}");
    assert_eq!(control_part(&node)["state"], "down");
    assert_eq!(node.admin("/readyz").status, 200, "a node is fit without its control plane");
    download();

    // Back again: it steers with its first answer, by what it had; then by what is new.
    let plane = stopped.start();
    assert_eq!(plane.node_of("22.0.7.9").as_deref(), Some("edge-1"));
    wait_for_steering(&plane, "23.0.7.9", Some("edge-1"));
    node.wait_for("link to the control plane", "list", |parts| {
        let mut parts = parts.as_array()?.iter();
        parts.any(|part| part["name"] == "control plane" && part["state"] == "up").then_some(())
    });

    // A node that starts while the control plane is away uses the settings that it kept.
    let stopped = plane.stop();
    let (setup, ended) = node.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let node = setup.start_in(ended.folder);
    node.wait_for_footprint(3);
    assert_eq!(control_part(&node)["state"], "down");
    drop(stopped.start());
}

#[test]
fn a_key_works_once_and_tokens_open_what_is_theirs() {
    let plane = ControlPlane::start();
    let settings = json!({ "name": "edge-1", "address": "192.0.2.1", "cidrs": ["20.0.0.0/16"] });
    assert_eq!(plane.api(Method::POST, "/v1/nodes", Some(&settings)).status, 201);
    let state = || plane.api(Method::GET, "/v1/nodes/edge-1", None).json()["state"].clone();
    assert_eq!(state(), "Not provisioned");
    let enrolment = plane.api(Method::POST, "/v1/nodes/edge-1/enrolment", None).json();
    assert_eq!(state(), "Registration in progress");
    let key = enrolment["key"].as_str().unwrap();
    let file = plane.token_file("edge-1");
    let enrol = || {
        mcc(&["enrol", "--url", &plane.url, "--key", key, "--token-file", file.to_str().unwrap()])
    };

    let first = enrol().good();
    assert!(first.stdout.contains("This is node edge-1 now"), "{first:?}");
    assert_eq!(state(), "Never phoned home");
    let token = std::fs::read_to_string(&file).unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = enrol();
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("401"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token, "the good token stays");

    // A stranger may ask who serves whom, and nothing else; a node is no operator.
    for (bearer, status) in
        [(None, 401), (Some("Bearer mcc_nonsense"), 401), (Some(token.as_str()), 403)]
    {
        let bearer = bearer.map(|text| match text.strip_prefix("Bearer ") {
            Some(_) => text.to_owned(),
            None => format!("Bearer {}", text.trim()),
        });
        let headers: Vec<_> =
            bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let answer = http::get(&format!("{}/v1/nodes", plane.url), &headers).unwrap();
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
    }
    assert_eq!(plane.steer("20.0.7.9").status, 404);
}
