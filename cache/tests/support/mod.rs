//! A real origin that can misbehave, a node in front of it, and a client that sees each byte of an answer.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

pub mod client;
pub mod origin;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mcc_cache::{Cache, CacheSettings, Limits};
use mcc_config::{ByteSize, Drive};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use client::{Reply, get};
pub use origin::{Fault, TestOrigin};

/// The host that the test origin is configured as.
pub const HOST: &str = "downloads.example";

pub struct Node {
    pub cache: Arc<Cache>,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub stop: CancellationToken,
}

pub fn settings(folder: &Path, origin: SocketAddr) -> CacheSettings {
    let drive = folder.join("drive");
    std::fs::create_dir_all(&drive).unwrap();
    CacheSettings {
        node_name: "edge-1".parse().unwrap(),
        addresses: vec![],
        data_dir: folder.join("data"),
        drives: vec![Drive { path: drive, size: ByteSize::new(256 << 20), allow_root: false }],
        keeping: mcc_config::CacheKeeping::default(),
        origins: vec![mcc_config::Origin {
            host: HOST.parse().unwrap(),
            aliases: vec!["cdn2.downloads.example".parse().unwrap()],
            connect: Some(origin),
            query_key: std::collections::BTreeSet::new(),
        }],
        certificate: None,
        max_egress_mbps: None,
        ipv6: false,
        limits: Limits { stall: Duration::from_secs(5), ..Limits::default() },
    }
}

impl Node {
    pub async fn start(settings: CacheSettings) -> Self {
        let open = || {
            let cache = Cache::open(settings).unwrap();
            assert!(cache.wait_for_drives(Duration::from_secs(60)));
            cache
        };
        let cache = tokio::task::spawn_blocking(open).await.unwrap();
        let cache = Arc::new(cache);
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, https) = (listener.local_addr().unwrap(), tls_listener.local_addr().unwrap());
        let (plain, tls) = (cache.clone(), cache.clone());
        let (stop_plain, stop_tls) = (stop.clone(), stop.clone());
        tokio::spawn(async move { plain.serve_http(listener, stop_plain).await });
        tokio::spawn(async move { tls.serve_https(tls_listener, stop_tls).await });
        Self { cache, http, https, stop }
    }

    /// Asks in the query form.
    pub async fn get(&self, path: &str, headers: &[&str]) -> Reply {
        let join = if path.contains('?') { '&' } else { '?' };
        get(self.http, &format!("{path}{join}cacheHostOrigin={HOST}"), headers).await
    }

    /// Waits until `blocks` blocks of `path` are on the drive.
    pub async fn written(&self, path: &str, blocks: u64) {
        let url = format!("{HOST}{path}");
        until(|| {
            let page = self.cache.list(&url, None, 1);
            page.objects.first().is_some_and(|o| o.stored.div_ceil(1 << 20) >= blocks)
        })
        .await;
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.cache.close(Duration::from_secs(5)).await;
    }
}

/// Content that shows when a byte is in the wrong place.
pub fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .collect()
}

/// Waits until `condition` holds; the test hangs, and is killed by its runner, when it never does.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
