//! File ranges that a connection has promised to send, and the bytes that stand for them inside hyper.
//!
//! hyper moves `Bytes` from a body to a socket and never looks at them. So a body can hand it a slice of zeros as long as
//! the file range that is meant, and keep the range itself here; the [transport](super::transport) knows the slice again
//! and sends the file instead. The zeros are one region of memory that nobody ever touches: it costs addresses only.
//!
//! Each promise has its own place in the region, the next one's is behind it. So a slice says not only that it stands
//! for something, but for what: one that is not what the oldest promise still owes fails the connection.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;

use crate::store::{BLOCK, PinnedBlock};

/// Addresses taken for the zeros, in bytes.
const REGION: usize = 64 << 20;

static ZEROS: LazyLock<&'static [u8]> = LazyLock::new(|| {
    // So large a piece of zeros comes from the system as it is, without being written or given memory.
    Box::leak(vec![0; REGION].into_boxed_slice())
});

/// Whether `slice` stands for a file range.
pub(super) fn is_stand_in(slice: &[u8]) -> bool {
    !slice.is_empty() && ZEROS.as_ptr_range().contains(&slice.as_ptr())
}

/// What one connection has promised and not sent yet, oldest first.
///
/// Body and transport of the connection share it. Both belong to the connection's task, so that the lock is always free.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Promises>>);

#[derive(Debug, Default)]
struct Promises {
    owed: VecDeque<Promise>,
    /// Where in the region the next promise's place is.
    next: usize,
}

/// A part of a block to be sent. It keeps the block pinned.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) block: Arc<PinnedBlock>,
    /// What is left of it.
    pub(super) range: Range<u32>,
    /// Where in the region the stand-in for that is.
    place: usize,
}

impl Outbox {
    /// Promises `range` of `block`, whose bytes must be at hand, and returns what stands for it.
    pub(super) fn promise(&self, block: Arc<PinnedBlock>, range: Range<u32>) -> Bytes {
        const { assert!(BLOCK as usize <= REGION / 2) };
        let length = range.end.saturating_sub(range.start) as usize;
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if REGION - promises.next < length {
            promises.next = 0;
        }
        let place = promises.next;
        let Some(stand_in) = ZEROS.get(place..place + length).filter(|slice| !slice.is_empty())
        else {
            return Bytes::new();
        };
        promises.next += length;
        promises.owed.push_back(Promise { block, range, place });
        Bytes::from_static(stand_in)
    }

    /// Has `send` send from the oldest promise, if `slice` is what stands for the rest of it; `None` if it is not. What
    /// `send` returns is taken off the promise, and a promise that is kept is forgotten.
    pub(super) fn keep<E>(
        &self,
        slice: &[u8],
        send: impl FnOnce(&Promise) -> Result<usize, E>,
    ) -> Option<Result<usize, E>> {
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = promises.owed.front_mut()?;
        let rest = oldest.range.end.saturating_sub(oldest.range.start) as usize;
        let stand_in = ZEROS.get(oldest.place..oldest.place + rest)?;
        if !std::ptr::eq(stand_in, slice) {
            return None;
        }
        let sent = send(oldest);
        if let Ok(sent) = &sent {
            oldest.place += sent;
            oldest.range.start += u32::try_from(*sent).unwrap_or(u32::MAX).min(rest as u32);
            if oldest.range.is_empty() {
                promises.owed.pop_front();
            }
        }
        Some(sent)
    }

    /// How many promises are open.
    #[cfg(test)]
    pub(super) fn owed(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).owed.len()
    }
}
