//! Bodies of the advertisement protocol, as a node sends them to the control plane.
//!
//! Input: a byte that chooses the encoding and whether IPv6 is on, then the body.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The folder, not the crate: the protocol needs neither the database nor HTTP, and a fuzz build
// does not have to compile them.
#[path = "../../control/src/feed/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports)]
mod feed;

use feed::body::{self, Body};
use feed::{Answer, BodyLimits, Change, Encoding, Head, Receiver, VERSION, Verdict};

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let encoding = if choice & 1 == 0 { Encoding::Identity } else { Encoding::Zstd };
    let limits = BodyLimits {
        compressed_bytes: 64 << 10,
        decompressed_bytes: 1 << 20,
        line_bytes: 64 << 10,
        routes: 10_000,
    };
    let body = match body::read(bytes, encoding, &limits) {
        Ok(body) => body,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let (head, changes) = match &body {
        Body::Claim { .. } => return,
        Body::Snapshot { position, routes } => {
            let head = Head::Snapshot {
                version: VERSION,
                session: position.session,
                serial: position.serial,
                digest: position.digest,
                routes: routes.len() as u64,
            };
            (head, routes.iter().cloned().map(Change::Present).collect::<Vec<_>>())
        }
        Body::Delta { from, position, changes } => {
            let head = Head::Delta {
                version: VERSION,
                session: position.session,
                from: *from,
                to: position.serial,
                digest: position.digest,
            };
            (head, changes.clone())
        }
    };
    assert!(changes.is_sorted_by(|a, b| a.prefix() < b.prefix()));

    // What was read is written and read as the same.
    let limits = BodyLimits { decompressed_bytes: 16 << 20, ..limits };
    let written = body::write(&head, changes).expect("memory");
    assert_eq!(body::read(&written, Encoding::Zstd, &limits).expect("our own"), body);

    // A receiver takes it once; the second time it holds it already.
    let mut receiver = Receiver::new();
    if let Verdict::Apply(update) = receiver.check_body(body.clone()) {
        let held = update.position();
        receiver.commit(update).expect("nothing came between");
        assert_eq!(receiver.table().digest(), held.digest);
        match receiver.check_body(body) {
            Verdict::Reply(Answer::Ok(answered)) => assert_eq!(answered, held),
            other => panic!("{other:?}"),
        }
        let blob = receiver.to_blob().expect("memory").expect("a position");
        let restored = Receiver::restore([(&*blob, Encoding::Zstd)]).expect("our own");
        assert!(restored == receiver);
    }
});
