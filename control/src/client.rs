//! The control plane's client: what nodes, the command line and the demo call it with.
//!
//! One [`Client`] keeps its connections alive and is cheap to clone. TLS is rustls with the ring
//! provider handed in explicitly, so no process-wide default is needed. Plain `http://` goes to
//! loopback addresses only: tokens never travel in the clear.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use mcc_config::{NodeName, Secret};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::api::problem::Problem;
use crate::api::types::{
    Acknowledgement, Enrolment, Explanation, Heartbeat, HeartbeatAnswer, LeftOut, Node,
    NodeConfiguration, NodeList, NodePatch, NodeSettings, Register, Registered, SteerAnswer,
};
use crate::feed;
use crate::tls::{self, TlsError};

/// A connection that is not there after this long is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A request that is not answered after this long is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A heartbeat that is not answered after this long is given up: another one, on a connection that
/// is not stuck, must have its chance before the node counts as silent.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest reply that is read, in bytes.
const REPLY_LIMIT: usize = 64 << 20;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The URL leads nowhere.
    #[error(
        "`{url}` is no URL of a control plane: {why}; write `https://host:port`, or `http://` and a loopback address"
    )]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate authorities cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be built.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(reqwest::Error),
    /// No answer: nobody listens, the connection broke, or it took too long.
    #[error("the control plane does not answer: {}", chain(.0))]
    NoAnswer(reqwest::Error),
    /// The control plane says no.
    #[error("the control plane refuses ({}): {}", .0.status, .0.detail)]
    Refused(Problem),
    /// The reply is not what this version expects.
    #[error("the reply of the control plane ({status}) cannot be read: {why}")]
    Reply {
        /// The HTTP status.
        status: u16,
        /// What is wrong.
        why: String,
    },
}

impl ClientError {
    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Reply { status, .. } => Some(*status),
            Self::Url { .. } | Self::Tls(_) | Self::Setup(_) | Self::NoAnswer(_) => None,
        }
    }
}

/// The answer to "which node serves this client".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steered {
    /// This one.
    Node(SteerAnswer),
    /// None: the client goes to the CDN. If it was asked for, who would have come into question.
    Nobody(Option<Explanation>),
}

impl Steered {
    /// The node, if there is one.
    #[must_use]
    pub fn node(self) -> Option<SteerAnswer> {
        match self {
            Self::Node(answer) => Some(answer),
            Self::Nobody(_) => None,
        }
    }
}

/// What came of an advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// For [`feed::Advertiser::answer`].
    pub answer: feed::Answer,
    /// What the control plane holds now and does not steer by.
    pub left_out: Option<LeftOut>,
}

/// The causes of an error. reqwest's own words stop before the one that matters, and name the path,
/// which differs from call to call while the cause is the same.
fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

/// Calls one control plane.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

impl Client {
    /// A client of the control plane at `url`. `ca_file` (PEM) is trusted beside the certificate
    /// authorities of the system: it holds the certificate of a control plane that signed its own.
    ///
    /// # Errors
    /// When the URL is none, or `http://` to a host that is no loopback address; when `ca_file`
    /// cannot be read.
    pub fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::Url { url: url.to_owned(), why: why.to_owned() };
        let base = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if base.query().is_some() || base.fragment().is_some() || base.path() != "/" {
            return Err(wrong("it must end after host and port"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("user and password have no place in it"));
        }
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("mcc/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls::client(ca_file)?);
        let builder = match base.scheme() {
            "https" => builder.https_only(true),
            // A proxy from the environment would take the request off this machine.
            "http" if is_loopback(&base) => builder.no_proxy(),
            "http" => return Err(wrong("plain HTTP would show the token to the network")),
            _ => return Err(wrong("the scheme must be https")),
        };
        Ok(Self { http: builder.build().map_err(ClientError::Setup)?, base, token: None })
    }

    /// The same client with a bearer token.
    #[must_use]
    pub fn with_token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// Turns an enrolment key into a node's token. The key is used up.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 401 when the key is not known, was used, or has expired.
    pub async fn register(&self, key: Secret) -> Result<Registered, ClientError> {
        self.send(self.post(&["v1", "node", "register"]).json(&Register { key })).await
    }

    /// Tells how the node is; learns what to do next.
    ///
    /// # Errors
    /// See [`ClientError`]; 410 when the node was deleted.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ClientError> {
        let request = self.post(&["v1", "node", "heartbeat"]).timeout(HEARTBEAT_TIMEOUT);
        self.send(request.json(heartbeat)).await
    }

