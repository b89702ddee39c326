//! How fast background work may go on a drive: a rate, and less while the drive has other work.

use std::time::{Duration, Instant};

/// While the drive has other work, this many times longer between two pieces.
const BACK_OFF: u32 = 4;

/// The rate of one worker. Bytes and time come in as values.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes per second; 0: never.
    rate: u64,
    /// What the last piece costs in time.
    cost: Duration,
    next: Instant,
}

impl Pace {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, cost: Duration::ZERO, next: now }
    }

    /// Whether the next piece may be done at `now`, when others are `busy` on the drive or not.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn may_go(&self, busy: bool, now: Instant) -> Result<(), Duration> {
        /// So often it looks whether the others are still busy.
        const LOOK: Duration = Duration::from_millis(20);
        if self.rate == 0 {
            return Err(Duration::from_secs(3600));
        }
        let early = self.next.saturating_duration_since(now);
        if !early.is_zero() {
            return Err(early);
        }
        if busy && now < self.next + self.cost * (BACK_OFF - 1) {
            return Err(LOOK.max(self.cost / 4));
        }
        Ok(())
    }

    /// A piece of so many bytes was begun at `now`.
    pub(super) fn spent(&mut self, bytes: u64, now: Instant) {
        self.cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate.max(1));
        // What was not done in time is not made up for.
        self.next = now + self.cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How many pieces of 1 MB are done in ten seconds at 10 MB/s.
    fn pieces(busy: bool) -> u32 {
        let start = Instant::now();
        let mut pace = Pace::new(10_000_000, start);
        let (mut now, mut done) = (start, 0);
        while now < start + 10_000 * MS {
            match pace.may_go(busy, now) {
                Ok(()) => {
                    pace.spent(1_000_000, now);
                    done += 1;
                }
                Err(wait) => now += wait,
            }
        }
        done
    }

    #[test]
    fn it_keeps_its_rate_and_a_quarter_of_it_beside_others() {
        assert_eq!(pieces(false), 100);
        assert!((23..=26).contains(&pieces(true)), "{}", pieces(true));
    }

    #[test]
    fn no_rate_is_never() {
        let now = Instant::now();
        assert!(Pace::new(0, now).may_go(false, now).is_err());
    }
}
