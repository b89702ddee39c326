//! NOTIFICATION: why a session ends, from bytes and to bytes.

use bytes::Bytes;
use nom::Parser;
use nom::combinator::all_consuming;
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::{Capability, Family};

/// A NOTIFICATION message (RFC 4271 §4.5). Its `Display` is what an operator reads:
/// `Cease / Administrative Shutdown: maintenance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: NotificationCode,
    /// Error subcode, 0 for unspecific.
    pub subcode: u8,
    /// What the code says belongs here; may be empty.
    pub data: Bytes,
}

/// Error code of a NOTIFICATION (RFC 4271 §4.5, RFC 7313 §5, RFC 9687 §7).
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
    /// 8
    SendHoldTimerExpired,
    /// Any other.
    Unknown(u8),
}

/// Error subcodes by their code. 0 is "unspecific" under each.
///
/// Some are only received, because what they are about cannot happen to this speaker:
/// * 2/5 and 3/7 are of the time before RFC 4271 (a looped route is for the accept rules);
/// * 3/3: a route without a mandatory attribute is withdrawn, and without a route nothing is mandatory
///   (RFC 7606 §3d);
/// * 6/6: what has changed in the configuration takes effect with a restart, which says 6/2;
/// * 6/8: a session has a bound for everything, and the one that a router can meet is 6/1;
/// * 6/10: there is no BFD;
/// * 8/0: it would wait behind what the neighbor does not take (RFC 9687 §4).
pub mod subcode {
    /// Under [`MessageHeader`](super::NotificationCode::MessageHeader) (RFC 4271 §6.1).
    #[expect(missing_docs, reason = "the names are the RFC's own")]
    pub mod header {
        pub const CONNECTION_NOT_SYNCHRONIZED: u8 = 1;
        pub const BAD_MESSAGE_LENGTH: u8 = 2;
        pub const BAD_MESSAGE_TYPE: u8 = 3;
    }
    /// Under [`OpenMessage`](super::NotificationCode::OpenMessage) (RFC 4271 §6.2, RFC 5492 §5,
    /// RFC 9234 §4.2). 5 is of the time before RFC 4271; some routers still send it.
    #[expect(missing_docs, reason = "the names are the RFCs' own")]
    pub mod open {
        pub const UNSPECIFIC: u8 = 0;
        pub const UNSUPPORTED_VERSION_NUMBER: u8 = 1;
        pub const BAD_PEER_AS: u8 = 2;
        pub const BAD_BGP_IDENTIFIER: u8 = 3;
        pub const UNSUPPORTED_OPTIONAL_PARAMETER: u8 = 4;
        pub const AUTHENTICATION_FAILURE: u8 = 5;
        pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
        pub const UNSUPPORTED_CAPABILITY: u8 = 7;
        pub const ROLE_MISMATCH: u8 = 11;
    }
    /// Under [`UpdateMessage`](super::NotificationCode::UpdateMessage) (RFC 4271 §6.3). 7 is of the
    /// time before RFC 4271.
    #[expect(missing_docs, reason = "the names are the RFC's own")]
    pub mod update {
        pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
        pub const UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE: u8 = 2;
        pub const MISSING_WELL_KNOWN_ATTRIBUTE: u8 = 3;
        pub const ATTRIBUTE_FLAGS_ERROR: u8 = 4;
        pub const ATTRIBUTE_LENGTH_ERROR: u8 = 5;
        pub const INVALID_ORIGIN_ATTRIBUTE: u8 = 6;
        pub const AS_ROUTING_LOOP: u8 = 7;
        pub const INVALID_NEXT_HOP_ATTRIBUTE: u8 = 8;
        pub const OPTIONAL_ATTRIBUTE_ERROR: u8 = 9;
        pub const INVALID_NETWORK_FIELD: u8 = 10;
        pub const MALFORMED_AS_PATH: u8 = 11;
    }
    /// Under [`FiniteStateMachine`](super::NotificationCode::FiniteStateMachine) (RFC 6608 §3).
    #[expect(missing_docs, reason = "the names are the RFC's own")]
    pub mod state_machine {
        pub const UNEXPECTED_MESSAGE_IN_OPEN_SENT: u8 = 1;
        pub const UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM: u8 = 2;
        pub const UNEXPECTED_MESSAGE_IN_ESTABLISHED: u8 = 3;
    }
    /// Under [`Cease`](super::NotificationCode::Cease) (RFC 4486 §3, RFC 8538 §3, RFC 9384 §3).
    #[expect(missing_docs, reason = "the names are the RFCs' own")]
    pub mod cease {
        pub const MAXIMUM_NUMBER_OF_PREFIXES_REACHED: u8 = 1;
        pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
        pub const PEER_DE_CONFIGURED: u8 = 3;
        pub const ADMINISTRATIVE_RESET: u8 = 4;
        pub const CONNECTION_REJECTED: u8 = 5;
        pub const OTHER_CONFIGURATION_CHANGE: u8 = 6;
        pub const CONNECTION_COLLISION_RESOLUTION: u8 = 7;
        pub const OUT_OF_RESOURCES: u8 = 8;
        pub const HARD_RESET: u8 = 9;
        pub const BFD_DOWN: u8 = 10;
    }
    /// Under [`RouteRefreshMessage`](super::NotificationCode::RouteRefreshMessage) (RFC 7313 §5).
    #[expect(missing_docs, reason = "the name is the RFC's own")]
    pub mod route_refresh {
        pub const INVALID_MESSAGE_LENGTH: u8 = 1;
    }
}

