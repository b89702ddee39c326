//! Whether a client takes what it is owed.
//!
//! Only time in which the connection waits for the client counts: not the node's own waiting for an origin, a drive or
//! its egress limit, and not the time between requests. What counts as taken is what the client has acknowledged, since
//! a socket's buffer can hold minutes of a slow client's bytes.

use std::time::{Duration, Instant};

use thiserror::Error;

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaceLimits {
    /// How long it may take nothing at all.
    pub(crate) stuck: Duration,
    /// Bytes per second that it must take on the average ...
    pub(crate) least_rate: u64,
    /// ... of so much time waited for it.
    pub(crate) window: Duration,
}

/// Why a client is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TooSlow {
    /// It took nothing.
    #[error("the client took nothing for {} ms", .0.as_millis())]
    Stuck(Duration),
    /// It took too little.
    #[error("the client took {bytes} bytes in {} ms", waited.as_millis())]
    Dribbling {
        /// What it took ...
        bytes: u64,
        /// ... in so much time waited for it.
        waited: Duration,
    },
}

/// The pace of one connection's client.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: PaceLimits,
    /// Since when the connection waits for the client to take bytes.
    waiting: Option<Instant>,
    /// The last time at which it was seen to have taken some, or the waiting began.
    progress: Instant,
    /// Bytes taken when last seen.
    taken: u64,
    /// Time waited in this window, that of `waiting` left out.
    waited: Duration,
    /// Bytes taken when the window began.
    window_start: u64,
}

impl Pace {
    pub(crate) fn new(limits: PaceLimits, now: Instant) -> Self {
        let waited = Duration::ZERO;
        Self { limits, waiting: None, progress: now, taken: 0, waited, window_start: 0 }
    }

    /// The connection cannot send on before the client takes bytes.
    pub(crate) fn wait(&mut self, now: Instant) {
        if self.waiting.is_none() {
            self.waiting = Some(now);
            self.progress = now;
        }
    }

    /// Whether the connection waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The connection can send again.
    pub(crate) fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.waiting.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// How long until [`check`](Self::check) is to be called while the connection waits.
    pub(crate) fn check_interval(&self) -> Duration {
        (self.limits.stuck.min(self.limits.window) / 4).max(Duration::from_millis(1))
    }

    /// Judges a client that is waited for and has taken `taken` bytes since the connection began.
    ///
    /// # Errors
    /// [`TooSlow`]: its connection is to be closed.
    pub(crate) fn check(&mut self, now: Instant, taken: u64) -> Result<(), TooSlow> {
        let Some(since) = self.waiting else { return Ok(()) };
        if taken > self.taken {
            (self.taken, self.progress) = (taken, now);
        }
        let still = now.saturating_duration_since(self.progress);
        if still >= self.limits.stuck {
            return Err(TooSlow::Stuck(still));
        }
        let waited = self.waited + now.saturating_duration_since(since);
        if waited < self.limits.window {
            return Ok(());
        }
        let bytes = taken.saturating_sub(self.window_start);
        let least = u128::from(self.limits.least_rate) * waited.as_millis() / 1000;
        if u128::from(bytes) < least {
            return Err(TooSlow::Dribbling { bytes, waited });
        }
        // The next window begins here.
        (self.waited, self.window_start, self.waiting) = (Duration::ZERO, taken, Some(now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits = PaceLimits {
        stuck: Duration::from_secs(120),
        least_rate: 1000,
        window: Duration::from_secs(60),
    };

    struct Scene {
        pace: Pace,
        start: Instant,
    }

    impl Scene {
        fn new(limits: PaceLimits) -> Self {
            let start = Instant::now();
            Self { pace: Pace::new(limits, start), start }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        /// Waits from `seconds.start` to `seconds.end`, checked each second; `taken` tells what was taken by then.
        fn waits(
            &mut self,
            seconds: std::ops::Range<u64>,
            taken: impl Fn(u64) -> u64,
        ) -> Result<(), (u64, TooSlow)> {
            self.pace.wait(self.at(seconds.start));
            for second in seconds.clone() {
                let now = self.at(second);
                self.pace.check(now, taken(second)).map_err(|error| (second, error))?;
            }
            self.pace.go_on(self.at(seconds.end));
            Ok(())
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let mut scene = Scene::new(PaceLimits { least_rate: 0, ..LIMITS });
        scene.waits(0..119, |_| 0).unwrap();
        scene.waits(200..319, |_| 0).unwrap();
        let one_byte = |second| u64::from(second >= 500);
        let stuck = TooSlow::Stuck(Duration::from_secs(120));
        assert_eq!(scene.waits(400..1000, one_byte), Err((620, stuck)), "120 s after that byte");
    }

    #[test]
    fn a_client_under_the_least_rate_is_given_up_and_one_above_never() {
        let mut scene = Scene::new(LIMITS);
        scene.waits(0..10_000, |second| second * 1000).unwrap();
        let mut scene = Scene::new(LIMITS);
        let waited = Duration::from_secs(60);
        let dribbling = TooSlow::Dribbling { bytes: 59_940, waited };
        assert_eq!(scene.waits(0..10_000, |second| second * 999), Err((60, dribbling)));
        // It was fast for a minute, and is slow now.
        let mut scene = Scene::new(LIMITS);
        let error = scene.waits(0..10_000, |second| second.min(60) * 4000 + second).unwrap_err();
        assert_eq!(error.0, 120);
    }

    #[test]
    fn only_time_waited_for_the_client_counts() {
        let mut scene = Scene::new(LIMITS);
        // One second in ten is the client's: slow over all, fast while it is its turn.
        for turn in 0..1000 {
            scene.waits(turn * 10..turn * 10 + 1, |_| turn * 1000).unwrap();
        }
        // A client that is waited for by fits and starts does not get a new window each time.
        let mut scene = Scene::new(LIMITS);
        let given_up =
            (0..1000).find_map(|turn| scene.waits(turn * 10..turn * 10 + 9, |_| turn * 100).err());
        assert!(matches!(given_up, Some((66, TooSlow::Dribbling { .. }))), "{given_up:?}");
    }
}
