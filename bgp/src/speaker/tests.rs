#![expect(clippy::disallowed_types, reason = "the router that the session is tested with")]

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use mcc_announcer::{Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_config::{Asn, Secret};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::authentication::Authentication;
use super::link::Link;
use super::member::Incoming;
use super::recorder::SessionRecorder;
use super::rib_task::{Batch, ToRib};
use super::session_task::{SessionSetup, SessionTask};
use super::socket::DialSettings;
use super::status::{SessionBoard, SessionSnapshot};
use super::tcp_hops::Hops;
use super::*;
use crate::rib::{NeighborSummary, SessionEvent};
use crate::session::{PeerSettings, State};
use crate::wire::{Capability, Open, Outgoing};
use tokio::sync::{oneshot, watch};

const ASN: u32 = 65100;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn neighbor(address: SocketAddr) -> Neighbor {
    let neighbor = Neighbor::new(address.ip(), Asn::new(ASN).unwrap());
    Neighbor { port: address.port(), hold_time: 3, ..neighbor }
}

/// A session task alone, with a RIB that is played by the test.
struct Session {
    events: mpsc::Receiver<ToRib>,
    commands: mpsc::Sender<Command>,
    incoming: mpsc::Sender<Incoming>,
    board: Arc<SessionBoard>,
    _over_limit: watch::Sender<u64>,
}

fn session(target: SocketAddr) -> Session {
    // Full from the beginning: even the news that the session is up has to wait.
    let (to_rib, events) = mpsc::channel(1);
    let full = Batch { neighbor: NeighborId(0), session: 0, events: vec![] };
    to_rib.try_send(ToRib::Batch(full)).unwrap();
    let (commands, command_receiver) = mpsc::channel(1);
    let (incoming, incoming_receiver) = mpsc::channel(1);
    let (over_limit, limit_receiver) = watch::channel(0);
    let board = Arc::new(SessionBoard::new(neighbor(target), None, Instant::now()));
    let setup = SessionSetup {
        id: NeighborId(0),
        settings: PeerSettings::from_config(&neighbor(target), OURS, false),
        max_prefixes: 100_000,
        dial: DialSettings { target, source: None, tcp: TcpSettings::of(&neighbor(target)) },
        board: Arc::clone(&board),
        tap: Tap::new(),
        incoming: incoming_receiver,
        commands: command_receiver,
        to_rib,
        over_limit: limit_receiver,
        closing: TaskTracker::new(),
    };
    tokio::spawn(SessionTask::new(setup).run());
    Session { events, commands, incoming, board, _over_limit: over_limit }
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
        let ToRib::Batch(batch) = session.events.recv().await.unwrap() else { panic!() };
        for event in batch.events {
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

/// A router without a mind of its own: reads our OPEN and answers with its own and a KEEPALIVE.
async fn answer_open(stream: &mut TcpStream, capabilities: Vec<Capability>) {
    let mut message = [0; 4096];
    stream.read_exact(&mut message[..19]).await.unwrap();
    let length = usize::from(u16::from_be_bytes([message[16], message[17]]));
    stream.read_exact(&mut message[19..length]).await.unwrap();
    assert_eq!(message[18], 1, "an OPEN");
    let open = Open { asn: ASN, hold_time: 90, bgp_id: Ipv4Addr::new(10, 0, 0, 1), capabilities };
    stream.write_all(&Outgoing::Open(open).encode()).await.unwrap();
    stream.write_all(&Outgoing::Keepalive.encode()).await.unwrap();
}

/// RFC 8654 §4: who has said that it takes long messages must take them from everyone.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_takes_no_long_messages_may_send_them() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let mut session = session(listener.local_addr().unwrap());
    let (mut router, _) = listener.accept().await.unwrap();
    answer_open(&mut router, vec![Capability::FourOctetAs(ASN)]).await;
    let attributes: &[u8] =
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1, 0x40, 5, 4, 0, 0, 0, 100];
    let nlri: Vec<u8> = (0..2000_u16).flat_map(|i| [24, 8, (i >> 8) as u8, i as u8]).collect();
    let length = u16::try_from(19 + 4 + attributes.len() + nlri.len()).unwrap();
    let mut update = vec![0xff; 16];
    update.extend(length.to_be_bytes());
    update.extend([2, 0, 0, 0, u8::try_from(attributes.len()).unwrap()]);
    update.extend(attributes.iter().chain(&nlri));
    router.write_all(&update).await.unwrap();
    let mut learned = 0;
    while learned < 2000 {
        let ToRib::Batch(batch) = session.events.recv().await.unwrap() else { panic!() };
        for event in batch.events {
            match event {
                SessionEvent::Update(update) => learned += update.announced.len(),
                SessionEvent::Up => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Of each family.
const HERE: [IpAddr; 2] = [LOOPBACK, IpAddr::V6(Ipv6Addr::LOCALHOST)];

#[tokio::test]
async fn a_signed_connection_reaches_a_listener_with_the_same_key() {
    for here in HERE {
        let key = Secret::new("s3cret".to_owned());
        let tcp = TcpSettings {
            neighbors: IpNet::new(here, 8).unwrap().trunc(),
            authentication: Authentication::Md5(key),
            hops: Hops::System,
        };
        let listener = socket::listen(SocketAddr::from((here, 0)), std::slice::from_ref(&tcp));
        let listener = match listener {
            Ok(listener) => listener,
            // A kernel without TCP MD5; `Password` says so to the operator.
            Err(ListenError::Key(_, error)) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                return;
            }
            Err(error) => panic!("{error:?}"),
        };
        let target = listener.local_addr().unwrap();
        let dial = socket::dial(DialSettings { target, source: None, tcp });
        let (accepted, dialled) = tokio::join!(listener.accept(), dial);
        let (mut accepted, _) = accepted.unwrap();
        dialled.unwrap().try_write(b"signed").unwrap();
        let mut bytes = [0; 6];
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"signed");
    }
}

#[tokio::test]
async fn a_password_that_is_too_long_is_an_error() {
    let long = Neighbor {
        password: Some(Secret::new("x".repeat(81))),
        ..neighbor(SocketAddr::from((LOOPBACK, 179)))
    };
    let settings = SpeakerSettings {
        listen: vec![SocketAddr::from((LOOPBACK, 0))],
        neighbors: vec![long],
        ..SpeakerSettings::new(OURS)
    };
    let error = Speaker::start(settings).unwrap_err();
    let StartError::Password { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("at most 80 bytes"), "{source}");
}

/// Waits for the counter of /proc/net/netstat to leave `before`.
async fn wait_for_min_ttl_drop(before: u64) {
    let wait = async {
        while min_ttl_drops() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.unwrap();
}

fn min_ttl_drops() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut tables = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (tables.next().unwrap(), tables.next().unwrap());
    let mut all = names.split_whitespace().zip(numbers.split_whitespace());
    let found = all.find(|(name, _)| *name == "TCPMinTTLDrop");
    found.map_or(0, |(_, number)| number.parse().unwrap())
}

/// What a socket sends with.
fn ttl(stream: &TcpStream) -> u32 {
    let socket = SockRef::from(stream);
    match stream.local_addr().unwrap() {
        SocketAddr::V4(_) => socket.ttl_v4().unwrap(),
        SocketAddr::V6(_) => socket.unicast_hops_v6().unwrap(),
    }
}

fn set_ttl(stream: &TcpStream, ttl: u8) {
    let socket = SockRef::from(stream);
    match stream.local_addr().unwrap() {
        SocketAddr::V4(_) => socket.set_ttl_v4(ttl.into()).unwrap(),
        SocketAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()).unwrap(),
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// RFC 5082 §3: who is far away and sends all that a session needs in its first flight gets nothing
/// in. Loopback delivers at once, so what is dropped is dropped when the call returns.
#[tokio::test]
async fn ttl_security_holds_before_a_connection_is_accepted() {
    for here in HERE {
        let with = |hops| TcpSettings {
            neighbors: here.into(),
            authentication: Authentication::None,
            hops,
        };
        let secure = with(Hops::Security(1));
        let address = SocketAddr::from((here, 0));
        let listener = socket::listen(address, std::slice::from_ref(&secure)).unwrap();
        let target = listener.local_addr().unwrap();
        let dial = |tcp| socket::dial(DialSettings { target, source: None, tcp });

        // The SYN: who dials later, from next door, is there first.
        let mut far = std::pin::pin!(dial(with(Hops::Multihop(64))));
        assert!(poll_once(far.as_mut()).is_pending());
        let near = dial(secure.clone()).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from, near.local_addr().unwrap());

        // What follows a SYN from next door.
        let near = dial(secure.clone()).await.unwrap();
        set_ttl(&near, 64);
        near.try_write(b"OPEN").unwrap();
        let (mut accepted, from) = listener.accept().await.unwrap();
        assert_eq!(from, near.local_addr().unwrap());
        socket::accepted(&accepted, from.ip(), Hops::Security(1)).unwrap();
        let mut bytes = [0; 4];
        assert_eq!(accepted.try_read(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // It was the TTL alone: TCP sends the same again.
        set_ttl(&near, 255);
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"OPEN");
    }
}

/// The same from outside, beside a neighbor that may be anywhere, and with neighbors that come from a
/// prefix.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_established_from_too_far_away() {
    let secure = |address: IpAddr| Neighbor {
        passive: true,
        ttl_security: Some(1),
        ..neighbor(SocketAddr::from((address, 179)))
    };
    let far_or_near = Neighbor { ttl_security: None, ..secure(IpAddr::from([127, 0, 1, 2])) };
    let dynamic = DynamicNeighbors {
        ttl_security: Some(1),
        ..DynamicNeighbors::new("127.0.2.0/24".parse().unwrap())
    };
    let settings = SpeakerSettings {
        listen: HERE.map(|here| SocketAddr::from((here, 0))).to_vec(),
        neighbors: vec![secure(LOOPBACK), secure(HERE[1]), far_or_near],
        dynamic: vec![dynamic],
        ipv6: true,
        ..SpeakerSettings::new(OURS)
    };
    let speaker = Speaker::start(settings).unwrap();
    let handle = speaker.handle();
    let state = |address: IpAddr| {
        let neighbors = handle.status().neighbors;
        neighbors.into_iter().find(|it| it.address == address).map(|it| it.state)
    };
    for (source, needs_it) in
        [("127.0.0.1", true), ("::1", true), ("127.0.1.2", false), ("127.0.2.7", true)]
    {
        let source: IpAddr = source.parse().unwrap();
        let target = speaker.local_addrs()[usize::from(source.is_ipv6())];
        let tcp = |hops| TcpSettings {
            neighbors: target.ip().into(),
            authentication: Authentication::None,
            hops,
        };
        let dial =
            |hops| socket::dial(DialSettings { target, source: Some(source), tcp: tcp(hops) });
        let mut far = std::pin::pin!(dial(Hops::Multihop(64)));
        assert!(!needs_it || poll_once(far.as_mut()).is_pending(), "{source}");
        // The handshake is done with a good TTL, and nothing else.
        let mut router = dial(Hops::Multihop(if needs_it { 255 } else { 64 })).await.unwrap();
        set_ttl(&router, 64);
        let open = Open {
            asn: ASN,
            hold_time: 90,
            bgp_id: Ipv4Addr::new(10, 0, 0, 1),
            capabilities: vec![Capability::FourOctetAs(ASN)],
        };
        let mut flight = Outgoing::Open(open).encode().to_vec();
        flight.extend_from_slice(&Outgoing::Keepalive.encode());
        router.try_write(&flight).unwrap();
        if needs_it {
            let before = min_ttl_drops();
            wait_for_min_ttl_drop(before).await;
            assert_ne!(state(source), Some(State::Established), "{source}");
            set_ttl(&router, 255);
        }
        // Its own OPEN and KEEPALIVE, which come for good ones only.
        let established = async {
            while state(source) != Some(State::Established) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(60), established).await.unwrap();
        let mut message = [0; 19];
        router.read_exact(&mut message).await.unwrap();
        assert!(
            !needs_it || poll_once(far.as_mut()).is_pending(),
            "{source}: who is far away waits"
        );
    }
    speaker.shutdown(None).await;
}

#[tokio::test]
async fn ttl_security_drops_what_has_come_too_far_and_takes_what_has_not() {
    for here in HERE {
        let with = |hops| TcpSettings {
            neighbors: here.into(),
            authentication: Authentication::None,
            hops,
        };
        let secure = with(Hops::Security(1));
        let address = SocketAddr::from((here, 0));
        let listener = socket::listen(address, std::slice::from_ref(&secure)).unwrap();
        let target = listener.local_addr().unwrap();
        let dial = |tcp| socket::dial(DialSettings { target, source: None, tcp });

        // Both sides have it: the answer to the SYN already comes with 255.
        let (accepted, dialled) = tokio::join!(listener.accept(), dial(secure.clone()));
        let (mut accepted, from) = accepted.unwrap();
        socket::accepted(&accepted, from.ip(), Hops::Security(1)).unwrap();
        let dialled = dialled.unwrap();
        assert_eq!((ttl(&dialled), ttl(&accepted)), (255, 255));
        dialled.try_write(b"near").unwrap();
        let mut bytes = [0; 4];
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"near");

        // Only one side has it any more.
        let (accepted, dialled) = tokio::join!(listener.accept(), dial(secure.clone()));
        let (mut accepted, from) = accepted.unwrap();
        socket::accepted(&accepted, from.ip(), Hops::Security(1)).unwrap();
        let dialled = dialled.unwrap();
        set_ttl(&dialled, 254);
        let before = min_ttl_drops();
        dialled.try_write(b"far!").unwrap();
        wait_for_min_ttl_drop(before).await;
        assert_eq!(accepted.try_read(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // One hop further is what two hops of security allow.
        socket::accepted(&accepted, from.ip(), Hops::Security(2)).unwrap();
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"far!");
    }
}

/// A connection with hardly any room on the way from the first to the second end.
fn narrow_connection() -> (TcpStream, TcpStream) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    let (listener, router) = (socket(), socket());
    listener.bind(&SocketAddr::from((LOOPBACK, 0)).into()).unwrap();
    listener.listen(1).unwrap();
    // The kernel makes its least of it.
    router.set_recv_buffer_size(1).unwrap();
    router.connect(&listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_send_buffer_size(1).unwrap();
    let stream = |socket: Socket| {
        socket.set_nonblocking(true).unwrap();
        TcpStream::from_std(socket.into()).unwrap()
    };
    (stream(ours), stream(router))
}

/// RFC 9687: only a neighbor that takes nothing for all of the time is given up.
#[tokio::test]
async fn a_write_that_stalls_ends_the_link() {
    let (ours, mut router) = narrow_connection();
    let neighbor = neighbor(SocketAddr::from((LOOPBACK, 179)));
    let settings = PeerSettings::from_config(&neighbor, OURS, false);
    let board = Arc::new(SessionBoard::new(neighbor, None, Instant::now()));
    let recorder = Arc::new(SessionRecorder::new(board, Tap::new(), OURS)).link(&ours);
    let mut link = Link::new(ours, &settings, recorder);
    let mut now = Instant::now();
    let fill = |link: &mut Link, now| {
        while link.stalls_at().is_none() {
            link.send(&Outgoing::Keepalive, now);
        }
    };
    fill(&mut link, now);
    let first = link.stalls_at().unwrap();
    // One that reads slowly is no dead one.
    let mut bytes = [0; 4096];
    while link.stalls_at() == Some(first) {
        tokio::select! {
            read = router.read(&mut bytes) => assert!(read.unwrap() > 0),
            ready = link.ready(false) => {
                ready.unwrap();
                now += Duration::from_secs(1);
                link.flush(now);
            }
        }
    }
    fill(&mut link, now);
    let second = link.stalls_at().unwrap();
    assert!(second > first);
    link.check_stall(second - Duration::from_millis(1));
    assert_eq!(link.broken(), None);
    link.check_stall(second);
    assert!(link.broken().unwrap().contains("RFC 9687"), "{:?}", link.broken());
}

/// The hold time of the session is three seconds. The router is alive by what it sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_reads_nothing_loses_its_session() {
    let nobody = SocketAddr::from((LOOPBACK, 1));
    let mut session = session(nobody);
    let (ours, mut router) = narrow_connection();
    session.incoming.send(Incoming { stream: ours, read: BytesMut::new() }).await.unwrap();
    answer_open(&mut router, vec![Capability::FourOctetAs(ASN), Capability::RouteRefresh]).await;
    let (_not_read, mut writer) = router.into_split();
    let alive = tokio::spawn(async move {
        while writer.write_all(&Outgoing::Keepalive.encode()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let (commands, mut ask) = (session.commands.clone(), true);
    let ended = async {
        loop {
            tokio::select! {
                Some(ToRib::Batch(batch)) = session.events.recv() => {
                    let down = |event: &SessionEvent| matches!(event, SessionEvent::Down(_));
                    if batch.events.iter().any(down) {
                        return;
                    }
                }
                // It has little to say by itself.
                () = async {
                    let (reply, answer) = oneshot::channel();
                    let asked = commands.send(Command::Refresh(reply)).await.is_ok();
                    ask = asked && answer.await.is_ok();
                    tokio::task::yield_now().await;
                }, if ask => {}
            }
        }
    };
    timeout(Duration::from_secs(60), ended).await.unwrap();
    let error = session.board.snapshot().last_error.unwrap().error;
    assert!(error.text.contains("RFC 9687"), "{error}");
    alive.abort();
}

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
    snapshot.state = State::OpenSent;
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

async fn wait_for(handle: &SpeakerHandle, what: impl Fn(&SpeakerStatus) -> bool) -> SpeakerStatus {
    let wait = async {
        while !what(&handle.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        handle.status()
    };
    let waited = timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("it never came: {:#?}", handle.status()))
}

fn router_at(speaker: &Speaker, last: u8, asn: u32) -> Router {
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let route = Route::new(format!("8.{last}.0.0/16").parse().unwrap(), &attributes);
    let source = Some(IpAddr::from([127, 0, 8, last]));
    let endpoint = Endpoint::Dial { peer: speaker.local_addrs()[0], source };
    let settings = RouterSettings::new(endpoint, asn, Ipv4Addr::new(10, 0, 0, last));
    Router::start(settings, vec![route]).unwrap()
}

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
            && s.neighbors.iter().filter(|n| n.state == State::Established).count() == 2
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
