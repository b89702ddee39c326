//! Accepts connections on one address and hands each to the session of the neighbor it is from.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::dynamic::range_of;
use super::member::{Incoming, Member};
use super::rib_task::sleep_until_or_never;
use super::socket::without_number;
use super::status::Board;
use super::strangers::Strangers;

/// The wait after a failed accept, which mostly means that file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    /// Bounded; when a session task does not take its connections, further ones are closed.
    pub(super) configured: Arc<HashMap<IpAddr, Arc<Member>>>,
    /// For routers of dynamic prefixes. Bounded; when it is full the connection is closed.
    pub(super) dynamic: mpsc::Sender<(TcpStream, IpAddr)>,
    pub(super) board: Arc<Board>,
    pub(super) stop: CancellationToken,
}

impl Listener {
    pub(super) async fn run(self) {
        let mut strangers = Strangers::default();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
                () = sleep_until_or_never(strangers.next_deadline()) => {
                    if let Some(connections) = strangers.summary(Instant::now()) {
                        tracing::warn!(
                            connections,
                            "closed further BGP connections from addresses that are no neighbor's"
                        );
                    }
                    continue;
                }
            };
            match accepted {
                Ok((stream, from)) => {
                    self.hand_over(stream, from.ip().to_canonical(), &mut strangers);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, from: IpAddr, strangers: &mut Strangers) {
        if let Some(member) = self.configured.get(&from) {
            return member.take_connection(Incoming { stream, read: BytesMut::new() });
        }
        if let Some(range) = range_of(&self.board.ranges, from) {
            if self.dynamic.try_send((stream, from)).is_err() {
                range.refused.busy.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        self.board.unknown_connections.fetch_add(1, Ordering::Relaxed);
        if strangers.knocks(from, Instant::now()) {
            tracing::warn!(
                %from,
                "closed a BGP connection from an address that no [[bgp.neighbor]] has"
            );
        }
    }

    async fn pause(&self, error: &io::Error) {
        let error = without_number(error);
        tracing::warn!(%error, "cannot accept a BGP connection");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(ACCEPT_PAUSE) => {}
        }
    }
}
