//! One download through the node, checked byte for byte.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::header::{CACHE_CONTROL, HeaderName};

use super::stage::Content;
use crate::text;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What came of a download.
pub(super) struct Download {
    status: u16,
    cache_status: String,
    length: u64,
    right: bool,
    took: Duration,
}

impl Download {
    /// Fetches `url` and compares it with `expected`.
    pub(super) async fn run(url: &str, expected: Content) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(mcc_control::tls::client(None)?)
            .build()?;
        let start = Instant::now();
        let mut response = client
            .get(url)
            // What a person's browser would send with a reload must not matter to a cache.
            .header(CACHE_CONTROL, "no-cache")
            .send()
            .await
            .with_context(|| format!("asking for {url}"))?;
        let status = response.status().as_u16();
        let cache_status = response
            .headers()
            .get(CACHE_STATUS)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("-")
            .to_owned();
        let mut expected = expected.chunks();
        let (mut length, mut right) = (0, status == 200);
        while let Some(chunk) = response.chunk().await.context("the download broke")? {
            length += chunk.len() as u64;
            right &= expected.matches(&chunk);
        }
        let right = right && expected.is_at_end();
        Ok(Self { status, cache_status, length, right, took: start.elapsed() })
    }

    pub(super) fn is_right(&self) -> bool {
        self.right
    }

    /// Whether the node says that it had the content (RFC 9211).
    pub(super) fn is_hit(&self) -> bool {
        self.cache_status.split(';').any(|parameter| parameter.trim() == "hit")
    }
}

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}  {} in {} ms, {}; Cache-Status: {}",
            self.status,
            text::bytes(self.length),
            self.took.as_millis(),
            if self.right { "every byte right" } else { "WRONG BYTES" },
            text::printable(&self.cache_status)
        )
    }
}
