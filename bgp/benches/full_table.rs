//! What a full table costs without sockets and tasks: framing and decoding, and the RIB, each by
//! itself. For whoever works on one of them; `bench/bgp/bench.py table` measures the whole program
//! beside its peers.
//!
//!     bench/bgp/bench.py stream --out updates.bin
//!     cargo bench -p mcc-bgp --bench full_table -- updates.bin
//!
//! The file holds UPDATEs as they come on the wire, of a neighbor with four-octet AS numbers.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use mcc_bgp::policy::{AcceptPolicy, Identity, PolicyError};
use mcc_bgp::rib::{ExportRules, NeighborId, NeighborRules, PrefixLimit, Rib, SessionEvent};
use mcc_bgp::wire::{
    DecodeContext, FamilyOptions, MAX_MESSAGE, Message, NeighborKind, decode, frame,
};
use mcc_config::{AcceptRules, MaxPrefixesAction};

/// Bytes that a session reads at once, and hands over as one batch.
const READ: usize = 16 << 10;
const RUNS: usize = 10;

const CONTEXT: DecodeContext = DecodeContext {
    neighbor: NeighborKind::External,
    four_octet_as: true,
    ipv4_unicast: Some(FamilyOptions { add_path: false, ipv6_next_hop: false }),
    ipv6_unicast: None,
    enhanced_route_refresh: true,
};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let Some(file) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        println!("needs a file of UPDATEs: see the head of bgp/benches/full_table.rs");
        return Ok(());
    };
    let stream = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
    for _ in 0..RUNS {
        run(&stream)?;
    }
    Ok(())
}

fn run(stream: &[u8]) -> Result<(), PolicyError> {
    let now = Instant::now();
    let mut rib = rib(now)?;
    let (mut decoding, mut handling) = (Duration::ZERO, Duration::ZERO);
    let mut left = stream;
    while !left.is_empty() {
        let start = cpu_time();
        let mut batch = Vec::with_capacity(READ / 64);
        left = decode_some(left, &mut batch);
        let decoded = cpu_time();
        rib.handle_all(NeighborId(0), &batch, now, |notice| {
            black_box(notice);
        });
        drop(batch);
        decoding += decoded - start;
        handling += cpu_time() - decoded;
    }
    let counting = cpu_time();
    rib.count_addresses();
    let counting = cpu_time() - counting;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{} prefixes, {} attribute sets: decoding {:.0} ms, RIB {:.0} ms, counting addresses {:.1} ms",
        rib.summary().footprint.prefixes(),
        rib.summary().attribute_sets,
        ms(decoding),
        ms(handling),
        ms(counting),
    );
    Ok(())
}

/// What this thread has had of a processor (Linux): whatever else the machine does.
fn cpu_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedstat.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// As much as one read brings.
fn decode_some<'a>(stream: &'a [u8], batch: &mut Vec<SessionEvent>) -> &'a [u8] {
    let mut left = stream;
    while stream.len() - left.len() < READ {
        let Ok(Some(message)) = frame(left, MAX_MESSAGE) else { return &[] };
        left = left.get(message.len()..).unwrap_or_default();
        if let Ok(Message::Update(update)) = decode(message, &CONTEXT) {
            batch.push(SessionEvent::Update(update));
        }
    }
    left
}

fn rib(now: Instant) -> Result<Rib, PolicyError> {
    let identity = Identity {
        local_asn: 65002,
        remote_asn: 65001,
        router_id: Ipv4Addr::new(127, 0, 9, 1),
        role: None,
    };
    let accept = AcceptRules { enforce_first_as: false, ..AcceptRules::default() };
    let neighbor = NeighborRules {
        address: IpAddr::from([127, 0, 9, 2]),
        asn: identity.remote_asn,
        prefix_limit: PrefixLimit {
            limit: 2_000_000,
            action: MaxPrefixesAction::Restart,
            rest: Duration::from_secs(60),
        },
        stale_time: Duration::from_secs(300),
        policy: AcceptPolicy::from_rules(&accept, identity)?,
    };
    Ok(Rib::new(vec![neighbor], &[], ExportRules::default(), now))
}