use subcode::{cease, open};

/// The longest shutdown communication in bytes (RFC 9003 §2).
const MAX_SHUTDOWN_TEXT: usize = 255;

impl Notification {
    /// One without data.
    #[must_use]
    pub const fn new(code: NotificationCode, subcode: u8) -> Self {
        Self { code, subcode, data: Bytes::new() }
    }

    /// Cease / Administrative Shutdown, with a word to the operator on the other side (RFC 9003).
    /// What goes beyond 255 bytes of UTF-8 is cut off between characters.
    #[must_use]
    pub fn administrative_shutdown(text: Option<&str>) -> Self {
        let mut data = Vec::new();
        if let Some(text) = text {
            let text = text.get(..text.floor_char_boundary(MAX_SHUTDOWN_TEXT)).unwrap_or_default();
            data.push(u8::try_from(text.len()).unwrap_or(0));
            data.extend_from_slice(text.as_bytes());
        }
        Self {
            code: NotificationCode::Cease,
            subcode: cease::ADMINISTRATIVE_SHUTDOWN,
            data: data.into(),
        }
    }

    /// Cease / Maximum Number of Prefixes Reached, with the limit that was reached (RFC 4486 §4).
    #[must_use]
    pub fn maximum_prefixes(family: Family, limit: u32) -> Self {
        let mut data = family.afi.to_be_bytes().to_vec();
        data.push(family.safi);
        data.extend(limit.to_be_bytes());
        Self {
            code: NotificationCode::Cease,
            subcode: cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED,
            data: data.into(),
        }
    }

    /// This one inside of a Hard Reset (RFC 8538 §3.1): the neighbor is not to keep routes.
    #[must_use]
    pub fn into_hard_reset(self) -> Self {
        let mut data = vec![u8::from(self.code), self.subcode];
        data.extend_from_slice(&self.data);
        Self { code: NotificationCode::Cease, subcode: cease::HARD_RESET, data: data.into() }
    }

    /// Family and limit of a Cease / Maximum Number of Prefixes Reached (RFC 4486 §4); `None` if
    /// this is another notification, or has no such data.
    #[must_use]
    pub fn prefix_limit(&self) -> Option<(Family, u32)> {
        let wanted = (NotificationCode::Cease, cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED);
        if (self.code, self.subcode) != wanted {
            return None;
        }
        let data = all_consuming((be_u16::<_, ()>, be_u8, be_u32)).parse(&*self.data);
        data.ok().map(|(_, (afi, safi, limit))| (Family { afi, safi }, limit))
    }

