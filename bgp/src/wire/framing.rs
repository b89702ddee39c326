//! Where one message ends and the next begins (RFC 4271 §4.1, §6.1).

use std::fmt;

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16};

use super::notification::subcode::header;
use super::{DecodeError, HEADER, MAX_MESSAGE, Notification, NotificationCode};

/// Type of a message (RFC 4271 §4.1, RFC 2918 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// 1
    Open,
    /// 2
    Update,
    /// 3
    Notification,
    /// 4
    Keepalive,
    /// 5
    RouteRefresh,
}

impl MessageType {
    pub(super) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    /// The code in the header.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    /// Shortest and longest message of this type, where `max` holds for the session.
    ///
    /// OPEN and KEEPALIVE stay within 4096 bytes (RFC 8654 §4). A ROUTE-REFRESH has one length
    /// only, but what follows from a wrong one depends on the session (RFC 7313 §5), so
    /// [`decode`](super::decode) judges it. A NOTIFICATION has at least 21 bytes, but a shorter one
    /// must not be answered (RFC 4271 §6.4), so it is taken for what it says.
    const fn bounds(self, max: usize) -> (usize, usize) {
        match self {
            Self::Open => (29, MAX_MESSAGE),
            Self::Update => (23, max),
            Self::Notification => (HEADER, max),
            Self::Keepalive => (HEADER, HEADER),
            Self::RouteRefresh => (HEADER, max),
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "OPEN",
            Self::Update => "UPDATE",
            Self::Notification => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh => "ROUTE-REFRESH",
        })
    }
}

/// One whole message, its header checked: what [`decode`](super::decode) takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    message_type: MessageType,
}

impl<'a> Frame<'a> {
    /// The message, from its marker on.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Length in bytes, header included: how far the reader is to advance.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a message is never empty")]
    pub fn len(self) -> usize {
        self.bytes.len()
    }

    /// What kind of message it is.
    #[must_use]
    pub fn message_type(self) -> MessageType {
        self.message_type
    }

    /// What follows the header.
    pub(super) fn body(self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }
}

/// The first message in `buffer`; `None` while it is not all there.
///
/// `max` is the longest message that the session allows: [`MAX_MESSAGE`], or
/// [`MAX_EXTENDED_MESSAGE`](super::MAX_EXTENDED_MESSAGE) when both sides can (RFC 8654).
/// A header is judged as soon as its 19 bytes are there, so a reader never waits for the rest of a
/// message that it will not take, and never needs more than `max` bytes of buffer.
///
/// # Errors
///
/// A header error (RFC 4271 §6.1): wrong marker, length or type. The session is over.
pub fn frame(buffer: &[u8], max: usize) -> Result<Option<Frame<'_>>, DecodeError> {
    let header = (take(16_usize), be_u16::<_, ()>, be_u8).parse(buffer);
    let Ok((_, (marker, length, code))) = header else {
        return Ok(None);
    };
    if marker.iter().any(|&byte| byte != 0xff) {
        return Err(error(
            "the marker is not all ones (RFC 4271 §4.1)",
            0,
            header::CONNECTION_NOT_SYNCHRONIZED,
            Bytes::new(),
        ));
    }
    let bad_length = |reason| {
        let data = Bytes::copy_from_slice(&length.to_be_bytes());
        error(reason, 16, header::BAD_MESSAGE_LENGTH, data)
    };
    let size = usize::from(length);
    if !(HEADER..=max).contains(&size) {
        return Err(bad_length("the length is outside of what the session allows (RFC 4271 §4.1)"));
    }
    let Some(message_type) = MessageType::from_code(code) else {
        let data = Bytes::copy_from_slice(&[code]);
        return Err(error(
            "the message type is unknown (RFC 4271 §4.1)",
            18,
            header::BAD_MESSAGE_TYPE,
            data,
        ));
    };
    let (shortest, longest) = message_type.bounds(max);
    if !(shortest..=longest).contains(&size) {
        return Err(bad_length("the length is impossible for the message type (RFC 4271 §6.1)"));
    }
    Ok(buffer.get(..size).map(|bytes| Frame { bytes, message_type }))
}

fn error(reason: &'static str, offset: usize, subcode: u8, data: Bytes) -> DecodeError {
    let notification = Notification { code: NotificationCode::MessageHeader, subcode, data };
    DecodeError { reason, offset, notification }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MAX_EXTENDED_MESSAGE;

    fn header_of(length: u16, code: u8) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend(length.to_be_bytes());
        bytes.push(code);
        bytes
    }

    fn refused(bytes: &[u8], max: usize) -> (u8, u8, Vec<u8>) {
        let error = frame(bytes, max).unwrap_err();
        let Notification { code, subcode, data } = error.notification;
        (code.into(), subcode, data.to_vec())
    }

    #[test]
    fn takes_one_message_and_leaves_the_next() {
        let mut bytes = header_of(19, 4);
        bytes.extend(header_of(23, 2));
        let first = frame(&bytes, MAX_MESSAGE).unwrap().unwrap();
        assert_eq!((first.len(), first.message_type()), (19, MessageType::Keepalive));
        assert_eq!(frame(&bytes[19..], MAX_MESSAGE), Ok(None), "four bytes are still to come");
    }

    #[test]
    fn waits_for_a_whole_header() {
        for length in 0..19 {
            assert_eq!(frame(&header_of(19, 4)[..length], MAX_MESSAGE), Ok(None));
        }
    }

    #[test]
    fn a_wrong_marker_is_1_1() {
        let mut bytes = header_of(19, 4);
        bytes[15] = 0xfe;
        assert_eq!(refused(&bytes, MAX_MESSAGE), (1, 1, vec![]));
    }

    #[test]
    fn a_wrong_length_is_1_2_with_the_length() {
        let cases = [
            (18, 4, "shorter than a header"),
            (4097, 2, "longer than the session allows"),
            (28, 1, "OPEN under 29"),
            (22, 2, "UPDATE under 23"),
            (20, 4, "KEEPALIVE over 19"),
        ];
        for (length, code, what) in cases {
            let found = refused(&header_of(length, code), MAX_MESSAGE);
            assert_eq!(found, (1, 2, length.to_be_bytes().to_vec()), "{what}");
        }
    }

    #[test]
    fn a_notification_cut_short_is_taken_and_so_never_answered() {
        let bytes = header_of(19, 3);
        let message = frame(&bytes, MAX_MESSAGE).unwrap().unwrap();
        assert_eq!(message.message_type(), MessageType::Notification, "RFC 4271 §6.4");
    }

    #[test]
    fn an_unknown_type_is_1_3_with_the_type() {
        assert_eq!(refused(&header_of(19, 0), MAX_MESSAGE), (1, 3, vec![0]));
        assert_eq!(refused(&header_of(19, 6), MAX_MESSAGE), (1, 3, vec![6]));
    }

    #[test]
    fn extended_messages_do_not_stretch_open_and_keepalive() {
        let long = 4097;
        assert_eq!(frame(&header_of(long, 2), MAX_EXTENDED_MESSAGE), Ok(None));
        let found = refused(&header_of(long, 1), MAX_EXTENDED_MESSAGE);
        assert_eq!(found, (1, 2, long.to_be_bytes().to_vec()));
    }
}
