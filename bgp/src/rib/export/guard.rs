//! Holds back a footprint that suddenly is much larger or much smaller.
//!
//! A filter deleted on a router, a full table leaked by a neighbor, a reflector that lost its
//! clients: each makes a footprint that is wrong as a whole. The guard compares the footprint with
//! what it was up to five minutes ago, its *baseline*. Changes of a few percent pass at once. A
//! larger one has to come to rest first, since half of a withdrawal looks like a small change; then
//! it passes, or is held.

use std::time::{Duration, Instant};

/// How long a baseline counts; also how long a new footprint is learned before there is one.
const WINDOW: Duration = Duration::from_secs(300);
/// A change of more than a twentieth of the baseline has to come to rest.
const LARGE: usize = 20;
/// At rest is what has not changed for this long,
const CALM: Duration = Duration::from_secs(1);
/// or has been changing for this long.
const LONGEST_UNREST: Duration = Duration::from_secs(5);
/// No accident is smaller: fewer prefixes than this,
const FEW_PREFIXES: u64 = 100;
/// and fewer addresses than a /14 has.
const FEW_ADDRESSES: u128 = 1 << 18;

/// The size of a footprint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Prefixes.
    pub prefixes: usize,
    /// Addresses that they cover together.
    pub addresses: u128,
}

/// A footprint that waits for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Since when.
    pub since: Instant,
    /// What subscribers were told.
    pub before: Totals,
}

/// What the guard has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The change is beyond the bound: nothing is told from here on.
    Held {
        /// What subscribers were told.
        before: Totals,
        /// What the footprint is.
        now: Totals,
    },
    /// The footprint is back within the bound by itself.
    Released,
}

#[derive(Debug)]
pub(super) struct Guard {
    /// Percent; 0: never holds.
    max_change: u8,
    baseline: Option<Totals>,
    /// When the baseline is to be taken anew; none while nothing changes.
    rebase_at: Option<Instant>,
    /// Changes since the gate was last known to be right to be open.
    changes: usize,
    gate: Gate,
}

#[derive(Debug, Clone, Copy)]
enum Gate {
    Open,
    /// A large change is under way.
    Settling {
        first: Instant,
        last: Instant,
    },
    Held(Held, Instant),
}

