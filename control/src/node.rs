//! What an operator decides about a node, and the checks that a decision must pass.
//!
//! The checks here look at one node alone. Whether two nodes get in each other's way is the
//! fleet's business.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use mcc_config::{Neighbor, NodeName, Secret};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What replies and the audit log show in place of a neighbor's password.
pub const HIDDEN: &str = "[secret]";

/// The settings of a node, as the API takes them and the node reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// Unique in the control plane; never changes.
    pub name: NodeName,
    /// The address that clients are sent to, unique in the control plane.
    pub address: IpAddr,
    /// Upper bound of what is sent to clients, in megabits (10^6 bits) per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_egress_mbps: Option<u32>,
    /// Client prefixes entered by hand.
    #[serde(default)]
    pub cidrs: Vec<IpNet>,
    /// BGP neighbors of the node.
    #[serde(default)]
    pub neighbors: Vec<Neighbor>,
}

/// Settings that no node can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// IPv6 while it is switched off.
    #[error(
        "{key}: `{value}` is IPv6, which is off: set `ipv6 = true` under [control] to allow it"
    )]
    Ipv6Off {
        /// Where it stands.
        key: String,
        /// What stands there.
        value: String,
    },
    /// Nobody can be sent to this address.
    #[error(
        "address: `{address}` is {what}: use the unicast address that clients reach the node at"
    )]
    NotUnicast {
        /// The address.
        address: IpAddr,
        /// What it is instead.
        what: &'static str,
    },
    /// Bits are set behind the prefix length.
    #[error("{key}: `{cidr}` has host bits set: use `{network}`")]
    HostBits {
        /// Where it stands.
        key: String,
        /// The prefix as given.
        cidr: IpNet,
        /// The prefix that was probably meant.
        network: IpNet,
    },
    /// The same thing is listed twice.
    #[error("{key}: `{value}` is listed twice: remove one")]
    Twice {
        /// Where the second one stands.
        key: String,
        /// What is there twice.
        value: String,
    },
    /// A value that is out of range.
    #[error("{key}: {found} is not possible: {accepted}")]
    OutOfRange {
        /// Where it stands.
        key: String,
        /// What stands there.
        found: String,
        /// What is accepted.
        accepted: Cow<'static, str>,
    },
}

impl NodeSettings {
    /// Checks everything that can be said without knowing the other nodes.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what would be right.
    pub fn check(&self, ipv6: bool) -> Result<(), SettingsError> {
        check_address(self.address, ipv6)?;
        if self.max_egress_mbps == Some(0) {
            return Err(SettingsError::OutOfRange {
                key: "max_egress_mbps".to_owned(),
                found: "0".to_owned(),
                accepted: "1 or more; leave it out for no limit, drain the node to stop it".into(),
            });
        }
        let mut seen = BTreeSet::new();
        for (index, cidr) in self.cidrs.iter().enumerate() {
            let key = format!("cidrs[{index}]");
            check_cidr(&key, *cidr, ipv6)?;
            if !seen.insert(*cidr) {
                return Err(SettingsError::Twice { key, value: cidr.to_string() });
            }
        }
        let mut seen = BTreeSet::new();
        for (index, neighbor) in self.neighbors.iter().enumerate() {
            let key = format!("neighbors[{index}]");
            check_neighbor(&key, neighbor, ipv6)?;
            if !seen.insert(neighbor.address.to_canonical()) {
                return Err(SettingsError::Twice { key, value: neighbor.address.to_string() });
            }
        }
        Ok(())
    }

    /// The same settings with every password replaced by [`HIDDEN`].
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut shown = self.clone();
        for neighbor in &mut shown.neighbors {
            if neighbor.password.is_some() {
                neighbor.password = Some(Secret::new(HIDDEN.to_owned()));
            }
        }
        shown
    }

    /// Puts passwords back where `self` carries [`HIDDEN`], from the neighbor of the same address
    /// in `before`: what was read from the API can be sent back to it. Where there is none to put
    /// back, [`NodeSettings::check`] refuses what is left.
    #[must_use]
    pub fn with_passwords_of(mut self, before: &Self) -> Self {
        for neighbor in self.neighbors.iter_mut().filter(|neighbor| is_hidden(neighbor)) {
            let old = before.neighbors.iter().find(|old| old.address == neighbor.address);
            if let Some(password) = old.and_then(|old| old.password.clone()) {
                neighbor.password = Some(password);
            }
        }
        self
    }
}

fn is_hidden(neighbor: &Neighbor) -> bool {
    neighbor.password.as_ref().is_some_and(|password| password.expose() == HIDDEN)
}

fn check_address(address: IpAddr, ipv6: bool) -> Result<(), SettingsError> {
    if address.is_ipv6() && !ipv6 {
        return Err(SettingsError::Ipv6Off {
            key: "address".to_owned(),
            value: address.to_string(),
        });
    }
    let what = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(_) | IpAddr::V6(_) => return Ok(()),
    };
    Err(SettingsError::NotUnicast { address, what })
}

/// Checks one CIDR block, which error messages call `key`.
///
/// # Errors
/// What is wrong with it.
pub fn check_cidr(key: &str, cidr: IpNet, ipv6: bool) -> Result<(), SettingsError> {
    if matches!(cidr, IpNet::V6(_)) && !ipv6 {
        return Err(SettingsError::Ipv6Off { key: key.to_owned(), value: cidr.to_string() });
    }
    let network = cidr.trunc();
    if network != cidr {
        return Err(SettingsError::HostBits { key: key.to_owned(), cidr, network });
    }
    if cidr.prefix_len() == 0 {
        return Err(SettingsError::OutOfRange {
            key: key.to_owned(),
            found: format!("`{cidr}`, the whole internet,"),
            accepted: "prefixes of your own clients".into(),
        });
    }
    Ok(())
}

