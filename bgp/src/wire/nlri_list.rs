//! The prefixes of an UPDATE as bytes: four for a /24, where a value of each takes 24.
//!
//! A full table comes in a quarter of a million UPDATEs with a few prefixes each, or in a million with
//! one. In this form most of them need no memory of their own on their way to the RIB.

use std::fmt;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use smallvec::SmallVec;

use super::Nlri;

/// Six /24 fit without memory of their own.
const INLINE: usize = 24;

/// A prefix begins with its length in bits, to which this is added for IPv6.
const IPV6: u8 = 64;
/// In place of a length: a path identifier of four bytes comes before the prefix. Not there if that is 0.
const PATH_ID: u8 = 255;

/// Prefixes of one UPDATE, in the order they came in, of both families.
///
/// Host bits that are not 0 are kept as they are, and cleared on the way out: what they say has no
/// meaning (RFC 4271 §4.3).
#[derive(Clone, Default)]
pub struct NlriList(SmallVec<[u8; INLINE]>);

impl NlriList {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are: a walk over all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// One after the other.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// Appends one.
    pub fn push(&mut self, nlri: Nlri) {
        let Nlri { prefix, path_id } = nlri;
        if path_id != 0 {
            self.0.push(PATH_ID);
            self.0.extend_from_slice(&path_id.to_be_bytes());
        }
        let length = prefix.prefix_len();
        let bytes = usize::from(length.div_ceil(8));
        match prefix {
            IpNet::V4(prefix) => {
                self.0.push(length);
                let octets = prefix.addr().octets();
                self.0.extend_from_slice(octets.get(..bytes).unwrap_or(&octets));
            }
            IpNet::V6(prefix) => {
                self.0.push(IPV6 + length);
                let octets = prefix.addr().octets();
                self.0.extend_from_slice(octets.get(..bytes).unwrap_or(&octets));
            }
        }
    }

    /// Appends a checked field of IPv4 prefixes without path identifiers, which are here as they are
    /// on the wire.
    pub(super) fn extend_from_ipv4_field(&mut self, field: &[u8]) {
        if self.0.is_empty() {
            self.0 = SmallVec::from_slice(field);
        } else {
            self.reserve_bytes(field.len());
            self.0.extend_from_slice(field);
        }
    }

    /// Makes room for so many bytes, and no more.
    pub(super) fn reserve_bytes(&mut self, bytes: usize) {
        self.0.reserve_exact(bytes);
    }

    /// Keeps those that `is_kept`.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Nlri) -> bool) {
        if !self.iter().all(|nlri| is_kept(&nlri)) {
            *self = self.iter().filter(is_kept).collect();
        }
    }

    /// Bytes of memory that it takes outside of itself.
    #[must_use]
    pub fn allocated(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

impl Extend<Nlri> for NlriList {
    fn extend<T: IntoIterator<Item = Nlri>>(&mut self, all: T) {
        all.into_iter().for_each(|nlri| self.push(nlri));
    }
}

impl FromIterator<Nlri> for NlriList {
    fn from_iter<T: IntoIterator<Item = Nlri>>(all: T) -> Self {
        let mut list = Self::new();
        list.extend(all);
        list
    }
}

impl<'a> IntoIterator for &'a NlriList {
    type Item = Nlri;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for NlriList {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for NlriList {}

impl fmt::Debug for NlriList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// The prefixes of a [`NlriList`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl Iterator for Iter<'_> {
    type Item = Nlri;

    #[inline]
    fn next(&mut self) -> Option<Nlri> {
        let (&head, rest) = self.rest.split_first()?;
        let (path_id, head, rest) = match head {
            PATH_ID => {
                let (path_id, rest) = rest.split_first_chunk()?;
                let (&head, rest) = rest.split_first()?;
                (u32::from_be_bytes(*path_id), head, rest)
            }
            head => (0, head, rest),
        };
        if head < IPV6 {
            let (bytes, rest) = rest.split_at_checked(usize::from(head.div_ceil(8)))?;
            self.rest = rest;
            // Without a loop over the bytes.
            let address = match *bytes {
                [a, b, c] => [a, b, c, 0],
                [a, b] => [a, b, 0, 0],
                _ => padded(bytes)?,
            };
            let prefix = Ipv4Net::new(address.into(), head).ok()?.trunc().into();
            return Some(Nlri { prefix, path_id });
        }
        let length = head - IPV6;
        let (bytes, rest) = rest.split_at_checked(usize::from(length.div_ceil(8)))?;
        self.rest = rest;
        let prefix = Ipv6Net::new(padded::<16>(bytes)?.into(), length).ok()?.trunc().into();
        Some(Nlri { prefix, path_id })
    }
}

/// The address that begins with these bytes.
pub(super) fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(address)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn nlri() -> impl Strategy<Value = Nlri> {
        let ipv4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| {
            Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc().into()
        });
        let ipv6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| {
            Ipv6Net::new(Ipv6Addr::from_bits(bits), length).unwrap().trunc().into()
        });
        let path_id = prop_oneof![Just(0), any::<u32>()];
        (prop_oneof![ipv4, ipv6], path_id).prop_map(|(prefix, path_id)| Nlri { prefix, path_id })
    }

    proptest! {
        #[test]
        fn gives_back_what_was_pushed(all in prop::collection::vec(nlri(), 0..20)) {
            let list: NlriList = all.iter().copied().collect();
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), &all[..]);
            prop_assert_eq!((list.len(), list.is_empty()), (all.len(), all.is_empty()));
            let mut ipv4 = list.clone();
            ipv4.retain(|nlri| nlri.prefix.addr().is_ipv4());
            let expected: Vec<_> =
                all.iter().filter(|nlri| nlri.prefix.addr().is_ipv4()).copied().collect();
            prop_assert_eq!(ipv4.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(ipv4 == list, all.iter().all(|nlri| nlri.prefix.addr().is_ipv4()));
        }
    }

    #[test]
    fn a_few_prefixes_need_no_memory() {
        let few: NlriList =
            (0..6).map(|i| crate::testing::nlri(&format!("192.0.{i}.0/24"))).collect();
        assert_eq!((few.len(), few.allocated()), (6, 0));
        assert_eq!(size_of::<NlriList>(), 32);
    }
}
