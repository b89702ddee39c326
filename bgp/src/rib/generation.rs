//! Which routes of a neighbor are old: marked for all of them at once.
//!
//! Each route carries the number of the generation that it came in. When a session is lost, or a
//! route refresh begins, the current generation ends and the next one begins; whatever is not
//! announced again still has the old number. So a table of a million routes becomes stale by
//! setting one bit, and the stale ones can be counted without a walk.

use std::time::{Duration, Instant};

/// How long the routes of before stay when a neighbor says that it has none any more.
const EMPTY_TABLE: Duration = Duration::from_secs(15);

const COUNT: usize = 1 << Generation::BITS;
/// With fewer free numbers the oldest stale routes go.
const FEW_FREE: usize = 4;

/// Number of a generation. Numbers are used again once no route has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u8);

impl Generation {
    pub(super) const BITS: u32 = 4;

    pub(super) fn from_low_bits(bits: u64) -> Self {
        Self(u8::try_from(bits & 0xf).unwrap_or(0))
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }

    fn bit(self) -> u16 {
        1 << self.0
    }
}

/// The generations of one family of one neighbor. The sets are bit masks over generations, and hold
/// only generations that have routes.
#[derive(Debug)]
pub(super) struct Generations {
    current: Generation,
    routes: [u32; COUNT],
    /// Those of sessions that were lost: stale.
    lost: u16,
    /// Of these the long-lived ones: those that the neighbor has not come back for in its restart
    /// time (RFC 9494 §4.2).
    long_lived: u16,
    /// When the others of the lost ones become long-lived.
    long_lived_from: [Option<Instant>; COUNT],
    /// When the lost ones have waited long enough.
    expires: [Option<Instant>; COUNT],
    /// Those of the lost ones that the neighbor has been back for already, and was given time.
    given_time: u16,
    /// Those that have waited in vain: of the doomed ones.
    expired: u16,
    /// Those that a route refresh in progress is replacing.
    replaced: u16,
    /// Those whose routes are to be removed.
    doomed: u16,
}

impl Generations {
    pub(super) fn new() -> Self {
        Self {
            current: Generation(0),
            routes: [0; COUNT],
            lost: 0,
            long_lived: 0,
            long_lived_from: [None; COUNT],
            expires: [None; COUNT],
            given_time: 0,
            expired: 0,
            replaced: 0,
            doomed: 0,
        }
    }

    /// The one that routes coming in now belong to.
    pub(super) fn current(&self) -> Generation {
        self.current
    }

    pub(super) fn is_stale(&self, generation: Generation) -> bool {
        self.lost & generation.bit() != 0
    }

    pub(super) fn is_long_lived(&self, generation: Generation) -> bool {
        self.long_lived & generation.bit() != 0
    }

    /// Whether the routes are to be removed because nobody has come back for them.
    pub(super) fn has_expired(&self, generation: Generation) -> bool {
        self.expired & generation.bit() != 0
    }

    /// How many routes there are.
    pub(super) fn routes(&self) -> u32 {
        self.routes.iter().sum()
    }

    /// When the last of the stale routes goes, unless the neighbor is back before.
    pub(super) fn stale_until(&self) -> Option<Instant> {
        self.expires.iter().flatten().max().copied()
    }

    pub(super) fn is_doomed(&self, generation: Generation) -> bool {
        self.doomed & generation.bit() != 0
    }

    pub(super) fn any_doomed(&self) -> bool {
        self.doomed != 0
    }

    /// How many routes are stale.
    pub(super) fn stale(&self) -> u32 {
        let stale = self.routes.iter().enumerate().filter(|(i, _)| self.lost >> i & 1 == 1);
        stale.map(|(_, count)| count).sum()
    }

    pub(super) fn added(&mut self, generation: Generation) {
        if let Some(count) = self.routes.get_mut(usize::from(generation.0)) {
            *count += 1;
        }
    }

