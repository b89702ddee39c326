//! The file of the control plane, and how it is told from that of a node.

use super::*;

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
