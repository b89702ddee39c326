//! Observations as MRT records (RFC 6396 §4.4): what a capture and a log of messages are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tap::{Direction, Observation, Observed};
use crate::mrt::session::{SessionEnds, SessionMessage, StateChange};
use crate::mrt::{Body, Record, Time};
use crate::session::State;
use crate::wire::DecodeContext;

/// Where the type of a message stands, and that of UPDATE (RFC 4271 §4.1).
const TYPE_AT: usize = 18;
const UPDATE: u8 = 2;

impl Observation {
    /// As a record of messages and state changes, to the microsecond. `None` for what other records
    /// say already: that a session is established, that a message was malformed.
    #[must_use]
    pub fn record(&self) -> Option<Record<'_>> {
        let body = match &self.what {
            Observed::Message { direction, connection, context, bytes } => {
                let (four_octet_as, add_path) = form(bytes, context);
                Body::Message(SessionMessage {
                    ends: self.ends(Some(connection.local.ip())),
                    local: *direction == Direction::Sent,
                    four_octet_as,
                    add_path,
                    bytes,
                })
            }
            Observed::State { from, to, .. } => Body::StateChange(StateChange {
                ends: self.ends(None),
                from: number(*from),
                to: number(*to),
            }),
            Observed::Established(_) | Observed::Malformed(_) | Observed::Departed(..) => {
                return None;
            }
        };
        Some(Record { time: Time::micros_of(self.at), body })
    }

    fn ends(&self, local: Option<IpAddr>) -> SessionEnds {
        let peer = self.neighbor.address;
        let unknown = match peer {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        SessionEnds {
            peer_asn: self.neighbor.asn,
            local_asn: self.neighbor.local_asn,
            interface: 0,
            peer,
            local: local.unwrap_or(unknown),
        }
    }
}

/// Whether AS numbers have four octets, and prefixes path identifiers. In other messages than
/// UPDATEs there are neither, and the longer form of the record has room for every AS number.
fn form(bytes: &[u8], context: &DecodeContext) -> (bool, bool) {
    if bytes.get(TYPE_AT) != Some(&UPDATE) {
        return (true, false);
    }
    let families = [context.ipv4_unicast, context.ipv6_unicast];
    (context.four_octet_as, families.iter().flatten().any(|family| family.add_path))
}

/// As RFC 6396 §4.4.1 counts.
fn number(state: State) -> u16 {
    match state {
        State::Idle => 1,
        State::Connect => 2,
        State::Active => 3,
        State::OpenSent => 4,
        State::OpenConfirm => 5,
        State::Established => 6,
    }
}
