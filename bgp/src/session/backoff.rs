//! How long to wait before the next attempt.
//!
//! Every failure doubles the wait, a refused OPEN as much as a refused TCP connection: a wrong AS
//! number must not become a storm of connections. Waits are jittered as RFC 4271 §10 says, so that
//! many nodes do not dial one router in step.

use std::time::Duration;

use rand::{RngExt, rngs::SmallRng};

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    /// The longest wait.
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// The next wait: 1 s, 2 s, 4 s, … up to the longest, each times 0.75 to 1.
    pub(super) fn next(&mut self, random: &mut SmallRng) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        jittered(doubled.min(self.longest), random)
    }

    /// The longest wait, jittered too.
    pub(super) fn longest(&self, random: &mut SmallRng) -> Duration {
        jittered(self.longest, random)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `duration` times a random factor of 0.75 to 1 (RFC 4271 §10).
pub(super) fn jittered(duration: Duration, random: &mut SmallRng) -> Duration {
    duration.mul_f64(random.random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let full = Duration::from_secs(seconds);
            let wait = backoff.next(&mut random);
            assert!(wait <= full && wait >= full.mul_f64(0.75), "{wait:?} for {full:?}");
        }
        assert!(backoff.longest(&mut random) >= Duration::from_secs(45));
        backoff.reset();
        assert!(backoff.next(&mut random) <= FIRST);
    }
}
