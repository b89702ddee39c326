//! Which prefixes of a neighbor become footprint, and why the others do not.
//!
//! A refused route is not lost: the RIB keeps it with its [`Refusal`], so that an operator who
//! misses a prefix finds it and the reason beside it.
//!
//! A verdict has two halves, and the greater part of the work is in the first: what the attributes
//! say is asked once for each set of them, what the prefix says once for each route.

mod bogon_asn;
mod communities;
mod prefix_list;
mod refusal;
mod special_purpose;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use mcc_config::{AcceptRules, AsPathPattern, AsnRange, BgpRole, ImpossibleValue};
use thiserror::Error;

use crate::wire::{AsPath, Community, PathAttributes, SegmentKind};
use communities::CommunityList;
use prefix_list::PrefixList;
pub use refusal::Refusal;

/// "Discard traffic to this prefix" (RFC 7999): never a prefix to serve clients in.
const BLACKHOLE: Community = Community(0xffff_029a);

/// Accept rules that are impossible: all of them, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PolicyError(pub Vec<ImpossibleValue>);

/// Who the two sides of a session are, as far as a route can tell that it does not belong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Our AS number in this session.
    pub local_asn: u32,
    /// The neighbor's AS number.
    pub remote_asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Our role, if the operator has given us one (RFC 9234). Without meaning in iBGP.
    pub role: Option<BgpRole>,
}

impl Identity {
    /// Whether the neighbor is of another AS: eBGP.
    #[must_use]
    pub const fn is_external(&self) -> bool {
        self.local_asn != self.remote_asn
    }
}

/// The accept rules of one neighbor, ready for use.
#[derive(Debug, Clone)]
pub struct AcceptPolicy {
    identity: Identity,
    /// The operator has written none that keeps anything out.
    lacks_rules: bool,
    /// Refuses everything if `lacks_rules` and the neighbor is external (RFC 8212).
    ebgp_requires_rules: bool,
    communities: CommunityList,
    communities_all: CommunityList,
    communities_none: CommunityList,
    allow_prefixes: PrefixList,
    deny_prefixes: PrefixList,
    origin_asns: Vec<AsnRange>,
    as_path: Vec<AsPathPattern>,
    as_path_none: Vec<AsPathPattern>,
    max_as_path_length: Option<u32>,
    ipv4_lengths: RangeInclusive<u8>,
    ipv6_lengths: RangeInclusive<u8>,
    enforce_first_as: bool,
    allow_as_sets: bool,
    allow_bogon_asns: bool,
    allow_default_route: bool,
    allow_bogons: bool,
    allow_cgnat: bool,
}

impl AcceptPolicy {
    /// Reads the rules.
    ///
    /// # Errors
    /// Names the rules that are impossible, and what would be right.
    pub fn from_rules(rules: &AcceptRules, identity: Identity) -> Result<Self, PolicyError> {
        let lists = rules.lists().map_err(PolicyError)?;
        Ok(Self {
            identity,
            lacks_rules: !rules.keep_something_out(),
            ebgp_requires_rules: false,
            communities: CommunityList::new(&lists.communities),
            communities_all: CommunityList::new(&lists.communities_all),
            communities_none: CommunityList::new(&lists.communities_none),
            allow_prefixes: PrefixList::new(&lists.allow_prefixes),
            deny_prefixes: PrefixList::new(&lists.deny_prefixes),
            origin_asns: lists.origin_asns,
            as_path: lists.as_path,
            as_path_none: lists.as_path_none,
            max_as_path_length: rules.max_as_path_length,
            ipv4_lengths: rules.ipv4_lengths(),
            ipv6_lengths: rules.ipv6_lengths(),
            enforce_first_as: rules.enforce_first_as,
            allow_as_sets: rules.allow_as_sets,
            allow_bogon_asns: rules.allow_bogon_asns,
            allow_default_route: rules.allow_default_route,
            allow_bogons: rules.allow_bogons,
            allow_cgnat: rules.allow_cgnat || rules.allow_bogons,
        })
    }

    /// The same policy that refuses everything from an external neighbor if the operator has
    /// written no rule for it that keeps anything out, where `required` (RFC 8212 §2).
    #[must_use]
    pub fn requiring_ebgp_rules(self, required: bool) -> Self {
        Self { ebgp_requires_rules: required, ..self }
    }

    /// Whether a route becomes footprint: the smaller of what its attributes and its prefix say.
    ///
    /// # Errors
    /// The reason why not.
    pub fn verdict(&self, prefix: &IpNet, attributes: &PathAttributes) -> Result<(), Refusal> {
        let refusals = [self.refused_by_attributes(attributes), self.refused_by_prefix(prefix)];
        refusals.into_iter().flatten().min().map_or(Ok(()), Err)
    }

    /// The smallest reason against every route with these attributes, whatever its prefix.
    #[must_use]
    pub fn refused_by_attributes(&self, attributes: &PathAttributes) -> Option<Refusal> {
        // In the order of the variants, so that the first is the smallest.
        self.refused_by_neighbor()
            .or_else(|| self.refused_by_loop(attributes))
            .or_else(|| self.refused_by_way(attributes))
            .or_else(|| self.refused_by_communities(attributes))
            .or_else(|| self.refused_by_lists_of_ases(&attributes.as_path))
    }

