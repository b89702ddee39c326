//! Bytes are counted as hits and misses by whether they had to be fetched, not by the way they took.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panic")]

mod support;

use support::{Node, TestOrigin, content, settings, until};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
const LENGTH: u64 = 20 * MIB + 5;

async fn start() -> (tempfile::TempDir, TestOrigin, Node) {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    origin.put("/f", content(LENGTH as usize, 1), "\"v1\"");
    let node = Node::start(settings(folder.path(), origin.address)).await;
    (folder, origin, node)
}

/// Misses, hits and fill, in bytes, when nothing is under way any more.
async fn counts(node: &Node) -> [u64; 3] {
    until(|| node.cache.status().objects_in_flight == 0).await;
    let counters = node.cache.counters();
    assert_eq!(counters.pass_bytes, 0);
    assert_eq!(counters.miss_bytes + counters.hit_bytes, counters.origins[0].egress_bytes);
    [counters.miss_bytes, counters.hit_bytes, counters.fill_bytes]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_download_is_all_misses_and_the_second_all_hits() {
    let (_folder, _origin, node) = start().await;
    assert!(node.get("/f", &[]).await.is_whole());
    assert_eq!(counts(&node).await, [LENGTH, 0, LENGTH]);
    assert_eq!(node.cache.status().byte_hit_ratio, Some(0.0));
    assert!(node.get("/f", &[]).await.is_whole());
    assert_eq!(counts(&node).await, [LENGTH, LENGTH, LENGTH]);
    assert_eq!(node.cache.status().byte_hit_ratio, Some(0.5));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_at_once_make_one_miss() {
    let (_folder, origin, node) = start().await;
    let gate = origin.gate();
    let node = std::sync::Arc::new(node);
    let mut clients = JoinSet::new();
    for _ in 0..2 {
        let node = node.clone();
        clients.spawn(async move { assert!(node.get("/f", &[]).await.is_whole()) });
    }
    until(|| node.cache.counters().connections == 2).await;
    gate.add_permits(10_000);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(counts(&node).await, [LENGTH, LENGTH, LENGTH]);
}

/// As the Windows client does: each piece is a request of its own, and read ahead by the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_fetched_in_pieces_is_all_misses() {
    let (_folder, _origin, node) = start().await;
    let piece = 600_000;
    for from in (0..LENGTH).step_by(piece as usize) {
        let range = format!("Range: bytes={from}-{}", from + piece - 1);
        assert!(node.get("/f", &[&range]).await.is_whole());
    }
    assert_eq!(counts(&node).await, [LENGTH, 0, LENGTH]);
}

/// A block is the least that is fetched: its bytes pay for as many sent ones, the same ones or others.
#[tokio::test(flavor = "multi_thread")]
async fn savings_are_never_overstated() {
    let (_folder, _origin, node) = start().await;
    let middle_of_two_blocks = format!("Range: bytes={}-{}", MIB / 2, 3 * MIB / 2 - 1);
    let expected = [[MIB, 0, 2 * MIB], [2 * MIB, 0, 2 * MIB], [2 * MIB, MIB, 2 * MIB]];
    for (request, expected) in expected.into_iter().enumerate() {
        assert!(node.get("/f", &[&middle_of_two_blocks]).await.is_whole());
        assert_eq!(counts(&node).await, expected, "request {request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_is_stored_is_a_hit() {
    let (folder, origin, node) = start().await;
    assert!(node.get("/f", &["Range: bytes=0-999"]).await.is_whole());
    node.written("/f", 1).await;
    node.close().await;
    let node = Node::start(settings(folder.path(), origin.address)).await;
    assert!(node.get("/f", &["Range: bytes=0-1048575"]).await.is_whole());
    let [miss, hit, _] = counts(&node).await;
    assert_eq!([miss, hit], [0, MIB]);
}
