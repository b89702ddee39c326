//! Holds back a footprint that suddenly is much larger or much smaller.
//!
//! A filter deleted on a router, a full table leaked by a neighbor, a reflector that lost its
//! clients: each makes a footprint that is wrong as a whole. The guard compares the footprint with
//! what it was up to five minutes ago, its *baseline*. Changes of a few percent pass at once. A
//! larger one has to come to rest first, since half of a withdrawal looks like a small change; then
//! it passes, or is held. Each address family is judged by itself, and a change beyond the bound in one
//! holds both: half a footprint is none.
//!
//! What goes because a neighbor was away for longer than the operator lets it is no accident, nor is
//! its return. So its own share, what only it had, leaves the baseline with it, and as much comes back
//! into the baseline with it. For everything else the guard stays as it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::rib::totals::{FamilyTotals, Totals};

/// How long a baseline counts; also how long a new footprint is learned before there is one.
const WINDOW: Duration = Duration::from_secs(300);
/// A change of more than a twentieth of the baseline has to come to rest.
const LARGE: usize = 20;
/// At rest is what has not changed for this long,
const CALM: Duration = Duration::from_secs(1);
/// or has been changing for this long.
const LONGEST_UNREST: Duration = Duration::from_secs(5);
/// No accident is smaller: fewer prefixes than this,
const FEW_PREFIXES: usize = 100;
/// and fewer addresses than a /14 of IPv4 has,
const FEW_IPV4: u128 = 1 << 18;
/// or than a /32 of IPv6, the least that an operator is given.
const FEW_IPV6: u128 = 1 << 96;

/// The shares of so many neighbors are remembered; what further ones bring back is judged.
const AWAY: usize = 4096;

/// A footprint that waits for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Since when.
    pub since: Instant,
    /// The baseline. Subscribers may have been told the first steps of what came then.
    pub before: Totals,
}

/// What the guard has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The change is beyond the bound: nothing is told from here on.
    Held {
        /// The baseline.
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
    changes: Changes,
    gate: Gate,
    /// What neighbors took with them when they had been away for too long.
    away: HashMap<IpAddr, Totals>,
}

/// How many prefixes have changed.
#[derive(Debug, Clone, Copy, Default)]
struct Changes {
    ipv4: usize,
    ipv6: usize,
}

