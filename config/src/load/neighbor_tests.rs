//! TCP options of a neighbor, and `[[bgp.dynamic]]`: one bad file for each rule.

use super::tests::{NODE, assert_node, node_messages};

#[test]
fn tcp_options_of_a_neighbor() {
    let neighbor = "[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65100\n";
    for (added, expected) in [
        ("source = \"192.0.2.10\"\nmultihop = 255", ""),
        ("ttl_security = 254", ""),
        (
            "source = \"0.0.0.0\"",
            "mcc.toml:8: key `bgp.neighbor[0].source`: found `\"0.0.0.0\"`; accepted: an address \
             of this node, such as `\"192.0.2.10\"`",
        ),
        (
            "source = \"2001:db8::1\"",
            "mcc.toml:8: key `bgp.neighbor[0].source`: found `\"2001:db8::1\"`; accepted: an \
             address of this node, of the same family as `address`",
        ),
        (
            "multihop = 0",
            "mcc.toml:8: key `bgp.neighbor[0].multihop`: found `0`; accepted: the TTL to send \
             with, 1 to 255",
        ),
        (
            "ttl_security = 255",
            "mcc.toml:8: key `bgp.neighbor[0].ttl_security`: found `255`; accepted: the most hops \
             that the router is away, 1 to 254",
        ),
        (
            "ttl_security = \"on\"",
            "mcc.toml:8: key `bgp.neighbor[0].ttl_security`: found `\"on\"`; accepted: the most \
             hops that the router is away, 1 to 254",
        ),
        (
            "multihop = 2\nttl_security = 2",
            "mcc.toml:9: key `bgp.neighbor[0].ttl_security`: found `2`; accepted: no \
             `ttl_security` beside `multihop`: it always sends a TTL of 255",
        ),
    ] {
        assert_node(&format!("{neighbor}{added}"), expected);
    }
}

#[test]
fn dynamic_neighbors() {
    let dynamic = "[[bgp.dynamic]]\nprefix = \"198.51.100.0/24\"\n";
    for (added, expected) in [
        ("asns = [65100]\naccept.max_length = 28", ""),
        (
            "asns = [0]",
            "mcc.toml:7: key `bgp.dynamic[0].asns`: found `[0]`; accepted: a list of AS numbers, each \
             1 to 4294967295 and not 23456",
        ),
        (
            "max_sessions = 0",
            "mcc.toml:7: key `bgp.dynamic[0].max_sessions`: found `0`; accepted: 1 to 65535",
        ),
        (
            "multihop = 2\nttl_security = 2",
            "mcc.toml:8: key `bgp.dynamic[0].ttl_security`: found `2`; accepted: no \
             `ttl_security` beside `multihop`: it always sends a TTL of 255",
        ),
        (
            "accept.min_length = 25",
            "mcc.toml:7: key `bgp.dynamic[0].accept.min_length`: found `25`; accepted: at most 24, \
             the `max_length`",
        ),
        (
            "accept.max_length = \"24\"",
            "mcc.toml:7: key `bgp.dynamic[0].accept.max_length`: found `\"24\"`; accepted: 0 to 32 \
             bits",
        ),
        (
            "password = \"\"",
            "mcc.toml:7: key `bgp.dynamic[0].password`: found a string of 0 bytes, not shown \
             here; accepted: the TCP MD5 key, a string of 1 to 80 bytes",
        ),
        (
            "[[bgp.dynamic]]\nprefix = \"198.51.100.0/24\"",
            "mcc.toml:8: key `bgp.dynamic[1].prefix`: found `\"198.51.100.0/24\"`; accepted: a \
             prefix that no other `[[bgp.dynamic]]` has; `bgp.dynamic[0].prefix` is the same in \
             line 6",
        ),
        (
            "[[bgp.dynamic]]\nprefix = \"203.0.113.1/24\"",
            "mcc.toml:8: key `bgp.dynamic[1].prefix`: found `\"203.0.113.1/24\"`; accepted: \
             `\"203.0.113.0/24\"`, or for the one address `\"203.0.113.1/32\"`",
        ),
        (
            "[[bgp.dynamic]]\nprefix = \"2001:db8::/64\"",
            "mcc.toml:8: key `bgp.dynamic[1].prefix`: found `\"2001:db8::/64\"`; accepted: IPv4, \
             since IPv6 is off; `[node] ipv6 = true` switches it on",
        ),
        (
            "[bgp]\nlisten = []",
            "mcc.toml:6: key `bgp.dynamic[0].prefix`: found `\"198.51.100.0/24\"`; accepted: an \
             address in `bgp.listen` first, since it is empty and no router could connect",
        ),
    ] {
        assert_node(&format!("{dynamic}{added}"), expected);
    }
}