    /// The capabilities that an OPEN / Unsupported Capability asks for (RFC 5492 §5); none if this
    /// is another notification.
    #[must_use]
    pub fn capabilities_asked_for(&self) -> Vec<Capability> {
        if (self.code, self.subcode)
            != (NotificationCode::OpenMessage, open::UNSUPPORTED_CAPABILITY)
        {
            return Vec::new();
        }
        Capability::decode_list(&self.data).unwrap_or_default()
    }

    /// What the other operator wrote into a shutdown or reset (RFC 9003). `None` if this is
    /// another notification, the text is empty, its length is wrong or it is no UTF-8.
    #[must_use]
    pub fn shutdown_text(&self) -> Option<&str> {
        let with_text = [cease::ADMINISTRATIVE_SHUTDOWN, cease::ADMINISTRATIVE_RESET];
        if self.code != NotificationCode::Cease || !with_text.contains(&self.subcode) {
            return None;
        }
        let text = all_consuming(length_data(be_u8::<_, ()>)).parse(&*self.data);
        let text = std::str::from_utf8(text.ok()?.1).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Whether it is a Hard Reset (RFC 8538 §3), which may have another notification inside.
    #[must_use]
    pub fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (NotificationCode::Cease, cease::HARD_RESET)
    }

    /// The notification inside of a Hard Reset (RFC 8538 §3.1), else this one: the true reason.
    #[must_use]
    pub fn unwrapped(&self) -> Self {
        if !self.is_hard_reset() {
            return self.clone();
        }
        match self.data.split_at_checked(2) {
            Some((&[code, subcode], data)) => {
                Self { code: code.into(), subcode, data: self.data.slice_ref(data) }
            }
            _ => self.clone(),
        }
    }

    /// From the body of a NOTIFICATION message. A code or subcode that is cut off reads as 0: the
    /// session ends all the same, and an error in a NOTIFICATION is not answered with another
    /// (RFC 4271 §6.4).
    pub(super) fn decode(body: &[u8]) -> Self {
        let (code, subcode, data) = match body {
            [code, subcode, data @ ..] => (*code, *subcode, data),
            [code] => (*code, 0, &[][..]),
            [] => (0, 0, &[][..]),
        };
        Self { code: code.into(), subcode, data: Bytes::copy_from_slice(data) }
    }
}

impl From<u8> for NotificationCode {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::MessageHeader,
            2 => Self::OpenMessage,
            3 => Self::UpdateMessage,
            4 => Self::HoldTimerExpired,
            5 => Self::FiniteStateMachine,
            6 => Self::Cease,
            7 => Self::RouteRefreshMessage,
            8 => Self::SendHoldTimerExpired,
            _ => Self::Unknown(code),
        }
    }
}

impl From<NotificationCode> for u8 {
    fn from(code: NotificationCode) -> Self {
        match code {
            NotificationCode::MessageHeader => 1,
            NotificationCode::OpenMessage => 2,
            NotificationCode::UpdateMessage => 3,
            NotificationCode::HoldTimerExpired => 4,
            NotificationCode::FiniteStateMachine => 5,
            NotificationCode::Cease => 6,
            NotificationCode::RouteRefreshMessage => 7,
            NotificationCode::SendHoldTimerExpired => 8,
            NotificationCode::Unknown(code) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_text_is_cut_between_characters() {
        let long = "ü".repeat(200);
        let sent = Notification::administrative_shutdown(Some(&long));
        assert_eq!(sent.data.len(), 1 + 254);
        assert_eq!(sent.shutdown_text(), Some("ü".repeat(127).as_str()));
        assert_eq!(Notification::administrative_shutdown(None).data.len(), 0);
    }

    #[test]
    fn a_hard_reset_gives_its_true_reason() {
        let hard = Notification::decode(b"\x06\x09\x06\x02\x03bye");
        let shutdown = Notification::administrative_shutdown(Some("bye"));
        assert_eq!(hard.unwrapped(), shutdown);
        assert_eq!(shutdown.into_hard_reset(), hard);
        let empty = Notification::decode(b"\x06\x09\x06");
        assert_eq!(empty.unwrapped(), empty);
    }

    #[test]
    fn codes_survive_the_way_there_and_back() {
        for code in 0..=u8::MAX {
            assert_eq!(u8::from(NotificationCode::from(code)), code);
        }
    }
}