    pub(super) fn removed(&mut self, generation: Generation) {
        let index = usize::from(generation.0);
        let Some(count) = self.routes.get_mut(index) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            let others = !generation.bit();
            for set in [
                &mut self.lost,
                &mut self.long_lived,
                &mut self.given_time,
                &mut self.replaced,
                &mut self.doomed,
                &mut self.expired,
            ] {
                *set &= others;
            }
            for times in [&mut self.long_lived_from, &mut self.expires] {
                if let Some(time) = times.get_mut(index) {
                    *time = None;
                }
            }
        }
    }

    /// The session is lost: its routes are stale until `expires`, and long-lived from the time that is
    /// given, if any. False, and nothing has happened, if no number is free for the next session.
    pub(super) fn session_lost(
        &mut self,
        expires: Instant,
        long_lived_from: Option<Instant>,
    ) -> bool {
        let ended = self.replaced | self.current_if_used();
        if !self.advance() {
            return false;
        }
        self.lost |= ended;
        self.replaced = 0;
        change_times(&mut self.expires, ended, |_| Some(expires));
        change_times(&mut self.long_lived_from, ended, |_| long_lived_from);
        true
    }

    /// Dooms what would expire first if few numbers are left. Before there is none, so that nothing has
    /// to be removed all at once.
    pub(super) fn make_room(&mut self) {
        let waits = self.lost & !self.doomed;
        let free = self.routes.iter().filter(|&&count| count == 0).count();
        let is_waiting = |index: &usize| waits >> index & 1 == 1;
        let first = (0..COUNT).filter(is_waiting).min_by_key(|&index| self.expires.get(index));
        if let Some(first) = first.filter(|_| free < FEW_FREE) {
            self.doomed |= 1 << first;
            self.expired |= 1 << first;
        }
    }

    /// A session is back: it has until `earliest` at least to announce its table again. Once for each
    /// loss: if it is lost again before End-of-RIB, what was stale before keeps its time, and a neighbor
    /// that flaps on and on cannot hold old routes for ever (RFC 4724 §4.2 has the bound as an option).
    pub(super) fn session_back(&mut self, earliest: Instant) {
        let later = |at: Option<Instant>| at.map(|at| at.max(earliest));
        let not_yet = self.lost & !self.given_time;
        change_times(&mut self.expires, not_yet, later);
        change_times(&mut self.long_lived_from, not_yet, later);
        self.given_time |= not_yet;
    }

    /// The stale routes stay until `at`, whatever was said of them before.
    pub(super) fn stale_until_then(&mut self, at: Instant) {
        change_times(&mut self.expires, self.lost, |_| Some(at));
        self.given_time |= self.lost;
    }

    /// The table was announced completely (RFC 4724 §4.2): what is still stale is gone.
    ///
    /// An End-of-RIB before any route is not believed at once: FRR sends one as soon as the session
    /// is up, and its routes seconds later. The RFC says "immediately"; here nothing is forwarded by
    /// a stale route, and to drop all clients for some seconds would be the greater harm.
    pub(super) fn end_of_rib(&mut self, now: Instant) {
        if self.current_if_used() == 0 {
            let soon = now + EMPTY_TABLE;
            let sooner = |at: Option<Instant>| Some(at.map_or(soon, |at| at.min(soon)));
            change_times(&mut self.expires, self.lost, sooner);
        } else {
            self.doomed |= self.lost;
        }
    }

    /// A refresh begins (RFC 7313 §4). False, and nothing has happened, if no number is free.
    pub(super) fn refresh_begins(&mut self) -> bool {
        let replaced = self.current_if_used();
        let advanced = self.advance();
        if advanced {
            self.replaced |= replaced;
        }
        advanced
    }

    /// A refresh is complete: what it did not bring is gone. Routes of a lost session are not
    /// judged by it; they wait for End-of-RIB.
    pub(super) fn refresh_ends(&mut self) {
        self.doomed |= self.replaced;
        self.replaced = 0;
    }

    /// All routes are to be removed, and those that come now are not among them. False, and nothing
    /// has happened, if no number is free.
    pub(super) fn doom_all(&mut self) -> bool {
        let current = self.current_if_used();
        let advanced = self.advance();
        if advanced {
            self.doomed |= self.lost | self.replaced | current;
        }
        advanced
    }

    /// Stale routes are to be removed, whenever they would have expired.
    pub(super) fn doom_lost_and_replaced(&mut self) {
        self.doomed |= self.lost | self.replaced;
    }

    /// Dooms what has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        let before = self.doomed;
        for (index, expires) in self.expires.iter().enumerate() {
            if expires.is_some_and(|at| at <= now) {
                self.doomed |= 1 << index & self.lost;
                self.expired |= 1 << index & self.lost & !before;
            }
        }
    }

    /// Makes long-lived what is due; whether there is anything new.
    pub(super) fn begin_long_lived(&mut self, now: Instant) -> bool {
        let before = self.long_lived;
        for (index, from) in self.long_lived_from.iter_mut().enumerate() {
            if from.is_some_and(|at| at <= now) {
                *from = None;
                self.long_lived |= 1 << index & self.lost;
            }
        }
        self.long_lived != before
    }

    /// When [`Generations::expire`] or [`Generations::begin_long_lived`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let waiting = self.expires.iter().enumerate().filter(|(i, _)| self.doomed >> i & 1 == 0);
        let expires = waiting.filter_map(|(_, expires)| *expires);
        expires.chain(self.long_lived_from.iter().flatten().copied()).min()
    }

    fn current_if_used(&self) -> u16 {
        let used = self.routes.get(usize::from(self.current.0)).is_some_and(|&count| count > 0);
        if used { self.current.bit() } else { 0 }
    }

    /// Goes to a number that no route has; stays if the current one is such.
    fn advance(&mut self) -> bool {
        if self.current_if_used() == 0 {
            return true;
        }
        let free = self.routes.iter().position(|&count| count == 0);
        let Some(free) = free.and_then(|index| u8::try_from(index).ok()) else { return false };
        self.current = Generation(free);
        true
    }
}

/// Changes the times of a set of generations.
fn change_times(
    times: &mut [Option<Instant>; COUNT],
    of: u16,
    change: impl Fn(Option<Instant>) -> Option<Instant>,
) {
    for (index, time) in times.iter_mut().enumerate() {
        if of >> index & 1 == 1 {
            *time = change(*time);
        }
    }
}
