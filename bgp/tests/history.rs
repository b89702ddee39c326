//! What the speaker remembers and shows of its sessions, with a router that says odd things.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mcc_bgp::mrt::{Body, Reader};
use mcc_bgp::session::State;
use mcc_bgp::speaker::{
    CommandError, Direction, Observation, Observed, Speaker, SpeakerHandle, SpeakerSettings,
    TapSubscription,
};
use mcc_bgp::wire::{Capability, Disposition, Family, Notification, Open, Outgoing};
use mcc_config::{Asn, Neighbor};
use support::{AS_PATH, NEXT_HOP, PREFIX, update_message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const ASN: u32 = 65100;
/// Long enough for any machine; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn speaker(router: SocketAddr) -> Speaker {
    let neighbor = Neighbor {
        port: router.port(),
        max_prefixes: 1000,
        ..Neighbor::new(router.ip(), Asn::new(ASN).unwrap())
    };
    Speaker::start(SpeakerSettings {
        neighbors: vec![neighbor],
        ..SpeakerSettings::new(Ipv4Addr::new(10, 0, 0, 5))
    })
    .unwrap()
}

/// A router that says what the test wants.
struct OddRouter(TcpStream);

impl OddRouter {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        Self(stream)
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn open(&mut self) -> Vec<u8> {
        let open = Outgoing::Open(Open {
            asn: ASN,
            hold_time: 90,
            bgp_id: Ipv4Addr::new(10, 0, 0, 1),
            capabilities: vec![
                Capability::Multiprotocol(Family::IPV4_UNICAST),
                Capability::FourOctetAs(ASN),
            ],
        })
        .encode();
        self.say(&open).await;
        self.say(&Outgoing::Keepalive.encode()).await;
        open
    }

    /// Until the speaker hangs up: it has heard everything by then.
    async fn listen(mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut heard)).await.unwrap().unwrap();
        heard
    }
}

/// ORIGIN 7, which does not exist.
fn odd_update() -> Vec<u8> {
    let attributes = [&[0x40, 1, 1, 7], AS_PATH, NEXT_HOP].concat();
    update_message(&[], &attributes, PREFIX)
}

async fn until(tap: &mut TapSubscription, wanted: impl Fn(&Observed) -> bool) -> Vec<Observation> {
    let mut seen = Vec::new();
    loop {
        let next = timeout(PATIENCE, tap.next()).await;
        let next = next.unwrap_or_else(|_| panic!("it never came after {seen:#?}")).unwrap();
        let is_last = wanted(&next.what);
        seen.push(next);
        if is_last {
            return seen;
        }
    }
}

