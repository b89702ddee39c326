//! The command line and the admin API, on a node whose parts are not all well.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};

use crate::support::command::mcc;
use crate::support::node::{Node, Setup};
use crate::support::process::Process;
use crate::support::{http, ports};

#[test]
fn the_examples_are_good_files() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [("mcc.toml", &[][..]), ("control.toml", &["--control"])] {
        let example = mcc(&[&["config", "example"], options].concat()).good().stdout;
        assert!(example.starts_with('#') && example.len() > 500, "{example}");
        let file = folder.path().join(name);
        fs::write(&file, example).unwrap();
        let file = file.to_str().unwrap();
        let check = mcc(&[&["config", "check", file], options].concat()).good();
        assert_eq!(check.stdout, format!("{file}: good\n"));
    }
}

#[test]
fn a_bad_file_is_told_with_every_problem_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bad = "[node]\nname = \"edge-1\"\naddress = \"2001:db8::1\"\n[htp]\n[[drive]]\npath = \"/\"\nsize = \"1KB\"\n";
    let file = folder.path().join("mcc.toml");
    fs::write(&file, bad).unwrap();
    let file = file.to_str().unwrap();

    let check = mcc(&["config", "check", file]);
    assert_eq!(check.code, Some(1));
    for words in [
        format!("{file}:3: key `node.address`"),
        "`[node] ipv6 = true`".to_owned(),
        format!("{file}:4: key `htp`"),
        "http".to_owned(),
        format!("{file}:7: key `drive[0].size`"),
    ] {
        assert!(check.stdout.contains(&words), "no `{words}` in:\n{}", check.stdout);
    }
    let json = mcc(&["config", "check", file, "--json"]);
    assert_eq!(json.code, Some(1));
    let json = json.json();
    assert_eq!(json["good"], false);
    let problems: Vec<_> =
        json["problems"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    assert_eq!(problems.join("\n"), check.stdout.trim_end());

    let run = mcc(&["run", "--config", file]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains(&format!("{file}:3: key `node.address`")), "{run:?}");
    let none = folder.path().join("none.toml");
    let run = mcc(&["run", "--config", none.to_str().unwrap()]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("none.toml"), "{run:?}");
}

/// The kernel takes the connection, and nobody answers it.
#[test]
fn a_node_that_hangs_is_told_apart_from_none() {
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hung.local_addr().unwrap().to_string();
    for command in [&["status"][..], &["bgp", "reset", "192.0.2.1"], &["bgp", "dump", "-"]] {
        let output = mcc(&[command, &["--admin", &address, "--timeout", "1"]].concat());
        assert_eq!(output.code, Some(1), "{output:?}");
        let words =
            format!("connected to http://{address}, but no answer within 1 s: the node hangs");
        assert!(output.stderr.contains(&words), "{output:?}");
    }
    drop(hung);
    let output = mcc(&["status", "--admin", &address]);
    assert!(output.stderr.contains(&format!("no node answers at http://{address}")), "{output:?}");
}

#[test]
fn wrong_use_is_2_and_says_what_is_right() {
    for (args, words) in [
        (&["bgp", "rutes"][..], "routes"),
        (&["bgp", "routes", "20.0.0.7/24"], "the prefix is 20.0.0.0/24"),
        (&["steer", "edge-1"], "edge-1"),
        (&["control", "token", "create", "--role", "king"], "owner"),
        (&["enrol", "--url", "https://control.example"], "--key"),
        (
            &["status", "--admin", "foo"],
            "neither a URL, such as http://127.0.0.1:5000, nor an address",
        ),
        (&["bgp", "status", "--admin", "http://127.0.0.1:5000/v1"], "neither a URL"),
        (&["status", "--timeout", "0"], "--timeout"),
        (&[], "Usage"),
    ] {
        let output = mcc(args);
        assert_eq!(output.code, Some(2), "{args:?}: {output:?}");
        assert!(output.stderr.contains(words), "{args:?}: {output:?}");
    }
}

