#![expect(clippy::disallowed_types, reason = "the router that the session is tested with")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mcc_announcer::{Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_config::{Asn, Secret};
use tokio::io::AsyncReadExt;

use super::rib_task::Batch;
use super::*;
use crate::rib::SessionEvent;

const ASN: u32 = 65100;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn neighbor(address: SocketAddr) -> Neighbor {
    let neighbor = Neighbor::new(address.ip(), Asn::new(ASN).unwrap());
    Neighbor { port: address.port(), hold_time: 3, ..neighbor }
}

/// A session task alone, with a RIB that is played by the test.
struct Session {
    batches: mpsc::Receiver<Batch>,
    commands: mpsc::Sender<Command>,
    _incoming: mpsc::Sender<tokio::net::TcpStream>,
    _over_limit: watch::Sender<u64>,
}

fn session(target: SocketAddr) -> Session {
    // Full from the beginning: even the news that the session is up has to wait.
    let (batch_sender, batches) = mpsc::channel(1);
    let full = Batch { neighbor: NeighborId(0), session: 0, events: vec![] };
    batch_sender.try_send(full).unwrap();
    let (commands, command_receiver) = mpsc::channel(1);
    let (incoming, incoming_receiver) = mpsc::channel(1);
    let (over_limit, limit_receiver) = watch::channel(0);
    let setup = SessionSetup {
        id: NeighborId(0),
        settings: PeerSettings::from_config(&neighbor(target), OURS, false),
        max_prefixes: 100_000,
        dial: DialSettings { target, source: None, key: None },
        board: Arc::new(SessionBoard::new(neighbor(target), Instant::now())),
        incoming: incoming_receiver,
        commands: command_receiver,
        batches: batch_sender,
        over_limit: limit_receiver,
        closing: TaskTracker::new(),
    };
    tokio::spawn(SessionTask::new(setup).run());
    Session { batches, commands, _incoming: incoming, _over_limit: over_limit }
}

/// The hold time is three seconds, and for longer than that the RIB takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_rib_that_takes_nothing_costs_no_session_and_no_route() {
    let prefixes: BTreeSet<IpNet> =
        (0..500).map(|i| format!("8.{}.{}.0/24", i / 250, i % 250).parse().unwrap()).collect();
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let routes = prefixes.iter().map(|&prefix| Route::new(prefix, &attributes)).collect();
    let endpoint = Endpoint::Listen(SocketAddr::from((LOOPBACK, 0)));
    let settings = RouterSettings::new(endpoint, ASN, Ipv4Addr::new(10, 0, 0, 1));
    let router = Router::start(settings, routes).unwrap();

    let mut session = session(router.local_addr().unwrap());
    // A KEEPALIVE a second at most: it has been up for longer than the hold time.
    let alive = router.wait_for(|status| status.heard.keepalives >= 6);
    let status = timeout(Duration::from_secs(60), alive).await.unwrap();
    assert_eq!((status.sessions, status.established), (1, true));
    assert!(status.heard.notifications.is_empty());

    let mut learned = BTreeSet::new();
    while learned.len() < prefixes.len() {
        for event in session.batches.recv().await.unwrap().events {
            match event {
                SessionEvent::Update(update) => {
                    learned.extend(update.announced.iter().map(|nlri| nlri.prefix));
                }
                SessionEvent::Up => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(learned, prefixes);
    session.commands.send(Command::Shutdown(None)).await.unwrap();
    let heard = router.wait_for(|status| !status.heard.notifications.is_empty()).await.heard;
    assert_eq!(heard.notifications[0].to_string(), "Cease / Administrative Shutdown");
}

#[tokio::test]
async fn a_signed_connection_reaches_a_listener_with_the_same_key() {
    let key = Secret::new("s3cret".to_owned());
    let listener = socket::listen(SocketAddr::from((LOOPBACK, 0)), &[(LOOPBACK, key.clone())]);
    let listener = match listener {
        Ok(listener) => listener,
        // A kernel without TCP MD5; `Password` says so to the operator.
        Err(ListenError::Key(_, error)) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    let target = listener.local_addr().unwrap();
    let dial = socket::dial(DialSettings { target, source: None, key: Some(key) });
    let (accepted, dialled) = tokio::join!(listener.accept(), dial);
    let (mut accepted, _) = accepted.unwrap();
    dialled.unwrap().try_write(b"signed").unwrap();
    let mut bytes = [0; 6];
    accepted.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"signed");
}

#[tokio::test]
async fn a_password_that_is_too_long_is_an_error() {
    let long = Neighbor {
        password: Some(Secret::new("x".repeat(81))),
        ..neighbor(SocketAddr::from((LOOPBACK, 179)))
    };
    let settings = SpeakerSettings {
        router_id: OURS,
        listen: vec![SocketAddr::from((LOOPBACK, 0))],
        neighbors: vec![long],
        manual: vec![],
        ipv6: false,
        ebgp_requires_rules: false,
        export: ExportRules::default(),
        last_good: None,
    };
    let error = Speaker::start(settings).unwrap_err();
    let StartError::Password { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("at most 80 bytes"), "{source}");
}
