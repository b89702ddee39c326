use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::testing::{attributes, prefix};
use crate::wire::{AsPathSegment, LargeCommunity};

const IBGP: Identity = Identity {
    local_asn: 65100,
    remote_asn: 65100,
    router_id: Ipv4Addr::new(192, 0, 2, 10),
    role: None,
};
const EBGP: Identity = Identity { remote_asn: 65200, ..IBGP };

fn rules(json: &str) -> AcceptRules {
    serde_json::from_str(&format!("{{{json}}}")).unwrap()
}

fn policy(json: &str, identity: Identity) -> AcceptPolicy {
    AcceptPolicy::from_rules(&rules(json), identity).unwrap()
}

/// A path as it is printed, read back.
fn path(text: &str) -> AsPath {
    let mut segments: Vec<AsPathSegment> = Vec::new();
    let mut kind = SegmentKind::Sequence;
    for word in text.split_inclusive([' ', ',', '}', ')', ']']) {
        let number = word.trim_matches([' ', ',', '{', '}', '(', ')', '[', ']']);
        let opens = match word.chars().next() {
            Some('{') => Some(SegmentKind::Set),
            Some('(') => Some(SegmentKind::ConfederationSequence),
            Some('[') => Some(SegmentKind::ConfederationSet),
            _ => None,
        };
        if let Some(opened) = opens {
            kind = opened;
        }
        if let Ok(asn) = number.parse() {
            match segments.last_mut() {
                Some(last) if last.kind == kind && opens.is_none() => last.asns.push(asn),
                _ => segments.push(AsPathSegment { kind, asns: [asn].as_slice().into() }),
            }
        }
        if word.ends_with(['}', ')', ']']) {
            kind = SegmentKind::Sequence;
        }
    }
    AsPath { segments: segments.into() }
}

fn attributes_of(as_path: &str) -> PathAttributes {
    PathAttributes { as_path: path(as_path), ..attributes(&[]) }
}

fn refusal(policy: &AcceptPolicy, prefix_text: &str, set: &PathAttributes) -> Option<&'static str> {
    policy.verdict(&prefix(prefix_text), set).err().map(Refusal::name)
}

