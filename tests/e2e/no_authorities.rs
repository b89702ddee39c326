//! A machine without certificate authorities, as Debian is before `ca-certificates` is installed.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::support::computed_origin::{ComputedOrigin, Download, download};
use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::process::Process;

const MCC: &str = env!("CARGO_BIN_EXE_mcc");
const NOWHERE: [(&str, &str); 2] =
    [("SSL_CERT_FILE", "/nonexistent/cert.pem"), ("SSL_CERT_DIR", "/nonexistent")];

/// A node that runs there.
#[track_caller]
fn start(setup: Setup) -> Node {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("drive")).unwrap();
    let variables = NOWHERE.map(|(name, value)| format!("{name}={value}"));
    let args: Vec<&str> = variables.iter().map(String::as_str).collect();
    let args = [&args[..], &[MCC, "run", "--config", "mcc.toml"]].concat();
    let files = [("mcc.toml", setup.file()), ("node.token", "mcc_1\n".to_owned())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut process = Process::start("env", folder, &args, &files);
    let alive = format!("http://{}/healthz", setup.admin);
    process.wait_for("answer of /healthz", |_| http::get(&alive, &[]));
    Node { setup, process }
}

/// What a command says there: standard output and error.
fn mcc(args: &[&str]) -> (String, String) {
    let output = Command::new(MCC).args(args).envs(NOWHERE).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn only_who_speaks_tls_needs_certificate_authorities() {
    let origin = ComputedOrigin::start();
    let other = Setup::new("other", Ipv4Addr::LOCALHOST, "").start();
    let control = format!("https://{}", other.setup.https);
    let rest = format!(
        "{}\n[control]\nurl = \"{control}\"\ntoken_file = \"node.token\"\n",
        origin.section()
    );
    let node = start(Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest));
    let admin = format!("http://{}", node.setup.admin);

    for command in [&["bgp", "status"][..], &["bgp", "errors"], &["footprint"], &["cache", "ls"]] {
        let (stdout, stderr) = mcc(&[command, &["--admin", &admin]].concat());
        assert!(!stdout.is_empty() && stderr.is_empty(), "{command:?}: {stdout}{stderr}");
    }
    let version = origin.renew("/served-100000");
    let served = download(node.setup.http, "/served-100000", None, version);
    assert!(matches!(served, Download::Whole { .. }), "{served:?}");

    // Who must compare a certificate says what is missing, and how to get it.
    let way_out = "install the package `ca-certificates`";
    let file = node.process.folder().join("new.token");
    let file = file.to_str().unwrap();
    let (_, stderr) = mcc(&["enrol", "--url", &control, "--key", "any", "--token-file", file]);
    assert!(stderr.contains(way_out), "{stderr}");
    let (_, stderr) = mcc(&["bgp", "status", "--admin", &control]);
    assert!(stderr.contains(way_out), "{stderr}");
    node.wait_for("the node's own word", "status", |status| {
        let parts = status["parts"].as_array()?.iter();
        let mut details = parts.filter_map(|part| part["detail"].as_str());
        details.find(|detail| detail.contains(way_out)).map(str::to_owned)
    });
}
