//! A plain HTTP client for tests, which are not async: one runtime, one client, one call.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

use bytes::Bytes;
use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use tokio::runtime::Runtime;

/// One request after the other is enough here.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // A node signs its own certificate unless it is given one.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap()
});

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    /// A header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

/// GET with `headers`; an error is one of connection or of an answer that broke off.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Result<Response, String> {
    send(Method::GET, url, headers, Bytes::new())
}

/// POST of a JSON body.
pub(crate) fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: &serde_json::Value,
) -> Result<Response, String> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    send(Method::POST, url, &headers, Bytes::from(body.to_string()))
}

/// Any request.
pub(crate) fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Response, String> {
    let mut request = CLIENT.request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = async {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Response { status, headers, body: response.bytes().await? })
    };
    RUNTIME.block_on(answer).map_err(|error: reqwest::Error| format!("{error:?}"))
}

/// Sends `request` as it is, and reads until the other side closes.
#[track_caller]
pub(crate) fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
