//! OPEN: who a speaker is and what it can do (RFC 4271 §4.2), from bytes and to bytes.

use std::net::Ipv4Addr;

use bytes::Bytes;
use nom::combinator::{all_consuming, rest};
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16, be_u32};
use nom::{IResult, Offset, Parser};

use super::notification::subcode::open as subcode;
use super::{AS_TRANS, Capability, DecodeError, MAX_MESSAGE, Notification, NotificationCode};

/// An OPEN message (RFC 4271 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The speaker's AS number: from the four-octet capability if there is one (RFC 6793),
    /// else from the header field.
    pub asn: u32,
    /// Proposed hold time in seconds, 0 or at least 3.
    pub hold_time: u16,
    /// BGP identifier, not 0 (RFC 6286).
    pub bgp_id: Ipv4Addr,
    /// Capabilities in the order sent (RFC 5492).
    pub capabilities: Vec<Capability>,
}

/// The only version there is (RFC 4271 §4.2).
const VERSION: u8 = 4;
/// Parameter type of capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// In place of the first parameter's type: lengths have two octets from here on (RFC 9072 §2).
const EXTENDED: u8 = 255;
/// Bytes of an OPEN without parameters (RFC 4271 §4.2).
const SHORTEST: usize = 29;
/// Capabilities that fit an OPEN: what is left of 4096 bytes after the extended form of one
/// parameter (RFC 9072 §2) is paid for.
const MAX_CAPABILITIES: usize = MAX_MESSAGE - SHORTEST - 6;

impl Open {
    /// From a whole message; `body` is its part after the header.
    pub(super) fn decode(message: &[u8], body: &[u8]) -> Result<Self, DecodeError> {
        let at = |part: &[u8]| message.offset(part);
        let head: IResult<_, _, ()> = (be_u8, be_u16, be_u16, be_u32, be_u8).parse(body);
        let Ok((after, (version, asn, hold_time, bgp_id, length))) = head else {
            return Err(error(at(body), subcode::UNSPECIFIC, "the OPEN is cut short"));
        };
        if version != VERSION {
            let mut error = error(
                at(body),
                subcode::UNSUPPORTED_VERSION_NUMBER,
                "the version is not 4 (RFC 4271 §6.2)",
            );
            error.notification.data = Bytes::from_static(&[0, VERSION]);
            return Err(error);
        }
        let capabilities = capabilities(length, after, &at)?;

        let four_octet = capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let asn = four_octet.unwrap_or(u32::from(asn));
        if asn == 0 {
            return Err(error(at(body) + 1, subcode::BAD_PEER_AS, "the AS is 0 (RFC 7607 §2)"));
        }
        if matches!(hold_time, 1 | 2) {
            return Err(error(
                at(body) + 3,
                subcode::UNACCEPTABLE_HOLD_TIME,
                "the hold time is 1 or 2 seconds (RFC 4271 §6.2)",
            ));
        }
        if bgp_id == 0 {
            return Err(error(
                at(body) + 5,
                subcode::BAD_BGP_IDENTIFIER,
                "the BGP identifier is 0 (RFC 6286 §2.2)",
            ));
        }
        Ok(Self { asn, hold_time, bgp_id: Ipv4Addr::from_bits(bgp_id), capabilities })
    }

    /// The body. An AS number over 65535 goes as `AS_TRANS` (RFC 6793 §9), so it needs the
    /// four-octet capability beside it.
    ///
    /// A capability with a value over 255 bytes has no form on the wire and is left out, and so
    /// are those that go beyond the 4096 bytes of an OPEN.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            let before = capabilities.len();
            if capability.encode(&mut capabilities) && capabilities.len() > MAX_CAPABILITIES {
                capabilities.truncate(before);
            }
        }
        let mut body = vec![VERSION];
        body.extend(u16::try_from(self.asn).unwrap_or(AS_TRANS).to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.bgp_id.octets());
        match (u8::try_from(capabilities.len() + 2), u8::try_from(capabilities.len())) {
            (_, Ok(0)) => body.push(0),
            // 255 as the length of everything is the sign of the extended form.
            (Ok(total), Ok(length)) if total < u8::MAX => {
                body.extend([total, CAPABILITIES, length]);
            }
            _ => {
                let length = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
                body.extend([EXTENDED, EXTENDED]);
                body.extend(length.saturating_add(3).to_be_bytes());
                body.push(CAPABILITIES);
                body.extend(length.to_be_bytes());
            }
        }
        body.extend(capabilities);
        body
    }
}

/// The capabilities in the optional parameters `after` the fixed part, whose own length field
/// says `length`.
fn capabilities(
    length: u8,
    after: &[u8],
    at: &impl Fn(&[u8]) -> usize,
) -> Result<Vec<Capability>, DecodeError> {
    let malformed = |part, reason| Err(error(at(part), subcode::UNSPECIFIC, reason));
    let extended = length != 0 && after.first() == Some(&EXTENDED);
    let parameters: IResult<_, _, ()> = if extended {
        (be_u8, all_consuming(length_data(be_u16))).map(|(_, parameters)| parameters).parse(after)
    } else if usize::from(length) == after.len() {
        rest(after)
    } else {
        Err(nom::Err::Error(()))
    };
    let Ok((_, mut parameters)) = parameters else {
        return malformed(
            after,
            "the length of the optional parameters is not what follows (RFC 4271 §4.2)",
        );
    };

    let mut found = Vec::new();
    while !parameters.is_empty() {
        let parameter: IResult<_, _, ()> = if extended {
            (be_u8, length_data(be_u16)).parse(parameters)
        } else {
            (be_u8, length_data(be_u8)).parse(parameters)
        };
        let Ok((left, (parameter_type, value))) = parameter else {
            return malformed(parameters, "an optional parameter goes beyond the end of the OPEN");
        };
        if parameter_type != CAPABILITIES {
            return Err(error(
                at(parameters),
                subcode::UNSUPPORTED_OPTIONAL_PARAMETER,
                "an optional parameter is not of type 2, capabilities (RFC 4271 §6.2)",
            ));
        }
        let Some(list) = Capability::decode_list(value) else {
            return malformed(
                value,
                "a capability goes beyond the end of its parameter (RFC 5492)",
            );
        };
        found.extend(list);
        parameters = left;
    }
    Ok(found)
}

fn error(offset: usize, subcode: u8, reason: &'static str) -> DecodeError {
    let notification = Notification::new(NotificationCode::OpenMessage, subcode);
    DecodeError { reason, offset, notification }
}
