//! The messages themselves.

use std::fmt;

use ipnet::IpNet;
use serde::Serialize;

use super::{AttributeSet, NlriList, Notification, Open};

/// An address family and its subsequent family (RFC 4760 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

impl Family {
    /// AFI 1, SAFI 1.
    pub const IPV4_UNICAST: Self = Self { afi: 1, safi: 1 };
    /// AFI 2, SAFI 1.
    pub const IPV6_UNICAST: Self = Self { afi: 2, safi: 1 };
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4_UNICAST => f.write_str("ipv4-unicast"),
            Self::IPV6_UNICAST => f.write_str("ipv6-unicast"),
            Self { afi, safi } => write!(f, "afi-{afi}-safi-{safi}"),
        }
    }
}

impl Serialize for Family {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A message that a neighbor sent, checked: what an `Update` holds may go into the RIB as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 §4.2.
    Open(Open),
    /// RFC 4271 §4.3.
    Update(Update),
    /// RFC 4271 §4.5.
    Notification(Notification),
    /// RFC 4271 §4.4.
    Keepalive,
    /// RFC 2918, RFC 7313.
    RouteRefresh(RouteRefresh),
}

/// One prefix of an UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nlri {
    /// The prefix, its host bits cleared.
    pub prefix: IpNet,
    /// ADD-PATH identifier (RFC 7911 §3), 0 when the family was negotiated without.
    pub path_id: u32,
}

/// An UPDATE after RFC 7606: a malformed one is here as what it is to be treated as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Prefixes that are gone. If [treated as withdraw](Self::treated_as_withdraw) these include
    /// the announced ones.
    pub withdrawn: NlriList,
    /// Prefixes that are there, all with `attributes`. If a prefix is in both lists, it is there
    /// (RFC 4271 §4.3): so apply `withdrawn` first.
    pub announced: NlriList,
    /// The attributes of `announced`; `None` if and only if that is empty.
    pub attributes: Option<AttributeSet>,
    /// Routes of `MP_REACH_NLRI`, if `announced` are from outside of it: they have another next hop,
    /// and so other attributes. Hardly any router sends both in one message (RFC 7606 §5.1). To be
    /// applied after this one: see [`Update::parts`].
    pub other_next_hop: Option<Box<Update>>,
    /// The End-of-RIB marker of a family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// What was wrong with it, in the order found. Empty for a well-formed UPDATE.
    pub findings: Vec<super::Finding>,
}

impl Update {
    /// What is to be applied one after the other: this one, and its `other_next_hop`.
    pub fn parts(mut self) -> impl Iterator<Item = Self> {
        let other = self.other_next_hop.take();
        std::iter::once(self).chain(other.map(|other| *other))
    }

    /// Whether a malformed attribute has turned its routes into withdrawn ones (RFC 7606 §2).
    #[must_use]
    pub fn treated_as_withdraw(&self) -> bool {
        self.findings.iter().any(|found| found.disposition == super::Disposition::TreatAsWithdraw)
    }
}

/// ROUTE-REFRESH (RFC 2918), with the subtypes of RFC 7313.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Which table.
    pub family: Family,
    /// Request, or a demarcation of the answer.
    pub kind: RouteRefreshKind,
}

/// Message subtype of a ROUTE-REFRESH (RFC 7313 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteRefreshKind {
    /// 0: please send the table again.
    Request,
    /// 1: the table follows.
    BeginningOfRefresh,
    /// 2: that was the table.
    EndOfRefresh,
    /// Any other subtype; ignored (RFC 7313 §5).
    Unknown(u8),
}
