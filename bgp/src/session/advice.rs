//! What a NOTIFICATION from a router means for its operator and ours, and what to do.

use crate::wire::subcode::{cease, header};
use crate::wire::{Notification, NotificationCode};

/// In words that follow "the router closed the session"; `None` for what has no known meaning.
pub(super) fn advice(notification: &Notification) -> Option<String> {
    let reason = notification.unwrapped();
    let fixed = match reason.code {
        NotificationCode::Cease => return cease(&reason),
        NotificationCode::MessageHeader if reason.subcode == header::BAD_MESSAGE_LENGTH => {
            "it takes no message of this length: does something between the two change the bytes?"
        }
        NotificationCode::MessageHeader => {
            "it could not find the messages in the bytes: does something between the two change \
             them?"
        }
        // What this node has sent says more: see `update_refused`.
        NotificationCode::UpdateMessage => return None,
        NotificationCode::HoldTimerExpired => {
            "it heard nothing from this node for the hold time: look at the path between the two \
             (firewall, MTU, loss) and at the load of both"
        }
        NotificationCode::FiniteStateMachine => {
            "the two were out of step; the next attempt begins anew"
        }
        NotificationCode::RouteRefreshMessage => "it cannot read the route refresh of this node",
        NotificationCode::SendHoldTimerExpired => {
            "this node took nothing from it for long: look at the load of this node, and at the \
             path between the two"
        }
        // The OPENs themselves say more: see `open_advice`.
        NotificationCode::OpenMessage | NotificationCode::Unknown(_) => return None,
    };
    Some(fixed.to_owned())
}

/// The same of an UPDATE Message Error. `end_of_rib`: this node has sent that, the only UPDATE that
/// it ever sends.
pub(super) fn update_refused(end_of_rib: bool) -> String {
    let fixed = if end_of_rib {
        "it cannot read the End-of-RIB, the only UPDATE that this node sends: \
         `graceful_restart = false` leaves it out"
    } else {
        "it minds an UPDATE, and this node has sent none on this connection: look at the router's log"
    };
    fixed.to_owned()
}

fn cease(reason: &Notification) -> Option<String> {
    let fixed = match reason.subcode {
        cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED => {
            let limit = match reason.prefix_limit() {
                Some((family, limit)) => format!("its limit of {limit} prefixes ({family})"),
                None => "its limit of prefixes".to_owned(),
            };
            return Some(format!(
                "{limit} is reached, though this node announces none: raise the limit, then clear \
                 the session on the router"
            ));
        }
        cease::ADMINISTRATIVE_SHUTDOWN => {
            "its operator has switched the session off; it comes back when they switch it on"
        }
        cease::PEER_DE_CONFIGURED => {
            "this node was taken out of its configuration; if that is for good, take the router \
             out of this node's"
        }
        cease::ADMINISTRATIVE_RESET => {
            "its operator has reset the session; it comes back by itself"
        }
        cease::CONNECTION_REJECTED => {
            "it does not want this connection: is this node's address one of its neighbors, and \
             switched on?"
        }
        cease::OTHER_CONFIGURATION_CHANGE => {
            "its configuration has changed; the session comes back by itself"
        }
        cease::CONNECTION_COLLISION_RESOLUTION => {
            "each side had connected to the other, and the other connection goes on"
        }
        cease::OUT_OF_RESOURCES => "it lacks memory or another resource: its log says which",
        cease::BFD_DOWN => {
            "BFD says on the router that this node is gone: this node does not speak BFD, so \
             switch it off for this session"
        }
        _ => return None,
    };
    Some(fixed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionError;
    use crate::wire::Family;

    /// Every code and subcode that has a name has advice.
    #[test]
    fn whatever_a_router_says_has_advice() {
        for (code, subcodes) in [(1, 1..=3), (4, 0..=0)].into_iter().chain([
            (5, 0..=3),
            (6, 1..=8),
            (6, 10..=10),
            (7, 1..=1),
            (8, 0..=0),
        ]) {
            for subcode in subcodes {
                let notification = Notification::new(code.into(), subcode);
                assert!(advice(&notification).is_some(), "{code}/{subcode}");
                let hard = notification.into_hard_reset();
                assert!(advice(&hard).is_some(), "{code}/{subcode} in a hard reset");
            }
        }
        assert_eq!(advice(&Notification::new(99.into(), 1)), None);
    }

    #[test]
    fn an_error_reads_as_a_sentence() {
        let limit = Notification::maximum_prefixes(Family::IPV4_UNICAST, 1000);
        assert_eq!(
            SessionError::received(&limit).to_string(),
            "the router closed the session: Cease / Maximum Number of Prefixes Reached: \
             ipv4-unicast, limit 1000 (6/1); its limit of 1000 prefixes (ipv4-unicast) is reached, \
             though this node announces none: raise the limit, then clear the session on the router"
        );
        let shutdown = Notification::administrative_shutdown(None);
        assert_eq!(
            SessionError::sent(&shutdown, None).to_string(),
            "this node closed the session: Cease / Administrative Shutdown (6/2)"
        );
        assert_eq!(
            SessionError::sent(&shutdown.into_hard_reset(), None).to_string(),
            "this node closed the session: Cease / Hard Reset: Cease / Administrative Shutdown \
             (6/9, in it 6/2)"
        );
    }
}
