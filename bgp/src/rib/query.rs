//! Listing routes and the footprint, a page at a time.
//!
//! A question is answered in slices of bounded work: each call of [`Rib::routes`] looks at a limited
//! number of routes and says where to go on, so that a question about a million routes does not
//! hold up the sessions.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Instant;

use ipnet::IpNet;
use mcc_config::CommunityRule;
use serde::Serialize;
use thiserror::Error;

use super::adj_rib_in::Place;
use super::prefix_table::PrefixId;
use super::route::Route;
use super::set_hash::SetHash;
use super::walk::Position;
use super::{Neighbor, PrefixSource, Rib, RouteConditions, Seconds};

/// How many prefixes one call looks at.
const SLICE: usize = 8192;

/// Which routes to list. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteQuery {
    /// By prefix.
    pub filter: RouteFilter,
    /// Only of this neighbor.
    pub neighbor: Option<IpAddr>,
    /// Only those that are like this.
    pub conditions: RouteConditions,
    /// At most so many; 0 means 1000.
    pub limit: usize,
    /// Go on where an earlier page ended.
    pub after: Option<RouteCursor>,
}

/// Which routes to list, by their prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RouteFilter {
    /// All.
    #[default]
    All,
    /// Of each neighbor those of the longest prefix that has this address in it.
    LongestMatch(IpAddr),
    /// Of exactly this prefix.
    Exact(IpNet),
    /// Of this prefix and of all inside it.
    Longer(IpNet),
}

/// Where a page of routes ended; as a string for use in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteCursor {
    neighbor: IpAddr,
    position: Position,
}

/// A string that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no place in a list of routes: use what an earlier page gave as `next`")]
pub struct RouteCursorError(String);

impl fmt::Display for RouteCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Position::Start => write!(f, "{}", self.neighbor),
            Position::After(prefix, path_id) => {
                write!(f, "{}~{prefix}~{path_id}", self.neighbor)
            }
        }
    }
}

impl FromStr for RouteCursor {
    type Err = RouteCursorError;

    fn from_str(text: &str) -> Result<Self, RouteCursorError> {
        let parse = || {
            let mut parts = text.split('~');
            let neighbor = parts.next()?.parse().ok()?;
            let position = match (parts.next(), parts.next(), parts.next()) {
                (None, ..) => Position::Start,
                (Some(prefix), Some(path_id), None) => {
                    let prefix: IpNet = prefix.parse().ok()?;
                    Position::After(prefix.trunc(), path_id.parse().ok()?)
                }
                _ => return None,
            };
            Some(Self { neighbor, position })
        };
        parse().ok_or_else(|| RouteCursorError(text.to_owned()))
    }
}

impl Serialize for RouteCursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A page of routes: `mcc bgp routes --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RoutePage {
    /// In the order of the neighbors, then of the prefixes.
    pub routes: Vec<RouteView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<RouteCursor>,
}

/// How many routes a slice of the table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteCount {
    /// Routes that were asked for.
    pub count: usize,
    /// Where the next slice begins; `None` after the last.
    pub next: Option<RouteCursor>,
}

/// One route, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteView {
    /// The prefix.
    pub prefix: IpNet,
    /// Who announced it.
    pub neighbor: IpAddr,
    /// ADD-PATH identifier; 0 without.
    pub path_id: u32,
    /// As routers print it.
    pub as_path: String,
    /// `IGP`, `EGP` or `incomplete`.
    pub origin: String,
    /// `NEXT_HOP`.
    pub next_hop: Option<IpAddr>,
    /// `MULTI_EXIT_DISC`.
    pub med: Option<u32>,
    /// `LOCAL_PREF`.
    pub local_pref: Option<u32>,
    /// `65100:911`.
    pub communities: Vec<String>,
    /// `65100:1:2`.
    pub large_communities: Vec<String>,
    /// `rt:65100:1`; see [`CommunityRule::Extended`].
    pub extended_communities: Vec<String>,
    /// `rt:[2001:db8::1]:7` (RFC 5701).
    pub ipv6_extended_communities: Vec<String>,
    /// `65100 192.0.2.1`: who has made an aggregate of it.
    pub aggregator: Option<String>,
    /// Whether its path may lack ASes (`ATOMIC_AGGREGATE`).
    pub atomic_aggregate: bool,
    /// `ORIGINATOR_ID`, from a route reflector.
    pub originator_id: Option<Ipv4Addr>,
    /// `CLUSTER_LIST`, the nearest reflector first.
    pub cluster_list: Vec<Ipv4Addr>,
    /// `ONLY_TO_CUSTOMER` (RFC 9234).
    pub only_to_customer: Option<u32>,
    /// Whether it is footprint.
    pub accepted: bool,
    /// Why not.
    pub refused_reason: Option<&'static str>,
    /// Whether it is of a lost session.
    pub stale: bool,
    /// Seconds since it was announced last.
    pub age_seconds: u64,
}

/// A page of the footprint: `mcc footprint --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FootprintPage {
    /// In order of address, then length.
    pub prefixes: Vec<FootprintPrefix>,
    /// Prefixes in the whole footprint.
    pub count: usize,
    /// IPv4 addresses that they cover together.
    pub addresses: u64,
    /// IPv6 addresses that they cover together, in /48s.
    pub ipv6_slash48s: u64,
    /// The last prefix of this page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<IpNet>,
}

