//! The path of AS numbers: reading it, and making one of `AS_PATH` and `AS4_PATH`.

use std::fmt;

use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::be_u8;
use smallvec::SmallVec;

use super::{DecodeContext, Disposition, NeighborKind};

/// `AS_PATH` (RFC 4271 §5.1.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AsPath {
    /// Segments, nearest AS first.
    pub segments: SmallVec<[AsPathSegment; 1]>,
}

/// A segment of an `AS_PATH`. Most paths are one, of no more AS numbers than need no memory of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AsPathSegment {
    /// Sequence or set.
    pub kind: SegmentKind,
    /// AS numbers, at least one.
    pub asns: SmallVec<[u32; 8]>,
}

/// Kind of an `AS_PATH` segment (RFC 4271 §4.3, RFC 5065 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// 1
    Set,
    /// 2
    Sequence,
    /// 3
    ConfederationSequence,
    /// 4
    ConfederationSet,
}

impl AsPath {
    /// Length for route selection: a set counts one (RFC 4271 §9.1.2.2), a confederation segment
    /// nothing (RFC 5065 §5.3).
    #[must_use]
    pub fn length(&self) -> u32 {
        let lengths = self.segments.iter().map(|segment| match segment.kind {
            SegmentKind::Sequence => u32::try_from(segment.asns.len()).unwrap_or(u32::MAX),
            SegmentKind::Set => 1,
            SegmentKind::ConfederationSequence | SegmentKind::ConfederationSet => 0,
        });
        lengths.fold(0, u32::saturating_add)
    }

    /// The neighboring AS: the first of a leading sequence.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        match self.segments.first() {
            Some(segment) if segment.kind == SegmentKind::Sequence => segment.asns.first().copied(),
            _ => None,
        }
    }

    /// Whether `asn` is anywhere in the path.
    #[must_use]
    pub fn contains(&self, asn: u32) -> bool {
        self.segments.iter().any(|segment| segment.asns.contains(&asn))
    }
}

impl fmt::Display for AsPath {
    /// `65100 65200 {65300,65301}`, as routers print it; confederation segments in `( )`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            let (open, between, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfederationSequence => ("(", " ", ")"),
                SegmentKind::ConfederationSet => ("[", ",", "]"),
            };
            f.write_str(if i > 0 { " " } else { "" })?;
            f.write_str(open)?;
            for (j, asn) in segment.asns.iter().enumerate() {
                f.write_str(if j > 0 { between } else { "" })?;
                write!(f, "{asn}")?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl SegmentKind {
    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Set,
            2 => Self::Sequence,
            3 => Self::ConfederationSequence,
            4 => Self::ConfederationSet,
            _ => return None,
        })
    }

    /// Whether the segment is of the neighbor's confederation (RFC 5065).
    #[must_use]
    pub const fn is_confederation(self) -> bool {
        matches!(self, Self::ConfederationSequence | Self::ConfederationSet)
    }

    /// Whether the segment has lost the order of its AS numbers: `AS_SET` or `AS_CONFED_SET`.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::Set | Self::ConfederationSet)
    }
}

/// A path that is not to be believed: what follows, and why.
pub(super) type Malformed = (Disposition, &'static str);

/// Checks an `AS_PATH`.
pub(super) fn check_as_path(value: &[u8], context: &DecodeContext) -> Result<(), Malformed> {
    let malformed = |reason| (Disposition::TreatAsWithdraw, reason);
    for segment in (Segments { rest: value, four_octet_as: context.four_octet_as }) {
        let (kind, _) = segment.map_err(malformed)?;
        // Inside of a confederation the own member AS is an internal neighbor.
        if kind.is_confederation() && context.neighbor == NeighborKind::External {
            let reason = "a confederation segment from an external neighbor (RFC 5065 §5)";
            return Err(malformed(reason));
        }
    }
    Ok(())
}

/// Checks an `AS4_PATH`, which an old speaker passes on (RFC 6793 §3): confederation segments do
/// not belong there and are left out, other faults discard it (§6).
pub(super) fn check_as4_path(value: &[u8]) -> Result<(), Malformed> {
    let discard = |reason| (Disposition::AttributeDiscard, reason);
    let mut has_asn = false;
    for segment in (Segments { rest: value, four_octet_as: true }) {
        let (kind, _) = segment.map_err(discard)?;
        has_asn |= !kind.is_confederation();
    }
    if has_asn { Ok(()) } else { Err(discard("it has no AS number (RFC 6793 §6)")) }
}

/// The path of an `AS_PATH` that has been checked.
pub(super) fn read_as_path(value: &[u8], four_octet_as: bool) -> AsPath {
    let segments = Segments { rest: value, four_octet_as }.map_while(Result::ok);
    let segment =
        |(kind, asns)| AsPathSegment { kind, asns: numbers(asns, four_octet_as).collect() };
    AsPath { segments: segments.map(segment).collect() }
}

/// The path of an `AS4_PATH` that has been checked.
pub(super) fn read_as4_path(value: &[u8]) -> AsPath {
    let mut path = read_as_path(value, true);
    path.segments.retain(|segment| !segment.kind.is_confederation());
    path
}

/// A segment as it lies there: kind and AS numbers.
type Segment<'a> = (SegmentKind, &'a [u8]);

/// The segments of a path as they lie there, up to the first fault: each is a case of RFC 7606
/// §7.2, or AS 0.
struct Segments<'a> {
    rest: &'a [u8],
    four_octet_as: bool,
}

