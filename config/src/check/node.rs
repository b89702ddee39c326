//! Checks of the node's file.

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use super::Findings;
use super::shared::Ipv6;
use crate::document::KeyPath;
use crate::neighbor::is_one_host;
use crate::{
    AcceptRules, Bgp, ByteSize, CacheLimits, ControlLink, DynamicNeighbors, ImpossibleValue,
    Neighbor, NodeConfig,
};

/// Less is not worth a drive: a handful of blocks.
const SMALLEST_DRIVE: ByteSize = ByteSize::new(64 << 20);

/// Less would not let a single download be read ahead.
const LEAST_MEMORY: ByteSize = ByteSize::new(16 << 20);

/// The longest time that a limit of the cache can be, in seconds.
const DAY: u32 = 86_400;

/// Reports what is impossible in `config`.
pub(crate) fn node(config: &NodeConfig, findings: &mut Findings<'_, '_>) {
    let ipv6 = Ipv6 { on: config.node.ipv6, section: "node" };
    let address = KeyPath::of("node.address");
    findings.family(&address, config.node.address.is_ipv6(), ipv6);
    if !is_one_host(config.node.address) {
        findings.report(&[&address], "the address of one host, that clients can reach");
    }
    if config.node.max_egress_mbps == Some(0) {
        findings.wrong(&KeyPath::of("node.max_egress_mbps"));
    }
    listeners(config, ipv6, findings);
    certificate(config, findings);
    drives(config, findings);
    limits(&config.cache.limits, findings);
    origins(config, ipv6, findings);
    if let Some(bgp) = &config.bgp {
        speaker(bgp, config, ipv6, findings);
    }
    footprint(config, ipv6, findings);
    if let Some(control) = &config.control {
        control_link(control, ipv6, findings);
    }
}

fn listeners(config: &NodeConfig, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    findings.sockets(&KeyPath::of("http.listen"), &config.http.listen, ipv6);
    findings.sockets(&KeyPath::of("https.listen"), &config.https.listen, ipv6);
    findings.family(&KeyPath::of("admin.listen"), config.admin.listen.is_ipv6(), ipv6);
    let mut all = vec![(KeyPath::of("admin.listen"), config.admin.listen)];
    let bgp = config.bgp.as_ref().map_or(&[] as &[SocketAddr], |bgp| &bgp.listen);
    for (key, sockets) in [
        ("http.listen", config.http.listen.as_slice()),
        ("https.listen", &config.https.listen),
        ("bgp.listen", bgp),
    ] {
        let key = KeyPath::of(key);
        all.extend(sockets.iter().enumerate().map(|(i, socket)| (key.index(i), *socket)));
    }
    findings.listeners(all);
}

fn certificate(config: &NodeConfig, findings: &mut Findings<'_, '_>) {
    let certificate = KeyPath::of("https.certificate");
    let key = KeyPath::of("https.key");
    match (&config.https.certificate, &config.https.key) {
        (Some(_), None) => findings.report(
            &[&key, &certificate],
            "the path of the private key, since `certificate` is set; or neither of the two",
        ),
        (None, Some(_)) => findings.report(
            &[&certificate, &key],
            "the path of the certificate, since `key` is set; or neither of the two",
        ),
        _ => {}
    }
}

fn drives(config: &NodeConfig, findings: &mut Findings<'_, '_>) {
    let drives = KeyPath::of("drive");
    if config.drives.is_empty() {
        findings.report(&[&drives], "at least one `[[drive]]` with `path` and `size`");
    }
    for (i, drive) in config.drives.iter().enumerate() {
        if drive.size < SMALLEST_DRIVE {
            findings.wrong(&drives.index(i).key("size"));
        }
    }
    if config.cache.max_age == Some(0) {
        findings.wrong(&KeyPath::of("cache.max_age"));
    }
    // Compared by component, so that `/cache/1` and `/cache/1/` are the same.
    let paths = config.drives.iter().enumerate();
    findings.unique(
        paths.map(|(i, drive)| (drives.index(i).key("path"), drive.path.as_path() as &Path)),
        "a folder that no other drive has",
    );
}

