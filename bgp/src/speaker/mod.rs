//! The tokio edge of the speaker: sockets and tasks.
//!
//! ```text
//! listener ──socket──▶ session task ──Batch──▶ rib task ◀──Request── SpeakerHandle
//!  (one an address)     (one a neighbor)        (one)
//! ```
//!
//! All channels are bounded; [`rib_task`] and [`listener`] say what happens when one is full. What
//! the tasks publish of themselves is in [`status`], so that nobody who asks for the status waits;
//! what they remember is in [`history`], and [`tap`] is for those who follow every message.

mod handle;
mod history;
mod link;
mod listener;
mod recorder;
mod recording;
mod rib_task;
mod session_task;
mod socket;
mod status;
mod tap;
mod tcp_md5;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use mcc_config::Neighbor;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use handle::{CommandError, FootprintSubscription, FootprintUpdate, SpeakerHandle, Stopped};
pub use history::{Fault, MalformedMessage, MessageRecord, SessionHistory, StateChange};
use listener::Listener;
use rib_task::RibTask;
use session_task::{Command, SessionSetup, SessionTask};
use socket::{DialSettings, ListenError};
use status::{Board, SessionBoard};
pub use status::{
    CountsByType, FootprintStatus, LastError, MessageCounts, NeighborDetail, NeighborStatus,
    SessionKind, SpeakerStatus, TimerStatus,
};
pub use tap::{
    ConnectionEnds, Direction, EstablishedSession, Observation, Observed, SessionEnds, Tap,
    TapSubscription,
};

use crate::policy::{AcceptPolicy, Identity, PolicyError};
use crate::rib::{NeighborId, NeighborRules, Rib, RibSummary};
use crate::session::PeerSettings;

/// How many batches wait for the RIB, of all neighbors together: enough to keep it busy. One holds
/// what one read brought, up to 64 KiB, which is six times as much once it is decoded (of one-byte
/// prefixes 24 times): usually some 3 MiB, 12 MiB at worst.
const BATCHES: usize = 8;
/// How many questions wait for the RIB; further askers wait too.
const REQUESTS: usize = 64;
/// How many commands, and how many connections, wait for a session task.
const COMMANDS: usize = 8;
/// How long a shutdown waits for the last words to be written.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);

/// What a speaker is to do.
#[derive(Debug, Clone)]
pub struct SpeakerSettings {
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Addresses to accept sessions on; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// The routers.
    pub neighbors: Vec<Neighbor>,
    /// Prefixes entered by hand.
    pub manual: Vec<IpNet>,
    /// Offers IPv6 unicast to the neighbors.
    pub ipv6: bool,
}

