//! NOTIFICATIONs in words: the RFCs' names, and what the data says.

use std::fmt::{self, Write as _};

use nom::Parser;
use nom::bytes::complete::take;
use nom::combinator::all_consuming;
use nom::number::complete::{be_u8, be_u16};

use super::attribute::attribute_name;
use super::notification::subcode::{cease, header, open, route_refresh, state_machine, update};
use super::{Capability, MessageType, Notification, NotificationCode};

/// So many bytes of data are shown in words when their meaning is not known.
const SHOWN_DATA: usize = 32;

impl Notification {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &[u8]) -> String {
        Notification::decode(body).to_string()
    }

    #[test]
    fn speaks_in_words() {
        let cases: [(&[u8], &str); 22] = [
            (b"", "error code 0"),
            (b"\x06", "Cease"),
            (b"\x06\x02\x0bmaintenance", "Cease / Administrative Shutdown: maintenance"),
            (b"\x06\x04\x02ok", "Cease / Administrative Reset: ok"),
            (b"\x06\x02", "Cease / Administrative Shutdown"),
            (b"\x06\x02\x00", "Cease / Administrative Shutdown"),
            (b"\x06\x02\x09short", "Cease / Administrative Shutdown: 09 73 68 6f 72 74"),
            (b"\x06\x02\x02\xff\xfe", "Cease / Administrative Shutdown: 02 ff fe"),
            (b"\x06\x02\x05a\x1b[2J", "Cease / Administrative Shutdown: a\\u{1b}[2J"),
            (b"\x06\x02\x05a\xe2\x80\xaeb", "Cease / Administrative Shutdown: a\\u{202e}b"),
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
}
