//! Prefixes on the wire: a length in bits, then as many bytes as that needs (RFC 4271 §4.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u32};
use nom::{IResult, Parser};
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

/// One prefix as it lies there: path identifier, length in bits, significant bytes.
type Entry<'a> = (u32, u8, &'a [u8]);

impl<'a> NlriField<'a> {
    /// Appends the prefixes to `list`, which grows once, by their exact number. On an error
    /// nothing is appended: no prefix of such a field is to be trusted (RFC 7606 §5.3).
    pub(super) fn read_into(self, list: &mut NlriList) -> Result<(), Malformed<'a>> {
        list.reserve_exact(self.count()?);
        let mut rest = self.bytes;
        while let Ok((after, (path_id, bits, bytes))) = self.entry(rest) {
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
                Ok((_, (_, bits, _))) if bits > width => return Err((rest, too_long)),
                Ok((after, _)) => rest = after,
                Err(_) => {
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

    fn entry(self, input: &'a [u8]) -> IResult<&'a [u8], Entry<'a>, ()> {
        let (input, path_id) = if self.options.add_path { be_u32(input)? } else { (input, 0) };
        let (input, bits) = be_u8(input)?;
        let (input, bytes) = take(bits.div_ceil(8)).parse(input)?;
        Ok((input, (path_id, bits, bytes)))
    }
}

/// The prefix with its host bits cleared: what they say has no meaning (RFC 4271 §4.3).
fn prefix(family: Family, bits: u8, bytes: &[u8]) -> Option<IpNet> {
    match family {
        Family::IPV4_UNICAST => {
            let address = Ipv4Addr::from(padded(bytes)?);
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
