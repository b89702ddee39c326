//! The speaker and a router over real TCP on loopback.

#![expect(clippy::disallowed_types, reason = "the router that the speaker is tested with")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mcc_announcer::{Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_bgp::rib::{
    FootprintQuery, PrefixSource, RouteConditions, RouteFilter, RouteQuery, Verdict,
};
use mcc_bgp::session::{ErrorDirection, State};
use mcc_bgp::speaker::{
    CommandError, FootprintUpdate, NeighborStatus, Speaker, SpeakerHandle, SpeakerSettings,
    SpeakerStatus,
};
use mcc_bgp::wire::{AsPathSegment, Family, SegmentKind};
use mcc_config::{Asn, Neighbor};
use tokio::time::{sleep, timeout};

const ASN: u32 = 65100;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Long enough for any machine; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn neighbor(address: SocketAddr, change: impl FnOnce(&mut Neighbor)) -> Neighbor {
    let mut neighbor = Neighbor::new(address.ip(), Asn::new(ASN).unwrap());
    neighbor.port = address.port();
    change(&mut neighbor);
    neighbor
}

fn speaker(neighbors: Vec<Neighbor>, manual: &[&str]) -> Speaker {
    Speaker::start(SpeakerSettings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        neighbors,
        manual: manual.iter().map(|text| text.parse().unwrap()).collect(),
        ..SpeakerSettings::new(OURS)
    })
    .unwrap()
}

fn router_settings(last: u8) -> RouterSettings {
    let endpoint = Endpoint::Listen(SocketAddr::from(([127, 0, 0, last], 0)));
    RouterSettings::new(endpoint, ASN, THEIRS)
}

/// A router that listens on 127.0.0.`last`.
fn router(last: u8, routes: Vec<Route>) -> (Router, SocketAddr) {
    let router = Router::start(router_settings(last), routes).unwrap();
    let address = router.local_addr().unwrap();
    (router, address)
}

fn routes(prefixes: impl IntoIterator<Item = IpNet>) -> Vec<Route> {
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500, 64501]));
    prefixes.into_iter().map(|prefix| Route::new(prefix, &attributes)).collect()
}

