//! Which bytes of an object a request asks for (RFC 9110 §14), and which blocks hold them.
//!
//! [`RangeRequest::parse`] reads the header, [`RangeRequest::select`] applies it to a length. A header that breaks
//! the grammar is ignored, as RFC 9110 §14.2 allows. Of several `Range` lines the **last** one holds: Delivery
//! Optimization clients add a line at each resume and leave the old ones standing.

use std::ops::RangeInclusive;

use http::{HeaderMap, header};

use crate::store::BLOCK;

/// The most ranges that one response answers one by one. More than that are answered by the one
/// range that encloses them, so that a short header cannot make a long list of parts.
pub const MAX_PARTS: usize = 16;

/// What a part of a multipart response costs beside its bytes, about: its boundary and its head.
/// Ranges that are closer than this are cheaper as one (RFC 9110 §15.3.7.2).
const PART_OVERHEAD: u64 = 200;

/// Consecutive bytes of an object, never none: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The bytes from `start` up to, not including, `end`; `None` if there are none.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start < end { Some(Self { start, end }) } else { None }
    }

    /// The first byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The byte after the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The last byte, as `Content-Range` and `Range` count.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.end - 1
    }

    /// How many bytes: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// The blocks that hold the range.
    #[must_use]
    pub fn blocks(self) -> RangeInclusive<u32> {
        block_of(self.start)..=block_of(self.last())
    }

    /// The range cut at block borders: each block's index and the bytes wanted of it, counted from the
    /// block's start.
    pub fn pieces(self) -> impl Iterator<Item = (u32, std::ops::Range<u32>)> {
        self.blocks().map(move |block| (block, self.within(block)))
    }

    /// What the range wants of `block`, counted from the block's start.
    #[must_use]
    pub fn within(self, block: u32) -> std::ops::Range<u32> {
        let base = u64::from(block) * u64::from(BLOCK);
        let clamp =
            |offset: u64| u32::try_from(offset.saturating_sub(base)).unwrap_or(BLOCK).min(BLOCK);
        clamp(self.start)..clamp(self.end)
    }
}

/// The block that holds `offset`. Objects are shorter than 2^52 bytes, so the index fits.
#[must_use]
pub fn block_of(offset: u64) -> u32 {
    u32::try_from(offset / u64::from(BLOCK)).unwrap_or(u32::MAX)
}

/// How many bytes block `index` of an object of `length` bytes has; 0 behind its end.
#[must_use]
pub fn block_len(length: u64, index: u32) -> u32 {
    let start = u64::from(index) * u64::from(BLOCK);
    u32::try_from(length.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK)
}

/// One element of a `Range` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `first-last`, both inclusive.
    Closed(u64, u64),
    /// `first-`: everything from there.
    From(u64),
    /// `-n`: the last `n` bytes.
    Suffix(u64),
}

/// What a request asks for, before the object's length is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// Everything.
    Whole,
    /// These ranges; at least one.
    Ranges(Vec<RangeSpec>),
}

/// The bytes to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// 200 with everything.
    Whole,
    /// 206 with one range.
    One(ByteRange),
    /// 206 with `multipart/byteranges`: at least two ranges, ascending and apart.
    Several(Vec<ByteRange>),
    /// 416: nothing of what was asked for exists.
    Unsatisfiable,
}

impl Selection {
    /// The ranges to send of an object of `length` bytes, ascending.
    #[must_use]
    pub fn ranges(&self, length: u64) -> Vec<ByteRange> {
        match self {
            Self::Whole => ByteRange::new(0, length).into_iter().collect(),
            Self::One(range) => vec![*range],
            Self::Several(ranges) => ranges.clone(),
            Self::Unsatisfiable => vec![],
        }
    }
}

