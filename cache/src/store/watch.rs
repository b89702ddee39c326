//! Which operations on a drive are under way, and since when: how a drive that hangs is found out.
//!
//! Each operation signs in before it enters the kernel and signs out behind it. A thread that does
//! nothing else looks at the list. It takes no lock, so that an operation that never comes back
//! keeps nobody from looking.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::drive::count;
use super::fault::{Operation, Part};

/// An operation that takes longer is counted as slow.
const SLOW: Duration = Duration::from_secs(1);
/// A sync waits for everything written since the last one: it may take so many times as long as
/// another operation before it counts as one that hangs.
const SYNC_FACTOR: u32 = 4;
/// Operations that can be under way at a time. Further ones are not watched: those that are hang too.
const ENTRIES: usize = 64;

/// The operations on one drive.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    /// 0: nobody; else what (8 bits), and milliseconds from `start` to when it began (56 bits).
    entries: [AtomicU64; ENTRIES],
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
    pub(super) time: Duration,
}

impl Watch {
    pub(super) fn new(start: Instant) -> Self {
        let entries = [const { AtomicU64::new(0) }; ENTRIES];
        Self { start, entries, slow: AtomicU64::new(0) }
    }

    /// An operation begins at `now`.
    pub(super) fn begin(&self, part: Part, operation: Operation, now: Instant) -> Busy<'_> {
        let what = (part as u64 + 1) << 4 | operation as u64;
        let word = self.millis(now) << 8 | what;
        let entry = self.entries.iter().find(|entry| {
            entry.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        Busy { watch: self, entry, began: now }
    }

    /// How many operations are under way.
    pub(super) fn busy(&self) -> usize {
        self.entries.iter().filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
    }

    /// How many operations took longer than a second.
    pub(super) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// All operations under way. `since` is when the last one began that is let off.
    fn under_way(&self, since: Instant, now: Instant) -> impl Iterator<Item = Stuck> {
        let (since, now) = (self.millis(since), self.millis(now));
        self.entries.iter().filter_map(move |entry| {
            let word = entry.load(Ordering::Acquire);
            let part = usize::try_from(word >> 4 & 0xf).ok()?.checked_sub(1)?;
            let operation = usize::try_from(word & 0xf).ok()?;
            Some(Stuck {
                part: *Part::ALL.get(part)?,
                operation: *Operation::ALL.get(operation)?,
                time: Duration::from_millis(now.saturating_sub((word >> 8).max(since))),
            })
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

/// Looks at a [`Watch`] again and again. A process that was stopped or starved finds all its
/// operations old; so what passed between two looks counts for two turns of looking at most.
#[derive(Debug)]
pub(super) struct Sentry {
    limit: Duration,
    turn: Duration,
    last: Instant,
    let_off: Instant,
}

impl Sentry {
    /// `limit` is how long an operation may take. Look once per [`turn`](Self::turn).
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        let turn = (limit / 30).max(Duration::from_millis(1));
        Self { limit, turn, last: now, let_off: now }
    }

    /// Time between two looks.
    pub(super) fn turn(&self) -> Duration {
        self.turn
    }

    /// The operation that hangs at `now`, if one does.
    pub(super) fn look(&mut self, watch: &Watch, now: Instant) -> Option<Stuck> {
        if now.saturating_duration_since(self.last) > self.turn * 2 {
            self.let_off = now;
        }
        self.last = now;
        watch.under_way(self.let_off, now).find(|stuck| match stuck.operation {
            Operation::Sync => stuck.time > self.limit * SYNC_FACTOR,
            // Space is reserved when a drive is opened, and some file systems write all of it.
            Operation::Allocate => false,
            Operation::Read | Operation::Write | Operation::Open => stuck.time > self.limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks once per second from second `from` to second `to`.
    fn look(
        sentry: &mut Sentry,
        watch: &Watch,
        start: Instant,
        from: u32,
        to: u32,
    ) -> Option<Stuck> {
        (from..=to).find_map(|second| sentry.look(watch, start + second * SECOND))
    }

    #[test]
    fn an_operation_that_takes_longer_than_half_a_minute_hangs() {
        let start = Instant::now();
        let watch = Watch::new(start);
        let mut sentry = Sentry::new(30 * SECOND, start);
        assert_eq!(sentry.turn(), SECOND);
        let fast = watch.begin(Part::Slab, Operation::Write, start);
        let hangs = watch.begin(Part::Slots, Operation::Read, start + 5 * SECOND);
        assert_eq!(watch.busy(), 2);
        assert_eq!(look(&mut sentry, &watch, start, 1, 30), None);
        drop(fast);
        assert_eq!(look(&mut sentry, &watch, start, 31, 35), None);
        let stuck = look(&mut sentry, &watch, start, 36, 36).unwrap();
        assert_eq!((stuck.part, stuck.operation), (Part::Slots, Operation::Read));
        drop(hangs);
        assert_eq!((look(&mut sentry, &watch, start, 37, 99), watch.busy()), (None, 0));
    }

    #[test]
    fn a_sync_may_take_two_minutes() {
        let start = Instant::now();
        let watch = Watch::new(start);
        let mut sentry = Sentry::new(30 * SECOND, start);
        let _sync = watch.begin(Part::Slab, Operation::Sync, start);
        assert_eq!(look(&mut sentry, &watch, start, 1, 120), None);
        assert!(look(&mut sentry, &watch, start, 121, 121).is_some());
    }

    #[test]
    fn a_process_that_was_stopped_does_not_blame_the_drive() {
        let start = Instant::now();
        let watch = Watch::new(start);
        let mut sentry = Sentry::new(30 * SECOND, start);
        let _read = watch.begin(Part::Slab, Operation::Read, start);
        assert_eq!(look(&mut sentry, &watch, start, 1, 5), None);
        // Nothing ran for an hour; then the operation has its half minute anew.
        assert_eq!(look(&mut sentry, &watch, start, 3605, 3635), None);
        assert!(look(&mut sentry, &watch, start, 3636, 3636).is_some());
    }

    #[test]
    fn more_operations_than_entries_do_no_harm() {
        let now = Instant::now();
        let watch = Watch::new(now);
        let all: Vec<_> = (0..100).map(|_| watch.begin(Part::Slab, Operation::Read, now)).collect();
        assert_eq!(watch.busy(), ENTRIES);
        drop(all);
        assert_eq!(watch.busy(), 0);
    }
}