impl Changes {
    /// Whether they are a large part of what there was.
    fn are_large(self, baseline: Totals) -> bool {
        self.ipv4 > baseline.ipv4.prefixes / LARGE || self.ipv6 > baseline.ipv6.prefixes / LARGE
    }
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
        Self {
            max_change,
            baseline: None,
            rebase_at: None,
            changes: Changes::default(),
            gate: Gate::Open,
            away: HashMap::new(),
        }
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
    pub(super) fn changed(&mut self, prefix: &IpNet, now: Instant) {
        self.rebase_at.get_or_insert(now + WINDOW);
        let count = match prefix {
            IpNet::V4(_) => &mut self.changes.ipv4,
            IpNet::V6(_) => &mut self.changes.ipv6,
        };
        *count = count.saturating_add(1);
        match &mut self.gate {
            Gate::Open => {
                let is_large = |baseline: Totals| self.changes.are_large(baseline);
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

    /// A part of the footprint goes with its neighbor.
    pub(super) fn neighbor_is_away(&mut self, neighbor: IpAddr, share: Totals) {
        self.baseline = self.baseline.map(|baseline| baseline.without(share));
        if self.away.len() < AWAY || self.away.contains_key(&neighbor) {
            let away = self.away.entry(neighbor).or_default();
            *away = away.with(share);
        }
    }

    pub(super) fn awaits(&self, neighbor: IpAddr) -> bool {
        self.away.contains_key(&neighbor)
    }

    /// A neighbor brings something; whether it is still part of what it took with it.
    pub(super) fn neighbor_is_back(&mut self, neighbor: IpAddr, share: Totals) -> bool {
        let Some(away) = self.away.get_mut(&neighbor) else { return false };
        if !away.has(share) {
            return false;
        }
        *away = away.without(share);
        if away.prefixes() == 0 {
            self.away.remove(&neighbor);
        }
        self.baseline = self.baseline.map(|baseline| baseline.with(share));
        true
    }

    fn open(&mut self) {
        self.gate = Gate::Open;
        self.changes = Changes::default();
    }

    fn rebase(&mut self, totals: Totals) {
        self.baseline = Some(totals);
        self.rebase_at = None;
        self.changes = Changes::default();
    }

    fn is_beyond(&self, before: Totals, now: Totals) -> bool {
        let percent = u128::from(self.max_change);
        let beyond = |before: u128, now: u128| before.abs_diff(now) > before / 100 * percent;
        let is_beyond = |before: FamilyTotals, now: FamilyTotals, few_addresses: u128| {
            let is_small = before.prefixes.abs_diff(now.prefixes) < FEW_PREFIXES
                && before.addresses.abs_diff(now.addresses) < few_addresses;
            let [prefixes_before, prefixes_now] = [before, now].map(|it| it.prefixes as u128);
            !is_small
                && (beyond(prefixes_before, prefixes_now)
                    || beyond(before.addresses, now.addresses))
        };
        is_beyond(before.ipv4, now.ipv4, FEW_IPV4) || is_beyond(before.ipv6, now.ipv6, FEW_IPV6)
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
            self.become_both(totals(prefixes));
        }

        fn become_both(&mut self, totals: Totals) {
            let counts = |totals: Totals| [totals.ipv4.prefixes, totals.ipv6.prefixes];
            let changes = counts(self.totals).into_iter().zip(counts(totals));
            for ((before, now), prefix) in changes.zip(["192.0.2.0/24", "2001:db8::/32"]) {
                for _ in 0..before.abs_diff(now) {
                    self.guard.changed(&prefix.parse().unwrap(), self.now);
                }
            }
            self.totals = totals;
        }

        fn pass(&mut self, seconds: u64) -> Option<Verdict> {
            self.now += Duration::from_secs(seconds);
            let due = self.guard.next_deadline().is_some_and(|due| due <= self.now);
            if due { self.guard.judge(self.totals, self.now) } else { None }
        }
    }

    /// Of /24s.
    fn totals(prefixes: usize) -> Totals {
        dual(prefixes, 0)
    }

    /// Of /24s and /32s.
    fn dual(ipv4: usize, ipv6: usize) -> Totals {
        let family = |prefixes, each| FamilyTotals { prefixes, addresses: prefixes as u128 * each };
        Totals { ipv4: family(ipv4, 256), ipv6: family(ipv6, 1 << 96) }
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
    fn no_ipv6_hides_what_happens_to_ipv4_and_the_other_way_round() {
        for (before, accident) in [
            (dual(1000, 1), dual(0, 1)),
            (dual(1000, 100_000), dual(0, 100_000)),
            (dual(1000, 1), dual(1000, 100)),
            (dual(100_000, 1000), dual(100_000, 400)),
            (dual(100_000, 2), dual(100_000, 0)),
        ] {
            let mut f = Fixture::new(0);
            f.totals = before;
            f.guard.restored(before, f.now);
            f.become_both(accident);
            assert!(!f.guard.is_open(), "{accident:?} is told at once");
            assert_eq!(f.pass(1), Some(Verdict::Held { before, now: accident }));
            f.pass(10);
            f.become_both(before);
            assert_eq!(f.pass(1), Some(Verdict::Released));
        }
        let mut f = Fixture::new(0);
        f.totals = dual(1000, 1000);
        f.guard.restored(f.totals, f.now);
        f.become_both(dual(1040, 960));
        assert!(f.guard.is_open());
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
        f.totals.ipv4.addresses = 1 << 32;
        assert!(matches!(f.pass(1), Some(Verdict::Held { .. })));
    }

    #[test]
    fn what_goes_and_comes_with_its_neighbor_is_told_and_nothing_else() {
        let neighbor = IpAddr::from([192, 0, 2, 1]);
        let mut f = Fixture::new(1000);
        f.guard.neighbor_is_away(neighbor, totals(900));
        f.totals = totals(100);
        assert!(f.guard.is_open());
        f.become_(230);
        assert!(matches!(f.pass(1), Some(Verdict::Held { before, .. }) if before == totals(100)));
        f.pass(10);
        f.become_(100);
        assert_eq!(f.pass(1), Some(Verdict::Released));

        assert!(f.guard.awaits(neighbor));
        assert!(f.guard.neighbor_is_back(neighbor, totals(880)));
        assert!(!f.guard.neighbor_is_back(neighbor, totals(21)), "it brings more than it took");
        assert!(f.guard.neighbor_is_back(neighbor, totals(20)));
        assert!(!f.guard.awaits(neighbor));
        f.totals = totals(1000);
        assert!(f.guard.is_open());
        f.become_(1040);
        assert!(f.guard.is_open(), "1000 is the measure again");
    }

    #[test]
    fn what_is_held_stays_held_when_a_neighbor_is_away() {
        let mut f = Fixture::new(1000);
        f.become_(300);
        assert!(matches!(f.pass(1), Some(Verdict::Held { .. })));
        f.pass(10);
        f.guard.neighbor_is_away(IpAddr::from([192, 0, 2, 1]), totals(100));
        f.become_(200);
        assert_eq!(f.pass(1), None);
        assert!(f.guard.held().is_some());
    }

    #[test]
    fn zero_percent_means_any() {
        let mut f = Fixture { guard: Guard::new(0), ..Fixture::new(1000) };
        f.guard.restored(f.totals, f.now);
        f.become_(0);
        assert!(f.guard.is_open());
    }
}