impl Guard {
    pub(super) fn new(max_change: u8) -> Self {
        Self { max_change, baseline: None, rebase_at: None, changes: 0, gate: Gate::Open }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.gate, Gate::Open)
    }

    pub(super) fn held(&self) -> Option<Held> {
        match self.gate {
            Gate::Held(held, _) => Some(held),
            Gate::Open | Gate::Settling { .. } => None,
        }
    }

    /// One prefix has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.rebase_at.get_or_insert(now + WINDOW);
        self.changes = self.changes.saturating_add(1);
        match &mut self.gate {
            Gate::Open => {
                let is_large = |baseline: Totals| self.changes > baseline.prefixes / LARGE;
                if self.max_change > 0 && self.baseline.is_some_and(is_large) {
                    self.gate = Gate::Settling { first: now, last: now };
                }
            }
            Gate::Settling { last, .. } | Gate::Held(_, last) => *last = now,
        }
    }

    /// When [`Guard::judge`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.gate {
            Gate::Open => self.rebase_at,
            Gate::Settling { first, last } => Some((last + CALM).min(first + LONGEST_UNREST)),
            // Looks again after each change.
            Gate::Held(held, last) => (last > held.since).then_some(last + CALM),
        }
    }

    /// Judges the footprint.
    pub(super) fn judge(&mut self, totals: Totals, now: Instant) -> Option<Verdict> {
        let baseline = self.baseline.unwrap_or(totals);
        match (self.gate, self.is_beyond(baseline, totals)) {
            (Gate::Open, _) => {
                self.rebase(totals);
                None
            }
            (Gate::Settling { .. }, false) => {
                self.open();
                None
            }
            (Gate::Settling { .. }, true) => {
                let held = Held { since: now, before: baseline };
                self.gate = Gate::Held(held, now);
                Some(Verdict::Held { before: baseline, now: totals })
            }
            (Gate::Held(..), false) => {
                self.open();
                Some(Verdict::Released)
            }
            (Gate::Held(held, _), true) => {
                self.gate = Gate::Held(held, held.since);
                None
            }
        }
    }

    pub(super) fn approve(&mut self, totals: Totals, now: Instant) -> bool {
        let was_held = self.held().is_some();
        self.restored(totals, now);
        was_held
    }

    /// This is what the footprint should be.
    pub(super) fn restored(&mut self, totals: Totals, now: Instant) {
        self.rebase(totals);
        self.rebase_at = Some(now + WINDOW);
        self.open();
    }

    /// Whatever the footprint becomes in the next five minutes is right.
    pub(super) fn learn_anew(&mut self, now: Instant) {
        self.baseline = None;
        self.rebase_at = Some(now + WINDOW);
        self.open();
    }

    fn open(&mut self) {
        self.gate = Gate::Open;
        self.changes = 0;
    }

    fn rebase(&mut self, totals: Totals) {
        self.baseline = Some(totals);
        self.rebase_at = None;
        self.changes = 0;
    }

    fn is_beyond(&self, before: Totals, now: Totals) -> bool {
        let percent = u128::from(self.max_change);
        let beyond = |before: u128, now: u128| before.abs_diff(now) > before / 100 * percent;
        let prefixes = [before.prefixes, now.prefixes].map(|n| n as u128);
        let is_small = before.prefixes.abs_diff(now.prefixes) < FEW_PREFIXES as usize
            && before.addresses.abs_diff(now.addresses) < FEW_ADDRESSES;
        let [prefixes_before, prefixes_now] = prefixes;
        !is_small
            && (beyond(prefixes_before, prefixes_now) || beyond(before.addresses, now.addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u8 = 50;

    struct Fixture {
        guard: Guard,
        now: Instant,
        totals: Totals,
    }

    impl Fixture {
        /// A footprint that has been known to be right for a while.
        fn new(prefixes: usize) -> Self {
            let now = Instant::now();
            let mut guard = Guard::new(HALF);
            let totals = totals(prefixes);
            guard.restored(totals, now);
            Self { guard, now, totals }
        }

        /// The footprint becomes this large, by so many changes of one prefix in a row.
        fn become_(&mut self, prefixes: usize) {
            for _ in 0..self.totals.prefixes.abs_diff(prefixes) {
                self.guard.changed(self.now);
            }
            self.totals = totals(prefixes);
        }

        fn pass(&mut self, seconds: u64) -> Option<Verdict> {
            self.now += Duration::from_secs(seconds);
            let due = self.guard.next_deadline().is_some_and(|due| due <= self.now);
            if due { self.guard.judge(self.totals, self.now) } else { None }
        }
    }

    /// Of /24s.
    fn totals(prefixes: usize) -> Totals {
        Totals { prefixes, addresses: prefixes as u128 * 256 }
    }

    #[test]
    fn small_changes_pass_at_once() {
        let mut f = Fixture::new(1000);
        f.become_(1050);
        assert!(f.guard.is_open());
    }

    #[test]
    fn a_larger_change_passes_when_it_has_come_to_rest() {
        let mut f = Fixture::new(1000);
        f.become_(1400);
        assert!(!f.guard.is_open());
        assert_eq!(f.pass(1), None);
        assert!(f.guard.is_open());
    }

    #[test]
    fn a_change_beyond_the_bound_is_held_until_it_is_undone() {
        for accident in [400, 1600, 0, 1_000_000] {
            let mut f = Fixture::new(1000);
            f.become_(accident);
            assert!(!f.guard.is_open(), "nothing is told while it happens");
            let held = Verdict::Held { before: totals(1000), now: totals(accident) };
            assert_eq!(f.pass(1), Some(held));
            assert_eq!(f.pass(10_000), None, "it waits for ever");
            assert!(!f.guard.is_open());
            f.become_(900);
            assert_eq!(f.pass(1), Some(Verdict::Released));
            assert!(f.guard.is_open());
        }
    }

    #[test]
    fn an_operator_may_approve() {
        let mut f = Fixture::new(1000);
        assert!(!f.guard.approve(f.totals, f.now), "nothing was held");
        f.become_(100);
        f.pass(1);
        assert_eq!(f.guard.held().unwrap().before, totals(1000));
        assert!(f.guard.approve(f.totals, f.now));
        assert!(f.guard.is_open());
        f.become_(104);
        assert!(f.guard.is_open(), "100 is the new measure");
    }

    #[test]
    fn unrest_does_not_delay_for_ever() {
        let mut f = Fixture::new(1000);
        f.become_(1100);
        for _ in 0..20 {
            f.now += Duration::from_millis(500);
            f.become_(1101);
            f.pass(0);
        }
        assert!(f.guard.is_open());
    }

    #[test]
    fn slow_growth_is_no_accident_and_nor_is_a_first_table() {
        let mut f = Fixture::new(1000);
        for prefixes in [1400, 1900, 2700] {
            f.become_(prefixes);
            assert_eq!(f.pass(1), None);
            assert!(f.guard.is_open());
            f.pass(300);
        }
        let mut new = Fixture { guard: Guard::new(HALF), ..Fixture::new(0) };
        new.become_(100_000);
        assert!(new.guard.is_open());
    }

    #[test]
    fn a_few_prefixes_are_no_accident_but_a_default_route_is() {
        let mut f = Fixture::new(3);
        f.become_(0);
        assert_eq!(f.pass(1), None);
        assert!(f.guard.is_open());
        let mut f = Fixture::new(3);
        f.become_(4);
        f.totals.addresses = 1 << 32;
        assert!(matches!(f.pass(1), Some(Verdict::Held { .. })));
    }

    #[test]
    fn what_expires_as_it_should_is_told() {
        let mut f = Fixture::new(1000);
        f.guard.learn_anew(f.now);
        f.become_(0);
        assert!(f.guard.is_open());
    }

    #[test]
    fn zero_percent_means_any() {
        let mut f = Fixture { guard: Guard::new(0), ..Fixture::new(1000) };
        f.guard.restored(f.totals, f.now);
        f.become_(0);
        assert!(f.guard.is_open());
    }
}
