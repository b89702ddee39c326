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
    /// It is no neighbor any more: Cease/3. It stays down.
    Removed,
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
            Self::Shutdown(_) | Self::Removed | Self::MaxPrefixes { .. } => true,
            Self::Reset => false,
        }
    }

    /// What the neighbor is told; `families` are those of the session.
    pub(super) fn notification(&self, families: &[Family]) -> Notification {
        let cease = |subcode| Notification::new(NotificationCode::Cease, subcode);
        match self {
            Self::MaxPrefixes { limit } => match families {
                [family] => Notification::maximum_prefixes(*family, *limit),
                // The data has a place for the limit of one family, and ours is of all together.
                _ => cease(cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED),
            },
            Self::Shutdown(text) => Notification::administrative_shutdown(text.as_deref()),
            Self::Removed => cease(cease::PEER_DE_CONFIGURED),
            Self::Reset => cease(cease::ADMINISTRATIVE_RESET),
        }
    }

    /// What the operator is told where `told`, the notification, does not say it.
    pub(super) fn detail(&self, told: &Notification) -> Option<String> {
        match self {
            Self::MaxPrefixes { limit } if told.data.is_empty() => {
                Some(format!("limit {limit}, of all families together"))
            }
            _ => None,
        }
    }
}
