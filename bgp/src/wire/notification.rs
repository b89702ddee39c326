//! NOTIFICATION: why a session ends, in bytes and in words.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::combinator::all_consuming;
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::attribute::attribute_name;
use super::{Capability, Family, MessageType};

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

use subcode::{cease, header, open, route_refresh, state_machine, update};

/// The longest shutdown communication in bytes (RFC 9003 §2).
const MAX_SHUTDOWN_TEXT: usize = 255;
/// So many bytes of data are shown in words when their meaning is not known.
const SHOWN_DATA: usize = 32;

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

    /// The notification inside of a Hard Reset (RFC 8538 §3.1), else this one: the true reason.
    #[must_use]
    pub fn unwrapped(&self) -> Self {
        if (self.code, self.subcode) != (NotificationCode::Cease, cease::HARD_RESET) {
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

    /// The RFC's words for the subcode; `None` for 0 and for one without a name.
    fn subcode_words(&self) -> Option<&'static str> {
        use NotificationCode as Code;
        Some(match (self.code, self.subcode) {
            (Code::MessageHeader, header::CONNECTION_NOT_SYNCHRONIZED) => {
                "Connection Not Synchronized"
            }
            (Code::MessageHeader, header::BAD_MESSAGE_LENGTH) => "Bad Message Length",
            (Code::MessageHeader, header::BAD_MESSAGE_TYPE) => "Bad Message Type",
            (Code::OpenMessage, open::UNSUPPORTED_VERSION_NUMBER) => "Unsupported Version Number",
            (Code::OpenMessage, open::BAD_PEER_AS) => "Bad Peer AS",
            (Code::OpenMessage, open::BAD_BGP_IDENTIFIER) => "Bad BGP Identifier",
            (Code::OpenMessage, open::UNSUPPORTED_OPTIONAL_PARAMETER) => {
                "Unsupported Optional Parameter"
            }
            (Code::OpenMessage, open::AUTHENTICATION_FAILURE) => "Authentication Failure",
            (Code::OpenMessage, open::UNACCEPTABLE_HOLD_TIME) => "Unacceptable Hold Time",
            (Code::OpenMessage, open::UNSUPPORTED_CAPABILITY) => "Unsupported Capability",
            (Code::OpenMessage, open::ROLE_MISMATCH) => "Role Mismatch",
            (Code::UpdateMessage, update::MALFORMED_ATTRIBUTE_LIST) => "Malformed Attribute List",
            (Code::UpdateMessage, update::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE) => {
                "Unrecognized Well-known Attribute"
            }
            (Code::UpdateMessage, update::MISSING_WELL_KNOWN_ATTRIBUTE) => {
                "Missing Well-known Attribute"
            }
            (Code::UpdateMessage, update::ATTRIBUTE_FLAGS_ERROR) => "Attribute Flags Error",
            (Code::UpdateMessage, update::ATTRIBUTE_LENGTH_ERROR) => "Attribute Length Error",
            (Code::UpdateMessage, update::INVALID_ORIGIN_ATTRIBUTE) => "Invalid ORIGIN Attribute",
            (Code::UpdateMessage, update::AS_ROUTING_LOOP) => "AS Routing Loop",
            (Code::UpdateMessage, update::INVALID_NEXT_HOP_ATTRIBUTE) => {
                "Invalid NEXT_HOP Attribute"
            }
            (Code::UpdateMessage, update::OPTIONAL_ATTRIBUTE_ERROR) => "Optional Attribute Error",
            (Code::UpdateMessage, update::INVALID_NETWORK_FIELD) => "Invalid Network Field",
            (Code::UpdateMessage, update::MALFORMED_AS_PATH) => "Malformed AS_PATH",
            (Code::FiniteStateMachine, state_machine::UNEXPECTED_MESSAGE_IN_OPEN_SENT) => {
                "Unexpected Message in OpenSent State"
            }
            (Code::FiniteStateMachine, state_machine::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM) => {
                "Unexpected Message in OpenConfirm State"
            }
            (Code::FiniteStateMachine, state_machine::UNEXPECTED_MESSAGE_IN_ESTABLISHED) => {
                "Unexpected Message in Established State"
            }
            (Code::Cease, cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED) => {
                "Maximum Number of Prefixes Reached"
            }
            (Code::Cease, cease::ADMINISTRATIVE_SHUTDOWN) => "Administrative Shutdown",
            (Code::Cease, cease::PEER_DE_CONFIGURED) => "Peer De-configured",
            (Code::Cease, cease::ADMINISTRATIVE_RESET) => "Administrative Reset",
            (Code::Cease, cease::CONNECTION_REJECTED) => "Connection Rejected",
            (Code::Cease, cease::OTHER_CONFIGURATION_CHANGE) => "Other Configuration Change",
            (Code::Cease, cease::CONNECTION_COLLISION_RESOLUTION) => {
                "Connection Collision Resolution"
            }
            (Code::Cease, cease::OUT_OF_RESOURCES) => "Out of Resources",
            (Code::Cease, cease::HARD_RESET) => "Hard Reset",
            (Code::Cease, cease::BFD_DOWN) => "BFD Down",
            (Code::RouteRefreshMessage, route_refresh::INVALID_MESSAGE_LENGTH) => {
                "Invalid Message Length"
            }
            _ => return None,
        })
    }

    /// What the data says, in words; `None` if it has no known form.
    fn data_words(&self) -> Option<String> {
        use NotificationCode as Code;
        let data = &*self.data;
        match (self.code, self.subcode) {
            (Code::MessageHeader, header::BAD_MESSAGE_LENGTH) => {
                let (_, length) = all_consuming(be_u16::<_, ()>).parse(data).ok()?;
                Some(format!("length {length}"))
            }
            (Code::MessageHeader, header::BAD_MESSAGE_TYPE) => {
                let (_, code) = all_consuming(be_u8::<_, ()>).parse(data).ok()?;
                Some(format!("type {code}"))
            }
            (Code::OpenMessage, open::UNSUPPORTED_VERSION_NUMBER) => {
                let (_, version) = all_consuming(be_u16::<_, ()>).parse(data).ok()?;
                Some(format!("the other side can version {version}"))
            }
            (Code::UpdateMessage, update::MISSING_WELL_KNOWN_ATTRIBUTE) => {
                let (_, code) = all_consuming(be_u8::<_, ()>).parse(data).ok()?;
                Some(attribute_name(code).map_or_else(|| format!("type {code}"), str::to_owned))
            }
            (Code::UpdateMessage, 2 | 4..=6 | 8 | 9) => {
                // The attribute with its flags, type and length, or a piece of it.
                let (_, (_, code)) = (take::<_, _, ()>(1_usize), be_u8).parse(data).ok()?;
                let name = attribute_name(code)?;
                Some(format!("{name}, {}", Hex(data)))
            }
            (Code::OpenMessage, open::UNSUPPORTED_CAPABILITY) => {
                let names: Vec<_> =
                    self.capabilities_asked_for().iter().map(Capability::name).collect();
                (!names.is_empty()).then(|| names.join(", "))
            }
            (Code::FiniteStateMachine, 1..=3) => {
                // RFC 6608 §4: the type of the message that was not expected.
                let (_, code) = all_consuming(be_u8::<_, ()>).parse(data).ok()?;
                MessageType::from_code(code).map(|message| message.to_string())
            }
            (Code::Cease, cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED) => {
                let (family, limit) = self.prefix_limit()?;
                Some(format!("{family}, limit {limit}"))
            }
            (Code::Cease, cease::ADMINISTRATIVE_SHUTDOWN | cease::ADMINISTRATIVE_RESET) => {
                // Written by a stranger: no control characters onto the operator's terminal.
                self.shutdown_text().map(|text| text.escape_debug().to_string())
            }
            (Code::Cease, cease::HARD_RESET) => {
                // One layer only: a sender could nest thousands.
                let inner = self.unwrapped();
                let nested = (inner.code, inner.subcode) == (self.code, self.subcode);
                (!nested).then(|| inner.to_string())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Notification {
    /// Code, subcode and what the data says: `UPDATE Message Error / Attribute Length Error:
    /// MED, 80 04 01 00`. The data of an unknown form is shown in hex, the first 32 bytes of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match self.subcode_words() {
            Some(words) => write!(f, " / {words}")?,
            None if self.subcode == 0 => {}
            None => write!(f, " / subcode {}", self.subcode)?,
        }
        // A communication of length 0 says nothing (RFC 9003 §2).
        if self.data.is_empty() || (self.code == NotificationCode::Cease && *self.data == [0]) {
            return Ok(());
        }
        match self.data_words() {
            Some(words) => write!(f, ": {words}"),
            None => write!(f, ": {}", Hex(&self.data)),
        }
    }
}

/// The first bytes in hex, and dots if there are more.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().take(SHOWN_DATA).enumerate() {
            f.write_str(if i > 0 { " " } else { "" })?;
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > SHOWN_DATA { f.write_char('…') } else { Ok(()) }
    }
}