fn prefixes(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// 1,000 /24s.
fn thousand() -> BTreeSet<IpNet> {
    let net = |i: u32| Ipv4Net::new(Ipv4Addr::from(0x0808_0000 + i * 256), 24).unwrap();
    (0..1000).map(|i| IpNet::V4(net(i))).collect()
}

async fn wait_for(handle: &SpeakerHandle, what: impl Fn(&SpeakerStatus) -> bool) -> SpeakerStatus {
    let wait = async {
        loop {
            let status = handle.status();
            if what(&status) {
                return status;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("it never came: {:#?}", handle.status()))
}

async fn wait_for_neighbor(
    handle: &SpeakerHandle,
    what: impl Fn(&NeighborStatus) -> bool,
) -> NeighborStatus {
    wait_for(handle, |status| what(&status.neighbors[0])).await.neighbors[0].clone()
}

async fn footprint(handle: &SpeakerHandle) -> BTreeSet<IpNet> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let page = handle
            .footprint(FootprintQuery { after, limit: 300, ..FootprintQuery::default() })
            .await
            .unwrap();
        all.extend(page.prefixes.iter().map(|entry| entry.prefix));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_routes_are_learned_exactly_and_the_refused_ones_listed() {
    let mut announced: BTreeSet<_> = thousand();
    let refused = prefixes(&["0.0.0.0/0", "10.1.0.0/16", "9.9.9.128/25"]);
    announced.extend(refused.iter().copied());
    let (router, address) = router(1, routes(announced.iter().copied()));
    let speaker = speaker(vec![neighbor(address, |_| {})], &[]);
    let handle = speaker.handle();

    let status = wait_for_neighbor(&handle, |n| n.received == 1003).await;
    assert_eq!(status.state, State::Established);
    assert_eq!(status.accepted, 1000);
    let reasons = [("bogon", 1), ("default_route", 1), ("too_long", 1)];
    assert_eq!(status.rejected, BTreeMap::from(reasons));
    assert_eq!(footprint(&handle).await, thousand());
    let page =
        handle.footprint(FootprintQuery { limit: 1, ..FootprintQuery::default() }).await.unwrap();
    assert_eq!((page.count, page.addresses), (1000, 256_000));

    let query = RouteQuery { limit: 100, ..RouteQuery::default() };
    let (mut listed, mut query) = (BTreeSet::new(), query);
    loop {
        let page = handle.routes(query.clone()).await.unwrap();
        assert!(page.routes.len() == 100 || page.next.is_none());
        listed.extend(page.routes.iter().map(|route| route.prefix));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert_eq!(listed, announced);

    let conditions = RouteConditions { verdict: Verdict::Refused, ..RouteConditions::default() };
    let query = RouteQuery { conditions, ..RouteQuery::default() };
    let page = handle.routes(query).await.unwrap();
    let listed: BTreeSet<_> = page.routes.iter().map(|route| route.prefix).collect();
    assert_eq!(listed, refused.into_iter().collect());
    assert!(page.routes.iter().all(|route| !route.accepted && route.as_path == "64500 64501"));

    let filter = RouteFilter::LongestMatch(IpAddr::from([8, 8, 8, 8]));
    let page = handle.routes(RouteQuery { filter, ..RouteQuery::default() }).await.unwrap();
    assert_eq!(page.routes[0].prefix.to_string(), "8.8.8.0/24");

    router.withdraw(thousand().into_iter().take(400).collect()).await.unwrap();
    wait_for_neighbor(&handle, |n| n.accepted == 600).await;
    assert_eq!(footprint(&handle).await, thousand().into_iter().skip(400).collect());
    speaker.shutdown(None).await;
}

/// Rules of all kinds at once: each route is refused for its own reason, and listed with it.
#[tokio::test(flavor = "multi_thread")]
async fn rules_beyond_the_prefix_are_told_apart() {
    let next_hop = IpAddr::from([192, 0, 2, 1]);
    let mut with_set = Attributes::new(next_hop, &[3356]);
    let set = AsPathSegment { kind: SegmentKind::Set, asns: vec![1, 2].into() };
    with_set.as_path.segments.push(set);
    let good = Attributes::new(next_hop, &[3356, 65200]);
    let transit = Attributes::new(next_hop, &[3356, 6453, 65200]);
    let elsewhere = Attributes::new(next_hop, &[3356, 65300]);
    let route = |text: &str, attributes: &Attributes| {
        Route::new(text.parse().unwrap(), &Arc::new(attributes.clone()))
    };
    let all = vec![
        route("8.8.0.0/24", &good),
        route("8.9.0.0/24", &good),
        route("9.0.0.0/24", &good),
        route("8.8.1.0/24", &with_set),
        route("8.8.2.0/24", &transit),
        route("8.8.3.0/24", &elsewhere),
    ];
    let (_router, address) = router(1, all);
    let neighbor = neighbor(address, |neighbor| {
        neighbor.accept.allow_prefixes = vec!["8.0.0.0/8".to_owned()];
        neighbor.accept.deny_prefixes = vec!["8.9.0.0/16".to_owned()];
        neighbor.accept.as_path_none = vec!["_6453_".to_owned()];
        neighbor.accept.origin_asns = vec![mcc_config::AsnEntry::Number(65200)];
    });
    let speaker = speaker(vec![neighbor], &[]);
    let handle = speaker.handle();
    let status = wait_for_neighbor(&handle, |n| n.received == 6).await;
    let reasons = [
        ("as_set", 1),
        ("denied_as_path", 1),
        ("denied_prefix", 1),
        ("no_matching_origin", 1),
        ("no_matching_prefix", 1),
    ];
    assert_eq!(status.rejected, BTreeMap::from(reasons));
    assert_eq!(footprint(&handle).await, prefixes(&["8.8.0.0/24"]).into_iter().collect());
    let filter = RouteFilter::Exact("8.8.1.0/24".parse().unwrap());
    let page = handle.routes(RouteQuery { filter, ..RouteQuery::default() }).await.unwrap();
    assert_eq!(page.routes[0].as_path, "3356 {1,2}");
    assert_eq!(page.routes[0].refused_reason, Some("as_set"));
    speaker.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_hears_nothing_but_what_a_listener_says() {
    let settings = RouterSettings { graceful_restart: Some(120), ..router_settings(1) };
    let router = Router::start(settings, routes(thousand())).unwrap();
    let speaker = speaker(vec![neighbor(router.local_addr().unwrap(), |_| {})], &["8.8.8.0/24"]);
    let handle = speaker.handle();
    wait_for_neighbor(&handle, |n| n.received == 1000).await;
    let address = IpAddr::from([127, 0, 0, 1]);
    handle.refresh(address).await.unwrap();
    router.wait_for(|status| status.heard.route_refreshes == 1).await;
    router.wait_for(|status| status.tables_sent == 2).await;
    speaker.shutdown(Some("maintenance until 04:00")).await;

    let heard = router.wait_for(|status| !status.heard.notifications.is_empty()).await.heard;
    assert_eq!(heard.prefixes, 0, "a node never announces");
    assert_eq!(heard.end_of_rib, [Family::IPV4_UNICAST]);
    let open = heard.open.unwrap();
    assert_eq!((open.asn, open.bgp_id, open.hold_time), (ASN, OURS, 90));
    let words: Vec<_> = heard.notifications.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["Cease / Administrative Shutdown: maintenance until 04:00"]);
    let stopped = handle.routes(RouteQuery::default()).await.unwrap_err();
    assert!(matches!(stopped, CommandError::Stopped(_)), "{stopped}");
}

/// Ours would wait for four minutes.
#[tokio::test(flavor = "multi_thread")]
async fn the_routers_open_ends_the_delay_of_ours() {
    let (_router, address) = router(1, routes(thousand()));
    let speaker = speaker(vec![neighbor(address, |neighbor| neighbor.delay_open = 240)], &[]);
    let status = wait_for_neighbor(&speaker.handle(), |n| n.received == 1000).await;
    let negotiated = status.negotiated.unwrap();
    let names = |list: &[mcc_bgp::session::ShownCapability]| {
        list.iter().map(|capability| capability.name.clone()).collect::<Vec<_>>()
    };
    assert!(names(&negotiated.offered).contains(&"graceful-restart".to_owned()));
    assert!(names(&negotiated.received).contains(&"four-octet-as".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_of_the_router_is_shown_in_its_words_and_its_routes_stay_as_stale() {
    let (router, address) = router(1, routes(thousand()));
    // After a shutdown the router is dialled late; here that is soon.
    let neighbor = neighbor(address, |neighbor| neighbor.connect_retry = 1);
    let speaker = speaker(vec![neighbor], &[]);
    let handle = speaker.handle();
    wait_for_neighbor(&handle, |n| n.received == 1000).await;
    router.close(Some("new line card")).await;

    let status = wait_for_neighbor(&handle, |n| n.stale == 1000).await;
    assert_ne!(status.state, State::Established);
    assert_eq!((status.uptime_seconds, status.flaps), (None, 1));
    assert_eq!(footprint(&handle).await, thousand());
    let page = handle.routes(RouteQuery::default()).await.unwrap();
    assert!(page.routes.iter().all(|route| route.stale && route.accepted));

    // The router is gone, and dialling it fails; the reason why is not hidden by that.
    wait_for_neighbor(&handle, |n| n.dial_error.is_some()).await;
    let json = serde_json::to_value(handle.status()).unwrap();
    let shown = &json["neighbors"][0];
    let error = &shown["last_error"];
    assert_eq!(error["direction"], "received");
    assert_eq!((&error["code"], &error["subcode"]), (&6.into(), &2.into()));
    assert_eq!(error["text"], "Cease / Administrative Shutdown: new line card");
    assert!(error["at"].is_string());
    assert_eq!(shown["type"], "ibgp");
    assert_eq!(json["router_id"], "10.0.0.5");
    assert_eq!(json["footprint"]["prefixes"], 1000);
    assert_eq!(json["footprint"]["addresses"], 256_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_comes_back_with_less_has_the_rest_swept_at_end_of_rib() {
    let (router, address) = router(1, routes(thousand()));
    let speaker = speaker(vec![neighbor(address, |_| {})], &[]);
    let handle = speaker.handle();
    wait_for_neighbor(&handle, |n| n.received == 1000).await;
    // As if the power had failed.
    drop(router);
    wait_for_neighbor(&handle, |n| n.stale == 1000).await;

    let settings = RouterSettings { endpoint: Endpoint::Listen(address), ..router_settings(1) };
    let half: BTreeSet<_> = thousand().into_iter().take(500).collect();
    let restart = async {
        loop {
            match Router::start(settings.clone(), routes(half.iter().copied())) {
                Ok(router) => return router,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let _router = timeout(PATIENCE, restart).await.unwrap();
    let status = wait_for_neighbor(&handle, |n| n.received == 500 && n.stale == 0).await;
    assert_eq!(status.flaps, 1);
    assert_eq!(footprint(&handle).await, half);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_two_neighbors_goes_with_the_last_and_a_subscriber_follows() {
    let (first, first_address) = router(1, routes(prefixes(&["8.8.0.0/16", "8.9.0.0/16"])));
    let (second, second_address) = router(2, routes(prefixes(&["8.8.0.0/16"])));
    let neighbors = vec![neighbor(first_address, |_| {}), neighbor(second_address, |_| {})];
    let speaker = speaker(neighbors, &["9.0.0.0/16"]);
    let handle = speaker.handle();
    let mut subscription = handle.subscribe();
    let Some(FootprintUpdate::Snapshot(snapshot)) = subscription.next().await else {
        panic!("the snapshot comes first");
    };
    let mut followed: BTreeMap<_, _> = snapshot.into_iter().collect();
    assert_eq!(followed[&prefixes(&["9.0.0.0/16"])[0]].source, PrefixSource::Manual);
    wait_for(&handle, |s| s.neighbors[0].accepted == 2 && s.neighbors[1].accepted == 1).await;

    let page = handle.footprint(FootprintQuery::default()).await.unwrap();
    let shown: Vec<_> =
        page.prefixes.iter().map(|p| (p.prefix.to_string(), p.neighbors.len())).collect();
    let expected = [("8.8.0.0/16", 2), ("8.9.0.0/16", 1), ("9.0.0.0/16", 0)];
    assert_eq!(shown, expected.map(|(prefix, n)| (prefix.to_owned(), n)));

    first.withdraw(prefixes(&["8.8.0.0/16", "8.9.0.0/16"])).await.unwrap();
    wait_for(&handle, |s| s.neighbors[0].accepted == 0).await;
    assert_eq!(
        footprint(&handle).await,
        BTreeSet::from_iter(prefixes(&["8.8.0.0/16", "9.0.0.0/16"]))
    );
    second.withdraw(prefixes(&["8.8.0.0/16"])).await.unwrap();

    // The subscriber comes to the same end, however the steps were packed.
    let follow = async {
        let mut seen = BTreeSet::new();
        while followed.len() != 1 || seen.is_empty() {
            let Some(FootprintUpdate::Changes(changes)) = subscription.next().await else {
                panic!("changes come after the snapshot");
            };
            for (prefix, attributes) in changes {
                seen.insert(prefix);
                match attributes {
                    Some(attributes) => followed.insert(prefix, attributes),
                    None => followed.remove(&prefix),
                };
            }
            if seen.len() < 2 {
                continue;
            }
        }
    };
    timeout(PATIENCE, follow).await.unwrap();
    speaker.shutdown(None).await;
    assert_eq!(subscription.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_dials_is_served_and_a_stranger_is_not() {
    let router_address = SocketAddr::from(([127, 0, 0, 3], 179));
    let speaker = speaker(vec![neighbor(router_address, |n| n.passive = true)], &[]);
    let handle = speaker.handle();
    let dial = |last: u8| Endpoint::Dial {
        peer: speaker.local_addrs()[0],
        source: Some(IpAddr::from([127, 0, 0, last])),
    };
    let settings = RouterSettings { endpoint: dial(3), ..router_settings(1) };
    let _router = Router::start(settings, routes(prefixes(&["8.8.0.0/16"]))).unwrap();
    let settings = RouterSettings { endpoint: dial(4), ..router_settings(1) };
    let stranger = Router::start(settings, routes(prefixes(&["8.9.0.0/16"]))).unwrap();
    wait_for(&handle, |s| s.neighbors[0].accepted == 1 && s.unknown_connections > 0).await;
    assert_eq!(stranger.status().sessions, 0);
    assert_eq!(footprint(&handle).await, BTreeSet::from_iter(prefixes(&["8.8.0.0/16"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_as_number_is_told_to_both_sides() {
    let (router, address) = router(1, vec![]);
    let wrong = neighbor(address, |n| n.asn = Asn::new(65101).unwrap());
    let speaker = speaker(vec![wrong], &[]);
    let status = wait_for_neighbor(&speaker.handle(), |n| n.last_error.is_some()).await;
    let error = status.last_error.unwrap().error;
    assert_eq!(
        (error.direction, error.code, error.subcode),
        (ErrorDirection::Sent, Some(2), Some(2))
    );
    assert!(error.text.contains("the router says AS 65100"), "{}", error.text);
    let heard = router.wait_for(|status| !status.heard.notifications.is_empty()).await.heard;
    assert_eq!(heard.notifications[0].subcode, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_reach_the_node_on_each_address_that_it_listens_on() {
    let listen = ["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"].map(|text| text.parse().unwrap());
    let routers: [IpAddr; 3] = ["127.0.0.7", "::1", "127.0.0.8"].map(|text| text.parse().unwrap());
    let passive = |address: IpAddr| neighbor(SocketAddr::new(address, 179), |n| n.passive = true);
    let speaker = Speaker::start(SpeakerSettings {
        listen: listen.to_vec(),
        neighbors: routers.map(passive).to_vec(),
        ..SpeakerSettings::new(OURS)
    })
    .unwrap();
    let addresses = speaker.local_addrs().iter().copied();
    let _routers: Vec<_> = routers
        .into_iter()
        .zip(addresses)
        .map(|(source, peer)| {
            let endpoint = Endpoint::Dial { peer, source: Some(source) };
            let settings = RouterSettings { endpoint, ..router_settings(1) };
            Router::start(settings, routes(prefixes(&["8.8.0.0/16"]))).unwrap()
        })
        .collect();
    wait_for(&speaker.handle(), |status| status.neighbors.iter().all(|n| n.accepted == 1)).await;
}

/// RFC 4486 §4: the second of its connections meets a session that rests.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_dials_while_its_session_rests_is_told_so() {
    let address = SocketAddr::from(([127, 0, 0, 6], 179));
    let wrong = neighbor(address, |n| {
        n.passive = true;
        n.asn = Asn::new(65101).unwrap();
    });
    let speaker = speaker(vec![wrong], &[]);
    let endpoint = Endpoint::Dial { peer: speaker.local_addrs()[0], source: Some(address.ip()) };
    let router = Router::start(RouterSettings { endpoint, ..router_settings(6) }, vec![]).unwrap();
    let heard = router.wait_for(|status| status.heard.notifications.len() >= 2).await.heard;
    let words: Vec<_> = heard.notifications.iter().take(2).map(ToString::to_string).collect();
    assert_eq!(words, ["OPEN Message Error / Bad Peer AS", "Cease / Connection Rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_prefixes_end_the_session_and_leave_nothing() {
    let (router, address) = router(1, routes(thousand()));
    let speaker = speaker(vec![neighbor(address, |n| n.max_prefixes = 500)], &[]);
    let handle = speaker.handle();
    let heard = router.wait_for(|status| !status.heard.notifications.is_empty()).await.heard;
    assert!(heard.notifications[0].to_string().contains("500"), "{}", heard.notifications[0]);
    let status = wait_for_neighbor(&handle, |n| n.state == State::Idle && n.received == 0).await;
    assert!(status.retry_seconds.unwrap() > 1000, "a long rest");
    assert_eq!(status.last_error.unwrap().error.code, Some(6));
    assert!(footprint(&handle).await.is_empty());

    router.withdraw(thousand().into_iter().skip(400).collect()).await.unwrap();
    handle.reset(address.ip()).await.unwrap();
    wait_for_neighbor(&handle, |n| n.accepted == 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_cannot_be_carried_out_say_why() {
    let nobody = SocketAddr::from(([127, 0, 0, 9], 1));
    let speaker = speaker(vec![neighbor(nobody, |_| {})], &[]);
    let handle = speaker.handle();
    let address = nobody.ip();
    let unknown = handle.reset(IpAddr::from([127, 0, 0, 8])).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no neighbor 127.0.0.8; the configured ones are: 127.0.0.9");
    let error = handle.refresh(address).await.unwrap_err();
    assert_eq!(error, CommandError::NotEstablished { address });
    let status = wait_for_neighbor(&handle, |n| n.last_error.is_some()).await;
    let error = status.last_error.unwrap().error;
    assert_eq!((error.direction, error.code), (ErrorDirection::Dial, None));
    assert!(error.text.contains("refused the connection"), "{}", error.text);
}

#[tokio::test]
async fn without_neighbors_the_footprint_is_what_was_entered_by_hand() {
    let settings =
        SpeakerSettings { manual: prefixes(&["8.8.0.0/16"]), ..SpeakerSettings::new(OURS) };
    let speaker = Speaker::start(settings).unwrap();
    let handle = speaker.handle();
    assert_eq!(handle.status().footprint.prefixes, 1);
    assert_eq!(footprint(&handle).await, BTreeSet::from_iter(prefixes(&["8.8.0.0/16"])));
    speaker.shutdown(None).await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let address = SocketAddr::from(([127, 0, 0, 1], 179));
    let start = |neighbors: Vec<Neighbor>, listen: Vec<SocketAddr>| {
        let settings =
            SpeakerSettings { listen, neighbors, last_good: None, ..SpeakerSettings::new(OURS) };
        let error = Speaker::start(settings).unwrap_err();
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        // As the program prints it: each cause once.
        causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    };
    let twice = vec![neighbor(address, |_| {}), neighbor(address, |n| n.port = 180)];
    assert!(start(twice, vec![]).contains("127.0.0.1 is there twice"));
    let community = neighbor(address, |n| n.accept.communities = vec!["x".to_owned()]);
    assert!(start(vec![community], vec![]).contains("accept.communities[0]: `x` is not possible"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = start(vec![], vec![taken.local_addr().unwrap()]);
    assert!(error.contains("cannot listen on 127.0.0.1"), "{error}");
    assert_eq!(error.matches("in use").count(), 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speaker_that_starts_again_serves_what_it_knew_until_the_router_says_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("footprint.last-good");
    let start = |address, passive| {
        Speaker::start(SpeakerSettings {
            neighbors: vec![neighbor(address, |neighbor| neighbor.passive = passive)],
            last_good: Some(file.clone()),
            ..SpeakerSettings::new(OURS)
        })
        .unwrap()
    };
    let (router, address) = router(1, routes(thousand()));
    let first = start(address, false);
    wait_for_neighbor(&first.handle(), |n| n.accepted == 1000).await;
    first.shutdown(None).await;
    drop(router);

    let alone = start(address, true);
    let status = alone.handle().status();
    assert_eq!((status.neighbors[0].accepted, status.neighbors[0].stale), (1000, 1000));
    assert_eq!(footprint(&alone.handle()).await, thousand());
    alone.shutdown(None).await;

    // What the router announces now takes the place of what was.
    let half: BTreeSet<_> = thousand().into_iter().take(600).collect();
    let (_router, address) = self::router(1, routes(half.iter().copied()));
    let again = start(address, false);
    wait_for_neighbor(&again.handle(), |n| n.received == 600 && n.stale == 0).await;
    assert_eq!(footprint(&again.handle()).await, half);
    again.shutdown(None).await;

    std::fs::write(&file, b"mccfoot1 and then something else").unwrap();
    let status = start(address, true).handle().status();
    assert_eq!(status.neighbors[0].received, 0, "a damaged file is not used");
}
