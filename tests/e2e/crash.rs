//! A node that is killed again and again in the middle of fills, evictions and purges: no byte that
//! it ever sends is wrong, and what was purged stays purged.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use serde_json::json;

use crate::support::computed_origin::{ComputedOrigin, Download, HOST, download};
use crate::support::http;
use crate::support::node::{Node, Setup};

const ROUNDS: u64 = 8;
const CLIENTS: u64 = 4;
/// Several times what the drive holds.
const OBJECTS: u64 = 60;
const LARGEST: u64 = 12 << 20;

/// What is known of an object's versions.
#[derive(Default)]
struct Purged {
    /// By path: no older version than this may be served any more.
    oldest: Mutex<HashMap<String, u64>>,
}

impl Purged {
    fn oldest(&self, path: &str) -> u64 {
        self.oldest.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

/// What the loop has seen.
#[derive(Debug, Default)]
struct Tally {
    whole: AtomicU64,
    hits: AtomicU64,
    bytes: AtomicU64,
    broken: AtomicU64,
    purges: AtomicU64,
}

#[test]
fn no_byte_is_wrong_however_often_the_node_is_killed() {
    let origin = ComputedOrigin::start();
    let mut setup = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &origin.section());
    setup.drive.1 = "64MiB";
    let mut node = setup.start();
    let (purged, tally) = (Purged::default(), Tally::default());
    for round in 0..ROUNDS {
        // So many downloads after its start it is killed: early and late, with and without a
        // checkpoint in between.
        let until = 5 + number(round, 1) % 120;
        load(&node, &origin, &purged, &tally, round, until);
        let (setup, stopped) = node.kill();
        node = setup.start_in(stopped.folder);
    }
    // What is left on the drive, all of it.
    for n in 0..OBJECTS {
        let path = path(n);
        let got = download(node.setup.http, &path, None, purged.oldest(&path));
        assert!(matches!(got, Download::Whole { .. }), "{path}: {got:?}");
        note(&tally, &got);
    }
    println!("{ROUNDS} kills; {tally:?}");
    assert!(tally.hits.load(Ordering::Relaxed) > 0, "nothing was ever served from the drive");
}

/// Clients download and compare, an operator renews and purges, until `until` downloads are done.
fn load(
    node: &Node,
    origin: &ComputedOrigin,
    purged: &Purged,
    tally: &Tally,
    round: u64,
    until: u64,
) {
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (enough, wait) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (done, over, enough) = (&done, &over, enough.clone());
            let address = node.setup.http;
            scope.spawn(move || {
                for step in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let seed = number(round * CLIENTS + client, step);
                    note(tally, &one_download(address, purged, seed));
                    if done.fetch_add(1, Ordering::Relaxed) + 1 == until {
                        enough.send(()).unwrap();
                    }
                    if seed.is_multiple_of(16) {
                        renew_and_purge(node, origin, purged, tally, number(seed, 9));
                    }
                }
            });
        }
        wait.recv().unwrap();
        over.store(true, Ordering::Relaxed);
        // In the middle of what the clients are doing.
        node.process.signal(rustix::process::Signal::KILL);
    });
}

fn one_download(address: SocketAddr, purged: &Purged, seed: u64) -> Download {
    let n = number(seed, 2) % OBJECTS;
    let path = path(n);
    let length = length(n);
    let first = number(seed, 3) % length;
    let range = (!seed.is_multiple_of(3)).then(|| (first, 1 + number(seed, 4) % (length - first)));
    let oldest = purged.oldest(&path);
    download(address, &path, range, oldest)
}

/// New content at the origin; and once the node says that the old one is gone, it is.
fn renew_and_purge(
    node: &Node,
    origin: &ComputedOrigin,
    purged: &Purged,
    tally: &Tally,
    seed: u64,
) {
    let path = path(seed % OBJECTS);
    let version = origin.renew(&path);
    let url = format!("http://{}/v1/cache/purge", node.setup.admin);
    let answer = http::post(&url, &[], &json!({ "url": format!("{HOST}{path}") }));
    if answer.is_ok_and(|answer| answer.status == 200) {
        tally.purges.fetch_add(1, Ordering::Relaxed);
        let mut oldest = purged.oldest.lock().unwrap();
        let known = oldest.entry(path).or_default();
        *known = version.max(*known);
    }
}

fn note(tally: &Tally, got: &Download) {
    match got {
        Download::Whole { bytes, cache_status, .. } => {
            tally.whole.fetch_add(1, Ordering::Relaxed);
            tally.bytes.fetch_add(*bytes, Ordering::Relaxed);
            tally.hits.fetch_add(u64::from(cache_status.ends_with("hit")), Ordering::Relaxed);
        }
        Download::Broken { bytes } => {
            tally.broken.fetch_add(1, Ordering::Relaxed);
            tally.bytes.fetch_add(*bytes, Ordering::Relaxed);
        }
        Download::Refused(status) => panic!("refused with {status}"),
    }
}

fn path(n: u64) -> String {
    format!("/object/{n}-{}", length(n))
}

/// From a byte to [`LARGEST`], small ones as likely as large ones.
fn length(n: u64) -> u64 {
    let most = LARGEST >> (number(n, 5) % 20);
    1 + number(n, 6) % most
}

/// The `step`th number that follows from `seed`.
fn number(seed: u64, step: u64) -> u64 {
    let mut word =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xd1b5_4a32_d192_ed03);
    word ^= word >> 32;
    word = word.wrapping_mul(0xd6e8_feb8_6659_fd93);
    word ^ (word >> 32)
}
