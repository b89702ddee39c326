//! The tokio edge of the speaker: sockets and tasks.
//!
//! ```text
//! listener ──socket──▶ session task ──Batch──▶ rib task ◀──Request── SpeakerHandle
//!  (one an address)     (one a neighbor)        (one)
//!    └──socket──▶ dynamic task ──makes──┘──Add──┘
//!                 (one)
//! ```
//!
//! Who the neighbors are stands in [`member`]; [`dynamic`] lets in those that are not configured one
//! by one.
//!
//! All channels are bounded; [`rib_task`] and [`listener`] say what happens when one is full. What
//! the tasks publish of themselves is in [`status`], so that nobody who asks for the status waits;
//! what they remember is in [`history`], and [`tap`] is for those who follow every message.

mod authentication;
mod dynamic;
mod first_open;
mod handle;
mod history;
mod last_good;
mod link;
mod listener;
mod member;
mod recorder;
mod recording;
mod rib_task;
mod session_task;
mod socket;
mod status;
mod strangers;
mod tap;
mod tcp_hops;
mod tcp_md5;
mod tcp_refused;
#[cfg(test)]
mod tests;
mod ttl_filter;
mod words;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use mcc_config::{Asn, DynamicNeighbors, Neighbor};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use dynamic::{ARRIVALS, DynamicTask, LINGER, Range, Running};
pub use handle::{CommandError, FootprintSubscription, FootprintUpdate, SpeakerHandle, Stopped};
pub use history::{
    Fault, MalformedMessage, MalformedMessages, MessageRecord, SessionHistory, StateChange,
};
use last_good::{LastGoodTask, SavingBoard};
pub use last_good::{SavingFailure, SavingStatus};
use listener::Listener;
use member::{Origin, Roster, SessionMaker};
use rib_task::RibTask;
use session_task::Command;
use socket::{ListenError, TcpSettings};
use status::Board;
pub use status::{
    CountsByType, DynamicRefusals, DynamicStatus, FootprintStatus, HeldStatus, LastError,
    MessageCounts, NeighborDetail, NeighborStatus, OperatorShutdown, SessionKind, SpeakerStatus,
    TimerStatus,
};
pub use tap::{
    ConnectionEnds, Direction, EstablishedSession, Observation, Observed, SessionEnds, Tap,
    TapSubscription,
};

use crate::policy::{AcceptPolicy, Identity, PolicyError};
use crate::rib::{ExportRules, NeighborId, NeighborRules, PrefixLimit, Rib};

/// How many batches wait for the RIB, of all neighbors together: enough to keep it busy. One holds
/// what one read brought, up to 64 KiB, which is six times as much once it is decoded (of one-byte
/// prefixes 24 times): usually some 3 MiB, 12 MiB at worst.
const BATCHES: usize = 8;
/// How many questions wait for the RIB; further askers wait too.
const REQUESTS: usize = 64;
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
    /// Where further routers may come from.
    pub dynamic: Vec<DynamicNeighbors>,
    /// Prefixes entered by hand.
    pub manual: Vec<IpNet>,
    /// Offers IPv6 unicast to the neighbors.
    pub ipv6: bool,
    /// Accepts nothing from external neighbors without accept rules (RFC 8212).
    pub ebgp_requires_rules: bool,
    /// How subscribers are guarded against accidents of the routers.
    pub export: ExportRules,
    /// Where the footprint is kept for the next start; none: nowhere.
    pub last_good: Option<PathBuf>,
    /// How long what was kept there stays at most after a start, for a router that does not come
    /// back; 0: it is not used.
    pub last_good_time: Duration,
}

impl SpeakerSettings {
    /// A speaker that listens nowhere and knows nobody, to be changed field by field.
    #[must_use]
    pub fn new(router_id: Ipv4Addr) -> Self {
        Self {
            router_id,
            listen: Vec::new(),
            neighbors: Vec::new(),
            dynamic: Vec::new(),
            manual: Vec::new(),
            ipv6: false,
            ebgp_requires_rules: false,
            export: ExportRules::default(),
            last_good: None,
            last_good_time: Duration::from_secs(86_400),
        }
    }
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
    /// Accept rules are impossible.
    #[error("bgp.neighbor {neighbor}: the accept rules cannot be used")]
    Policy {
        /// Whose rule.
        neighbor: IpAddr,
        /// What is wrong.
        source: PolicyError,
    },
    /// An address cannot be listened on.
    #[error("bgp.listen: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Two dynamic prefixes are one.
    #[error("bgp.dynamic: {0} is there twice; each prefix can be there once")]
    DuplicatePrefix(IpNet),
    /// The accept rules of a dynamic prefix cannot be read.
    #[error("bgp.dynamic {prefix}: the accept rules cannot be used")]
    DynamicPolicy {
        /// Whose rules.
        prefix: IpNet,
        /// What is wrong.
        source: PolicyError,
    },
    /// The kernel does not take a TCP MD5 password.
    #[error(
        "the password of BGP neighbor {neighbor}: the system does not take the TCP MD5 password"
    )]
    Password {
        /// Whose password; all of a prefix, if it is a dynamic one.
        neighbor: IpNet,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel does not take the filter that keeps TTL security on a listener.
    #[error(
        "the `ttl_security` of {neighbors} BGP neighbors: the system takes no filter for so many on {address} (a larger `net.core.optmem_max` takes more; a [[bgp.dynamic]] prefix counts as one)"
    )]
    TtlFilter {
        /// Where they would be listened for.
        address: SocketAddr,
        /// How many.
        neighbors: usize,
        /// What the system says.
        source: io::Error,
    },
}

