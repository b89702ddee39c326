//! What this speaker sends, to bytes. No route is among it.

use super::framing::MessageType;
use super::{Family, HEADER, MAX_MESSAGE, Notification, Open};

/// A message that this speaker sends. There is no UPDATE with reachable prefixes among them, and
/// nothing else in this crate writes to a BGP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// RFC 4271 §4.2.
    Open(Open),
    /// RFC 4271 §4.4.
    Keepalive,
    /// RFC 4271 §4.5.
    Notification(Notification),
    /// A request to send the table of a family again (RFC 2918).
    RouteRefreshRequest(Family),
    /// "I have nothing to announce" (RFC 4724 §2): an UPDATE without any prefix.
    EndOfRib(Family),
}

/// Attribute flags and type code of `MP_UNREACH_NLRI`: optional, not transitive (RFC 4760 §4).
const MP_UNREACH_NLRI: [u8; 2] = [0x80, 15];

impl Outgoing {
    /// The whole message, header included; 4096 bytes at most.
    ///
    /// An AS number over 65535 goes as 23456 in the OPEN's own field (RFC 6793 §9); more than 253
    /// bytes of capabilities go in the extended form (RFC 9072). What does not fit is left out:
    /// the end of a NOTIFICATION's data, and capabilities beyond 4 kB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (message_type, mut body) = match self {
            Self::Open(open) => (MessageType::Open, open.encode()),
            Self::Keepalive => (MessageType::Keepalive, Vec::new()),
            Self::Notification(Notification { code, subcode, data }) => {
                let mut body = vec![u8::from(*code), *subcode];
                body.extend_from_slice(data);
                (MessageType::Notification, body)
            }
            Self::RouteRefreshRequest(Family { afi, safi }) => {
                let mut body = afi.to_be_bytes().to_vec();
                body.extend([0, *safi]);
                (MessageType::RouteRefresh, body)
            }
            Self::EndOfRib(family) => (MessageType::Update, end_of_rib(*family)),
        };
        body.truncate(MAX_MESSAGE - HEADER);
        let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);

        let mut message = vec![0xff; 16];
        message.extend(length.to_be_bytes());
        message.push(message_type.code());
        message.extend(body);
        message
    }
}

/// For IPv4 unicast an UPDATE with nothing in it, else one that withdraws nothing of the family.
fn end_of_rib(family: Family) -> Vec<u8> {
    const NO_WITHDRAWN_ROUTES: [u8; 2] = [0, 0];
    let mut body = NO_WITHDRAWN_ROUTES.to_vec();
    if family == Family::IPV4_UNICAST {
        body.extend([0, 0]);
    } else {
        body.extend([0, 6]);
        body.extend(MP_UNREACH_NLRI);
        body.push(3);
        body.extend(family.afi.to_be_bytes());
        body.push(family.safi);
    }
    body
}
