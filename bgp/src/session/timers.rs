//! The timers of a session, for whoever wants to see them.

use std::time::Instant;

/// When the timers of a session run out (RFC 4271 §8.1.3); `None` for one that does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// HoldTimer: the session ends unless something comes from the neighbor.
    pub hold: Option<Instant>,
    /// KeepaliveTimer: the next KEEPALIVE is sent.
    pub keepalive: Option<Instant>,
    /// ConnectRetryTimer or IdleHoldTimer: the neighbor is dialled, or let in, again.
    pub retry: Option<Instant>,
}