/// One line a rule: the rules, a prefix, and the reason against it.
#[rustfmt::skip]
const BY_PREFIX: &[(&str, &str, Option<&str>)] = &[
    ("", "8.8.0.0/16", None),
    ("", "8.0.0.0/8", None),
    ("", "8.8.8.0/24", None),
    ("", "8.8.8.0/25", Some("too_long")),
    ("", "8.0.0.0/7", Some("too_short")),
    ("", "2600::/32", None),
    ("", "2600::/49", Some("too_long")),
    ("", "2600::/12", Some("too_short")),
    (r#""max_length": 25"#, "8.8.8.0/25", None),
    (r#""min_length": 7"#, "8.0.0.0/7", None),
    (r#""max_length": 32"#, "2600::/49", Some("too_long")),
    (r#""max_length_ipv6": 49"#, "2600::/49", None),
    (r#""max_length_ipv6": 49"#, "8.8.8.0/25", Some("too_long")),
    (r#""min_length_ipv6": 12"#, "2600::/12", None),

    ("", "0.0.0.0/0", Some("default_route")),
    ("", "::/0", Some("default_route")),
    (r#""min_length": 0"#, "0.0.0.0/0", Some("default_route")),
    (r#""allow_default_route": true"#, "0.0.0.0/0", None),
    (r#""allow_default_route": true"#, "::/0", None),
    (r#""allow_default_route": true"#, "8.0.0.0/7", Some("too_short")),
    (r#""allow_default_route": true, "deny_prefixes": ["0.0.0.0/0 exact"]"#, "0.0.0.0/0", Some("denied_prefix")),
    (r#""allow_default_route": true, "allow_prefixes": ["8.0.0.0/8"]"#, "0.0.0.0/0", Some("no_matching_prefix")),
    (r#""allow_default_route": true, "allow_prefixes": ["0.0.0.0/0 exact"]"#, "0.0.0.0/0", None),

    ("", "10.1.2.0/24", Some("bogon")),
    ("", "198.51.100.0/24", Some("bogon")),
    ("", "192.88.99.0/24", Some("bogon")),
    ("", "255.255.255.255/32", Some("bogon")),
    ("", "2001:db8::/32", Some("bogon")),
    ("", "fd00::/16", Some("bogon")),
    // Covers 172.16.0.0/12, but has other clients too.
    ("", "172.0.0.0/8", None),
    ("", "100.64.0.0/10", Some("cgnat")),
    ("", "100.127.255.0/24", Some("cgnat")),
    ("", "100.128.0.0/10", None),
    (r#""allow_bogons": true"#, "10.1.0.0/16", None),
    (r#""allow_bogons": true"#, "100.64.0.0/10", None),
    (r#""allow_bogons": true"#, "10.1.2.0/28", Some("too_long")),
    (r#""allow_cgnat": true"#, "100.64.0.0/10", None),
    (r#""allow_cgnat": true"#, "10.1.0.0/16", Some("bogon")),

    (r#""allow_prefixes": ["8.8.0.0/16"]"#, "8.8.0.0/16", None),
    (r#""allow_prefixes": ["8.8.0.0/16"]"#, "8.8.8.0/24", None),
    (r#""allow_prefixes": ["8.8.0.0/16"]"#, "8.8.8.0/25", Some("too_long")),
    (r#""allow_prefixes": ["8.8.0.0/16"]"#, "8.0.0.0/8", Some("no_matching_prefix")),
    (r#""allow_prefixes": ["8.8.0.0/16"]"#, "2600::/32", Some("no_matching_prefix")),
    (r#""allow_prefixes": ["8.8.0.0/16 exact"]"#, "8.8.8.0/24", Some("no_matching_prefix")),
    (r#""allow_prefixes": ["8.8.0.0/16 ge 20 le 22"]"#, "8.8.0.0/20", None),
    (r#""allow_prefixes": ["8.8.0.0/16 ge 20 le 22"]"#, "8.8.0.0/16", Some("no_matching_prefix")),
    (r#""allow_prefixes": ["8.8.0.0/16 ge 20 le 22", "8.8.0.0/16 exact"]"#, "8.8.0.0/16", None),
    (r#""allow_prefixes": ["10.0.0.0/8"]"#, "10.1.0.0/16", Some("bogon")),
    (r#""deny_prefixes": ["8.8.0.0/16"]"#, "8.8.8.0/24", Some("denied_prefix")),
    (r#""deny_prefixes": ["8.8.0.0/16"]"#, "8.8.8.0/25", Some("denied_prefix")),
    (r#""deny_prefixes": ["8.8.0.0/16"]"#, "8.0.0.0/8", None),
    (r#""deny_prefixes": ["8.8.8.0/24"], "allow_prefixes": ["8.8.0.0/16"]"#, "8.8.8.0/24", Some("denied_prefix")),
    (r#""deny_prefixes": ["8.8.8.0/24"], "allow_prefixes": ["8.8.0.0/16"]"#, "8.8.9.0/24", None),
    (r#""deny_prefixes": ["2600::/32 le 40"]"#, "2600::/40", Some("denied_prefix")),
    (r#""deny_prefixes": ["2600::/32 le 40"]"#, "2600::/41", None),
];

#[test]
fn rules_about_the_prefix() {
    for (json, prefix, expected) in BY_PREFIX {
        let found = refusal(&policy(json, IBGP), prefix, &attributes_of("64500"));
        assert_eq!(found, *expected, "{json}: {prefix}");
    }
}

/// One line a rule: the rules, whose session it is, a path, and the reason against it.
#[rustfmt::skip]
const BY_PATH: &[(&str, &Identity, &str, Option<&str>)] = &[
    ("", &IBGP, "", None),
    ("", &IBGP, "64500 65100 1", Some("as_loop")),
    ("", &IBGP, "64500 {1,65100}", Some("as_loop")),
    ("", &IBGP, "(65001 65100) 1", Some("as_loop")),

    ("", &EBGP, "3356 1", None),
    (r#""enforce_first_as": true"#, &EBGP, "65200 1", None),
    (r#""enforce_first_as": true"#, &EBGP, "3356 65200", Some("wrong_first_as")),
    (r#""enforce_first_as": true"#, &EBGP, "", Some("wrong_first_as")),
    (r#""enforce_first_as": true"#, &EBGP, "{65200} 1", Some("wrong_first_as")),
    (r#""enforce_first_as": true"#, &IBGP, "3356", None),

    ("", &IBGP, "3356 {1,2}", Some("as_set")),
    ("", &IBGP, "[65001] 3356", Some("as_set")),
    ("", &IBGP, "(65001) 3356", None),
    (r#""allow_as_sets": true"#, &IBGP, "3356 {1,2}", None),
    (r#""allow_as_sets": true"#, &IBGP, "[65001] 3356", None),

    ("", &IBGP, "3356 64512", None),
    (r#""allow_bogon_asns": false"#, &IBGP, "3356 64512", Some("bogon_asn")),
    (r#""allow_bogon_asns": false"#, &IBGP, "23456 1", Some("bogon_asn")),
    (r#""allow_bogon_asns": false"#, &IBGP, "64496", Some("bogon_asn")),
    (r#""allow_bogon_asns": false"#, &IBGP, "(65001) 3356", None),
    (r#""allow_bogon_asns": false, "allow_as_sets": true"#, &IBGP, "3356 {1,64512}", Some("bogon_asn")),

    (r#""origin_asns": [1]"#, &IBGP, "3356 1", None),
    (r#""origin_asns": [1]"#, &IBGP, "1 3356", Some("no_matching_origin")),
    (r#""origin_asns": ["64512-65534"]"#, &IBGP, "3356 65000", None),
    (r#""origin_asns": ["64512-65534"]"#, &IBGP, "3356 65535", Some("no_matching_origin")),
    // What begins in our own AS has nothing in its path but a confederation's members.
    (r#""origin_asns": [65100]"#, &IBGP, "", None),
    (r#""origin_asns": [65100]"#, &IBGP, "(65001)", None),
    (r#""origin_asns": [65100]"#, &EBGP, "", Some("no_matching_origin")),
    // Nobody can tell which of a set it was.
    (r#""origin_asns": [1], "allow_as_sets": true"#, &IBGP, "3356 {1}", Some("no_matching_origin")),

    (r#""as_path": ["^3356_"]"#, &IBGP, "3356 1", None),
    (r#""as_path": ["^3356_"]"#, &IBGP, "33561", Some("no_matching_as_path")),
    (r#""as_path": ["^3356_", "_7$"]"#, &IBGP, "1 7", None),
    (r#""as_path": ["^$"]"#, &IBGP, "", None),
    (r#""as_path": ["^$"]"#, &IBGP, "1", Some("no_matching_as_path")),
    (r#""as_path_none": ["_6453_"]"#, &IBGP, "3356 6453 1", Some("denied_as_path")),
    (r#""as_path_none": ["_6453_"]"#, &IBGP, "3356 16453", None),
    (r#""as_path_none": ["_6453_"], "allow_as_sets": true"#, &IBGP, "1 {2,6453}", Some("denied_as_path")),
    (r#""as_path_none": ["_6453_"], "as_path": ["^3356_"]"#, &IBGP, "3356 6453", Some("denied_as_path")),
    (r#""as_path": ["^\\(65001\\) 3356$"]"#, &IBGP, "(65001) 3356", None),

    (r#""max_as_path_length": 2"#, &IBGP, "1 1", None),
    (r#""max_as_path_length": 2"#, &IBGP, "1 1 1", Some("as_path_too_long")),
    (r#""max_as_path_length": 2"#, &IBGP, "(65001 65002) 1 2", None),
    (r#""max_as_path_length": 2, "allow_as_sets": true"#, &IBGP, "1 {2,3}", None),
    (r#""max_as_path_length": 0"#, &IBGP, "", None),
];

#[test]
fn rules_about_the_path() {
    for (json, identity, as_path, expected) in BY_PATH {
        let set = attributes_of(as_path);
        assert_eq!(set.as_path.to_string(), *as_path);
        assert_eq!(
            refusal(&policy(json, **identity), "8.8.0.0/16", &set),
            *expected,
            "{json}: {as_path}"
        );
    }
}

/// One line a rule: the rules, what the route carries, and the reason against it.
#[rustfmt::skip]
const BY_COMMUNITIES: &[(&str, &[&str], Option<&str>)] = &[
    ("", &[], None),
    ("", &["65535:666"], Some("blackhole")),
    (r#""communities": ["65100:911", "65100:1"]"#, &["65100:911"], None),
    (r#""communities": ["65100:911", "65100:1"]"#, &["0:7", "65100:1"], None),
    (r#""communities": ["65100:911", "65100:1"]"#, &["65100:2"], Some("no_matching_community")),
    (r#""communities": ["65100:911", "65100:1"]"#, &[], Some("no_matching_community")),
    (r#""communities": ["65100:911"]"#, &["65100:911", "65535:666"], Some("blackhole")),
    (r#""communities": ["65100:1:2"]"#, &["65100:1:2"], None),
    (r#""communities": ["65100:1:2"]"#, &["65100:1"], Some("no_matching_community")),
    (r#""communities": ["rt:65100:1", "65100:9"]"#, &["rt:65100:1"], None),
    (r#""communities": ["rt:65100:1"]"#, &["soo:65100:1"], Some("no_matching_community")),
    (r#""communities": ["ext:0x4006000000001f40"]"#, &["ext:0x4006000000001f40"], None),
    (r#""communities": ["no-export"]"#, &["65535:65281"], None),
    (r#""communities_all": ["65100:1", "65100:1:2", "rt:65100:1"]"#, &["65100:1", "65100:1:2", "rt:65100:1"], None),
    (r#""communities_all": ["65100:1", "65100:1:2"]"#, &["65100:1"], Some("missing_community")),
    (r#""communities_all": ["65100:1", "65100:1:2"]"#, &["65100:1:2"], Some("missing_community")),
    (r#""communities_all": ["rt:65100:1"]"#, &[], Some("missing_community")),
    (r#""communities_none": ["65100:1", "65100:1:2"]"#, &["65100:1"], Some("denied_community")),
    (r#""communities_none": ["65100:1", "65100:1:2"]"#, &["65100:1:2"], Some("denied_community")),
    (r#""communities_none": ["soo:65100:1"]"#, &["soo:65100:1"], Some("denied_community")),
    (r#""communities_none": ["65100:1"]"#, &["65100:2"], None),
    (r#""communities_none": ["65100:1"], "communities": ["65100:2"]"#, &["65100:1", "65100:2"], Some("denied_community")),
];

#[test]
fn rules_about_communities() {
    for (json, carried, expected) in BY_COMMUNITIES {
        let mut set = attributes_of("64500");
        carry(&mut set, carried);
        assert_eq!(
            refusal(&policy(json, IBGP), "8.8.0.0/16", &set),
            *expected,
            "{json}: {carried:?}"
        );
    }
}

fn carry(set: &mut PathAttributes, communities: &[&str]) {
    for text in communities {
        match text.parse().unwrap() {
            mcc_config::CommunityRule::Standard(value) => set.communities.push(Community(value)),
            mcc_config::CommunityRule::Large([global, local1, local2]) => {
                set.large_communities.push(LargeCommunity { global, local1, local2 });
            }
            mcc_config::CommunityRule::Extended(bytes) => set.extended_communities.push(bytes),
        }
    }
}

/// RFC 9234 §5: our role, the ONLY_TO_CUSTOMER of a route from AS 65200, and whether it is a leak.
#[test]
fn leaks_by_role() {
    use BgpRole::{Customer, Peer, Provider, Rs, RsClient};
    for (role, only_to_customer, is_leak) in [
        (None, Some(1), false),
        (Some(Provider), None, false),
        (Some(Provider), Some(65200), true),
        (Some(Rs), None, false),
        (Some(Rs), Some(65200), true),
        (Some(Peer), None, false),
        (Some(Peer), Some(65200), false),
        (Some(Peer), Some(1), true),
        (Some(Customer), Some(1), false),
        (Some(RsClient), Some(1), false),
    ] {
        let set = PathAttributes { only_to_customer, ..attributes_of("65200") };
        let expected = is_leak.then_some("route_leak");
        let external = policy("", Identity { role, ..EBGP });
        assert_eq!(
            refusal(&external, "8.8.0.0/16", &set),
            expected,
            "{role:?} {only_to_customer:?}"
        );
        let internal = policy("", Identity { role, ..IBGP });
        assert_eq!(refusal(&internal, "8.8.0.0/16", &set), None, "roles are for eBGP");
    }
}

#[test]
fn reflected_routes_do_not_come_back() {
    let policy = policy("", IBGP);
    let own = PathAttributes { originator_id: Some(IBGP.router_id), ..attributes_of("1") };
    assert_eq!(refusal(&policy, "8.8.0.0/16", &own), Some("own_originator"));
    let cluster_list = vec![Ipv4Addr::new(192, 0, 2, 1), IBGP.router_id];
    let looped = PathAttributes { cluster_list, ..attributes_of("1") };
    assert_eq!(refusal(&policy, "8.8.0.0/16", &looped), Some("cluster_loop"));
    let cluster_list = vec![Ipv4Addr::new(192, 0, 2, 1)];
    let others = PathAttributes { cluster_list, ..attributes_of("1") };
    assert_eq!(refusal(&policy, "8.8.0.0/16", &others), None);
}

#[test]
fn an_external_neighbor_needs_rules_where_they_are_required() {
    let tagged = r#""communities_none": ["65100:1"]"#;
    for (json, identity, required, expected) in [
        ("", EBGP, true, Some("no_rules")),
        ("", EBGP, false, None),
        ("", IBGP, true, None),
        (tagged, EBGP, true, None),
        // What would hold without being written is a rule where it is written.
        (r#""max_length": 24"#, EBGP, true, None),
        (r#""min_length_ipv6": 16"#, EBGP, true, None),
        (r#""allow_bogon_asns": false"#, EBGP, true, Some("bogon_asn")),
        (r#""origin_asns": [65200]"#, EBGP, true, None),
        // What only lets more in is none.
        (r#""allow_cgnat": true, "allow_bogons": true"#, EBGP, true, Some("no_rules")),
        (r#""allow_default_route": true, "allow_as_sets": true"#, EBGP, true, Some("no_rules")),
        (r#""allow_bogon_asns": true"#, EBGP, true, Some("no_rules")),
        (r#""max_length": 32, "min_length": 0"#, EBGP, true, Some("no_rules")),
        (r#""communities": []"#, EBGP, true, Some("no_rules")),
    ] {
        let policy = policy(json, identity).requiring_ebgp_rules(required);
        assert_eq!(refusal(&policy, "8.8.0.0/16", &attributes_of("65200")), expected, "{json}");
    }
}

#[test]
fn impossible_rules_are_named() {
    let rules = rules(r#""communities": ["65100:1", "x"], "as_path": ["("]"#);
    let error = AcceptPolicy::from_rules(&rules, IBGP).unwrap_err().to_string();
    assert!(error.starts_with("accept.communities[1]: `x` is not possible; accepted: "), "{error}");
    assert!(error.contains("; accept.as_path[0]: `(` is not possible; accepted: "), "{error}");
}

#[test]
fn names_are_those_of_the_json_and_the_order_is_that_of_the_enum() {
    for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(refusal as usize, index);
        assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.name());
        assert!(!refusal.meaning().is_empty());
    }
    assert!(Refusal::ALL.is_sorted());
}

/// Rules each of which can refuse something of what [`route`] makes.
#[rustfmt::skip]
const SINGLE_RULES: [&str; 18] = [
    r#""communities": ["0:1"]"#, r#""communities_all": ["0:1", "0:2"]"#, r#""communities_none": ["0:3"]"#,
    r#""allow_prefixes": ["8.0.0.0/8", "::/0"]"#, r#""deny_prefixes": ["8.8.0.0/16", "2600::/16"]"#,
    r#""origin_asns": [1, 2]"#, r#""as_path": ["^[12]_"]"#, r#""as_path_none": ["_3_"]"#,
    r#""max_as_path_length": 1"#, r#""max_length": 20"#, r#""min_length": 10"#, r#""max_length_ipv6": 40"#,
    r#""min_length_ipv6": 20"#, r#""enforce_first_as": true"#, r#""allow_as_sets": false"#,
    r#""allow_bogon_asns": false"#, r#""allow_default_route": false"#, r#""allow_bogons": false"#,
];

/// Rules that refuse nothing, changed by some of [`SINGLE_RULES`].
fn permissive(changes: &[&str]) -> AcceptRules {
    let open = r#""max_length": 32, "min_length": 0, "max_length_ipv6": 128, "min_length_ipv6": 0,
        "allow_as_sets": true, "allow_default_route": true, "allow_bogons": true"#;
    let mut all: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&format!("{{{open}}}")).unwrap();
    for change in changes {
        all.extend(
            serde_json::from_str::<serde_json::Map<_, _>>(&format!("{{{change}}}")).unwrap(),
        );
    }
    serde_json::from_value(all.into()).unwrap()
}

prop_compose! {
    fn route()(
        prefix in select(vec![
            "0.0.0.0/0", "8.0.0.0/8", "8.8.0.0/16", "8.8.8.0/24", "9.9.9.9/32", "10.0.0.0/8", "100.64.0.0/24",
            "::/0", "2600::/16", "2600:1::/32", "2a00::/48", "fd00::/64",
        ]),
        as_path in select(vec!["", "1", "2 3", "3 1", "64512 1", "1 {2,3}", "65100", "(65001) 3", "65200 2 3"]),
        tags in subsequence(vec!["0:1", "0:2", "0:3", "65535:666"], 0..=4),
        only_to_customer in proptest::option::of(select(vec![1, 65200])),
        reflected in (any::<bool>(), any::<bool>()),
    ) -> (IpNet, PathAttributes) {
        let mut set = attributes_of(as_path);
        carry(&mut set, &tags);
        set.only_to_customer = only_to_customer;
        set.originator_id = reflected.0.then_some(IBGP.router_id);
        set.cluster_list = if reflected.1 { vec![IBGP.router_id] } else { vec![] };
        (prefix.parse().unwrap(), set)
    }
}

proptest! {
    /// Of all reasons against a route the smallest is told, whichever rules there are beside it.
    #[test]
    fn the_smallest_reason_of_all_single_rules_is_told(
        changes in subsequence(SINGLE_RULES.to_vec(), 0..=SINGLE_RULES.len()),
        (prefix, set) in route(),
        identity in select(vec![IBGP, EBGP, Identity { role: Some(BgpRole::Peer), ..EBGP }]),
    ) {
        let read = |changes: &[&str]| AcceptPolicy::from_rules(&permissive(changes), identity).unwrap();
        let policy = read(&changes);
        let verdict = policy.verdict(&prefix, &set).err();
        let mut singly: Vec<_> = changes.iter().map(|change| read(&[*change])).collect();
        singly.push(read(&[]));
        let smallest = singly.iter().filter_map(|it| it.verdict(&prefix, &set).err()).min();
        prop_assert_eq!(verdict, smallest);
        let halves = [policy.refused_by_attributes(&set), policy.refused_by_prefix(&prefix)];
        prop_assert_eq!(verdict, halves.into_iter().flatten().min());
    }
}
