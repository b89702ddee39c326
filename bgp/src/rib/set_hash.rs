//! A fingerprint of a set of prefixes that is kept as prefixes come and go.
//!
//! Two neighbors, or one neighbor as two nodes hear it, with the same fingerprint have the same
//! accepted prefixes. It does not depend on order or time, and is the same in every version of this
//! program: it may be compared across nodes. It guards against mistakes, not against forgery.

use std::fmt;

use ipnet::IpNet;

/// Of the empty set 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SetHash(u64);

impl SetHash {
    /// Adds a prefix that is not in the set, or removes one that is.
    pub(super) fn toggle(&mut self, prefix: &IpNet) {
        self.0 ^= match prefix {
            IpNet::V4(prefix) => {
                mix(u64::from(prefix.addr().to_bits()) << 8 | u64::from(prefix.prefix_len()))
            }
            IpNet::V6(prefix) => {
                let bits = prefix.addr().to_bits();
                let [high, low] = [bits >> 64, bits]
                    .map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default());
                mix(mix(mix(high) ^ low) ^ u64::from(prefix.prefix_len()))
            }
        };
    }
}

impl fmt::Display for SetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The finaliser of SplitMix64: every bit of the input changes half of the output's.
const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prefix;

    #[test]
    fn is_that_of_the_set_and_never_changes() {
        let of = |prefixes: &[&str]| {
            let mut hash = SetHash::default();
            prefixes.iter().for_each(|text| hash.toggle(&prefix(text)));
            hash.to_string()
        };
        // What other nodes compare with: these values must stay.
        assert_eq!(of(&[]), "0000000000000000");
        assert_eq!(of(&["198.51.100.0/24"]), FIRST);
        assert_eq!(of(&["2001:db8::/32"]), SECOND);
        assert_eq!(of(&["8.0.0.0/8", "9.0.0.0/8"]), of(&["9.0.0.0/8", "8.0.0.0/8"]));
        assert_ne!(of(&["8.0.0.0/8"]), of(&["8.0.0.0/9"]));
        assert_eq!(of(&["8.0.0.0/8", "9.0.0.0/8", "8.0.0.0/8"]), of(&["9.0.0.0/8"]));
    }

    const FIRST: &str = "f1e55e4f197a5ca2";
    const SECOND: &str = "3429fa3f2fb516e4";
}
