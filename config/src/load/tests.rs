//! One bad file for each rule, with the whole message that an operator gets.

use super::*;
use crate::{example_control, example_node};

/// Four lines that are good; what a case adds begins on line 5, in the section `[node]`.
pub(super) const NODE: &str = r#"drive = [{ path = "/cache/1", size = "500GB" }]
[node]
name = "edge-1"
address = "192.0.2.10"
"#;

fn messages<T>(read: Result<T, ConfigError>) -> String {
    read.err().map(|error| error.to_string()).unwrap_or_default()
}

pub(super) fn node_messages(text: &str) -> String {
    messages(NodeConfig::parse(text, "mcc.toml"))
}

#[track_caller]
pub(super) fn assert_node(added: &str, expected: &str) {
    assert_eq!(node_messages(&format!("{NODE}{added}")), expected, "{added}");
}

#[track_caller]
fn assert_control(text: &str, expected: &str) {
    assert_eq!(messages(ControlConfig::parse(text, "control.toml")), expected, "{text}");
}

#[test]
fn the_base_of_these_tests_is_good() {
    assert_node("", "");
}

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

#[test]
fn drives() {
    let node = "[node]\nname = \"edge-1\"\naddress = \"192.0.2.10\"\n";
    let size = "accepted: a number and a unit, such as `\"500GB\"` or `\"64MiB\"`; at least 64 MiB";
    for (drives, expected) in [
        (
            "drive = []\n",
            "mcc.toml:1: key `drive`: found `[]`; accepted: at least one `[[drive]]` with `path` \
             and `size`"
                .to_owned(),
        ),
        (
            "drive = [{ path = \"/cache/1\", size = \"63MiB\" }]\n",
            format!("mcc.toml:1: key `drive[0].size`: found `\"63MiB\"`; {size}"),
        ),
        (
            "drive = [{ path = \"/cache/1\", size = 500 }]\n",
            format!("mcc.toml:1: key `drive[0].size`: found `500`; {size}"),
        ),
        (
            "drive = [{ path = \"/c\", size = \"1GB\" },\n         { path = \"/c/\", size = \"1GB\" }]\n",
            "mcc.toml:2: key `drive[1].path`: found `\"/c/\"`; accepted: a folder that no other \
             drive has; `drive[0].path` is the same in line 1"
                .to_owned(),
        ),
    ] {
        assert_eq!(node_messages(&format!("{drives}{node}")), expected);
    }
}

#[test]
fn listeners_certificate_and_origins() {
    for (added, expected) in [
        (
            "[https]\nlisten = [\"0.0.0.0:80\"]",
            "mcc.toml:6: key `https.listen[0]`: found `\"0.0.0.0:80\"`; accepted: an address and \
             port that nothing else listens on; `http.listen[0]` is the same by default",
        ),
        (
            "[https]\nlisten = [\"192.0.2.10:80\"]",
            "mcc.toml:6: key `https.listen[0]`: found `\"192.0.2.10:80\"`; accepted: an address and \
             port that nothing else listens on; `http.listen[0]` has `\"0.0.0.0:80\"` by default, and one \
             of the two is every address",
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:179\"\n[bgp]\nlisten = [\"192.0.2.10:179\"]",
            "mcc.toml:8: key `bgp.listen[0]`: found `\"192.0.2.10:179\"`; accepted: an address and port \
             that nothing else listens on; `admin.listen` has `\"0.0.0.0:179\"` in line 6, and one of the \
             two is every address",
        ),
        (
            "[http]\nlisten = [\"192.0.2.10:80\", \"192.0.2.11:80\"]\n[https]\nlisten = [\"192.0.2.12:80\"]",
            "",
        ),
        (
            "[https]\ncertificate = \"/c.pem\"",
            "mcc.toml:5: key `https.key`: found nothing; accepted: the path of the private key, \
             since `certificate` is set; or neither of the two",
        ),
        (
            "[https]\nkey = \"/k.pem\"",
            "mcc.toml:5: key `https.certificate`: found nothing; accepted: the path of the \
             certificate, since `key` is set; or neither of the two",
        ),
        (
            "[[origin]]\nhost = \"a.example\"\n[[origin]]\nhost = \"b.example\"\naliases = [\"A.example\"]",
            "mcc.toml:9: key `origin[1].aliases[0]`: found `\"A.example\"`; accepted: a name that \
             no other origin has, as host or alias; `origin[0].host` is the same in line 6",
        ),
    ] {
        assert_node(added, expected);
    }
}

