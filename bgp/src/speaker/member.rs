//! The neighbors that there are now, and how one comes to be.
//!
//! Configured neighbors are there from start to end, those of a `[[bgp.dynamic]]` prefix while they
//! last. Everyone who reaches for a neighbor by number or address finds it here: the listeners, the
//! RIB's task, handles and the status.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use ipnet::IpNet;
use mcc_config::Neighbor;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::rib_task::ToRib;
use super::session_task::{Command, SessionSetup, SessionTask};
use super::socket::{self, DialSettings, TcpSettings};
use super::status::SessionBoard;
use super::tap::Tap;
use crate::rib::NeighborId;
use crate::session::PeerSettings;

/// How many commands, and how many connections, wait for a session task.
const COMMANDS: usize = 8;

/// A connection that a router has dialled.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: TcpStream,
    /// What has been read of it already: an OPEN, if that had to be seen first.
    pub(super) read: BytesMut,
}

/// One neighbor, as others reach it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) board: Arc<SessionBoard>,
    /// Whoever commands waits while it is full.
    pub(super) commands: mpsc::Sender<Command>,
    /// While it is full further connections are closed.
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// The number of the session that must end because of `max_prefixes`.
    pub(super) over_limit: watch::Sender<u64>,
}

impl Member {
    pub(super) fn address(&self) -> IpAddr {
        self.board.neighbor().address
    }

    /// Hands over a connection, or closes it if there are too many at once.
    pub(super) fn take_connection(&self, incoming: Incoming) {
        if self.incoming.try_send(incoming).is_err() {
            tracing::debug!(neighbor = %self.address(), "closed one of many connections at once");
        }
    }
}

/// All members, by [`NeighborId`]. One task changes it, all others only look.
#[derive(Debug, Default)]
pub(super) struct Roster(ArcSwap<Vec<Option<Arc<Member>>>>);

impl Roster {
    /// Those there are, with their numbers.
    pub(super) fn members(&self) -> Vec<(NeighborId, Arc<Member>)> {
        let ids = (0..=u16::MAX).map(NeighborId);
        let members = self.0.load();
        ids.zip(members.iter()).filter_map(|(id, m)| Some((id, Arc::clone(m.as_ref()?)))).collect()
    }

    pub(super) fn get(&self, id: NeighborId) -> Option<Arc<Member>> {
        self.0.load().get(usize::from(id.0)).cloned().flatten()
    }

    pub(super) fn find(&self, address: IpAddr) -> Option<Arc<Member>> {
        let address = address.to_canonical();
        let members = self.0.load();
        let mut members = members.iter().flatten();
        members.find(|member| member.address().to_canonical() == address).cloned()
    }

    /// The lowest number that nobody has.
    pub(super) fn free_id(&self) -> Option<NeighborId> {
        let members = self.0.load();
        let free = members.iter().position(Option::is_none).unwrap_or(members.len());
        let id = u16::try_from(free).ok().map(NeighborId)?;
        (id != NeighborId::NOBODY).then_some(id)
    }

    /// Adds a member under a number that [`Roster::free_id`] gave.
    pub(super) fn add(&self, id: NeighborId, member: &Arc<Member>) {
        self.change(|members| {
            let index = usize::from(id.0);
            if members.len() <= index {
                members.resize(index + 1, None);
            }
            if let Some(place) = members.get_mut(index) {
                *place = Some(Arc::clone(member));
            }
        });
    }

    pub(super) fn remove(&self, id: NeighborId) {
        self.change(|members| {
            if let Some(place) = members.get_mut(usize::from(id.0)) {
                *place = None;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Option<Arc<Member>>>)) {
        let mut members = self.0.load().as_ref().clone();
        change(&mut members);
        self.0.store(Arc::new(members));
    }
}

/// Where a neighbor comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// Routes of it were kept over a restart of this node.
    pub(super) restarted: bool,
    /// The prefix of the `[[bgp.dynamic]]` that it is of; `None`: it is configured itself.
    pub(super) range: Option<IpNet>,
}

/// Makes the sessions: what all of a speaker have in common.
#[derive(Debug, Clone)]
pub(super) struct SessionMaker {
    pub(super) router_id: Ipv4Addr,
    pub(super) ebgp_requires_rules: bool,
    pub(super) ipv6: bool,
    /// Where the speaker listens.
    pub(super) listen: Vec<SocketAddr>,
    pub(super) tap: Tap,
    pub(super) to_rib: mpsc::Sender<ToRib>,
    /// Runs the last words of closed connections.
    pub(super) closing: TaskTracker,
}

impl SessionMaker {
    /// A neighbor and the task of its session, which is to be spawned. The RIB has to know it by `id`
    /// before the task runs.
    pub(super) fn make(
        &self,
        id: NeighborId,
        neighbor: Neighbor,
        origin: Origin,
    ) -> (Arc<Member>, SessionTask) {
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (incoming, incoming_receiver) = mpsc::channel(COMMANDS);
        let (over_limit, limit_receiver) = watch::channel(0);
        let address = neighbor.address;
        let source = neighbor.source.or_else(|| socket::source_address(&self.listen, address));
        let Origin { restarted, range } = origin;
        let settings = PeerSettings::from_config(&neighbor, self.router_id, self.ipv6);
        let settings = PeerSettings { restarted, ..settings };
        let dial = DialSettings {
            target: SocketAddr::new(address, neighbor.port),
            source,
            tcp: TcpSettings::of(&neighbor),
        };
        let max_prefixes = neighbor.max_prefixes;
        let board = Arc::new(SessionBoard::new(neighbor, range, Instant::now()));
        let task = SessionTask::new(SessionSetup {
            id,
            settings,
            max_prefixes,
            dial,
            board: Arc::clone(&board),
            tap: self.tap.clone(),
            incoming: incoming_receiver,
            commands: command_receiver,
            to_rib: self.to_rib.clone(),
            over_limit: limit_receiver,
            closing: self.closing.clone(),
        });
        (Arc::new(Member { board, commands, incoming, over_limit }), task)
    }
}
