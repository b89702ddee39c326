//! The object log of a cache drive, read in pieces as at start.
//!
//! Input: one byte that says how much is read at a time, then the log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcc_cache::store::{ObjectRecord, Scan};

fuzz_target!(|input: &[u8]| {
    let [piece, log @ ..] = input else { return };
    let in_pieces = read(log, usize::from(*piece) * 8 + 1);
    assert_eq!(in_pieces, read(log, log.len() + 1), "it matters how much is read at a time");
    for record in in_pieces {
        let bytes = record.encode().expect("what was read can be written");
        assert!(ObjectRecord::fits(&record.key, &record.meta) || bytes.len() > 60 << 10);
        let size = bytes.len();
        assert_eq!(ObjectRecord::scan(&bytes, true), Scan::Record(Box::new(record), size));
    }
});

/// Every record of the log; each byte is taken exactly once.
fn read(log: &[u8], piece: usize) -> Vec<ObjectRecord> {
    let (mut records, mut at, mut end) = (Vec::new(), 0, 0);
    loop {
        match ObjectRecord::scan(&log[at..end], end == log.len()) {
            Scan::Record(record, size) => {
                records.push(*record);
                at += size;
            }
            Scan::Damaged(bytes) => {
                assert!(bytes > 0, "a reader would turn for ever");
                at += bytes;
            }
            Scan::Incomplete if end == log.len() => {
                assert_eq!(at, end);
                return records;
            }
            Scan::Incomplete => end = (end + piece).min(log.len()),
        }
    }
}
