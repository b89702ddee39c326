//! The end of a connection: what to tell the neighbor, what the operator, and what comes next.

use super::error::SessionError;
use super::retention::Ending;
use crate::wire::subcode::{cease, open};
use crate::wire::{Notification, NotificationCode};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) notification: Option<Notification>,
    pub(super) error: SessionError,
    pub(super) comeback: Comeback,
    pub(super) ending: Ending,
    /// The neighbor is of the time before capabilities (RFC 5492 §3): the next OPEN goes without.
    pub(super) knows_no_capabilities: bool,
}

/// What a peer does when its last connection has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comeback {
    /// It rests for the next wait of its back-off, and refuses the neighbor's connections.
    Rest,
    /// It lets the neighbor in, and dials after the next wait of its back-off.
    LetIn,
    /// It lets the neighbor in, and dials after the longest wait: dialling is of no use until
    /// somebody has done something on the other side.
    LetInAndDialLate,
}

impl Failure {
    /// We end it and say why.
    pub(super) fn sending(notification: Notification, detail: Option<&str>) -> Self {
        let error = SessionError::sent(&notification, detail);
        Self {
            ending: Ending::Notification,
            notification: Some(notification),
            ..Self::silent(error)
        }
    }

    /// There is nobody left to tell.
    pub(super) fn lost(text: String) -> Self {
        Self::silent(SessionError::connection(text))
    }

    /// The neighbor hung up at once: like one that cannot be dialled at all. RFC 4271 §8.2.2 goes to
    /// Active. A router does this while it waits after an error of its own, and then dials: if we
    /// rested as well, the two could refuse each other in turn.
    pub(super) fn before_open() -> Self {
        // Not how it hung up: that differs from one attempt to the next.
        let text = "the router hung up before its OPEN: is this node its neighbor, or does it wait \
                    after an error?";
        let error = SessionError::dial(text.to_owned());
        Self { comeback: Comeback::LetIn, ..Self::silent(error) }
    }

    pub(super) fn received(notification: &Notification) -> Self {
        let unsupported_parameter =
            (NotificationCode::OpenMessage, open::UNSUPPORTED_OPTIONAL_PARAMETER);
        Self {
            comeback: comeback(&notification.unwrapped()),
            ending: Ending::received(notification),
            knows_no_capabilities: (notification.code, notification.subcode)
                == unsupported_parameter,
            ..Self::silent(SessionError::received(notification))
        }
    }

    fn silent(error: SessionError) -> Self {
        Self {
            notification: None,
            error,
            comeback: Comeback::Rest,
            ending: Ending::Lost,
            knows_no_capabilities: false,
        }
    }
}

/// What follows from the reason that the neighbor gave (RFC 4486 §4, RFC 9384 §3).
fn comeback(reason: &Notification) -> Comeback {
    if reason.code != NotificationCode::Cease {
        return Comeback::Rest;
    }
    match reason.subcode {
        // Its operator wants it so, or its limits do. When that changes, the router dials.
        cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED
        | cease::ADMINISTRATIVE_SHUTDOWN
        | cease::PEER_DE_CONFIGURED
        | cease::OUT_OF_RESOURCES => Comeback::LetInAndDialLate,
        // It wants to begin anew, or prefers a connection that may be on its way; a router that
        // rejects a connection mostly waits after an error, and dials when it has waited.
        cease::ADMINISTRATIVE_RESET
        | cease::CONNECTION_REJECTED
        | cease::OTHER_CONFIGURATION_CHANGE
        | cease::CONNECTION_COLLISION_RESOLUTION
        | cease::HARD_RESET
        | cease::BFD_DOWN => Comeback::LetIn,
        _ => Comeback::Rest,
    }
}