#[test]
fn ipv6_while_it_is_off() {
    let off = "accepted: IPv4, since IPv6 is off; `[node] ipv6 = true` switches it on";
    for (added, line, key, value) in [
        ("[http]\nlisten = [\"[::]:80\"]", 6, "http.listen[0]", "[::]:80"),
        ("[https]\nlisten = [\"[::]:443\"]", 6, "https.listen[0]", "[::]:443"),
        ("[admin]\nlisten = \"[::1]:5000\"", 6, "admin.listen", "[::1]:5000"),
        (
            "[[origin]]\nhost = \"a.example\"\nconnect = \"[::1]:80\"",
            7,
            "origin[0].connect",
            "[::1]:80",
        ),
        ("[bgp]\nlisten = [\"[::]:179\"]", 6, "bgp.listen[0]", "[::]:179"),
        (
            "[[bgp.neighbor]]\naddress = \"2001:db8::1\"\nasn = 65100",
            6,
            "bgp.neighbor[0].address",
            "2001:db8::1",
        ),
        ("[footprint]\ncidrs = [\"2001:db8::/32\"]", 6, "footprint.cidrs[0]", "2001:db8::/32"),
        (
            "[control]\nurl = \"https://[2001:db8::2]:8443\"\ntoken_file = \"/t\"",
            6,
            "control.url",
            "https://[2001:db8::2]:8443",
        ),
    ] {
        assert_node(added, &format!("mcc.toml:{line}: key `{key}`: found `\"{value}\"`; {off}"));
        // The switch is the way out that the message says it is.
        assert_node(&format!("ipv6 = true\n{added}"), "");
    }
    assert_eq!(
        node_messages(&NODE.replace("192.0.2.10", "2001:db8::10")),
        format!("mcc.toml:4: key `node.address`: found `\"2001:db8::10\"`; {off}")
    );
}

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
fn footprint_and_control_link() {
    let url = "accepted: `https://host:port`, or `http://` to a loopback address, without path \
               and user";
    let link = |url: &str| format!("[control]\ntoken_file = \"/t\"\nurl = \"{url}\"");
    for (added, expected) in [
        (
            "[footprint]\ncidrs = [\"198.51.100.7/24\"]".to_owned(),
            "mcc.toml:6: key `footprint.cidrs[0]`: found `\"198.51.100.7/24\"`; accepted: \
             `\"198.51.100.0/24\"`, or for the one address `\"198.51.100.7/32\"`"
                .to_owned(),
        ),
        (
            "[footprint]\ncidrs = [\"0.0.0.0/0\"]".to_owned(),
            "mcc.toml:6: key `footprint.cidrs[0]`: found `\"0.0.0.0/0\"`; accepted: prefixes of \
             your own clients: this one is the whole internet"
                .to_owned(),
        ),
        (
            link("http://control.example:8443"),
            "mcc.toml:7: key `control.url`: found `\"http://control.example:8443\"`; accepted: \
             `https://`, since the node's token must not travel in the clear; `http://` only to a \
             loopback address"
                .to_owned(),
        ),
        (
            link("control.example"),
            format!("mcc.toml:7: key `control.url`: found `\"control.example\"`; {url}"),
        ),
        (
            link("ftp://a.example"),
            format!("mcc.toml:7: key `control.url`: found `\"ftp://a.example\"`; {url}"),
        ),
        (
            link("https://a.example/x"),
            format!("mcc.toml:7: key `control.url`: found `\"https://a.example/x\"`; {url}"),
        ),
        (
            link("https://a:b@a.example"),
            format!("mcc.toml:7: key `control.url`: found `\"https://a:b@a.example\"`; {url}"),
        ),
        (link("https://control.example:8443/"), String::new()),
        (link("http://127.0.0.1:8443"), String::new()),
        (link("http://localhost:8443"), String::new()),
    ] {
        assert_node(&added, &expected);
    }
}

