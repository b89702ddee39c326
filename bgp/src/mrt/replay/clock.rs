//! The times of records as times of the RIB, and back.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    first: Option<Timestamp>,
    /// Earliest and latest.
    span: Option<(Timestamp, Timestamp)>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), first: None, span: None }
    }

    /// The time of a record. What is earlier than the first record counts as of its time.
    pub(super) fn tell(&mut self, at: Timestamp) -> Instant {
        let (earliest, latest) = self.span.unwrap_or((at, at));
        self.span = Some((earliest.min(at), latest.max(at)));
        let first = *self.first.get_or_insert(at);
        self.since(first, at)
    }

    /// That of the first record.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// That of the latest.
    pub(super) fn latest(&self) -> Instant {
        let latest = self.first.zip(self.span).map(|(first, (_, to))| self.since(first, to));
        latest.unwrap_or(self.began)
    }

    /// The earliest and the latest.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// What the clocks of the records showed at a moment; `None` before there is any.
    pub(super) fn shown(&self, at: Instant) -> Option<Timestamp> {
        let passed = SignedDuration::try_from(at.saturating_duration_since(self.began)).ok()?;
        self.first?.checked_add(passed).ok()
    }

    fn since(&self, first: Timestamp, at: Timestamp) -> Instant {
        self.began + Duration::try_from(at.duration_since(first)).unwrap_or_default()
    }
}
