use super::*;

/// Key, position and what would be accepted, of each value that the rules in `toml` cannot have.
fn wrong(toml: &str) -> Vec<(&'static str, Option<usize>, String)> {
    let rules: AcceptRules = toml::from_str(toml).unwrap();
    assert_eq!(rules.lists().err().unwrap_or_default(), rules.impossible_values());
    let values = rules.impossible_values().into_iter();
    values.map(|value| (value.key, value.index, value.accepted.into_owned())).collect()
}

#[test]
fn rules_that_are_good() {
    for toml in [
        "",
        r#"communities = ["65100:1", "65100:1:2", "rt:65100:1", "no-export"]"#,
        r#"communities_none = ["blackhole", "65100:1"]
           communities = ["65100:2"]"#,
        r#"allow_prefixes = ["198.51.0.0/16", "198.51.0.0/20 ge 24 le 28", "2001:db8::/32"]"#,
        r#"allow_prefixes = ["198.51.100.0/25"]
           max_length = 32"#,
        r#"allow_prefixes = ["0.0.0.0/0 exact"]
           allow_default_route = true"#,
        r#"origin_asns = [65100, "65200", "64512-65534"]"#,
        r#"as_path = ["^65100_", "_65200$"]
           as_path_none = ["_6453_"]
           max_as_path_length = 0"#,
        "min_length = 24\nmax_length = 24\nmin_length_ipv6 = 0\nmax_length_ipv6 = 128",
    ] {
        assert_eq!(wrong(toml), [], "{toml}");
    }
}

#[test]
fn impossible_rules_are_named_with_the_way_out() {
    for (toml, key, index, accepted) in [
        (
            r#"communities = ["65100:1", "65100"]"#,
            "accept.communities",
            Some(1),
            "`65100:911`, a large one",
        ),
        (
            r#"communities_all = ["x"]"#,
            "accept.communities_all",
            Some(0),
            "`65100:911`, a large one",
        ),
        (
            r#"communities_none = [""]"#,
            "accept.communities_none",
            Some(0),
            "`65100:911`, a large one",
        ),
        (
            r#"communities = ["65100:1", "blackhole"]"#,
            "accept.communities",
            Some(1),
            "a community other than BLACKHOLE",
        ),
        (
            "communities_all = [\"1:2\", \"1:3\"]\ncommunities_none = [\"1:3\"]",
            "accept.communities_all",
            Some(1),
            "not in `communities_none`",
        ),
        (
            r#"allow_prefixes = ["198.51.0.0/16 ge 12"]"#,
            "accept.allow_prefixes",
            Some(0),
            "`ge` and `le` with 16 <= ge <= le <= 32",
        ),
        (
            r#"allow_prefixes = ["198.51.100.0/24", "198.51.100.0/25"]"#,
            "accept.allow_prefixes",
            Some(1),
            "prefixes of 8 to 24 bits",
        ),
        (
            r#"allow_prefixes = ["0.0.0.0/0 exact"]"#,
            "accept.allow_prefixes",
            Some(0),
            "prefixes of 8 to 24 bits",
        ),
        (
            r#"allow_prefixes = ["2001:db8::/32 ge 64"]"#,
            "accept.allow_prefixes",
            Some(0),
            "prefixes of 16 to 48 bits",
        ),
        (r#"deny_prefixes = ["198.51.0.0"]"#, "accept.deny_prefixes", Some(0), "`198.51.0.0/16`"),
        (r#"origin_asns = [1, "2-1"]"#, "accept.origin_asns", Some(1), "an AS number of 1 to"),
        ("origin_asns = [0]", "accept.origin_asns", Some(0), "an AS number of 1 to"),
        (r#"as_path = ["^AS1"]"#, "accept.as_path", Some(0), "no AS path has `A` in it"),
        (r#"as_path_none = ["("]"#, "accept.as_path_none", Some(0), "brackets in pairs"),
        ("max_length = 33", "accept.max_length", None, "0 to 32 bits"),
        ("min_length = 25", "accept.min_length", None, "at most 24, the `max_length`"),
        ("max_length = 7", "accept.max_length", None, "at least 8, the `min_length`"),
        ("max_length_ipv6 = 129", "accept.max_length_ipv6", None, "0 to 128 bits"),
        (
            "min_length_ipv6 = 49",
            "accept.min_length_ipv6",
            None,
            "at most 48, the `max_length_ipv6`",
        ),
        (
            "max_length_ipv6 = 15",
            "accept.max_length_ipv6",
            None,
            "at least 16, the `min_length_ipv6`",
        ),
    ] {
        let found = wrong(toml);
        let [(found_key, found_index, found_accepted)] = found.as_slice() else {
            panic!("`{toml}`: {found:?}");
        };
        assert_eq!((*found_key, *found_index), (key, index), "{toml}");
        assert!(found_accepted.contains(accepted), "`{toml}`: {found_accepted}");
    }
}

#[test]
fn entries_for_ipv6_are_found() {
    let rules = AcceptRules {
        allow_prefixes: vec!["198.51.0.0/16".to_owned(), "2001:db8::/32".to_owned()],
        deny_prefixes: vec!["2001:db8:1::/48 exact".to_owned()],
        ..AcceptRules::default()
    };
    assert_eq!(
        rules.ipv6_prefixes().collect::<Vec<_>>(),
        [
            ("accept.allow_prefixes", 1, "2001:db8::/32"),
            ("accept.deny_prefixes", 0, "2001:db8:1::/48 exact"),
        ]
    );
}

/// The control plane writes rules down and hands them to nodes: what is not written stays so.
#[test]
fn what_the_operator_has_written_survives_the_way_over_the_control_plane() {
    for (toml, keep_something_out) in [("", false), ("max_length = 24", true)] {
        let rules: AcceptRules = toml::from_str(toml).unwrap();
        let written = toml::to_string(&rules).unwrap();
        let read: AcceptRules = toml::from_str(&written).unwrap();
        assert_eq!((read.keep_something_out(), &read), (keep_something_out, &rules), "{written}");
    }
}