/// A running speaker. Dropping it ends the sessions without waiting.
#[derive(Debug)]
pub struct Speaker {
    handle: SpeakerHandle,
    local_addrs: Vec<SocketAddr>,
    /// Of listeners and of the task of dynamic neighbors.
    stop_accepting: CancellationToken,
    /// Of the RIB.
    stop: CancellationToken,
    stop_saving: CancellationToken,
    accepting: TaskTracker,
    sessions: TaskTracker,
    closing: TaskTracker,
    saving: TaskTracker,
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
        Self::start_with(settings, LINGER)
    }

    /// `linger`: how long a dynamic neighbor stays that has neither connection nor routes.
    fn start_with(settings: SpeakerSettings, linger: Duration) -> Result<Self, StartError> {
        let now = Instant::now();
        let mut rules = neighbor_rules(&settings)?;
        let listeners = listen(&settings)?;
        let local_addrs = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();

        let ranges: Vec<_> = settings.dynamic.into_iter().map(Range::new).collect();
        let keep = settings.last_good_time;
        let saved = settings.last_good.as_deref().filter(|_| !keep.is_zero());
        let saving = SavingBoard::default();
        let read = |file| last_good::read(file, settings.ipv6, &saving);
        let saved = saved.map(read).unwrap_or_default();
        let mut returning = last_good::dynamic_neighbors(&saved, &settings.neighbors, &ranges);
        returning.truncate(usize::from(u16::MAX) - rules.len());
        for (neighbor, prefix) in &returning {
            let rules_of = rules_of(neighbor, settings.router_id, settings.ebgp_requires_rules);
            let prefix = *prefix;
            rules.push(rules_of.map_err(|source| StartError::DynamicPolicy { prefix, source })?);
        }
        let mut rib = Rib::new(rules, &settings.manual, settings.export, now);
        last_good::restore(saved, keep, &mut rib, now);
        let restored = rib.summary();
        let board = Arc::new(Board {
            router_id: settings.router_id,
            ebgp_requires_rules: settings.ebgp_requires_rules,
            roster: Roster::default(),
            ranges,
            rib: ArcSwap::from_pointee(restored.clone()),
            unknown_connections: AtomicU64::new(0),
            saving,
        });
        let tap = Tap::new();
        let (stop, stop_accepting) = (CancellationToken::new(), CancellationToken::new());
        let (accepting, sessions) = (TaskTracker::new(), TaskTracker::new());
        let (closing, others) = (TaskTracker::new(), TaskTracker::new());
        let (to_rib, events) = mpsc::channel(BATCHES);
        let (request_sender, requests) = mpsc::channel(REQUESTS);

        let maker = SessionMaker {
            router_id: settings.router_id,
            ebgp_requires_rules: settings.ebgp_requires_rules,
            ipv6: settings.ipv6,
            listen: settings.listen,
            tap: tap.clone(),
            to_rib,
            closing: closing.clone(),
        };
        let (mut configured, mut running) = (HashMap::new(), HashMap::new());
        let neighbors = settings.neighbors.into_iter().map(|neighbor| (neighbor, None));
        let returning = returning.into_iter().map(|(neighbor, prefix)| (neighbor, Some(prefix)));
        for (id, (neighbor, range)) in
            (0..=u16::MAX).map(NeighborId).zip(neighbors.chain(returning))
        {
            let address = neighbor.address.to_canonical();
            let routes = restored.neighbors.get(usize::from(id.0));
            let origin = Origin { restarted: routes.is_some_and(|n| n.stale > 0), range };
            let (member, task) = maker.make(id, neighbor, origin);
            board.roster.add(id, &member);
            let task = sessions.spawn(task.run());
            match range {
                None => drop(configured.insert(address, member)),
                Some(prefix) => drop(running.insert(address, Running { id, member, prefix, task })),
            }
        }
        let rib_task = RibTask {
            rib,
            board: Arc::clone(&board),
            tap: tap.clone(),
            events,
            requests,
            waiting: Vec::new(),
            newcomers: Vec::new(),
            stop: stop.clone(),
        };
        others.spawn(rib_task.run());
        let (saving, stop_saving) = (TaskTracker::new(), CancellationToken::new());
        if let Some(path) = settings.last_good {
            let requests = request_sender.clone();
            let task = LastGoodTask::new(
                path,
                Arc::clone(&board),
                requests,
                stop_saving.clone(),
                restored,
            );
            saving.spawn(task.run());
        }
        let (arrived, arrivals) = mpsc::channel(ARRIVALS);
        let (all, stop_all) = (sessions.clone(), stop_accepting.clone());
        let dynamic =
            DynamicTask::new(maker, Arc::clone(&board), arrivals, running, all, stop_all, linger);
        accepting.spawn(dynamic.run());
        let configured = Arc::new(configured);
        for listener in listeners {
            let listener = Listener {
                listener,
                configured: Arc::clone(&configured),
                dynamic: arrived.clone(),
                board: Arc::clone(&board),
                stop: stop_accepting.clone(),
            };
            accepting.spawn(listener.run());
        }
        let handle = SpeakerHandle { board, tap, requests: request_sender };
        Ok(Self {
            handle,
            local_addrs,
            stop_accepting,
            stop,
            stop_saving,
            accepting,
            sessions,
            closing,
            saving,
            others,
        })
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
    /// (RFC 9003, at most 255 bytes are sent), waits up to 3 s for it to be written, and up to 10 s
    /// for the footprint to be saved.
    pub async fn shutdown(self, text: Option<&str>) {
        let shut_down = async {
            // First of all nobody joins any more.
            self.stop_accepting.cancel();
            self.accepting.close();
            self.accepting.wait().await;
            for (_, member) in self.handle.board.roster.members() {
                // A task that has ended has nothing to say.
                let _ = member.commands.send(Command::Shutdown(text.map(ToOwned::to_owned))).await;
            }
            self.sessions.close();
            self.sessions.wait().await;
            self.closing.close();
            self.closing.wait().await;
            self.handle.tap.close();
        };
        if timeout(SHUTDOWN_TIME, shut_down).await.is_err() {
            tracing::warn!("some routers did not take the end of their session in time");
        }
        // The tasks end by themselves, and soon; the routes are still there, as stale ones.
        self.stop_saving.cancel();
        self.saving.close();
        self.saving.wait().await;
        self.stop.cancel();
        self.others.close();
        self.others.wait().await;
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.stop_accepting.cancel();
        for (_, member) in self.handle.board.roster.members() {
            // Full or closed: the task ends all the same, when the runtime does.
            let _ = member.commands.try_send(Command::Shutdown(None));
        }
        self.handle.tap.close();
        self.stop.cancel();
        self.stop_saving.cancel();
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
        rules_of(neighbor, settings.router_id, settings.ebgp_requires_rules)
            .map_err(|source| StartError::Policy { neighbor: neighbor.address, source })
    });
    let mut prefixes = std::collections::HashSet::new();
    for dynamic in &settings.dynamic {
        let prefix = dynamic.prefix.trunc();
        if !prefixes.insert(prefix) {
            return Err(StartError::DuplicatePrefix(prefix));
        }
        // Rules that cannot be read are found now, not when the first router comes: any AS will do.
        if let Some(asn) = Asn::new(1) {
            rules_of(
                &dynamic.neighbor(prefix.addr(), asn),
                settings.router_id,
                settings.ebgp_requires_rules,
            )
            .map_err(|source| StartError::DynamicPolicy { prefix, source })?;
        }
    }
    rules.collect()
}

