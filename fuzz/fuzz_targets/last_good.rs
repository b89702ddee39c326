//! The saved footprint, as a bad disk or another program may leave it. The checksum is made right, so
//! that what it protects is read too.
//!
//! Input: the body of a page.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcc_bgp::rib::last_good::{file_end, file_head, read_file};

fuzz_target!(|body: &[u8]| {
    let _any_bytes = read_file(body);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let checksum = crc32c::crc32c(body).to_be_bytes();
    let file = [&file_head(), &length[..], &checksum, body, &file_end(1)].concat();
    for saved in read_file(&file).into_iter().flatten() {
        for update in saved.updates {
            assert!(!update.announced.is_empty());
            drop(update.attributes.unwrap().decode());
        }
    }
});
