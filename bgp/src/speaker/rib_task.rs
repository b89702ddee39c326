//! The one task that owns the [`Rib`].
//!
//! | channel | from | when full |
//! |---|---|---|
//! | batches | session tasks | the session stops reading; its timers go on |
//! | requests | handles | the asker waits |
//! | over limit (a watch) | to a session task | never full: the last value counts |
//!
//! It never waits for anyone: answers go into oneshot channels.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::status::Board;
use crate::rib::{
    FootprintPage, NeighborId, Notice, PrefixAttributes, Rib, RouteCount, RoutePage, RouteQuery,
    SessionEvent, SubscriberId, TablePage,
};

/// The counters are published when there is a pause, and under load this often.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(200);
/// The most changes that a subscriber gets at once.
const MAX_CHANGES: usize = 8192;

/// What one read of a session brought.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) neighbor: NeighborId,
    /// Number of the session that the last event belongs to.
    pub(super) session: u64,
    pub(super) events: Vec<SessionEvent>,
}

/// A question of a handle. Who asks may go away: then nobody gets the answer.
#[derive(Debug)]
pub(super) enum Request {
    Routes {
        query: RouteQuery,
        limit: usize,
        reply: oneshot::Sender<RoutePage>,
    },
    Count {
        query: RouteQuery,
        reply: oneshot::Sender<RouteCount>,
    },
    Footprint {
        after: Option<IpNet>,
        limit: usize,
        reply: oneshot::Sender<FootprintPage>,
    },
    /// A page of the whole table.
    Table {
        neighbor: Option<IpAddr>,
        after: Option<IpNet>,
        reply: oneshot::Sender<TablePage>,
    },
    Subscribe {
        reply: oneshot::Sender<(SubscriberId, Vec<(IpNet, PrefixAttributes)>)>,
    },
    /// Answered when there is a change.
    Changes {
        id: SubscriberId,
        reply: oneshot::Sender<Changes>,
    },
}

pub(super) type Changes = Vec<(IpNet, Option<PrefixAttributes>)>;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct RibTask {
    pub(super) rib: Rib,
    pub(super) board: Arc<Board>,
    pub(super) batches: mpsc::Receiver<Batch>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// By neighbor: the number of the session that must end because of `max_prefixes`.
    pub(super) over_limit: Vec<watch::Sender<u64>>,
    /// Subscribers that have been told everything so far.
    pub(super) waiting: Vec<(SubscriberId, oneshot::Sender<Changes>)>,
    pub(super) stop: CancellationToken,
}

impl RibTask {
    pub(super) async fn run(mut self) {
        let mut published = Instant::now();
        self.publish();
        loop {
            let deadline = self.rib.next_deadline();
            tokio::select! {
                () = self.stop.cancelled() => return,
                Some(batch) = self.batches.recv() => self.take_in(batch),
                Some(request) = self.requests.recv() => {
                    self.answer(request);
                    continue;
                }
                () = sleep_until_or_never(deadline) => self.rib.handle_timeout(Instant::now()),
            }
            if self.batches.is_empty() || published.elapsed() >= PUBLISH_INTERVAL {
                published = Instant::now();
                self.publish();
            }
        }
    }

    fn take_in(&mut self, batch: Batch) {
        let now = Instant::now();
        for event in batch.events {
            let notice = self.rib.handle(batch.neighbor, event, now);
            let index = usize::from(batch.neighbor.0);
            let neighbor = self.board.sessions.get(index).map(|board| board.neighbor().address);
            match (notice, neighbor) {
                (Some(Notice::NearLimit { received, limit }), Some(neighbor)) => {
                    tracing::warn!(
                        %neighbor,
                        received,
                        max_prefixes = limit,
                        "80 % of max_prefixes reached"
                    );
                }
                (Some(Notice::OverLimit { limit }), Some(neighbor)) => {
                    tracing::error!(
                        %neighbor,
                        max_prefixes = limit,
                        "more prefixes than max_prefixes: ending the session"
                    );
                    if let Some(over_limit) = self.over_limit.get(index) {
                        over_limit.send_replace(batch.session);
                    }
                }
                _ => {}
            }
        }
    }

    fn publish(&mut self) {
        self.board.rib.store(Arc::new(self.rib.summary()));
        let waiting = std::mem::take(&mut self.waiting);
        for (id, reply) in waiting {
            self.answer(Request::Changes { id, reply });
        }
    }

    fn answer(&mut self, request: Request) {
        // A failed send means that the asker has gone away.
        match request {
            Request::Routes { query, limit, reply } => {
                let _ = reply.send(self.rib.routes(&query, limit, Instant::now()));
            }
            Request::Count { query, reply } => {
                let _ = reply.send(self.rib.count_routes(&query));
            }
            Request::Footprint { after, limit, reply } => {
                let _ = reply.send(self.rib.footprint(after, limit));
            }
            Request::Table { neighbor, after, reply } => {
                let _ = reply.send(self.rib.table_page(neighbor, after, Instant::now()));
            }
            Request::Subscribe { reply } => {
                let _ = reply.send(self.rib.subscribe());
            }
            Request::Changes { reply, .. } if reply.is_closed() => {}
            Request::Changes { id, reply } => {
                let changes = self.rib.take_changes(&id, MAX_CHANGES);
                if changes.is_empty() {
                    self.waiting.push((id, reply));
                } else {
                    let _ = reply.send(changes);
                }
            }
        }
    }
}

/// Sleeps until `deadline`; for ever without one.
pub(super) async fn sleep_until_or_never(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