#[test]
fn where_no_node_runs_every_question_says_so() {
    let admin = format!("http://{}", ports::free_address());
    for question in ["status", "list", "bgp status", "bgp routes", "footprint", "drain"] {
        let words: Vec<&str> = question.split(' ').collect();
        let output = mcc(&[&words[..], &["--admin", &admin]].concat());
        assert_eq!(output.code, Some(1), "{question}: {output:?}");
        let expected = format!("mcc: no node answers at {admin}");
        assert!(output.stderr.starts_with(&expected), "{question}: {output:?}");
    }
}

#[test]
fn an_address_in_use_ends_the_start_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::new("edge-1", Ipv4Addr::LOCALHOST, "");
    setup.https = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("drive")).unwrap();
    let file = setup.file();
    let mut node =
        Process::mcc_in(folder, &["run", "--config", "mcc.toml"], &[("mcc.toml", &file)]);
    assert_eq!(node.wait().code(), Some(1));
    let expected = format!("https.listen: cannot listen on {}", setup.https);
    assert!(node.log().contains(&expected), "{}", node.log());
}

/// A node of which only the one drive, and the serving, is well.
fn half_broken() -> Node {
    let dead = ports::free_address();
    let rest = format!(
        "[[bgp.neighbor]]
         address = \"127.0.0.1\"
         port = {port}
         asn = 65100
         [[drive]]
         path = \"/nonexistent/cache\"
         size = \"64MiB\"
         [[origin]]
         host = \"downloads.example\"
         connect = \"{dead}\"
         [footprint]
         cidrs = [\"20.0.0.0/23\", \"20.0.2.0/24\"]
         [control]
         url = \"http://{dead}\"
         token_file = \"node.token\"",
        port = dead.port()
    );
    Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest).start()
}

#[test]
fn what_is_broken_is_named_with_what_to_do_and_harms_nothing_else() {
    let node = half_broken();
    let parts = node.wait_for("words about the neighbor", "list", |parts| {
        let all = parts.as_array()?;
        let told = |name: &str, word: &str| {
            all.iter().any(|part| {
                part["name"] == name && part["detail"].as_str().is_some_and(|d| d.contains(word))
            })
        };
        (told("neighbor 127.0.0.1", "refused") && told("control plane", "node.token"))
            .then(|| all.clone())
    });
    let states: BTreeMap<&str, &str> = parts
        .iter()
        .map(|part| (part["name"].as_str().unwrap(), part["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        BTreeMap::from([
            ("http", "up"),
            ("https", "up"),
            ("drive drive", "up"),
            ("drive /nonexistent/cache", "down"),
            ("neighbor 127.0.0.1", "down"),
            ("control plane", "down"),
        ])
    );
    for part in &parts {
        assert_eq!(part["state"] == "up", part["advice"].is_null(), "{part}");
    }
    let list = node.ask("list");
    assert_eq!(list.code, Some(1), "parts are down: {list:?}");
    let line = list.stdout.lines().find(|line| line.starts_with("drive /nonexistent/cache"));
    assert!(line.unwrap().contains("× down"), "{list:?}");

    // It serves all the same.
    let status = node.ask("status").good().stdout;
    assert!(status.starts_with("edge-1 (127.0.0.1) is ready"), "{status}");
    assert!(status.contains("3 of 6 up"), "{status}");
    for part in &parts {
        let (name, detail) = (part["name"].as_str().unwrap(), part["detail"].as_str().unwrap());
        if let Some(advice) = part["advice"].as_str() {
            assert!(
                status.contains(&format!("{name}: {detail}\n      {advice}\n")),
                "{name}: {status}"
            );
        }
    }
    let json = node.ask("status --json").good().json();
    assert_eq!((&json["name"], &json["ready"]), (&"edge-1".into(), &true.into()));
    assert_eq!(json["parts"].as_array().unwrap().len(), 6);
    assert_eq!(http::get(&node.url("/"), &[]).unwrap().status, 403);
    assert_eq!(node.admin("/healthz").text(), "ok\n");
    let ready = node.admin("/readyz");
    assert_eq!(ready.status, 200);
    let ready = ready.json();
    assert_eq!((&ready["ready"], &ready["reasons"]), (&json!(true), &json!([])));
    // What is broken is named here too.
    let warning = ready["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("drive /nonexistent/cache is offline: "), "{ready}");

    // What was entered by hand is served without any router.
    let csv = node.ask("footprint --csv").good().stdout;
    assert_eq!(csv, "prefix,source,neighbors\n20.0.0.0/23,manual,\n20.0.2.0/24,manual,\n");
    let json = node.ask("footprint --json").good().json();
    assert_eq!((&json["count"], &json["addresses"]), (&2.into(), &768.into()));
    let table = node.ask("footprint").good().stdout;
    assert!(table.ends_with("2 prefixes, 768 addresses\n"), "{table}");

    // Drained and taken back.
    node.ask("drain").good();
    assert_eq!(node.ask("status").code, Some(1));
    let ready = node.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["reasons"][0].as_str().unwrap().contains("mcc undrain"),
        "{}",
        ready.text()
    );
    let refused = http::get(&node.url("/"), &[]).unwrap();
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "60"));
    assert_eq!(node.ask("drain --json").good().json(), json!({ "draining": true }));
    assert_eq!(node.ask("undrain --json").good().json(), json!({ "draining": false }));
    assert_eq!(node.admin("/readyz").status, 200);
}

