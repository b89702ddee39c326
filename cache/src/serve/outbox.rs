//! File ranges that a connection has promised to send, and the bytes that stand for them inside hyper.
//!
//! hyper moves `Bytes` from a body to a socket and never looks at them. So a body can hand it a slice of zeros as long as
//! the file range that is meant, and keep the range itself here; the [transport](super::transport) knows the slice again
//! and sends the file instead. The zeros are one region of memory that nobody ever touches: it costs addresses only.
//!
//! Each promise has its own place in the region, the next one's is behind it. So a slice says not only that it stands
//! for something, but for what: one that is not what the oldest promise still owes fails the connection.
//!
//! hyper counts on a promise from the moment that it is made. When its drive fails before it is kept, the rest of it is
//! turned over: the same bytes come from elsewhere, into memory, and the client notices nothing. So it is when memory has
//! let go of them while the client was waited for: the drive would be read again, by the thread that sends, and nobody
//! would compare what it gives.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;

use crate::fill::{Replacement, StoredPart};
use crate::store::BLOCK;

/// Addresses taken for the zeros, in bytes.
const REGION: usize = 64 << 20;

/// How often memory is asked whether it still has what was promised, where that takes long: it does not let go of what it
/// has got in less.
const SELDOM: Duration = Duration::from_secs(1);

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
#[derive(Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Promises>>);

#[derive(Default)]
struct Promises {
    owed: VecDeque<Promise>,
    /// Where in the region the next promise's place is.
    next: usize,
    /// How often the client, or other connections, had to be waited for.
    waits: u64,
}

/// A part of a block to be sent.
struct Promise {
    /// Bytes that are left of it.
    left: usize,
    /// Where in the region the stand-in for them is.
    place: usize,
    /// The wait up to which memory is known to have them, and when that was found out. Not known is it of one that was
    /// just made: much time may have gone by since they were brought into memory.
    known: Option<u64>,
    asked: Instant,
    source: Source,
}

/// Where the rest of a promise comes from.
enum Source {
    Drive(StoredPart),
    Elsewhere { next: Bytes, rest: Replacement },
}

/// What can be sent of a promise now.
#[derive(Clone, Copy)]
pub(super) enum Owed<'a> {
    /// All that is left of it, from a drive.
    Stored(&'a StoredPart),
    /// Some of it, which comes from elsewhere.
    Memory(&'a [u8]),
}

/// What sending from a promise has come to.
pub(super) enum Kept {
    /// So many bytes of it are out.
    Sent(usize),
    /// Its drive cannot give them: they are to come from elsewhere.
    TurnOver,
}

impl Outbox {
    /// Promises `part`, and returns what stands for it.
    pub(super) fn promise(&self, part: StoredPart) -> Bytes {
        const { assert!(BLOCK as usize <= REGION / 2) };
        let left = part.len();
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if REGION - promises.next < left {
            promises.next = 0;
        }
        let place = promises.next;
        let Some(stand_in) = ZEROS.get(place..place + left).filter(|slice| !slice.is_empty())
        else {
            return Bytes::new();
        };
        promises.next += left;
        let (asked, source) = (Instant::now(), Source::Drive(part));
        promises.owed.push_back(Promise { left, place, known: None, asked, source });
        Bytes::from_static(stand_in)
    }

    /// Nothing is sent for a while.
    pub(super) fn note_wait(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waits += 1;
    }

    /// Waits until there is something to send of the oldest promise: at once, unless it was turned over.
    ///
    /// # Errors
    /// Its bytes are not to be had from elsewhere either.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Promise { left, source: Source::Elsewhere { next, rest }, .. }) =
            promises.owed.front_mut()
        else {
            return Poll::Ready(Ok(()));
        };
        while next.is_empty() {
            *next = match std::task::ready!(rest.poll_next_unpin(context)) {
                Some(Ok(bytes)) if bytes.len() <= *left => bytes,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                // Not what was asked for.
                Some(Ok(_)) | None => return Poll::Ready(Err(broken())),
            };
        }
        Poll::Ready(Ok(()))
    }

    /// Has `send` send from the oldest promise, if `slice` is what stands for the rest of it. Returns how many bytes are
    /// out; none: the promise was turned over. One that is kept is forgotten.
    ///
    /// # Errors
    /// `slice` is not what is owed, or what `send` says.
    pub(super) fn keep(
        &self,
        slice: &[u8],
        send: impl FnOnce(Owed<'_>) -> io::Result<Kept>,
    ) -> io::Result<usize> {
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = promises.waits;
        let oldest = promises.owed.front_mut().ok_or_else(broken)?;
        let stand_in = ZEROS.get(oldest.place..oldest.place + oldest.left);
        if !stand_in.is_some_and(|stand_in| std::ptr::eq(stand_in, slice)) {
            return Err(broken());
        }
        let kept = if oldest.is_at_hand(waits) { send(oldest.owed())? } else { Kept::TurnOver };
        let sent = match kept {
            Kept::Sent(sent) => sent.min(oldest.left),
            Kept::TurnOver => {
                oldest.turn_over()?;
                return Ok(0);
            }
        };
        oldest.advance(sent);
        if oldest.left == 0 {
            promises.owed.pop_front();
        }
        Ok(sent)
    }

    /// How many promises are open.
    #[cfg(test)]
    pub(super) fn owed(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).owed.len()
    }
}

impl Promise {
    fn owed(&self) -> Owed<'_> {
        match &self.source {
            Source::Drive(part) => Owed::Stored(part),
            Source::Elsewhere { next, .. } => Owed::Memory(next),
        }
    }

    /// Whether memory has the rest, after so many waits. Whether that may be sent is asked each time.
    fn is_at_hand(&mut self, waits: u64) -> bool {
        let Source::Drive(part) = &self.source else { return true };
        if self.known != Some(waits) {
            self.known = Some(waits);
            let now = Instant::now();
            if part.is_cheap_to_ask() || now.saturating_duration_since(self.asked) >= SELDOM {
                self.asked = now;
                return part.is_at_hand();
            }
        }
        part.is_trusted()
    }

    /// Has the rest come from elsewhere. The block is pinned no longer.
    fn turn_over(&mut self) -> io::Result<()> {
        if let Source::Drive(part) = &self.source {
            let rest = part.replacement().ok_or_else(broken)?;
            self.source = Source::Elsewhere { next: Bytes::new(), rest };
        }
        Ok(())
    }

    fn advance(&mut self, sent: usize) {
        self.left -= sent;
        self.place += sent;
        match &mut self.source {
            Source::Drive(part) => part.advance(sent),
            Source::Elsewhere { next, .. } => next.advance(sent.min(next.len())),
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("a body's bytes are not those promised")
}
