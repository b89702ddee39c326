//! The sockets of a speaker: how they listen, dial and are set up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use mcc_config::{DynamicNeighbors, Neighbor};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::authentication::Authentication;
use super::tcp_hops::{self, Hops};
use super::ttl_filter;

/// Connections that wait to be accepted: more than there are neighbors.
const BACKLOG: i32 = 128;

/// What the operator says of the connections with a neighbor, or with all of a prefix.
#[derive(Debug, Clone)]
pub(super) struct TcpSettings {
    /// The neighbor's address, or where the neighbors are.
    pub(super) neighbors: IpNet,
    pub(super) authentication: Authentication,
    pub(super) hops: Hops,
}

impl TcpSettings {
    pub(super) fn of(neighbor: &Neighbor) -> Self {
        Self {
            neighbors: neighbor.address.into(),
            authentication: Authentication::of(neighbor.password.as_ref()),
            hops: Hops::of(neighbor.multihop, neighbor.ttl_security),
        }
    }

    pub(super) fn of_dynamic(dynamic: &DynamicNeighbors) -> Self {
        Self {
            neighbors: dynamic.prefix.trunc(),
            authentication: Authentication::of(dynamic.password.as_ref()),
            hops: Hops::of(dynamic.multihop, dynamic.ttl_security),
        }
    }
}

/// Where and how to dial a neighbor.
#[derive(Debug, Clone)]
pub(super) struct DialSettings {
    pub(super) target: SocketAddr,
    /// The address to dial from; `None`: the system's choice.
    pub(super) source: Option<IpAddr>,
    pub(super) tcp: TcpSettings,
}

/// Why there is no listener.
#[derive(Debug)]
pub(super) enum ListenError {
    /// Of the address itself.
    Listen(io::Error),
    /// Of the password for these neighbors.
    Key(IpNet, io::Error),
    /// Of the filter for neighbors with TTL security, which are so many.
    TtlFilter(usize, io::Error),
}

/// Listens on `address` for the neighbors of `tcp`, whose connections must be as it says.
pub(super) fn listen(address: SocketAddr, tcp: &[TcpSettings]) -> Result<TcpListener, ListenError> {
    let socket = tcp_socket(address).map_err(ListenError::Listen)?;
    let is_ipv4 = |net: IpNet| net.addr().is_ipv4();
    let here = || tcp.iter().filter(|tcp| is_ipv4(tcp.neighbors) == address.is_ipv4());
    for tcp in here() {
        let applied = tcp.authentication.apply(&socket, tcp.neighbors);
        applied.map_err(|error| ListenError::Key(tcp.neighbors, error))?;
    }
    let secure = here().filter(|tcp| tcp.hops.least_ttl().is_some()).count();
    ttl_filter::attach(&socket, &here().collect::<Vec<_>>(), address.is_ipv4())
        .map_err(|error| ListenError::TtlFilter(secure, error))?;
    let listen = || {
        if secure > 0 {
            tcp_hops::answer_with_the_longest(&socket, address.ip())?;
        }
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(ListenError::Listen)
}

/// Dials a neighbor.
pub(super) async fn dial(settings: DialSettings) -> io::Result<TcpStream> {
    let DialSettings { target, source, tcp } = settings;
    let socket = tcp_socket(target)?;
    tcp.authentication.apply(&socket, target.ip().into())?;
    tcp.hops.apply(&socket, target.ip())?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(target).await
}

/// Sets up a connection that `neighbor` has dialled. It has inherited its key from the listener, and
/// the filter that kept off what came from too far away until now.
pub(super) fn accepted(stream: &TcpStream, neighbor: IpAddr, hops: Hops) -> io::Result<()> {
    let socket = SockRef::from(stream);
    hops.apply(&socket, neighbor)?;
    ttl_filter::detach(&socket);
    Ok(())
}

/// What a session wants of its connection, dialled or accepted.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // A KEEPALIVE must not wait for more to send.
    stream.set_nodelay(true)?;
    // For sessions with hold time 0: nothing else would ever notice a dead neighbor.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// The address to dial `neighbor` from: ours, if we listen on exactly one of its family and that is
/// a certain one. A router takes a session only from the address that it is configured with.
pub(super) fn source_address(listen: &[SocketAddr], neighbor: IpAddr) -> Option<IpAddr> {
    let mut ours = listen.iter().map(SocketAddr::ip).filter(|a| a.is_ipv4() == neighbor.is_ipv4());
    let (address, more) = (ours.next()?, ours.next());
    let reaches = !address.is_loopback() || neighbor.is_loopback();
    (more.is_none() && !address.is_unspecified() && reaches).then_some(address)
}

/// A failed dial in words, without the number that `io::Error` adds.
pub(super) fn dial_error(dial: &DialSettings, error: &io::Error) -> String {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied,
    };
    let target = dial.target;
    match (error.kind(), dial.source) {
        (ConnectionRefused, _) => format!(
            "{target} refused the connection: does the router run BGP, with this node as neighbor?"
        ),
        (AddrNotAvailable, Some(source)) => {
            format!("cannot dial {target} from {source}: this node does not have that address")
        }
        (HostUnreachable, _) => format!(
            "{target} cannot be reached: no host answers there, or a firewall says so on the way"
        ),
        (NetworkUnreachable, _) => {
            format!("{target} cannot be reached: this node has no route to it")
        }
        (PermissionDenied, _) => {
            format!("this node's own firewall forbids it to connect to {target}")
        }
        _ => format!("cannot connect to {target}: {}", without_number(error)),
    }
}

