//! When a drive has failed often enough to be given up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many errors ...
pub(super) const ERRORS: usize = 5;
/// ... within this time take a drive offline.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The errors of the last minute.
#[derive(Debug, Default)]
pub(super) struct ErrorWindow(VecDeque<Instant>);

impl ErrorWindow {
    /// Takes note of an error at `now`; true when it is one too many.
    pub(super) fn note(&mut self, now: Instant) -> bool {
        self.0.retain(|error| now.saturating_duration_since(*error) < WINDOW);
        self.0.push_back(now);
        self.0.len() >= ERRORS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_errors_within_a_minute_are_too_many() {
        let start = Instant::now();
        let mut errors = ErrorWindow::default();
        let notes = [0, 10, 20, 30, 61, 75].map(|s| errors.note(start + Duration::from_secs(s)));
        assert_eq!(notes, [false, false, false, false, false, false]);
        assert!(errors.note(start + Duration::from_secs(76)));
    }
}
