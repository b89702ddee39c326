//! What a node does, and says, when clients come for more than it has.

use std::net::{Ipv4Addr, TcpStream};

use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::wait::wait_for;

fn warnings(node: &Node) -> String {
    let ready = node.admin("/readyz").json();
    assert_eq!(ready["ready"], true, "{ready}");
    ready["warnings"].to_string()
}

#[test]
fn the_limit_of_connections_is_a_setting_and_told_when_it_is_reached() {
    let limits = "[cache.limits]\nconnections = 3\n";
    let node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, limits).start();
    assert_eq!(warnings(&node), "[]");
    let idle: Vec<_> = (0..3).map(|_| TcpStream::connect(node.setup.http).unwrap()).collect();
    node.wait_for("3 connections", "cache status", |cache| {
        (cache["connections"] == 3 && cache["connection_limit"] == 3).then_some(())
    });
    let refused = http::get(&node.url("/"), &[]).unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("too many connections"), "{}", refused.text());
    let told = warnings(&node);
    for words in ["limit of 3 client connections was reached", "1 were refused", "[cache.limits]"] {
        assert!(told.contains(words), "{told}");
    }
    let status = node.ask("status").good().stdout;
    assert!(status.contains("clients: the limit of 3 client connections was reached"), "{status}");
    let metrics = node.admin("/metrics").text();
    assert!(metrics.contains("mcc_http_refused_connections_total 1"), "{metrics}");
    drop(idle);
    wait_for("an answer", || {
        let answer = http::get(&node.url("/"), &[])?;
        if answer.status == 403 { Ok(()) } else { Err(answer.text()) }
    });
}

#[test]
fn files_that_are_used_up_are_told() {
    let mut node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, "").start();
    assert_eq!(warnings(&node), "[]");
    // Fewer than it has open: from now on it can open none.
    let before = node.process.limit_files(10);
    let waiting = TcpStream::connect(node.setup.http).unwrap();
    node.process.wait_for_log("cannot accept connections");
    node.process.limit_files(before);
    let told = warnings(&node);
    for words in ["open files were in use", "clients had to wait", "LimitNOFILE"] {
        assert!(told.contains(words), "{told}");
    }
    let status = node.ask("status").good().stdout;
    assert!(status.contains("clients: all "), "{status}");
    drop(waiting);
}
