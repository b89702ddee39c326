//! Path attributes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;

/// The attributes of a route, as far as a listener needs them. Two sets are the same if their
/// bytes on the wire and the way to read them are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: OriginCode,
    /// `AS_PATH`, with `AS4_PATH` merged in (RFC 6793 §4.2.3).
    pub as_path: AsPath,
    /// `NEXT_HOP`, or the next hop of `MP_REACH_NLRI` (the global one of two).
    pub next_hop: Option<IpAddr>,
    /// `MULTI_EXIT_DISC`.
    pub med: Option<u32>,
    /// `LOCAL_PREF`; ignored from an external neighbor (RFC 7606 §7.5).
    pub local_pref: Option<u32>,
    /// `COMMUNITIES` (RFC 1997).
    pub communities: Vec<Community>,
    /// `EXTENDED COMMUNITIES` (RFC 4360), eight bytes each.
    pub extended_communities: Vec<[u8; 8]>,
    /// `LARGE_COMMUNITY` (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// `ORIGINATOR_ID` (RFC 4456); ignored from an external neighbor.
    pub originator_id: Option<Ipv4Addr>,
    /// `CLUSTER_LIST` (RFC 4456); ignored from an external neighbor.
    pub cluster_list: Vec<Ipv4Addr>,
    /// `ONLY_TO_CUSTOMER` (RFC 9234).
    pub only_to_customer: Option<u32>,
    /// The attribute block as it came, without `MP_REACH_NLRI` and `MP_UNREACH_NLRI`.
    pub raw: Bytes,
}

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OriginCode {
    /// 0
    Igp,
    /// 1
    Egp,
    /// 2
    Incomplete,
}

impl fmt::Display for OriginCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "IGP",
            Self::Egp => "EGP",
            Self::Incomplete => "incomplete",
        })
    }
}

/// `AS_PATH` (RFC 4271 §5.1.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AsPath {
    /// Segments, nearest AS first.
    pub segments: Vec<AsPathSegment>,
}

/// A segment of an `AS_PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AsPathSegment {
    /// Sequence or set.
    pub kind: SegmentKind,
    /// AS numbers, at least one.
    pub asns: Vec<u32>,
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

/// A community (RFC 1997), printed as `65100:911`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A large community (RFC 8092), printed as `65100:1:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator.
    pub global: u32,
    /// Local data part 1.
    pub local1: u32,
    /// Local data part 2.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}
