//! Routers over loopback: two, each the other's proof, and one with bare messages.

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

use bytes::{Buf, BytesMut};
use ipnet::IpNet;
use mcc_announcer::{AnnounceError, Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_bgp::wire::{
    Capability, DecodeContext, Family, FamilyOptions, MAX_MESSAGE, Message, NeighborKind, Open,
    Outgoing, RouteRefreshKind, Update, decode, frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// A listener of bare messages: what goes over the wire, in order.
#[tokio::test]
async fn a_route_refresh_is_answered_between_markers() {
    let listen = Endpoint::Listen(([127, 0, 0, 1], 0).into());
    let settings = RouterSettings::new(listen, 65100, Ipv4Addr::new(192, 0, 2, 1));
    let router = Router::start(settings, routes(3)).unwrap();
    let mut stream = TcpStream::connect(router.local_addr().unwrap()).await.unwrap();
    let open = Open {
        asn: 65100,
        hold_time: 0,
        bgp_id: Ipv4Addr::new(192, 0, 2, 2),
        capabilities: vec![
            Capability::FourOctetAs(65100),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
        ],
    };
    let request = Outgoing::RouteRefreshRequest(Family::IPV4_UNICAST);
    for message in [Outgoing::Open(open.clone()), Outgoing::Keepalive, request] {
        stream.write_all(&message.encode()).await.unwrap();
    }
    let context = DecodeContext {
        neighbor: NeighborKind::Internal,
        four_octet_as: true,
        ipv4_unicast: Some(FamilyOptions::default()),
        ..DecodeContext::default()
    };
    let mut buffer = BytesMut::new();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "end of refresh") {
        assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "{seen:?}");
        while let Some(frame) = frame(&buffer, MAX_MESSAGE).unwrap() {
            seen.push(match decode(frame, &context).unwrap() {
                Message::Open(_) => "open".to_owned(),
                Message::Keepalive => "keepalive".to_owned(),
                Message::Update(Update { end_of_rib: Some(_), .. }) => "end of rib".to_owned(),
                Message::Update(update) => format!("{} routes", update.announced.len()),
                Message::Notification(notification) => notification.to_string(),
                Message::RouteRefresh(refresh) => match refresh.kind {
                    RouteRefreshKind::BeginningOfRefresh => "beginning of refresh".to_owned(),
                    RouteRefreshKind::EndOfRefresh => "end of refresh".to_owned(),
                    other => format!("{other:?}"),
                },
            });
            let length = frame.len();
            buffer.advance(length);
        }
    }
    let expected =
        ["open", "3 routes", "end of rib", "beginning of refresh", "3 routes", "end of refresh"];
    seen.retain(|message| message != "keepalive");
    assert_eq!(seen, expected);

    let heard = router.status().heard;
    assert_eq!((heard.open, heard.route_refreshes, heard.prefixes), (Some(open), 1, 0));
}
