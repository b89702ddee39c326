//! TCP MD5 and TTL security, between sockets of this machine.

use std::net::Ipv6Addr;

use mcc_config::Secret;
use socket2::SockRef;

use super::*;
use crate::session::State;
use crate::speaker::authentication::Authentication;
use crate::speaker::tcp_hops::Hops;

/// Of each family.
const HERE: [IpAddr; 2] = [LOOPBACK, IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Of one neighbor without a password.
fn with(neighbor: IpAddr, hops: Hops) -> TcpSettings {
    TcpSettings { neighbors: neighbor.into(), authentication: Authentication::None, hops }
}

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
        let secure = with(here, Hops::Security(1));
        let listener = socket::listen((here, 0).into(), std::slice::from_ref(&secure)).unwrap();
        let target = listener.local_addr().unwrap();
        let dial = |tcp| socket::dial(DialSettings { target, source: None, tcp });

        // The SYN: who dials later, from next door, is there first.
        let mut far = std::pin::pin!(dial(with(here, Hops::Multihop(64))));
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
        let dial = |hops| {
            socket::dial(DialSettings {
                target,
                source: Some(source),
                tcp: with(target.ip(), hops),
            })
        };
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
        let secure = with(here, Hops::Security(1));
        let listener = socket::listen((here, 0).into(), std::slice::from_ref(&secure)).unwrap();
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
