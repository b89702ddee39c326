//! For how long one call holds the task of the RIB, with a full table: to be run by hand, optimised.
//!
//!     cargo test --release -p mcc-bgp --lib pauses -- --ignored --nocapture

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use mcc_config::MaxPrefixesAction;

use super::tests::rules;
use super::{ExportRules, NeighborId, NeighborRules, Rib, SessionEvent};
use crate::session::Retention;
use crate::testing::{attributes, set};
use crate::wire::{Family, Nlri, NlriList, Update};

const PREFIXES: u32 = 1_000_000;
const A: NeighborId = NeighborId(0);

fn nlri(i: u32) -> Nlri {
    let address = Ipv4Addr::from_bits(0x0b00_0000 + (i << 8));
    Nlri { prefix: ipnet::Ipv4Net::new(address, 24).unwrap().into(), path_id: 0 }
}

/// The table in UPDATEs of four prefixes, a set each.
fn updates(first: u32, count: u32) -> Vec<Update> {
    let update = |i: u32| Update {
        announced: (i..i + 4).map(nlri).collect::<NlriList>(),
        attributes: Some(set(&attributes(&[64500, i + 1]))),
        ..Update::default()
    };
    (first..first + count).step_by(4).map(update).collect()
}

/// The longest of the calls and all of them together.
fn time<T>(what: &str, calls: impl IntoIterator<Item = T>, mut call: impl FnMut(T)) {
    let (mut longest, mut all, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    for item in calls {
        let began = Instant::now();
        call(item);
        let took = began.elapsed();
        longest = longest.max(took);
        all += took;
        count += 1;
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what:44} {count:8} calls {:9.1} ms, longest {:8.3} ms", ms(all), ms(longest));
}

/// A RIB with one neighbor that has the full table and others with one prefix each.
fn full(others: u16) -> Rib {
    let now = Instant::now();
    let limit = |last| {
        let rules = rules(last, PREFIXES + 10);
        let prefix_limit =
            super::PrefixLimit { action: MaxPrefixesAction::KeepLastGood, ..rules.prefix_limit };
        NeighborRules { prefix_limit, ..rules }
    };
    let neighbors = (0..=others).map(|i| limit(u8::try_from(i % 250).unwrap())).collect();
    let mut rib = Rib::new(neighbors, &[], ExportRules { max_change: 0, damping: true }, now);
    for id in 1..=others {
        let update = Update {
            announced: std::iter::once(nlri(u32::from(id) * 1999)).collect(),
            attributes: Some(set(&attributes(&[64500]))),
            ..Update::default()
        };
        rib.handle(NeighborId(id), &SessionEvent::Update(update), now);
    }
    time(&format!("announce all, {others} others"), updates(0, PREFIXES), |update| {
        rib.handle(A, &SessionEvent::Update(update), now);
    });
    rib
}

/// Sweeps until nothing is due.
fn sweep(what: &str, rib: &mut Rib, now: Instant) {
    let slices = (0..).take(1000);
    time(what, slices, |_| {
        if rib.next_deadline().is_some_and(|at| at <= now) {
            rib.handle_timeout(now);
        }
    });
}

#[test]
#[ignore = "measures"]
fn pauses() {
    let now = Instant::now();
    let mut rib = full(0);
    sweep("count the addresses", &mut rib, now + Duration::from_secs(10));
    let mut pages = vec![None];
    while let Some(after) = rib.snapshot_page(*pages.last().unwrap()).next {
        pages.push(Some(after));
    }
    let id = rib.subscribe();
    time("snapshot, page by page", pages, |after| drop(rib.snapshot_page(after)));
    let end_of_rib = Some(Family::IPV4_UNICAST);
    let end = Update { end_of_rib, ..Update::default() };
    time("End-of-RIB", [end], |end| {
        rib.handle(A, &SessionEvent::Update(end), now);
    });
    time("flood", updates(PREFIXES, 12), |update| {
        rib.handle(A, &SessionEvent::Update(update), now);
    });
    time("end of the flood", [()], |()| {
        rib.handle(A, &SessionEvent::Down(Retention::Withdraw), now);
    });
    sweep("sweep of the flood", &mut rib, now);
    time("session back and table again", updates(0, PREFIXES), |update| {
        rib.handle(A, &SessionEvent::Update(update), now);
    });
    time("session lost", [()], |()| {
        rib.handle(A, &SessionEvent::Down(Retention::keep(Duration::ZERO)), now);
    });
    sweep("sweep after stale_time", &mut rib, now + Duration::from_secs(3600));
    time("changes, as a subscriber takes them", 0..150, |_| drop(rib.take_changes(&id, 8192)));

    let mut rib = full(0);
    for i in 0..15 {
        rib.handle(A, &SessionEvent::Down(Retention::keep(Duration::ZERO)), now);
        rib.handle(A, &SessionEvent::Update(updates(i * 4, 4).remove(0)), now);
    }
    time("free all numbers of generations", [()], |()| rib.free_generations(A, now));
    let mut rib = full(0);
    time("neighbor with a full table leaves", [()], |()| rib.neighbor_leaves(A, now));
    let mut rib = full(500);
    rib.handle(A, &SessionEvent::Down(Retention::Withdraw), now);
    sweep("withdraw all, 500 others", &mut rib, now);
}
