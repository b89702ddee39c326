//! What clients get: both forms, ranges, conditions, hits after misses, refusals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use support::client::request;
use support::{Fault, HOST, Node, TestOrigin, content, get, settings};

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

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_name_the_same_object() {
    let (_folder, origin, node) = start(&[("/f", 3 * MIB + 17)]).await;
    let expected = content(3 * MIB + 17, (3 * MIB + 17) as u32);
    let query = node.get("/f?P1=1&P4=%2fx", &[]).await;
    assert_eq!((query.status, query.cache_status()), (200, "mcc-edge-1; fwd=miss; stored"));
    assert!(query.body == expected && query.is_whole());
    assert_eq!(query.field("ETag"), None, "Title-Case is Etag");
    for name in ["Etag", "Content-Type", "Cache-Control", "Accept-Ranges", "Age", "Date", "Via"] {
        assert!(query.field(name).is_some(), "{name} in {}", query.head);
    }
    node.written("/f", 4).await;
    let host = get(node.http, "/f?P1=2", &[&format!("Host: {HOST}")]).await;
    assert_eq!((host.status, host.cache_status()), (200, "mcc-edge-1; hit"));
    assert!(host.body == expected);
    let alias = get(node.http, "/f?cacheHostOrigin=cdn2.downloads.example", &[]).await;
    assert!(alias.body == expected);
    let counts = origin.counts("/f");
    assert!(counts.iter().all(|count| *count == 1), "each byte once");
    let first = &origin.log()[0];
    assert_eq!(first.target, "/f?P1=1&P4=%2fx", "the original query, byte for byte");
    assert_eq!(first.headers["host"], HOST);
    assert_eq!(first.headers["via"], "1.1 mcc-edge-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_exact_on_misses_and_on_hits() {
    let length = 5 * MIB + 1000;
    let (_folder, origin, node) = start(&[("/f", length)]).await;
    let expected = content(length, length as u32);
    for pass in 0..2 {
        for (range, from, to) in [
            ("bytes=0-1048575", 0, MIB),
            ("bytes=1048576-2097151", MIB, 2 * MIB),
            ("bytes=1000000-1100000", 1_000_000, 1_100_001),
            ("bytes=5242879-5242880", 5 * MIB - 1, 5 * MIB + 1),
            ("bytes=3145728-", 3 * MIB, length),
            ("bytes=-1500", length - 1500, length),
            ("bytes=5000000-99999999", 5_000_000, length),
        ] {
            let reply = node.get("/f", &[&format!("Range: {range}")]).await;
            assert_eq!(reply.status, 206, "{range}");
            let content_range = format!("bytes {from}-{}/{length}", to - 1);
            assert_eq!(reply.field("Content-Range"), Some(content_range.as_str()));
            assert!(reply.is_whole() && reply.body == expected[from..to], "{range}, pass {pass}");
        }
        node.written("/f", 6).await;
    }
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
    let past = node.get("/f", &[&format!("Range: bytes={length}-")]).await;
    let total = format!("bytes */{length}");
    assert_eq!((past.status, past.field("Content-Range")), (416, Some(total.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_stacked_range_lines_is_answered() {
    let (_folder, _origin, node) = start(&[("/f", 2 * MIB)]).await;
    let stacked = ["Range: bytes=0-2097151", "Range: bytes=100-2097151", "Range: bytes=9000-9009"];
    let reply = node.get("/f", &stacked).await;
    assert_eq!(reply.status, 206);
    assert!(reply.body == content(2 * MIB, 2 * MIB as u32)[9000..9010]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mebibyte_of_a_large_object_costs_one_block() {
    let (_folder, origin, node) = start(&[("/f", 40 * MIB)]).await;
    node.get("/f", &["Range: bytes=20971520-22020095"]).await;
    let sent: usize = origin.log().iter().map(|entry| entry.sent).sum();
    assert_eq!(sent, MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_come_as_multipart() {
    let (_folder, _origin, node) = start(&[("/f", 3 * MIB)]).await;
    let expected = content(3 * MIB, 3 * MIB as u32);
    let reply = node.get("/f", &["Range: bytes=10-19,2097140-2097159,-5"]).await;
    assert_eq!(reply.status, 206);
    let kind = reply.field("Content-Type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert!(reply.is_whole());
    let mut rest = reply.body.as_slice();
    for (from, to) in [(10, 20), (2_097_140, 2_097_160), (3 * MIB - 5, 3 * MIB)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {from}-{}/{}\r\n\r\n",
            to - 1,
            3 * MIB
        );
        rest = rest.strip_prefix(head.as_bytes()).unwrap();
        rest = rest.strip_prefix(&expected[from..to]).unwrap();
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_head() {
    let (_folder, _origin, node) = start(&[("/f", 1000)]).await;
    assert_eq!(node.get("/f", &["If-None-Match: \"v1\""]).await.status, 304);
    assert_eq!(node.get("/f", &["If-Match: \"v2\""]).await.status, 412);
    let same = node.get("/f", &["Range: bytes=0-9", "If-Range: \"v1\""]).await;
    assert_eq!((same.status, same.body.len()), (206, 10));
    let other = node.get("/f", &["Range: bytes=0-9", "If-Range: \"v2\""]).await;
    assert_eq!((other.status, other.body.len()), (200, 1000));
    let target = format!("/f?cacheHostOrigin={HOST}");
    let head = request(node.http, "HEAD", &target, &["Range: bytes=0-9"]).await;
    assert_eq!(
        (head.status, head.field("Content-Length"), head.body.len()),
        (200, Some("1000"), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_an_unknown_object_costs_no_content() {
    let (_folder, origin, node) = start(&[("/f", MIB)]).await;
    let target = format!("/f?cacheHostOrigin={HOST}");
    let head = request(node.http, "HEAD", &target, &[]).await;
    let length = MIB.to_string();
    assert_eq!((head.status, head.field("Content-Length")), (200, Some(length.as_str())));
    assert_eq!(origin.log().iter().map(|entry| entry.sent).sum::<usize>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_objects_are_content_too() {
    let (_folder, _origin, node) = start(&[("/empty", 0)]).await;
    for _ in 0..2 {
        let reply = node.get("/empty", &[]).await;
        assert_eq!((reply.status, reply.field("Content-Length")), (200, Some("0")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_right_status() {
    let (_folder, origin, node) = start(&[]).await;
    let target = format!("/f?cacheHostOrigin={HOST}");
    for (method, target, headers, status) in [
        ("GET", "/f?cacheHostOrigin=example.com", vec![], 403),
        ("GET", "/f", vec![], 403),
        ("GET", "/f?cacheHostOrigin=127.0.0.1", vec![], 400),
        ("GET", "/f?cacheHostOrigin=localhost", vec![], 403),
        ("POST", &target, vec![], 405),
        ("OPTIONS", &target, vec![], 405),
        ("GET", "http://downloads.example/f", vec![], 400),
        ("GET", &target, vec!["Via: 1.1 mcc-edge-1"], 508),
        ("GET", &target, vec!["Transfer-Encoding: chunked", "Content-Length: 4"], 400),
        ("GET", &target, vec!["X: 1", " folded"], 400),
    ] {
        let reply = request(node.http, method, target, &headers).await;
        assert_eq!(reply.status, status, "{method} {target} {headers:?}");
        assert!(reply.is_whole());
        if status == 405 {
            assert_eq!(reply.field("Allow"), Some("GET, HEAD"));
        }
    }
    assert!(origin.log().is_empty(), "nothing of it reached the origin");
    assert_eq!(node.get("/missing", &[]).await.status, 404, "the origin's own word");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_answers_503_at_once() {
    let (_folder, _origin, node) = start(&[("/f", 1000)]).await;
    node.cache.drain(true);
    let reply = node.get("/f", &[]).await;
    assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("60")));
    node.cache.drain(false);
    assert_eq!(node.get("/f", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_told_503() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    origin.put("/f", content(1000, 1), "\"v1\"");
    let mut settings = settings(folder.path(), origin.address);
    settings.limits.connections = 1;
    let node = Node::start(settings).await;
    let held = tokio::net::TcpStream::connect(node.http).await.unwrap();
    support::until(|| node.cache.counters().connections == 1).await;
    assert_eq!(node.get("/f", &[]).await.status, 503);
    drop(held);
    support::until(|| node.cache.counters().connections == 0).await;
    assert_eq!(node.get("/f", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    let expected = content(3 * MIB, 5);
    origin.put("/f", expected.clone(), "\"v1\"");
    let node = Node::start(settings(folder.path(), origin.address)).await;
    assert!(node.get("/f", &[]).await.body == expected);
    node.written("/f", 3).await;
    node.close().await;
    origin.fail(Fault { silent: true, ..Fault::default() });
    let node = Node::start(settings(folder.path(), origin.address)).await;
    let reply = node.get("/f", &[]).await;
    assert_eq!(reply.cache_status(), "mcc-edge-1; hit");
    assert!(reply.body == expected);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_object_is_fetched_again() {
    let (_folder, origin, node) = start(&[("/f", MIB)]).await;
    node.get("/f", &[]).await;
    node.written("/f", 1).await;
    let url = format!("http://{HOST}/f?P1=ignored");
    let purged = node.cache.purge(&mcc_cache::Purge::Url(url)).unwrap();
    assert_eq!((purged.objects, purged.bytes), (1, MIB as u64));
    assert!(node.get("/f", &[]).await.is_whole());
    assert!(origin.counts("/f").iter().all(|count| *count == 2));
    assert!(node.cache.purge(&mcc_cache::Purge::Origin("example.com".to_owned())).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_stored_is_passed_through() {
    let (_folder, origin, node) = start(&[("/f", 3 * MIB)]).await;
    origin.fail(Fault { cache_control: Some("no-store"), ..Fault::default() });
    let expected = content(3 * MIB, 3 * MIB as u32);
    for _ in 0..2 {
        let reply = node.get("/f", &[]).await;
        assert_eq!((reply.status, reply.cache_status()), (200, "mcc-edge-1; fwd=bypass"));
        assert!(reply.is_whole() && reply.body == expected);
        let reply = node.get("/f", &["Range: bytes=0-1", "Range: bytes=2000000-2000009"]).await;
        assert_eq!((reply.status, reply.cache_status()), (206, "mcc-edge-1; fwd=bypass"));
        assert!(reply.body == expected[2_000_000..2_000_010]);
    }
    assert_eq!(node.cache.status().store.blocks, 0);
}

/// A client that resumes appends a 200 to what it has, and takes the result for the file.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_through_is_cut_to_the_range_when_the_origin_does_not() {
    let (_folder, origin, node) = start(&[("/f", 3 * MIB)]).await;
    let fault = Fault { cache_control: Some("no-store"), ignores_ranges: true, ..Fault::default() };
    origin.fail(fault.clone());
    let expected = content(3 * MIB, 3 * MIB as u32);
    for (range, from, to) in [
        ("bytes=0-1", 0, 2),
        ("bytes=2000000-2000009", 2_000_000, 2_000_010),
        ("bytes=2000000-", 2_000_000, 3 * MIB),
        ("bytes=-5", 3 * MIB - 5, 3 * MIB),
        ("bytes=10-20,2000000-2000009", 10, 2_000_010),
    ] {
        let reply = node.get("/f", &[&format!("Range: {range}")]).await;
        assert_eq!(reply.status, 206, "{range}");
        let told = format!("bytes {from}-{}/{}", to - 1, 3 * MIB);
        assert_eq!(reply.field("Content-Range"), Some(told.as_str()));
        assert!(reply.is_whole() && reply.body == expected[from..to], "{range}");
    }
    let reply = node.get("/f", &["Range: bytes=9000000-"]).await;
    assert_eq!((reply.status, reply.field("Content-Range")), (416, Some("bytes */3145728")));
    assert!(reply.is_whole() && reply.body.is_empty());
    let other_version = ["Range: bytes=5-", "If-Range: \"v0\""];
    let reply = node.get("/f", &other_version).await;
    assert_eq!(reply.status, 200, "this client has asked for all of a changed file");
    assert!(reply.is_whole() && reply.body == expected);
    origin.fail(Fault { hides_length: true, ..fault });
    let reply = node.get("/f", &["Range: bytes=5-9"]).await;
    assert_eq!(reply.status, 502, "no Content-Range can be told");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_content_is_confirmed_and_served_when_the_origin_is_down() {
    let (_folder, origin, node) = start(&[("/f", 2 * MIB)]).await;
    origin.fail(Fault { cache_control: Some("max-age=0"), ..Fault::default() });
    let expected = content(2 * MIB, 2 * MIB as u32);
    assert!(node.get("/f", &[]).await.body == expected);
    node.written("/f", 2).await;
    let reply = node.get("/f", &[]).await;
    assert_eq!(reply.cache_status(), "mcc-edge-1; fwd=stale; fwd-status=304");
    assert!(reply.body == expected);
    origin.fail(Fault { status: Some(http::StatusCode::BAD_GATEWAY), ..Fault::default() });
    let reply = node.get("/f", &[]).await;
    assert_eq!(reply.cache_status(), "mcc-edge-1; hit; detail=stale");
    assert!(reply.body == expected);
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_status_tells_what_was_not_there() {
    let (folder, origin, node) = start(&[("/f", 3 * MIB), ("/g", 1000)]).await;
    node.get("/f", &["Range: bytes=0-1048575"]).await;
    node.written("/f", 1).await;
    let whole = node.get("/f", &[]).await;
    assert_eq!(whole.cache_status(), "mcc-edge-1; fwd=partial; stored");
    assert!(whole.is_whole());
    let mut settings = settings(folder.path(), origin.address);
    settings.drives.clear();
    let without_drive = Node::start(settings).await;
    assert_eq!(without_drive.get("/g", &[]).await.cache_status(), "mcc-edge-1; fwd=miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_true_per_byte() {
    let (_folder, _origin, node) = start(&[("/f", 2 * MIB)]).await;
    node.get("/f", &[]).await;
    node.written("/f", 2).await;
    node.get("/f", &["Range: bytes=100-199"]).await;
    let counters = node.cache.counters();
    let by_origin = &counters.origins[0];
    assert_eq!(by_origin.origin, HOST);
    assert_eq!((counters.miss_bytes, counters.hit_bytes), (2 * MIB as u64, 100));
    assert_eq!(by_origin.egress_bytes, 2 * MIB as u64 + 100);
    assert_eq!((counters.fill_bytes, by_origin.fill_bytes), (2 * MIB as u64, 2 * MIB as u64));
    let ratio = node.cache.status().byte_hit_ratio.unwrap();
    assert!((ratio - 100.0 / (2.0 * MIB as f64 + 100.0)).abs() < 1e-9, "{ratio}");
    assert!(counters.requests.contains(&("hit", 1)) && counters.requests.contains(&("miss", 1)));
    assert_eq!((counters.first_byte_hit.count, counters.first_byte_miss.count), (1, 1));
}
