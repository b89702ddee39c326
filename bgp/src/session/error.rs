//! Why a session, or the attempt to have one, ended: in the operator's words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::advice::advice;
use crate::wire::subcode::cease;
use crate::wire::{Notification, NotificationCode};

/// Who ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorDirection {
    /// The neighbor sent a NOTIFICATION.
    Received,
    /// This speaker sent a NOTIFICATION.
    Sent,
    /// There was no NOTIFICATION: the TCP connection failed.
    Connection,
    /// There was no connection to speak of: the neighbor cannot be dialled, or hangs up at once.
    Dial,
}

/// The end of a session or of an attempt, as `mcc bgp status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionError {
    /// Who ended it.
    pub direction: ErrorDirection,
    /// NOTIFICATION error code (RFC 4271 §4.5); of a Hard Reset the one inside of it.
    pub code: Option<u8>,
    /// NOTIFICATION error subcode, in the same way.
    pub subcode: Option<u8>,
    /// The same in words.
    pub text: String,
    /// What it means here, and what to do; `None` where the text says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What the router's operator wrote to it (RFC 9003).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<String>,
}

impl SessionError {
    pub(super) fn received(notification: &Notification) -> Self {
        Self {
            advice: advice(notification),
            communication: notification.unwrapped().shutdown_text().map(ToOwned::to_owned),
            ..Self::notification(ErrorDirection::Received, notification, None)
        }
    }

    /// `detail` says what the code does not: the value found and the value expected.
    pub(super) fn sent(notification: &Notification, detail: Option<&str>) -> Self {
        Self::notification(ErrorDirection::Sent, notification, detail)
    }

    pub(super) fn connection(text: String) -> Self {
        Self {
            direction: ErrorDirection::Connection,
            code: None,
            subcode: None,
            text,
            advice: None,
            communication: None,
        }
    }

    pub(super) fn dial(text: String) -> Self {
        Self { direction: ErrorDirection::Dial, ..Self::connection(text) }
    }

    fn notification(
        direction: ErrorDirection,
        notification: &Notification,
        detail: Option<&str>,
    ) -> Self {
        let text = match detail {
            Some(detail) => format!("{notification}: {detail}"),
            None => notification.to_string(),
        };
        let reason = notification.unwrapped();
        let code = Some(u8::from(reason.code));
        Self {
            direction,
            code,
            subcode: Some(reason.subcode),
            text,
            advice: None,
            communication: None,
        }
    }
}

impl SessionError {
    /// Whether the router's operator has ended it, and meant to: Administrative Shutdown or Peer
    /// De-configured (RFC 4486 §4), also as the reason of a Hard Reset.
    #[must_use]
    pub fn is_by_routers_operator(&self) -> bool {
        let reason = (self.code, self.subcode);
        let meant = [cease::ADMINISTRATIVE_SHUTDOWN, cease::PEER_DE_CONFIGURED]
            .map(|subcode| (Some(u8::from(NotificationCode::Cease)), Some(subcode)));
        self.direction == ErrorDirection::Received && meant.contains(&reason)
    }

    /// Who closed the session, why, and the numbers: `the router closed the session: Cease /
    /// Administrative Shutdown: maintenance (6/2)`.
    #[must_use]
    pub fn what_happened(&self) -> String {
        let who = match self.direction {
            ErrorDirection::Received => "the router closed the session: ",
            ErrorDirection::Sent => "this node closed the session: ",
            ErrorDirection::Connection | ErrorDirection::Dial => "",
        };
        let numbers = match (self.code, self.subcode) {
            (Some(code), Some(subcode)) => format!(" ({code}/{subcode})"),
            _ => String::new(),
        };
        format!("{who}{}{numbers}", self.text)
    }
}

impl fmt::Display for SessionError {
    /// The whole sentence: what happened, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what_happened())?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orderly_shutdown_is_told_apart_from_other_endings() {
        let shutdown = Notification::administrative_shutdown(Some("until 04:00"));
        let removed = Notification::new(NotificationCode::Cease, cease::PEER_DE_CONFIGURED);
        let reset = Notification::new(NotificationCode::Cease, cease::ADMINISTRATIVE_RESET);
        for (notification, expected) in [
            (shutdown.clone(), true),
            (shutdown.clone().into_hard_reset(), true),
            (removed, true),
            (reset, false),
            (Notification::new(NotificationCode::HoldTimerExpired, 2), false),
        ] {
            let error = SessionError::received(&notification);
            assert_eq!(error.is_by_routers_operator(), expected, "{error}");
        }
        let hard = SessionError::received(&shutdown.clone().into_hard_reset());
        assert_eq!(hard.communication.as_deref(), Some("until 04:00"));
        assert!(!SessionError::sent(&shutdown, None).is_by_routers_operator(), "it is ours");
    }
}
