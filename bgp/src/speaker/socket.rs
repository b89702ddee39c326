//! The sockets of a speaker: how they listen, dial and are set up.
//!
//! The time to live is left as the system has it. RFC 4271 does not ask for 1 between ASes, and a
//! node is often several hops from the router, on a loopback address or behind a firewall.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcc_config::Secret;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::tcp_md5;

/// Connections that wait to be accepted: more than there are neighbors.
const BACKLOG: i32 = 128;

/// Who signs with which key.
pub(super) type Keys<'a> = &'a [(IpAddr, Secret)];

/// Where and how to dial a neighbor.
#[derive(Debug, Clone)]
pub(super) struct DialSettings {
    pub(super) target: SocketAddr,
    /// The address to dial from; `None`: the system's choice.
    pub(super) source: Option<IpAddr>,
    pub(super) key: Option<Secret>,
}

/// Why there is no listener.
#[derive(Debug)]
pub(super) enum ListenError {
    /// Of the address itself.
    Listen(io::Error),
    /// Of the password for this neighbor.
    Key(IpAddr, io::Error),
}

/// Listens on `address`; connections from the neighbors in `keys` must be signed.
pub(super) fn listen(address: SocketAddr, keys: Keys<'_>) -> Result<TcpListener, ListenError> {
    let socket = tcp_socket(address).map_err(ListenError::Listen)?;
    for (neighbor, key) in keys.iter().filter(|(n, _)| n.is_ipv4() == address.is_ipv4()) {
        tcp_md5::set_key(&socket, *neighbor, key).map_err(|e| ListenError::Key(*neighbor, e))?;
    }
    let listen = || {
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
    let DialSettings { target, source, key } = settings;
    let socket = tcp_socket(target)?;
    if let Some(key) = key {
        tcp_md5::set_key(&socket, target.ip(), &key)?;
    }
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(target).await
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

/// A failed dial in words.
pub(super) fn dial_error(target: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "{target} refused the connection: does the router run BGP, with this node as neighbor?"
        ),
        _ => format!("cannot connect to {target}: {error}"),
    }
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
