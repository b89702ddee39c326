//! The name under which an object is stored.
//!
//! A key is the canonical host, the path and those query parameters that tell contents apart; what
//! belongs into it is decided by the request side. Two requests with the same key get the same
//! bytes. The key's hash is stable over restarts and releases, because the choice of a drive hangs
//! on it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use mcc_config::HostName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Host, path and key query of an object. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Host and target back to back: what people know as the URL without its scheme.
    text: Arc<str>,
    host_length: usize,
    /// The low and the high half: two words align better than one of 128 bits.
    hash: [u64; 2],
}

impl ObjectKey {
    /// The key of `path` (begins with `/`; added when missing) on the canonical `host`; `query`
    /// holds the parameters that belong to the key, without the `?`.
    #[must_use]
    pub fn new(host: &HostName, path: &str, query: Option<&str>) -> Self {
        let host = host.as_str();
        let slash = if path.starts_with('/') { "" } else { "/" };
        let text = match query {
            Some(query) => format!("{host}{slash}{path}?{query}"),
            None => format!("{host}{slash}{path}"),
        };
        let hash = fnv1a_128(text.as_bytes());
        let hash = [hash as u64, (hash >> 64) as u64];
        Self { hash, text: text.into(), host_length: host.len() }
    }

    /// The key that [`as_str`](Self::as_str) wrote; `None` when `text` is no host and target.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (host, path) = text.split_once('/')?;
        Some(Self::new(&host.parse().ok()?, path, None))
    }

    /// The canonical host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(..self.host_length).unwrap_or_default()
    }

    /// The path, and after a `?` the key query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.text.get(self.host_length..).unwrap_or_default()
    }

    /// Host and target back to back: `host/path?query`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// FNV-1a over host and target, 128 bits (RFC 9923). The same on every machine and release.
    /// Not a secret and not collision-proof: equality always compares the text.
    #[must_use]
    pub fn stable_hash(&self) -> u128 {
        let [low, high] = self.hash;
        u128::from(high) << 64 | u128::from(low)
    }
}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.stable_hash());
    }
}

/// As `host/path?query`.
impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::from_text(&text).ok_or_else(|| D::Error::custom(format!("no host/path: `{text}`")))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({})", self.text)
    }
}

/// RFC 9923 §2: offset basis and prime for 128 bits.
fn fnv1a_128(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// Spreads every bit of `x` over all bits of the result (the finisher of SplitMix64). FNV leaves
/// the last bytes of a text in few bits; whatever compares or divides hashes goes through here.
pub(super) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    #[test]
    fn parts_come_back() {
        let key = ObjectKey::new(&host("A.example"), "/x/y.bin", Some("P1=7"));
        assert_eq!(key.host(), "a.example");
        assert_eq!(key.target(), "/x/y.bin?P1=7");
        assert_eq!(key.as_str(), "a.example/x/y.bin?P1=7");
        assert_eq!(ObjectKey::new(&host("a.example"), "x", None).target(), "/x");
        assert_eq!(ObjectKey::from_text(key.as_str()), Some(key));
        assert_eq!(ObjectKey::from_text("a.example"), None);
        assert_eq!(ObjectKey::from_text("no host/x"), None);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // On-disk placement depends on it: these values must never change.
        assert_eq!(fnv1a_128(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a_128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn query_and_host_tell_keys_apart() {
        let plain = ObjectKey::new(&host("a.example"), "/x", None);
        assert_ne!(plain, ObjectKey::new(&host("a.example"), "/x", Some("v=1")));
        assert_ne!(plain, ObjectKey::new(&host("b.example"), "/x", None));
        assert_eq!(plain, ObjectKey::new(&host("a.example"), "/x", None));
    }
}
