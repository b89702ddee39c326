//! A RIB that takes nothing, and routers that do not.

use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::*;
use crate::speaker::link::Link;
use crate::speaker::recorder::SessionRecorder;

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

/// Everything is on one thread here: who watches sees something in between only if the RIB lets it.
#[tokio::test]
async fn others_run_while_the_routes_of_a_lost_session_are_swept() {
    const ROUTES: u32 = 200_000;
    let range = DynamicNeighbors {
        stale_time: 0,
        max_prefixes: 2 * ROUTES,
        ..DynamicNeighbors::new("127.0.8.0/24".parse().unwrap())
    };
    let settings = SpeakerSettings {
        listen: vec![SocketAddr::from((LOOPBACK, 0))],
        dynamic: vec![range],
        ..SpeakerSettings::new(OURS)
    };
    let speaker = Speaker::start_with(settings, Duration::from_secs(86_400)).unwrap();
    let handle = speaker.handle();
    let router = router_at(&speaker, 1, ASN);
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let prefix =
        |i: u32| ipnet::Ipv4Net::new(Ipv4Addr::from_bits((9 << 24) + (i << 8)), 24).unwrap();
    let routes = (0..ROUTES).map(|i| Route::new(prefix(i).into(), &attributes)).collect();
    router.announce(routes).await.unwrap();
    let received =
        |status: &SpeakerStatus| status.neighbors.iter().map(|n| n.received).sum::<u32>();
    wait_for(&handle, |status| received(status) == ROUTES + 1).await;
    router.close(None).await;
    let mut seen = BTreeSet::new();
    while !seen.contains(&0) {
        seen.insert(received(&handle.status()));
        tokio::task::yield_now().await;
    }
    assert!(seen.len() > 4, "{seen:?}");
    speaker.shutdown(None).await;
}
