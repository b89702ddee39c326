//! The wall clock, as stored responses count it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 when the clock stands before that.
pub(crate) fn unix_now() -> u64 {
    unix(SystemTime::now())
}

/// `time` in seconds since 1970; 0 when it lies before that.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