/// Why the speaker does not start. What the system says is the `source`, not part of the text.
#[derive(Debug, Error)]
pub enum StartError {
    /// Two neighbors have one address.
    #[error("bgp.neighbor: {0} is there twice; one address can have one session only")]
    DuplicateNeighbor(IpAddr),
    /// There are more neighbors than this speaker can number.
    #[error("bgp.neighbor: {0} neighbors; at most 65535 are possible")]
    TooManyNeighbors(usize),
    /// An accept rule cannot be read.
    #[error("bgp.neighbor {neighbor}: the accept rules cannot be used")]
    Policy {
        /// Whose rule.
        neighbor: IpAddr,
        /// What is wrong.
        source: PolicyError,
    },
    /// An address cannot be listened on.
    #[error(
        "bgp.listen: cannot listen on {address} (a port below 1024 needs CAP_NET_BIND_SERVICE; `ss -ltnp` shows who has it)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel does not take a TCP MD5 password.
    #[error("bgp.neighbor {neighbor}: the system does not take the TCP MD5 password")]
    Password {
        /// Whose password.
        neighbor: IpAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A running speaker. Dropping it ends the sessions without waiting.
#[derive(Debug)]
pub struct Speaker {
    handle: SpeakerHandle,
    local_addrs: Vec<SocketAddr>,
    /// Listeners and RIB.
    stop: CancellationToken,
    sessions: TaskTracker,
    closing: TaskTracker,
    others: TaskTracker,
}

impl Speaker {
    /// Starts listening and dialling. Without neighbors the footprint is the manual prefixes.
    ///
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Settings that cannot be, or an address that cannot be listened on.
    pub fn start(settings: SpeakerSettings) -> Result<Self, StartError> {
        let now = Instant::now();
        let rules = neighbor_rules(&settings)?;
        let listeners = listen(&settings)?;
        let local_addrs = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();

        let board = |neighbor| Arc::new(SessionBoard::new(neighbor, now));
        let board = Arc::new(Board {
            router_id: settings.router_id,
            sessions: settings.neighbors.into_iter().map(board).collect(),
            rib: ArcSwap::from_pointee(RibSummary::default()),
            unknown_connections: AtomicU64::new(0),
        });
        let tap = Tap::new();
        let stop = CancellationToken::new();
        let (sessions, closing, others) =
            (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
        let (batch_sender, batches) = mpsc::channel(BATCHES);
        let (request_sender, requests) = mpsc::channel(REQUESTS);

        let mut commands = Vec::new();
        let mut incoming = HashMap::new();
        let mut over_limit = Vec::new();
        for (index, session_board) in board.sessions.iter().enumerate() {
            let neighbor = session_board.neighbor();
            let (command_sender, command_receiver) = mpsc::channel(COMMANDS);
            let (incoming_sender, incoming_receiver) = mpsc::channel(COMMANDS);
            let (limit_sender, limit_receiver) = watch::channel(0);
            let setup = SessionSetup {
                id: NeighborId(u16::try_from(index).unwrap_or(u16::MAX)),
                settings: PeerSettings::from_config(neighbor, settings.router_id, settings.ipv6),
                max_prefixes: neighbor.max_prefixes,
                dial: DialSettings {
                    target: SocketAddr::new(neighbor.address, neighbor.port),
                    source: socket::source_address(&settings.listen, neighbor.address),
                    key: neighbor.password.clone(),
                },
                board: Arc::clone(session_board),
                tap: tap.clone(),
                incoming: incoming_receiver,
                commands: command_receiver,
                batches: batch_sender.clone(),
                over_limit: limit_receiver,
                closing: closing.clone(),
            };
            sessions.spawn(SessionTask::new(setup).run());
            commands.push(command_sender);
            incoming.insert(neighbor.address.to_canonical(), incoming_sender);
            over_limit.push(limit_sender);
        }
        let rib = Rib::new(rules, &settings.manual, now);
        board.rib.store(Arc::new(rib.summary()));
        let rib_task = RibTask {
            rib,
            board: Arc::clone(&board),
            batches,
            requests,
            over_limit,
            waiting: Vec::new(),
            stop: stop.clone(),
        };
        others.spawn(rib_task.run());
        let incoming = Arc::new(incoming);
        for listener in listeners {
            let (sessions, board) = (Arc::clone(&incoming), Arc::clone(&board));
            others.spawn(Listener { listener, sessions, board, stop: stop.clone() }.run());
        }
        let handle =
            SpeakerHandle { board, tap, requests: request_sender, commands: commands.into() };
        Ok(Self { handle, local_addrs, stop, sessions, closing, others })
    }

    /// For the rest of the node.
    #[must_use]
    pub fn handle(&self) -> SpeakerHandle {
        self.handle.clone()
    }

    /// The addresses that are listened on, in the order of the settings.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Ends all sessions with Cease / Administrative Shutdown and `text` for the routers' operators
    /// (RFC 9003, at most 255 bytes are sent), and waits up to 3 s for it to be written.
    pub async fn shutdown(self, text: Option<&str>) {
        let shut_down = async {
            for commands in self.handle.commands.iter() {
                // A task that has ended has nothing to say.
                let _ = commands.send(Command::Shutdown(text.map(ToOwned::to_owned))).await;
            }
            self.sessions.close();
            self.sessions.wait().await;
            self.closing.close();
            self.closing.wait().await;
            self.handle.tap.close();
            self.stop.cancel();
            self.others.close();
            self.others.wait().await;
        };
        if timeout(SHUTDOWN_TIME, shut_down).await.is_err() {
            tracing::warn!("some routers did not take the end of their session in time");
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        for commands in self.handle.commands.iter() {
            // Full or closed: the task ends all the same, when the runtime does.
            let _ = commands.try_send(Command::Shutdown(None));
        }
        self.handle.tap.close();
        self.stop.cancel();
    }
}

fn neighbor_rules(settings: &SpeakerSettings) -> Result<Vec<NeighborRules>, StartError> {
    let neighbors = &settings.neighbors;
    if neighbors.len() > usize::from(u16::MAX) {
        return Err(StartError::TooManyNeighbors(neighbors.len()));
    }
    let mut addresses = std::collections::HashSet::new();
    let rules = neighbors.iter().map(|neighbor| {
        if !addresses.insert(neighbor.address.to_canonical()) {
            return Err(StartError::DuplicateNeighbor(neighbor.address));
        }
        rules_of(neighbor, settings.router_id)
            .map_err(|source| StartError::Policy { neighbor: neighbor.address, source })
    });
    rules.collect()
}

/// What the RIB has to know of a neighbor, from its settings.
///
/// # Errors
/// An accept rule that cannot be read.
pub(crate) fn rules_of(
    neighbor: &Neighbor,
    router_id: Ipv4Addr,
) -> Result<NeighborRules, PolicyError> {
    let identity = Identity {
        local_asn: neighbor.effective_local_asn().get(),
        remote_asn: neighbor.asn.get(),
        router_id,
        role: neighbor.role,
    };
    Ok(NeighborRules {
        address: neighbor.address,
        asn: neighbor.asn.get(),
        max_prefixes: neighbor.max_prefixes,
        stale_time: Duration::from_secs(u64::from(neighbor.stale_time)),
        policy: AcceptPolicy::from_rules(&neighbor.accept, identity)?,
    })
}

fn listen(settings: &SpeakerSettings) -> Result<Vec<TcpListener>, StartError> {
    let keys: Vec<_> = settings
        .neighbors
        .iter()
        .filter_map(|neighbor| Some((neighbor.address, neighbor.password.clone()?)))
        .collect();
    let listen = |&address: &SocketAddr| {
        socket::listen(address, &keys).map_err(|error| match error {
            ListenError::Listen(source) => StartError::Listen { address, source },
            ListenError::Key(neighbor, source) => StartError::Password { neighbor, source },
        })
    };
    settings.listen.iter().map(listen).collect()
}
