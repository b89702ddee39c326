//! What is not TOML, keys that are not there or too many, and values of the wrong type.

use super::*;

#[test]
fn text_that_is_not_toml() {
    assert_eq!(
        node_messages("[node]\nname =\n"),
        "mcc.toml:2: found what is not TOML: string values must be quoted, expected literal string; \
         accepted: TOML, one `key = value` or `[section]` a line"
    );
    assert_node(
        "name = \"edge-2\"",
        "mcc.toml:5: found the key `name` a second time; \
         accepted: TOML, one `key = value` or `[section]` a line",
    );
}

#[test]
fn keys_that_do_not_exist() {
    for (added, expected) in [
        (
            "[http]\nlisten = [\"0.0.0.0:81\"]\nlissen = []",
            "mcc.toml:7: key `http.lissen`: found an unknown key (did you mean `listen`?); \
             accepted: `listen`",
        ),
        (
            "[https]\nipv6 = true",
            "mcc.toml:6: key `https.ipv6`: found an unknown key (did you mean `node.ipv6`?); \
             accepted: `listen`, `certificate`, `key`",
        ),
        (
            "[[drives]]\npath = \"/cache/2\"",
            "mcc.toml:5: key `drives`: found an unknown key (did you mean `drive`?); accepted: \
             `[node]`, `[http]`, `[https]`, `[admin]`, `[[drive]]`, `[cache]`, `[[origin]]`, \
             `[bgp]`, `[footprint]`, `[control]`",
        ),
        (
            "[footprint]\nzzz = 1",
            "mcc.toml:6: key `footprint.zzz`: found an unknown key; accepted: `cidrs`, \
             `max_change`, `damping`",
        ),
    ] {
        assert_node(added, expected);
    }
}

#[test]
fn keys_that_are_missing_or_of_the_wrong_shape() {
    assert_eq!(
        node_messages(""),
        "mcc.toml: key `node`: found nothing; accepted: a section that begins with `[node]`\n\
         mcc.toml: key `drive`: found nothing; accepted: sections that each begin with \
         `[[drive]]`, in double brackets"
    );
    for (added, expected) in [
        (
            "[[origin]]\naliases = []",
            "mcc.toml:5: key `origin[0].host`: found nothing; accepted: a host name without \
             scheme, port or path, such as `\"downloads.example\"`",
        ),
        (
            "[origin]\nhost = \"a.example\"",
            "mcc.toml:5: key `origin`: found a section; accepted: sections that each begin with \
             `[[origin]]`, in double brackets",
        ),
        (
            "[bgp]\nneighbor = [5]",
            "mcc.toml:6: key `bgp.neighbor[0]`: found `5`; accepted: sections that each begin \
             with `[[bgp.neighbor]]`, in double brackets",
        ),
        (
            "[[http]]",
            "mcc.toml:5: key `http`: found `[[http]]`; accepted: a section that begins with \
             `[http]`",
        ),
    ] {
        assert_node(added, expected);
    }
}

#[test]
fn values_of_the_wrong_type_or_range() {
    for (added, expected) in [
        ("ipv6 = \"yes\"", "mcc.toml:5: key `node.ipv6`: found `\"yes\"`; accepted: true or false"),
        (
            "max_egress_mbps = 0",
            "mcc.toml:5: key `node.max_egress_mbps`: found `0`; accepted: megabits per second, 1 \
             to 4294967295; no key: no limit",
        ),
        (
            "[cache]\nmax_age = 0",
            "mcc.toml:6: key `cache.max_age`: found `0`; accepted: days, 1 to 4294967295; no key: no \
             limit",
        ),
        (
            "max_egress_mbps = -1",
            "mcc.toml:5: key `node.max_egress_mbps`: found `-1`; accepted: megabits per second, 1 \
             to 4294967295; no key: no limit",
        ),
        (
            "[http]\nlisten = [\n  \"0.0.0.0:80\",\n  \"0.0.0.0\",\n]",
            "mcc.toml:8: key `http.listen[1]`: found `\"0.0.0.0\"`; accepted: a list of addresses \
             with ports, such as `[\"0.0.0.0:80\"]`",
        ),
        (
            "[http]\nlisten = []",
            "mcc.toml:6: key `http.listen`: found `[]`; accepted: at least one address, such as \
             `[\"192.0.2.10:80\"]`",
        ),
        (
            "[https]\nlisten = []",
            "mcc.toml:6: key `https.listen`: found `[]`; accepted: at least one address, such as \
             `[\"192.0.2.10:80\"]`",
        ),
        (
            "[[origin]]\nhost = \"http://a.example/\"",
            "mcc.toml:6: key `origin[0].host`: found `\"http://a.example/\"`; accepted: a host \
             name without scheme, port or path, such as `\"downloads.example\"`",
        ),
        (
            "[footprint]\ncidrs = [\"198.51.100.7\"]",
            "mcc.toml:6: key `footprint.cidrs[0]`: found `\"198.51.100.7\"`; accepted: a list of \
             prefixes, such as `[\"198.51.100.0/24\"]`",
        ),
    ] {
        assert_node(added, expected);
    }
    for (name, address, expected) in [
        (
            "edge_1",
            "192.0.2.10",
            "mcc.toml:1: key `node.name`: found `\"edge_1\"`; accepted: 1 to 63 letters, digits \
             and '-', with no '-' at either end, such as `\"edge-1\"`",
        ),
        (
            "edge-1",
            "192.0.2.300",
            "mcc.toml:1: key `node.address`: found `\"192.0.2.300\"`; accepted: an IP address, \
             such as `\"192.0.2.10\"`",
        ),
        (
            "edge-1",
            "224.0.0.5",
            "mcc.toml:1: key `node.address`: found `\"224.0.0.5\"`; accepted: the address of one \
             host, that clients can reach",
        ),
    ] {
        let text = format!(
            "node = {{ name = \"{name}\", address = \"{address}\" }}\n\
             drive = [{{ path = \"/cache/1\", size = \"500GB\" }}]"
        );
        assert_eq!(node_messages(&text), expected);
    }
}
