//! TCP MD5 signatures (RFC 2385), as Linux offers them.
//!
//! The key belongs to an address and is set on a listening socket before `listen` and on a dialling
//! one before `connect`; connections that the listener accepts inherit it. Segments without the
//! right signature vanish in the kernel without a trace: the other side sees no answer at all. Only
//! the counters of [`tcp_refused`](super::tcp_refused) tell of them.
#![expect(unsafe_code, reason = "setsockopt with TCP_MD5SIG has no safe wrapper")]

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use mcc_config::Secret;
use socket2::Socket;

/// `TCP_MD5SIG_FLAG_PREFIX` of linux/tcp.h: the key is one for all addresses of a prefix.
const FLAG_PREFIX: u8 = 1;

const KEY_LENGTH: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C, align(8))]
struct TcpMd5Sig {
    address: [u8; size_of::<libc::sockaddr_storage>()],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; KEY_LENGTH],
}

/// Makes the kernel sign what `socket` sends to any address of `neighbors` and check what comes from
/// there. Of several keys for an address the one with the longest prefix counts.
///
/// # Errors
/// A key of more than 80 bytes, or what the kernel says: a kernel without `CONFIG_TCP_MD5SIG`
/// says "protocol not available".
pub(super) fn set_key(socket: &Socket, neighbors: IpNet, key: &Secret) -> io::Result<()> {
    let bytes = key.expose().as_bytes();
    // A host's key is set the older way, which all kernels have.
    let is_host = neighbors.prefix_len() == neighbors.max_prefix_len();
    let name = if is_host { libc::TCP_MD5SIG } else { libc::TCP_MD5SIG_EXT };
    let mut option = TcpMd5Sig {
        address: socket_address(neighbors.addr()),
        flags: if is_host { 0 } else { FLAG_PREFIX },
        prefix_length: if is_host { 0 } else { neighbors.prefix_len() },
        key_length: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
        interface: 0,
        key: [0; KEY_LENGTH],
    };
    let Some(place) = option.key.get_mut(..bytes.len()) else {
        let message = format!("a TCP MD5 password has at most {KEY_LENGTH} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    place.copy_from_slice(bytes);
    let length = libc::socklen_t::try_from(size_of::<TcpMd5Sig>()).unwrap_or_default();
    // SAFETY: the file descriptor is open as long as `socket` is borrowed; the pointer and the
    // length describe `option`, which is laid out as the kernel's struct and outlives the call, and
    // the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            name,
            (&raw const option).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `address` as a `sockaddr_in` or `sockaddr_in6` with port 0: the kernel keeps keys by address.
fn socket_address(address: IpAddr) -> [u8; size_of::<libc::sockaddr_storage>()] {
    let (family, at, octets): (_, usize, Vec<u8>) = match address {
        IpAddr::V4(address) => (libc::AF_INET, 4, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, 8, address.octets().to_vec()),
    };
    let family = libc::sa_family_t::try_from(family).unwrap_or_default().to_ne_bytes();
    let mut bytes = [0; size_of::<libc::sockaddr_storage>()];
    let fields = family.into_iter().enumerate().chain((at..).zip(octets));
    for (index, byte) in fields {
        if let Some(place) = bytes.get_mut(index) {
            *place = byte;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_kernel() {
        assert_eq!(size_of::<TcpMd5Sig>(), 216);
        assert_eq!(std::mem::offset_of!(TcpMd5Sig, key), 136);
        let bytes = socket_address(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(bytes[..8], [2, 0, 0, 0, 192, 0, 2, 1]);
        let bytes = socket_address("2001:db8::1".parse().unwrap());
        assert_eq!(bytes[..12], [10, 0, 0, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8]);
    }
}