/// One session: a malformed UPDATE, an End-of-RIB, then a NOTIFICATION.
async fn odd_session(
    handle: &SpeakerHandle,
    listener: &TcpListener,
) -> (Vec<Observation>, Vec<u8>) {
    let mut tap = handle.tap(None).unwrap();
    let mut router = OddRouter::accept(listener).await;
    let open = router.open().await;
    let mut seen = until(&mut tap, |what| matches!(what, Observed::Established(_))).await;
    let session = &handle.established()[0];
    assert_eq!(session.received_open, open);
    assert_eq!(session.connection.remote, listener.local_addr().unwrap());
    assert!(session.context.four_octet_as);
    let timers = handle.neighbor(listener.local_addr().unwrap().ip()).await.unwrap().timers;
    assert_eq!(timers.keepalive, Some(30));
    assert!(timers.hold_remaining.unwrap() > timers.keepalive_remaining.unwrap(), "{timers:?}");
    assert_eq!(timers.retry_remaining, None);
    router.say(&odd_update()).await;
    router.say(&Outgoing::EndOfRib(Family::IPV4_UNICAST).encode()).await;
    let farewell = Notification::administrative_shutdown(Some("maintenance"));
    router.say(&Outgoing::Notification(farewell).encode()).await;
    let ended = |what: &Observed| matches!(what, Observed::State { from: State::Established, .. });
    seen.extend(until(&mut tap, ended).await);
    (seen, router.listen().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_did_is_told_in_words() {
    let listener = TcpListener::bind("127.0.0.31:0").await.unwrap();
    let address = listener.local_addr().unwrap().ip();
    let speaker = speaker(listener.local_addr().unwrap());
    let handle = speaker.handle();
    let (seen, heard) = odd_session(&handle, &listener).await;

    // Every message was observed, with its bytes, in order.
    let messages = |wanted: Direction| {
        let bytes = seen.iter().filter_map(move |seen| match &seen.what {
            Observed::Message { direction, bytes, .. } if *direction == wanted => Some(bytes),
            _ => None,
        });
        bytes.flat_map(|bytes| bytes.to_vec()).collect::<Vec<_>>()
    };
    assert!(
        messages(Direction::Received).ends_with(
            &Outgoing::Notification(Notification::administrative_shutdown(Some("maintenance")))
                .encode()
        )
    );
    // The tap may have been opened after our OPEN went out.
    assert!(heard.ends_with(&messages(Direction::Sent)), "{heard:?}");

    // What was captured reads as what was said.
    let mut capture = Vec::new();
    seen.iter().filter_map(Observation::record).for_each(|record| record.encode(&mut capture));
    let mut reader = Reader::new(&*capture);
    let (mut said, mut states) = (Vec::<u8>::new(), Vec::new());
    while let Some(record) = reader.next() {
        match record.unwrap().1.body {
            Body::Message(message) if !message.local => {
                assert_eq!((message.ends.peer, message.ends.peer_asn), (address, ASN));
                assert!(message.four_octet_as && !message.add_path);
                said.extend(message.bytes);
            }
            Body::Message(_) => {}
            Body::StateChange(change) => states.push(change.to),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, messages(Direction::Received));
    assert_eq!(states.last(), Some(&3), "Active at last, to let the router in: {states:?}");

    let history = &handle.history(Some(address)).unwrap()[0];
    let states: Vec<_> =
        history.states.iter().take(5).map(|change| (change.to, change.reason.as_str())).collect();
    assert_eq!(
        states,
        [
            (State::Connect, "dialling the router"),
            (State::OpenSent, "connected to the router; our OPEN is sent"),
            (State::OpenConfirm, "the router's OPEN is good"),
            (State::Established, "the router's KEEPALIVE has come"),
            (
                State::Active,
                "the router closed the session: Cease / Administrative Shutdown: maintenance (6/2)"
            ),
        ]
    );
    let messages: Vec<_> = history
        .messages
        .iter()
        .filter(|message| message.direction == Direction::Received)
        .map(|message| (message.kind, message.text.as_str()))
        .collect();
    assert_eq!(
        messages,
        [
            (
                "OPEN",
                "AS 65100, hold time 90 s, identifier 10.0.0.1; capabilities: ipv4-unicast, four-octet-as (65100)"
            ),
            ("End-of-RIB", "ipv4-unicast"),
            ("NOTIFICATION", "Cease / Administrative Shutdown: maintenance"),
        ]
    );
    assert_eq!(history.messages[0].direction, Direction::Sent);
    assert!(history.messages[0].text.starts_with("AS 65100, hold time 90 s, identifier 10.0.0.5"));

    let malformed = handle.malformed(Some(address)).unwrap();
    assert_eq!((malformed.last.len(), malformed.total), (1, 1));
    let odd = &malformed.last[0];
    assert_eq!((odd.disposition, odd.prefixes), (Disposition::TreatAsWithdraw, Some(1)));
    assert_eq!(odd.example, Some("198.51.100.0/24".parse().unwrap()));
    let fault = &odd.faults[0];
    assert_eq!((fault.attribute.as_deref(), fault.offset), (Some("ORIGIN"), 23));
    assert_eq!(fault.rule, Some("RFC 7606 §7.1"));
    assert_eq!(odd.bytes, odd_update());
    assert_eq!(handle.malformed(None).unwrap(), malformed);
    assert!(
        seen.iter().any(|seen| matches!(&seen.what, Observed::Malformed(found) if found == odd))
    );

    // Routes of a lost session are dumped as those of the router that they came from.
    let table = handle.dump(None, "view").unwrap().next().await.unwrap().unwrap();
    let mut records = Reader::new(&*table);
    let Body::PeerIndexTable(peers) = records.next().unwrap().unwrap().1.body else {
        panic!("the table has no head")
    };
    assert_eq!(peers.peers[0].bgp_id, Ipv4Addr::new(10, 0, 0, 1));

    let status = &handle.status().neighbors[0];
    let received = status.messages.received;
    assert_eq!((received.open, received.keepalive, received.notification), (1, 1, 1));
    assert_eq!((received.update, status.updates_treated_as_withdraw), (2, 1));
    assert_eq!(status.messages_received, received.total());

    let stranger = IpAddr::from([192, 0, 2, 7]);
    for error in [handle.history(Some(stranger)).err(), handle.tap(Some(stranger)).err()] {
        assert!(matches!(error, Some(CommandError::UnknownNeighbor { .. })), "{error:?}");
    }
    let mut tap = handle.tap(Some(address)).unwrap();
    speaker.shutdown(None).await;
    while timeout(PATIENCE, tap.next()).await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_kept_too() {
    let listener = TcpListener::bind("127.0.0.32:0").await.unwrap();
    let speaker = speaker(listener.local_addr().unwrap());
    let handle = speaker.handle();
    let mut tap = handle.tap(None).unwrap();
    let mut router = OddRouter::accept(&listener).await;
    router.say(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    until(&mut tap, |what| matches!(what, Observed::Malformed(_))).await;
    let malformed = handle.malformed(None).unwrap().last;
    assert_eq!(malformed[0].disposition, Disposition::SessionReset);
    assert_eq!(&malformed[0].bytes[..], b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(malformed[0].faults[0].reason, "the marker is not all ones (RFC 4271 §4.1)");
    assert_eq!(malformed[0].prefixes, None);
    assert_eq!(handle.status().neighbors[0].malformed_resets, 1);
    router.listen().await;
}

/// What comes before its time ends the session as an FSM error (RFC 6608). Nobody can say what is wrong
/// in it, since nothing was agreed on.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_before_its_time_is_unexpected_and_not_malformed() {
    let end_of_rib = Outgoing::EndOfRib(Family::IPV4_UNICAST).encode();
    let open = Outgoing::Open(Open {
        asn: ASN,
        hold_time: 90,
        bgp_id: Ipv4Addr::new(10, 0, 0, 1),
        capabilities: vec![Capability::FourOctetAs(ASN)],
    })
    .encode();
    // With AS numbers of four octets, which nobody has agreed on, and cut off.
    let (odd, cut) = (odd_update(), update_message(&[], &[0x40, 14, 9], &[]));
    for (number, says, ended_in) in [
        (32, end_of_rib.clone(), State::OpenSent),
        (33, odd.clone(), State::OpenSent),
        (34, cut.clone(), State::OpenSent),
        (35, [&open[..], &end_of_rib].concat(), State::OpenConfirm),
        (36, [&open[..], &odd].concat(), State::OpenConfirm),
        (37, [&open[..], &cut].concat(), State::OpenConfirm),
    ] {
        let here = SocketAddr::from(([127, 0, 0, number], 0));
        let listener = TcpListener::bind(here).await.unwrap();
        let address = listener.local_addr().unwrap().ip();
        let speaker = speaker(listener.local_addr().unwrap());
        let handle = speaker.handle();
        let mut tap = handle.tap(None).unwrap();
        let mut router = OddRouter::accept(&listener).await;
        router.say(&says).await;
        let over = |what: &Observed| matches!(what, Observed::State { from, error: Some(_), .. } if *from == ended_in);
        until(&mut tap, over).await;

        let status = &handle.status().neighbors[0];
        let error = &status.last_error.as_ref().unwrap().error;
        let subcode = if ended_in == State::OpenSent { 1 } else { 2 };
        assert_eq!((error.code, error.subcode), (Some(5), Some(subcode)), "{error}");
        assert_eq!(handle.malformed(Some(address)).unwrap().total, 0);
        assert_eq!(
            (
                status.updates_with_discarded_attributes,
                status.updates_treated_as_withdraw,
                status.malformed_resets
            ),
            (0, 0, 0)
        );
        let messages = &handle.history(Some(address)).unwrap()[0].messages;
        let last = &messages[messages.len() - 1];
        assert_eq!((last.direction, last.kind), (Direction::Sent, "NOTIFICATION"));
        speaker.shutdown(None).await;
    }
}
