//! From a framed message to its meaning.

use bytes::Bytes;
use nom::Parser;
use nom::combinator::all_consuming;
use nom::number::complete::{be_u8, be_u16};

use super::notification::subcode::{header, route_refresh};
use super::{
    DecodeContext, DecodeError, Family, Frame, HEADER, Message, MessageType, Notification,
    NotificationCode, Open, RouteRefresh, RouteRefreshKind, update,
};

/// Reads one message under what the session has negotiated.
///
/// The memory of the result is bounded by the length of the message: prefixes and attributes take
/// twice as much at most, and there is one [finding](super::Finding) for each attribute, and two more.
///
/// # Errors
///
/// What ends the session, with the NOTIFICATION to send. A malformed UPDATE seldom does: most
/// faults are [findings](super::Update::findings) of a good one (RFC 7606).
pub fn decode(frame: Frame<'_>, context: &DecodeContext) -> Result<Message, DecodeError> {
    let (message, body) = (frame.bytes(), frame.body());
    match frame.message_type() {
        MessageType::Open => Open::decode(message, body).map(Message::Open),
        MessageType::Update => update::decode(message, body, context).map(Message::Update),
        MessageType::Notification => Ok(Message::Notification(Notification::decode(body))),
        MessageType::Keepalive => Ok(Message::Keepalive),
        MessageType::RouteRefresh => {
            decode_route_refresh(message, body, context).map(Message::RouteRefresh)
        }
    }
}

fn decode_route_refresh(
    message: &[u8],
    body: &[u8],
    context: &DecodeContext,
) -> Result<RouteRefresh, DecodeError> {
    let fields = all_consuming((be_u16::<_, ()>, be_u8, be_u8)).parse(body);
    let Ok((_, (afi, subtype, safi))) = fields else {
        return Err(if context.enhanced_route_refresh {
            DecodeError {
                reason: "the length of a ROUTE-REFRESH is not 23 (RFC 7313 §5)",
                offset: 16,
                notification: Notification {
                    code: NotificationCode::RouteRefreshMessage,
                    subcode: route_refresh::INVALID_MESSAGE_LENGTH,
                    data: Bytes::copy_from_slice(message),
                },
            }
        } else {
            bad_length(message)
        });
    };
    let kind = match subtype {
        0 => RouteRefreshKind::Request,
        1 => RouteRefreshKind::BeginningOfRefresh,
        2 => RouteRefreshKind::EndOfRefresh,
        other => RouteRefreshKind::Unknown(other),
    };
    Ok(RouteRefresh { family: Family { afi, safi }, kind })
}

/// 1/2 with the length field, which is two bytes before the end of the header.
fn bad_length(message: &[u8]) -> DecodeError {
    let data = message.get(HEADER - 3..HEADER - 1).unwrap_or_default();
    DecodeError {
        reason: "the length is impossible for the message type (RFC 4271 §6.1)",
        offset: HEADER - 3,
        notification: Notification {
            code: NotificationCode::MessageHeader,
            subcode: header::BAD_MESSAGE_LENGTH,
            data: Bytes::copy_from_slice(data),
        },
    }
}
