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
    /// It was a Hard Reset, Cease / 9 (RFC 8538 §3): code and subcode are those inside of it, if there
    /// were any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard_reset: bool,
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
            hard_reset: false,
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
            hard_reset: notification.is_hard_reset(),
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
    /// Administrative Shutdown: maintenance (6/2)`; of a Hard Reset also what is inside of it: `(6/9,
    /// in it 6/2)`.
    #[must_use]
    pub fn what_happened(&self) -> String {
        let who = match self.direction {
            ErrorDirection::Received => "the router closed the session: ",
            ErrorDirection::Sent => "this node closed the session: ",
            ErrorDirection::Connection | ErrorDirection::Dial => "",
        };
        let numbers = match (self.code, self.subcode) {
            (Some(code), Some(subcode)) if self.hard_reset => {
                let cease = u8::from(NotificationCode::Cease);
                let outer = (cease, cease::HARD_RESET);
                let inner = if (code, subcode) == outer {
                    String::new()
                } else {
                    format!(", in it {code}/{subcode}")
                };
                format!(" ({}/{}{inner})", outer.0, outer.1)
            }
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

    /// RFC 8538 §3: both what it was sent as and what is inside.
    #[test]
    fn a_hard_reset_is_shown_with_what_is_inside() {
        let json = |error: &SessionError| serde_json::to_value(error).unwrap();
        let shutdown = Notification::administrative_shutdown(Some("bye!"));
        let hard = SessionError::received(&shutdown.clone().into_hard_reset());
        assert_eq!(
            hard.what_happened(),
            "the router closed the session: Cease / Hard Reset: Cease / Administrative Shutdown: \
             bye! (6/9, in it 6/2)"
        );
        let shown = json(&hard);
        assert_eq!((&shown["code"], &shown["subcode"]), (&6.into(), &2.into()));
        assert_eq!(shown["hard_reset"], true);
        let empty = Notification::new(NotificationCode::Cease, cease::HARD_RESET);
        let empty = SessionError::received(&empty).what_happened();
        assert_eq!(empty, "the router closed the session: Cease / Hard Reset (6/9)");
        assert!(json(&SessionError::received(&shutdown)).get("hard_reset").is_none());
    }
}