fn limits(limits: &CacheLimits, findings: &mut Findings<'_, '_>) {
    let path = |key| KeyPath::of("cache.limits").key(key);
    if limits.connections == 0 {
        findings.wrong(&path("connections"));
    }
    if limits.read_ahead_memory < LEAST_MEMORY {
        findings.wrong(&path("read_ahead_memory"));
    }
    for (key, seconds) in [
        ("head_time", limits.head_time),
        ("client_wait", limits.client_wait),
        ("origin_answer_time", limits.origin_answer_time),
        ("origin_silence", limits.origin_silence),
        ("stuck_time", limits.stuck_time),
        ("least_rate_time", limits.least_rate_time),
    ] {
        if !(1..=DAY).contains(&seconds) {
            findings.wrong(&path(key));
        }
    }
    let wait = path("client_wait");
    for (key, seconds) in [
        ("origin_answer_time", limits.origin_answer_time),
        ("origin_silence", limits.origin_silence),
    ] {
        let key = path(key);
        match findings.is_in_file(&key) {
            _ if seconds <= limits.client_wait => {}
            true => findings.report(
                &[&key, &wait],
                &format!(
                    "no more seconds than `client_wait`, {}: nobody waits longer",
                    limits.client_wait
                ),
            ),
            false => findings.report(
                &[&wait, &key],
                &format!("at least {seconds} seconds, as long as an origin may take (`{key}`)"),
            ),
        }
    }
}

fn origins(config: &NodeConfig, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    let origins = KeyPath::of("origin");
    let mut names = Vec::new();
    for (i, origin) in config.origins.iter().enumerate() {
        let at = origins.index(i);
        names.push((at.key("host"), &origin.host));
        let aliases = at.key("aliases");
        names.extend(origin.aliases.iter().enumerate().map(|(i, a)| (aliases.index(i), a)));
        if let Some(connect) = origin.connect {
            findings.family(&at.key("connect"), connect.is_ipv6(), ipv6);
        }
    }
    findings.unique(names, "a name that no other origin has, as host or alias");
}

fn speaker(bgp: &Bgp, config: &NodeConfig, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    let router_id = KeyPath::of("bgp.router_id");
    match config.router_id() {
        None => findings.report(
            &[&router_id, &KeyPath::of("node.address")],
            "an IPv4 address such as `\"192.0.2.10\"`, since `node.address` is IPv6 and cannot \
             serve as BGP identifier",
        ),
        Some(id) if id.is_unspecified() => findings.wrong(&router_id),
        Some(_) => {}
    }
    findings.socket_families(&KeyPath::of("bgp.listen"), &bgp.listen, ipv6);
    exports(bgp, ipv6, findings);
    let neighbors = KeyPath::of("bgp.neighbor");
    for (i, neighbor) in bgp.neighbors.iter().enumerate() {
        let at = neighbors.index(i);
        self::neighbor(neighbor, &at, ipv6, findings);
        if let Some(listen) = bgp.reached_by_dialling(neighbor, |address| config.is_own(address)) {
            let accepted = format!(
                "the router's address: this one is the node's own, which listens there itself \
                 (`bgp.listen` has `\"{listen}\"`)"
            );
            findings.report(&[&at.key("address")], &accepted);
        }
        if neighbor.passive && bgp.listen.is_empty() {
            findings.report(
                &[&at.key("passive"), &KeyPath::of("bgp.listen")],
                "false, since `bgp.listen` is empty and the router could connect to nothing",
            );
        }
    }
    findings.unique(
        bgp.neighbors
            .iter()
            .enumerate()
            .map(|(i, n)| (neighbors.index(i).key("address"), n.address.to_canonical())),
        "an address that no other neighbor has",
    );
    dynamic_neighbors(bgp, ipv6, findings);
    passwords(bgp, findings);
}

