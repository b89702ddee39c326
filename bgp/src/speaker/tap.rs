//! The tap: what the sessions report of themselves while they run, for whoever listens.
//!
//! A capture, an MRT log and a BMP station are listeners. Each has a bounded queue of its own: when
//! it is full the observation is dropped for that listener and counted, and the session goes on. A
//! session never waits for a listener, and while nobody listens a message costs one atomic load.

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::history::MalformedMessage;
use crate::rib::Departure;
use crate::session::{Negotiated, SessionError, State};
use crate::wire::{DecodeContext, Nlri};

/// The most observations that wait for one listener.
const QUEUE: usize = 65_536;
/// The most bytes of messages that wait for one listener.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// Something that a session saw.
#[derive(Debug, Clone)]
pub struct Observation {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Whose session.
    pub neighbor: SessionEnds,
    /// What.
    pub what: Observed,
}

/// The two sides of a session, as far as the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnds {
    /// The router's address.
    pub address: IpAddr,
    /// The router's AS number.
    pub asn: u32,
    /// Our AS number in this session.
    pub local_asn: u32,
    /// Our BGP identifier.
    pub router_id: std::net::Ipv4Addr,
}

/// What a session saw.
#[derive(Debug, Clone)]
pub enum Observed {
    /// A whole message came in or went out. There can be two connections to one neighbor until one
    /// of them wins (RFC 4271 §6.8): `connection` tells them apart.
    Message {
        /// Which way.
        direction: Direction,
        /// On which TCP connection.
        connection: ConnectionEnds,
        /// How it is to be read. The default before both OPENs are there.
        context: DecodeContext,
        /// The message, from its marker on. Of bytes that are no message what there is of them.
        bytes: Bytes,
    },
    /// The session came to another state.
    State {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// Why, in words.
        reason: String,
        /// The failure that led to it, if one did. The NOTIFICATION itself was observed before.
        error: Option<SessionError>,
    },
    /// The session is established; follows the change of state.
    Established(Arc<EstablishedSession>),
    /// A message had a fault. It was observed before as a message, too.
    Malformed(Arc<MalformedMessage>),
    /// Routes have gone without a message that says so.
    Departed(Departure, Arc<[Nlri]>),
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the neighbor.
    Received,
    /// To the neighbor.
    Sent,
}

/// The addresses of one TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionEnds {
    /// Ours.
    pub local: SocketAddr,
    /// The router's.
    pub remote: SocketAddr,
}

/// How an established session began: what a listener that comes later has to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstablishedSession {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Whose session.
    pub neighbor: SessionEnds,
    /// The TCP connection.
    pub connection: ConnectionEnds,
    /// Our OPEN, from its marker on.
    pub sent_open: Bytes,
    /// The router's OPEN, from its marker on.
    pub received_open: Bytes,
    /// How messages are to be read.
    pub context: DecodeContext,
    /// What both sides agreed on.
    pub negotiated: Arc<Negotiated>,
}

impl EstablishedSession {
    /// The two OPENs as they would have been observed, each at the time when the session was
    /// established.
    #[must_use]
    pub fn opens(&self) -> [Observation; 2] {
        let open = |direction, bytes: &Bytes| Observation {
            at: self.at,
            neighbor: self.neighbor,
            what: Observed::Message {
                direction,
                connection: self.connection,
                context: DecodeContext::default(),
                bytes: bytes.clone(),
            },
        };
        [open(Direction::Sent, &self.sent_open), open(Direction::Received, &self.received_open)]
    }
}

/// Where sessions report and listeners subscribe. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tap {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many listeners there are; asked for each message.
    listening: AtomicUsize,
    /// `None` once the speaker has stopped.
    listeners: ArcSwap<Option<Vec<Listener>>>,
}

#[derive(Debug, Clone)]
struct Listener {
    /// Only this neighbor.
    neighbor: Option<IpAddr>,
    queue: mpsc::Sender<Observation>,
    load: Arc<Load>,
}

/// How it goes with a listener's queue.
#[derive(Debug, Default)]
struct Load {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Tap {
    pub(super) fn new() -> Self {
        let listeners = ArcSwap::from_pointee(Some(Vec::new()));
        Self { shared: Arc::new(Shared { listening: AtomicUsize::new(0), listeners }) }
    }

    /// Listens from now on: to all neighbors, or to one. See [`TapSubscription`].
    #[must_use]
    pub fn subscribe(&self, neighbor: Option<IpAddr>) -> TapSubscription {
        let (queue, observations) = mpsc::channel(QUEUE);
        let listener = Listener { neighbor, queue, load: Arc::default() };
        self.shared.listening.fetch_add(1, Ordering::Relaxed);
        self.shared.listeners.rcu(|all| {
            let all = all.as_ref().as_ref()?;
            Some(all.iter().chain([&listener]).cloned().collect())
        });
        let (shared, load) = (Arc::clone(&self.shared), listener.load);
        TapSubscription { shared, load, observations, told: 0 }
    }

    /// Whether anybody listens. If not, there is no need to make an observation.
    pub(super) fn is_open(&self) -> bool {
        self.shared.listening.load(Ordering::Relaxed) > 0
    }

    /// Offers an observation to everyone who listens.
    pub(super) fn report(&self, observation: &Observation) {
        for listener in self.shared.listeners.load().iter().flatten() {
            if listener.neighbor.is_none_or(|address| address == observation.neighbor.address) {
                listener.offer(observation);
            }
        }
    }