#[test]
fn a_router_without_password_inside_a_prefix_with_one_could_never_connect() {
    let dynamic = "[[bgp.dynamic]]\nprefix = \"198.51.100.0/24\"\npassword = \"secret\"\n";
    let unsigned = |key: &str, found: &str| {
        format!(
            "mcc.toml:9: key `{key}`: found `\"{found}\"`; accepted: a `password` beside it, since \
             `bgp.dynamic[0]` has one and holds it: the system drops every connection from there \
             that is not signed"
        )
    };
    for (added, expected) in [
        (
            "[[bgp.neighbor]]\naddress = \"198.51.100.7\"\nasn = 65100",
            unsigned("bgp.neighbor[0].address", "198.51.100.7"),
        ),
        (
            "[[bgp.dynamic]]\nprefix = \"198.51.100.64/26\"",
            unsigned("bgp.dynamic[1].prefix", "198.51.100.64/26"),
        ),
        (
            "[[bgp.neighbor]]\naddress = \"198.51.100.7\"\nasn = 65100\npassword = \"other\"",
            String::new(),
        ),
        ("[[bgp.dynamic]]\nprefix = \"198.51.0.0/16\"", String::new()),
        ("[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65100", String::new()),
        (
            "[[bgp.dynamic]]\nprefix = \"192.0.2.1/32\"\npassword = \"other\"\n\
             [[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65100\npassword = \"secret\"",
            "mcc.toml:9: key `bgp.dynamic[1].prefix`: found `\"192.0.2.1/32\"`; accepted: no prefix \
             that is one address and that of `bgp.neighbor[0]`: its password would take the place \
             of the neighbor's"
                .to_owned(),
        ),
    ] {
        assert_node(&format!("{dynamic}{added}"), &expected);
    }
}

#[test]
fn the_accept_rules_of_dynamic_neighbors_are_those_of_a_neighbor() {
    let hint = |section: &str| {
        let rules = format!("{section}accept.max_lenght = 24");
        let message = node_messages(&format!("{NODE}{rules}"));
        let (_, hint) = message.split_once("found an unknown key").unwrap();
        hint.to_owned()
    };
    let dynamic = hint("[[bgp.dynamic]]\nprefix = \"198.51.100.0/24\"\n");
    assert!(dynamic.contains("did you mean `max_length`?"), "{dynamic}");
    let neighbor = hint("[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65100\n");
    assert_eq!(dynamic, neighbor);
}

#[test]
fn addresses_that_no_router_can_have() {
    let neighbor = |address: &str, rest: &str| {
        format!("[[bgp.neighbor]]\naddress = \"{address}\"\nasn = 65100\n{rest}\n")
    };
    let own = |address: &str, listen: &str| {
        format!(
            "mcc.toml:6: key `bgp.neighbor[0].address`: found `\"{address}\"`; accepted: the router's \
             address: this one is the node's own, which listens there itself (`bgp.listen` has \
             `\"{listen}\"`)"
        )
    };
    let link_local = "mcc.toml:7: key `bgp.neighbor[0].address`: found `\"fe80::1\"`; accepted: an address \
                      that needs no interface beside it: a link-local one (fe80::) is good on one link \
                      only, and there is no place here for which; use the router's global or unique \
                      local address";
    for (added, expected) in [
        (neighbor("192.0.2.10", ""), own("192.0.2.10", "0.0.0.0:179")),
        (neighbor("127.0.0.7", ""), own("127.0.0.7", "0.0.0.0:179")),
        (
            neighbor("192.0.2.11", "") + "[bgp]\nlisten = [\"192.0.2.11:179\"]",
            own("192.0.2.11", "192.0.2.11:179"),
        ),
        // Another speaker on the same machine.
        (neighbor("192.0.2.10", "port = 1790"), String::new()),
        (neighbor("192.0.2.10", "passive = true"), String::new()),
        (neighbor("127.0.0.7", "") + "[bgp]\nlisten = [\"192.0.2.10:179\"]", String::new()),
        ("ipv6 = true\n".to_owned() + &neighbor("fe80::1", ""), link_local.to_owned()),
        (
            "ipv6 = true\n".to_owned()
                + &neighbor("192.0.2.1", "")
                + &neighbor("::ffff:192.0.2.1", ""),
            "mcc.toml:11: key `bgp.neighbor[1].address`: found `\"::ffff:192.0.2.1\"`; accepted: an \
             address that no other neighbor has; `bgp.neighbor[0].address` is the same in line 7"
                .to_owned(),
        ),
        (
            neighbor("192.0.2.1", "") + &neighbor("192.0.2.1", "port = 1790"),
            "mcc.toml:10: key `bgp.neighbor[1].address`: found `\"192.0.2.1\"`; accepted: an address \
             that no other neighbor has; `bgp.neighbor[0].address` is the same in line 6"
                .to_owned(),
        ),
    ] {
        assert_node(&added, &expected);
    }
}