#[test]
fn the_control_planes_file() {
    let off = "accepted: IPv4, since IPv6 is off; `[control] ipv6 = true` switches it on";
    for (text, expected) in [
        (
            "",
            "control.toml: key `control`: found nothing; accepted: a section that begins with \
             `[control]`"
                .to_owned(),
        ),
        (
            "[control]\nlisten = [\"192.0.2.5:8443\"]",
            "control.toml:2: key `control.listen[0]`: found `\"192.0.2.5:8443\"`; accepted: a \
             loopback address such as `\"127.0.0.1:8443\"`, or any address with `[control.tls]`, \
             so that no token travels in the clear"
                .to_owned(),
        ),
        (
            "[control]\ntls = { certificate = \"/c.pem\" }",
            "control.toml:2: key `control.tls.key`: found nothing; accepted: the path of a file, \
             as a string"
                .to_owned(),
        ),
        (
            "[control]\nlisten = []",
            "control.toml:2: key `control.listen`: found `[]`; accepted: at least one address, \
             such as `[\"192.0.2.10:80\"]`"
                .to_owned(),
        ),
        (
            "[control]\nlisten = [\"[::1]:8443\"]",
            format!("control.toml:2: key `control.listen[0]`: found `\"[::1]:8443\"`; {off}"),
        ),
        (
            "[control]\ntrusted_proxies = [\"2001:db8::/64\"]",
            format!(
                "control.toml:2: key `control.trusted_proxies[0]`: found `\"2001:db8::/64\"`; {off}"
            ),
        ),
        (
            "[control]\ntrusted_proxies = [\"192.0.2.1/28\"]",
            "control.toml:2: key `control.trusted_proxies[0]`: found `\"192.0.2.1/28\"`; \
             accepted: `\"192.0.2.0/28\"`, or for the one address `\"192.0.2.1/32\"`"
                .to_owned(),
        ),
        (
            "[control]\ndatabase = \"mysql://root:hunter2@db\"",
            "control.toml:2: key `control.database`: found a string of 23 bytes, not shown here; \
             accepted: `\"sqlite\"`, or a `\"postgres://…\"` URL"
                .to_owned(),
        ),
        (
            "[control]\n[dns]\nlisten = [\"127.0.0.1:53\"]",
            "control.toml:2: key `dns.upstream`: found nothing; accepted: a list of addresses \
             with ports, such as `[\"0.0.0.0:80\"]`"
                .to_owned(),
        ),
        (
            "[control]\n[dns]\nlisten = [\"127.0.0.1:53\"]\nupstream = []",
            "control.toml:4: key `dns.upstream`: found `[]`; accepted: at least one address, such \
             as `[\"192.0.2.10:80\"]`"
                .to_owned(),
        ),
        (
            "[control]\n[dns]\nlisten = [\"127.0.0.1:8443\"]\nupstream = [\"192.0.2.53:53\"]",
            "control.toml:3: key `dns.listen[0]`: found `\"127.0.0.1:8443\"`; accepted: an \
             address and port that nothing else listens on; `control.listen[0]` is the same by \
             default"
                .to_owned(),
        ),
    ] {
        assert_control(text, &expected);
    }
}