impl<'a> Segments<'a> {
    fn segment(&self) -> Result<(Segment<'a>, &'a [u8]), &'static str> {
        let Ok((rest, (code, length))) = (be_u8::<_, ()>, be_u8).parse(self.rest) else {
            return Err("a single byte is left after the last segment (RFC 7606 §7.2)");
        };
        let kind = SegmentKind::from_code(code).ok_or("unknown segment type (RFC 7606 §7.2)")?;
        if length == 0 {
            return Err("a segment without AS numbers (RFC 7606 §7.2)");
        }
        let width = if self.four_octet_as { 4 } else { 2 };
        let Ok((rest, asns)) = take::<_, _, ()>(usize::from(length) * width).parse(rest) else {
            return Err("a segment goes beyond the end of the attribute (RFC 7606 §7.2)");
        };
        let has_zero = if self.four_octet_as {
            asns.as_chunks().0.contains(&[0; 4])
        } else {
            asns.as_chunks().0.contains(&[0; 2])
        };
        if has_zero {
            return Err("AS 0 is in the path (RFC 7607 §2)");
        }
        Ok(((kind, asns), rest))
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let segment = self.segment().map(|(segment, rest)| {
            self.rest = rest;
            segment
        });
        if segment.is_err() {
            self.rest = &[];
        }
        Some(segment)
    }
}

fn numbers(asns: &[u8], four_octet_as: bool) -> impl Iterator<Item = u32> {
    let (four, two) = if four_octet_as { (asns, &[] as &[u8]) } else { (&[] as &[u8], asns) };
    let four = four.as_chunks().0.iter().map(|&asn| u32::from_be_bytes(asn));
    four.chain(two.as_chunks().0.iter().map(|&asn| u32::from(u16::from_be_bytes(asn))))
}

/// The true path, from an old speaker's `AS_PATH` with 23456 in it and the `AS4_PATH` beside it
/// (RFC 6793 §4.2.3): the leading part of the former, as much as it is longer, then the latter.
pub(super) fn merge(as_path: AsPath, as4_path: AsPath) -> AsPath {
    let Some(mut missing) = as_path.length().checked_sub(as4_path.length()) else {
        // Somebody in between has cut AS_PATH: AS4_PATH is not to be believed.
        return as_path;
    };
    let mut merged = AsPath::default();
    for mut segment in as_path.segments {
        match segment.kind {
            // They count nothing, and come along with the segment before them.
            SegmentKind::ConfederationSequence | SegmentKind::ConfederationSet => {}
            _ if missing == 0 => break,
            SegmentKind::Set => missing -= 1,
            SegmentKind::Sequence => {
                let length = u32::try_from(segment.asns.len()).unwrap_or(u32::MAX);
                if length > missing {
                    segment.asns.truncate(usize::try_from(missing).unwrap_or(usize::MAX));
                    merged.segments.push(segment);
                    break;
                }
                missing -= length;
            }
        }
        merged.segments.push(segment);
    }
    for segment in as4_path.segments {
        match merged.segments.last_mut() {
            Some(last)
                if (last.kind, segment.kind) == (SegmentKind::Sequence, SegmentKind::Sequence) =>
            {
                last.asns.extend(segment.asns);
            }
            _ => merged.segments.push(segment),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(segments: &[(SegmentKind, &[u32])]) -> AsPath {
        let segment =
            |&(kind, asns): &(SegmentKind, &[u32])| AsPathSegment { kind, asns: asns.into() };
        AsPath { segments: segments.iter().map(segment).collect() }
    }

    #[test]
    fn as4_path_takes_the_place_of_as_trans() {
        use SegmentKind::{ConfederationSequence as Confederation, Sequence, Set};
        let cases = [
            (
                "the same length",
                path(&[(Sequence, &[65100, 23456])]),
                path(&[(Sequence, &[65100, 70000])]),
                "65100 70000",
            ),
            (
                "AS_PATH is longer: its head is kept",
                path(&[(Sequence, &[65100, 23456, 23456])]),
                path(&[(Sequence, &[70000])]),
                "65100 23456 70000",
            ),
            (
                "AS_PATH is shorter: AS4_PATH is ignored",
                path(&[(Sequence, &[65100])]),
                path(&[(Sequence, &[70000, 70001])]),
                "65100",
            ),
            (
                "a set counts one",
                path(&[(Sequence, &[65100]), (Set, &[1, 2])]),
                path(&[(Sequence, &[70000])]),
                "65100 70000",
            ),
            (
                "a leading confederation segment stays, though nothing else does",
                path(&[(Confederation, &[65001]), (Sequence, &[23456])]),
                path(&[(Sequence, &[70000])]),
                "(65001) 70000",
            ),
            (
                "a confederation segment beside one that stays does too",
                path(&[(Sequence, &[65100]), (Confederation, &[65001]), (Sequence, &[23456])]),
                path(&[(Sequence, &[70000])]),
                "65100 (65001) 70000",
            ),
            (
                "one beside a part that went does not",
                path(&[(Sequence, &[65100, 23456]), (Confederation, &[65001])]),
                path(&[(Sequence, &[70000])]),
                "65100 70000",
            ),
        ];
        for (what, as_path, as4_path, expected) in cases {
            assert_eq!(merge(as_path, as4_path).to_string(), expected, "{what}");
        }
    }

    #[test]
    fn length_counts_as_routers_count() {
        use SegmentKind::{ConfederationSequence, Sequence, Set};
        let path = path(&[(ConfederationSequence, &[9]), (Sequence, &[1, 2]), (Set, &[3, 4])]);
        assert_eq!(path.length(), 3);
        assert_eq!(path.to_string(), "(9) 1 2 {3,4}");
    }
}