fn dynamic_neighbors(bgp: &Bgp, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    let all = KeyPath::of("bgp.dynamic");
    for (i, dynamic) in bgp.dynamic.iter().enumerate() {
        let at = all.index(i);
        findings.prefix(&at.key("prefix"), dynamic.prefix, ipv6);
        for value in dynamic.impossible_values() {
            impossible(&value, &at, findings);
        }
        dynamic_role(dynamic, &at, findings);
        ipv6_rules(&dynamic.accept, &at, ipv6, findings);
        if bgp.listen.is_empty() {
            findings.report(
                &[&at.key("prefix"), &KeyPath::of("bgp.listen")],
                "an address in `bgp.listen` first, since it is empty and no router could connect",
            );
        }
    }
    findings.unique(
        bgp.dynamic.iter().enumerate().map(|(i, d)| (all.index(i).key("prefix"), d.prefix)),
        "a prefix that no other `[[bgp.dynamic]]` has",
    );
}

/// A password of a prefix is asked of every router in it, and one address has one password.
fn passwords(bgp: &Bgp, findings: &mut Findings<'_, '_>) {
    let (neighbors, ranges) = (KeyPath::of("bgp.neighbor"), KeyPath::of("bgp.dynamic"));
    let unsigned_neighbors = bgp.neighbors.iter().enumerate().filter_map(|(i, neighbor)| {
        let at = neighbors.index(i).key("address");
        neighbor.password.is_none().then_some((at, IpNet::from(neighbor.address)))
    });
    let unsigned_ranges = bgp.dynamic.iter().enumerate().filter_map(|(i, range)| {
        let at = ranges.index(i).key("prefix");
        range.password.is_none().then_some((at, range.prefix))
    });
    for (at, prefix) in unsigned_neighbors.chain(unsigned_ranges) {
        let Some(range) = bgp.signed_range_around(prefix) else { continue };
        let range = ranges.index(range);
        let accepted = format!(
            "a `password` beside it, since `{range}` has one and holds it: the system drops every \
             connection from there that is not signed"
        );
        findings.report(&[&at, &range.key("prefix")], &accepted);
    }
    for (i, range) in bgp.dynamic.iter().enumerate() {
        let is_it = |neighbor: &Neighbor| IpNet::from(neighbor.address) == range.prefix;
        if range.password.is_some()
            && let Some(neighbor) = bgp.neighbors.iter().position(is_it)
        {
            let accepted = format!(
                "no prefix that is one address and that of `{}`: its password would take the place \
                 of the neighbor's",
                neighbors.index(neighbor)
            );
            findings.report(&[&ranges.index(i).key("prefix")], &accepted);
        }
    }
}

/// What is recorded and told.
fn exports(bgp: &Bgp, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    if let Some(mrt) = &bgp.mrt {
        let at = KeyPath::of("bgp.mrt");
        for (key, is_zero) in [("rotate", mrt.rotate == 0), ("keep", mrt.keep == 0)] {
            if is_zero {
                findings.wrong(&at.key(key));
            }
        }
        if mrt.table_interval == 0 && !mrt.messages {
            findings.report(
                &[&at.key("messages"), &at.key("table_interval")],
                "true, since `table_interval` is 0 and nothing would be written",
            );
        }
    }
    let stations = KeyPath::of("bgp.bmp");
    for (i, station) in bgp.stations.iter().enumerate() {
        let at = stations.index(i);
        findings.family(&at.key("station"), station.station.is_ipv6(), ipv6);
        if station.station.port() == 0 || !is_one_host(station.station.ip()) {
            findings.wrong(&at.key("station"));
        }
        if !station.pre_policy && !station.post_policy {
            findings.report(
                &[&at.key("pre_policy"), &at.key("post_policy")],
                "true, since `post_policy` is false and the station would hear of no route",
            );
        }
    }
    findings.unique(
        bgp.stations.iter().enumerate().map(|(i, s)| (stations.index(i).key("station"), s.station)),
        "an address and port that no other station has",
    );
}

