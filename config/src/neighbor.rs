//! A BGP neighbor as the operator writes it, in the node's file or in the control plane's API.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AcceptRules, Secret, keys};

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
    /// Hold time that is proposed, in seconds: 0 (never expires) or 3 to 65535 (RFC 4271 §4.2).
    #[serde(default = "default_hold_time")]
    pub hold_time: u16,
    /// Waits for the router to connect instead of connecting too.
    #[serde(default)]
    pub passive: bool,
    /// The most prefixes that the router may announce, counted before the accept rules.
    #[serde(default = "default_max_prefixes")]
    pub max_prefixes: u32,
    /// Which of its prefixes become footprint.
    #[serde(default)]
    pub accept: AcceptRules,
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

impl Neighbor {
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
        if self.port == 0 {
            report("port", None, "0".to_owned(), accepted("port"));
        }
        if let Some(password) = &self.password
            && !(1..=LONGEST_PASSWORD).contains(&password.expose().len())
        {
            let found = format!("a string of {} bytes", password.expose().len());
            report("password", None, found, accepted("password"));
        }
        if matches!(self.hold_time, 1 | 2) {
            report("hold_time", None, self.hold_time.to_string(), accepted("hold_time"));
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

/// Whether an address can be that of a single host.
pub(crate) fn is_one_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

fn default_port() -> u16 {
    179
}

fn default_hold_time() -> u16 {
    90
}

fn default_max_prefixes() -> u32 {
    100_000
}
