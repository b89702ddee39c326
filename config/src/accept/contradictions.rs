//! Accept rules that can be read and that no route could ever pass.

use std::ops::RangeInclusive;

use super::{AcceptLists, AcceptRules, CommunityRule};
use crate::{ImpossibleValue, keys};

/// All of them. `lists` has every entry of `rules`, at the same position.
pub(super) fn all(rules: &AcceptRules, lists: &AcceptLists) -> Vec<ImpossibleValue> {
    let mut all = Vec::new();
    let (v4, v6) = (32, 128);
    let ipv4 = Lengths {
        keys: ["accept.min_length", "accept.max_length"],
        bounds: rules.ipv4_lengths().into_inner(),
        min_is_written: rules.min_length.is_some(),
    };
    let ipv6 = Lengths {
        keys: ["accept.min_length_ipv6", "accept.max_length_ipv6"],
        bounds: rules.ipv6_lengths().into_inner(),
        min_is_written: rules.min_length_ipv6.is_some(),
    };
    let wrong_lengths = [ipv4.wrong(v4), ipv6.wrong(v6)].concat();
    if wrong_lengths.is_empty() {
        all.extend(unreachable_prefixes(rules, lists, &ipv4, &ipv6));
    }
    all.extend(wrong_lengths);
    all.extend(unreachable_communities(rules, lists));
    all
}

/// The bounds of one address family.
struct Lengths {
    /// Shortest, longest.
    keys: [&'static str; 2],
    bounds: (u8, u8),
    min_is_written: bool,
}

impl Lengths {
    fn range(&self) -> RangeInclusive<u8> {
        self.bounds.0..=self.bounds.1
    }

    /// Bounds beyond the family's `most` bits, or that cross each other.
    fn wrong(&self, most: u8) -> Vec<ImpossibleValue> {
        let ([min_key, max_key], (min, max)) = (self.keys, self.bounds);
        let mut wrong: Vec<_> = [(max_key, max), (min_key, min)]
            .into_iter()
            .filter(|(_, length)| *length > most)
            .map(|(key, length)| {
                let accepted = keys::accepted(keys::NODE, &format!("bgp.neighbor.{key}")).into();
                ImpossibleValue {
                    key,
                    index: None,
                    found: length.to_string(),
                    accepted,
                    beside: None,
                }
            })
            .collect();
        if wrong.is_empty() && min > max {
            let name = |key: &'static str| key.trim_start_matches("accept.");
            // One that the operator has written.
            let (key, beside, found, accepted) = if self.min_is_written {
                (min_key, max_key, min, format!("at most {max}, the `{}`", name(max_key)))
            } else {
                let accepted = format!("at least {min}, the `{}`", name(min_key));
                (max_key, min_key, max, accepted)
            };
            wrong.push(ImpossibleValue {
                key,
                index: None,
                found: found.to_string(),
                accepted: accepted.into(),
                beside: Some(beside),
            });
        }
        wrong
    }
}

/// Entries of `allow_prefixes` that name only prefixes whose length is refused.
fn unreachable_prefixes(
    rules: &AcceptRules,
    lists: &AcceptLists,
    ipv4: &Lengths,
    ipv6: &Lengths,
) -> Vec<ImpossibleValue> {
    let mut wrong = Vec::new();
    for (index, rule) in lists.allow_prefixes.iter().enumerate() {
        let family = if rule.prefix().addr().is_ipv4() { ipv4 } else { ipv6 };
        let (named, taken) = (rule.lengths(), family.range());
        let meet = named.start() <= taken.end() && taken.start() <= named.end();
        if meet || (rules.allow_default_route && named.contains(&0)) {
            continue;
        }
        let [min_key, max_key] = family.keys;
        let (min, max) = family.bounds;
        let too_long = named.start() > taken.end();
        wrong.push(ImpossibleValue {
            key: "accept.allow_prefixes",
            index: Some(index),
            found: rule.to_string(),
            accepted: format!(
                "prefixes of {min} to {max} bits; `{min_key}` and `{max_key}` change that"
            )
            .into(),
            beside: Some(if too_long { max_key } else { min_key }),
        });
    }
    wrong
}

/// Communities that no accepted route can carry.
fn unreachable_communities(rules: &AcceptRules, lists: &AcceptLists) -> Vec<ImpossibleValue> {
    let mut wrong = Vec::new();
    for (key, texts, list) in [
        ("accept.communities", &rules.communities, &lists.communities),
        ("accept.communities_all", &rules.communities_all, &lists.communities_all),
    ] {
        for (index, (rule, found)) in list.iter().zip(texts).enumerate() {
            let (accepted, beside) = if *rule == CommunityRule::BLACKHOLE {
                (
                    "a community other than BLACKHOLE: clients are never served in a prefix whose traffic \
                  is to be discarded (RFC 7999)",
                    None,
                )
            } else if lists.communities_none.contains(rule) {
                ("a community that is not in `communities_none`", Some("accept.communities_none"))
            } else {
                continue;
            };
            let (index, found, accepted) = (Some(index), found.clone(), accepted.into());
            wrong.push(ImpossibleValue { key, index, found, accepted, beside });
        }
    }
    wrong
}
