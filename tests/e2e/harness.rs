//! The harness itself: what the other tests lean on must hold.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::support::containers::{Image, Network};
use crate::support::process::Process;
use crate::support::{http, ports};

/// BIRD and GoBGP hold a session with each other, and each counts what the other announces.
#[test]
fn routers_in_containers_exchange_routes() {
    let Some(network) = Network::create() else { return };
    let (bird_at, gobgp_at) = (network.address(2), network.address(3));
    let routes: String = (0..200).map(|i| format!("route 100.64.{i}.0/24 blackhole;\n")).collect();
    let bird = network.start(
        Image::Bird,
        2,
        &format!(
            "log stderr all;
             router id {bird_at};
             protocol device {{}}
             protocol static clients {{ ipv4; {routes} }}
             protocol bgp peer {{
                 local {bird_at} as 65100;
                 neighbor {gobgp_at} as 65101;
                 connect delay time 1;
                 connect retry time 1;
                 ipv4 {{ import all; export where proto = \"clients\"; }};
             }}"
        ),
    );
    let gobgp = network.start(
        Image::GoBgp,
        3,
        &format!(
            "[global.config]
             as = 65101
             router-id = \"{gobgp_at}\"
             [[neighbors]]
             [neighbors.config]
             neighbor-address = \"{bird_at}\"
             peer-as = 65100
             [neighbors.timers.config]
             connect-retry = 1"
        ),
    );
    bird.wait_for("session at BIRD", "show protocols peer", |answer| {
        answer.contains("Established").then_some(())
    });
    gobgp.wait_for("200 routes at GoBGP", "global rib summary", |answer| {
        answer.contains("Destination: 200").then_some(())
    });
    for i in 0..3 {
        gobgp.ask(&format!("global rib add 198.18.{i}.0/24")).unwrap();
    }
    bird.wait_for("3 routes at BIRD", "show route protocol peer count", |answer| {
        answer.contains("3 of 203 routes").then_some(())
    });

    // A killed router comes back at its address.
    bird.kill();
    gobgp.wait_for("no session at GoBGP", "neighbor", |answer| {
        (!answer.contains("Establ")).then_some(())
    });
    bird.start_again();
    bird.wait_for("session again at BIRD", "show protocols peer", |answer| {
        answer.contains("Established").then_some(())
    });
}

/// A wrong configuration fails the test at once, with the router's log, not at the deadline.
#[test]
fn a_router_that_ends_early_fails_the_test_at_once() {
    let Some(network) = Network::create() else { return };
    let wait = || {
        let bird = network.start(Image::Bird, 2, "no such word;");
        bird.wait_for("anything", "show status", |_| Some(()));
    };
    let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait)).unwrap_err();
    let message = failure.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("Bird has ended before anything: "), "{message}");
}

/// A process in a container reaches this host on the network's first address, as routers must.
#[test]
fn a_container_connects_to_this_host() {
    let Some(network) = Network::create() else { return };
    let bird = network.start(
        Image::Bird,
        2,
        &format!("router id {}; protocol device {{}}", network.address(2)),
    );
    let listener = TcpListener::bind(ports::free_port_at(network.host())).unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = network.host();
    bird.exec(&["bash", "-c", &format!("echo hello >/dev/tcp/{host}/{port}")]).unwrap();
    let (mut stream, peer) = listener.accept().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), peer.ip()), ("hello\n", bird.address().into()));
}

#[test]
fn a_process_is_stopped_in_order() {
    let mut process = Process::start(
        "sh",
        tempfile::tempdir().unwrap(),
        &["-c", "trap 'kill $!; echo bye; exit 7' TERM; sleep 600 & cat name; wait"],
        &[("name", "edge-1\n")],
    );
    assert_eq!(process.wait_for_log("edge"), "edge-1");
    let stopped = process.stop();
    assert_eq!((stopped.status.code(), stopped.log.as_str()), (Some(7), "edge-1\nbye\n"));
}

#[test]
#[should_panic(expected = "has ended (exit status: 3) before `ready` in the log")]
fn a_process_that_ends_early_fails_the_test_at_once() {
    let folder = tempfile::tempdir().unwrap();
    Process::start("sh", folder, &["-c", "exit 3"], &[]).wait_for_log("ready");
}

#[test]
fn http_answers_come_whole_or_not_at_all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for answer in [
            "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Length: 2\r\nX-A: b\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
            assert!(head.starts_with("get /a http/1.1\r\n") && head.contains("range: bytes=0-1"));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let first = http::get(&url, &[("Range", "bytes=0-1")]).unwrap();
    assert_eq!((first.status.as_u16(), first.header("x-a")), (206, "b"));
    assert_eq!(first.json(), serde_json::json!({}));
    assert!(http::get(&url, &[("Range", "bytes=0-1")]).is_err());
    server.join().unwrap();
}
