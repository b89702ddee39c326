//! Connecting to an origin: name to addresses, the guard, TCP.
//!
//! Our own connector, because the guard must see the address that is connected to, and because the
//! allow-list is asked once more here: nothing reaches a host that is not on it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use mcc_config::HostName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::{Origins, guard};

/// How long a DNS answer may take.
const DNS_TIME: Duration = Duration::from_secs(5);
/// How long one address may take to accept, before the next is tried.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;
const HTTP_PORT: u16 = 80;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The host is on no list; requests are checked before, so this is a second line of defence.
    #[error("`{0}` is no origin that is served")]
    NotServed(String),
    /// DNS has no answer.
    #[error("`{host}` has no address: {text}; check the node's DNS")]
    NoAddress {
        /// The name asked for.
        host: String,
        /// The resolver's words.
        text: String,
    },
    /// All addresses are such as no public origin has.
    #[error(
        "`{host}` leads to {address} ({reason}), which is not connected to; an origin in private space needs `connect`"
    )]
    Guarded {
        /// The name asked for.
        host: String,
        /// The first address refused.
        address: std::net::IpAddr,
        /// What kind of space it is.
        reason: &'static str,
    },
    /// No address accepted.
    #[error("cannot connect to {address} for `{host}`: {text}")]
    Failed {
        /// The name asked for.
        host: String,
        /// The last address tried.
        address: SocketAddr,
        /// The system's words.
        text: String,
    },
}

/// Opens TCP connections for the HTTP client.
#[derive(Clone)]
pub(super) struct OriginConnector {
    pub(super) origins: Arc<Origins>,
    /// Whether IPv6 addresses are used.
    pub(super) ipv6: bool,
}

impl Service<Uri> for OriginConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let stream = connector.connect(uri.host().unwrap_or_default()).await?;
            Ok(TokioIo::new(stream))
        })
    }
}

impl OriginConnector {
    async fn connect(&self, host: &str) -> Result<TcpStream, ConnectError> {
        let not_served = || ConnectError::NotServed(host.to_owned());
        let name: HostName = host.parse().map_err(|_| not_served())?;
        let origin = self.origins.find(&name).ok_or_else(not_served)?;
        let addresses = match origin.connect() {
            Some(address) => vec![address],
            None => self.resolve(host).await?,
        };
        let mut failure = not_served();
        for address in addresses {
            let text = match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are small and whole; waiting to fill a packet only adds delay.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {} s", CONNECT_TIME.as_secs()),
            };
            failure = ConnectError::Failed { host: host.to_owned(), address, text };
        }
        Err(failure)
    }

    /// The addresses of `host` that the guard lets pass.
    async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>, ConnectError> {
        let no_address = |text: String| ConnectError::NoAddress { host: host.to_owned(), text };
        let found = timeout(DNS_TIME, tokio::net::lookup_host((host, HTTP_PORT)))
            .await
            .map_err(|_| no_address(format!("no answer in {} s", DNS_TIME.as_secs())))?
            .map_err(|error| no_address(error.to_string()))?;
        let mut guarded = None;
        let mut passed = Vec::new();
        for address in found.filter(|address| self.ipv6 || address.is_ipv4()) {
            match guard::refused(address.ip()) {
                None => passed.push(address),
                Some(reason) => {
                    let (host, address) = (host.to_owned(), address.ip());
                    guarded.get_or_insert(ConnectError::Guarded { host, address, reason });
                }
            }
        }
        passed.truncate(MAX_ADDRESSES);
        if passed.is_empty() {
            return Err(guarded.unwrap_or_else(|| no_address("no usable address".to_owned())));
        }
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn connector(host: &str, connect: Option<SocketAddr>) -> OriginConnector {
        let origin = mcc_config::Origin {
            host: host.parse().unwrap(),
            aliases: vec![],
            connect,
            query_key: BTreeSet::new(),
        };
        OriginConnector { origins: Arc::new(Origins::new(&[origin])), ipv6: true }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_connected_to() {
        let error = connector("localhost", None).connect("localhost").await.unwrap_err();
        assert!(matches!(error, ConnectError::Guarded { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_operators_address_is_connected_to_wherever_it_is() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = connector("localhost", Some(address)).connect("localhost").await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn a_host_off_the_list_is_not_even_resolved() {
        let error = connector("a.example", None).connect("b.example").await.unwrap_err();
        assert_eq!(error, ConnectError::NotServed("b.example".to_owned()));
    }
}