impl fmt::Display for NotificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MessageHeader => "Message Header Error",
            Self::OpenMessage => "OPEN Message Error",
            Self::UpdateMessage => "UPDATE Message Error",
            Self::HoldTimerExpired => "Hold Timer Expired",
            Self::FiniteStateMachine => "Finite State Machine Error",
            Self::Cease => "Cease",
            Self::RouteRefreshMessage => "ROUTE-REFRESH Message Error",
            Self::SendHoldTimerExpired => "Send Hold Timer Expired",
            Self::Unknown(code) => return write!(f, "error code {code}"),
        })
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

    fn words(body: &[u8]) -> String {
        Notification::decode(body).to_string()
    }

    #[test]
    fn speaks_in_words() {
        let cases: [(&[u8], &str); 21] = [
            (b"", "error code 0"),
            (b"\x06", "Cease"),
            (b"\x06\x02\x0bmaintenance", "Cease / Administrative Shutdown: maintenance"),
            (b"\x06\x04\x02ok", "Cease / Administrative Reset: ok"),
            (b"\x06\x02", "Cease / Administrative Shutdown"),
            (b"\x06\x02\x00", "Cease / Administrative Shutdown"),
            (b"\x06\x02\x09short", "Cease / Administrative Shutdown: 09 73 68 6f 72 74"),
            (b"\x06\x02\x02\xff\xfe", "Cease / Administrative Shutdown: 02 ff fe"),
            (b"\x06\x02\x05a\x1b[2J", "Cease / Administrative Shutdown: a\\u{1b}[2J"),
            (
                b"\x06\x01\x00\x01\x01\x00\x00\x03\xe8",
                "Cease / Maximum Number of Prefixes Reached: ipv4-unicast, limit 1000",
            ),
            (
                b"\x06\x09\x06\x02\x03bye",
                "Cease / Hard Reset: Cease / Administrative Shutdown: bye",
            ),
            (b"\x04\x00", "Hold Timer Expired"),
            (b"\x01\x02\x00\x12", "Message Header Error / Bad Message Length: length 18"),
            (
                b"\x03\x05\x80\x04\x01\x00",
                "UPDATE Message Error / Attribute Length Error: MULTI_EXIT_DISC, 80 04 01 00",
            ),
            (b"\x03\x03\x02", "UPDATE Message Error / Missing Well-known Attribute: AS_PATH"),
            (
                b"\x02\x07\x01\x04\x00\x01\x00\x01\x41\x04\x00\x00\xfd\xe8",
                "OPEN Message Error / Unsupported Capability: ipv4-unicast, four-octet-as",
            ),
            (b"\x02\x07\x01\x04", "OPEN Message Error / Unsupported Capability: 01 04"),
            (b"\x02\x05", "OPEN Message Error / Authentication Failure"),
            (
                b"\x05\x03\x01",
                "Finite State Machine Error / Unexpected Message in Established State: OPEN",
            ),
            (b"\x03\x07", "UPDATE Message Error / AS Routing Loop"),
            (b"\x63\x07\x01", "error code 99 / subcode 7: 01"),
        ];
        for (body, expected) in cases {
            assert_eq!(words(body), expected);
        }
    }

    #[test]
    fn a_nest_of_hard_resets_is_not_followed() {
        assert!(words(&[6, 9].repeat(30_000)).starts_with("Cease / Hard Reset: 06 09 06 09"));
    }

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
