//! What is to be said of a neighbor beside what the speaker knows: whether it is well, and what to do
//! if it is not.

use std::net::IpAddr;
use std::time::Duration;

use mcc_bgp::session::{ErrorDirection, SessionError, State};
use mcc_bgp::speaker::NeighborStatus;
use serde::Serialize;

use super::status::{Part, PartState};
use crate::text;

/// How long a router may take to send a table that it was asked for, as long as one that is back has to
/// announce its table at least. No RFC names a time.
const ANSWER_TIME: Duration = Duration::from_secs(300);

/// How long a router that is up may be silent before that is worth a word.
const FIRST_ROUTES: Duration = Duration::from_secs(60);

/// A neighbor with advice.
#[derive(Serialize)]
pub(super) struct NeighborReport<N> {
    #[serde(flatten)]
    pub(super) neighbor: N,
    /// What to do; `null` if all is well.
    pub(super) advice: Option<String>,
}

impl From<NeighborStatus> for NeighborReport<NeighborStatus> {
    fn from(neighbor: NeighborStatus) -> Self {
        Self { advice: advice(&neighbor), neighbor }
    }
}

/// What to do about a neighbor that is down, or up without being of use.
pub(super) fn advice(neighbor: &NeighborStatus) -> Option<String> {
    match neighbor.state {
        State::Established if neighbor.received == 0 => {
            let up = Duration::from_secs(neighbor.uptime_seconds.unwrap_or_default());
            nothing_is_here(neighbor.address, neighbor.updates_treated_as_withdraw, up)
        }
        State::Established if neighbor.accepted == 0 => {
            Some("everything is refused: `mcc bgp routes --rejected` says why".to_owned())
        }
        State::Established if neighbor.discarded > 0 && has_room(neighbor) => {
            let refreshes = neighbor.negotiated.as_ref().is_some_and(|agreed| agreed.route_refresh);
            let asked = neighbor.asked_seconds.map(Duration::from_secs);
            Some(room_again(neighbor.address, refreshes, asked))
        }
        State::Established if neighbor.discarded > 0 => Some(
            "raise `max_prefixes` or let the router announce less: clients in what is not taken are \
             not served from here"
                .to_owned()
                + paths_count(neighbor),
        ),
        State::Established if neighbor.near_limit => Some(
            "raise `max_prefixes` if this is the router's table; beyond it `max_prefixes_action` \
             decides"
                .to_owned()
                + paths_count(neighbor),
        ),
        State::Established => None,
        _ => {
            let error = neighbor.last_error.as_ref().map(|last| &last.error);
            Some(down_advice(error, neighbor.ttl_security))
        }
    }
}

/// Why a session that is up brings no route. Of one that has just come up nobody can tell: there is an
/// End-of-RIB of each family (RFC 4724 §2), but FRR sends it before its routes, and many send none.
fn nothing_is_here(router: IpAddr, malformed: u64, up: Duration) -> Option<String> {
    if malformed > 0 {
        let updates = text::counted(malformed, "UPDATE of it was", "UPDATEs of it were");
        return Some(format!(
            "no route of the router is here: {updates} malformed and treated as withdraw since the \
             start, `mcc bgp errors {router}` shows the last ones; if they are older than the session, \
             check its export policy towards this node"
        ));
    }
    (up >= FIRST_ROUTES).then(|| {
        "the router announces nothing: check its export policy towards this node".to_owned()
    })
}

/// What an operator who counts prefixes has to know of a router that sends several paths of each.
fn paths_count(neighbor: &NeighborStatus) -> &'static str {
    let agreed = neighbor.negotiated.as_ref();
    match agreed.is_some_and(|agreed| !agreed.add_path_receive.is_empty()) {
        true => " (each path of ADD-PATH counts)",
        false => "",
    }
}

/// Whether the router is to be asked for what was not taken: there is room for a tenth of its limit.
fn has_room(neighbor: &NeighborStatus) -> bool {
    let announced = u64::from(neighbor.received.saturating_sub(neighbor.stale));
    announced * 10 <= u64::from(neighbor.max_prefixes) * 9
}

