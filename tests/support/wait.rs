//! Waiting for a condition. The deadline is how long a broken run may take, never a measure.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a run where all is well ends far earlier.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks `condition` until it gives a value.
///
/// # Panics
/// After [`DEADLINE`], with what was awaited and the last answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(last) if Instant::now() > end => panic!("no {what} in {DEADLINE:?}; last: {last}"),
            // The pause between two questions, not a wait for the answer.
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}