#[test]
fn a_node_without_a_good_drive_says_that_it_is_not_ready() {
    let setup = Setup::new("edge-1", Ipv4Addr::LOCALHOST, "");
    let file = setup.file().replace("path = \"drive\"", "path = \"/nonexistent/cache\"");
    let folder = tempfile::tempdir().unwrap();
    let process = Process::mcc_in(folder, &["run", "--config", "mcc.toml"], &[("mcc.toml", &file)]);
    let mut node = Node { setup, process };
    let alive = format!("http://{}/readyz", node.setup.admin);
    let ready = node.process.wait_for("answer of /readyz", |_| http::get(&alive, &[]));
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["reasons"][0].as_str().unwrap().contains("no drive is up"),
        "{}",
        ready.text()
    );
    assert_eq!(node.ask("status").code, Some(1));
}

#[test]
fn the_metrics_are_openmetrics_and_have_their_names() {
    let node = half_broken();
    assert_eq!(http::get(&node.url("/"), &[]).unwrap().status, 403);
    let miss = http::get(&node.url("/f?cacheHostOrigin=downloads.example"), &[]).unwrap();
    assert_eq!(miss.status, 502);
    let answer = node.admin("/metrics");
    assert!(
        answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0")
    );
    let samples = openmetrics(&answer.text());
    for (name, labels) in [
        ("mcc_http_requests_total", r#"{result="refused"}"#),
        ("mcc_http_egress_bytes_total", r#"{origin="downloads.example"}"#),
        ("mcc_fill_bytes_total", r#"{origin="downloads.example"}"#),
        ("mcc_cache_hit_bytes_total", ""),
        ("mcc_cache_miss_bytes_total", ""),
        ("mcc_drive_used_bytes", r#"{drive="drive"}"#),
        ("mcc_drive_up", r#"{drive="/nonexistent/cache"}"#),
        ("mcc_bgp_neighbor_up", r#"{neighbor="127.0.0.1"}"#),
        ("mcc_bgp_routes", r#"{neighbor="127.0.0.1",state="accepted"}"#),
        ("mcc_footprint_prefixes", ""),
        ("mcc_control_connected", ""),
        ("mcc_http_first_byte_seconds_count", r#"{result="hit"}"#),
        ("mcc_http_first_byte_seconds_count", r#"{result="miss"}"#),
    ] {
        assert!(
            samples.contains_key(&format!("{name}{labels}")),
            "no {name}{labels} in {samples:#?}"
        );
    }
    for (sample, value) in [
        (r#"mcc_http_requests_total{result="refused"}"#, 1.0),
        (r#"mcc_http_requests_total{result="origin_error"}"#, 1.0),
        (r#"mcc_drive_up{drive="drive"}"#, 1.0),
        (r#"mcc_drive_up{drive="/nonexistent/cache"}"#, 0.0),
        (r#"mcc_bgp_neighbor_up{neighbor="127.0.0.1"}"#, 0.0),
        ("mcc_footprint_prefixes", 2.0),
        ("mcc_control_connected", 0.0),
        ("mcc_ready", 1.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}");
    }
}

/// The samples of a page, by name and labels.
///
/// # Panics
/// What the text format of OpenMetrics 1.0 does not allow.
#[track_caller]
fn openmetrics(page: &str) -> BTreeMap<String, f64> {
    let mut families: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let mut current = "";
    let body = page.strip_suffix("# EOF\n").expect("the page must end with # EOF");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            let [kind, family, text] = words[..] else { panic!("no metadata: {line}") };
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
            if family != current {
                assert!(!families.contains_key(family), "{family} is not in one piece");
                current = family;
            }
            if kind == "TYPE" {
                assert!(families.insert(family, text).is_none(), "{line} comes twice");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let name = series.split('{').next().unwrap();
        let suffixes: &[&str] = match families.get(current) {
            Some(&"counter") => &["_total", "_created"],
            Some(&"histogram") => &["_bucket", "_sum", "_count", "_created"],
            Some(&"gauge") => &[""],
            other => panic!("{line}: type {other:?}"),
        };
        let suffix =
            name.strip_prefix(current).unwrap_or_else(|| panic!("{line} is not of {current}"));
        assert!(suffixes.contains(&suffix), "{line}: {suffix} is no suffix of its type");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{line} comes twice");
    }
    samples
}

#[test]
fn json_and_tables_tell_the_same() {
    let node = half_broken();
    let json = node.ask("bgp status --json").json();
    let keys: Vec<&str> =
        json["neighbors"][0].as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "address",
        "asn",
        "local_asn",
        "type",
        "description",
        "state",
        "uptime_seconds",
        "flaps",
        "received",
        "accepted",
        "rejected",
        "stale",
        "hold_time",
        "capabilities",
        "last_error",
    ] {
        assert!(keys.contains(&key), "no {key} in {keys:?}");
    }
    let footprint = json["footprint"].as_object().unwrap();
    for key in ["prefixes", "addresses", "advertised", "generation", "acknowledged"] {
        assert!(footprint.contains_key(key), "no {key} in {footprint:?}");
    }
    let status = node.ask("bgp status");
    assert_eq!(status.code, Some(1));
    assert!(
        status.stdout.starts_with("Router ID 127.0.0.1, 0 of 1 sessions established"),
        "{status:?}"
    );
    assert!(status.stdout.contains("Footprint: 2 prefixes, 768 addresses"), "{status:?}");
    let neighbor = node.ask("bgp neighbor 127.0.0.1");
    assert_eq!(neighbor.code, Some(1));
    let unknown = node.ask("bgp neighbor 192.0.2.1");
    assert!(unknown.stderr.contains("the configured ones are: 127.0.0.1"), "{unknown:?}");
    let routes = node.ask("bgp routes --json").good().json();
    assert_eq!(routes, json!({ "routes": [] }));
    let nothing = http::get(&format!("http://{}/v1/nothing", node.setup.admin), &[]).unwrap();
    assert_eq!(
        (nothing.status.as_u16(), nothing.header("content-type")),
        (404, "application/problem+json")
    );
    assert_ne!(nothing.json()["detail"], Value::Null);
}
