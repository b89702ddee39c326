//! What a node that starts knows of its last run.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_dynamic_neighbors_outlive_a_restart_and_wait_for_their_router() {
    let folder = tempfile::tempdir().unwrap();
    let range = DynamicNeighbors {
        max_sessions: 2,
        ..DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())
    };
    let start = |last_good_time| {
        let settings = SpeakerSettings {
            listen: vec![SocketAddr::from((LOOPBACK, 0))],
            dynamic: vec![range.clone()],
            last_good: Some(folder.path().join("footprint.last-good")),
            last_good_time,
            ..SpeakerSettings::new(OURS)
        };
        Speaker::start_with(settings, Duration::ZERO).unwrap()
    };
    let day = Duration::from_secs(86_400);
    let speaker = start(day);
    let routers = [router_at(&speaker, 1, ASN), router_at(&speaker, 2, ASN)];
    wait_for(&speaker.handle(), |s| s.footprint.prefixes == 2).await;
    speaker.shutdown(None).await;
    drop(routers);

    let nothing = start(Duration::ZERO);
    assert!(nothing.handle().status().neighbors.is_empty());
    drop(nothing);

    let speaker = start(day);
    let handle = speaker.handle();
    let status = handle.status();
    let restored =
        |n: &NeighborStatus| (n.dynamic.is_some(), n.restored, n.stale_seconds > Some(86_000));
    assert_eq!(status.neighbors.iter().map(restored).collect::<Vec<_>>(), [(true, 1, true); 2]);
    assert_eq!(status.footprint.prefixes, 2);
    assert_eq!(status.dynamic[0].sessions, 0);
    // It is back; and those who may never come back keep nobody out.
    let _first = router_at(&speaker, 1, ASN);
    let _third = router_at(&speaker, 3, ASN);
    let status = wait_for(&handle, |s: &SpeakerStatus| {
        s.footprint.prefixes == 3
            && s.neighbors.iter().filter(|n| n.state == crate::session::State::Established).count()
                == 2
            && s.neighbors.iter().map(|n| n.restored).sum::<u32>() == 1
    });
    assert_eq!(status.await.neighbors.len(), 3);
    speaker.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_router_at_the_address_of_a_restored_one_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let settings = SpeakerSettings {
            listen: vec![SocketAddr::from((LOOPBACK, 0))],
            dynamic: vec![DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())],
            last_good: Some(folder.path().join("footprint.last-good")),
            ..SpeakerSettings::new(OURS)
        };
        Speaker::start_with(settings, Duration::ZERO).unwrap()
    };
    let speaker = start();
    let router = router_at(&speaker, 1, ASN);
    wait_for(&speaker.handle(), |s| s.footprint.prefixes == 1).await;
    speaker.shutdown(None).await;
    drop(router);
    let speaker = start();
    let _other = router_at(&speaker, 1, ASN + 1);
    let handle = speaker.handle();
    let status = wait_for(&handle, |s| {
        s.neighbors.iter().any(|n| n.asn == ASN + 1 && n.accepted == 1 && n.stale == 0)
    });
    assert_eq!(status.await.neighbors.len(), 1);
    speaker.shutdown(None).await;
}

/// No router could ever send or withdraw them again.
#[tokio::test(flavor = "multi_thread")]
async fn ipv6_routes_of_the_last_run_are_left_out_where_ipv6_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let start = |ipv6| {
        let settings = SpeakerSettings {
            listen: vec![SocketAddr::from((LOOPBACK, 0))],
            dynamic: vec![DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())],
            last_good: Some(folder.path().join("footprint.last-good")),
            ipv6,
            ..SpeakerSettings::new(OURS)
        };
        Speaker::start(settings).unwrap()
    };
    let route = |prefix: &str, next_hop: &str| {
        let attributes = Arc::new(Attributes::new(next_hop.parse().unwrap(), &[64500]));
        Route::new(prefix.parse().unwrap(), &attributes)
    };
    let routes = vec![route("8.1.0.0/16", "192.0.2.1"), route("2a00::/32", "2a00:ffff::1")];
    let speaker = start(true);
    let source = Some(IpAddr::from([127, 0, 8, 1]));
    let endpoint = Endpoint::Dial { peer: speaker.local_addrs()[0], source };
    let settings = RouterSettings::new(endpoint, ASN, Ipv4Addr::new(10, 0, 0, 1));
    let router = Router::start(RouterSettings { ipv6: true, ..settings }, routes).unwrap();
    wait_for(&speaker.handle(), |s| s.footprint.prefixes == 2).await;
    speaker.shutdown(None).await;
    drop(router);

    let off = start(false);
    let status = off.handle().status();
    assert_eq!(status.neighbors[0].received_by_family, [1, 0]);
    assert_eq!((status.footprint.addresses, status.footprint.ipv6_slash48s), (1 << 16, 0));
    off.shutdown(None).await;
}
