//! Fetching from origins: each byte once, to everybody who waits for it, and to the drives.
//!
//! Each object that is being fetched has one [`coordinator`], a task that owns what is known about the fetch.
//! It exists only while somebody reads or something is in flight. Readers send it messages: *open* (what is this
//! object?) and *want* (this block is missing). It starts *runs*: one origin request each, for consecutive
//! blocks. A run's bytes go into [`flight`]s, which readers follow in memory.

mod answer;
mod content;
mod coordinator;
mod flight;
mod freshness;
mod open;
mod prefill;
mod reader;
mod run;
mod ticket;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(fuzzing)]
pub use answer::claim;
pub(crate) use answer::passed_on;
#[cfg(test)]
pub(crate) use content::Elsewhere;
pub(crate) use content::{Chunk, Content, Replacement, Source, StoredPart};
pub use prefill::{FillRate, PrefillError, PrefillProgress, Prefilled};
pub(crate) use reader::ObjectReader;
pub(crate) use ticket::Ticket;

use coordinator::{Coordinator, Message};
use flight::Flight;

use crate::counters::Counters;
use crate::origin::{OriginClient, OriginFailure};
use crate::store::{Object, ObjectKey, Store};

/// Messages that may wait for a coordinator. When it is full, readers and runs wait.
const MAILBOX: usize = 256;
/// How often a reader asks again when a fetch was given up while it came.
const ATTEMPTS: usize = 4;

/// Why bytes of an object are not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FillError {
    /// The origin failed.
    #[error(transparent)]
    Origin(#[from] OriginFailure),
    /// The fetch was given up, because nobody waited for it or the node stops.
    #[error("the fetch was given up")]
    Abandoned,
    /// Nothing came for so long, from the origin or a drive, that the client would take the node for dead.
    #[error("nothing came for {} s", .0.as_secs())]
    Late(Duration),
    /// A drive could not read the block, and it could not be fetched instead.
    #[error("the block cannot be read from its drive")]
    Unreadable,
}

impl FillError {
    /// What a client is told whose answer has not begun.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Origin(failure) => failure.status(),
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Abandoned | Self::Unreadable => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Times and bounds of fills.
#[derive(Debug, Clone)]
pub(crate) struct FillLimits {
    /// How long an origin may be silent in the middle of a body.
    pub(crate) stall: Duration,
    /// How long a client waits for its answer, and then for each next piece of it.
    pub(crate) patience: Duration,
    /// Blocks in memory, over all objects, from which on nothing is read ahead.
    pub(crate) blocks_in_memory: u64,
}

/// What all fills share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) client: OriginClient,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: FillLimits,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// Whether so much is in memory that only what somebody waits for is fetched.
    fn is_memory_full(&self) -> bool {
        self.counters.blocks_in_memory.get() >= self.limits.blocks_in_memory
    }

    /// Blocks in memory above the limit.
    fn excess(&self) -> u64 {
        self.counters.blocks_in_memory.get().saturating_sub(self.limits.blocks_in_memory)
    }
}

/// All fills of the node.
pub(crate) struct Fills {
    coordinators: Arc<Coordinators>,
    shared: Arc<Shared>,
}

/// The coordinators at work, by object.
type Coordinators = papaya::HashMap<ObjectKey, Handle>;

#[derive(Clone)]
struct Handle {
    id: u64,
    mailbox: mpsc::Sender<Message>,
    /// Whether there is more to it than readers who may come back in a moment.
    is_busy: Arc<AtomicBool>,
}

/// What an object turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Opened {
    /// It may be stored and is being fetched, or is still right as it is stored.
    Object { object: Arc<Object>, how: How },
    /// It must not be stored: the client's own request goes to the origin.
    PassThrough,
    /// The origin's own refusal.
    Reply(Arc<OriginReply>),
}

/// How an object became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// This request asked the origin for it.
    Fetched,
    /// Another request had asked already.
    Collapsed,
    /// The origin said that what is stored is still right.
    Revalidated,
    /// The origin is down, and what is stored may be served stale.
    Stale,
}

