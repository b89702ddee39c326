//! Neighbors that come and go.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_neighbor_goes_with_its_session_and_its_routes_and_its_number_is_used_again() {
    let range: DynamicNeighbors = DynamicNeighbors {
        max_prefixes: 2,
        ..DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())
    };
    let settings = SpeakerSettings {
        listen: vec![SocketAddr::from((LOOPBACK, 0))],
        dynamic: vec![range],
        ..SpeakerSettings::new(OURS)
    };
    let speaker = Speaker::start_with(settings, Duration::ZERO).unwrap();
    let handle = speaker.handle();
    let router = |last: u8, prefixes: &[&str]| {
        let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
        let routes = prefixes.iter().map(|p| Route::new(p.parse().unwrap(), &attributes));
        let source = Some(IpAddr::from([127, 0, 8, last]));
        let endpoint = Endpoint::Dial { peer: speaker.local_addrs()[0], source };
        let settings = RouterSettings::new(endpoint, ASN, Ipv4Addr::new(10, 0, 0, last));
        Router::start(settings, routes.collect()).unwrap()
    };
    let wait_for = async |what: &dyn Fn(&SpeakerStatus) -> bool| {
        while !what(&handle.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let first = router(1, &["8.8.0.0/16"]);
    let alone = |s: &SpeakerStatus| s.neighbors.iter().any(|n| n.accepted == 1);
    timeout(Duration::from_secs(60), wait_for(&alone)).await.unwrap();
    let second = router(2, &["8.9.0.0/16"]);
    let there = |s: &SpeakerStatus| s.neighbors.iter().filter(|n| n.accepted == 1).count() == 2;
    timeout(Duration::from_secs(60), wait_for(&there)).await.unwrap();

    // Without routes there is nothing to keep.
    first.withdraw(vec!["8.8.0.0/16".parse().unwrap()]).await.unwrap();
    let withdrawn = |s: &SpeakerStatus| s.footprint.prefixes == 1;
    timeout(Duration::from_secs(60), wait_for(&withdrawn)).await.unwrap();
    first.close(None).await;
    let left = |s: &SpeakerStatus| s.neighbors.len() == 1;
    timeout(Duration::from_secs(60), wait_for(&left)).await.unwrap();
    let gone = handle.reset(IpAddr::from([127, 0, 8, 1])).await.unwrap_err();
    assert!(matches!(gone, CommandError::UnknownNeighbor { .. }), "{gone}");

    // The third takes the number of the first; the second's routes are its own.
    let third = router(3, &["9.0.0.0/16"]);
    timeout(Duration::from_secs(60), wait_for(&there)).await.unwrap();
    let status = handle.status();
    let addresses: Vec<_> = status.neighbors.iter().map(|n| n.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.8.3", "127.0.8.2"]);
    let dynamic = &status.dynamic[0];
    assert_eq!((dynamic.sessions, dynamic.prefix.to_string()), (2, "127.0.8.0/24".to_owned()));

    // Routes of a lost session stay, and the neighbor with them.
    second.close(None).await;
    let stale = |s: &SpeakerStatus| s.neighbors.iter().any(|n| n.stale == 1);
    timeout(Duration::from_secs(60), wait_for(&stale)).await.unwrap();
    assert_eq!(handle.status().footprint.prefixes, 2);
    drop(third);
    speaker.shutdown(None).await;
}

/// A router that is gone keeps its place while its routes are kept, and no longer if another wants it.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_routes_gives_up_its_place_and_one_with_routes_does_not() {
    let range = DynamicNeighbors {
        max_sessions: 1,
        ..DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())
    };
    let start = |range: &DynamicNeighbors| {
        let settings = SpeakerSettings {
            listen: vec![SocketAddr::from((LOOPBACK, 0))],
            dynamic: vec![range.clone()],
            ..SpeakerSettings::new(OURS)
        };
        // So long that nobody goes by itself.
        Speaker::start_with(settings, Duration::from_secs(86_400)).unwrap()
    };
    let speaker = start(&range);
    let handle = speaker.handle();
    let first = router_at(&speaker, 1, ASN);
    wait_for(&handle, |s| s.footprint.prefixes == 1).await;
    first.close(None).await;
    wait_for(&handle, |s| s.dynamic[0].gone == 1 && s.neighbors[0].stale == 1).await;
    let second = router_at(&speaker, 2, ASN);
    let status = wait_for(&handle, |s| s.dynamic[0].refused.max_sessions > 0).await;
    assert_eq!((status.dynamic[0].sessions, status.dynamic[0].gone), (1, 1));
    assert_eq!(status.neighbors[0].stale, 1, "its routes are kept for it");
    drop(second);
    speaker.shutdown(None).await;

    let speaker = start(&DynamicNeighbors { stale_time: 0, ..range });
    let handle = speaker.handle();
    let first = router_at(&speaker, 1, ASN);
    wait_for(&handle, |s| s.footprint.prefixes == 1).await;
    first.close(None).await;
    wait_for(&handle, |s| s.dynamic[0].gone == 1 && s.neighbors[0].received == 0).await;
    let _second = router_at(&speaker, 2, ASN);
    let status = wait_for(&handle, |s| s.footprint.prefixes == 1).await;
    assert_eq!(status.neighbors.len(), 1);
    assert_eq!(status.neighbors[0].address, IpAddr::from([127, 0, 8, 2]));
    speaker.shutdown(None).await;
}