/// One prefix of the footprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FootprintPrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// Manual if the configuration names it, whoever else does.
    pub source: PrefixSource,
    /// The neighbors with an accepted route for it.
    pub neighbors: Vec<IpAddr>,
    /// If asked for: the neighbors that announce other prefixes of the family, but not this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<IpAddr>,
}

/// Which prefixes of the footprint to list. The default is the first page of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FootprintQuery {
    /// Go on after this prefix.
    pub after: Option<IpNet>,
    /// At most so many; 0 and more than 8,192 mean 8,192.
    pub limit: usize,
    /// Only prefixes that some neighbors announce and others do not.
    pub inconsistent: bool,
}

impl RouteQuery {
    /// The most routes that an answer has.
    #[must_use]
    pub fn limit(&self) -> usize {
        if self.limit == 0 { 1000 } else { self.limit }
    }
}

impl Rib {
    /// Some of the routes asked for, at most `limit`. While there is a `next`, there may be more.
    #[must_use]
    pub fn routes(&self, query: &RouteQuery, limit: usize, now: Instant) -> RoutePage {
        let now = Seconds::between(self.began, now);
        let mut routes = Vec::new();
        let next = self.select(query, limit, |neighbor, place, route| {
            routes.extend(self.view(neighbor, place, route, now));
        });
        RoutePage { routes, next }
    }

    /// How many routes are asked for, in a slice of the table. While there is a `next`, there may be
    /// more.
    #[must_use]
    pub fn count_routes(&self, query: &RouteQuery) -> RouteCount {
        let mut count = 0;
        let next = self.select(query, usize::MAX, |_, _, _| count += 1);
        RouteCount { count, next }
    }

    /// Gives some of the routes asked for to `take`, at most `limit`, and says where to go on.
    fn select(
        &self,
        query: &RouteQuery,
        limit: usize,
        mut take: impl FnMut(&Neighbor, Place, Route),
    ) -> Option<RouteCursor> {
        let begin = query.after.and_then(|after| {
            self.neighbors.iter().position(|n| n.rules.address == after.neighbor)
        });
        let asked = |n: &&Neighbor| query.neighbor.is_none_or(|address| n.rules.address == address);
        let mut neighbors = self.neighbors.iter().skip(begin.unwrap_or(0)).filter(asked);
        let wanted = |neighbor: &Neighbor, place: &Place, route: Route| {
            let stale = neighbor.table.is_stale(&place.prefix, route);
            let attributes = || Some(self.attributes.get(route.attributes())?.decode());
            query.conditions.hold(route.refusal(), stale, attributes)
        };

        let within = match query.filter {
            RouteFilter::All => None,
            RouteFilter::Longer(prefix) => Some(prefix.trunc()),
            RouteFilter::LongestMatch(_) | RouteFilter::Exact(_) => {
                // Few enough for one page: there are as many as neighbors, or their ADD-PATH limit.
                let all = neighbors.flat_map(|neighbor| {
                    let found = self.find(neighbor, query.filter).into_iter();
                    found.map(move |(place, route)| (neighbor, place, route))
                });
                all.filter(|(neighbor, place, route)| wanted(neighbor, place, *route))
                    .take(limit)
                    .for_each(|(neighbor, place, route)| take(neighbor, place, route));
                return None;
            }
        };
        let neighbor = neighbors.next()?;
        let position = match query.after {
            Some(after) if after.neighbor == neighbor.rules.address => after.position,
            _ => Position::Start,
        };
        let mut slice = self.slice(neighbor, position, within, SLICE);
        let (mut taken, mut full) = (0, None);
        for (place, route) in slice.by_ref().filter(|(p, route)| wanted(neighbor, p, *route)) {
            take(neighbor, place, route);
            taken += 1;
            if taken >= limit {
                full = Some(Position::After(place.prefix, place.path_id));
                break;
            }
        }
        let (neighbor, position) = match full.or(slice.more()) {
            Some(position) => (neighbor, position),
            None => (neighbors.next()?, Position::Start),
        };
        Some(RouteCursor { neighbor: neighbor.rules.address, position })
    }

