//! Neighbors that come and go: routers that connect from a `[[bgp.dynamic]]` prefix.
//!
//! One task for all of them. A router becomes a neighbor, like a configured one but for where it
//! comes from, once its OPEN has a fitting AS number and there is room; until then it costs a socket.
//! It is one until its session has ended and its last stale route is gone; its place it gives up sooner
//! to one that is there, once it has no routes. A router whose routes were
//! kept over a restart of the node is one from the beginning, and waits to come back.
//!
//! | channel | from | when full |
//! |---|---|---|
//! | arrivals | listeners | the connection is closed and counted |
//! | to the RIB | this task | it waits: further routers wait to be let in |

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ipnet::IpNet;
use mcc_config::{Asn, DynamicNeighbors};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::first_open::{self, FirstOpen, NoOpen};
use super::member::{Incoming, Member, Origin, SessionMaker};
use super::rib_task::ToRib;
use super::rules_of;
use super::session_task::Command;
use super::socket::{self, TcpSettings};
use super::status::Board;
use super::strangers::Strangers;
use crate::rib::NeighborId;
use crate::wire::subcode::{cease, open};
use crate::wire::{Notification, NotificationCode};

/// How many connections wait for this task.
pub(super) const ARRIVALS: usize = 64;
/// Of how many connections the OPEN is waited for at a time, one an address.
const WAITING: usize = 256;
/// How often it is looked who has left.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a router has been gone when the RIB has surely taken in all that it said.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a neighbor without connection and routes stays, once it has rested: `mcc bgp status` says
/// why it failed, and what it did before counts when it comes again.
pub(super) const LINGER: Duration = Duration::from_secs(60);

/// One `[[bgp.dynamic]]` with what came of it.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) settings: DynamicNeighbors,
    pub(super) refused: Refused,
}

/// Connections from a range that came to nothing, by reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// The AS number is none of `asns`.
    pub(super) asn: AtomicU64,
    /// `max_sessions` are there.
    pub(super) limit: AtomicU64,
    /// There was no OPEN.
    pub(super) no_open: AtomicU64,
    /// Too many at once.
    pub(super) busy: AtomicU64,
}

impl Range {
    pub(super) fn new(settings: DynamicNeighbors) -> Self {
        Self { settings, refused: Refused::default() }
    }

    pub(super) fn prefix(&self) -> IpNet {
        self.settings.prefix.trunc()
    }
}

/// The range that `address` is in: the one with the longest prefix.
pub(super) fn range_of(ranges: &[Range], address: IpAddr) -> Option<&Range> {
    let holding = ranges.iter().filter(|range| range.prefix().contains(&address));
    holding.max_by_key(|range| range.prefix().prefix_len())
}

/// A connection whose OPEN was waited for.
#[derive(Debug)]
struct Arrival {
    stream: TcpStream,
    from: IpAddr,
    open: Result<FirstOpen, NoOpen>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: NeighborId,
    pub(super) member: Arc<Member>,
    pub(super) prefix: IpNet,
    pub(super) task: JoinHandle<()>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct DynamicTask {
    maker: SessionMaker,
    board: Arc<Board>,
    arrivals: mpsc::Receiver<(TcpStream, IpAddr)>,
    sessions: TaskTracker,
    stop: CancellationToken,
    linger: Duration,
    /// Connections whose OPEN has not come, and refused ones that are being told.
    waiting: JoinSet<Option<Arrival>>,
    /// The first of them.
    expected: HashMap<IpAddr, AbortHandle>,
    running: HashMap<IpAddr, Running>,
    strangers: Strangers,
}

impl DynamicTask {
    /// `running` are those of the last run whose routes were kept.
    pub(super) fn new(
        maker: SessionMaker,
        board: Arc<Board>,
        arrivals: mpsc::Receiver<(TcpStream, IpAddr)>,
        running: HashMap<IpAddr, Running>,
        sessions: TaskTracker,
        stop: CancellationToken,
        linger: Duration,
    ) -> Self {
        Self {
            maker,
            board,
            arrivals,
            sessions,
            stop,
            linger,
            waiting: JoinSet::new(),
            expected: HashMap::new(),
            running,
            strangers: Strangers::default(),
        }
    }

