//! NOTIFICATION: why a session ends.

use bytes::Bytes;

/// A NOTIFICATION message (RFC 4271 §4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: NotificationCode,
    /// Error subcode, 0 for unspecific.
    pub subcode: u8,
    /// What the code says belongs here; may be empty.
    pub data: Bytes,
}

/// Error code of a NOTIFICATION (RFC 4271 §4.5, RFC 7313 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotificationCode {
    /// 1
    MessageHeader,
    /// 2
    OpenMessage,
    /// 3
    UpdateMessage,
    /// 4
    HoldTimerExpired,
    /// 5
    FiniteStateMachine,
    /// 6
    Cease,
    /// 7
    RouteRefreshMessage,
    /// Any other.
    Unknown(u8),
}
