//! AS numbers that no network on the internet has (IANA, "Autonomous System (AS) Numbers").

use std::ops::RangeInclusive;

use crate::wire::AsPath;

const BOGONS: [RangeInclusive<u32>; 8] = [
    0..=0,                         // nobody (RFC 7607)
    23456..=23456,                 // AS_TRANS (RFC 6793)
    64496..=64511,                 // documentation (RFC 5398)
    64512..=65534,                 // private (RFC 6996)
    65535..=65535,                 // the last of two octets (RFC 7300)
    65536..=65551,                 // documentation (RFC 5398)
    65552..=131_071,               // reserved
    4_200_000_000..=4_294_967_295, // private (RFC 6996), and the last of all (RFC 7300)
];

/// Whether such an AS is in the path. The members of the neighbor's confederation do not count:
/// their numbers are private by custom, and never leave it (RFC 5065 §4).
pub(super) fn is_in(path: &AsPath) -> bool {
    let segments = path.segments.iter().filter(|segment| !segment.kind.is_confederation());
    segments.flat_map(|segment| &segment.asns).any(|asn| BOGONS.iter().any(|it| it.contains(asn)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attributes;

    #[test]
    fn the_ends_of_each_range() {
        for (asn, is_bogon) in [
            (0, true),
            (1, false),
            (23455, false),
            (23456, true),
            (23457, false),
            (64495, false),
            (64496, true),
            (64512, true),
            (65535, true),
            (65551, true),
            (131_071, true),
            (131_072, false),
            (4_199_999_999, false),
            (4_200_000_000, true),
            (u32::MAX, true),
        ] {
            assert_eq!(is_in(&attributes(&[3356, asn]).as_path), is_bogon, "{asn}");
        }
    }
}
