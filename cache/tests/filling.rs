//! What the origin sees, and what happens when it misbehaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use support::client::{parse, send};
use support::{Fault, HOST, Node, TestOrigin, content, get, settings, until};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

async fn start(files: &[(&str, usize)]) -> (tempfile::TempDir, TestOrigin, Node) {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    for (path, length) in files {
        origin.put(path, content(*length, *length as u32), "\"v1\"");
    }
    let node = Node::start(settings(folder.path(), origin.address)).await;
    (folder, origin, node)
}

fn target(path: &str) -> String {
    format!("{path}?cacheHostOrigin={HOST}")
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_cost_the_origin_each_byte_once() {
    let length = 12 * MIB + 5;
    let (_folder, origin, node) = start(&[("/f", length)]).await;
    let expected = Arc::new(content(length, length as u32));
    let gate = origin.gate();
    let mut clients = JoinSet::new();
    for i in 0..50_usize {
        let (address, expected) = (node.http, expected.clone());
        clients.spawn(async move {
            // Some want everything, some a part that begins elsewhere.
            let from = if i % 3 == 0 { 0 } else { i * 200_000 };
            let range = format!("Range: bytes={from}-");
            let reply = get(address, &target("/f"), &[&range]).await;
            assert_eq!(reply.status, 206);
            assert!(reply.is_whole() && reply.body == expected[from..], "client {i}");
        });
    }
    until(|| node.cache.counters().connections == 50).await;
    gate.add_permits(100_000);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
    let counters = node.cache.counters();
    assert_eq!(counters.fill_bytes, length as u64);
    assert!(counters.requests.iter().any(|(name, n)| *name == "collapsed" && *n > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_out_as_they_come_in() {
    let (_folder, origin, node) = start(&[("/f", 2 * MIB)]).await;
    let gate = origin.gate();
    gate.add_permits(1);
    let mut stream = send(node.http, "GET", &target("/f"), &[]).await;
    let mut answer = vec![0; 60_000];
    // Only 64 KiB have left the origin, and the node has sent a head and most of them.
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).field("Content-Length"), Some("2097152"));
    assert_eq!(origin.log()[0].sent, 64 << 10);
    gate.add_permits(1000);
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(parse(&answer).body == content(2 * MIB, 2 * MIB as u32));
}

/// Gets `/f`; the origin goes on, and may break, only after its first bytes have come through.
async fn get_past_the_head(origin: &TestOrigin, node: &Node) -> support::Reply {
    let gate = origin.gate();
    gate.add_permits(2);
    let mut stream = send(node.http, "GET", &target("/f"), &[]).await;
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).await.unwrap();
    gate.add_permits(10_000);
    let _ = stream.read_to_end(&mut answer).await;
    parse(&answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_fill_resumes_at_the_byte_reached() {
    let (_folder, origin, node) = start(&[("/f", 3 * MIB)]).await;
    origin.fail(Fault { cuts: Some((1, 1_500_000)), ..Fault::default() });
    let reply = get_past_the_head(&origin, &node).await;
    assert!(reply.is_whole() && reply.body == content(3 * MIB, 3 * MIB as u32));
    let log = origin.log();
    let resumed = log.last().unwrap();
    assert_eq!((log.len(), &resumed.headers["if-range"]), (2, &"\"v1\"".parse().unwrap()));
    // What was on its way when the connection broke may come again, nothing else.
    assert!(resumed.from > 0 && resumed.from <= 1_500_000, "{}", resumed.from);
    assert_eq!(node.cache.counters().fill_bytes, 3 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_breaks_twice_cuts_the_client() {
    let (_folder, origin, node) = start(&[("/f", 3 * MIB)]).await;
    // Both in the first block: a client that comes to a later one would have it fetched anew.
    origin.fail(Fault { cuts: Some((2, 300_000)), ..Fault::default() });
    let reply = get_past_the_head(&origin, &node).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.is_whole(), "a cut must show");
    assert!(content(3 * MIB, 3 * MIB as u32).starts_with(&reply.body));
    origin.fail(Fault::default());
    assert!(node.get("/f", &[]).await.is_whole(), "and the next one is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_before_the_head_have_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    origin.put("/f", content(2 * MIB, 1), "\"v1\"");
    let mut settings = settings(folder.path(), origin.address);
    settings.limits.first_byte = Duration::from_millis(300);
    let unreachable = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let origin_named = |host: &str, connect| mcc_config::Origin {
        host: host.parse().unwrap(),
        aliases: vec![],
        connect,
        query_key: std::collections::BTreeSet::new(),
    };
    settings.origins.push(origin_named("gone.example", Some(unreachable)));
    settings.origins.push(origin_named("localhost", None));
    let node = Node::start(settings).await;
    assert_eq!(get(node.http, "/f?cacheHostOrigin=gone.example", &[]).await.status, 502);
    let guarded = get(node.http, "/f?cacheHostOrigin=localhost", &[]).await;
    assert_eq!(guarded.status, 502, "a name must not lead to the node's own network");
    origin.fail(Fault { silent: true, ..Fault::default() });
    assert_eq!(node.get("/f", &[]).await.status, 504);
    origin.fail(Fault { lies_about_range: true, ..Fault::default() });
    assert_eq!(node.get("/f", &[]).await.status, 502);
    let status = node.cache.status();
    let of = |name: &str| status.origins.iter().find(|o| o.origin == name).unwrap();
    assert!(of("gone.example").last_error.as_ref().unwrap().text.contains("cannot connect"));
    assert!(of("localhost").last_error.as_ref().unwrap().text.contains("loopback"));
    origin.fail(Fault::default());
    assert_eq!(node.get("/f", &[]).await.status, 200);
    let status = node.cache.status();
    let of = |name: &str| status.origins.iter().find(|o| o.origin == name).unwrap();
    assert!(of(HOST).last_error.is_none(), "it has answered since");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_never_mixed() {
    let (_folder, origin, node) = start(&[("/f", 4 * MIB)]).await;
    let old = content(4 * MIB, 4 * MIB as u32);
    node.get("/f", &["Range: bytes=0-1048575"]).await;
    node.written("/f", 1).await;
    let new = content(4 * MIB, 77);
    origin.put("/f", new.clone(), "\"v2\"");
    let reply = node.get("/f", &[]).await;
    assert!(!reply.is_whole() && old.starts_with(&reply.body), "the old one cannot be finished");
    let reply = node.get("/f", &[]).await;
    assert!(reply.is_whole() && reply.body == new && reply.field("Etag") == Some("\"v2\""));
    assert_eq!(node.cache.counters().new_versions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_ignores_ranges_is_read_once() {
    let length = 6 * MIB + 99;
    let (_folder, origin, node) = start(&[("/f", length)]).await;
    let expected = content(length, length as u32);
    origin.fail(Fault { ignores_ranges: true, ..Fault::default() });
    let gate = origin.gate();
    let address = node.http;
    let part = tokio::spawn(async move {
        get(address, &target("/f"), &["Range: bytes=5000000-5000099"]).await
    });
    let whole = tokio::spawn(async move { get(address, &target("/f"), &[]).await });
    until(|| node.cache.counters().connections == 2).await;
    gate.add_permits(10_000);
    let (part, whole) = (part.await.unwrap(), whole.await.unwrap());
    assert_eq!((part.status, part.body.as_slice()), (206, &expected[5_000_000..5_000_100]));
    assert!(whole.is_whole() && whole.body == expected);
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_slower_than_the_network_gets_everything_in_the_end() {
    // Nearly twice of what fits into the drive's queue.
    let length = 120 * MIB;
    let (_folder, origin, node) = start(&[("/f", length)]).await;
    assert!(node.get("/f", &[]).await.is_whole());
    node.written("/f", 120).await;
    assert_eq!(node.cache.counters().not_stored_blocks, 0);
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_nobody_waits_for_stops() {
    let (_folder, origin, node) = start(&[("/f", 64 * MIB)]).await;
    let gate = origin.gate();
    gate.add_permits(2);
    let mut stream = send(node.http, "GET", &target("/f"), &[]).await;
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    drop(stream);
    until(|| node.cache.counters().connections == 0).await;
    until(|| node.cache.counters().fills_in_flight == 0).await;
    until(|| node.cache.status().objects_in_flight == 0).await;
    assert_eq!(node.cache.counters().blocks_in_memory, 0);
    assert_eq!(node.cache.status().store.blocks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_more_than_half_done_is_finished() {
    let (_folder, origin, node) = start(&[("/f", 64 * MIB)]).await;
    let gate = origin.gate();
    gate.add_permits(12);
    let mut stream = send(node.http, "GET", &target("/f"), &[]).await;
    stream.read_exact(&mut vec![0; 12 * 65_536]).await.unwrap();
    drop(stream);
    until(|| node.cache.counters().connections == 0).await;
    gate.add_permits(1000);
    until(|| node.cache.status().objects_in_flight == 0).await;
    assert_eq!(node.cache.status().store.blocks, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_goes_on_for_those_who_wait() {
    let (_folder, origin, node) = start(&[("/f", 3 * MIB)]).await;
    let gate = origin.gate();
    gate.add_permits(1);
    let mut first = send(node.http, "GET", &target("/f"), &[]).await;
    first.read_exact(&mut [0; 1000]).await.unwrap();
    let mut second = send(node.http, "GET", &target("/f"), &[]).await;
    let mut answer = vec![0; 1000];
    second.read_exact(&mut answer).await.unwrap();
    drop(first);
    until(|| node.cache.counters().connections == 1).await;
    gate.add_permits(1000);
    second.read_to_end(&mut answer).await.unwrap();
    assert!(parse(&answer).body == content(3 * MIB, 3 * MIB as u32));
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_signature_harms_only_its_own_client() {
    let (_folder, origin, node) = start(&[("/f", MIB)]).await;
    origin.fail(Fault { refuses: Some("P4=bad"), ..Fault::default() });
    let address = node.http;
    let mut clients = JoinSet::new();
    for i in 0..20 {
        clients.spawn(async move {
            let signature = if i % 2 == 0 { "bad" } else { "good" };
            let target = format!("/f?P4={signature}&cacheHostOrigin={HOST}");
            (signature, get(address, &target, &[]).await.status)
        });
    }
    while let Some(client) = clients.join_next().await {
        let (signature, status) = client.unwrap();
        // A bad signature may still be served what the cache has already.
        assert!(status == 200 || (signature == "bad" && status == 403), "{signature} {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origins_error_is_passed_on_and_not_kept() {
    let (_folder, origin, node) = start(&[("/f", 1000)]).await;
    origin.fail(Fault { status: Some(StatusCode::SERVICE_UNAVAILABLE), ..Fault::default() });
    let reply = node.get("/f", &[]).await;
    assert_eq!((reply.status, reply.body.as_slice()), (503, b"the origin's own words".as_slice()));
    origin.fail(Fault::default());
    assert_eq!(node.get("/f", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_lets_a_download_finish_and_turns_others_away() {
    let (_folder, origin, node) = start(&[("/f", 2 * MIB)]).await;
    let gate = origin.gate();
    gate.add_permits(1);
    let mut stream = send(node.http, "GET", &target("/f"), &[]).await;
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).await.unwrap();
    let cache = node.cache.clone();
    let closing = tokio::spawn(async move { cache.close(Duration::from_secs(30)).await });
    until(|| node.cache.is_draining()).await;
    // Clients ban a node that refuses connections, but not one that says 503.
    let turned_away = get(node.http, &target("/f"), &[]).await;
    assert_eq!((turned_away.status, turned_away.field("Retry-After")), (503, Some("60")));
    gate.add_permits(1000);
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(parse(&answer).is_whole());
    closing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_breaks_what_is_left_at_the_deadline() {
    let (_folder, origin, node) = start(&[("/f", 2 * MIB)]).await;
    let gate = origin.gate();
    gate.add_permits(1);
    let mut stream = send(node.http, "GET", &target("/f"), &[]).await;
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).await.unwrap();
    node.cache.close(Duration::from_millis(50)).await;
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!parse(&answer).is_whole());
    drop(gate);
}

/// Any mix of ranges, purges and version-keeping failures yields the origin's bytes.
#[tokio::test(flavor = "multi_thread")]
async fn many_mixed_requests_get_the_origins_bytes() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    let length = 9 * MIB + 4321;
    let (_folder, origin, node) = start(&[("/f", length)]).await;
    let expected = Arc::new(content(length, length as u32));
    let node = Arc::new(node);
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (node, origin, expected) = (node.clone(), origin.clone(), expected.clone());
        clients.spawn(async move {
            let mut random = StdRng::seed_from_u64(client);
            for _ in 0..25 {
                match random.random_range(0..20) {
                    0 => drop(node.cache.purge(&mcc_cache::Purge::All)),
                    1 => origin.fail(Fault { cuts: Some((1, 700_000)), ..Fault::default() }),
                    _ => {}
                }
                let from = random.random_range(0..length);
                let to = random.random_range(from..length.min(from + 4 * MIB)) + 1;
                let range = format!("Range: bytes={from}-{}", to - 1);
                let reply = node.get("/f", &[&range]).await;
                // Two cuts in a row may end a download before or after its head; what came is right.
                if reply.status == 502 {
                    continue;
                }
                assert_eq!(reply.status, 206, "{range}");
                let wrong = expected[from..to].iter().zip(&reply.body).position(|(a, b)| a != b);
                assert_eq!(wrong, None, "{range}: {} bytes, {}", reply.body.len(), reply.head);
                assert_eq!(reply.is_whole(), reply.body.len() == to - from);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}