    /// The node's settings, or `None` when generation `known` is still the newest.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn configuration(
        &self,
        known: Option<u64>,
    ) -> Result<Option<NodeConfiguration>, ClientError> {
        let mut request = self.request(Method::GET, &["v1", "node", "config"]);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, format!("\"{known}\""));
        }
        let response = request.send().await.map_err(ClientError::NoAnswer)?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        read(response).await.map(Some)
    }

    /// Sends an advertisement: what [`feed::Advertiser::poll`] returned. The answer goes back into
    /// [`feed::Advertiser::answer`], a failure into [`feed::Advertiser::failed`].
    ///
    /// # Errors
    /// [`feed::Failure`] when there was no answer to act on.
    pub async fn advertise(&self, request: &feed::Request) -> Result<Advertised, feed::Failure> {
        let unreachable = |error: String| feed::Failure::Unreachable(error);
        let is_snapshot = request.is_snapshot();
        let request = request.clone();
        let bytes = tokio::task::spawn_blocking(move || request.body())
            .await
            .map_err(|error| unreachable(error.to_string()))?
            .map_err(|error| unreachable(error.to_string()))?;
        let method = if is_snapshot { Method::PUT } else { Method::POST };
        let response = self
            .request(method, &["v1", "node", "routes"])
            .header(CONTENT_TYPE, feed::MEDIA_TYPE)
            .header(CONTENT_ENCODING, "zstd")
            .body(bytes)
            .send()
            .await
            .map_err(|error| unreachable(ClientError::NoAnswer(error).to_string()))?;
        match read(response).await {
            Ok(Acknowledgement { position, left_out }) => {
                Ok(Advertised { answer: feed::Answer::Ok(position), left_out })
            }
            Err(ClientError::Refused(problem)) => {
                Ok(Advertised { answer: answer_of(problem)?, left_out: None })
            }
            Err(error) => Err(unreachable(error.to_string())),
        }
    }

    /// Creates a node.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: 400 for impossible settings, 409 when another node has the name,
    /// the address or a CIDR block.
    pub async fn create_node(&self, settings: &NodeSettings) -> Result<Node, ClientError> {
        self.send(self.post(&["v1", "nodes"]).json(settings)).await
    }

    /// All nodes, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        let list: NodeList = self.send(self.request(Method::GET, &["v1", "nodes"])).await?;
        Ok(list.nodes)
    }

    /// One node.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn node(&self, name: &NodeName) -> Result<Node, ClientError> {
        self.send(self.request(Method::GET, &["v1", "nodes", name.as_str()])).await
    }

    /// Changes a node's settings.
    ///
    /// # Errors
    /// See [`Client::create_node`].
    pub async fn change_node(
        &self,
        name: &NodeName,
        patch: &NodePatch,
    ) -> Result<Node, ClientError> {
        let request = self.request(Method::PATCH, &["v1", "nodes", name.as_str()]);
        self.send(request.json(patch)).await
    }

    /// Deletes a node. Its program is told so at its next call.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn delete_node(&self, name: &NodeName) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &["v1", "nodes", name.as_str()]);
        let response = request.send().await.map_err(ClientError::NoAnswer)?;
        if response.status().is_success() { Ok(()) } else { Err(refusal(response).await) }
    }

    /// Sends a node no new clients.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn drain(&self, name: &NodeName) -> Result<Node, ClientError> {
        self.send(self.post(&["v1", "nodes", name.as_str(), "drain"])).await
    }

    /// Sends a node new clients again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn undrain(&self, name: &NodeName) -> Result<Node, ClientError> {
        self.send(self.post(&["v1", "nodes", name.as_str(), "undrain"])).await
    }

    /// Switches a node on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn enable(&self, name: &NodeName) -> Result<Node, ClientError> {
        self.send(self.post(&["v1", "nodes", name.as_str(), "enable"])).await
    }

    /// Switches a node off.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn disable(&self, name: &NodeName) -> Result<Node, ClientError> {
        self.send(self.post(&["v1", "nodes", name.as_str(), "disable"])).await
    }

    /// A new enrolment key for a node. Keys that were not used yet no longer work.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 404 when there is none of that name.
    pub async fn create_enrolment(&self, name: &NodeName) -> Result<Enrolment, ClientError> {
        self.send(self.post(&["v1", "nodes", name.as_str(), "enrolment"])).await
    }

    /// Which node serves `client`. With `explain` the answer carries all candidates and why the
    /// others lost.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn steer(
        &self,
        client: IpAddr,
        host: Option<&str>,
        explain: bool,
    ) -> Result<Steered, ClientError> {
        let mut request = self
            .request(Method::GET, &["v1", "steer"])
            .query(&[("client", client.to_string()), ("explain", explain.to_string())]);
        if let Some(host) = host {
            request = request.query(&[("host", host)]);
        }
        match self.send(request).await {
            Ok(answer) => Ok(Steered::Node(answer)),
            // A server that knows no such path answers 404 too, but repeats no client.
            Err(ClientError::Refused(problem))
                if problem.status == 404 && problem.members.contains_key("client") =>
            {
                let explanation = problem.members.get("explanation").cloned();
                let explanation = explanation.and_then(|value| serde_json::from_value(value).ok());
                Ok(Steered::Nobody(explanation))
            }
            Err(error) => Err(error),
        }
    }

    fn post(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("/{}", path.join("/")));
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        read(request.send().await.map_err(ClientError::NoAnswer)?).await
    }
}

