//! Free ports on this host.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

/// Ports handed out already: two tests of this process never get the same one.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address on loopback with a TCP port that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    free_port_at(Ipv4Addr::LOCALHOST)
}

/// `address` with a TCP port that nobody listens on there.
///
/// # Panics
/// The host has no such address, or no free port.
pub(crate) fn free_port_at(address: Ipv4Addr) -> SocketAddr {
    let mut taken = TAKEN.lock().unwrap();
    // Held until one is found, so that the system offers another each time.
    let mut offers = Vec::new();
    loop {
        let offer = TcpListener::bind((address, 0)).unwrap();
        let free = offer.local_addr().unwrap();
        if taken.insert(free.port()) {
            return free;
        }
        offers.push(offer);
    }
}
