//! Neighbors that are this node itself: what only the machine knows of its addresses.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Result, bail};
use mcc_config::NodeConfig;

/// Whether `address` is one of this machine's: only then can a socket be bound to it.
pub(super) fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Refuses a neighbor at whose address and port the node itself would answer.
pub(super) fn check(config: &NodeConfig) -> Result<()> {
    let Some(bgp) = &config.bgp else { return Ok(()) };
    for (i, neighbor) in bgp.neighbors.iter().enumerate() {
        if let Some(listen) = bgp.reached_by_dialling(neighbor, is_own) {
            let address = neighbor.address;
            bail!(
                "bgp.neighbor[{i}].address: {address} is an address of this machine, where the node itself \
                 listens (`bgp.listen` has {listen}); put the router's address there"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_this_machine_is_own() {
        assert!(is_own(IpAddr::from([127, 0, 0, 1])));
        // Reserved: no machine has it.
        assert!(!is_own(IpAddr::from([240, 0, 0, 1])));
    }
}
