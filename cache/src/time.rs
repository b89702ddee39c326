//! The wall clock, as stored responses count it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 when the clock stands before that.
pub(crate) fn unix_now() -> u64 {
    unix(SystemTime::now())
}

/// Hours since 1970 for seconds since 1970.
pub(crate) fn hour(seconds: u64) -> u32 {
    u32::try_from(seconds / 3600).unwrap_or(u32::MAX)
}

/// A clock that goes on steadily from where the wall clock stood when it was started, whatever that
/// does meanwhile: for intervals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SteadyClock {
    began: Instant,
    stood: u64,
}

impl SteadyClock {
    /// A clock that stands at `stood` seconds since 1970 when it is `began`.
    pub(crate) fn new(began: Instant, stood: u64) -> Self {
        Self { began, stood }
    }

    /// Seconds since 1970 at `now`.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        self.stood.saturating_add(now.saturating_duration_since(self.began).as_secs())
    }
}

/// `time` in seconds since 1970; 0 when it lies before that.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
