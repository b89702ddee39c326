//! `Range` and the conditional fields of a client.
//!
//! Input: eight bytes of object length, then lines; the first byte of a line chooses its field.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use mcc_cache::conditional::{Validators, evaluate};
use mcc_cache::range::{MAX_PARTS, RangeRequest, Selection};

fuzz_target!(|input: &[u8]| {
    let Some((length, lines)) = input.split_first_chunk::<8>() else { return };
    // Objects are at most 1 TiB long.
    let length = u64::from_le_bytes(*length) % (1 << 40);
    let mut headers = HeaderMap::new();
    for line in lines.split(|b| *b == b'\n') {
        let Some((field, value)) = line.split_first() else { continue };
        let name = match field % 6 {
            0 => header::IF_MATCH,
            1 => header::IF_NONE_MATCH,
            2 => header::IF_MODIFIED_SINCE,
            3 => header::IF_UNMODIFIED_SINCE,
            4 => header::IF_RANGE,
            _ => header::RANGE,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let request = RangeRequest::parse(&headers);
    let ranges = match request.select(length) {
        Selection::Whole | Selection::Unsatisfiable => vec![],
        Selection::One(range) => vec![range],
        Selection::Several(ranges) => {
            assert!((2..=MAX_PARTS).contains(&ranges.len()));
            ranges
        }
    };
    for range in &ranges {
        assert!(range.start() < range.end() && range.end() <= length);
        assert!(range.start() >= request.first_byte());
        let (first, last) = range.blocks().into_inner();
        let pieces = [first, last].map(|block| range.within(block));
        assert!(pieces.iter().all(|piece| piece.start < piece.end));
    }
    for pair in ranges.windows(2) {
        let [a, b] = pair else { continue };
        assert!(a.end() < b.start());
    }
    let object = Validators {
        etag: Some(HeaderValue::from_static("\"a\"")),
        last_modified: Some(HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
    };
    let _verdict = evaluate(&headers, &object);
});