    /// The smallest reason against this prefix, whatever its attributes.
    #[must_use]
    pub fn refused_by_prefix(&self, prefix: &IpNet) -> Option<Refusal> {
        // In the order of the variants, so that the first is the smallest.
        let is_default_route = prefix.prefix_len() == 0;
        if is_default_route && !self.allow_default_route {
            return Some(Refusal::DefaultRoute);
        }
        if !is_default_route && let Some(refusal) = self.refused_by_space(prefix) {
            return Some(refusal);
        }
        if self.deny_prefixes.contains(prefix) {
            return Some(Refusal::DeniedPrefix);
        }
        if !is_default_route && let Some(refusal) = self.refused_by_length(prefix) {
            return Some(refusal);
        }
        let is_named = self.allow_prefixes.is_empty() || self.allow_prefixes.contains(prefix);
        (!is_named).then_some(Refusal::NoMatchingPrefix)
    }

    fn refused_by_neighbor(&self) -> Option<Refusal> {
        let lacks_rules =
            self.ebgp_requires_rules && self.lacks_rules && self.identity.is_external();
        lacks_rules.then_some(Refusal::NoRules)
    }

    fn refused_by_loop(&self, attributes: &PathAttributes) -> Option<Refusal> {
        let Identity { local_asn, router_id, .. } = self.identity;
        if attributes.as_path.contains(local_asn) {
            Some(Refusal::AsLoop)
        } else if attributes.originator_id == Some(router_id) {
            Some(Refusal::OwnOriginator)
        } else if attributes.cluster_list.contains(&router_id) {
            Some(Refusal::ClusterLoop)
        } else {
            None
        }
    }

    /// What the way that the route has come says about it.
    fn refused_by_way(&self, attributes: &PathAttributes) -> Option<Refusal> {
        let path = &attributes.as_path;
        let Identity { remote_asn, .. } = self.identity;
        if self.enforce_first_as && self.identity.is_external() && path.first() != Some(remote_asn)
        {
            return Some(Refusal::WrongFirstAs);
        }
        if self.is_leak(attributes.only_to_customer) {
            return Some(Refusal::RouteLeak);
        }
        // Not a fault of the message: the route is kept, so that it can be listed (RFC 9774 §3).
        if !self.allow_as_sets && path.segments.iter().any(|segment| segment.kind.is_set()) {
            return Some(Refusal::AsSet);
        }
        (!self.allow_bogon_asns && bogon_asn::is_in(path)).then_some(Refusal::BogonAsn)
    }

    /// RFC 9234 §5, the ingress procedure. A route that has been sent to a customer or a peer once
    /// may go down to customers only. A route that has no OTC yet gets none here: it would count when
    /// the route is announced further, and ours never are.
    fn is_leak(&self, only_to_customer: Option<u32>) -> bool {
        let (Some(asn), Some(role), true) =
            (only_to_customer, self.identity.role, self.identity.is_external())
        else {
            return false;
        };
        match role.of_neighbor() {
            BgpRole::Customer | BgpRole::RsClient => true,
            BgpRole::Peer => asn != self.identity.remote_asn,
            BgpRole::Provider | BgpRole::Rs => false,
        }
    }

    fn refused_by_communities(&self, attributes: &PathAttributes) -> Option<Refusal> {
        if attributes.communities.contains(&BLACKHOLE) {
            Some(Refusal::Blackhole)
        } else if self.communities_none.has_any_of(attributes) {
            Some(Refusal::DeniedCommunity)
        } else if !self.communities_all.are_all_of(attributes) {
            Some(Refusal::MissingCommunity)
        } else if !self.communities.is_empty() && !self.communities.has_any_of(attributes) {
            Some(Refusal::NoMatchingCommunity)
        } else {
            None
        }
    }

    fn refused_by_lists_of_ases(&self, path: &AsPath) -> Option<Refusal> {
        if !self.origin_asns.is_empty() {
            let is_named = |asn| self.origin_asns.iter().any(|range| range.contains(asn));
            if !self.origin(path).is_some_and(is_named) {
                return Some(Refusal::NoMatchingOrigin);
            }
        }
        if !self.as_path.is_empty() || !self.as_path_none.is_empty() {
            let text = path.to_string();
            if self.as_path_none.iter().any(|pattern| pattern.matches(&text)) {
                return Some(Refusal::DeniedAsPath);
            }
            if !self.as_path.is_empty() && !self.as_path.iter().any(|it| it.matches(&text)) {
                return Some(Refusal::NoMatchingAsPath);
            }
        }
        let is_too_long = self.max_as_path_length.is_some_and(|most| path.length() > most);
        is_too_long.then_some(Refusal::AsPathTooLong)
    }

    /// The AS that originates the route (RFC 6811 §2): ours, if it has not left it. `None` for one
    /// that cannot be told, of a path that ends in a set.
    fn origin(&self, path: &AsPath) -> Option<u32> {
        let own = || (!self.identity.is_external()).then_some(self.identity.local_asn);
        let Some(last) = path.segments.last() else { return own() };
        match last.kind {
            SegmentKind::Sequence => last.asns.last().copied(),
            SegmentKind::ConfederationSequence | SegmentKind::ConfederationSet => own(),
            SegmentKind::Set => None,
        }
    }

    fn refused_by_space(&self, prefix: &IpNet) -> Option<Refusal> {
        special_purpose::refusal(prefix).filter(|refusal| match refusal {
            Refusal::Cgnat => !self.allow_cgnat,
            _ => !self.allow_bogons,
        })
    }

    fn refused_by_length(&self, prefix: &IpNet) -> Option<Refusal> {
        let bounds = match prefix {
            IpNet::V4(_) => &self.ipv4_lengths,
            IpNet::V6(_) => &self.ipv6_lengths,
        };
        match prefix.prefix_len() {
            length if length > *bounds.end() => Some(Refusal::TooLong),
            length if length < *bounds.start() => Some(Refusal::TooShort),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
