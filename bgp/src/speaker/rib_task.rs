//! The one task that owns the [`Rib`].
//!
//! | channel | from | when full |
//! |---|---|---|
//! | events (batches) | session tasks | the session stops reading; its timers go on |
//! | requests | handles | the asker waits |
//! | over limit (a watch) | to a session task | never full: the last value counts |
//!
//! It never waits for anyone: answers go into oneshot channels. And nobody waits for it: after a
//! millisecond it lets the runtime look what has come from the network, and what takes longer in one
//! piece is done on a thread of its own.

use std::future::pending;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking, yield_now};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::member::Member;
use super::session_task::Command;
use super::status::Board;
use super::tap::{Observation, Observed, Tap};
use crate::rib::last_good::{SaveCursor, SavedPage};
use crate::rib::{
    DampedPrefix, ExportVerdict, FootprintPage, FootprintQuery, NeighborId, NeighborRules, Notice,
    PrefixAttributes, Rib, RouteCount, RoutePage, RouteQuery, SessionEvent, SnapshotPage,
    SubscriberId, TablePage,
};
use crate::session::CannotRefresh;

/// The counters are published when there is a pause, and under load this often.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(200);
/// How long it works before it lets others of its thread go first.
const TURN: Duration = Duration::from_millis(1);
/// The most routes of one observation.
const MAX_DEPARTURES: usize = 4096;
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

impl Batch {
    /// Whether there is nothing in it but routes. The end of a session and the begin of a refresh need a number of
    /// a generation, and to free one may mean a walk over all routes of the neighbor.
    fn is_of_updates(&self) -> bool {
        self.events.iter().all(|event| matches!(event, SessionEvent::Update(_)))
    }
}

/// What comes to the RIB, in the order in which it is to be taken in: what is sent to it after a
/// neighbor was removed is not of that neighbor.
#[derive(Debug)]
pub(super) enum ToRib {
    /// Of a session.
    Batch(Batch),
    /// A neighbor joins.
    Add(NeighborId, Box<NeighborRules>),
    /// A neighbor has left; its number is free.
    Remove(NeighborId),
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
        query: FootprintQuery,
        reply: oneshot::Sender<FootprintPage>,
    },
    /// A page of the whole table.
    Table {
        neighbor: Option<IpAddr>,
        after: Option<IpNet>,
        reply: oneshot::Sender<TablePage>,
    },
    /// Answered when the footprint may be told.
    Subscribe {
        reply: oneshot::Sender<SubscriberId>,
    },
    /// A page of the footprint for a subscriber. Answered with none while the footprint waits for
    /// review.
    Snapshot {
        after: Option<IpNet>,
        reply: oneshot::Sender<Option<SnapshotPage>>,
    },
    /// Answered with none while the footprint waits for review.
    Save {
        cursor: SaveCursor,
        reply: oneshot::Sender<Option<SavedPage>>,
    },
    /// Answers whether anything was held.
    Approve {
        reply: oneshot::Sender<bool>,
    },
    Damped {
        reply: oneshot::Sender<Vec<DampedPrefix>>,
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
    pub(super) tap: Tap,
    pub(super) events: mpsc::Receiver<ToRib>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Subscribers that have been told everything so far.
    pub(super) waiting: Vec<(SubscriberId, oneshot::Sender<Changes>)>,
    /// Those who wait to become subscribers.
    pub(super) newcomers: Vec<oneshot::Sender<SubscriberId>>,
    pub(super) stop: CancellationToken,
}

impl RibTask {
    pub(super) async fn run(mut self) {
        let mut published = Instant::now();
        let mut turn = published;
        self.publish();
        loop {
            if turn.elapsed() >= TURN {
                yield_now().await;
                turn = Instant::now();
            }
            let deadline = self.rib.next_deadline();
            tokio::select! {
                () = self.stop.cancelled() => return,
                Some(event) = self.events.recv() => match event {
                    ToRib::Batch(batch) if batch.is_of_updates() => self.take_in(batch),
                    ToRib::Batch(batch) => self = self.apart(|task| task.take_in(batch)).await,
                    ToRib::Add(id, rules) => self.rib.neighbor_joins(id, *rules),
                    ToRib::Remove(id) => {
                        self = self.apart(move |task| task.rib.neighbor_leaves(id, Instant::now())).await;
                    }
                },
                Some(request) = self.requests.recv() => {
                    self.answer(request);
                    continue;
                }
                () = sleep_until_or_never(deadline) => self.handle_timeout(),
            }
            if self.events.is_empty() {
                self.tell_departures();
            }
            if self.events.is_empty() || published.elapsed() >= PUBLISH_INTERVAL {
                published = Instant::now();
                self.publish();
            }
        }
    }

    /// Does what may be a walk over a full table, which takes most of a second.
    async fn apart(mut self, act: impl FnOnce(&mut Self) + Send + 'static) -> Self {
        let done = spawn_blocking(move || {
            act(&mut self);
            self
        });
        match done.await.map_err(JoinError::try_into_panic) {
            Ok(task) => task,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime ends, and with it this task.
            Err(Err(_)) => pending().await,
        }
    }

