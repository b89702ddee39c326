use super::*;
use crate::testing::{attributes, prefix};
use crate::wire::{AsPathSegment, SegmentKind};

const IDENTITY: Identity = Identity {
    local_asn: 65100,
    remote_asn: 65100,
    router_id: Ipv4Addr::new(192, 0, 2, 10),
    role: None,
};

fn policy(change: impl FnOnce(&mut AcceptRules)) -> AcceptPolicy {
    let mut rules = AcceptRules::default();
    change(&mut rules);
    AcceptPolicy::from_rules(&rules, IDENTITY).unwrap()
}

#[test]
fn the_default_rules_by_prefix() {
    let policy = policy(|_| {});
    for (text, expected) in [
        ("8.8.0.0/16", Ok(())),
        ("8.0.0.0/8", Ok(())),
        ("8.8.8.0/24", Ok(())),
        ("8.8.8.0/25", Err(Refusal::TooLong)),
        ("8.0.0.0/7", Err(Refusal::TooShort)),
        ("0.0.0.0/0", Err(Refusal::DefaultRoute)),
        ("::/0", Err(Refusal::DefaultRoute)),
        ("10.1.2.0/24", Err(Refusal::Bogon)),
        ("198.51.100.0/24", Err(Refusal::Bogon)),
        ("192.88.99.0/24", Err(Refusal::Bogon)),
        ("255.255.255.255/32", Err(Refusal::Bogon)),
        ("100.64.0.0/10", Err(Refusal::Cgnat)),
        ("100.127.255.0/24", Err(Refusal::Cgnat)),
        ("100.128.0.0/10", Ok(())),
        // Covers 172.16.0.0/12, but has other clients too.
        ("172.0.0.0/8", Ok(())),
        ("2600::/32", Ok(())),
        ("2600::/49", Err(Refusal::TooLong)),
        ("2600::/12", Err(Refusal::TooShort)),
        ("2001:db8::/32", Err(Refusal::Bogon)),
        ("fd00::/16", Err(Refusal::Bogon)),
    ] {
        assert_eq!(policy.verdict(&prefix(text), &attributes(&[64500])), expected, "{text}");
    }
}

#[test]
fn switches_let_through_what_they_name_only() {
    let bogons = policy(|rules| rules.allow_bogons = true);
    assert_eq!(bogons.verdict(&prefix("10.1.0.0/16"), &attributes(&[])), Ok(()));
    assert_eq!(bogons.verdict(&prefix("100.64.0.0/10"), &attributes(&[])), Ok(()));
    assert_eq!(bogons.verdict(&prefix("10.1.2.0/28"), &attributes(&[])), Err(Refusal::TooLong));
    let default_route = policy(|rules| rules.allow_default_route = true);
    assert_eq!(default_route.verdict(&prefix("0.0.0.0/0"), &attributes(&[])), Ok(()));
    assert_eq!(
        default_route.verdict(&prefix("8.0.0.0/7"), &attributes(&[])),
        Err(Refusal::TooShort)
    );
}

#[test]
fn any_of_the_communities_is_enough() {
    let policy =
        policy(|rules| rules.communities = vec!["65100:911".to_owned(), "65100:1".to_owned()]);
    let tagged = |tags: &[u32]| {
        let mut attributes = attributes(&[64500]);
        attributes.communities = tags.iter().copied().map(Community).collect();
        policy.verdict(&prefix("8.8.0.0/16"), &attributes)
    };
    assert_eq!(tagged(&[65100 << 16 | 911]), Ok(()));
    assert_eq!(tagged(&[7, 65100 << 16 | 1]), Ok(()));
    assert_eq!(tagged(&[65100 << 16 | 2]), Err(Refusal::NoMatchingCommunity));
    assert_eq!(tagged(&[]), Err(Refusal::NoMatchingCommunity));
    assert_eq!(tagged(&[65100 << 16 | 911, 65535 << 16 | 666]), Err(Refusal::Blackhole));
}

#[test]
fn looped_routes_are_refused() {
    let policy = policy(|_| {});
    let verdict = |attributes: &PathAttributes| policy.verdict(&prefix("8.8.0.0/16"), attributes);
    assert_eq!(verdict(&attributes(&[64500, 65100, 1])), Err(Refusal::AsLoop));
    let mut in_set = attributes(&[64500]);
    in_set.as_path.segments.push(AsPathSegment { kind: SegmentKind::Set, asns: vec![65100] });
    assert_eq!(verdict(&in_set), Err(Refusal::AsLoop));
    let mut reflected = attributes(&[64500]);
    reflected.originator_id = Some(IDENTITY.router_id);
    assert_eq!(verdict(&reflected), Err(Refusal::OwnOriginator));
}

#[test]
fn bad_rules_are_named() {
    for bad in ["", "65100", "65536:1", "1:65536", "a:b", "1:2:3", "65100:-1"] {
        let rules = AcceptRules { communities: vec![bad.to_owned()], ..AcceptRules::default() };
        assert_eq!(
            AcceptPolicy::from_rules(&rules, IDENTITY),
            Err(PolicyError::Community(bad.to_owned()))
        );
    }
    let rules = AcceptRules { min_length: 25, ..AcceptRules::default() };
    assert_eq!(
        AcceptPolicy::from_rules(&rules, IDENTITY),
        Err(PolicyError::Lengths { min: 25, max: 24 })
    );
}

#[test]
fn names_are_those_of_the_json_and_the_order_is_that_of_the_enum() {
    for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(refusal as usize, index);
        assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.name());
    }
    assert!(Refusal::ALL.is_sorted());
}