fn neighbor(neighbor: &Neighbor, at: &KeyPath, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    findings.family(&at.key("address"), neighbor.address.is_ipv6(), ipv6);
    for value in neighbor.impossible_values() {
        impossible(&value, at, findings);
    }
    ipv6_rules(&neighbor.accept, at, ipv6, findings);
    role(neighbor, at, findings);
}

fn impossible(value: &ImpossibleValue, at: &KeyPath, findings: &mut Findings<'_, '_>) {
    let path = at.key(value.key);
    let path = value.index.map_or(path.clone(), |index| path.index(index));
    let beside = value.beside.map(|key| at.key(key));
    let paths: Vec<_> = iter::once(&path).chain(&beside).collect();
    findings.report(&paths, &value.accepted);
}

fn ipv6_rules(accept: &AcceptRules, at: &KeyPath, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    for (key, index, _) in accept.ipv6_prefixes() {
        findings.family(&at.key(key).index(index), true, ipv6);
    }
}

/// A role is a relation between two ASes (RFC 9234 §4.1).
fn role(neighbor: &Neighbor, at: &KeyPath, findings: &mut Findings<'_, '_>) {
    if neighbor.role.is_some() && neighbor.effective_local_asn() == neighbor.asn {
        findings.report(
            &[&at.key("role"), &at.key("asn"), &at.key("local_asn")],
            "no role, since both sides have one AS number (iBGP); or a `local_asn` of your own",
        );
    }
    if neighbor.role_strict && neighbor.role.is_none() {
        findings.report(
            &[&at.key("role_strict"), &at.key("role")],
            "false, since without a `role` there is none to insist on",
        );
    }
}

/// Without an AS of its own the node is in the AS of each router, where there are no roles.
fn dynamic_role(dynamic: &DynamicNeighbors, at: &KeyPath, findings: &mut Findings<'_, '_>) {
    if dynamic.role.is_some() && dynamic.local_asn.is_none() {
        findings.report(
            &[&at.key("role"), &at.key("local_asn")],
            "no role, since without a `local_asn` the sessions are iBGP",
        );
    }
    if dynamic.role_strict && dynamic.role.is_none() {
        findings.report(
            &[&at.key("role_strict"), &at.key("role")],
            "false, since without a `role` there is none to insist on",
        );
    }
}

fn footprint(config: &NodeConfig, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    if config.footprint.max_change > 100 {
        findings.wrong(&KeyPath::of("footprint.max_change"));
    }
    let cidrs = KeyPath::of("footprint.cidrs");
    findings.prefixes(&cidrs, &config.footprint.cidrs, ipv6);
    for (i, cidr) in config.footprint.cidrs.iter().enumerate() {
        if cidr.prefix_len() == 0 {
            findings.report(
                &[&cidrs.index(i)],
                "prefixes of your own clients: this one is the whole internet",
            );
        }
    }
}

fn control_link(control: &ControlLink, ipv6: Ipv6, findings: &mut Findings<'_, '_>) {
    let url = KeyPath::of("control.url");
    let Some((secure, host)) = scheme_and_host(&control.url) else {
        return findings.wrong(&url);
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    if !secure && !loopback {
        findings.report(
            &[&url],
            "`https://`, since the node's token must not travel in the clear; `http://` only to a \
             loopback address",
        );
    }
    findings.family(&url, address.is_some_and(|address| address.is_ipv6()), ipv6);
}

/// Whether the URL is `https`, and its host; none if it is no plain `http(s)://host:port`.
fn scheme_and_host(url: &str) -> Option<(bool, String)> {
    let uri: http::Uri = url.parse().ok()?;
    let secure = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?;
    let port_is_number = authority.port().is_none() || authority.port_u16().is_some();
    let plain = !authority.as_str().contains('@')
        && !authority.host().is_empty()
        && port_is_number
        && matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("" | "/"));
    plain.then(|| (secure, authority.host().to_owned()))
}