    /// A page of the footprint. While there is a `next`, there may be more.
    #[must_use]
    pub fn footprint(&self, query: FootprintQuery) -> FootprintPage {
        let limit = if query.limit == 0 { SLICE } else { query.limit.min(SLICE) };
        let totals = self.footprint.last_totals();
        let mut page = FootprintPage {
            prefixes: Vec::new(),
            count: totals.prefixes(),
            addresses: totals.addresses(),
            ipv6_slash48s: totals.ipv6_slash48s(),
            next: None,
        };
        let entries = self.footprint.iter_after(&self.prefixes, query.after);
        for (looked_at, (prefix, id, entry)) in entries.enumerate() {
            if page.prefixes.len() == limit || looked_at == SLICE {
                return page;
            }
            page.next = Some(prefix);
            let missing = if query.inconsistent { self.missing(prefix, id) } else { Vec::new() };
            if query.inconsistent && missing.is_empty() {
                continue;
            }
            page.prefixes.push(FootprintPrefix {
                prefix,
                source: if entry.is_manual() { PrefixSource::Manual } else { PrefixSource::Bgp },
                neighbors: self.contributors(id),
                missing,
            });
        }
        page.next = None;
        page
    }

    fn contributors(&self, id: PrefixId) -> Vec<IpAddr> {
        let contributors = self.neighbors.iter().filter(|neighbor| neighbor.table.accepts(id));
        contributors.map(|neighbor| neighbor.rules.address).collect()
    }

    /// The neighbors that a prefix is not accepted from, but others of its family are. None if it
    /// is accepted from nobody: then it was entered by hand.
    fn missing(&self, prefix: IpNet, id: PrefixId) -> Vec<IpAddr> {
        let family = usize::from(matches!(prefix, IpNet::V6(_)));
        let contributes = |neighbor: &&Neighbor| {
            let sets = neighbor.table.counts().accepted_sets;
            sets.get(family).is_some_and(|set| *set != SetHash::default())
        };
        let (with, without): (Vec<_>, Vec<_>) = self
            .neighbors
            .iter()
            .filter(contributes)
            .partition(|neighbor| neighbor.table.accepts(id));
        if with.is_empty() {
            return Vec::new();
        }
        without.into_iter().map(|neighbor| neighbor.rules.address).collect()
    }

    fn find(&self, neighbor: &Neighbor, filter: RouteFilter) -> Vec<(Place, Route)> {
        let of = |(prefix, id): (IpNet, PrefixId)| -> Vec<_> {
            let routes = neighbor.table.of(id);
            routes.map(|(path_id, route)| (Place { prefix, id, path_id }, route)).collect()
        };
        match filter {
            RouteFilter::LongestMatch(address) => {
                let covering: Vec<_> = self.prefixes.covering(&address.into()).collect();
                let mut routes = covering.into_iter().rev().map(of);
                routes.find(|routes| !routes.is_empty()).unwrap_or_default()
            }
            RouteFilter::Exact(prefix) => {
                let prefix = prefix.trunc();
                self.prefixes.get(&prefix).map(|id| of((prefix, id))).unwrap_or_default()
            }
            RouteFilter::All | RouteFilter::Longer(_) => Vec::new(),
        }
    }

    fn view(
        &self,
        neighbor: &Neighbor,
        place: Place,
        route: Route,
        now: Seconds,
    ) -> Option<RouteView> {
        let attributes = self.attributes.get(route.attributes())?.decode();
        Some(RouteView {
            prefix: place.prefix,
            neighbor: neighbor.rules.address,
            path_id: place.path_id,
            as_path: attributes.as_path.to_string(),
            origin: attributes.origin.to_string(),
            next_hop: attributes.next_hop,
            med: attributes.med,
            local_pref: attributes.local_pref,
            communities: attributes.communities.iter().map(ToString::to_string).collect(),
            large_communities: attributes
                .large_communities
                .iter()
                .map(ToString::to_string)
                .collect(),
            extended_communities: attributes
                .extended_communities
                .iter()
                .map(|&bytes| CommunityRule::Extended(bytes).to_string())
                .collect(),
            ipv6_extended_communities: attributes
                .ipv6_extended_communities
                .iter()
                .map(ToString::to_string)
                .collect(),
            aggregator: attributes.aggregator.map(|aggregator| aggregator.to_string()),
            atomic_aggregate: attributes.atomic_aggregate,
            originator_id: attributes.originator_id,
            cluster_list: attributes.cluster_list,
            only_to_customer: attributes.only_to_customer,
            accepted: route.is_accepted(),
            refused_reason: route.refusal().map(crate::policy::Refusal::name),
            stale: neighbor.table.is_stale(&place.prefix, route),
            age_seconds: route.learned().until(now).as_secs(),
        })
    }
}
