//! The HTTP client towards origins: pooled connections, our connector, exact bytes in the request line.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio::time::timeout;

use super::Origins;
use super::connect::{ConnectError, OriginConnector};
use crate::request::Target;

/// How long an idle connection is kept: origins commonly close theirs after 60 s or more.
const IDLE: Duration = Duration::from_secs(45);
const MAX_IDLE_PER_HOST: usize = 16;

/// Why an origin gave no answer, or not the one that was needed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OriginFailure {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The head of the answer, or the next bytes of its body, took too long.
    #[error("the origin sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("the connection to the origin broke: {0}")]
    Broken(String),
    /// The answer contradicts itself or the request.
    #[error("the origin's answer cannot be right: {0}")]
    Nonsense(&'static str),
    /// The origin refused a part of an object that it had served before.
    #[error("the origin answered {0}")]
    Status(StatusCode),
    /// The object is another one now.
    #[error("the object has changed at the origin")]
    Changed,
}

impl OriginFailure {
    /// What a client is told when its own head is not sent yet. The origin's 4xx are its own words and
    /// passed on; all else is 502 or 504, never a 4xx of ours.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Status(status) if status.is_client_error() => *status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Asks origins.
pub(crate) struct OriginClient {
    client: Client<OriginConnector, Empty<Bytes>>,
    via: HeaderValue,
    first_byte: Duration,
}

impl OriginClient {
    /// `via` goes into each request; `first_byte` is how long an origin may take to answer.
    pub(crate) fn new(
        origins: Arc<Origins>,
        ipv6: bool,
        via: HeaderValue,
        first_byte: Duration,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .http1_title_case_headers(true)
            .build(OriginConnector { origins, ipv6 });
        Self { client, via, first_byte }
    }

    /// Sends one request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`OriginFailure::Connect`], [`OriginFailure::Silent`] or [`OriginFailure::Broken`].
    pub(crate) async fn fetch(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, OriginFailure> {
        let answer = self.send(method, target, headers).await;
        match &answer {
            Ok(_) => target.origin.answered(),
            Err(failure) => target.origin.failed(failure),
        }
        answer
    }

    async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, OriginFailure> {
        let unusable = |_| OriginFailure::Nonsense("the request cannot be written as a URL");
        let uri = Uri::builder()
            .scheme("http")
            .authority(target.host.as_str())
            .path_and_query(target.path_and_query.clone())
            .build()
            .map_err(unusable)?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(target.host.as_str())
            .map_err(|_| OriginFailure::Nonsense("the host name cannot be sent"))?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().append(header::VIA, self.via.clone());
        // Stored bytes are the origin's own: no coding on the way.
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match timeout(self.first_byte, self.client.request(request)).await {
            Err(_) => Err(OriginFailure::Silent(self.first_byte)),
            Ok(Err(error)) => Err(classify(&error)),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

/// The connector's own error if there is one in the chain, else the innermost words.
fn classify(error: &hyper_util::client::legacy::Error) -> OriginFailure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(connect) = cause.downcast_ref::<ConnectError>() {
            return OriginFailure::Connect(connect.clone());
        }
        text = cause.to_string();
        source = cause.source();
    }
    OriginFailure::Broken(text)
}
