//! The control plane as a whole: starts it in order, serves connections, and stops it in order.
//!
//! Order of the start: check the settings, open and migrate the database, load every node and its
//! feed into the steering index, and only then listen. Whoever gets an answer gets a whole one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mcc_config::ControlConfig;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Api};
use crate::fleet::{Fleet, Keeper};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::tls::{self, TlsError};

/// Connections served at once. Further ones wait in the kernel's accept queue.
const MAX_CONNECTIONS: usize = 16_384;
/// A TLS handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request whose head takes longer is given up.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Running requests get this long to end when the control plane stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// After an accept error (out of file descriptors, for one) the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the control plane does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Nobody could reach it.
    #[error("[control] listen: no address: name at least one, such as \"127.0.0.1:8443\"")]
    NoListenAddress,
    /// Tokens would travel in the clear.
    #[error(
        "[control] listen: {0} is no loopback address and needs TLS: set `certificate` and `key` under [control.tls], or listen on 127.0.0.1"
    )]
    PlainHttp(SocketAddr),
    /// The section is not built yet.
    #[error("[dns]: DNS steering is not supported by this version: remove the section")]
    Dns,
    /// The certificate or key cannot be used.
    #[error("[control.tls] {0}")]
    Tls(#[from] TlsError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("[control] listen: cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A running control plane. Dropping it stops it at once; [`ControlPlane::shutdown`] lets running
/// requests end and writes down what is only in memory.
#[derive(Debug)]
pub struct ControlPlane {
    addresses: Vec<SocketAddr>,
    connections: TaskTracker,
    keeper: TaskTracker,
    /// No new connections, and no further request on those that are open.
    stop_connections: CancellationToken,
    /// No connections.
    cut_connections: CancellationToken,
    stop_keeper: CancellationToken,
    store: Store,
}

impl ControlPlane {
    /// Starts the control plane and returns when it listens.
    ///
    /// # Errors
    /// When a setting is impossible, or the database, certificate or address cannot be used.
    pub async fn start(config: ControlConfig) -> Result<Self, StartError> {
        let control = &config.control;
        if config.dns.is_some() {
            return Err(StartError::Dns);
        }
        if control.listen.is_empty() {
            return Err(StartError::NoListenAddress);
        }
        let exposed = control.listen.iter().find(|address| !address.ip().is_loopback());
        if let (Some(address), None) = (exposed, &control.tls) {
            return Err(StartError::PlainHttp(*address));
        }
        let acceptor = control.tls.as_ref().map(tls::acceptor).transpose()?;

        let store = Store::open(control).await?;
        let metrics = Metrics::new();
        let (keeper, fleet) = Keeper::load(store.clone(), control.ipv6, metrics.clone()).await?;

        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &control.listen {
            let bind = |source| StartError::Bind { address: *address, source };
            let listener = TcpListener::bind(address).await.map_err(bind)?;
            addresses.push(listener.local_addr().map_err(bind)?);
            listeners.push(listener);
        }

        let running = Self {
            addresses,
            connections: TaskTracker::new(),
            keeper: TaskTracker::new(),
            stop_connections: CancellationToken::new(),
            cut_connections: CancellationToken::new(),
            stop_keeper: CancellationToken::new(),
            store: store.clone(),
        };
        running.keeper.spawn(keeper.run(running.stop_keeper.clone()));
        running.spawn_listeners(listeners, acceptor, api(&config, store, fleet, metrics));
        for address in &running.addresses {
            tracing::info!(%address, tls = control.tls.is_some(), "control plane listens");
        }
        Ok(running)
    }

    /// The addresses that it listens on, in the order of `listen`.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops: no new connections, up to 10 s for running requests, then what is only in memory goes
    /// to the database.
    pub async fn shutdown(self) {
        self.stop_connections.cancel();
        self.connections.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, self.connections.wait()).await.is_err() {
            let open = self.connections.len();
            tracing::warn!(open, "requests did not end in time and are cut off");
            self.cut_connections.cancel();
            self.connections.wait().await;
        }
        self.stop_keeper.cancel();
        self.keeper.close();
        self.keeper.wait().await;
        self.store.close().await;
        tracing::info!("control plane stopped");
    }

    fn spawn_listeners(
        &self,
        listeners: Vec<TcpListener>,
        acceptor: Option<TlsAcceptor>,
        router: Router,
    ) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let serving = Serving {
            router,
            acceptor,
            stop: self.stop_connections.clone(),
            cut: self.cut_connections.clone(),
            connections: self.connections.clone(),
            room,
        };
        for listener in listeners {
            self.connections.spawn(serving.clone().accept(listener));
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop_connections.cancel();
        self.cut_connections.cancel();
        self.stop_keeper.cancel();
    }
}

fn api(config: &ControlConfig, store: Store, fleet: Fleet, metrics: Metrics) -> Router {
    api::router(Api {
        fleet,
        store,
        metrics,
        trusted_proxies: config.control.trusted_proxies.clone().into(),
        ipv6: config.control.ipv6,
        tls: config.control.tls.is_some(),
    })
}

/// What each connection needs.
#[derive(Clone)]
struct Serving {
    router: Router,
    acceptor: Option<TlsAcceptor>,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    room: Arc<Semaphore>,
}

impl Serving {
    async fn accept(self, listener: TcpListener) {
        loop {
            let next = async {
                let permit = self.room.clone().acquire_owned().await;
                listener.accept().await.map(|connection| (connection, permit))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok(((stream, peer), permit)) => {
                    let serving = self.clone();
                    self.connections.spawn(async move {
                        let cut = serving.cut.clone();
                        cut.run_until_cancelled(serving.connection(stream, peer)).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let Some(acceptor) = &self.acceptor else {
            return self.http(stream, peer).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            () = self.stop.cancelled() => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.http(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        peer: SocketAddr,
    ) {
        let router = TowerToHyperService::new(self.router.clone());
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection broke");
        }
    }
}
