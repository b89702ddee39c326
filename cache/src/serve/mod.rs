//! The side of the clients: listeners, connections, and what they have in common.

mod answer;
mod body;
mod date;
mod egress;
mod head;
mod multipart;
mod outbox;
mod pace;
mod pass;
mod socket;
pub(crate) mod tls;
mod transport;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::header;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use date::DateClock;
pub(crate) use egress::EgressGate;
pub(crate) use head::NodeId;
pub(crate) use pace::PaceLimits;

use outbox::Outbox;
use socket::ClientSocket;
use transport::PlainTransport;

use crate::counters::Counters;
use crate::fill::Fills;
use crate::origin::Origins;
use crate::store::Store;
use crate::time::unix_now;

/// Connections above the limit that are still told 503; those above are closed at once.
const OVERFLOW: u64 = 256;
/// Head of a request, in bytes.
const MAX_HEAD: usize = 32 << 10;
const MAX_HEADERS: usize = 100;
/// How long accepting rests when the system is out of files or memory.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often the log is told of that.
const ACCEPT_WORD: Duration = Duration::from_secs(10);

/// Bounds of the client side.
#[derive(Debug, Clone)]
pub(crate) struct ServeLimits {
    /// Connections at once; above them 503 is told.
    pub(crate) connections: u64,
    /// How long a client may take for a TLS handshake, for a head, and between two requests.
    pub(crate) head_time: Duration,
    /// How slowly a client may take what it is owed.
    pub(crate) pace: PaceLimits,
}

/// What all connections share.
pub(crate) struct Server {
    pub(crate) id: NodeId,
    pub(crate) origins: Arc<Origins>,
    pub(crate) store: Arc<Store>,
    pub(crate) fills: Arc<Fills>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) egress: Arc<EgressGate>,
    pub(crate) date: DateClock,
    pub(crate) limits: ServeLimits,
    pub(crate) draining: AtomicBool,
    /// Cancelled to end each connection after its running request, and to refuse new ones with 503.
    pub(crate) closing: CancellationToken,
    /// Cancelled to stop accepting.
    pub(crate) closed: CancellationToken,
    /// Cancelled to break the connections that are left.
    pub(crate) breaking: CancellationToken,
    pub(crate) connections: TaskTracker,
}

impl Server {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Accepts connections until `shutdown`, or until the cache is closed; those accepted go on to the end of
    /// their running request. While the cache closes, new ones are told 503: clients ban a node that refuses
    /// connections.
    pub(crate) async fn listen(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        shutdown: CancellationToken,
    ) {
        let tls = tls.map(TlsAcceptor::from);
        let mut said: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
                () = self.closed.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => self.clone().admit(stream, tls.clone(), shutdown.clone()),
                Err(error) => {
                    if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                        self.counters.files_used_up.note();
                    }
                    let now = Instant::now();
                    if said.is_none_or(|said| now >= said + ACCEPT_WORD) {
                        said = Some(now);
                        tracing::warn!(%error, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn admit(
        self: Arc<Self>,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        shutdown: CancellationToken,
    ) {
        let open = Open::new(&self);
        let full = open.number > self.limits.connections;
        if full {
            self.counters.connections_full.note();
            if open.number > self.limits.connections + OVERFLOW {
                return;
            }
        }
        // Heads must not wait for more bytes to fill a packet.
        let _ = stream.set_nodelay(true);
        // Clients that vanish, or stop reading, must not take up the connections of others.
        let stuck = Some(self.limits.pace.stuck);
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(stuck);
        let closing = self.closing.is_cancelled();
        let refusal = match (full, closing) {
            (_, true) => Some("this node is stopping"),
            (true, false) => Some("this node has too many connections"),
            (false, false) => None,
        };
        let tracker = self.connections.clone();
        let socket = ClientSocket::new(stream, self.limits.pace, self.counters.clone());
        // Boxed apart: a plain connection does not take up the memory that one with TLS needs.
        let connection = match tls {
            None => self.plain_connection(socket, refusal, shutdown, open).boxed(),
            Some(tls) => self.tls_connection(socket, tls, refusal, shutdown, open).boxed(),
        };
        if closing {
            // Closing does not wait for it.
            tokio::spawn(connection);
        } else {
            tracker.spawn(connection);
        }
    }

    async fn plain_connection(
        self: Arc<Self>,
        socket: ClientSocket,
        refusal: Option<&'static str>,
        shutdown: CancellationToken,
        _open: Open,
    ) {
        let transport = PlainTransport::new(socket);
        let outbox = transport.outbox();
        self.connection(transport, Some(outbox), refusal, shutdown).await;
    }

    async fn tls_connection(
        self: Arc<Self>,
        socket: ClientSocket,
        tls: TlsAcceptor,
        refusal: Option<&'static str>,
        shutdown: CancellationToken,
        _open: Open,
    ) {
        let told = self.told_to_stop(refusal, &shutdown);
        let handshake = tokio::select! {
            handshake = timeout(self.limits.head_time, tls.accept(socket)) => handshake,
            () = told => return,
        };
        match handshake {
            Ok(Ok(stream)) => {
                self.connection(TokioIo::new(stream), None, refusal, shutdown).await;
            }
            // Scanners and clients that do not trust the certificate: their business.
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    /// Waits until connections are to end. One that is refused ends by itself, after its 503.
    async fn told_to_stop(&self, refusal: Option<&str>, shutdown: &CancellationToken) {
        if refusal.is_some() {
            return std::future::pending().await;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// Serves one connection. Content on drives is promised in its `outbox`, which only a [`PlainTransport`] makes: without
    /// one, everything comes in memory. With a `refusal` the client is told that in a 503, and the connection closed.
    async fn connection<T>(
        self: Arc<Self>,
        transport: T,
        outbox: Option<Outbox>,
        refusal: Option<&'static str>,
        shutdown: CancellationToken,
    ) where
        T: Read + Write + Unpin,
    {
        let server = self.clone();
        let asked = AtomicBool::new(false);
        let service = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            let (server, outbox) = (server.clone(), outbox.clone());
            let answer = async move {
                let mut response = match refusal {
                    Some(why) => {
                        server.counters.request(crate::counters::RequestResult::Unavailable);
                        head::unavailable(why)
                    }
                    None => server.answer(request, outbox).await,
                };
                let date = || server.date.at(unix_now());
                response.headers_mut().entry(header::DATE).or_insert_with(date);
                Ok::<_, Infallible>(response)
            };
            // Boxed: hyper keeps the room for it between requests, which is most of what an idle connection takes.
            answer.boxed()
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_time)
            .title_case_headers(true)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .keep_alive(refusal.is_none())
            .serve_connection(transport, service);
        let mut connection = std::pin::pin!(connection);
        let told = self.told_to_stop(refusal, &shutdown);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            // Half a head would keep hyper waiting for the rest, and nothing is owed for it.
            () = told => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.breaking.cancelled() => return,
                }
            }
            () = self.breaking.cancelled() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Counts a connection for as long as it lives.
struct Open {
    counters: Arc<Counters>,
    number: u64,
}

impl Open {
    fn new(server: &Server) -> Self {
        let counters = server.counters.clone();
        Self { number: counters.connections.up(), counters }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counters.connections.down();
    }
}
