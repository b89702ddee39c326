//! Every key of the two files, with what it accepts: what errors are written from.
//!
//! The types say how a value is read; serde's own words for a wrong one ("expected u16") say
//! nothing to an operator, so the accepted values stand here once, in plain words. A test holds
//! the tables and the types together.

/// A key and what it accepts.
#[derive(Debug)]
pub(crate) struct Key {
    /// Where it stands, without list positions: `bgp.neighbor.address`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// May hold a password: no message shows its value.
    pub(crate) secret: bool,
    /// What a value may be. Empty for sections.
    pub(crate) accepted: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[path]`
    Section,
    /// `[[path]]`, any number of times.
    Sections,
    /// `path = value`
    Value,
}

const fn section(path: &'static str) -> Key {
    Key { path, kind: Kind::Section, required: false, secret: false, accepted: "" }
}

const fn sections(path: &'static str) -> Key {
    Key { path, kind: Kind::Sections, required: false, secret: false, accepted: "" }
}

const fn value(path: &'static str, accepted: &'static str) -> Key {
    Key { path, kind: Kind::Value, required: false, secret: false, accepted }
}

impl Key {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The section that the key stands in; empty: the top of the file.
    pub(crate) fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// What may stand here, in words.
    pub(crate) fn accepts(&self) -> String {
        match self.kind {
            Kind::Section => format!("a section that begins with `[{}]`", self.path),
            Kind::Sections => {
                format!("sections that each begin with `[[{}]]`, in double brackets", self.path)
            }
            Kind::Value => self.accepted.to_owned(),
        }
    }
}

/// The path under which the tables hold a key. The accept rules of `[[bgp.dynamic]]` are those of
/// `[[bgp.neighbor]]`, and stand there once.
pub(crate) fn canonical(path: &str) -> String {
    match path.strip_prefix("bgp.dynamic.accept") {
        Some(rule) => format!("bgp.neighbor.accept{rule}"),
        None => path.to_owned(),
    }
}

/// What the key at `path` accepts; empty if there is no such key.
pub(crate) fn accepted(keys: &[Key], path: &str) -> &'static str {
    keys.iter().find(|key| key.path == path).map_or("", |key| key.accepted)
}

const BOOLEAN: &str = "true or false";
const SECONDS: &str = "seconds, 1 to 86400";
const FILE: &str = "the path of a file, as a string";
const FOLDER: &str = "the path of a folder, as a string";
const HOST: &str = "a host name without scheme, port or path, such as `\"downloads.example\"`";
const SOCKET: &str = "an address and a port, such as `\"192.0.2.10:80\"`";
const SOCKETS: &str = "a list of addresses with ports, such as `[\"0.0.0.0:80\"]`";
const BGP_SOCKETS: &str = "a list of addresses with ports, such as `[\"0.0.0.0:179\"]`";
const ASN: &str = "an AS number, 1 to 4294967295 and not 23456";
const ROLE: &str = "what this node's AS is to the router's: `\"provider\"`, `\"rs\"`, `\"rs-client\"`, \
     `\"customer\"` or `\"peer\"`";
const MAX_PREFIXES_ACTION: &str = "`\"restart\"`, `\"discard-new\"` or `\"keep-last-good\"`";
const STALE_TIME: &str = "seconds, 0 to 4294967295";
const LONG_LIVED: &str = "seconds, 0 (off) to 16777215";
const PASSWORD: &str = "the TCP MD5 key, a string of 1 to 80 bytes";
const HOLD_TIME: &str = "seconds: 0 (never expires), or 3 to 65535";
const TTL: &str = "the TTL to send with, 1 to 255";
const HOPS: &str = "the most hops that the router is away, 1 to 254";
const COMMUNITIES: &str = "a list of communities, such as `[\"65100:911\", \"65100:1:2\", \"rt:65100:1\", \"no-export\"]`";
const PREFIX_RULES: &str = "a list of prefixes, such as `[\"198.51.0.0/16\", \"203.0.113.0/24 exact\", \"192.0.2.0/24 ge 25 le 28\"]`";
const AS_PATHS: &str = "a list of patterns, such as `[\"^65100_\", \"_65200$\"]`";
const PREFIXES: &str = "a list of prefixes, such as `[\"198.51.100.0/24\"]`";

pub(crate) const NODE: &[Key] = &[
    section("node").required(),
    value(
        "node.name",
        "1 to 63 letters, digits and '-', with no '-' at either end, such as `\"edge-1\"`",
    )
    .required(),
    value("node.address", "an IP address, such as `\"192.0.2.10\"`").required(),
    value("node.data_dir", FOLDER),
    value("node.max_egress_mbps", "megabits per second, 1 to 4294967295; no key: no limit"),
    value("node.ipv6", BOOLEAN),
    section("http"),
    value("http.listen", SOCKETS),
    section("https"),
    value("https.listen", SOCKETS),
    value("https.certificate", FILE),
    value("https.key", FILE),
    section("admin"),
    value("admin.listen", SOCKET),
    sections("drive").required(),
    value("drive.path", FOLDER).required(),
    value("drive.size", "a number and a unit, such as `\"500GB\"` or `\"64MiB\"`; at least 64 MiB")
        .required(),
    value("drive.allow_root", BOOLEAN),
    section("cache"),
    value("cache.max_age", "days, 1 to 4294967295; no key: no limit"),
    value("cache.scrub_rate", "megabytes per second, 0 to 4294967295; 0: off"),
    section("cache.limits"),
    value("cache.limits.connections", "a number of connections, 1 to 4294967295"),
    value("cache.limits.head_time", SECONDS),
    value("cache.limits.client_wait", SECONDS),
    value("cache.limits.origin_answer_time", SECONDS),
    value("cache.limits.origin_silence", SECONDS),
    value("cache.limits.stuck_time", SECONDS),
    value("cache.limits.least_rate", "bytes per second, 0 to 4294967295; 0: any rate"),
    value("cache.limits.least_rate_time", SECONDS),
    value(
        "cache.limits.read_ahead_memory",
        "a number and a unit, such as `\"512MiB\"`; at least 16 MiB",
    ),
    sections("origin"),
    value("origin.host", HOST).required(),
    value("origin.aliases", "a list of host names, such as `[\"cdn2.downloads.example\"]`"),
    value("origin.connect", SOCKET),
    value("origin.query_key", "a list of query parameters, such as `[\"version\"]`"),
    section("bgp"),
    value("bgp.listen", BGP_SOCKETS),
    value("bgp.router_id", "an IPv4 address other than 0.0.0.0, such as `\"192.0.2.10\"`"),
    section("bgp.mrt"),
    value("bgp.mrt.dir", FOLDER).required(),
    value("bgp.mrt.table_interval", "seconds between two tables, 0 to 4294967295; 0: no tables"),
    value("bgp.mrt.messages", BOOLEAN),
    value("bgp.mrt.rotate", "seconds, 1 to 4294967295"),
    value("bgp.mrt.keep", "a number of files, 1 to 4294967295"),
    sections("bgp.bmp"),
    value("bgp.bmp.station", "an address and a port, such as `\"192.0.2.50:11019\"`").required(),
    value("bgp.bmp.pre_policy", BOOLEAN),
    value("bgp.bmp.post_policy", BOOLEAN),
    value("bgp.bmp.statistics_interval", "seconds, 0 to 4294967295; 0: no statistics"),
    value("bgp.ebgp_requires_rules", BOOLEAN),
    value("bgp.last_good_time", "seconds, 0 (not used) to 4294967295"),
    sections("bgp.neighbor"),
    value("bgp.neighbor.address", "an IP address, such as `\"192.0.2.1\"`").required(),
    value("bgp.neighbor.port", "a TCP port, 1 to 65535"),
    value("bgp.neighbor.asn", ASN).required(),
    value("bgp.neighbor.local_asn", ASN),
    value("bgp.neighbor.description", "a remark, as a string"),
    value("bgp.neighbor.password", PASSWORD).secret(),
    value("bgp.neighbor.source", "an address of this node, such as `\"192.0.2.10\"`"),
    value("bgp.neighbor.multihop", TTL),
    value("bgp.neighbor.ttl_security", HOPS),
    value("bgp.neighbor.hold_time", HOLD_TIME),
    value("bgp.neighbor.passive", BOOLEAN),
    value("bgp.neighbor.connect_retry", "seconds, 1 to 65535"),
    value("bgp.neighbor.delay_open", "seconds, 0 to 240"),
    value("bgp.neighbor.graceful_restart", BOOLEAN),
    value("bgp.neighbor.stale_time", STALE_TIME),
    value("bgp.neighbor.long_lived_stale_time", LONG_LIVED),
    value("bgp.neighbor.add_path", BOOLEAN),
    value("bgp.neighbor.role", ROLE),
    value("bgp.neighbor.role_strict", BOOLEAN),
    value("bgp.neighbor.max_prefixes", "1 to 4294967295"),
    value("bgp.neighbor.max_prefixes_action", MAX_PREFIXES_ACTION),
    value("bgp.neighbor.max_prefixes_rest", "seconds, 1 to 4294967295"),
    section("bgp.neighbor.accept"),
    value("bgp.neighbor.accept.communities", COMMUNITIES),
    value("bgp.neighbor.accept.communities_all", COMMUNITIES),
    value("bgp.neighbor.accept.communities_none", COMMUNITIES),
    value("bgp.neighbor.accept.allow_prefixes", PREFIX_RULES),
    value("bgp.neighbor.accept.deny_prefixes", PREFIX_RULES),
    value(
        "bgp.neighbor.accept.origin_asns",
        "a list of AS numbers and ranges of them, such as `[65100, \"64512-65534\"]`",
    ),
    value("bgp.neighbor.accept.as_path", AS_PATHS),
    value("bgp.neighbor.accept.as_path_none", AS_PATHS),
    value("bgp.neighbor.accept.max_as_path_length", "0 to 4294967295; no key: any length"),
    value("bgp.neighbor.accept.max_length", "0 to 32 bits"),
    value("bgp.neighbor.accept.min_length", "0 to 32 bits"),
    value("bgp.neighbor.accept.max_length_ipv6", "0 to 128 bits"),
    value("bgp.neighbor.accept.min_length_ipv6", "0 to 128 bits"),
    value("bgp.neighbor.accept.enforce_first_as", BOOLEAN),
    value("bgp.neighbor.accept.allow_as_sets", BOOLEAN),
    value("bgp.neighbor.accept.allow_bogon_asns", BOOLEAN),
    value("bgp.neighbor.accept.allow_default_route", BOOLEAN),
    value("bgp.neighbor.accept.allow_bogons", BOOLEAN),
    sections("bgp.dynamic"),
    value("bgp.dynamic.prefix", "a prefix, such as `\"198.51.100.0/24\"`").required(),
    value("bgp.dynamic.asns", "a list of AS numbers, each 1 to 4294967295 and not 23456"),
    value("bgp.dynamic.max_sessions", "1 to 65535"),
    value("bgp.dynamic.local_asn", ASN),
    value("bgp.dynamic.description", "a remark, as a string"),
    value("bgp.dynamic.password", PASSWORD).secret(),
    value("bgp.dynamic.multihop", TTL),
    value("bgp.dynamic.ttl_security", HOPS),
    value("bgp.dynamic.hold_time", HOLD_TIME),
    value("bgp.dynamic.graceful_restart", BOOLEAN),
    value("bgp.dynamic.stale_time", STALE_TIME),
    value("bgp.dynamic.long_lived_stale_time", LONG_LIVED),
    value("bgp.dynamic.add_path", BOOLEAN),
    value("bgp.dynamic.role", ROLE),
    value("bgp.dynamic.role_strict", BOOLEAN),
    value("bgp.dynamic.max_prefixes", "1 to 4294967295"),
    value("bgp.dynamic.max_prefixes_action", MAX_PREFIXES_ACTION),
    value("bgp.dynamic.max_prefixes_rest", "seconds, 1 to 4294967295"),
    // Its keys are those of `bgp.neighbor.accept`: see `canonical`.
    section("bgp.dynamic.accept"),
    value("bgp.neighbor.accept.allow_cgnat", BOOLEAN),
    section("footprint"),
    value("footprint.cidrs", PREFIXES),
    value("footprint.max_change", "percent, 0 (never holds) to 100"),
    value("footprint.damping", BOOLEAN),
    section("control"),
    value(
        "control.url",
        "`https://host:port`, or `http://` to a loopback address, without path and user",
    )
    .required(),
    value("control.token_file", FILE).required(),
];

pub(crate) const CONTROL: &[Key] = &[
    section("control").required(),
    value("control.listen", SOCKETS),
    value("control.data_dir", FOLDER),
    value("control.database", "`\"sqlite\"`, or a `\"postgres://…\"` URL").secret(),
    value("control.trusted_proxies", PREFIXES),
    value("control.ipv6", BOOLEAN),
    section("control.tls"),
    value("control.tls.certificate", FILE).required(),
    value("control.tls.key", FILE).required(),
    section("dns"),
    value("dns.listen", SOCKETS).required(),
    value("dns.upstream", SOCKETS).required(),
];
