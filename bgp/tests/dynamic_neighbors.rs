//! Routers that connect from a prefix, over real TCP on loopback.

#![expect(clippy::disallowed_types, reason = "the router that the speaker is tested with")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mcc_announcer::{Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_bgp::session::State;
use mcc_bgp::speaker::{NeighborStatus, SessionKind, Speaker, SpeakerSettings, SpeakerStatus};
use mcc_config::{Asn, DynamicNeighbors};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

/// Long enough for any machine; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn range(prefix: &str, change: impl FnOnce(&mut DynamicNeighbors)) -> DynamicNeighbors {
    let mut range = DynamicNeighbors::new(prefix.parse().unwrap());
    change(&mut range);
    range
}

fn speaker(dynamic: Vec<DynamicNeighbors>) -> Speaker {
    Speaker::start(SpeakerSettings {
        // Two addresses: a router may come in on either.
        listen: ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap()).to_vec(),
        neighbors: vec![dynamic[0].neighbor(IpAddr::from([127, 0, 9, 3]), asn(65100))],
        dynamic,
        ..SpeakerSettings::new(Ipv4Addr::new(10, 0, 0, 5))
    })
    .unwrap()
}

fn router(peer: SocketAddr, last: u8, asn: u32) -> Router {
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let route = Route::new(format!("8.{last}.0.0/16").parse().unwrap(), &attributes);
    let endpoint = Endpoint::Dial { peer, source: Some(IpAddr::from([127, 0, 9, last])) };
    let settings = RouterSettings::new(endpoint, asn, Ipv4Addr::new(10, 0, 9, last));
    Router::start(settings, vec![route]).unwrap()
}

async fn wait_for(speaker: &Speaker, what: impl Fn(&SpeakerStatus) -> bool) -> SpeakerStatus {
    let handle = speaker.handle();
    let wait = async {
        while !what(&handle.status()) {
            sleep(Duration::from_millis(5)).await;
        }
        handle.status()
    };
    let waited = timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("it never came: {:#?}", handle.status()))
}

fn neighbor(status: &SpeakerStatus, last: u8) -> &NeighborStatus {
    let address = IpAddr::from([127, 0, 9, last]);
    status.neighbors.iter().find(|neighbor| neighbor.address == address).unwrap()
}

fn accepted(status: &SpeakerStatus) -> usize {
    status.neighbors.iter().filter(|neighbor| neighbor.accepted == 1).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_prefix_says_how_and_a_configured_neighbor_goes_first() {
    let speaker = speaker(vec![
        range("127.0.9.0/24", |range| range.description = Some("site".to_owned())),
        range("127.0.9.64/26", |range| {
            range.local_asn = Some(asn(65500));
            range.hold_time = 30;
        }),
    ]);
    let [first, second] = [speaker.local_addrs()[0], speaker.local_addrs()[1]];
    // iBGP with two ASes at once, eBGP with a third.
    let _routers = [
        router(first, 3, 65100),
        router(first, 10, 65200),
        router(second, 11, 65300),
        router(second, 70, 65400),
    ];
    let status = wait_for(&speaker, |status| accepted(status) == 4).await;
    let of = |last| {
        let neighbor = neighbor(&status, last);
        assert_eq!(neighbor.state, State::Established);
        let dynamic = neighbor.dynamic.map(|prefix| prefix.to_string());
        (dynamic, neighbor.asn, neighbor.local_asn, neighbor.kind, neighbor.hold_time)
    };
    let wide = Some("127.0.9.0/24".to_owned());
    let long = Some("127.0.9.64/26".to_owned());
    assert_eq!(of(3), (None, 65100, 65100, SessionKind::Ibgp, 90));
    assert_eq!(of(10), (wide.clone(), 65200, 65200, SessionKind::Ibgp, 90));
    assert_eq!(of(11), (wide, 65300, 65300, SessionKind::Ibgp, 90));
    assert_eq!(of(70), (long, 65400, 65500, SessionKind::Ebgp, 30));
    assert_eq!(neighbor(&status, 10).description.as_deref(), Some("site"));
    let sessions: Vec<_> = status.dynamic.iter().map(|range| range.sessions).collect();
    assert_eq!((sessions, status.unknown_connections), (vec![2, 1], 0));
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["neighbors"][0]["dynamic"], serde_json::Value::Null);
    assert!(json["neighbors"][1]["dynamic"].is_string());

    // It is commanded and asked like any other.
    let handle = speaker.handle();
    let address = IpAddr::from([127, 0, 9, 10]);
    handle.reset(address).await.unwrap();
    let back = |status: &SpeakerStatus| {
        let neighbor = neighbor(status, 10);
        neighbor.flaps == 1 && neighbor.state == State::Established && neighbor.stale == 0
    };
    wait_for(&speaker, back).await;
    assert_eq!(handle.neighbor(address).await.unwrap().status.asn, 65200);
    speaker.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_with_another_as_number_and_one_too_many_are_told_so() {
    let speaker = speaker(vec![range("127.0.9.0/24", |range| {
        range.asns = vec![asn(65200), asn(65201)];
        range.max_sessions = 1;
    })]);
    let peer = speaker.local_addrs()[0];
    let wrong = router(peer, 20, 65300);
    let heard = wrong.wait_for(|status| !status.heard.notifications.is_empty());
    let heard = timeout(PATIENCE, heard).await.unwrap().heard;
    assert_eq!(heard.notifications[0].to_string(), "OPEN Message Error / Bad Peer AS");
    assert!(heard.open.is_none(), "refused before we said who we are");
    drop(wrong);

    let _first = router(peer, 21, 65200);
    wait_for(&speaker, |status| accepted(status) == 1).await;
    let second = router(peer, 22, 65201);
    let heard = second.wait_for(|status| !status.heard.notifications.is_empty());
    let heard = timeout(PATIENCE, heard).await.unwrap().heard;
    assert_eq!(heard.notifications[0].to_string(), "Cease / Connection Rejected");
    let status = speaker.handle().status();
    assert_eq!(status.neighbors.len(), 2, "the configured one and the first");
    let refused = status.dynamic[0].refused;
    assert!(refused.asn >= 1 && refused.max_sessions >= 1, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_open_costs_no_neighbor() {
    let speaker = speaker(vec![range("127.0.9.0/24", |_| {})]);
    let peer = speaker.local_addrs()[0];
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 9, 30], 0))).unwrap();
    let mut stream = socket.connect(peer).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    // Message Header Error / Connection Not Synchronized.
    assert_eq!(answer.get(18..21), Some(&[3, 1, 1][..]), "{answer:?}");
    let status = wait_for(&speaker, |status| status.dynamic[0].refused.no_open == 1).await;
    assert_eq!(status.neighbors.len(), 1, "the configured one");
}
