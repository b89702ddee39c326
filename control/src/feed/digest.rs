//! A fingerprint of a whole route table that changes with one route in constant time.
//!
//! Both ends of a feed keep one and compare them, so that a difference is found at the next
//! message or heartbeat. The digest is the sum modulo 2^128 of a hash per route; a sum does not
//! depend on order, and a route that goes is subtracted again.
//!
//! The hash of a route is the first 16 bytes, big endian, of SHA-256 over:
//!
//! | field | bytes |
//! |---|---|
//! | the key `mcc-feed-1` | 10 |
//! | 4 or 6; prefix length; address | 1; 1; 4 or 16 |
//! | source: 0 manual, 1 BGP | 1 |
//! | path length | 4 |
//! | MED: 0, or 1 and the value | 1 or 5 |
//! | neighbor AS: 0, or 1 and the value | 1 or 5 |
//! | number of communities, then each: length, text | 4, then 4 + its length |
//!
//! Numbers are big endian; host bits of the address are zero. The digest finds errors; it keeps
//! no secret and proves no identity, a node's token does that.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::record::{RouteAttributes, Source};

const KEY: &[u8; 10] = b"mcc-feed-1";

/// The fingerprint of a set of routes, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(u128);

impl Digest {
    /// Of no route at all.
    pub const EMPTY: Self = Self(0);

    /// Of one route.
    #[must_use]
    pub fn of(prefix: &IpNet, attributes: &RouteAttributes) -> Self {
        let mut hash = Sha256::new();
        hash.update(KEY);
        match prefix.trunc() {
            IpNet::V4(net) => {
                hash.update([4, net.prefix_len()]);
                hash.update(net.addr().octets());
            }
            IpNet::V6(net) => {
                hash.update([6, net.prefix_len()]);
                hash.update(net.addr().octets());
            }
        }
        hash.update([match attributes.source {
            Source::Manual => 0,
            Source::Bgp => 1,
        }]);
        hash.update(attributes.path_len.to_be_bytes());
        for optional in [attributes.med, attributes.neighbor_asn] {
            match optional {
                None => hash.update([0]),
                Some(value) => {
                    hash.update([1]);
                    hash.update(value.to_be_bytes());
                }
            }
        }
        hash.update(length(attributes.communities.len()));
        for community in &attributes.communities {
            hash.update(length(community.len()));
            hash.update(community.as_bytes());
        }
        let sum: [u8; 32] = hash.finalize().into();
        let (first, _) = sum.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Self(u128::from_be_bytes(*first))
    }

    /// Of these routes and the one that `route` is of.
    #[must_use]
    pub fn plus(self, route: Self) -> Self {
        Self(self.0.wrapping_add(route.0))
    }

    /// Of these routes without the one that `route` is of, which must be among them.
    #[must_use]
    pub fn minus(self, route: Self) -> Self {
        Self(self.0.wrapping_sub(route.0))
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A string that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no digest: 32 hexadecimal digits")]
pub struct DigestError(String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(s: &str) -> Result<Self, DigestError> {
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DigestError(s.to_owned()));
        }
        u128::from_str_radix(s, 16).map(Self).map_err(|_| DigestError(s.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(s: String) -> Result<Self, DigestError> {
        s.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feed::testing::any_table;

    #[test]
    fn is_the_published_function() {
        // Computed apart from this code, from the table at the top of this file.
        let digest = Digest::of(
            &"198.51.100.0/24".parse().unwrap(),
            &RouteAttributes {
                med: Some(10),
                communities: vec!["65100:911".to_owned()],
                ..RouteAttributes::bgp(3, 65100)
            },
        );
        assert_eq!(digest.to_string(), "2ea41d571e2a304681d169f0e353123f");
    }

    #[test]
    fn each_attribute_counts() {
        let prefix = "198.51.100.0/24".parse().unwrap();
        let base = RouteAttributes::bgp(3, 65100);
        let of = |attributes| Digest::of(&prefix, &attributes);
        let all = [
            of(base.clone()),
            of(RouteAttributes { source: Source::Manual, ..base.clone() }),
            of(RouteAttributes { path_len: 4, ..base.clone() }),
            of(RouteAttributes { med: Some(0), ..base.clone() }),
            of(RouteAttributes { med: Some(65100), neighbor_asn: None, ..base.clone() }),
            of(RouteAttributes { neighbor_asn: None, ..base.clone() }),
            of(RouteAttributes { communities: vec!["1:2".into(), "3:4".into()], ..base.clone() }),
            of(RouteAttributes { communities: vec!["1:23:4".into()], ..base.clone() }),
            Digest::of(&"198.51.100.0/25".parse().unwrap(), &base),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{one} twice");
        }
    }

    #[test]
    fn reads_only_what_it_writes() {
        for bad in ["", "0", "+0000000000000000000000000000000", &"0".repeat(33), &"g".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError(bad.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn order_and_detours_do_not_count(table in any_table(), extra in any_table()) {
            let hashes = |t: &crate::feed::testing::Table| -> Vec<Digest> {
                t.iter().map(|(p, a)| Digest::of(p, a)).collect()
            };
            let sum = |h: &[Digest]| h.iter().fold(Digest::EMPTY, |s, d| s.plus(*d));
            let (table, extra) = (hashes(&table), hashes(&extra));
            let straight = sum(&table);
            let mut detour = sum(&extra);
            for hash in table.iter().rev() {
                detour = detour.plus(*hash);
            }
            for hash in &extra {
                detour = detour.minus(*hash);
            }
            prop_assert_eq!(straight, detour);
            prop_assert_eq!(straight.to_string().parse(), Ok(straight));
        }
    }
}
