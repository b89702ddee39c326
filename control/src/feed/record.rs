//! A route as it is advertised: a prefix, and the attributes that steering ranks by.
//!
//! Never a raw UPDATE: what a router says and steering does not use stays on the node.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How a prefix came into the footprint.
///
/// The order is the order of preference: what a person entered goes before what a router said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Entered by hand as a CIDR block.
    Manual,
    /// Learned from a neighbor.
    Bgp,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Bgp => "bgp",
        })
    }
}

/// What steering knows of a route beside its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct RouteAttributes {
    /// How the prefix came into the footprint.
    pub source: Source,
    /// Length of the AS path as RFC 4271 §9.1.2.2 (a) counts it: an AS_SET is 1, whatever its
    /// size. 0 for a manual prefix.
    pub path_len: u32,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4), if the route has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// The AS that the route was learned from. MEDs are compared only between routes that have
    /// the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbor_asn: Option<u32>,
    /// Communities as text, `65100:911` (RFC 1997) or `65100:1:2` (RFC 8092). May be empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}

impl RouteAttributes {
    /// Of a prefix entered by hand.
    #[must_use]
    pub fn manual() -> Self {
        Self {
            source: Source::Manual,
            path_len: 0,
            med: None,
            neighbor_asn: None,
            communities: Vec::new(),
        }
    }

    /// Of a route learned by BGP, without MED and communities.
    #[must_use]
    pub fn bgp(path_len: u32, neighbor_asn: u32) -> Self {
        Self {
            source: Source::Bgp,
            path_len,
            med: None,
            neighbor_asn: Some(neighbor_asn),
            communities: Vec::new(),
        }
    }
}

/// A prefix of the footprint with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRecord {
    /// The prefix. Host bits do not count: 192.0.2.1/24 is 192.0.2.0/24.
    pub prefix: IpNet,
    /// Shared, since most routes of a neighbor carry one of few sets of attributes.
    pub attributes: Arc<RouteAttributes>,
}

/// What a prefix is to be from now on.
///
/// It sets a state and adds nothing to one: the same change twice is the same as once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Present, with exactly these attributes.
    Present(RouteRecord),
    /// Absent.
    Absent(IpNet),
}

impl Change {
    /// The prefix that the change is about.
    #[must_use]
    pub fn prefix(&self) -> IpNet {
        match self {
            Self::Present(record) => record.prefix,
            Self::Absent(prefix) => *prefix,
        }
    }

    /// The attributes that the prefix has afterwards; none if it is gone.
    #[must_use]
    pub fn attributes(&self) -> Option<&Arc<RouteAttributes>> {
        match self {
            Self::Present(record) => Some(&record.attributes),
            Self::Absent(_) => None,
        }
    }

    /// The change that makes `prefix` have `attributes`, or go if there are none.
    #[must_use]
    pub fn new(prefix: IpNet, attributes: Option<Arc<RouteAttributes>>) -> Self {
        match attributes {
            Some(attributes) => Self::Present(RouteRecord { prefix, attributes }),
            None => Self::Absent(prefix),
        }
    }
}
