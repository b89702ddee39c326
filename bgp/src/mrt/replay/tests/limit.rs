//! `max_prefixes` in a replay: what a node would have done with the same messages.

use mcc_config::MaxPrefixesAction;

use super::*;
use crate::rebuilt_update::withdraw;

const REST: u32 = 1800;

fn limited(action: MaxPrefixesAction) -> ReplaySettings {
    let mut settings = settings();
    for neighbor in &mut settings.neighbors {
        neighbor.max_prefixes = 10;
        neighbor.max_prefixes_action = action;
        neighbor.max_prefixes_rest = REST;
    }
    settings
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|i| format!("20.{i}.0.0/16")).collect()
}

fn announced(range: std::ops::Range<u32>) -> Vec<u8> {
    let names = names(range);
    update(&names.iter().map(String::as_str).collect::<Vec<_>>(), BLOCK)
}

fn withdrawn(range: std::ops::Range<u32>) -> Vec<u8> {
    let nlri = |name: &String| Nlri { prefix: name.parse().unwrap(), path_id: 0 };
    let nlri: Vec<_> = names(range).iter().map(nlri).collect();
    withdraw(Family::IPV4_UNICAST, &nlri, false).unwrap()
}

fn end_of_rib() -> Vec<u8> {
    Outgoing::EndOfRib(Family::IPV4_UNICAST).encode()
}

fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(seconds).unwrap())
}

/// Messages with the seconds that they came at, and the report on their one peer.
fn judged(settings: ReplaySettings, messages: &[(u32, Vec<u8>)]) -> (ReplayedPeer, Vec<String>) {
    let records: Vec<_> = messages.iter().map(|(at, bytes)| message(*at, true, bytes)).collect();
    let mut replay = replay(settings, &records);
    let mut report = replay.report();
    assert_eq!(report.peers.len(), 1);
    let peer = report.peers.remove(0);
    let accepted = prefixes(&replay);
    assert_eq!(report.footprint.prefixes, accepted.len(), "all agree");
    assert_eq!(peer.accepted as usize, accepted.len(), "all agree");
    (peer, accepted)
}

fn flood_and_less() -> Vec<(u32, Vec<u8>)> {
    vec![(1000, announced(0..12)), (1001, withdrawn(0..5))]
}

#[test]
fn a_session_that_was_over_its_limit_for_a_moment_is_ended() {
    for action in [MaxPrefixesAction::Restart, MaxPrefixesAction::KeepLastGood] {
        let (peer, _) = judged(limited(action), &flood_and_less());
        assert_eq!((peer.received, peer.accepted, peer.peak), (0, 0, 12), "{action:?}");
        assert!(peer.over_limit);
        assert_eq!((peer.over_limit_at, peer.sessions_ended), (time(1000), 1));
        assert_eq!(peer.rests_until, time(1000 + i64::from(REST)));
        let without = peer.without_limit.unwrap();
        assert_eq!((without.received, without.accepted), (7, 7));
    }
}

#[test]
fn what_keep_last_good_keeps_is_there_until_it_has_waited_long_enough() {
    let settings = || limited(MaxPrefixesAction::KeepLastGood);
    let mut messages =
        vec![(1000, announced(0..6)), (1001, end_of_rib()), (1002, announced(6..20))];
    let (peer, accepted) = judged(settings(), &messages);
    assert_eq!((accepted, peer.stale), (names(0..6), 6));
    // Back after its rest, with the flood as it was: so again and again.
    messages.push((1002 + 3 * REST + 100, withdrawn(30..31)));
    let (peer, accepted) = judged(settings(), &messages);
    assert_eq!((accepted, peer.stale), (names(0..6), 6));
    assert_eq!(peer.sessions_ended, 4);
    assert_eq!(peer.rests_until, time(1002 + 4 * i64::from(REST)));
}

