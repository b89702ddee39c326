//! How the segments of a connection are authenticated, for dialled and accepted ones alike.

use std::io;

use ipnet::IpNet;
use mcc_config::Secret;
use socket2::Socket;

use super::tcp_md5;

/// What the neighbor and we sign with.
///
/// TCP-AO (RFC 5925) has its place here. Linux has it from 6.7 on, if built with `CONFIG_TCP_AO`,
/// which few distributions do: the socket option `TCP_AO_ADD_KEY` with `struct tcp_ao_add` of
/// linux/tcp.h, for each pair of key identifiers, before `listen` and before `connect`, as with MD5;
/// a kernel without it answers `ENOPROTOOPT`. One address cannot have keys of both kinds.
#[derive(Debug, Clone, Default)]
pub(super) enum Authentication {
    /// Nothing is signed.
    #[default]
    None,
    /// TCP MD5 signatures (RFC 2385) with this key.
    Md5(Secret),
}

impl Authentication {
    pub(super) fn of(password: Option<&Secret>) -> Self {
        password.cloned().map_or(Self::None, Self::Md5)
    }

    /// Sets `socket` up before it listens or connects, for connections with any of `neighbors`.
    ///
    /// # Errors
    /// A key that is too long, or that the system does not take.
    pub(super) fn apply(&self, socket: &Socket, neighbors: IpNet) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Md5(key) => tcp_md5::set_key(socket, neighbors, key),
        }
    }
}
