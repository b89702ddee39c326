//! GoBGP as an eBGP neighbor with 4-octet AS numbers and TCP MD5.

use crate::support::containers::{Container, Image, Network};
use crate::support::node::{Node, Setup};

const ROUTER_AS: u32 = 4_200_000_100;
const NODE_AS: u32 = 4_200_000_200;

/// GoBGP at `.2` and a node that knows it. `dials` is what only one of them does, so that it is
/// clear whose listener takes the password; each side has its own.
struct Stage {
    gobgp: Container,
    node: Node,
    /// The node, as GoBGP knows it.
    node_at: String,
}

enum Dials {
    Router,
    Node,
}

fn stage(network: &Network, dials: &Dials, router_password: &str, node_password: &str) -> Stage {
    let (router_at, node_at) = (network.address(2), network.host().to_string());
    let passive = matches!(dials, Dials::Router);
    let rest = format!(
        "[[bgp.neighbor]]
         address = \"{router_at}\"
         asn = {ROUTER_AS}
         local_asn = {NODE_AS}
         password = \"{node_password}\"
         passive = {passive}"
    );
    let setup = Setup::new("edge-1", network.host(), &rest);
    let transport = match dials {
        Dials::Router => format!("remote-port = {}", setup.bgp.port()),
        Dials::Node => "passive-mode = true".to_owned(),
    };
    let file = format!(
        "[global.config]
         as = {ROUTER_AS}
         router-id = \"{router_at}\"
         [[neighbors]]
         [neighbors.config]
         neighbor-address = \"{node_at}\"
         peer-as = {NODE_AS}
         auth-password = \"{router_password}\"
         [neighbors.transport.config]
         {transport}
         [neighbors.timers.config]
         connect-retry = 1
         idle-hold-time-after-reset = 1"
    );
    let gobgp = network.start(Image::GoBgp, 2, &file);
    gobgp.wait_for("answer of GoBGP", "neighbor", |answer| answer.contains(&node_at).then_some(()));
    Stage { gobgp, node: setup.start(), node_at }
}

#[test]
fn a_session_with_the_right_password_comes_up_and_its_shutdown_is_shown() {
    let Some(network) = Network::create() else { return };
    let Stage { gobgp, node, node_at } = stage(&network, &Dials::Router, "s3cret", "s3cret");
    for i in 0..3 {
        gobgp.ask(&format!("global rib add 20.0.{i}.0/24")).unwrap();
    }
    let status = node.wait_for_footprint(3);
    let neighbor = &status["neighbors"][0];
    assert_eq!((&neighbor["type"], &neighbor["asn"]), (&"ebgp".into(), &ROUTER_AS.into()));
    assert_eq!(neighbor["local_asn"], NODE_AS);
    let capabilities = neighbor["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&"four-octet-as".into()), "{capabilities:?}");
    let route = node.ask("bgp routes 20.0.1.0/24 --json").good().json()["routes"][0].clone();
    assert_eq!(route["as_path"], ROUTER_AS.to_string());
    assert_eq!(route["next_hop"], gobgp.address().to_string());

    // GoBGP has heard nothing of us.
    let table = gobgp.ask(&format!("neighbor {node_at} adj-in")).unwrap();
    assert!(table.contains("Network not in table"), "{table}");

    // Its operator ends the session, and says why.
    gobgp.ask(&format!("neighbor {node_at} shutdown --reason maintenance-window-7")).unwrap();
    let neighbor = node.wait_for("end of the session", "bgp status", |status| {
        let neighbor = &status["neighbors"][0];
        (neighbor["flaps"] == 1).then(|| neighbor.clone())
    });
    let error = &neighbor["last_error"];
    assert_eq!(error["direction"], "received");
    assert_eq!((&error["code"], &error["subcode"]), (&6.into(), &2.into()));
    let text = error["text"].as_str().unwrap();
    assert!(text.starts_with("Cease / Administrative Shutdown"), "{text}");
    assert!(text.contains("maintenance-window-7"), "{text}");
    let table = node.ask("bgp status").stdout;
    assert!(table.contains("maintenance-window-7"), "{table}");

    // It comes up again by itself; then it is switched off.
    node.wait_for_footprint(3);
    gobgp.ask(&format!("neighbor {node_at} disable")).unwrap();
    node.wait_for("second end of the session", "bgp status", |status| {
        let neighbor = &status["neighbors"][0];
        (neighbor["flaps"] == 2 && neighbor["state"] != "Established").then_some(())
    });
    gobgp.ask(&format!("neighbor {node_at} enable")).unwrap();
    node.wait_for_footprint(3);
}

#[test]
fn a_session_with_the_wrong_password_stays_down_and_the_status_says_what_to_check() {
    let Some(network) = Network::create() else { return };
    let Stage { gobgp: _gobgp, node, .. } = stage(&network, &Dials::Node, "s3cret", "secret");
    let neighbor = node.wait_for("words about the password", "bgp status", |status| {
        let neighbor = &status["neighbors"][0];
        assert_ne!(neighbor["state"], "Established");
        let text = neighbor["last_error"]["text"].as_str()?;
        text.contains("password").then(|| neighbor.clone())
    });
    assert_eq!(neighbor["last_error"]["direction"], "dial");
    assert_eq!(neighbor["received"], 0);
    assert_eq!(node.ask("bgp status").code, Some(1));
}
