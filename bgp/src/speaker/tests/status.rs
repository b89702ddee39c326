//! What is shown of a session.

use super::*;
use crate::rib::NeighborSummary;
use crate::speaker::status::SessionSnapshot;

/// A dynamic neighbor that went while it rests would come back at once, as a new one.
#[test]
fn a_session_that_rests_is_not_one_without_connection() {
    let (now, seconds) = (Instant::now(), Duration::from_secs);
    let board = SessionBoard::new(neighbor(SocketAddr::from((LOOPBACK, 179))), None, now);
    assert_eq!(board.without_connection(now + seconds(9)), Some(seconds(9)));
    let mut snapshot = board.snapshot();
    snapshot.retries_at = Some(now + seconds(1800));
    board.publish(snapshot.clone());
    assert_eq!(board.without_connection(now + seconds(1799)), None);
    assert_eq!(board.without_connection(now + seconds(1800)), Some(seconds(1800)));
    snapshot.state = crate::session::State::OpenSent;
    board.publish(snapshot);
    assert_eq!(board.without_connection(now + seconds(1800)), None);
}

/// As `show bgp summary` has it: attempts that fail are no news.
#[test]
fn up_down_counts_from_when_the_session_came_up_or_was_lost() {
    use crate::session::State::{Active, Connect, Established, Idle, OpenSent};

    let (start, seconds) = (Instant::now(), Duration::from_secs);
    let mut snapshot = SessionSnapshot::idle(start);
    let shown = |snapshot: &SessionSnapshot, at: u64| {
        let board = SessionBoard::new(neighbor(SocketAddr::from((LOOPBACK, 179))), None, start);
        board.publish(snapshot.clone());
        let status = board.status(&NeighborSummary::default(), start + seconds(at));
        (status.up_down_seconds, status.state_seconds, status.uptime_seconds)
    };
    for (at, state, expected) in [
        (10, Connect, (15, 5, None)),
        (20, Active, (25, 5, None)),
        (30, Connect, (35, 5, None)),
        (40, OpenSent, (45, 5, None)),
        (50, Established, (5, 5, Some(5))),
        (100, Idle, (5, 5, None)),
        (200, Connect, (105, 5, None)),
        (300, Active, (205, 5, None)),
        (400, Established, (5, 5, Some(5))),
        // Lost for the router's next connection, with no state in between.
        (500, OpenSent, (5, 5, None)),
    ] {
        snapshot.enter(state, start + seconds(at));
        assert_eq!(shown(&snapshot, at + 5), expected, "{state:?} at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_shutdown_by_the_routers_operator_is_told_apart() {
    let settings = SpeakerSettings {
        listen: vec![SocketAddr::from((LOOPBACK, 0))],
        dynamic: vec![DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())],
        ..SpeakerSettings::new(OURS)
    };
    let speaker = Speaker::start(settings).unwrap();
    let handle = speaker.handle();
    let router = router_at(&speaker, 1, ASN);
    let up = |s: &SpeakerStatus| s.neighbors.iter().any(|n| n.accepted == 1 && n.stale == 0);
    let status = wait_for(&handle, up).await;
    assert_eq!(status.neighbors[0].shut_down_by_router, None);
    router.close(Some("back at 04:00")).await;
    let status = wait_for(&handle, |s| s.neighbors[0].stale == 1).await;
    let shutdown = status.neighbors[0].shut_down_by_router.clone().unwrap();
    assert_eq!(shutdown.text.as_deref(), Some("back at 04:00"));
    assert_eq!(shutdown.since, status.neighbors[0].last_error.as_ref().unwrap().at);
    let _router = router_at(&speaker, 1, ASN);
    let status = wait_for(&handle, up).await;
    assert_eq!(status.neighbors[0].shut_down_by_router, None, "it is up");
    speaker.shutdown(None).await;
}
