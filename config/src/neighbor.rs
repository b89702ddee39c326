//! A BGP neighbor as the operator writes it, in the node's file or in the control plane's API.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AcceptRules, BgpRole, Secret, keys};

/// An autonomous system number (RFC 6793): 1 to 4,294,967,295, as a TOML or JSON number.
/// AS 0 is refused (RFC 7607), and so is `AS_TRANS` 23456 (RFC 6793 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Asn(u32);

impl Asn {
    /// The AS number, if `asn` is one that a speaker can have.
    #[must_use]
    pub const fn new(asn: u32) -> Option<Self> {
        if asn == 0 || asn == 23456 { None } else { Some(Self(asn)) }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Asn {
    type Error = String;

    fn try_from(asn: u32) -> Result<Self, String> {
        Self::new(asn).ok_or_else(|| {
            format!(
                "{asn} is a reserved AS number: use the number that the router is configured with"
            )
        })
    }
}

impl From<Asn> for u32 {
    fn from(asn: Asn) -> Self {
        asn.0
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One BGP neighbor: `[[bgp.neighbor]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbor {
    /// The router's address.
    pub address: IpAddr,
    /// The router's TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The router's AS number.
    pub asn: Asn,
    /// Our AS number in this session; without it the neighbor's, which makes the session iBGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<Asn>,
    /// A remark that `mcc bgp status` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// TCP MD5 key (RFC 2385), at most 80 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Our address to dial from; without it the one of `bgp.listen` if that is only one, else the
    /// system's choice. Where the router may dial to is `bgp.listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// TTL (IPv6: hop limit) of what we send, 1 to 255; without it the system's, mostly 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<u8>,
    /// How many hops away the router may be at most, 1 to 254: what has come further is dropped
    /// (GTSM, RFC 5082). The router needs the same setting. Not together with `multihop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// Hold time that is proposed, in seconds: 0 (never expires) or 3 to 65535 (RFC 4271 §4.2).
    #[serde(default = "default_hold_time")]
    pub hold_time: u16,
    /// Waits for the router to connect instead of connecting too.
    #[serde(default)]
    pub passive: bool,
    /// The longest wait between two attempts to connect, in seconds, 1 to 65535. Waits begin with
    /// one second and double with each failure in a row (RFC 4271 §8, ConnectRetryTime).
    #[serde(default = "default_connect_retry")]
    pub connect_retry: u16,
    /// How long to let the router send its OPEN first, in seconds, 0 to 240 (RFC 4271 §8,
    /// DelayOpenTime).
    #[serde(default)]
    pub delay_open: u16,
    /// Offers graceful restart (RFC 4724) with its notification extension (RFC 8538).
    #[serde(default = "on")]
    pub graceful_restart: bool,
    /// How long routes of a lost session stay, in seconds, if graceful restart does not say longer.
    #[serde(default = "default_stale_time")]
    pub stale_time: u32,
    /// The most that routes stay beyond that when the router asks for it (RFC 9494), in seconds, up
    /// to 16777215. 0 does not offer it; nor can it be had without `graceful_restart`.
    #[serde(default = "default_long_lived_stale_time")]
    pub long_lived_stale_time: u32,
    /// Lets the router send several paths a prefix (RFC 7911).
    #[serde(default = "on")]
    pub add_path: bool,
    /// What this node's AS is to the router's (RFC 9234); without it no role is claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<BgpRole>,
    /// Refuses a router that names no role of its own (RFC 9234 §4.2).
    #[serde(default)]
    pub role_strict: bool,
    /// The most prefixes that the router may announce, counted before the accept rules; with ADD-PATH
    /// each path of a prefix counts.
    #[serde(default = "default_max_prefixes")]
    pub max_prefixes: u32,
    /// What happens when it announces more.
    #[serde(default)]
    pub max_prefixes_action: MaxPrefixesAction,
    /// Seconds, 1 to 4,294,967,295, that the session rests where it is ended then;
    /// `mcc bgp reset` ends the rest.
    #[serde(default = "default_max_prefixes_rest")]
    pub max_prefixes_rest: u32,
    /// Which of its prefixes become footprint.
    #[serde(default)]
    pub accept: AcceptRules,
}

/// What happens when a neighbor announces more than `max_prefixes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaxPrefixesAction {
    /// The session ends and its routes go. It begins again after `max_prefixes_rest`.
    #[default]
    Restart,
    /// The session goes on; further prefixes are not taken. When there is room again the router is
    /// asked for its table.
    DiscardNew,
    /// The session ends as with `restart`, but the prefixes that were there before the flood stay, each
    /// as it was announced last: with the attributes of the flood, if it came again in it.
    KeepLastGood,
}

/// A value that a [`Neighbor`] cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImpossibleValue {
    /// The key below the neighbor, as in `accept.max_length`.
    pub key: &'static str,
    /// The position in the key's list, if it has one.
    pub index: Option<usize>,
    /// What stands there; words in its place for a password.
    pub found: String,
    /// What would be possible.
    pub accepted: Cow<'static, str>,
    /// The other key without which the value would be possible, if there is one.
    pub beside: Option<&'static str>,
}

impl fmt::Display for ImpossibleValue {
    /// ``accept.communities[1]: `x` is not possible; accepted: …``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, index, found, accepted, beside: _ } = self;
        f.write_str(key)?;
        if let Some(index) = index {
            write!(f, "[{index}]")?;
        }
        write!(f, ": `{found}` is not possible; accepted: {accepted}")
    }
}

