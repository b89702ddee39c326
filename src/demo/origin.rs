//! The demo's origin: real files in a folder, served by range over HTTP, every request noted.

use std::io::{self, SeekFrom};
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    RANGE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the origin has been asked for so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Requests answered, and body bytes sent in answer.
    pub(super) fn read(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// A running origin.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) tally: Arc<Tally>,
}

impl Origin {
    /// Serves the files under `root` on a free loopback port until `stop`.
    pub(super) async fn start(root: PathBuf, stop: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tally = Arc::new(Tally::default());
        let noted = Arc::clone(&tally);
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            tracing::warn!(%error, "demo origin cannot accept a connection");
                            continue;
                        }
                    },
                };
                let (root, tally) = (root.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (root, tally) = (root.clone(), Arc::clone(&tally));
                        async move { answer(&root, &tally, &request).await }
                    });
                    // A client that goes away is its own business.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { address, tally })
    }
}

async fn answer(
    root: &Path,
    tally: &Tally,
    request: &Request<Incoming>,
) -> io::Result<Response<Full<Bytes>>> {
    tally.requests.fetch_add(1, Ordering::Relaxed);
    let status = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let relative = Path::new(request.uri().path().trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return status(StatusCode::NOT_FOUND);
    }
    let Ok(mut file) = File::open(root.join(relative)).await else {
        return status(StatusCode::NOT_FOUND);
    };
    let metadata = file.metadata().await?;
    let size = metadata.len();
    let modified = metadata.modified()?;
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let (code, first, last) = match range.and_then(|range| single_range(range, size)) {
        Some((first, last)) => (StatusCode::PARTIAL_CONTENT, first, last),
        None => (StatusCode::OK, 0, size.saturating_sub(1)),
    };
    let length = if size == 0 { 0 } else { last - first + 1 };
    let mut response = Response::builder()
        .status(code)
        .header(ACCEPT_RANGES, "bytes")
        .header(CACHE_CONTROL, "public, max-age=86400")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, length)
        .header(LAST_MODIFIED, http_date(modified))
        .header(ETAG, format!("\"{size:x}-{:x}\"", seconds(modified)));
    if code == StatusCode::PARTIAL_CONTENT {
        response = response.header(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
    }
    let mut body = Vec::new();
    if request.method() == Method::GET {
        file.seek(SeekFrom::Start(first)).await?;
        file.take(length).read_to_end(&mut body).await?;
        tally.bytes.fetch_add(length, Ordering::Relaxed);
    }
    response.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
}

/// `bytes=a-b` or `bytes=a-` as first and last byte, cut to `size`; anything else is no range.
fn single_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    (first < size && first <= last).then(|| (first, last.min(size - 1)))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn http_date(time: SystemTime) -> String {
    let seconds = i64::try_from(seconds(time)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or_default()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(single_range("bytes=0-9", 100), Some((0, 9)));
        assert_eq!(single_range("bytes=90-", 100), Some((90, 99)));
        assert_eq!(single_range("bytes=90-200", 100), Some((90, 99)));
        assert_eq!(single_range("bytes=100-", 100), None);
        assert_eq!(single_range("bytes=-5", 100), None);
        assert_eq!(single_range("items=0-9", 100), None);
    }

    #[test]
    fn dates_are_in_the_form_of_http() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
