//! The egress limit: new requests are refused while more than the limit goes out, running ones go on.
//!
//! A client that gets under 4,000 bytes per second bans the node, so what was admitted is not slowed down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts what is sent, by the second.
#[derive(Debug)]
pub(crate) struct EgressGate {
    /// Bytes per second; `None`: no limit.
    limit: Option<u64>,
    start: Instant,
    /// The second that `sent` counts, since `start`.
    second: AtomicU64,
    sent: AtomicU64,
}

impl EgressGate {
    pub(crate) fn new(max_mbps: Option<u32>, start: Instant) -> Self {
        let limit = max_mbps.map(|mbps| u64::from(mbps) * 1_000_000 / 8);
        Self { limit, start, second: AtomicU64::new(0), sent: AtomicU64::new(0) }
    }

    /// Counts `bytes` as sent at `now`.
    pub(crate) fn sent(&self, bytes: u64, now: Instant) {
        if self.limit.is_some() {
            self.turn(now);
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Whether a new request may begin at `now`.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let Some(limit) = self.limit else { return true };
        self.turn(now);
        self.sent.load(Ordering::Relaxed) < limit
    }

    /// Begins a new second when the clock has. What was sent above the limit counts in the next second
    /// too: two threads that turn at once lose some counts, which does no harm.
    fn turn(&self, now: Instant) {
        let second = now.saturating_duration_since(self.start).as_secs();
        let before = self.second.swap(second, Ordering::Relaxed);
        if before != second {
            let passed = second.saturating_sub(before);
            let paid = self.limit.unwrap_or(0).saturating_mul(passed);
            let sent = self.sent.load(Ordering::Relaxed);
            self.sent.store(sent.saturating_sub(paid), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refuses_above_the_limit_until_it_is_paid_off() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let gate = EgressGate::new(Some(8), start);
        assert!(gate.admits(at(0)));
        gate.sent(2_500_000, at(0));
        assert!(!gate.admits(at(0)));
        assert!(!gate.admits(at(1)), "1.5 MB over");
        assert!(gate.admits(at(2)), "0.5 MB of this second are used");
        gate.sent(600_000, at(2));
        assert!(!gate.admits(at(2)));
        assert!(gate.admits(at(9)));
    }

    #[test]
    fn without_a_limit_everything_goes() {
        let start = Instant::now();
        let gate = EgressGate::new(None, start);
        gate.sent(u64::MAX, start);
        assert!(gate.admits(start));
    }
}