/// What the RIB has to know of a neighbor, from its settings.
///
/// # Errors
/// An accept rule that cannot be read.
pub(crate) fn rules_of(
    neighbor: &Neighbor,
    router_id: Ipv4Addr,
    ebgp_requires_rules: bool,
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
        prefix_limit: PrefixLimit {
            limit: neighbor.max_prefixes,
            action: neighbor.max_prefixes_action,
            rest: Duration::from_secs(u64::from(neighbor.max_prefixes_rest)),
        },
        stale_time: Duration::from_secs(u64::from(neighbor.stale_time)),
        policy: AcceptPolicy::from_rules(&neighbor.accept, identity)?
            .requiring_ebgp_rules(ebgp_requires_rules),
    })
}

fn listen(settings: &SpeakerSettings) -> Result<Vec<TcpListener>, StartError> {
    let neighbors = settings.neighbors.iter().map(TcpSettings::of);
    let dynamic = settings.dynamic.iter().map(TcpSettings::of_dynamic);
    let tcp: Vec<_> = neighbors.chain(dynamic).collect();
    let listen = |&address: &SocketAddr| {
        socket::listen(address, &tcp).map_err(|error| match error {
            ListenError::Listen(source) => StartError::Listen { address, source },
            ListenError::Key(neighbor, source) => StartError::Password { neighbor, source },
            ListenError::TtlFilter(neighbors, source) => {
                StartError::TtlFilter { address, neighbors, source }
            }
        })
    };
    settings.listen.iter().map(listen).collect()
}
