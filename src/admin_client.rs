//! Asks a running node over its admin address.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mcc_config::NodeConfig;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cli::Common;
use crate::commands::{DEFAULT_NODE_CONFIG, WrongUse};

/// The time that a stream may take. There is no way to ask for none.
const NO_END: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A client of one node's admin API.
pub(crate) struct AdminClient {
    base: String,
    http: reqwest::Client,
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
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(file)) => from_config(file)?,
            (None, None) if Path::new(DEFAULT_NODE_CONFIG).exists() => {
                from_config(Path::new(DEFAULT_NODE_CONFIG))?
            }
            (None, None) => format!("http://{}", mcc_config::Admin::default().listen),
        };
        Self::at(&base)
    }

    /// The node whose admin API is at `base`, such as `http://127.0.0.1:5000`.
    pub(crate) fn at(base: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(60))
            .no_proxy()
            .build()?;
        Ok(Self { base: base.to_owned(), http })
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
        let response = self.checked(request.send().await).await?;
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
        self.checked(request.timeout(NO_END).send().await).await
    }

    /// `POST path`, for what it does.
    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        let request = self.http.request(Method::POST, format!("{}{path}", self.base));
        self.checked(request.send().await).await.map(|_| ())
    }

    /// `POST path`, for what it answers.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.http.request(Method::POST, format!("{}{path}", self.base));
        Ok(self.checked(request.send().await).await?.json().await?)
    }

    /// `POST path` with a JSON body, for what it answers.
    pub(crate) async fn tell<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        // What waits for a drive may take a minute.
        let sent = request.timeout(Duration::from_secs(120)).send().await;
        Ok(self.checked(sent).await?.json().await?)
    }

    /// `POST path` with a JSON body, for lines of JSON that come as long as there are any.
    pub(crate) async fn tell_for_events(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Events> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let response = self.checked(request.timeout(NO_END).send().await).await?;
        Ok(Events { response, buffer: Vec::new() })
    }

    async fn checked(&self, sent: reqwest::Result<Response>) -> Result<Response> {
        let response = sent.map_err(|error| {
            if error.is_connect() {
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