#[test]
fn discard_new_leaves_out_what_came_too_late() {
    let settings = || limited(MaxPrefixesAction::DiscardNew);
    let (peer, accepted) = judged(settings(), &flood_and_less()[..1]);
    assert_eq!((accepted, peer.discarded), (names(0..10), 2));
    assert_eq!((peer.over_limit_at, peer.asked_at), (time(1000), None));

    let (peer, accepted) = judged(settings(), &flood_and_less());
    let sorted = ["20.5.0.0/16", "20.6.0.0/16", "20.7.0.0/16", "20.8.0.0/16", "20.9.0.0/16"];
    assert_eq!((accepted, peer.discarded), (sorted.map(ToOwned::to_owned).to_vec(), 2));
    assert_eq!((peer.peak, peer.sessions_ended, peer.rests_until), (12, 0, None));
    assert_eq!(peer.asked_at, time(1001), "there is room again");
    assert_eq!(peer.without_limit.unwrap().accepted, 7);
}

#[test]
fn after_its_rest_a_router_comes_back_with_the_table_that_it_has_then() {
    let mut messages = flood_and_less();
    messages.push((1000 + REST - 1, announced(20..21)));
    let (peer, _) = judged(limited(MaxPrefixesAction::Restart), &messages);
    assert_eq!(peer.accepted, 0, "it rests");
    messages.push((1000 + REST, announced(21..22)));
    let (peer, _) = judged(limited(MaxPrefixesAction::Restart), &messages);
    assert_eq!((peer.accepted, peer.sessions_ended, peer.rests_until), (9, 1, None));
    assert_eq!(peer.without_limit.unwrap().accepted, 9);
    // The next flood is one like the first.
    messages.push((9000, announced(30..50)));
    let (peer, _) = judged(limited(MaxPrefixesAction::Restart), &messages);
    assert_eq!((peer.accepted, peer.sessions_ended, peer.peak), (0, 2, 29));
    assert_eq!(peer.over_limit_at, time(1000), "the first time");
}

#[test]
fn a_session_that_is_lost_while_it_rests_comes_back_when_the_file_says_so() {
    let bye = Outgoing::Notification(Notification::administrative_shutdown(None)).encode();
    let open = their_message(1, &[4, 0xfe, 0x4c, 0, 90, 192, 0, 2, 1, 0]);
    let mut messages = flood_and_less();
    messages.extend([(1002, bye), (1000 + REST + 10, open)]);
    let (peer, _) = judged(limited(MaxPrefixesAction::Restart), &messages);
    assert_eq!((peer.accepted, peer.rests_until), (0, None));
    messages.push((1000 + REST + 11, announced(0..3)));
    let (peer, _) = judged(limited(MaxPrefixesAction::Restart), &messages);
    assert_eq!(peer.accepted, 3);
}

#[test]
fn a_table_over_the_limit_is_refused_as_its_router_would_be() {
    let records: Vec<_> = std::iter::once(peers())
        .chain(names(0..12).iter().map(|p| rib(p, &[(0, BLOCK)])))
        .collect();
    let report = replay(limited(MaxPrefixesAction::Restart), &records).report();
    let peer = &report.peers[0];
    assert_eq!((peer.accepted, peer.peak, peer.sessions_ended), (0, 12, 1));
    assert_eq!(peer.without_limit.as_ref().unwrap().accepted, 12);
    let report = replay(limited(MaxPrefixesAction::DiscardNew), &records).report();
    assert_eq!((report.peers[0].accepted, report.peers[0].discarded), (10, 2));
}

#[test]
fn a_table_within_the_limit_needs_no_word() {
    let (peer, accepted) = judged(limited(MaxPrefixesAction::Restart), &[(1000, announced(0..10))]);
    assert_eq!((accepted.len(), peer.peak, peer.over_limit), (10, 10, false));
    assert_eq!((peer.over_limit_at, peer.without_limit), (None, None));
}

/// The clock of a file says anything.
#[test]
fn a_leap_of_a_century_is_no_million_of_sessions() {
    let messages = [(0, announced(0..12)), (u32::MAX, withdrawn(0..1))];
    let (peer, _) = judged(limited(MaxPrefixesAction::KeepLastGood), &messages);
    assert_eq!(peer.sessions_ended, 1 + u64::from(u32::MAX / REST));
}
