//! Which prefixes of a neighbor are known to be good: what `keep-last-good` keeps after a flood.
//!
//! Good is what was there at the last moment when the neighbor's table was whole and at rest: an
//! End-of-RIB, or a minute in which hardly anything came. A table of which neither has been seen may
//! be a part of one, and is not good. What has come since that moment is noted by prefix, a byte each.
//!
//! Prefixes, not routes: one that was there before keeps its place with the attributes that came last,
//! also if the flood brought them, and with the verdict of the accept rules on these. To keep the old
//! ones would be to keep a second table of each such neighbor.

use std::time::{Duration, Instant};

use super::column::Column;
use super::prefix_table::PrefixId;

/// A minute is calm
const MINUTE: Duration = Duration::from_secs(60);
/// in which no more came than this part of `max_prefixes`; before the first End-of-RIB or calm
/// minute, in which nothing came at all.
const FEW: u32 = 20;

#[derive(Debug)]
pub(super) struct KnownGood {
    /// There has been such a moment.
    at_all: bool,
    /// The prefixes that have come since.
    newcomers: Column<()>,
    /// When the last prefix came, and when the minute of these began.
    last: Option<Instant>,
    minute: Option<Instant>,
    came: u32,
}

impl KnownGood {
    pub(super) fn new() -> Self {
        Self { at_all: false, newcomers: Column::new(), last: None, minute: None, came: 0 }
    }

    /// The neighbor's table is whole and at rest now.
    pub(super) fn is_good(&mut self) {
        *self = Self { at_all: true, ..Self::new() };
    }

    /// A prefix is about to come that the neighbor did not have; `limit` is its `max_prefixes`.
    pub(super) fn comes(&mut self, id: PrefixId, limit: u32, now: Instant) {
        let was_silent = self.last.is_some_and(|last| now >= last + MINUTE);
        let minute = *self.minute.get_or_insert(now);
        if now >= minute + MINUTE {
            if was_silent || self.at_all && self.came <= limit / FEW {
                self.is_good();
            }
            (self.minute, self.came) = (Some(now), 0);
        }
        self.last = Some(now);
        self.came = self.came.saturating_add(1);
        self.newcomers.insert(id, ());
    }

    /// A prefix has gone, and its number may be another's next.
    pub(super) fn gone(&mut self, id: PrefixId) {
        self.newcomers.remove(id);
    }

    /// A flood has ended the session: what came with it, if anything was good before.
    pub(super) fn flood(&mut self) -> Option<Column<()>> {
        if !self.at_all {
            return None;
        }
        let flood = std::mem::replace(&mut self.newcomers, Column::new());
        self.is_good();
        Some(flood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        known: KnownGood,
        now: Instant,
        next: u32,
    }

    impl Fixture {
        fn new() -> Self {
            Self { known: KnownGood::new(), now: Instant::now(), next: 0 }
        }

        fn come(&mut self, count: u32) {
            for _ in 0..count {
                self.known.comes(PrefixId(self.next), 100, self.now);
                self.next += 1;
            }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// The first that a flood at this moment would take; `None`: all of them.
        fn first_of_flood(&mut self) -> Option<u32> {
            let flood = self.known.flood()?;
            Some((0..self.next).find(|&i| flood.get(PrefixId(i)).is_some()).unwrap_or(self.next))
        }
    }

    #[test]
    fn a_first_table_is_not_good_before_it_is_whole() {
        let mut f = Fixture::new();
        f.come(80);
        f.pass(59);
        f.come(21);
        assert_eq!(f.first_of_flood(), None);

        let mut slow = Fixture::new();
        for _ in 0..10 {
            slow.come(2);
            slow.pass(30);
        }
        assert_eq!(slow.first_of_flood(), None, "it may be a slow one");
    }

    #[test]
    fn good_is_what_was_there_at_the_end_of_rib_or_before_a_calm_minute() {
        let mut f = Fixture::new();
        f.come(50);
        f.known.is_good();
        f.come(3);
        assert_eq!(f.first_of_flood(), Some(50));

        let mut silent = Fixture::new();
        silent.come(50);
        silent.pass(60);
        silent.come(70);
        assert_eq!(silent.first_of_flood(), Some(50));

        // Near its limit for long, with a prefix now and then: a flood takes what came with it.
        let mut f = Fixture::new();
        f.come(85);
        f.known.is_good();
        for _ in 0..10 {
            f.come(1);
            f.pass(61);
        }
        f.come(30);
        assert_eq!(f.first_of_flood(), Some(95));
    }

    #[test]
    fn a_flood_that_takes_minutes_is_one_flood() {
        let mut f = Fixture::new();
        f.come(50);
        f.known.is_good();
        f.pass(200);
        for _ in 0..5 {
            f.come(10);
            f.pass(30);
        }
        assert_eq!(f.first_of_flood(), Some(50));
    }
}
