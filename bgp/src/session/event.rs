//! What a [`Peer`](super::Peer) is told, and what it says is to be done.

use std::sync::Arc;

use serde::Serialize;

use super::error::SessionError;
use super::negotiation::Negotiated;
use super::retention::Retention;
use super::stop::StopReason;
use crate::wire::subcode::cease;
use crate::wire::{
    DecodeError, Message, Notification, NotificationCode, Outgoing, RouteRefresh, Update,
};

/// Who dialled a connection. There is at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We dialled.
    Dialled,
    /// The neighbor dialled.
    Accepted,
}

impl Role {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialled => Self::Accepted,
            Self::Accepted => Self::Dialled,
        }
    }
}

/// The state of a session (RFC 4271 §8.2.2): that of the connection that has come furthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "RFC 4271 §8.2.2 says what each is")]
pub enum State {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// Something happened outside.
#[derive(Debug)]
pub enum Event {
    /// Begin.
    Start,
    /// The operator, or the table, wants the session to end.
    Stop(StopReason),
    /// The connection of [`Action::Dial`] is there.
    Connected,
    /// [`Action::Dial`] came to nothing.
    DialFailed {
        /// Why.
        text: String,
        /// What to do, where it is known better than from the words alone.
        advice: Option<String>,
    },
    /// The neighbor has dialled; answered by [`Action::Accept`] or [`Action::Refuse`].
    Incoming,
    /// A message came in.
    Received(Role, Message),
    /// Something came in that is no message.
    Malformed(Role, DecodeError),
    /// The TCP connection is gone; why.
    Closed(Role, String),
}

/// Something to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial the neighbor.
    Dial,
    /// Drop the dial that is under way.
    AbortDial,
    /// The incoming connection becomes [`Role::Accepted`].
    Accept,
    /// Close the incoming connection, and say why.
    Refuse(Refused),
    /// Send a message.
    Send(Role, Outgoing),
    /// Close a connection once what was sent is written.
    Close(Role),
    /// The session is established.
    Up(Arc<Negotiated>),
    /// Routes.
    Update(Update),
    /// A refresh begins or ends (RFC 7313 §4), as was agreed.
    RefreshMarker(RouteRefresh),
    /// A session or an attempt ended.
    Failed(SessionError),
    /// An established session ended.
    Down(Retention),
}

/// Why an incoming connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The peer rests after a failure, or has been stopped.
    Idle,
    /// There is an established session.
    Established,
}

impl Refused {
    /// What the neighbor is told (RFC 4486 §4).
    pub(crate) fn notification(self) -> Notification {
        let subcode = match self {
            Self::Idle => cease::CONNECTION_REJECTED,
            Self::Established => cease::CONNECTION_COLLISION_RESOLUTION,
        };
        Notification::new(NotificationCode::Cease, subcode)
    }
}

/// Why no ROUTE-REFRESH can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CannotRefresh {
    /// There is no established session.
    NotEstablished,
    /// The neighbor does not know route refresh.
    NotNegotiated,
}
