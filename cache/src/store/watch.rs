//! Which operations on a drive are under way, and since when: how a drive that hangs is found out.
//!
//! Each operation signs in before it enters the kernel and signs out behind it. A thread that does
//! nothing else looks at the list again and again, and time is counted in its looks: a process that was
//! stopped, or starved, finds none of its operations older for that. No lock is taken, so that an
//! operation that never comes back keeps nobody from looking.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::drive::count;
use super::fault::{Operation, Part};

/// An operation that takes longer is counted as slow.
const SLOW: Duration = Duration::from_secs(1);
/// An operation that is found in so many looks more hangs.
const LOOKS: u64 = 30;
/// A sync waits for everything written since the last one: it may take so many times as long as
/// another operation.
const SYNC_FACTOR: u64 = 4;
/// Operations that can be under way at a time. Further ones are not watched: those that are hang too.
const ENTRIES: usize = 64;

/// The operations on one drive.
#[derive(Debug)]
pub(super) struct Watch {
    /// 0: nobody; else what (8 bits), and how many looks there had been when it began (56 bits).
    entries: [AtomicU64; ENTRIES],
    looks: AtomicU64,
    slow: AtomicU64,
}

/// Signed in; signs out when dropped.
#[derive(Debug)]
pub(super) struct Busy<'a> {
    watch: &'a Watch,
    entry: Option<&'a AtomicU64>,
    began: Instant,
}

/// An operation that does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) part: Part,
    pub(super) operation: Operation,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            entries: [const { AtomicU64::new(0) }; ENTRIES],
            looks: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }
    }
}

impl Watch {
    /// How long to wait between two looks, when an operation may take `limit`.
    pub(super) fn turn(limit: Duration) -> Duration {
        (limit / LOOKS as u32).max(Duration::from_millis(1))
    }

    /// An operation begins.
    pub(super) fn begin(&self, part: Part, operation: Operation) -> Busy<'_> {
        let what = (part as u64 + 1) << 4 | operation as u64;
        let word = self.looks.load(Ordering::Relaxed) << 8 | what;
        let entry = self.entries.iter().find(|entry| {
            entry.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        Busy { watch: self, entry, began: Instant::now() }
    }

    /// How many operations are under way.
    pub(super) fn busy(&self) -> usize {
        self.entries.iter().filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
    }

    /// How many operations took longer than a second.
    pub(super) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// Looks once more. Returns the operation that hangs, if one does.
    pub(super) fn look(&self) -> Option<Stuck> {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        self.entries.iter().find_map(|entry| {
            let word = entry.load(Ordering::Acquire);
            let part = usize::try_from(word >> 4 & 0xf).ok()?.checked_sub(1)?;
            let operation = usize::try_from(word & 0xf).ok()?;
            let stuck =
                Stuck { part: *Part::ALL.get(part)?, operation: *Operation::ALL.get(operation)? };
            let most = match stuck.operation {
                Operation::Read | Operation::Write | Operation::Open => LOOKS,
                Operation::Sync => LOOKS * SYNC_FACTOR,
                // Space is reserved when a drive is opened, and some file systems write all of it.
                Operation::Allocate => return None,
            };
            (looks.saturating_sub(word >> 8) > most).then_some(stuck)
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            entry.store(0, Ordering::Release);
        }
        if self.began.elapsed() > SLOW {
            count(&self.watch.slow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at most so many times, until something hangs.
    fn look(watch: &Watch, times: u64) -> Option<Stuck> {
        (0..times).find_map(|_| watch.look())
    }

    #[test]
    fn an_operation_that_does_not_come_back_is_found() {
        let watch = Watch::default();
        let fast = watch.begin(Part::Slab, Operation::Write);
        assert_eq!(look(&watch, 5), None);
        let hangs = watch.begin(Part::Slots, Operation::Read);
        assert_eq!((look(&watch, 25), watch.busy()), (None, 2));
        drop(fast);
        assert_eq!(look(&watch, 5), None);
        let stuck = Stuck { part: Part::Slots, operation: Operation::Read };
        assert_eq!(watch.look(), Some(stuck));
        drop(hangs);
        assert_eq!((look(&watch, 99), watch.busy()), (None, 0));
    }

    #[test]
    fn a_sync_may_take_longer_and_a_reservation_as_long_as_it_takes() {
        let watch = Watch::default();
        let _reservation = watch.begin(Part::Slab, Operation::Allocate);
        let sync = watch.begin(Part::Slab, Operation::Sync);
        assert_eq!(look(&watch, 120), None);
        assert!(watch.look().is_some());
        drop(sync);
        assert_eq!(look(&watch, 999), None);
    }

    #[test]
    fn more_operations_than_entries_do_no_harm() {
        let watch = Watch::default();
        let all: Vec<_> = (0..100).map(|_| watch.begin(Part::Slab, Operation::Read)).collect();
        assert_eq!(watch.busy(), ENTRIES);
        drop(all);
        assert_eq!(watch.busy(), 0);
    }

    #[test]
    fn half_a_minute_is_looked_at_once_a_second() {
        assert_eq!(Watch::turn(Duration::from_secs(30)), Duration::from_secs(1));
    }
}
