//! What `max_prefixes` would have done, in words.

use mcc_bgp::mrt::ReplayedPeer;
use mcc_config::MaxPrefixesAction;

use crate::text;

/// `None`: nothing, and it is far from it.
pub(super) fn in_words(peer: &ReplayedPeer) -> Option<String> {
    let (peak, limit) = (text::routes(peer.peak.into()), text::count(peer.max_prefixes.into()));
    let Some((at, without)) = peer.over_limit_at.zip(peer.without_limit.as_ref()) else {
        let near = u64::from(peer.peak) * 5 >= u64::from(peer.max_prefixes) * 4;
        return near.then(|| {
            format!(
                "{peak} at once are 80 % of max_prefixes = {limit} or more: the node would warn."
            )
        });
    };
    let at = text::time(at);
    let what = match peer.max_prefixes_action {
        MaxPrefixesAction::Restart => ended(peer, &format!("`restart`, at {at}"), ""),
        MaxPrefixesAction::KeepLastGood => {
            let kept = format!(", with {} of before the flood", text::routes(peer.stale.into()));
            ended(peer, &format!("`keep-last-good`, at {at}"), &kept)
        }
        MaxPrefixesAction::DiscardNew => left_out(peer, &at),
    };
    let (routes, accepted) =
        (text::routes(without.received.into()), text::count(without.accepted.into()));
    Some(format!(
        "{peak} at once are over max_prefixes = {limit}. {what} Without the limit it would have \
         {routes} at the end, {accepted} accepted. Raise it, or ask the router for fewer."
    ))
}

fn ended(peer: &ReplayedPeer, how: &str, kept: &str) -> String {
    let times = match peer.sessions_ended {
        0 | 1 => String::new(),
        n => format!(" and {} times in all", text::count(n)),
    };
    let rest = match peer.rests_until.map(text::time) {
        Some(until) => format!("It would rest until {until}{kept}."),
        None => "Its rest would be over at the end.".to_owned(),
    };
    format!("The session would be ended ({how}{times}). {rest}")
}

fn left_out(peer: &ReplayedPeer, at: &str) -> String {
    let left_out = text::routes(peer.discarded.into());
    let asked = peer.asked_at.map(text::time).map(|asked| {
        format!(
            " There was room for them at {asked}: the router would be asked for its table, and its \
             answer is not in the file."
        )
    });
    format!(
        "The session would go on (`discard-new`, from {at}) with {left_out} left out at the end.{}",
        asked.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use mcc_bgp::mrt::WithoutLimit;

    use super::*;

    fn peer(max_prefixes_action: MaxPrefixesAction) -> ReplayedPeer {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        ReplayedPeer {
            address: [192, 0, 2, 1].into(),
            asn: 65100,
            neighbor: [192, 0, 2, 1].into(),
            dynamic: None,
            updates: 2,
            received: 0,
            accepted: 0,
            rejected: BTreeMap::new(),
            stale: 6,
            ipv6_left_out: 0,
            max_prefixes: 10,
            max_prefixes_action,
            peak: 12,
            over_limit: true,
            over_limit_at: at(0),
            sessions_ended: 1,
            rests_until: at(1800),
            discarded: 2,
            asked_at: None,
            without_limit: Some(WithoutLimit {
                received: 7,
                accepted: 6,
                rejected: BTreeMap::new(),
                stale: 0,
            }),
        }
    }

    fn over(what: &str) -> Option<String> {
        Some(format!(
            "12 routes at once are over max_prefixes = 10. {what} Without the limit it would have 7 \
             routes at the end, 6 accepted. Raise it, or ask the router for fewer."
        ))
    }

    #[test]
    fn a_session_that_would_be_ended_is_told_with_its_time() {
        let restart = peer(MaxPrefixesAction::Restart);
        assert_eq!(
            in_words(&restart),
            over(
                "The session would be ended (`restart`, at 1970-01-01 00:00:00Z). It would rest until \
                 1970-01-01 00:30:00Z."
            )
        );
        let back = ReplayedPeer { sessions_ended: 3, rests_until: None, ..restart };
        assert_eq!(
            in_words(&back),
            over(
                "The session would be ended (`restart`, at 1970-01-01 00:00:00Z and 3 times in all). \
                 Its rest would be over at the end."
            )
        );
        assert_eq!(
            in_words(&peer(MaxPrefixesAction::KeepLastGood)),
            over(
                "The session would be ended (`keep-last-good`, at 1970-01-01 00:00:00Z). It would rest \
                 until 1970-01-01 00:30:00Z, with 6 routes of before the flood."
            )
        );
    }

    #[test]
    fn what_would_be_left_out_is_told_and_when_it_could_have_come() {
        let full = peer(MaxPrefixesAction::DiscardNew);
        let left_out = "The session would go on (`discard-new`, from 1970-01-01 00:00:00Z) with 2 \
                        routes left out at the end.";
        assert_eq!(in_words(&full), over(left_out));
        let asked = ReplayedPeer { asked_at: full.rests_until, ..full };
        assert_eq!(
            in_words(&asked),
            over(&format!(
                "{left_out} There was room for them at 1970-01-01 00:30:00Z: the router would be asked \
                 for its table, and its answer is not in the file."
            ))
        );
    }

    #[test]
    fn a_limit_that_is_near_is_told_and_one_that_is_not_needs_no_word() {
        let within = |peak| {
            let over = peer(MaxPrefixesAction::Restart);
            ReplayedPeer {
                peak,
                over_limit: false,
                over_limit_at: None,
                without_limit: None,
                ..over
            }
        };
        assert_eq!(in_words(&within(7)), None);
        let near = "8 routes at once are 80 % of max_prefixes = 10 or more: the node would warn.";
        assert_eq!(in_words(&within(8)).as_deref(), Some(near));
    }
}
