//! How a node stops: downloads that run come to their end, nothing new begins.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use crate::support::containers::Network;
use crate::support::node::{Node, Setup};
use crate::support::origin::{HOST, Origin};
use crate::support::wait::wait_for;

/// More than the sockets between a node and a client hold.
const SIZE: u64 = 40_000_000;

/// A download of which the client has taken the first bytes only.
struct Download {
    stream: TcpStream,
    taken: Vec<u8>,
}

impl Download {
    #[track_caller]
    fn begin(node: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(node).unwrap();
        let request = format!("GET {path}?cacheHostOrigin={HOST} HTTP/1.1\r\nHost: {node}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut taken = vec![0; 65536];
        stream.read_exact(&mut taken).unwrap();
        assert!(taken.starts_with(b"HTTP/1.1 200 OK\r\n"));
        Self { stream, taken }
    }

    /// Takes the rest, until the node closes the connection. Gives the length and SHA-256 of the body.
    #[track_caller]
    fn end(mut self) -> (u64, String) {
        let end = self.taken.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        self.stream.read_to_end(&mut self.taken).unwrap();
        let body = &self.taken[end..];
        let sum = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        (body.len() as u64, sum)
    }
}

fn stage(network: &Network) -> (Origin, Node, String) {
    let origin = Origin::start(network, 2);
    let sum = origin.make_file("/fresh/f.bin", SIZE);
    let node = Setup::new("edge-1", network.host(), &origin.section()).start();
    (origin, node, sum)
}

/// SIGTERM; then waits until new clients are told to go elsewhere. They get a 503, never a refused
/// connection: for that a client bans the node.
#[track_caller]
fn begin_to_stop(node: &Node) {
    node.process.signal(Signal::TERM);
    let address = node.setup.http;
    wait_for("503 for new clients", || {
        let mut stream = TcpStream::connect(address).expect("a node that stops still answers");
        let request =
            format!("GET /fresh/f.bin?cacheHostOrigin={HOST} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 13];
        // The signal may come between the connection and the answer: then there is none.
        match stream.read_exact(&mut status) {
            Ok(()) if status == *b"HTTP/1.1 503 " => Ok(()),
            outcome => Err(format!("{outcome:?} {:?}", String::from_utf8_lossy(&status))),
        }
    });
}

#[test]
fn a_running_download_comes_to_its_right_end() {
    let Some(network) = Network::create() else { return };
    let (_origin, mut node, sum) = stage(&network);
    let address = node.setup.http;
    let download = Download::begin(address, "/fresh/f.bin");
    // Connections that ask for nothing must not hold up the end.
    let silent = TcpStream::connect(address).unwrap();
    let silent_tls = TcpStream::connect(node.setup.https).unwrap();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET /fresh/f.bin HTTP/1.1\r\n").unwrap();
    let mut kept = TcpStream::connect(address).unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n").unwrap();
    kept.read_exact(&mut [0; 12]).unwrap();

    begin_to_stop(&node);
    let status = node.ask("status");
    assert_eq!(status.code, Some(1), "a node that stops is not ready: {status:?}");
    assert!(status.stdout.contains("draining"), "{status:?}");
    for (name, mut stream) in
        [("silent", silent), ("silent TLS", silent_tls), ("half a head", half), ("kept", kept)]
    {
        // Less than clients are given for a head, far more than closing takes.
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        let timed_out = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!timed_out, "{name}: still open");
    }

    assert_eq!(download.end(), (SIZE, sum));
    let status = node.process.wait();
    assert!(status.success(), "{status}");
    let log = node.process.log();
    assert!(!log.contains("connections broken"), "the end was waited for: {log}");
}

#[test]
fn a_second_signal_ends_the_node_at_once() {
    let Some(network) = Network::create() else { return };
    let (_origin, mut node, _) = stage(&network);
    let mut download = Download::begin(node.setup.http, "/fresh/f.bin");
    begin_to_stop(&node);
    node.process.signal(Signal::INT);
    let status = node.process.wait();
    assert!(status.success(), "{status}");
    let log = node.process.log();
    assert!(log.contains("stopped at once: a second signal came"), "{log}");

    // The client can see that it has not got all.
    let mut rest = Vec::new();
    let _ = download.stream.read_to_end(&mut rest);
    assert!(((download.taken.len() + rest.len()) as u64) < SIZE);
}
