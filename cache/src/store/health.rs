//! When a drive has failed often enough to be given up.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::disk::is_full;

/// So many errors ...
pub(super) const ERRORS: usize = 5;
/// ... within this time take a drive offline.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// What an error says about a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on.
    Bearable,
    /// It has failed too often.
    TooMany,
}

/// The errors of the last minute.
#[derive(Debug, Default)]
pub(super) struct ErrorWindow {
    errors: VecDeque<Instant>,
    without_space: Option<Instant>,
}

impl ErrorWindow {
    /// Takes note of an error at `now`. That there is no space is not counted: it passes, and the drive
    /// is not to blame. Everything else is, a file system that has become read-only included.
    pub(super) fn note(&mut self, error: &io::Error, now: Instant) -> Verdict {
        if is_full(error) {
            self.without_space = Some(now);
            return Verdict::Bearable;
        }
        self.errors.retain(|error| now.saturating_duration_since(*error) < WINDOW);
        self.errors.push_back(now);
        if self.errors.len() >= ERRORS { Verdict::TooMany } else { Verdict::Bearable }
    }

    /// Whether its file system had no space within the last minute.
    pub(super) fn is_without_space(&self, now: Instant) -> bool {
        self.without_space.is_some_and(|last| now.saturating_duration_since(last) < WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn note(errors: &mut ErrorWindow, error: Errno, start: Instant, second: u64) -> Verdict {
        errors.note(&error.into(), start + Duration::from_secs(second))
    }

    #[test]
    fn five_errors_within_a_minute_are_too_many() {
        let (start, mut errors) = (Instant::now(), ErrorWindow::default());
        for second in [0, 10, 20, 30, 61, 75] {
            assert_eq!(note(&mut errors, Errno::IO, start, second), Verdict::Bearable);
        }
        assert_eq!(note(&mut errors, Errno::ROFS, start, 76), Verdict::TooMany);
    }

    #[test]
    fn a_full_file_system_is_no_fault_of_the_drive() {
        let (start, mut errors) = (Instant::now(), ErrorWindow::default());
        assert!(!errors.is_without_space(start));
        for second in 0..20 {
            assert_eq!(note(&mut errors, Errno::NOSPC, start, second), Verdict::Bearable);
        }
        assert!(errors.is_without_space(start + Duration::from_secs(60)));
        assert!(!errors.is_without_space(start + Duration::from_secs(80)));
    }
}