/// What to do about a router that has room again for what was not taken from it, and was `asked` for
/// its table so long ago.
fn room_again(router: IpAddr, refreshes: bool, asked: Option<Duration>) -> String {
    let what = match asked {
        _ if !refreshes => {
            format!("but the router does not know route refresh: `mcc bgp reset {router}` gets it")
        }
        None => format!("`mcc bgp refresh {router}` asks the router for it"),
        Some(asked) if asked < ANSWER_TIME => {
            let left = text::duration((ANSWER_TIME - asked).as_secs());
            format!("and the router has been asked for its table: it has {left} to send it")
        }
        Some(_) => format!(
            "but the router has been asked for its table in vain: `mcc bgp reset {router}` gets it"
        ),
    };
    format!("there is room again for what was not taken, {what}")
}

/// The neighbor as a part of the node.
pub(super) fn neighbor_part(neighbor: &NeighborStatus) -> Part {
    let detail = match (neighbor.state, &neighbor.last_error) {
        (State::Established, _) => {
            let mut detail = format!(
                "AS {}, {} of {} routes accepted",
                neighbor.asn, neighbor.accepted, neighbor.received
            );
            if neighbor.discarded > 0 {
                detail.push_str(&format!(
                    "; {} over `max_prefixes` not taken",
                    text::routes(neighbor.discarded.into())
                ));
            } else if neighbor.near_limit {
                detail.push_str(&format!("; near `max_prefixes` ({})", neighbor.max_prefixes));
            }
            detail
        }
        (state, error) => {
            let mut detail = format!("{state:?}");
            if let Some(shutdown) = &neighbor.shut_down_by_router {
                let since = text::time(shutdown.since);
                detail.push_str(&format!("; shut down by the router's operator since {since}"));
                if let Some(text) = &shutdown.text {
                    detail.push_str(&format!(": \"{text}\""));
                }
            } else if let Some(error) = error {
                detail.push_str(&format!("; {}", error.error.text));
            }
            if neighbor.restored > 0 {
                let restored = u64::from(neighbor.restored);
                detail.push_str(&format!(
                    "; {} of the last run {} kept until it has announced its table",
                    text::routes(restored),
                    text::are(restored)
                ));
            } else if neighbor.stale > 0 {
                let stale = u64::from(neighbor.stale);
                let (routes, are) = (text::routes(stale), text::are(stale));
                detail.push_str(&format!("; {routes} {are} kept for a while"));
            }
            detail
        }
    };
    let advice = advice(neighbor);
    let state = match (neighbor.state, &advice) {
        (State::Established, None) => PartState::Up,
        (State::Established, Some(_)) => PartState::Warning,
        _ => PartState::Down,
    };
    Part {
        name: format!("neighbor {}", neighbor.address),
        state,
        since_seconds: Some(neighbor.up_down_seconds),
        detail,
        advice,
    }
}

/// What to do about a session that is down: what the router's own words ask for, else by what ended
/// it.
fn down_advice(error: Option<&SessionError>, ttl_security: Option<u8>) -> String {
    use ErrorDirection::{Connection, Dial, Received, Sent};

    if let Some(advice) = error.and_then(|error| error.advice.clone()) {
        return advice;
    }
    let direction = error.map(|error| error.direction);
    if let (None | Some(Dial), Some(hops)) = (direction, ttl_security) {
        return unheard(hops);
    }
    // NOTIFICATION codes of RFC 4271 §4.5, subcodes of Cease of RFC 4486 §3.
    match error.map(|error| (error.direction, error.code, error.subcode)) {
        Some((Sent, Some(6), Some(4))) => {
            "an operator of this node has reset it (`mcc bgp reset`): it comes back by itself"
        }
        Some((Sent, Some(6), Some(1))) => {
            "raise `max_prefixes` or let the router announce less; `mcc bgp reset` ends the wait"
        }
        Some((Sent, Some(1 | 3), _)) => {
            "the router sends what BGP does not allow: `mcc bgp errors --hex` has the bytes for \
             whoever runs it"
        }
        Some((Sent, Some(4), _)) => {
            "messages get lost or come late: check the path (MTU, loss) and the load on both sides"
        }
        Some((_, Some(2), _)) => {
            "compare `asn`, `local_asn`, `router_id` and `hold_time` with the router's side"
        }
        Some((Dial, _, _)) => "check address, port, firewalls and password on both sides",
        Some((Sent, _, _)) => "this node has ended it: `mcc bgp history` and its log say more",
        Some((Connection | Received, _, _)) => "look at the router's log",
        None => "check address, AS numbers, password and TTL on both sides",
    }
    .to_owned()
}