impl RangeRequest {
    /// Reads the last `Range` line of `headers`. Other units than bytes and what breaks the grammar
    /// count as no `Range` at all.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        headers
            .get_all(header::RANGE)
            .iter()
            .next_back()
            .and_then(|line| parse_specs(line.as_bytes()))
            .map_or(Self::Whole, Self::Ranges)
    }

    /// The bytes that the request selects of an object of `length` bytes.
    #[must_use]
    pub fn select(&self, length: u64) -> Selection {
        let Self::Ranges(specs) = self else {
            return Selection::Whole;
        };
        let mut ranges: Vec<ByteRange> =
            specs.iter().filter_map(|spec| spec.resolve(length)).collect();
        ranges.sort_by_key(|range| range.start);
        ranges.dedup_by(|next, kept| {
            let joined = next.start <= kept.end.saturating_add(PART_OVERHEAD);
            if joined {
                kept.end = kept.end.max(next.end);
            }
            joined
        });
        match ranges.as_slice() {
            [] => Selection::Unsatisfiable,
            [one] => Selection::One(*one),
            [first, .., last] if ranges.len() > MAX_PARTS => {
                Selection::One(ByteRange { start: first.start, end: last.end })
            }
            _ => Selection::Several(ranges),
        }
    }

    /// The first byte that is surely wanted, when the length is not known yet; a suffix could begin
    /// anywhere and counts from 0.
    #[must_use]
    pub fn first_byte(&self) -> u64 {
        let Self::Ranges(specs) = self else { return 0 };
        let start = |spec: &RangeSpec| match *spec {
            RangeSpec::Closed(first, _) | RangeSpec::From(first) => first,
            RangeSpec::Suffix(_) => 0,
        };
        specs.iter().map(start).min().unwrap_or(0)
    }

    /// The last byte that is wanted, if the request names one.
    #[must_use]
    pub fn last_byte(&self) -> Option<u64> {
        let Self::Ranges(specs) = self else { return None };
        let last = |spec: &RangeSpec| match *spec {
            RangeSpec::Closed(_, last) => Some(last),
            RangeSpec::From(_) | RangeSpec::Suffix(_) => None,
        };
        specs.iter().map(last).try_fold(0, |most, last| Some(last?.max(most)))
    }
}

impl RangeSpec {
    fn resolve(self, length: u64) -> Option<ByteRange> {
        match self {
            Self::Closed(first, last) => ByteRange::new(first, last.saturating_add(1).min(length)),
            Self::From(first) => ByteRange::new(first, length),
            Self::Suffix(n) => ByteRange::new(length.saturating_sub(n), length),
        }
    }
}

/// `bytes=` and a list of ranges; empty list elements are skipped (RFC 9110 §5.6.1).
fn parse_specs(line: &[u8]) -> Option<Vec<RangeSpec>> {
    let line = std::str::from_utf8(line).ok()?;
    let (unit, list) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs = list
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty())
        .map(parse_spec)
        .collect::<Option<Vec<_>>>()?;
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(element: &str) -> Option<RangeSpec> {
    let (first, last) = element.split_once('-')?;
    match (first, last) {
        ("", suffix) => Some(RangeSpec::Suffix(number(suffix)?)),
        (first, "") => Some(RangeSpec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeSpec::Closed(first, last))
        }
    }
}

