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
    /// They stay as stale, for the neighbor's `stale_time` or for `restart_time` if that is longer,
    /// and beyond that for the time of their family in `long_lived`.
    Keep {
        /// Restart time of the neighbor (RFC 4724 §3); 0 where graceful restart does not apply.
        restart_time: Duration,
        /// Families with a long-lived stale time (RFC 9494 §4.2).
        long_lived: Vec<(Family, Duration)>,
        /// The router's operator closed the session, and meant to: Cease / Administrative Shutdown
        /// or Peer De-configured was received.
        administrative: bool,
    },
    /// They are not to be trusted and go at once.
    Withdraw,
}

impl Retention {
    /// Kept, and neither long-lived nor by order of the operator.
    #[must_use]
    pub const fn keep(restart_time: Duration) -> Self {
        Self::Keep { restart_time, long_lived: Vec::new(), administrative: false }
    }
}

/// How a connection ended, as far as it matters for the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Without a word: the TCP connection is gone, or a new one takes its place.
    Lost,
    /// With a NOTIFICATION from either side.
    Notification {
        /// See [`Retention::Keep`].
        administrative: bool,
    },
    /// With a Hard Reset (RFC 8538 §3.1) from either side.
    HardReset {
        /// See [`Retention::Keep`].
        administrative: bool,
    },
    /// The routes themselves are the reason.
    Untrusted,
}

impl Ending {
    /// By a NOTIFICATION that the neighbor sent.
    pub(super) fn received(notification: &Notification) -> Self {
        let reason = notification.unwrapped();
        let administrative = reason.code == NotificationCode::Cease
            && matches!(reason.subcode, cease::ADMINISTRATIVE_SHUTDOWN | cease::PEER_DE_CONFIGURED);
        match (notification.code, notification.subcode) {
            (NotificationCode::Cease, cease::HARD_RESET) => Self::HardReset { administrative },
            _ => Self::Notification { administrative },
        }
    }

    /// What becomes of the routes of a session that ended like this.
    pub(super) fn retention(self, negotiated: &Negotiated) -> Retention {
        let restart = negotiated.graceful_restart.as_ref();
        let (restart, administrative) = match self {
            Self::Untrusted => return Retention::Withdraw,
            Self::Lost => (restart, false),
            Self::Notification { administrative } => {
                (restart.filter(|restart| restart.notification), administrative)
            }
            Self::HardReset { administrative } => (None, administrative),
        };
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let Some(restart) = restart else {
            return Retention::Keep {
                restart_time: Duration::ZERO,
                long_lived: Vec::new(),
                administrative,
            };
        };
        let long_lived = negotiated.long_lived.iter();
        Retention::Keep {
            restart_time: seconds(u32::from(restart.restart_time)),
            long_lived: long_lived.map(|kept| (kept.family, seconds(kept.seconds))).collect(),
            administrative,
        }
    }
}
