//! Prefixes on the wire: a length in bits, then as many bytes as that needs (RFC 4271 §4.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use smallvec::SmallVec;

use super::{Family, FamilyOptions, Nlri};

/// Prefixes of one UPDATE. A router with many attribute sets sends them one by one.
pub type NlriList = SmallVec<[Nlri; 1]>;

/// A field of prefixes of one family.
#[derive(Clone, Copy)]
pub(super) struct NlriField<'a> {
    pub(super) bytes: &'a [u8],
    /// IPv4 or IPv6 unicast.
    pub(super) family: Family,
    pub(super) options: FamilyOptions,
}

/// The first prefix of a field that makes no sense, and why.
pub(super) type Malformed<'a> = (&'a [u8], &'static str);

/// One prefix as it lies there: path identifier, length in bits, significant bytes; and what follows.
type Entry<'a> = (u32, u8, &'a [u8], &'a [u8]);

impl<'a> NlriField<'a> {
    /// Appends the prefixes to `list`, which grows once, by their exact number. On an error
    /// nothing is appended: no prefix of such a field is to be trusted (RFC 7606 §5.3).
    pub(super) fn read_into(self, list: &mut NlriList) -> Result<(), Malformed<'a>> {
        list.reserve_exact(self.count()?);
        let mut rest = self.bytes;
        while let Some((path_id, bits, bytes, after)) = self.entry(rest) {
            let Some(prefix) = prefix(self.family, bits, bytes) else { break };
            list.push(Nlri { prefix, path_id });
            rest = after;
        }
        Ok(())
    }

    /// Checks all and counts them.
    fn count(self) -> Result<usize, Malformed<'a>> {
        let (width, too_long) = match self.family {
            Family::IPV4_UNICAST => (32, "a prefix is longer than 32 bits (RFC 7606 §5.3)"),
            Family { .. } => (128, "a prefix is longer than 128 bits (RFC 7606 §5.3)"),
        };
        let mut rest = self.bytes;
        let mut count = 0;
        while !rest.is_empty() {
            match self.entry(rest) {
                Some((_, bits, ..)) if bits > width => return Err((rest, too_long)),
                Some((.., after)) => rest = after,
                None => {
                    return Err((
                        rest,
                        "a prefix goes beyond the end of its field (RFC 7606 §5.3)",
                    ));
                }
            }
            count += 1;
        }
        Ok(count)
    }

    /// The first entry and what follows it; `None` if it is not all there.
    ///
    /// By hand, as all that is done for each of a million prefixes.
    #[inline]
    fn entry(self, input: &'a [u8]) -> Option<Entry<'a>> {
        let (path_id, input) = if self.options.add_path {
            let (path_id, input) = input.split_first_chunk()?;
            (u32::from_be_bytes(*path_id), input)
        } else {
            (0, input)
        };
        let (&bits, input) = input.split_first()?;
        let (bytes, after) = input.split_at_checked(usize::from(bits.div_ceil(8)))?;
        Some((path_id, bits, bytes, after))
    }
}

/// The prefix with its host bits cleared: what they say has no meaning (RFC 4271 §4.3).
fn prefix(family: Family, bits: u8, bytes: &[u8]) -> Option<IpNet> {
    match family {
        Family::IPV4_UNICAST => {
            // Without a loop over the bytes.
            let address = match *bytes {
                [a, b, c] => [a, b, c, 0],
                [a, b] => [a, b, 0, 0],
                _ => padded(bytes)?,
            };
            let address = Ipv4Addr::from(address);
            Some(Ipv4Net::new(address, bits).ok()?.trunc().into())
        }
        Family { .. } => {
            let address = Ipv6Addr::from(padded(bytes)?);
            Some(Ipv6Net::new(address, bits).ok()?.trunc().into())
        }
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(address)
}