/// What to do about a router of which nothing is heard, and which may be at most so many hops away.
fn unheard(hops: u8) -> String {
    let hops = match hops {
        1 => "one hop".to_owned(),
        hops => format!("{hops} hops"),
    };
    format!(
        "check address, AS numbers, firewalls and password on both sides, and that the router has TTL \
         security (GTSM) too and is at most {hops} away: else nothing of it is heard"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn what_could_not_be_read_is_not_called_nothing_and_a_new_session_is_given_time() {
        let minute = Duration::from_secs(60);
        let malformed = nothing_is_here(ROUTER, 3000, Duration::ZERO).unwrap();
        assert_eq!(
            malformed,
            "no route of the router is here: 3,000 UPDATEs of it were malformed and treated as \
             withdraw since the start, `mcc bgp errors 192.0.2.1` shows the last ones; if they are older \
             than the session, check its export policy towards this node"
        );
        let one = nothing_is_here(ROUTER, 1, minute).unwrap();
        assert!(one.contains("1 UPDATE of it was malformed"), "{one}");
        assert_eq!(nothing_is_here(ROUTER, 0, minute - Duration::from_millis(1)), None);
        let silent = nothing_is_here(ROUTER, 0, minute).unwrap();
        assert!(silent.contains("announces nothing: check its export policy"), "{silent}");
    }

    #[test]
    fn who_ended_a_session_is_who_is_looked_at() {
        let advice = |direction, code: Option<u8>, subcode| {
            let (text, advice, communication, hard_reset) = (String::new(), None, None, false);
            let error =
                SessionError { direction, code, subcode, text, advice, communication, hard_reset };
            down_advice(Some(&error), Some(1))
        };
        let reset = advice(ErrorDirection::Sent, Some(6), Some(4));
        assert!(reset.contains("an operator of this node has reset it"), "{reset}");
        let collision = advice(ErrorDirection::Sent, Some(6), Some(7));
        assert!(collision.contains("this node has ended it"), "{collision}");
        for direction in [ErrorDirection::Received, ErrorDirection::Connection] {
            assert_eq!(advice(direction, Some(6), Some(4)), "look at the router's log");
        }
    }

    #[test]
    fn a_router_that_has_to_be_near_may_be_unheard_for_its_ttl() {
        assert!(unheard(1).ends_with("and is at most one hop away: else nothing of it is heard"));
        assert!(unheard(3).contains("TTL security (GTSM) too and is at most 3 hops away"));
    }

    /// A reset costs the routes for a while: nobody is to be told to do it while the router answers.
    #[test]
    fn a_reset_is_advised_only_after_the_time_for_an_answer() {
        let advice = |refreshes, asked: Option<u64>| {
            room_again(ROUTER, refreshes, asked.map(Duration::from_secs))
        };
        let just_asked = advice(true, Some(0));
        assert!(just_asked.contains("it has 5m 0s to send it"), "{just_asked}");
        assert!(!just_asked.contains("reset") && !advice(true, Some(299)).contains("reset"));
        for (refreshes, asked) in [(true, Some(300)), (false, Some(0)), (false, None)] {
            let advice = advice(refreshes, asked);
            assert!(advice.contains("`mcc bgp reset 192.0.2.1` gets it"), "{advice}");
        }
        assert!(advice(true, None).contains("`mcc bgp refresh 192.0.2.1`"));
    }
}