/// One reading finds what is wrong in every way, in the order of the file.
#[test]
fn all_problems_at_once() {
    let text = r#"
[node]
name = "edge 1"
address = "192.0.2.10"
max_egress_mpbs = 10
[[drive]]
path = "/cache/1"
[[bgp.neighbor]]
address = "192.0.2.1"
asn = "AS65100"
hold_time = 1
[[bgp.neighbor]]
address = 5
asn = 0
"#;
    let error = NodeConfig::parse(text, "mcc.toml").unwrap_err();
    let places: Vec<_> =
        error.problems().iter().map(|p| (p.line.unwrap(), p.key.clone().unwrap())).collect();
    let expected = [
        (3, "node.name"),
        (5, "node.max_egress_mpbs"),
        (6, "drive[0].size"),
        (10, "bgp.neighbor[0].asn"),
        (11, "bgp.neighbor[0].hold_time"),
        (13, "bgp.neighbor[1].address"),
        (14, "bgp.neighbor[1].asn"),
    ];
    assert_eq!(places, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_file_full_of_wrong_values_is_given_up() {
    let text = format!("{NODE}[footprint]\ncidrs = [{}]", "\"x\", ".repeat(1000));
    let error = NodeConfig::parse(&text, "mcc.toml").unwrap_err();
    assert_eq!(error.problems().len(), MOST_WRONG_VALUES + 1);
}

#[test]
fn no_message_shows_a_password() {
    let long = "hunter2".repeat(12);
    for line in [
        format!("password = \"{long}\""),
        format!("pasword = \"{long}\""),
        format!("password = [\"{long}\"]"),
        format!("password = {{ a = \"{long}\" }}"),
        format!("password = \"{long}"),
        format!("password = {long}"),
        format!("password = \"a\"\npassword = \"{long}\""),
    ] {
        let text = format!("{NODE}[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 1\n{line}\n");
        let error = NodeConfig::parse(&text, "mcc.toml").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcc.toml");
    let error = NodeConfig::load(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot read the configuration: ", path.display())));

    std::fs::write(&path, b"[node]\nname = \"\xff\"\n").unwrap();
    assert_eq!(
        NodeConfig::load(&path).unwrap_err().to_string(),
        format!(
            "{}:2: found bytes that are not UTF-8; accepted: a TOML file, which is UTF-8 text",
            path.display()
        )
    );

    std::fs::write(&path, example_node()).unwrap();
    assert_eq!(NodeConfig::load(&path).unwrap().node.name.as_str(), "edge-1");
    std::fs::write(&path, example_control()).unwrap();
    assert!(ControlConfig::load(&path).is_ok());
}

#[test]
fn whose_file_it_is_shows_however_it_is_written() {
    for text in [
        "[control]",
        " [ control ]\nlisten = []",
        "control = { listen = [] }",
        "control.listen = []",
        "[control.tls]",
        "\u{feff}[control]",
        "[control]\nlisten = [",
    ] {
        assert!(is_of_control_plane(text), "{text}");
    }
    for text in ["", "[node]", "[control]\n[node]", "node.name = \"a\"\ncontrol.url = \"\"", "[["] {
        assert!(!is_of_control_plane(text), "{text}");
    }
}

#[test]
fn limits_of_the_cache() {
    for (added, expected) in [
        (
            "[cache.limits]\nconnections = 0",
            "mcc.toml:6: key `cache.limits.connections`: found `0`; accepted: a number of \
             connections, 1 to 4294967295",
        ),
        (
            "[cache.limits]\nhead_time = 0\nstuck_time = 86401",
            "mcc.toml:6: key `cache.limits.head_time`: found `0`; accepted: seconds, 1 to 86400\n\
             mcc.toml:7: key `cache.limits.stuck_time`: found `86401`; accepted: seconds, 1 to 86400",
        ),
        (
            "[cache.limits]\nleast_rate = \"slow\"",
            "mcc.toml:6: key `cache.limits.least_rate`: found `\"slow\"`; accepted: bytes per \
             second, 0 to 4294967295; 0: any rate",
        ),
        (
            "[cache.limits]\nread_ahead_memory = \"1MiB\"",
            "mcc.toml:6: key `cache.limits.read_ahead_memory`: found `\"1MiB\"`; accepted: a number \
             and a unit, such as `\"512MiB\"`; at least 16 MiB",
        ),
        (
            "[cache.limits]\norigin_silence = 16",
            "mcc.toml:6: key `cache.limits.origin_silence`: found `16`; accepted: no more seconds \
             than `client_wait`, 15: nobody waits longer",
        ),
        (
            "[cache.limits]\nclient_wait = 9\norigin_silence = 9",
            "mcc.toml:6: key `cache.limits.client_wait`: found `9`; accepted: at least 10 seconds, \
             as long as an origin may take (`cache.limits.origin_answer_time`)",
        ),
        ("[cache.limits]\nclient_wait = 60\norigin_silence = 60\nleast_rate = 0", ""),
    ] {
        assert_node(added, expected);
    }
}
