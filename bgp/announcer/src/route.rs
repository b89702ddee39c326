//! What a router announces.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mcc_bgp::wire::{AsPath, AsPathSegment, Community, LargeCommunity, OriginCode, SegmentKind};

/// One route to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub prefix: IpNet,
    /// ADD-PATH identifier (RFC 7911 §3): several routes to one prefix differ in it. Sent only
    /// where ADD-PATH was negotiated.
    pub path_id: u32,
    /// Shared by all routes of a set: routes with equal ones travel in one UPDATE.
    pub attributes: Arc<Attributes>,
}

/// The attributes of a route, sent as they are: the router's own AS number is put nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: OriginCode,
    /// `AS_PATH`. A segment may have more than 255 AS numbers; it travels as several.
    pub as_path: AsPath,
    /// `NEXT_HOP`, or the one in `MP_REACH_NLRI`: of the prefix's family.
    pub next_hop: IpAddr,
    /// `MULTI_EXIT_DISC`.
    pub med: Option<u32>,
    /// `LOCAL_PREF`: to an internal neighbor only, 100 if `None`.
    pub local_pref: Option<u32>,
    /// `COMMUNITIES` (RFC 1997).
    pub communities: Vec<Community>,
    /// `EXTENDED COMMUNITIES` (RFC 4360).
    pub extended_communities: Vec<[u8; 8]>,
    /// `LARGE_COMMUNITY` (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
}

impl Route {
    /// A route with path identifier 0.
    #[must_use]
    pub fn new(prefix: IpNet, attributes: &Arc<Attributes>) -> Self {
        Self { prefix: prefix.trunc(), path_id: 0, attributes: Arc::clone(attributes) }
    }

    /// What a router keeps it under.
    pub(crate) fn key(&self) -> (IpNet, u32) {
        (self.prefix, self.path_id)
    }
}

impl Attributes {
    /// ORIGIN IGP, the path as one sequence (empty: a route of the own AS), nothing else.
    #[must_use]
    pub fn new(next_hop: IpAddr, as_path: &[u32]) -> Self {
        let sequence = AsPathSegment { kind: SegmentKind::Sequence, asns: as_path.into() };
        let segments = if as_path.is_empty() { vec![] } else { vec![sequence] };
        Self {
            origin: OriginCode::Igp,
            as_path: AsPath { segments: segments.into() },
            next_hop,
            med: None,
            local_pref: None,
            communities: Vec::new(),
            extended_communities: Vec::new(),
            large_communities: Vec::new(),
        }
    }
}