/// Digits only; a number past 2^64 is as good as the largest, since no object is that long.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn request(lines: &[&str]) -> RangeRequest {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::RANGE, HeaderValue::from_str(line).unwrap());
        }
        RangeRequest::parse(&headers)
    }

    fn one(start: u64, end: u64) -> Selection {
        Selection::One(ByteRange::new(start, end).unwrap())
    }

    #[test]
    fn single_ranges() {
        for (line, length, selection) in [
            ("bytes=0-0", 10, one(0, 1)),
            ("bytes=2-5", 10, one(2, 6)),
            ("bytes=2-", 10, one(2, 10)),
            ("bytes=-3", 10, one(7, 10)),
            ("bytes=-30", 10, one(0, 10)),
            ("bytes=5-99", 10, one(5, 10)),
            ("Bytes= 5-6 ,", 10, one(5, 7)),
            ("bytes=10-", 10, Selection::Unsatisfiable),
            ("bytes=-0", 10, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Selection::Unsatisfiable),
            ("bytes=0-99999999999999999999", 10, one(0, 10)),
            ("bytes=107374182400-107375230975", 1 << 40, one(107_374_182_400, 107_375_230_976)),
        ] {
            assert_eq!(request(&[line]).select(length), selection, "{line}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_ignored() {
        for line in [
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=-",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1-2-3",
            "items=0-1",
            "bytes=0-1;",
            "bytes=0x1-2",
            "0-1",
            "bytes=1 -2",
        ] {
            assert_eq!(request(&[line]), RangeRequest::Whole, "{line}");
        }
    }

    #[test]
    fn the_last_line_holds() {
        let stacked = request(&["bytes=0-99", "bytes=40-99", "bytes=70-99"]);
        assert_eq!(stacked.select(100), one(70, 100));
    }

    #[test]
    fn several_ranges() {
        let far = request(&["bytes=0-9,10000-10009"]);
        let parts = [ByteRange::new(0, 10).unwrap(), ByteRange::new(10_000, 10_010).unwrap()];
        assert_eq!(far.select(1 << 20), Selection::Several(parts.to_vec()));
        assert_eq!(request(&["bytes=0-9,20-29"]).select(1 << 20), one(0, 30), "near: joined");
        assert_eq!(request(&["bytes=0-9,99999999-"]).select(100), one(0, 10), "one is left");
        let many: Vec<String> = (0..1000).map(|i| format!("{}-{}", i * 1000, i * 1000)).collect();
        let many = request(&[&format!("bytes={}", many.join(","))]);
        assert_eq!(many.select(1 << 30), one(0, 999_001), "too many parts: enclosed");
    }

    #[test]
    fn hints_before_the_length_is_known() {
        assert_eq!(request(&["bytes=500-999"]).first_byte(), 500);
        assert_eq!(request(&["bytes=500-999"]).last_byte(), Some(999));
        assert_eq!(request(&["bytes=500-"]).last_byte(), None);
        assert_eq!(request(&["bytes=500-600,-1"]).first_byte(), 0);
        assert_eq!(RangeRequest::Whole.first_byte(), 0);
    }

    proptest! {
        #[test]
        fn any_header_bytes_are_handled(line in proptest::collection::vec(any::<u8>(), 0..64), length: u64) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(header::RANGE, value);
                let _ = RangeRequest::parse(&headers).select(length);
            }
        }

        /// Against a naive model: mark each byte that is asked for.
        #[test]
        fn selects_the_bytes_that_were_asked_for(
            specs in proptest::collection::vec((0u8..3, 0u64..4000, 0u64..4000), 1..6),
            length in 0u64..3000,
        ) {
            let text: Vec<String> = specs.iter().map(|&(kind, a, b)| match kind {
                0 => format!("{}-{}", a.min(b), a.max(b)),
                1 => format!("{a}-"),
                _ => format!("-{a}"),
            }).collect();
            let wanted = |i: u64| specs.iter().any(|&(kind, a, b)| match kind {
                0 => i >= a.min(b) && i <= a.max(b),
                1 => i >= a,
                _ => i + a >= length,
            });
            let asked: Vec<u64> = (0..length).filter(|i| wanted(*i)).collect();
            let ranges = match request(&[&format!("bytes={}", text.join(", "))]).select(length) {
                Selection::Whole => panic!("a range was asked for"),
                Selection::Unsatisfiable => vec![],
                Selection::One(range) => vec![range],
                Selection::Several(ranges) => ranges,
            };
            let given = |i: u64| ranges.iter().any(|r| r.start() <= i && i < r.end());
            prop_assert_eq!(asked.is_empty(), ranges.is_empty());
            prop_assert!(asked.iter().all(|i| given(*i)));
            prop_assert!(ranges.windows(2).all(|w| w[0].end() + PART_OVERHEAD < w[1].start()));
            // The borders are asked for; only small gaps inside are given on top.
            for range in &ranges {
                prop_assert!(wanted(range.start()) && wanted(range.last()));
            }
        }

        /// The pieces of a range are the range, cut at block borders.
        #[test]
        fn pieces_cover_the_range_exactly(start in 0u64..5_000_000_000, len in 1u64..20_000_000) {
            let range = ByteRange::new(start, start + len).unwrap();
            let mut at = start;
            for (block, piece) in range.pieces() {
                prop_assert_eq!(u64::from(block) * u64::from(BLOCK) + u64::from(piece.start), at);
                prop_assert!(piece.start < piece.end && piece.end <= BLOCK);
                at += u64::from(piece.end - piece.start);
            }
            prop_assert_eq!(at, start + len);
        }
    }
}