/// Checks one neighbor, which error messages call `key`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_neighbor(key: &str, neighbor: &Neighbor, ipv6: bool) -> Result<(), SettingsError> {
    if neighbor.address.is_ipv6() && !ipv6 {
        return Err(SettingsError::Ipv6Off {
            key: format!("{key}.address"),
            value: neighbor.address.to_string(),
        });
    }
    if let Some((name, index, entry)) = neighbor.accept.ipv6_prefixes().next()
        && !ipv6
    {
        let key = format!("{key}.{name}[{index}]");
        return Err(SettingsError::Ipv6Off { key, value: entry.to_owned() });
    }
    let wrong = |name: &str, found: String, accepted| {
        Err(SettingsError::OutOfRange { key: format!("{key}.{name}"), found, accepted })
    };
    if let Some(value) = neighbor.impossible_values().into_iter().next() {
        let index = value.index.map(|index| format!("[{index}]")).unwrap_or_default();
        return wrong(
            &format!("{}{index}", value.key),
            format!("`{}`", value.found),
            value.accepted,
        );
    }
    if is_hidden(neighbor) {
        let found = format!("`{HIDDEN}`, which stands for a password that is not shown,");
        let accepted = "send the password itself, this neighbor had none".into();
        return wrong("password", found, accepted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> NodeSettings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_wrong_is_named_with_the_way_out() {
        for (json, message) in [
            (
                r#"{"name":"a","address":"2001:db8::1"}"#,
                "address: `2001:db8::1` is IPv6, which is off: set `ipv6 = true` under [control] to allow it",
            ),
            (
                r#"{"name":"a","address":"0.0.0.0"}"#,
                "address: `0.0.0.0` is the unspecified address: use the unicast address that clients reach the node at",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","cidrs":["198.51.100.0/24","198.51.100.7/24"]}"#,
                "cidrs[1]: `198.51.100.7/24` has host bits set: use `198.51.100.0/24`",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","cidrs":["2001:db8::/32"]}"#,
                "cidrs[0]: `2001:db8::/32` is IPv6, which is off: set `ipv6 = true` under [control] to allow it",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","cidrs":["198.51.100.0/24","198.51.100.0/24"]}"#,
                "cidrs[1]: `198.51.100.0/24` is listed twice: remove one",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","max_egress_mbps":0}"#,
                "max_egress_mbps: 0 is not possible: 1 or more; leave it out for no limit, drain the node to stop it",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"192.0.2.9","asn":65100,"hold_time":2}]}"#,
                "neighbors[0].hold_time: `2` is not possible: seconds: 0 (never expires), or 3 to 65535",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","cidrs":["0.0.0.0/0"]}"#,
                "cidrs[0]: `0.0.0.0/0`, the whole internet, is not possible: prefixes of your own clients",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"224.0.0.1","asn":65100}]}"#,
                "neighbors[0].address: `224.0.0.1` is not possible: the address of one router",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"192.0.2.9","asn":65100,"max_prefixes":0}]}"#,
                "neighbors[0].max_prefixes: `0` is not possible: 1 to 4294967295",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"192.0.2.9","asn":65100,"accept":{"communities":["65100:1","no-exports"]}}]}"#,
                "neighbors[0].accept.communities[1]: `no-exports` is not possible: `65100:911`, a large one such as `65100:1:2`, an extended one such as `rt:65100:1`, `soo:65100:1` or `ext:0x` and 16 hex digits, or a name: graceful-shutdown, accept-own, llgr-stale, no-llgr, accept-own-nexthop, standby-pe, blackhole, no-export, no-advertise, no-export-subconfed, no-peer",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"192.0.2.9","asn":65100,"accept":{"min_length":25}}]}"#,
                "neighbors[0].accept.min_length: `25` is not possible: at most 24, the `max_length`",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"192.0.2.9","asn":65100,"accept":{"origin_asns":[65100,"9-5"]}}]}"#,
                "neighbors[0].accept.origin_asns[1]: `9-5` is not possible: an AS number of 1 to 4294967295, such as `65100`, or a range such as `\"64512-65534\"`",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"192.0.2.9","asn":65100,"accept":{"deny_prefixes":["2001:db8::/32"]}}]}"#,
                "neighbors[0].accept.deny_prefixes[0]: `2001:db8::/32` is IPv6, which is off: set `ipv6 = true` under [control] to allow it",
            ),
            (
                r#"{"name":"a","address":"192.0.2.1","neighbors":[{"address":"2001:db8::9","asn":65100}]}"#,
                "neighbors[0].address: `2001:db8::9` is IPv6, which is off: set `ipv6 = true` under [control] to allow it",
            ),
        ] {
            assert_eq!(settings(json).check(false).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn ipv6_passes_when_it_is_on() {
        let json = r#"{"name":"a","address":"2001:db8::1","cidrs":["2001:db8::/32"]}"#;
        assert_eq!(settings(json).check(true), Ok(()));
    }

    #[test]
    fn a_password_survives_the_round_trip_through_a_reply() {
        let stored = settings(
            r#"{"name":"a","address":"192.0.2.1",
                "neighbors":[{"address":"192.0.2.9","asn":65100,"password":"tops"}]}"#,
        );
        let shown = stored.redacted();
        assert!(!serde_json::to_string(&shown).unwrap().contains("tops"));
        assert_eq!(shown.clone().with_passwords_of(&stored), stored);

        let mut moved = shown;
        moved.neighbors[0].address = "192.0.2.8".parse().unwrap();
        let error = moved.with_passwords_of(&stored).check(false).unwrap_err().to_string();
        assert!(error.starts_with("neighbors[0].password: `[secret]`"), "{error}");
    }
}
