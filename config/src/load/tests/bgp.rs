//! Neighbors: sessions, TCP options, accept rules, and `[[bgp.dynamic]]`.

use super::*;

#[test]
fn bgp() {
    let neighbor = "[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65100\n";
    for (added, expected) in [
        (
            "hold_time = 2",
            "mcc.toml:8: key `bgp.neighbor[0].hold_time`: found `2`; accepted: seconds: 0 (never \
             expires), or 3 to 65535",
        ),
        (
            "hold_time = 70000",
            "mcc.toml:8: key `bgp.neighbor[0].hold_time`: found `70000`; accepted: seconds: 0 \
             (never expires), or 3 to 65535",
        ),
        (
            "local_asn = 23456",
            "mcc.toml:8: key `bgp.neighbor[0].local_asn`: found `23456`; accepted: an AS number, \
             1 to 4294967295 and not 23456",
        ),
        (
            "port = 0",
            "mcc.toml:8: key `bgp.neighbor[0].port`: found `0`; accepted: a TCP port, 1 to 65535",
        ),
        (
            "max_prefixes = 0",
            "mcc.toml:8: key `bgp.neighbor[0].max_prefixes`: found `0`; accepted: 1 to 4294967295",
        ),
        (
            "password = \"\"",
            "mcc.toml:8: key `bgp.neighbor[0].password`: found a string of 0 bytes, not shown \
             here; accepted: the TCP MD5 key, a string of 1 to 80 bytes",
        ),
        (
            &format!("password = \"{}\"", "é".repeat(41)),
            "mcc.toml:8: key `bgp.neighbor[0].password`: found a string of 82 bytes, not shown \
             here; accepted: the TCP MD5 key, a string of 1 to 80 bytes",
        ),
        (
            "accept.max_length = 33",
            "mcc.toml:8: key `bgp.neighbor[0].accept.max_length`: found `33`; accepted: 0 to 32 \
             bits",
        ),
        (
            "accept.min_length = 33",
            "mcc.toml:8: key `bgp.neighbor[0].accept.min_length`: found `33`; accepted: 0 to 32 \
             bits",
        ),
        (
            "accept.min_length = 25",
            "mcc.toml:8: key `bgp.neighbor[0].accept.min_length`: found `25`; accepted: at most \
             24, the `max_length`",
        ),
        (
            "accept.max_length = 7",
            "mcc.toml:8: key `bgp.neighbor[0].accept.max_length`: found `7`; accepted: at least \
             8, the `min_length`",
        ),
        (
            "accept.communities = [\"65100:911\", \"65100:65536\"]",
            "mcc.toml:8: key `bgp.neighbor[0].accept.communities[1]`: found `\"65100:65536\"`; \
             accepted: `65100:911`, a large one such as `65100:1:2`, an extended one such as \
             `rt:65100:1`, `soo:65100:1` or `ext:0x` and 16 hex digits, or a name: \
             graceful-shutdown, accept-own, llgr-stale, no-llgr, accept-own-nexthop, standby-pe, \
             blackhole, no-export, no-advertise, no-export-subconfed, no-peer",
        ),
        (
            "accept.allow_prefixes = [\"198.51.0.0/16\", \"198.51.100.128/25\"]",
            "mcc.toml:8: key `bgp.neighbor[0].accept.allow_prefixes[1]`: found \
             `\"198.51.100.128/25\"`; accepted: prefixes of 8 to 24 bits; `accept.min_length` and \
             `accept.max_length` change that",
        ),
        (
            "accept.deny_prefixes = [\"2001:db8::/32\"]",
            "mcc.toml:8: key `bgp.neighbor[0].accept.deny_prefixes[0]`: found `\"2001:db8::/32\"`; \
             accepted: IPv4, since IPv6 is off; `[node] ipv6 = true` switches it on",
        ),
        (
            "accept.origin_asns = [65100, -1]",
            "mcc.toml:8: key `bgp.neighbor[0].accept.origin_asns[1]`: found `-1`; accepted: a list \
             of AS numbers and ranges of them, such as `[65100, \"64512-65534\"]`",
        ),
        (
            "accept.as_path = [\"^AS65100\"]",
            "mcc.toml:8: key `bgp.neighbor[0].accept.as_path[0]`: found `\"^AS65100\"`; accepted: a \
             pattern such as `^65100_`, `_65200$` or `_(6453|3356)_`: no AS path has `A` in it",
        ),
        (
            "[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65101",
            "mcc.toml:9: key `bgp.neighbor[1].address`: found `\"192.0.2.1\"`; accepted: an \
             address that no other neighbor has; `bgp.neighbor[0].address` is the same in line 6",
        ),
        (
            "[[bgp.neighbor]]\naddress = \"0.0.0.0\"\nasn = 65101",
            "mcc.toml:9: key `bgp.neighbor[1].address`: found `\"0.0.0.0\"`; accepted: the \
             address of one router",
        ),
        (
            "passive = true\n[bgp]\nlisten = []",
            "mcc.toml:8: key `bgp.neighbor[0].passive`: found `true`; accepted: false, since \
             `bgp.listen` is empty and the router could connect to nothing",
        ),
        (
            "[bgp]\nrouter_id = \"0.0.0.0\"",
            "mcc.toml:9: key `bgp.router_id`: found `\"0.0.0.0\"`; accepted: an IPv4 address \
             other than 0.0.0.0, such as `\"192.0.2.10\"`",
        ),
    ] {
        assert_node(&format!("{neighbor}{added}"), expected);
    }
    assert_eq!(
        node_messages(&format!(
            "{}ipv6 = true\n{neighbor}",
            NODE.replace("192.0.2.10", "2001:db8::10")
        )),
        "mcc.toml:6: key `bgp.router_id`: found nothing; accepted: an IPv4 address such as \
         `\"192.0.2.10\"`, since `node.address` is IPv6 and cannot serve as BGP identifier"
    );
}

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
