//! Clients that read slowly, stop reading, or wait: what they cost, and what goes on behind their backs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panic")]

mod support;

use std::time::Duration;

use support::client::{parse, send};
use support::{Fault, HOST, Node, TestOrigin, content, settings, until};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;
/// More than the sockets between a node and a client take up.
const LENGTH: usize = 24 * MIB;

struct Scene {
    _folder: tempfile::TempDir,
    origin: TestOrigin,
    node: Node,
    expected: Vec<u8>,
}

async fn start(adjust: impl FnOnce(&mut mcc_cache::CacheSettings)) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    let expected = content(LENGTH, 1);
    origin.put("/f", expected.clone(), "\"v1\"");
    let mut settings = settings(folder.path(), origin.address);
    adjust(&mut settings);
    let node = Node::start(settings).await;
    Scene { _folder: folder, origin, node, expected }
}

/// A client that has read the first bytes of `/f` and no more, and what it has read.
async fn stalled(node: &Node) -> (TcpStream, Vec<u8>) {
    let mut stream = send(node.http, "GET", &format!("/f?cacheHostOrigin={HOST}"), &[]).await;
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).await.unwrap();
    (stream, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_holds_no_block_in_memory() {
    let Scene { origin, node, expected, .. } = start(|_| {}).await;
    // One fetch that the client keeps pace with, so that it is following a block in memory when it stops.
    origin.fail(Fault { ignores_ranges: true, ..Fault::default() });
    let gate = origin.gate();
    gate.add_permits(1);
    let (mut stream, mut answer) = stalled(&node).await;
    for chunk in 2..=LENGTH.div_ceil(64 << 10) as u64 {
        gate.add_permits(1);
        until(|| node.cache.counters().fill_bytes >= chunk * (64 << 10)).await;
    }
    // All that was fetched goes to the drive and out of memory.
    until(|| node.cache.counters().blocks_in_memory == 0).await;
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(parse(&answer).body == expected);
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_survives_a_purge_and_another_fetch_of_the_same_bytes() {
    let Scene { node, expected, .. } = start(|_| {}).await;
    let (mut stream, mut answer) = stalled(&node).await;
    node.cache.purge(&mcc_cache::Purge::All).unwrap();
    assert!(node.get("/f", &[]).await.is_whole());
    // What was on its way in the old name when the new one came is kept too.
    node.written("/f", 24).await;
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(parse(&answer).body == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_never_left_waiting_in_silence() {
    let patience = Duration::from_millis(200);
    let forever = Duration::from_secs(100_000);
    let Scene { origin, node, expected, .. } = start(|settings| {
        settings.limits.patience = patience;
        settings.limits.stall = forever;
        settings.limits.first_byte = forever;
    })
    .await;
    let gate = origin.gate();
    let reply = node.get("/f", &[]).await;
    assert_eq!(reply.status, 504, "before the head there is a status");
    // The origin may not have noticed yet that nobody wants the first answer: some chunks may go there.
    gate.add_permits(16);
    let reply = node.get("/f", &[]).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.is_whole() && expected.starts_with(&reply.body), "after it, a cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_any_more_loses_its_connection() {
    let Scene { node, .. } = start(|settings| {
        settings.limits.stuck_client = Duration::from_millis(500);
    })
    .await;
    let (stream, _) = stalled(&node).await;
    until(|| node.cache.counters().connections == 0).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_too_little_loses_its_connection() {
    let Scene { node, expected, .. } = start(|settings| {
        settings.limits.stuck_client = Duration::from_secs(1000);
        settings.limits.least_client_rate = 1 << 40;
        settings.limits.least_client_window = Duration::from_millis(200);
    })
    .await;
    // One miss and one hit.
    for slow in 1..=2 {
        let (mut stream, mut answer) = stalled(&node).await;
        until(|| node.cache.counters().slow_clients == slow).await;
        until(|| node.cache.counters().connections == 0).await;
        // What is left of the answer is thrown away with the connection.
        assert!(stream.read_to_end(&mut answer).await.is_err());
        let reply = parse(&answer);
        assert!(!reply.is_whole() && expected.starts_with(&reply.body));
        until(|| node.cache.status().objects_in_flight == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_answers_run_than_the_egress_limit_can_feed() {
    let Scene { node, .. } = start(|settings| settings.max_egress_mbps = Some(2)).await;
    let first = stalled(&node).await;
    let second = stalled(&node).await;
    let refused = node.get("/f", &["Range: bytes=0-9"]).await;
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("60")));
    drop(first);
    until(|| node.cache.counters().connections == 1).await;
    let reply = node.get("/f", &["Range: bytes=0-9"]).await;
    assert!(reply.status == 206 && reply.is_whole());
    drop(second);
}