    /// Says that nothing more will come.
    pub(super) fn close(&self) {
        self.shared.listeners.store(Arc::new(None));
    }
}

impl Listener {
    fn offer(&self, observation: &Observation) {
        let length = observation.message_length();
        let queued = self.load.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let fits = queued + length <= QUEUED_BYTES;
        if !fits || self.queue.try_send(observation.clone()).is_err() {
            self.load.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            self.load.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observation {
    fn message_length(&self) -> usize {
        match &self.what {
            Observed::Message { bytes, .. } => bytes.len(),
            Observed::Departed(_, routes) => size_of_val(routes.as_ref()),
            Observed::State { .. } | Observed::Established(_) | Observed::Malformed(_) => 0,
        }
    }
}

/// A listener's end of the tap. It holds 65,536 observations, and 16 MiB of messages among them;
/// what comes while it is full is dropped and counted. Dropping it ends the listening.
#[derive(Debug)]
pub struct TapSubscription {
    shared: Arc<Shared>,
    load: Arc<Load>,
    observations: mpsc::Receiver<Observation>,
    /// How many dropped observations [`TapSubscription::newly_dropped`] has told of.
    told: u64,
}

impl TapSubscription {
    /// The next observation; waits for it. Those of one neighbor come in the order in which they
    /// were made. `None`: the speaker has stopped. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Observation> {
        let observation = self.observations.recv().await?;
        self.took(&observation);
        Some(observation)
    }

    /// The next observation if it is there already.
    pub fn try_next(&mut self) -> Option<Observation> {
        let observation = self.observations.try_recv().ok()?;
        self.took(&observation);
        Some(observation)
    }

    fn took(&self, observation: &Observation) {
        self.load.queued_bytes.fetch_sub(observation.message_length(), Ordering::Relaxed);
    }

    /// How many observations were dropped because this listener was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.load.dropped.load(Ordering::Relaxed)
    }

    /// How many of them were dropped since this was asked last.
    pub fn newly_dropped(&mut self) -> u64 {
        let dropped = self.dropped();
        dropped - mem::replace(&mut self.told, dropped)
    }
}

impl Drop for TapSubscription {
    fn drop(&mut self) {
        self.shared.listening.fetch_sub(1, Ordering::Relaxed);
        self.shared.listeners.rcu(|all| {
            let others = all.as_ref().as_ref()?.iter();
            Some(others.filter(|other| !Arc::ptr_eq(&other.load, &self.load)).cloned().collect())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn message(address: [u8; 4], length: usize) -> Observation {
        let address = IpAddr::from(address);
        let ends = SocketAddr::new(address, 179);
        Observation {
            at: Timestamp::UNIX_EPOCH,
            neighbor: SessionEnds {
                address,
                asn: 65100,
                local_asn: 65100,
                router_id: Ipv4Addr::LOCALHOST,
            },
            what: Observed::Message {
                direction: Direction::Received,
                connection: ConnectionEnds { local: ends, remote: ends },
                context: DecodeContext::default(),
                bytes: Bytes::from(vec![0xff; length]),
            },
        }
    }

    #[test]
    fn a_listener_hears_its_neighbor_until_it_goes() {
        let tap = Tap::new();
        assert!(!tap.is_open());
        let (first, second) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let mut one = tap.subscribe(Some(first.into()));
        let mut all = tap.subscribe(None);
        assert!(tap.is_open());
        tap.report(&message(first, 19));
        tap.report(&message(second, 19));
        assert_eq!(one.try_next().unwrap().neighbor.address, IpAddr::from(first));
        assert!(one.try_next().is_none());
        assert_eq!(all.try_next().unwrap().neighbor.address, IpAddr::from(first));
        assert_eq!(all.try_next().unwrap().neighbor.address, IpAddr::from(second));
        drop(one);
        assert!(tap.is_open());
        drop(all);
        assert!(!tap.is_open());
        assert!(tap.shared.listeners.load().as_ref().as_ref().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_speaker_that_has_stopped_ends_the_listening() {
        let tap = Tap::new();
        let mut before = tap.subscribe(None);
        tap.report(&message([192, 0, 2, 1], 19));
        tap.close();
        assert!(before.next().await.is_some(), "what was said is heard");
        assert!(before.next().await.is_none());
        assert!(tap.subscribe(None).next().await.is_none());
    }

    #[test]
    fn a_slow_listener_loses_messages_and_knows_how_many() {
        let tap = Tap::new();
        let mut slow = tap.subscribe(None);
        let big = message([192, 0, 2, 1], 65_535);
        let fit = QUEUED_BYTES / 65_535;
        for _ in 0..fit + 3 {
            tap.report(&big);
        }
        assert_eq!((slow.dropped(), slow.newly_dropped(), slow.newly_dropped()), (3, 3, 0));
        // What is taken makes room.
        assert!(slow.try_next().is_some());
        tap.report(&big);
        assert_eq!(slow.newly_dropped(), 0);
        // Small ones are bounded by their number.
        let mut slow = tap.subscribe(None);
        for _ in 0..QUEUE + 5 {
            tap.report(&message([192, 0, 2, 1], 19));
        }
        assert_eq!(slow.newly_dropped(), 5);
    }
}
