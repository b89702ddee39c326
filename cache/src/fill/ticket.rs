//! The interest of one reader in an object: where it is, where it ends, and when it has gone.
//!
//! A coordinator holds the [`Interest`] of each reader and fetches what they will need. The reader holds the
//! [`Ticket`]; dropping it tells the coordinator.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use tokio::sync::Notify;

use crate::request::Target;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a coordinator sees of a reader.
#[derive(Debug)]
pub(crate) struct Interest {
    id: u64,
    target: Target,
    carried: HeaderMap,
    /// The block it is at.
    next: AtomicU32,
    /// The last block it wants.
    last: AtomicU32,
    finished: AtomicBool,
    gone: AtomicBool,
    left: OnceLock<Arc<Notify>>,
}

impl Interest {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What to ask the origin for on behalf of this reader.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Fields of the client's request that go to the origin: `User-Agent`, `Via`.
    pub(super) fn carried(&self) -> &HeaderMap {
        &self.carried
    }

    pub(super) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    pub(super) fn last(&self) -> u32 {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) fn has_left(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether it got all that it wanted before it left.
    pub(super) fn has_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Whom to wake when the reader leaves.
    pub(super) fn wake(&self, left: &Arc<Notify>) {
        let _ = self.left.set(left.clone());
    }
}

/// A reader's own handle.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Interest>);

impl Ticket {
    /// A reader that begins at block `next`, asks as `target` and has the fields `carried` sent along.
    pub(crate) fn new(target: Target, carried: HeaderMap, next: u32, last: u32) -> Self {
        Self(Arc::new(Interest {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            target,
            carried,
            next: AtomicU32::new(next),
            last: AtomicU32::new(last),
            finished: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            left: OnceLock::new(),
        }))
    }

    /// A reader of other blocks that asks as the one whose `interest` this is.
    pub(super) fn again(interest: &Interest, next: u32, last: u32) -> Self {
        Self::new(interest.target.clone(), interest.carried.clone(), next, last)
    }

    pub(super) fn interest(&self) -> &Arc<Interest> {
        &self.0
    }

    /// What the reader asks the origin for.
    pub(crate) fn target(&self) -> &Target {
        self.0.target()
    }

    /// The reader now knows the blocks that it wants.
    pub(super) fn wants(&self, next: u32, last: u32) {
        self.0.next.store(next, Ordering::Relaxed);
        self.0.last.store(last, Ordering::Relaxed);
    }

    /// The reader has come to block `next`.
    pub(super) fn at(&self, next: u32) {
        self.0.next.store(next, Ordering::Relaxed);
    }

    /// The reader has got everything.
    pub(super) fn finish(&self) {
        self.0.finished.store(true, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
        if let Some(left) = self.0.left.get() {
            left.notify_one();
        }
    }
}
