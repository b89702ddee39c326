//! What an operator has fetched ahead is there for the first client, and costs the origin each byte once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::sync::Arc;

use http::StatusCode;
use mcc_cache::{FillRate, PrefillError, PrefillProgress, Prefilled, PurgeError};
use support::{Fault, HOST, Node, TestOrigin, content, settings, until};

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

async fn prefill(node: &Node, path: &str, mbps: Option<u32>) -> Result<Prefilled, PrefillError> {
    let progress = PrefillProgress::default();
    let url = format!("http://{HOST}{path}");
    let outcome = node.cache.prefill(&url, &FillRate::new(mbps), &progress).await.unwrap();
    if let Ok(prefilled) = outcome {
        assert_eq!((progress.length(), progress.done()), (prefilled.length, prefilled.length));
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prefilled_is_a_hit_and_costs_nothing_the_second_time() {
    let length = 40 * MIB + 5;
    let (_folder, origin, node) = start(&[("/f", length)]).await;
    let whole = length as u64;
    assert_eq!(prefill(&node, "/f", None).await, Ok(Prefilled { length: whole, fetched: whole }));
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
    let detail = node.cache.object(&format!("{HOST}/f")).unwrap().unwrap();
    assert_eq!((detail.summary.stored, detail.blocks, detail.stored_blocks), (whole, 41, 41));
    assert_eq!(detail.drives[0].bytes, whole);
    origin.forget_log();

    assert_eq!(prefill(&node, "/f", None).await, Ok(Prefilled { length: whole, fetched: 0 }));
    let reply = node.get("/f", &[]).await;
    assert_eq!(reply.cache_status(), "mcc-edge-1; hit");
    assert!(reply.body == content(length, length as u32));
    assert_eq!(origin.log().len(), 0, "nothing was asked");
    let counters = node.cache.counters();
    assert_eq!((counters.hit_bytes, counters.miss_bytes), (whole, 0));
    assert_eq!(counters.fill_bytes, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_missing_is_fetched() {
    let (_folder, origin, node) = start(&[("/f", 8 * MIB)]).await;
    node.get("/f", &["Range: bytes=2097152-4194303"]).await;
    node.written("/f", 2).await;
    let fetched = prefill(&node, "/f", None).await.unwrap().fetched;
    assert!(fetched <= 6 * MIB as u64, "{fetched}");
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_a_prefill_share_one_fetch() {
    let (_folder, origin, node) = start(&[("/f", 12 * MIB)]).await;
    let gate = origin.gate();
    let node = Arc::new(node);
    let asked = node.clone();
    let client = tokio::spawn(async move { asked.get("/f", &[]).await });
    until(|| !origin.log().is_empty()).await;
    gate.add_permits(100_000);
    prefill(&node, "/f", None).await.unwrap();
    assert!(client.await.unwrap().body == content(12 * MIB, 12 * MIB as u32));
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_rate_little_is_asked_for_at_once() {
    let (_folder, origin, node) = start(&[("/f", 6 * MIB)]).await;
    // Two blocks a second's worth; fast enough for a test.
    let rate = Some(2 * 8 * 1024 * 1024 / 1_000_000 + 1);
    assert_eq!(prefill(&node, "/f", rate).await.unwrap().fetched, 6 * MIB as u64);
    let log = origin.log();
    assert!(log.iter().all(|request| request.sent <= 2 * MIB), "{log:?}");
    assert!(origin.counts("/f").iter().all(|count| *count == 1), "each byte once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_told_with_the_reason() {
    let (_folder, origin, node) = start(&[("/f", MIB)]).await;
    origin.put("/huge", vec![0; 257 * MIB], "\"v1\"");
    assert_eq!(
        prefill(&node, "/none", None).await,
        Err(PrefillError::Refused(StatusCode::NOT_FOUND))
    );
    assert_eq!(
        prefill(&node, "/huge", None).await,
        Err(PrefillError::TooLarge { length: 257 << 20, room: 256 << 20 })
    );
    origin.fail(Fault { cache_control: Some("no-store"), ..Fault::default() });
    assert_eq!(prefill(&node, "/f", None).await, Err(PrefillError::Unstorable));
    let rate = FillRate::new(None);
    for (url, error) in [
        ("other.example/f", PurgeError::Origin("other.example".to_owned())),
        ("nonsense", PurgeError::Url("nonsense".to_owned())),
    ] {
        let told = node.cache.prefill(url, &rate, &PrefillProgress::default()).await;
        assert_eq!(told, Err(error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefill_that_is_dropped_stops_fetching() {
    let (_folder, origin, node) = start(&[("/f", 100 * MIB)]).await;
    let gate = origin.gate();
    let node = Arc::new(node);
    let asked = node.clone();
    let prefilling = tokio::spawn(async move { prefill(&asked, "/f", None).await });
    gate.add_permits(3 * MIB / (64 << 10));
    until(|| origin.log().iter().map(|entry| entry.sent).sum::<usize>() >= 2 * MIB).await;
    prefilling.abort();
    until(|| node.cache.status().objects_in_flight == 0).await;
    gate.add_permits(100_000);
    let sent: usize = origin.log().iter().map(|entry| entry.sent).sum();
    assert!(sent < 10 * MIB, "{sent}");
}
