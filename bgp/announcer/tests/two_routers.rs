//! Two routers over loopback: each is the other's proof.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by a panic what is wrong"
)]
#![expect(clippy::disallowed_types, reason = "the router is what is tested")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::IpNet;
use mcc_announcer::{AnnounceError, Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_bgp::wire::Family;

fn prefixes(count: u8) -> Vec<IpNet> {
    (0..count).map(|i| format!("198.51.{i}.0/24").parse().unwrap()).collect()
}

fn routes(count: u8) -> Vec<Route> {
    let attributes = Arc::new(Attributes::new([192, 0, 2, 1].into(), &[65100]));
    prefixes(count).into_iter().map(|prefix| Route::new(prefix, &attributes)).collect()
}

fn pair(settings: impl Fn(&mut RouterSettings), count: u8) -> (Router, Router) {
    let listen = Endpoint::Listen(([127, 0, 0, 1], 0).into());
    let mut listening = RouterSettings::new(listen, 65100, Ipv4Addr::new(192, 0, 2, 1));
    settings(&mut listening);
    let listening = Router::start(listening, routes(count)).unwrap();

    let peer = listening.local_addr().unwrap();
    let dial = Endpoint::Dial { peer, source: Some([127, 0, 0, 2].into()) };
    let dialing = RouterSettings::new(dial, 65100, Ipv4Addr::new(192, 0, 2, 2));
    (listening, Router::start(dialing, Vec::new()).unwrap())
}

#[tokio::test]
async fn announces_withdraws_and_says_goodbye() {
    let (sender, receiver) = pair(|_| {}, 100);
    sender.established().await;
    receiver.established().await;
    let status = receiver.wait_for(|it| !it.heard.end_of_rib.is_empty()).await;
    assert_eq!(status.heard.prefixes, 100, "End-of-RIB comes after the table");
    assert_eq!(status.heard.end_of_rib, [Family::IPV4_UNICAST]);

    sender.withdraw(prefixes(10)).await.unwrap();
    receiver.wait_for(|it| it.heard.prefixes == 110).await;
    sender.announce(routes(5)).await.unwrap();
    receiver.wait_for(|it| it.heard.prefixes == 115).await;

    sender.close(Some("maintenance")).await;
    let status = receiver.wait_for(|it| it.last_error.is_some() && !it.established).await;
    let error = status.last_error.unwrap();
    assert!(error.ends_with("Cease / Administrative Shutdown: maintenance"), "{error}");
}

#[tokio::test]
async fn an_old_speaker_is_understood() {
    let (sender, receiver) = pair(|settings| settings.four_octet_as = false, 3);
    let status = receiver.wait_for(|it| !it.heard.end_of_rib.is_empty()).await;
    assert_eq!(status.heard.prefixes, 3);
    assert_eq!(status.last_error, None);
    drop(sender);
    let status = receiver.wait_for(|it| !it.established).await;
    assert_eq!(status.heard.notifications, [], "a router without power says nothing");
}

#[tokio::test]
async fn a_route_that_cannot_be_sent_is_refused() {
    let (sender, _receiver) = pair(|_| {}, 0);
    let to_v6 = Attributes::new("2001:db8::1".parse().unwrap(), &[65100]);
    let long_path = Attributes::new([192, 0, 2, 1].into(), &[65100; 1000]);
    for (attributes, why) in [(to_v6, "other address family"), (long_path, "at most 4000 fit")] {
        let route = Route::new(prefixes(1)[0], &Arc::new(attributes));
        let error = sender.announce(vec![route]).await.unwrap_err();
        assert!(matches!(error, AnnounceError::Route(_)));
        assert!(error.to_string().contains(why), "{error}");
    }
}
