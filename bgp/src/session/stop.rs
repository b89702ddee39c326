//! Why a session ends on our side, and the NOTIFICATION that says so.

use crate::wire::subcode::cease;
use crate::wire::{Family, Notification, NotificationCode};

/// Why a session is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The node stops: Cease/2 with a text for the router's operator (RFC 9003). It stays down.
    Shutdown(Option<String>),
    /// `mcc bgp reset`: Cease/4, and it starts again at once.
    Reset,
    /// More prefixes than `max_prefixes`: Cease/1 (RFC 4486 §4), then a long rest.
    MaxPrefixes {
        /// The limit.
        limit: u32,
    },
}

impl StopReason {
    /// Whether the neighbor need not wait for us to come back.
    pub(super) fn is_for_long(&self) -> bool {
        match self {
            Self::Shutdown(_) | Self::MaxPrefixes { .. } => true,
            Self::Reset => false,
        }
    }

    pub(super) fn notification(&self) -> Notification {
        match self {
            Self::MaxPrefixes { limit } => {
                Notification::maximum_prefixes(Family::IPV4_UNICAST, *limit)
            }
            Self::Shutdown(text) => Notification::administrative_shutdown(text.as_deref()),
            Self::Reset => Notification::new(NotificationCode::Cease, cease::ADMINISTRATIVE_RESET),
        }
    }
}
