//! The slot table of a cache drive: 32-byte records, whatever a crash or a bad drive has left.
//!
//! Input: the table, from slot 0 on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcc_cache::store::{BLOCK, SlotEntry};

fuzz_target!(|table: &[u8]| {
    let (records, _) = table.as_chunks::<32>();
    for (slot, bytes) in (0..).zip(records) {
        match SlotEntry::decode(bytes, slot) {
            SlotEntry::Block(record) => {
                assert_eq!(record.encode(), *bytes);
                assert!(record.slot == slot && (1..=BLOCK).contains(&record.length));
            }
            SlotEntry::Empty => assert_eq!(*bytes, [0; 32]),
            SlotEntry::Damaged => {}
        }
    }
});