/// The longest TCP MD5 key that Linux takes (`TCP_MD5SIG_MAXKEYLEN`).
const LONGEST_PASSWORD: usize = 80;
/// A router gives up a connection on which no OPEN comes for this long (RFC 4271 §8.2.2).
const LONGEST_DELAY_OPEN: u16 = 240;
/// The wire has 24 bits for it (RFC 9494 §3.1).
const LONGEST_LONG_LIVED_STALE_TIME: u32 = (1 << 24) - 1;

impl Neighbor {
    /// A neighbor of which only address and AS number are known; all else is as by default.
    #[must_use]
    pub fn new(address: IpAddr, asn: Asn) -> Self {
        Self {
            address,
            port: default_port(),
            asn,
            local_asn: None,
            description: None,
            password: None,
            source: None,
            multihop: None,
            ttl_security: None,
            hold_time: default_hold_time(),
            passive: false,
            connect_retry: default_connect_retry(),
            delay_open: 0,
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

    /// Every value that no session can work with. The node's file and the API of the control plane
    /// both refuse these, so that what one takes never stops the other.
    #[must_use]
    pub fn impossible_values(&self) -> Vec<ImpossibleValue> {
        let mut all = Vec::new();
        let mut report = |key, index, found, accepted: &'static str| {
            let accepted = accepted.into();
            all.push(ImpossibleValue { key, index, found, accepted, beside: None });
        };
        let accepted = |key: &str| keys::accepted(keys::NODE, &format!("bgp.neighbor.{key}"));
        if !is_one_host(self.address) {
            report("address", None, self.address.to_string(), "the address of one router");
        }
        if is_link_local(self.address) {
            let accepted = "an address that needs no interface beside it: a link-local one (fe80::) is \
                            good on one link only, and there is no place here for which; use the \
                            router's global or unique local address";
            report("address", None, self.address.to_string(), accepted);
        }
        if self.port == 0 {
            report("port", None, "0".to_owned(), accepted("port"));
        }
        if let Some(password) = &self.password
            && !(1..=LONGEST_PASSWORD).contains(&password.expose().len())
        {
            let found = format!("a string of {} bytes", password.expose().len());
            report("password", None, found, accepted("password"));
        }
        if let Some(source) = self.source {
            if !is_one_host(source) {
                report("source", None, source.to_string(), accepted("source"));
            } else if source.is_ipv4() != self.address.is_ipv4() {
                let accepted = "an address of this node, of the same family as `address`";
                report("source", None, source.to_string(), accepted);
            }
        }
        if self.multihop == Some(0) {
            report("multihop", None, "0".to_owned(), accepted("multihop"));
        }
        if let Some(hops) = self.ttl_security {
            if !(1..=254).contains(&hops) {
                report("ttl_security", None, hops.to_string(), accepted("ttl_security"));
            } else if self.multihop.is_some() {
                let accepted = "no `ttl_security` beside `multihop`: it always sends a TTL of 255";
                report("ttl_security", None, hops.to_string(), accepted);
            }
        }
        if matches!(self.hold_time, 1 | 2) {
            report("hold_time", None, self.hold_time.to_string(), accepted("hold_time"));
        }
        if self.connect_retry == 0 {
            report("connect_retry", None, "0".to_owned(), accepted("connect_retry"));
        }
        if self.delay_open > LONGEST_DELAY_OPEN {
            report("delay_open", None, self.delay_open.to_string(), accepted("delay_open"));
        }
        if self.long_lived_stale_time > LONGEST_LONG_LIVED_STALE_TIME {
            let (key, found) = ("long_lived_stale_time", self.long_lived_stale_time.to_string());
            report(key, None, found, accepted(key));
        }
        if self.max_prefixes_rest == 0 {
            report("max_prefixes_rest", None, "0".to_owned(), accepted("max_prefixes_rest"));
        }
        if self.max_prefixes == 0 {
            report("max_prefixes", None, "0".to_owned(), accepted("max_prefixes"));
        }
        all.extend(self.accept.impossible_values());
        all
    }

    /// Our AS number in this session.
    #[must_use]
    pub fn effective_local_asn(&self) -> Asn {
        self.local_asn.unwrap_or(self.asn)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether an address can be that of a single host.
pub(crate) fn is_one_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

fn default_port() -> u16 {
    179
}

pub(crate) fn default_hold_time() -> u16 {
    90
}

fn default_connect_retry() -> u16 {
    60
}

pub(crate) fn default_stale_time() -> u32 {
    300
}

pub(crate) fn default_long_lived_stale_time() -> u32 {
    86_400
}

pub(crate) fn default_max_prefixes_rest() -> u32 {
    1800
}

pub(crate) fn default_max_prefixes() -> u32 {
    100_000
}

pub(crate) fn on() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use crate::NodeConfig;

    #[test]
    fn timers_and_roles_that_cannot_be() {
        let problem = |settings: &str| {
            let file = format!(
                "node = {{ name = \"edge-1\", address = \"192.0.2.10\" }}\n\
                 drive = [{{ path = \"/cache/1\", size = \"500GB\" }}]\n\
                 [[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65100\n{settings}\n"
            );
            NodeConfig::parse(&file, "mcc.toml").map_or_else(|e| e.to_string(), |_| String::new())
        };
        for (settings, expected) in [
            ("connect_retry = 0", "`0`; accepted: seconds, 1 to 65535"),
            ("delay_open = 241", "`241`; accepted: seconds, 0 to 240"),
            (
                "long_lived_stale_time = 16777216",
                "`16777216`; accepted: seconds, 0 (off) to 16777215",
            ),
            ("stale_time = -1", "`-1`; accepted: seconds, 0 to 4294967295"),
            ("local_asn = 65200\nrole = \"upstream\"", "`\"provider\"`, `\"rs\"`"),
            ("role = \"customer\"", "accepted: no role, since both sides have one AS number"),
            ("role_strict = true", "accepted: false, since without a `role`"),
        ] {
            let found = problem(settings);
            assert!(found.contains(expected), "{settings}: {found}");
        }
        assert_eq!(problem("local_asn = 65200\nrole = \"rs-client\"\nrole_strict = true"), "");
        assert_eq!(problem("delay_open = 240\nstale_time = 0\nlong_lived_stale_time = 0"), "");
    }
}