    /// Runs until the speaker stops. The sessions go on until they are told to end.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            loop {
                tokio::select! {
                    Some((stream, from)) = self.arrivals.recv() => self.arrived(stream, from),
                    Some(waited) = self.waiting.join_next() => {
                        if let Ok(Some(arrival)) = waited {
                            self.waited(arrival).await;
                        }
                    }
                    _ = look.tick(), if !self.running.is_empty() => self.let_go().await,
                    // The listeners have stopped, and nobody is there.
                    else => return,
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// A connection from one of the prefixes.
    fn arrived(&mut self, stream: TcpStream, from: IpAddr) {
        if let Some(running) = self.running.get(&from)
            && !self.is_awaited(running)
        {
            return running.member.take_connection(Incoming { stream, read: BytesMut::new() });
        }
        let Some(range) = range_of(&self.board.ranges, from) else { return };
        if self.waiting.len() >= WAITING {
            range.refused.busy.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let hops = TcpSettings::of_dynamic(&range.settings).hops;
        let wait = async move {
            let mut stream = stream;
            let open = match socket::accepted(&stream, from, hops) {
                Ok(()) => first_open::read(&mut stream).await,
                Err(_) => Err(NoOpen::HungUp),
            };
            Some(Arrival { stream, from, open })
        };
        // A router has one session: an earlier connection is one that it has given up.
        if let Some(earlier) = self.expected.insert(from, self.waiting.spawn(wait)) {
            earlier.abort();
        }
    }

    async fn waited(&mut self, Arrival { stream, from, open }: Arrival) {
        self.expected.remove(&from);
        let board = Arc::clone(&self.board);
        let Some(range) = range_of(&board.ranges, from) else { return };
        let FirstOpen { asn, read } = match open {
            Ok(open) => open,
            Err(NoOpen::HungUp) => {
                range.refused.no_open.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(NoOpen::Refused(notification, why)) => {
                return self.refuse(
                    range,
                    stream,
                    from,
                    &range.refused.no_open,
                    notification,
                    &why,
                );
            }
        };
        let incoming = Incoming { stream, read };
        if let Some(running) = self.running.get(&from) {
            if !self.is_awaited(running) || running.member.board.neighbor().asn.get() == asn {
                return running.member.take_connection(incoming);
            }
            // Another router than the one of the last run: what that one announced is not its.
            self.part(from).await;
        }
        let Some(allowed) = Asn::new(asn).filter(|_| range.settings.allows(asn)) else {
            let why = format!("the router says AS {asn}, which is none of `asns`");
            let wrong = Notification::new(NotificationCode::OpenMessage, open::BAD_PEER_AS);
            let counter = &range.refused.asn;
            return self.refuse(range, incoming.stream, from, counter, wrong, &why);
        };
        // Who may never come back must not keep others out.
        let there = self
            .running
            .values()
            .filter(|running| running.prefix == range.prefix() && !self.is_awaited(running));
        let full = there.count() >= usize::from(range.settings.max_sessions);
        let out_of_numbers = self.board.roster.free_id().is_none();
        let mut place_left = !full && !out_of_numbers;
        if !place_left && let Some(gone) = self.gone_for_longest(range) {
            self.part(gone).await;
            place_left = true;
        }
        let Some(id) = self.board.roster.free_id().filter(|_| place_left) else {
            let gone = self.gone(range);
            let gone = match gone {
                0 => String::new(),
                _ => format!(", {gone} of them of routers that are gone, whose routes are kept"),
            };
            let why =
                format!("there are {} sessions, `max_sessions`{gone}", range.settings.max_sessions);
            let full = Notification::new(NotificationCode::Cease, cease::CONNECTION_REJECTED);
            let counter = &range.refused.limit;
            return self.refuse(range, incoming.stream, from, counter, full, &why);
        };
        self.join(id, range, from, allowed, incoming).await;
    }

    /// Makes a router a neighbor.
    async fn join(
        &mut self,
        id: NeighborId,
        range: &Range,
        from: IpAddr,
        asn: Asn,
        incoming: Incoming,
    ) {
        let (prefix, neighbor) = (range.prefix(), range.settings.neighbor(from, asn));
        let (router_id, requires_rules) = (self.maker.router_id, self.maker.ebgp_requires_rules);
        let rules = match rules_of(&neighbor, router_id, requires_rules) {
            Ok(rules) => rules,
            // The start of the speaker has seen that they can be read.
            Err(error) => return tracing::error!(%from, %error, "the accept rules cannot be used"),
        };
        // Before anything that the session says: the channel keeps the order.
        if self.maker.to_rib.send(ToRib::Add(id, Box::new(rules))).await.is_err() {
            return;
        }
        tracing::info!(neighbor = %from, %asn, %prefix, "dynamic BGP neighbor");
        let (member, task) =
            self.maker.make(id, neighbor, Origin { restarted: false, range: Some(prefix) });
        self.board.roster.add(id, &member);
        let task = self.sessions.spawn(task.run());
        member.take_connection(incoming);
        self.running.insert(from, Running { id, member, prefix, task });
    }

    /// Who of a range has been gone for longest and has left nothing behind. A router that rests after
    /// a failure is not: it would come back at once, as a new one.
    fn gone_for_longest(&self, range: &Range) -> Option<IpAddr> {
        let (now, rib) = (Instant::now(), self.board.rib.load_full());
        let gone = self.running.iter().filter_map(|(&from, running)| {
            let routes = rib.neighbors.get(usize::from(running.id.0)).map_or(0, |n| n.received);
            let alone = running.member.board.without_connection(now)?;
            let is_gone = running.prefix == range.prefix() && routes == 0 && alone >= SETTLED;
            is_gone.then_some((alone, from))
        });
        gone.max().map(|(_, from)| from)
    }

    /// How many of a range are gone and keep their places.
    fn gone(&self, range: &Range) -> usize {
        let of_range = self.running.values().filter(|running| {
            running.prefix == range.prefix()
                && !self.is_awaited(running)
                && running.member.board.is_gone()
        });
        of_range.count()
    }

    /// Lets go of the neighbors of which nothing is left.
    async fn let_go(&mut self) {
        let now = Instant::now();
        let rib = self.board.rib.load_full();
        let is_over = |running: &Running| {
            let routes = rib.neighbors.get(usize::from(running.id.0)).map_or(0, |n| n.received);
            let alone = running.member.board.without_connection(now);
            routes == 0 && alone.is_some_and(|time| time >= self.linger)
        };
        let over: Vec<_> =
            self.running.iter().filter(|(_, r)| is_over(r)).map(|(&from, _)| from).collect();
        for from in over {
            self.part(from).await;
        }
    }

    /// Lets go of one.
    async fn part(&mut self, from: IpAddr) {
        let Some(Running { id, member, prefix, task }) = self.running.remove(&from) else { return };
        // A task that has ended needs no telling. After it nothing more comes from the session, and
        // what came is before this in the channel.
        let _ = member.commands.send(Command::Remove).await;
        let _ = task.await;
        self.board.roster.remove(id);
        let _ = self.maker.to_rib.send(ToRib::Remove(id)).await;
        tracing::info!(neighbor = %from, %prefix, "dynamic BGP neighbor has gone");
    }

    /// Whether it is there only because of its routes of the last run, and has not come yet.
    fn is_awaited(&self, running: &Running) -> bool {
        let rib = self.board.rib.load();
        rib.neighbors.get(usize::from(running.id.0)).is_some_and(|routes| routes.restored > 0)
    }

    /// Counts, logs and tells a router why it is not let in.
    fn refuse(
        &mut self,
        range: &Range,
        stream: TcpStream,
        from: IpAddr,
        counter: &AtomicU64,
        notification: Notification,
        why: &str,
    ) {
        counter.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(connections) = self.strangers.summary(now) {
            tracing::warn!(
                connections,
                "further connections refused that were not logged one by one"
            );
        }
        if self.strangers.knocks(from, now) {
            let prefix = range.prefix();
            tracing::warn!(%from, %prefix, why, "refused a router of a [[bgp.dynamic]] prefix");
        }
        self.waiting.spawn(async move {
            first_open::refuse(stream, notification).await;
            None
        });
    }
}
