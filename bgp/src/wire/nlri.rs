//! Prefixes on the wire: a length in bits, then as many bytes as that needs (RFC 4271 §4.3).

use ipnet::{Ipv4Net, Ipv6Net};

use super::nlri_list::{NlriList, padded};
use super::{Family, FamilyOptions, Nlri};

/// A field of prefixes of one family.
#[derive(Clone, Copy)]
pub(super) struct NlriField<'a> {
    pub(super) bytes: &'a [u8],
    /// IPv4 or IPv6 unicast.
    pub(super) family: Family,
    pub(super) options: FamilyOptions,
}

/// A field in which every prefix makes sense: no other is to be believed, not even in part (RFC 7606
/// §5.3).
#[derive(Clone, Copy)]
pub(super) struct CheckedNlri<'a> {
    field: NlriField<'a>,
    count: usize,
}

/// The first prefix of a field that makes no sense, and why.
pub(super) type Malformed<'a> = (&'a [u8], &'static str);

/// One prefix as it lies there: path identifier, length in bits, significant bytes; and what follows.
type Entry<'a> = (u32, u8, &'a [u8], &'a [u8]);

impl<'a> NlriField<'a> {
    /// Checks all.
    pub(super) fn check(self) -> Result<CheckedNlri<'a>, Malformed<'a>> {
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
        Ok(CheckedNlri { field: self, count })
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

impl CheckedNlri<'_> {
    /// Without a prefix.
    pub(super) const EMPTY: Self = Self {
        field: NlriField {
            bytes: &[],
            family: Family::IPV4_UNICAST,
            options: FamilyOptions { add_path: false, ipv6_next_hop: false },
        },
        count: 0,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the prefixes to `list`, which grows once.
    pub(super) fn append_to(&self, list: &mut NlriList) {
        let Self { field, count } = *self;
        if count == 0 {
            return;
        }
        if field.family == Family::IPV4_UNICAST && !field.options.add_path {
            return list.extend_from_ipv4_field(field.bytes);
        }
        // A path identifier takes a byte more there than on the wire.
        list.reserve_bytes(field.bytes.len() + count);
        let mut rest = field.bytes;
        while let Some((path_id, bits, bytes, after)) = field.entry(rest) {
            let prefix = match field.family {
                Family::IPV4_UNICAST => padded::<4>(bytes)
                    .and_then(|octets| Ipv4Net::new(octets.into(), bits).ok())
                    .map(Into::into),
                Family { .. } => padded::<16>(bytes)
                    .and_then(|octets| Ipv6Net::new(octets.into(), bits).ok())
                    .map(Into::into),
            };
            if let Some(prefix) = prefix {
                list.push(Nlri { prefix, path_id });
            }
            rest = after;
        }
    }
}