/// A complete short answer of an origin that is not content.
#[derive(Debug)]
pub(crate) struct OriginReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Where a missing block is now.
pub(crate) enum Located {
    /// In flight; `started` when this reader's request started the fetch.
    Flight { flight: Arc<Flight>, started: bool },
    /// On a drive by now.
    Stored,
}

impl Fills {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { coordinators: Arc::default(), shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Objects being fetched now.
    pub(crate) fn objects_in_flight(&self) -> usize {
        self.coordinators.len()
    }

    /// Whether something of `key` is being fetched now, or waits for a drive to write it.
    pub(crate) fn is_in_flight(&self, key: &ObjectKey) -> bool {
        let coordinators = self.coordinators.pin();
        coordinators.get(key).is_some_and(|handle| handle.is_busy.load(Ordering::Acquire))
    }

    /// Asks the origin what `key` is, unless somebody is asking already. `first` and `last` are the bytes
    /// wanted, as far as known: the answer brings the first blocks of them along. A `stale` object is revalidated.
    ///
    /// # Errors
    /// Why the origin could not be asked.
    pub(crate) async fn open(
        &self,
        key: &ObjectKey,
        ticket: &Ticket,
        first: u64,
        last: Option<u64>,
        stale: Option<&Arc<Object>>,
    ) -> Result<Opened, FillError> {
        self.ask(key, |reply| {
            Message::Open(open::Request {
                interest: ticket.interest().clone(),
                first,
                last,
                stale: stale.cloned(),
                reply,
            })
        })
        .await
    }

    /// Has block `index` of `object` fetched, unless it is in flight already. Returns the object to read on with:
    /// `object`, or the one with the same bytes that has taken its place after a purge.
    ///
    /// # Errors
    /// [`OriginFailure::Changed`] when another version has taken the object's place.
    async fn want(
        &self,
        object: &Arc<Object>,
        index: u32,
        ticket: &Ticket,
    ) -> Result<(Arc<Object>, Located), FillError> {
        self.ask(object.key(), |reply| Message::Want {
            object: object.clone(),
            index,
            interest: ticket.interest().clone(),
            reply,
        })
        .await
    }

    /// Sends a message to the coordinator of `key` and waits for its reply. A coordinator that is just
    /// finishing does not reply; then the next one is asked.
    async fn ask<T>(
        &self,
        key: &ObjectKey,
        message: impl Fn(oneshot::Sender<Result<T, FillError>>) -> Message,
    ) -> Result<T, FillError> {
        for _ in 0..ATTEMPTS {
            let (reply, answer) = oneshot::channel();
            if self.coordinator(key).send(message(reply)).await.is_ok()
                && let Ok(answer) = answer.await
            {
                return answer;
            }
            if self.shared.stop.is_cancelled() {
                break;
            }
        }
        Err(FillError::Abandoned)
    }

    /// The mailbox of the coordinator of `key`, which is started if there is none.
    fn coordinator(&self, key: &ObjectKey) -> mpsc::Sender<Message> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let coordinators = self.coordinators.pin();
        if let Some(handle) = coordinators.get(key) {
            return handle.mailbox.clone();
        }
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        let is_busy = Arc::new(AtomicBool::new(true));
        let mine = Handle { id: NEXT.fetch_add(1, Ordering::Relaxed), mailbox, is_busy };
        let handle = coordinators.get_or_insert(key.clone(), mine.clone());
        if handle.id == mine.id {
            let Handle { mailbox, is_busy, .. } = mine;
            let coordinator = Coordinator::new(key.clone(), self.shared.clone(), mailbox, is_busy);
            let coordinators = self.coordinators.clone();
            self.shared.tasks.spawn(coordinator.run(messages, move |key| {
                let _ = coordinators.pin().remove_if(key, |_, handle| handle.id == mine.id);
            }));
        }
        handle.mailbox.clone()
    }
}