/// What to do about a failed dial, where it is this node that has to be looked at.
pub(super) fn dial_advice(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => Some(
            "`source` of the neighbor, or without it the one address of `bgp.listen`, must be an \
             address of this node: `ip address` lists them",
        ),
        _ => None,
    }
}

/// What the system says, without the number of the error, which tells an operator nothing.
pub(super) fn without_number(error: &io::Error) -> String {
    let mut text = error.to_string();
    if error.raw_os_error().is_some()
        && let Some(number) = text.rfind(" (os error")
    {
        text.truncate(number);
    }
    text
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_dials_say_what_to_look_at() {
        let neighbor: IpAddr = "192.0.2.1".parse().unwrap();
        let tcp = TcpSettings {
            neighbors: neighbor.into(),
            authentication: Authentication::None,
            hops: Hops::System,
        };
        let source = Some("192.0.2.10".parse().unwrap());
        let target = SocketAddr::new(neighbor, 179);
        let dial = DialSettings { target, source, tcp };
        for (number, text) in [
            (libc::ECONNREFUSED, "192.0.2.1:179 refused the connection: does the router run BGP"),
            (libc::EADDRNOTAVAIL, "from 192.0.2.10: this node does not have that address"),
            (libc::EHOSTUNREACH, "no host answers there"),
            (libc::ENETUNREACH, "this node has no route to it"),
            (libc::EACCES, "own firewall"),
            (libc::ENOBUFS, "cannot connect to 192.0.2.1:179: No buffer space available"),
        ] {
            let words = dial_error(&dial, &io::Error::from_raw_os_error(number));
            assert!(words.contains(text) && !words.contains("os error"), "{words}");
        }
    }

    #[test]
    fn who_has_not_the_source_address_is_told_of_the_key() {
        let advice = |number| dial_advice(&io::Error::from_raw_os_error(number));
        assert!(advice(libc::EADDRNOTAVAIL).unwrap().contains("`source` of the neighbor"));
        assert_eq!(advice(libc::ECONNREFUSED), None);
    }

    #[test]
    fn dials_from_the_one_address_that_it_listens_on() {
        let source = |listen: &[&str], neighbor: &str| {
            let listen: Vec<_> = listen.iter().map(|text| text.parse().unwrap()).collect();
            source_address(&listen, neighbor.parse().unwrap()).map(|address| address.to_string())
        };
        let ours = Some("192.0.2.10".to_owned());
        assert_eq!(source(&["192.0.2.10:179"], "192.0.2.1"), ours);
        assert_eq!(source(&["192.0.2.10:179", "[2001:db8::1]:179"], "192.0.2.1"), ours);
        assert_eq!(source(&["192.0.2.10:179", "192.0.2.11:179"], "192.0.2.1"), None);
        assert_eq!(source(&["0.0.0.0:179"], "192.0.2.1"), None);
        assert_eq!(source(&["127.0.0.1:179"], "192.0.2.1"), None);
        assert_eq!(source(&["127.0.0.5:179"], "127.0.0.1"), Some("127.0.0.5".to_owned()));
        assert_eq!(source(&[], "192.0.2.1"), None);
    }
}
