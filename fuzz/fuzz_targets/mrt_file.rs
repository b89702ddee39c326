//! An MRT file that an operator gives to `mcc bgp replay`: read, written again, and put through the
//! decoder, the accept rules and the table.
//!
//! Input: one byte that chooses the neighbors, then the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcc_bgp::mrt::{Body, Reader, Replay, ReplaySettings};
use mcc_bgp::rib::RouteQuery;
use mcc_config::{DynamicNeighbors, Neighbor};

const EXTERNAL: &str = r#"{"address": "192.0.2.1", "asn": 65100, "local_asn": 65200}"#;
const INTERNAL: &str = r#"{"address": "192.0.2.1", "asn": 65100}"#;
/// Judges the peers of the file that are not the neighbor.
const RANGE: &str = r#"{"prefix": "0.0.0.0/0"}"#;

fuzz_target!(|input: &[u8]| {
    let [options, file @ ..] = input else { return };
    let neighbor = if options & 1 == 0 { EXTERNAL } else { INTERNAL };
    let neighbor: Neighbor = serde_json::from_str(neighbor).expect("a neighbor");
    let range: DynamicNeighbors = serde_json::from_str(RANGE).expect("a range");
    let by_range = options & 4 != 0;
    let settings = ReplaySettings {
        rules_of: (!by_range).then_some(neighbor.address),
        neighbors: vec![neighbor],
        dynamic: if by_range { vec![range] } else { vec![] },
        router_id: [192, 0, 2, 10].into(),
        ipv6: options & 2 != 0,
        ebgp_requires_rules: false,
        manual: vec![],
        only_peer: None,
    };
    let mut replay = Replay::new(settings).expect("good settings");
    let mut reader = Reader::new(file);
    let mut last = 0;
    while let Some(record) = reader.next() {
        match record {
            Ok((offset, record)) => {
                replay.record(offset, &record);
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                if !matches!(record.body, Body::Other { .. }) {
                    let mut again = Reader::new(bytes.as_slice());
                    let (_, again) = again.next().expect("a record").expect("a good record");
                    assert_eq!(again, record);
                }
            }
            Err(error) => {
                error.to_string();
                replay.malformed_record(&error);
            }
        }
        assert!(reader.offset() >= last, "it goes forward");
        last = reader.offset();
    }
    assert!(last <= file.len() as u64);
    let report = replay.report();
    for peer in &report.peers {
        assert_eq!(peer.received, peer.accepted + peer.rejected.values().sum::<u32>());
    }
    let _page = replay.routes(&RouteQuery::default());
});