    fn handle_timeout(&mut self) {
        match self.rib.handle_timeout(Instant::now()) {
            Some(ExportVerdict::Held { before, now }) => tracing::error!(
                prefixes_before = before.prefixes(),
                addresses_before = before.addresses(),
                ipv6_slash48s_before = before.ipv6_slash48s(),
                prefixes = now.prefixes(),
                addresses = now.addresses(),
                ipv6_slash48s = now.ipv6_slash48s(),
                "the footprint has changed too much within minutes: the control plane is told no more of \
                 it before `mcc footprint approve`"
            ),
            Some(ExportVerdict::Released) => {
                tracing::warn!("the footprint is back within its bound: the control plane is told");
            }
            None => {}
        }
    }

    fn take_in(&mut self, batch: Batch) {
        let Batch { neighbor, session, events } = batch;
        let mut notices = Vec::new();
        self.rib.handle_all(neighbor, &events, Instant::now(), |notice| notices.push(notice));
        let Some(member) = self.board.roster.get(neighbor) else { return };
        for notice in notices {
            tell(&member, session, notice);
        }
    }

    /// Tells those who follow the messages what no message says. Only when all events are taken in:
    /// a route that is on its way here was heard of before.
    fn tell_departures(&mut self) {
        for (id, why, routes) in self.rib.take_departures() {
            let Some(member) = self.board.roster.get(id).filter(|_| self.tap.is_open()) else {
                continue;
            };
            for routes in routes.chunks(MAX_DEPARTURES) {
                self.tap.report(&Observation {
                    at: Timestamp::now(),
                    neighbor: member.board.ends(self.board.router_id),
                    what: Observed::Departed(why, routes.into()),
                });
            }
        }
    }

    fn publish(&mut self) {
        self.board.rib.store(Arc::new(self.rib.summary()));
        for reply in std::mem::take(&mut self.newcomers) {
            if !reply.is_closed() {
                self.answer(Request::Subscribe { reply });
            }
        }
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
            Request::Table { neighbor, after, reply } => {
                let _ = reply.send(self.rib.table_page(neighbor, after, Instant::now()));
            }
            Request::Footprint { query, reply } => {
                let _ = reply.send(self.rib.footprint(query));
            }
            Request::Save { cursor, reply } => {
                let _ =
                    reply.send(self.rib.is_open().then(|| self.rib.save(cursor, Instant::now())));
            }
            Request::Approve { reply } => {
                let _ = reply.send(self.rib.approve(Instant::now()));
                self.publish();
            }
            Request::Damped { reply } => {
                let _ = reply.send(self.rib.damped(Instant::now()));
            }
            // Who comes while the footprint is held must not take it for good.
            Request::Subscribe { reply } if !self.rib.is_open() => self.newcomers.push(reply),
            Request::Subscribe { reply } => {
                let _ = reply.send(self.rib.subscribe());
            }
            Request::Snapshot { after, reply } => {
                let _ = reply.send(self.rib.is_open().then(|| self.rib.snapshot_page(after)));
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

/// Tells the session and the operator what has come of an event.
fn tell(member: &Member, session: u64, notice: Notice) {
    let neighbor = member.address();
    match notice {
        Notice::NearLimit { received, limit } => {
            tracing::warn!(
                %neighbor,
                received,
                max_prefixes = limit,
                "80 % of max_prefixes reached"
            );
        }
        Notice::OverLimit { limit } => {
            tracing::error!(
                %neighbor,
                max_prefixes = limit,
                "more routes than max_prefixes: ending the session"
            );
            member.over_limit.send_replace(session);
        }
        Notice::Discarding { limit, first, .. } => {
            if first {
                tracing::error!(
                    %neighbor,
                    max_prefixes = limit,
                    "max_prefixes are there: further routes are not taken"
                );
            }
        }
        Notice::RoomAgain => {
            tokio::spawn(ask_for_table(neighbor, member.commands.clone()));
        }
    }
}

/// There is room again for what was left out. Waits, so it is no part of the RIB's task.
async fn ask_for_table(neighbor: IpAddr, commands: mpsc::Sender<Command>) {
    let (reply, answer) = oneshot::channel();
    if commands.send(Command::Refresh(reply)).await.is_err() {
        return;
    }
    match answer.await {
        Ok(Ok(())) => {
            tracing::warn!(%neighbor, "there is room again below max_prefixes: asked for the table");
        }
        Ok(Err(CannotRefresh::NotNegotiated)) => tracing::warn!(
            %neighbor,
            "there is room again below max_prefixes, but the router does not know route refresh: \
             `mcc bgp reset {neighbor}` gets what was left out"
        ),
        // The session has ended: the next one brings the table.
        Ok(Err(CannotRefresh::NotEstablished)) | Err(_) => {}
    }
}

/// Sleeps until `deadline`; for ever without one.
pub(super) async fn sleep_until_or_never(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
