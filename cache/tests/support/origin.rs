//! The origin: serves files from memory with ranges and conditions, logs what it sent, and fails on demand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Bytes that a body sends at once.
const CHUNK: usize = 64 << 10;

/// How the origin misbehaves.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// Answers 200 with everything, whatever range is asked for.
    pub ignores_ranges: bool,
    /// Breaks each of so many bodies after so many bytes.
    pub cuts: Option<(usize, usize)>,
    /// Answers every request so.
    pub status: Option<StatusCode>,
    /// Claims a range that begins a byte later than the bytes that it sends.
    pub lies_about_range: bool,
    /// Sends this as `Cache-Control`.
    pub cache_control: Option<&'static str>,
    /// Accepts and never answers.
    pub silent: bool,
    /// Refuses requests whose target contains this.
    pub refuses: Option<&'static str>,
}

/// One request as it came, and what was sent for it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub target: String,
    pub headers: HeaderMap,
    pub status: StatusCode,
    /// First byte and number of bytes of the body that were handed to the network.
    pub from: usize,
    pub sent: usize,
}

#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    etag: String,
}

#[derive(Default)]
struct State {
    files: Mutex<HashMap<String, File>>,
    fault: Mutex<Fault>,
    log: Mutex<Vec<Entry>>,
    /// Chunks may pass only with a permit, when there is a gate.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[derive(Clone)]
pub struct TestOrigin {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl TestOrigin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = served.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, state }
    }

    pub fn put(&self, path: &str, bytes: Vec<u8>, etag: &str) {
        let file = File { bytes: bytes.into(), etag: etag.to_owned() };
        self.state.files.lock().unwrap().insert(path.to_owned(), file);
    }

    pub fn fail(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// From now on each chunk of 64 KiB needs a permit of the gate.
    pub fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.state.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    pub fn log(&self) -> Vec<Entry> {
        self.state.log.lock().unwrap().clone()
    }

    pub fn forget_log(&self) {
        self.state.log.lock().unwrap().clear();
    }

    /// How often each byte of `path` was sent.
    pub fn counts(&self, path: &str) -> Vec<u32> {
        let length = self.state.files.lock().unwrap()[path].bytes.len();
        let mut counts = vec![0; length];
        for entry in self.log().iter().filter(|entry| entry.target.starts_with(path)) {
            for count in &mut counts[entry.from..entry.from + entry.sent] {
                *count += 1;
            }
        }
        counts
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>, Infallible> {
    let fault = state.fault.lock().unwrap().clone();
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    let file = state.files.lock().unwrap().get(request.uri().path()).cloned();
    let refused = fault.refuses.is_some_and(|what| target.contains(what));
    let status = fault.status.or(refused.then_some(StatusCode::FORBIDDEN));
    let entry = |status, from| Entry {
        target: target.clone(),
        headers: request.headers().clone(),
        status,
        from,
        sent: 0,
    };
    if fault.silent {
        state.log.lock().unwrap().push(entry(StatusCode::OK, 0));
        std::future::pending::<()>().await;
    }
    let plain = |status: StatusCode, text: &'static str| {
        state.log.lock().unwrap().push(entry(status, 0));
        let body = http_body_util::Full::new(Bytes::from_static(text.as_bytes()));
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = status;
        response
    };
    if let Some(status) = status {
        return Ok(plain(status, "the origin's own words"));
    }
    let Some(file) = file else { return Ok(plain(StatusCode::NOT_FOUND, "no such file")) };
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let mut response = Response::builder()
        .header(header::ETAG, &file.etag)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CACHE_CONTROL, fault.cache_control.unwrap_or("max-age=3600"));
    if text(header::IF_NONE_MATCH) == Some(file.etag.as_str()) {
        state.log.lock().unwrap().push(entry(StatusCode::NOT_MODIFIED, 0));
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        return Ok(response.status(StatusCode::NOT_MODIFIED).body(body).unwrap());
    }
    let length = file.bytes.len();
    let same = text(header::IF_RANGE).is_none_or(|condition| condition == file.etag);
    let range = text(header::RANGE).filter(|_| same && !fault.ignores_ranges).map(|range| {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let last = last.parse().unwrap_or(usize::MAX).min(length.saturating_sub(1));
        (first.parse::<usize>().unwrap(), last + 1)
    });
    let (from, to) = match range {
        Some((from, _)) if from >= length => {
            return Ok(plain(StatusCode::RANGE_NOT_SATISFIABLE, ""));
        }
        Some((from, to)) => {
            let claimed = if fault.lies_about_range { from + 1 } else { from };
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {claimed}-{}/{length}", to - 1));
            (from, to)
        }
        None => (0, length),
    };
    let number = {
        let mut log = state.log.lock().unwrap();
        log.push(entry(
            if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK },
            from,
        ));
        log.len() - 1
    };
    response = response.header(header::CONTENT_LENGTH, to - from);
    let cut = {
        let mut fault = state.fault.lock().unwrap();
        match &mut fault.cuts {
            Some((times, after)) if *times > 0 => {
                *times -= 1;
                Some(*after)
            }
            _ => None,
        }
    };
    let bytes = file.bytes.slice(from..to);
    let chunks = stream::unfold((bytes, 0), move |(mut rest, sent)| {
        let state = state.clone();
        async move {
            if rest.is_empty() {
                return None;
            }
            let gate = state.gate.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let allowed = cut.map_or(usize::MAX, |cut| cut - sent);
            if allowed == 0 {
                let error = std::io::Error::other("cut by the test");
                return Some((Err(error), (Bytes::new(), sent)));
            }
            let chunk = rest.split_to(rest.len().min(CHUNK).min(allowed));
            if let Some(entry) = state.log.lock().unwrap().get_mut(number) {
                entry.sent += chunk.len();
            }
            let sent = sent + chunk.len();
            Some((Ok(Frame::data(chunk)), (rest, sent)))
        }
    });
    Ok(response.body(StreamBody::new(chunks).boxed_unsync()).unwrap())
}
