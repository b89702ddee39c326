//! The `meta` file of a cache drive, and the slots that it leads to.
//!
//! Input: 60 bytes, the file without its checksum, which no input would hit; or the file itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcc_cache::store::{BLOCK, DriveMeta, SlotLayout};

fuzz_target!(|input: &[u8]| {
    let mut file = input.to_vec();
    if input.len() == 60 {
        file.extend_from_slice(&crc32c::crc32c(input).to_le_bytes());
    }
    let Ok(meta) = DriveMeta::decode(&file) else { return };
    assert_eq!(DriveMeta::decode(&meta.encode()), Ok(meta));
    let layout = SlotLayout::new(meta.mebibytes, meta.plain);
    assert!(layout.slots() <= 1 << 26);
    assert!(layout.bytes() <= u64::from(meta.mebibytes) * u64::from(BLOCK));
});
