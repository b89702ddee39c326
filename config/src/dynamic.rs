//! Neighbors that are not known one by one: routers that may connect from anywhere in a prefix, as
//! at a route-server site.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::neighbor::{
    default_hold_time, default_long_lived_stale_time, default_max_prefixes,
    default_max_prefixes_rest, default_stale_time, on,
};
use crate::{AcceptRules, Asn, BgpRole, ImpossibleValue, MaxPrefixesAction, Neighbor, Secret};

/// Routers in a prefix: `[[bgp.dynamic]]`. They connect to the node, never the other way round.
///
/// What it says of the sessions is the same as in [`Neighbor`], which each becomes while it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicNeighbors {
    /// Where the routers are. A configured neighbor goes first, then the longest prefix.
    pub prefix: IpNet,
    /// AS numbers that they may have; empty: any.
    #[serde(default)]
    pub asns: Vec<Asn>,
    /// How many may be there at a time, 1 to 65535: those with a session, and those whose routes
    /// are kept after one; not those whose routes were kept over a restart and who have not come back.
    #[serde(default = "default_max_sessions")]
    pub max_sessions: u16,
    /// Our AS number; without it that of each router, which makes the sessions iBGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<Asn>,
    /// A remark that `mcc bgp status` shows with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// TCP MD5 key (RFC 2385) of all of them, at most 80 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// As [`Neighbor::multihop`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<u8>,
    /// As [`Neighbor::ttl_security`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// As [`Neighbor::hold_time`].
    #[serde(default = "default_hold_time")]
    pub hold_time: u16,
    /// As [`Neighbor::graceful_restart`].
    #[serde(default = "on")]
    pub graceful_restart: bool,
    /// As [`Neighbor::stale_time`].
    #[serde(default = "default_stale_time")]
    pub stale_time: u32,
    /// As [`Neighbor::long_lived_stale_time`].
    #[serde(default = "default_long_lived_stale_time")]
    pub long_lived_stale_time: u32,
    /// As [`Neighbor::add_path`].
    #[serde(default = "on")]
    pub add_path: bool,
    /// As [`Neighbor::role`]; needs `local_asn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<BgpRole>,
    /// As [`Neighbor::role_strict`].
    #[serde(default)]
    pub role_strict: bool,
    /// As [`Neighbor::max_prefixes`], for each of them.
    #[serde(default = "default_max_prefixes")]
    pub max_prefixes: u32,
    /// As [`Neighbor::max_prefixes_action`].
    #[serde(default)]
    pub max_prefixes_action: MaxPrefixesAction,
    /// As [`Neighbor::max_prefixes_rest`].
    #[serde(default = "default_max_prefixes_rest")]
    pub max_prefixes_rest: u32,
    /// Which prefixes of each become footprint.
    #[serde(default)]
    pub accept: AcceptRules,
}

impl DynamicNeighbors {
    /// A prefix of which nothing else is known; all else is as by default.
    #[must_use]
    pub fn new(prefix: IpNet) -> Self {
        Self {
            prefix,
            asns: Vec::new(),
            max_sessions: default_max_sessions(),
            local_asn: None,
            description: None,
            password: None,
            multihop: None,
            ttl_security: None,
            hold_time: default_hold_time(),
            graceful_restart: true,
            stale_time: default_stale_time(),
            long_lived_stale_time: default_long_lived_stale_time(),
            add_path: true,
            role: None,
            role_strict: false,
            max_prefixes: default_max_prefixes(),
            max_prefixes_action: MaxPrefixesAction::default(),
            max_prefixes_rest: default_max_prefixes_rest(),
            accept: AcceptRules::default(),
        }
    }

    /// The neighbor that a router of this prefix becomes.
    #[must_use]
    pub fn neighbor(&self, address: IpAddr, asn: Asn) -> Neighbor {
        Neighbor {
            passive: true,
            local_asn: self.local_asn,
            description: self.description.clone(),
            password: self.password.clone(),
            multihop: self.multihop,
            ttl_security: self.ttl_security,
            hold_time: self.hold_time,
            graceful_restart: self.graceful_restart,
            stale_time: self.stale_time,
            long_lived_stale_time: self.long_lived_stale_time,
            add_path: self.add_path,
            role: self.role,
            role_strict: self.role_strict,
            max_prefixes: self.max_prefixes,
            max_prefixes_action: self.max_prefixes_action,
            max_prefixes_rest: self.max_prefixes_rest,
            accept: self.accept.clone(),
            // The others are for dialling, which is not done here.
            ..Neighbor::new(address, asn)
        }
    }

    /// Whether a router with this AS number may have a session.
    #[must_use]
    pub fn allows(&self, asn: u32) -> bool {
        self.asns.is_empty() || self.asns.iter().any(|allowed| allowed.get() == asn)
    }

    /// Every value that no session can work with: see [`Neighbor::impossible_values`].
    #[must_use]
    pub fn impossible_values(&self) -> Vec<ImpossibleValue> {
        // Any address and AS number will do: neither is a setting here.
        let asn = Asn::new(1).into_iter();
        let sample = asn.map(|asn| self.neighbor(IpAddr::from([192, 0, 2, 1]), asn));
        let mut all: Vec<_> = sample.flat_map(|neighbor| neighbor.impossible_values()).collect();
        if self.max_sessions == 0 {
            all.push(ImpossibleValue {
                key: "max_sessions",
                index: None,
                found: "0".to_owned(),
                accepted: "1 to 65535".into(),
                beside: None,
            });
        }
        all
    }
}

fn default_max_sessions() -> u16 {
    100
}
