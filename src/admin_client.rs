//! Asks a running node over its admin address.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mcc_config::NodeConfig;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cli::Common;
use crate::commands::{DEFAULT_NODE_CONFIG, WrongUse};

/// The time that a stream may take. There is no way to ask for none.
const NO_END: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer that has begun may take.
const WHOLE_ANSWER: Duration = Duration::from_secs(60);
/// How long what waits for a drive may take.
const SLOW: Duration = Duration::from_secs(120);
/// After this long a person wants to know what is waited for.
const SAY_SO: Duration = Duration::from_secs(5);

/// A client of one node's admin API.
pub(crate) struct AdminClient {
    base: String,
    http: reqwest::Client,
    /// How long an answer may be waited for once the request is there.
    timeout: Duration,
}

/// What the API says when it says no (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    title: String,
    #[serde(default)]
    detail: Option<String>,
}

impl AdminClient {
    /// The node that `--admin` names, else the one that the configuration file describes. Without
    /// either it is the one on the default address.
    pub(crate) fn new(common: &Common) -> Result<Self> {
        let base = match (&common.admin, &common.config) {
            (Some(url), _) => url.as_str().to_owned(),
            (None, Some(file)) => from_config(file)?,
            (None, None) if Path::new(DEFAULT_NODE_CONFIG).exists() => {
                from_config(Path::new(DEFAULT_NODE_CONFIG))?
            }
            (None, None) => format!("http://{}", mcc_config::Admin::default().listen),
        };
        Self::at(&base, Duration::from_secs(common.timeout))
    }

    /// The node whose admin API is at `base`, such as `http://127.0.0.1:5000`.
    pub(crate) fn at(base: &str, timeout: Duration) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT.min(timeout))
            .timeout(WHOLE_ANSWER.max(timeout))
            .no_proxy()
            .tls_backend_preconfigured(mcc_control::tls::client(None)?)
            .build()?;
        Ok(Self { base: base.to_owned(), http, timeout })
    }

    /// `GET path` as a value.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.get_with(path, &()).await
    }

    /// `GET path?query` as a value.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl serde::Serialize,
    ) -> Result<T> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query);
        let response = self.send(request, self.timeout).await?;
        let url = response.url().to_string();
        response.json().await.with_context(|| {
            format!("{url} answered something that is not from this version of mcc")
        })
    }

    /// `GET path?query` as bytes that come as long as there are any.
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &impl serde::Serialize,
    ) -> Result<Response> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query);
        self.send(request.timeout(NO_END), self.timeout).await
    }

    /// `POST path`, for what it does.
    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(request, self.timeout).await.map(|_| ())
    }

    /// `POST path`, for what it answers.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.http.post(format!("{}{path}", self.base));
        Ok(self.send(request, self.timeout).await?.json().await?)
    }

    /// `POST path` with a JSON body, for what it answers.
    pub(crate) async fn tell<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        // What waits for a drive may take a minute.
        let patience = SLOW.max(self.timeout);
        let sent = self.send(request.timeout(patience + WHOLE_ANSWER), patience);
        Ok(sent.await?.json().await?)
    }

    /// `POST path` with a JSON body, for lines of JSON that come as long as there are any.
    pub(crate) async fn tell_for_events(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Events> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let response = self.send(request.timeout(NO_END), self.timeout).await?;
        Ok(Events { response, buffer: Vec::new() })
    }

    /// Waits for the head of the answer. A node that takes the connection and then says nothing is told
    /// apart from one that is not there.
    async fn send(&self, request: RequestBuilder, patience: Duration) -> Result<Response> {
        let sent = request.send();
        tokio::pin!(sent);
        let first = timeout(patience.min(SAY_SO), &mut sent).await;
        let sent = match first {
            Ok(sent) => Ok(sent),
            Err(_) if patience > SAY_SO => {
                eprintln!(
                    "mcc: connected to {}, but no answer for {} s; waiting for {} s at most",
                    self.base,
                    SAY_SO.as_secs(),
                    patience.as_secs()
                );
                timeout(patience - SAY_SO, &mut sent).await
            }
            Err(elapsed) => Err(elapsed),
        };
        let Ok(sent) = sent else {
            bail!(
                "connected to {}, but no answer within {} s: the node hangs or is overloaded, or it is \
                 no node that listens there; `--timeout SECONDS` waits for longer",
                self.base,
                patience.as_secs()
            );
        };
        self.checked(sent).await
    }

    async fn checked(&self, sent: reqwest::Result<Response>) -> Result<Response> {
        let response = sent.map_err(|error| {
            if error.is_connect() && !is_of_tls(&error) {
                anyhow!(
                    "no node answers at {}: is `mcc run` running there? `--admin URL` asks elsewhere",
                    self.base
                )
            } else {
                anyhow!(error).context(format!("asking {}", self.base))
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let why = match response.json::<Problem>().await {
            Ok(Problem { title, detail }) => detail.unwrap_or(title),
            Err(_) => format!("{} answered {status}", self.base),
        };
        if status == StatusCode::BAD_REQUEST {
            return Err(WrongUse(why).into());
        }
        bail!(why)
    }
}

/// Whether TLS finds something wrong with the server: then there is one.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    // What an I/O error is made of is not its source.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>()
        || inner.is_some_and(|inner| is_of_tls(inner))
        || error.source().is_some_and(is_of_tls)
}

/// Lines of JSON that come while something goes on in the node. Dropped, they have it stopped.
pub(crate) struct Events {
    response: Response,
    buffer: Vec<u8>,
}

impl Events {
    /// The next one; `None` when the node has ended them. Dropped while it waits, it loses none.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event = serde_json::from_slice(&line);
                return Ok(Some(
                    event
                        .context("the node told something that is not from this version of mcc")?,
                ));
            }
            match self.response.chunk().await.context("the node has broken it off")? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

fn from_config(file: &Path) -> Result<String> {
    let mut listen = NodeConfig::load(file)?.admin.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("http://{listen}"))
}
