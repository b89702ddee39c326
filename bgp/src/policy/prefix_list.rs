//! A list of prefix rules that may have thousands of entries.

use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mcc_config::PrefixRule;
use prefix_trie::PrefixMap;

/// The lengths that the rules of one prefix name; several, if it is in the list more than once.
type Lengths = Vec<RangeInclusive<u8>>;

/// Rules, found by the prefixes that cover another: at most one for each bit of its length.
#[derive(Debug, Clone, Default)]
pub(super) struct PrefixList {
    ipv4: PrefixMap<Ipv4Net, Lengths>,
    ipv6: PrefixMap<Ipv6Net, Lengths>,
}

impl PrefixList {
    pub(super) fn new(rules: &[PrefixRule]) -> Self {
        let mut list = Self::default();
        for rule in rules {
            let lengths = match rule.prefix() {
                IpNet::V4(prefix) => list.ipv4.entry(prefix).or_default(),
                IpNet::V6(prefix) => list.ipv6.entry(prefix).or_default(),
            };
            lengths.push(rule.lengths());
        }
        list
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }

    /// Whether one of the rules names `prefix`.
    pub(super) fn contains(&self, prefix: &IpNet) -> bool {
        // Asked for each prefix, and most lists are empty.
        if self.is_empty() {
            return false;
        }
        let named = |lengths: &Lengths| lengths.iter().any(|it| it.contains(&prefix.prefix_len()));
        match prefix {
            IpNet::V4(prefix) => self.ipv4.cover_values(prefix).any(named),
            IpNet::V6(prefix) => self.ipv6.cover_values(prefix).any(named),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Near each other, so that they cover and meet.
    fn prefix() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (0..64_u32, 0..=32_u8).prop_map(|(bits, length)| {
                let address = Ipv4Addr::from_bits(bits.reverse_bits());
                IpNet::from(Ipv4Net::new(address, length).unwrap().trunc())
            }),
            (0..64_u128, 0..=128_u8).prop_map(|(bits, length)| {
                let address = Ipv6Addr::from_bits(bits.reverse_bits());
                IpNet::from(Ipv6Net::new(address, length).unwrap().trunc())
            }),
        ]
    }

    fn rule() -> impl Strategy<Value = PrefixRule> {
        (prefix(), any::<u8>(), any::<u8>(), 0..5).prop_map(|(prefix, a, b, form)| {
            let span = prefix.max_prefix_len() - prefix.prefix_len() + 1;
            let (a, b) = (prefix.prefix_len() + a % span, prefix.prefix_len() + b % span);
            let bounds = match form {
                0 => String::new(),
                1 => " exact".to_owned(),
                2 => format!(" ge {a}"),
                3 => format!(" le {a}"),
                _ => format!(" ge {} le {}", a.min(b), a.max(b)),
            };
            format!("{prefix}{bounds}").parse().unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_list_contains_what_one_of_its_rules_does(
            rules in vec(rule(), 0..20),
            prefixes in vec(prefix(), 1..20),
        ) {
            let list = PrefixList::new(&rules);
            prop_assert_eq!(list.is_empty(), rules.is_empty());
            for prefix in prefixes {
                let expected = rules.iter().any(|rule| rule.contains(&prefix));
                prop_assert_eq!(list.contains(&prefix), expected, "{}", prefix);
            }
        }
    }

    #[test]
    fn ten_thousand_entries() {
        let text = |i: u32| format!("20.{}.{}.0/24 exact", i / 100, i % 100);
        let rules: Vec<PrefixRule> = (0..10_000).map(|i| text(i).parse().unwrap()).collect();
        let list = PrefixList::new(&rules);
        let found = (0..1 << 16_u32).filter(|i| {
            let address = Ipv4Addr::from_bits(20 << 24 | i << 8);
            list.contains(&Ipv4Net::new(address, 24).unwrap().into())
        });
        let expected = (0..10_000_u32).map(|i| (i / 100 * 256) + i % 100);
        assert!(found.eq(expected));
        assert!(!list.contains(&"20.0.0.0/16".parse().unwrap()));
        assert!(!list.contains(&"20.0.0.0/25".parse().unwrap()));
    }
}
