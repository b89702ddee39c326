//! The sections of a node, its neighbors aside.

use super::*;

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