fn is_loopback(url: &Url) -> bool {
    // Url keeps the brackets of an IPv6 address.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The body of a good reply; anything else is a refusal.
async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(response).await);
    }
    let body = body(response).await?;
    serde_json::from_slice(&body)
        .map_err(|error| ClientError::Reply { status: status.as_u16(), why: error.to_string() })
}

/// The problem that a reply tells of. A proxy in between answers in its own words: then the status
/// has to do.
async fn refusal(response: Response) -> ClientError {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let body = match body(response).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let problem = serde_json::from_slice(&body).unwrap_or_else(|_| {
        Problem::new(status, "the answer is not from a control plane: is a proxy in between?")
    });
    ClientError::Refused(Problem { status: status.as_u16(), retry_after, ..problem })
}

/// What a refused advertisement means for the one who sent it.
fn answer_of(problem: Problem) -> Result<feed::Answer, feed::Failure> {
    match problem.status {
        401 => Err(feed::Failure::Refused(feed::Refusal::Unauthorized)),
        403 => Err(feed::Failure::Refused(feed::Refusal::Forbidden)),
        410 => Err(feed::Failure::Refused(feed::Refusal::Gone)),
        409 => {
            let held = problem.members.get("held").cloned();
            Ok(feed::Answer::Resync(held.and_then(|held| serde_json::from_value(held).ok())))
        }
        400 | 413 => Ok(feed::Answer::Invalid {
            line: problem.members.get("line").and_then(Value::as_u64).unwrap_or(0),
            reason: match problem.members.get("reason") {
                Some(Value::String(reason)) => reason.clone(),
                _ => problem.detail,
            },
            too_large: problem.status == 413,
        }),
        429 | 500.. => {
            let retry_after = problem.retry_after.map(|s| Duration::from_secs(u64::from(s)));
            Err(feed::Failure::Busy { retry_after })
        }
        _ => Err(feed::Failure::Unreachable(ClientError::Refused(problem).to_string())),
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ClientError::NoAnswer)? {
        if body.len() + chunk.len() > REPLY_LIMIT {
            let why = format!("it is longer than {REPLY_LIMIT} bytes");
            return Err(ClientError::Reply { status, why });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_over_tls_or_not_at_all() {
        for url in ["http://127.0.0.1:8443", "http://[::1]:1/", "http://localhost:80"] {
            assert!(Client::new(url, None).is_ok(), "{url}");
        }
        for (url, why) in [
            ("http://192.0.2.1:8443", "plain HTTP would show the token to the network"),
            ("http://localhost.example", "plain HTTP would show the token to the network"),
            ("ftp://127.0.0.1", "the scheme must be https"),
            ("http://127.0.0.1/v1", "it must end after host and port"),
            ("http://127.0.0.1?x", "it must end after host and port"),
            ("http://me:pw@127.0.0.1", "user and password have no place in it"),
            ("127.0.0.1:8443", "relative URL without a base"),
        ] {
            let error = Client::new(url, None).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
