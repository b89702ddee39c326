//! What becomes of a neighbor's routes when its session ends.
//!
//! They are kept for the neighbor's `stale_time` however it ended: a lost session must not unmap
//! clients. Graceful restart (RFC 4724) can make that longer, and long-lived graceful restart
//! (RFC 9494) much longer, but only where the RFCs let them: not after a NOTIFICATION, unless both
//! sides said so (the N flag of RFC 8538), and never after a Hard Reset.

use std::time::Duration;

use super::negotiation::Negotiated;
use crate::wire::subcode::cease;
use crate::wire::{Family, Notification, NotificationCode};

/// What becomes of the routes of a session that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// They stay as stale, for the neighbor's `stale_time`, or for `at_least` or the time of their
    /// family in `restart` if that is longer, and beyond that for its time in `long_lived`.
    Keep {
        /// For all families; 0 where nothing asks for more than `stale_time`.
        at_least: Duration,
        /// Families of the neighbor's graceful restart, with its restart time (RFC 4724 §3). Empty
        /// where graceful restart does not apply.
        restart: Vec<(Family, Duration)>,
        /// Families with a long-lived stale time (RFC 9494 §4.2).
        long_lived: Vec<(Family, Duration)>,
    },
    /// They are not to be trusted and go at once.
    Withdraw,
}

impl Retention {
    /// Kept for so long at least in each family, and not long-lived.
    #[must_use]
    pub const fn keep(at_least: Duration) -> Self {
        Self::Keep { at_least, restart: Vec::new(), long_lived: Vec::new() }
    }
}

/// How a connection ended, as far as it matters for the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Without a word: the TCP connection is gone, or a new one takes its place.
    Lost,
    /// With a NOTIFICATION from either side.
    Notification,
    /// With a Hard Reset (RFC 8538 §3.1) from either side.
    HardReset,
    /// The routes themselves are the reason.
    Untrusted,
}

impl Ending {
    /// By a NOTIFICATION that the neighbor sent.
    pub(super) fn received(notification: &Notification) -> Self {
        match (notification.code, notification.subcode) {
            (NotificationCode::Cease, cease::HARD_RESET) => Self::HardReset,
            _ => Self::Notification,
        }
    }

    /// What becomes of the routes of a session that ended like this.
    pub(super) fn retention(self, negotiated: &Negotiated) -> Retention {
        let restart = negotiated.graceful_restart.as_ref();
        let restart = match self {
            Self::Untrusted => return Retention::Withdraw,
            Self::Lost => restart,
            Self::Notification => restart.filter(|restart| restart.notification),
            Self::HardReset => None,
        };
        let Some(restart) = restart else { return Retention::keep(Duration::ZERO) };
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let restart_time = seconds(u32::from(restart.restart_time));
        let long_lived = negotiated.long_lived.iter();
        Retention::Keep {
            at_least: Duration::ZERO,
            restart: restart.families.iter().map(|&family| (family, restart_time)).collect(),
            long_lived: long_lived.map(|kept| (kept.family, seconds(kept.seconds))).collect(),
        }
    }
}
