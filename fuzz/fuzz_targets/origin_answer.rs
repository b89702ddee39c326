//! The head of an origin's answer to a fill request: status, lengths, ranges, freshness.
//!
//! Input: first and last byte asked for (eight bytes each), a byte that chooses the status, then
//! lines; the first byte of a line chooses its field.

#![no_main]

use http::{HeaderValue, Response, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use mcc_cache::fuzzing::claim;
use mcc_cache::range::ByteRange;

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first_chunk::<8>() else { return };
    let Some((last, rest)) = rest.split_first_chunk::<8>() else { return };
    let Some((status, lines)) = rest.split_first() else { return };
    let asked = ByteRange::new(u64::from_le_bytes(*first) >> 8, u64::from_le_bytes(*last) >> 8);
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = match status % 5 {
        0 => StatusCode::OK,
        1 => StatusCode::NOT_MODIFIED,
        2 => StatusCode::RANGE_NOT_SATISFIABLE,
        3 => StatusCode::NOT_FOUND,
        _ => StatusCode::PARTIAL_CONTENT,
    };
    for line in lines.split(|b| *b == b'\n') {
        let Some((field, value)) = line.split_first() else { continue };
        let name = match field % 10 {
            0 => header::CONTENT_LENGTH,
            1 => header::CONTENT_RANGE,
            2 => header::ETAG,
            3 => header::LAST_MODIFIED,
            4 => header::CACHE_CONTROL,
            5 => header::EXPIRES,
            6 => header::AGE,
            7 => header::DATE,
            8 => header::VARY,
            _ => header::CONTENT_ENCODING,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            head.headers.append(name, value);
        }
    }
    let Some((from, to, length)) = claim(&head, asked, 1_700_000_000) else { return };
    assert!(from <= to && to <= length);
    match (head.status, asked) {
        // Never other bytes than were asked for, and never fewer than there are.
        (StatusCode::PARTIAL_CONTENT, Some(asked)) => {
            assert_eq!((from, to), (asked.start(), asked.end().min(length)));
        }
        (status, _) => assert_eq!((status, from, to), (StatusCode::OK, 0, length)),
    }
});
