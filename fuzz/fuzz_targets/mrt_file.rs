//! A recorded table or log (MRT) on its way through `mcc bgp replay`: reader, codec, accept rules
//! and RIB.
//!
//! Input: the file.

#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use mcc_bgp::mrt::{Reader, Replay, ReplaySettings};
use mcc_config::{Asn, Neighbor};

fuzz_target!(|file: &[u8]| {
    let router = Neighbor::new(Ipv4Addr::new(192, 0, 2, 1).into(), Asn::new(65100).unwrap());
    let settings = ReplaySettings {
        rules_of: Some(router.address),
        neighbors: vec![router],
        router_id: Ipv4Addr::new(192, 0, 2, 10),
        ebgp_requires_rules: false,
        ipv6: true,
        manual: vec![],
        only_peer: None,
    };
    let mut replay = Replay::new(settings).unwrap();
    let mut reader = Reader::new(file);
    while let Some(read) = reader.next() {
        match read {
            Ok((offset, record)) => replay.record(offset, &record),
            Err(error) => replay.malformed_record(&error),
        }
    }
    let report = replay.report();
    for peer in &report.peers {
        assert_eq!(peer.received, peer.accepted + peer.rejected.values().sum::<u32>());
    }
});
