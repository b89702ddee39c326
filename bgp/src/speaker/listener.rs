//! Accepts connections on one address and hands each to the session of the neighbor it is from.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::status::Board;

/// A stranger is logged once in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(600);
/// So many strangers are remembered; with more, all are forgotten.
const STRANGERS: usize = 1024;
/// The wait after a failed accept, which mostly means that file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    /// Bounded; when a session task does not take its connections, further ones are closed.
    pub(super) sessions: Arc<HashMap<IpAddr, mpsc::Sender<TcpStream>>>,
    pub(super) board: Arc<Board>,
    pub(super) stop: CancellationToken,
}

impl Listener {
    pub(super) async fn run(self) {
        let mut strangers = HashMap::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    self.hand_over(stream, from.ip().to_canonical(), &mut strangers);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, from: IpAddr, strangers: &mut HashMap<IpAddr, Instant>) {
        if let Some(session) = self.sessions.get(&from) {
            if session.try_send(stream).is_err() {
                tracing::debug!(neighbor = %from, "closed one of many connections at once");
            }
            return;
        }
        self.board.unknown_connections.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if strangers.get(&from).is_some_and(|logged| now < *logged + LOG_INTERVAL) {
            return;
        }
        if strangers.len() >= STRANGERS {
            strangers.clear();
        }
        strangers.insert(from, now);
        tracing::warn!(
            %from,
            "closed a BGP connection from an address that no [[bgp.neighbor]] has"
        );
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(%error, "cannot accept a BGP connection");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(ACCEPT_PAUSE) => {}
        }
    }
}
