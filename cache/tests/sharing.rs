//! Clients that download the same at the same time, on a drive that is too small to keep it for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::sync::Arc;

use mcc_config::ByteSize;
use support::client::{parse, send};
use support::{HOST, Node, TestOrigin, content, settings, until};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

/// A node with a drive of 64 MiB, full of other content.
async fn full_node(origin: &TestOrigin, folder: &std::path::Path) -> Node {
    let mut settings = settings(folder, origin.address);
    settings.drives[0].size = ByteSize::new(64 << 20);
    let node = Node::start(settings).await;
    for n in 0..10 {
        let path = format!("/other/{n}");
        origin.put(&path, content(8 * MIB, n), "\"v1\"");
        assert!(node.get(&path, &[]).await.is_whole());
    }
    until(|| node.cache.status().objects_in_flight == 0).await;
    origin.forget_log();
    node
}

/// Downloads `path`, and does not run further ahead of the others than a few MiB.
async fn keep_pace(
    node: std::net::SocketAddr,
    path: String,
    expected: Arc<Vec<u8>>,
    pace: Arc<Barrier>,
) {
    let target = format!("{path}?cacheHostOrigin={HOST}");
    let mut stream = send(node, "GET", &target, &[]).await;
    let (mut answer, mut step) = (Vec::new(), vec![0; 4 * MIB]);
    loop {
        let mut taken = 0;
        while taken < step.len() {
            let n = stream.read(&mut step[taken..]).await.unwrap();
            if n == 0 {
                break;
            }
            taken += n;
        }
        answer.extend_from_slice(&step[..taken]);
        pace.wait().await;
        if taken < step.len() {
            break;
        }
    }
    let reply = parse(&answer);
    assert!(reply.is_whole() && reply.body == *expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_keep_pace_cost_the_origin_one_copy() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), TestOrigin::start().await);
    let node = full_node(&origin, folder.path()).await;
    // Half of what the drive holds, and more than it holds.
    for (length, clients) in [(32 * MIB, 2), (80 * MIB, 3)] {
        let path = format!("/big/{length}");
        let expected = Arc::new(content(length, 3));
        origin.put(&path, expected.to_vec(), "\"v1\"");
        let pace = Arc::new(Barrier::new(clients));
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(keep_pace(node.http, path.clone(), expected.clone(), pace.clone()));
        }
        while let Some(client) = running.join_next().await {
            client.unwrap();
        }
        assert!(origin.counts(&path).iter().all(|count| *count == 1), "{path}: each byte once");
        until(|| node.cache.status().objects_in_flight == 0).await;
    }
    assert!(node.cache.counters().blocks_in_memory == 0, "nothing is held without readers");
}
