//! TCP MD5 and TTL security, between sockets of this machine.

use std::net::Ipv6Addr;

use mcc_config::Secret;
use socket2::SockRef;

use super::*;
use crate::speaker::authentication::Authentication;
use crate::speaker::tcp_hops::Hops;

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

        // Only one side has it.
        let (accepted, dialled) = tokio::join!(listener.accept(), dial(with(Hops::Multihop(254))));
        let (mut accepted, from) = accepted.unwrap();
        socket::accepted(&accepted, from.ip(), Hops::Security(1)).unwrap();
        let dialled = dialled.unwrap();
        assert_eq!(ttl(&dialled), 254);
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
