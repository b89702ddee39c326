//! What a replay found, as it is shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use mcc_config::MaxPrefixesAction;
use serde::Serialize;

use crate::speaker::FootprintStatus;
use crate::wire::Disposition;

/// What would become of a file: `mcc bgp replay --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Records of the file.
    pub records: u64,
    /// Those of other types or families, which were stepped over.
    pub other_records: u64,
    /// Those that cannot be read.
    pub malformed_records: u64,
    /// Time of the earliest record.
    pub from: Option<Timestamp>,
    /// Time of the latest record.
    pub to: Option<Timestamp>,
    /// The peers of the file that were judged, in the order of their first route.
    pub peers: Vec<ReplayedPeer>,
    /// The others.
    pub skipped_peers: Vec<SkippedPeer>,
    /// What the node would serve, prefixes entered by hand included.
    pub footprint: FootprintStatus,
    /// UPDATEs with a fault.
    pub malformed_updates: u64,
    /// The first hundred of them.
    pub malformed: Vec<MalformedUpdate>,
}

/// A peer of a file, as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayedPeer {
    /// Its address in the file.
    pub address: IpAddr,
    /// Its AS number in the file.
    pub asn: u32,
    /// The neighbor whose rules judged it.
    pub neighbor: IpAddr,
    /// The `[[bgp.dynamic]]` prefix whose rules these are; `null` for a configured neighbor.
    pub dynamic: Option<IpNet>,
    /// UPDATEs, or entries of a table.
    pub updates: u64,
    /// Routes that a node would have at the end, refused ones included.
    pub received: u32,
    /// Those that would be footprint.
    pub accepted: u32,
    /// The others, by reason.
    pub rejected: BTreeMap<&'static str, u32>,
    /// Those of a session that had ended at the end of the log.
    pub stale: u32,
    /// IPv6 routes and withdrawals that were left out, since IPv6 is off.
    pub ipv6_left_out: u64,
    /// The neighbor's limit.
    pub max_prefixes: u32,
    /// What happens beyond.
    pub max_prefixes_action: MaxPrefixesAction,
    /// The most routes that it announced at once, whatever its limit.
    pub peak: u32,
    /// Whether these are more than it may announce.
    pub over_limit: bool,
    /// The time of the record with which it first announced more.
    pub over_limit_at: Option<Timestamp>,
    /// How often the session would have been ended for it: with `restart` and `keep-last-good`.
    pub sessions_ended: u64,
    /// Until when the session would rest for it at the end.
    pub rests_until: Option<Timestamp>,
    /// Routes that would be left out for it at the end: with `discard-new`. As in `mcc bgp status`.
    pub discarded: u32,
    /// When there was room for these again, and the router would have been asked for its table; the
    /// file has no answer to that.
    pub asked_at: Option<Timestamp>,
    /// What there would be if it might announce all of it; `null` if it may.
    pub without_limit: Option<WithoutLimit>,
}

/// The routes of a peer at the end, if its limit were not below them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithoutLimit {
    /// Routes, refused ones included.
    pub received: u32,
    /// Those that would be footprint.
    pub accepted: u32,
    /// The others, by reason.
    pub rejected: BTreeMap<&'static str, u32>,
    /// Those of a session that had ended at the end of the log.
    pub stale: u32,
}

/// A peer of a file that was not judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedPeer {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Its UPDATEs, or entries of a table.
    pub updates: u64,
}

/// An UPDATE with a fault, and what would come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MalformedUpdate {
    /// The byte of the file that its record begins at.
    pub offset: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who sent it.
    pub peer: IpAddr,
    /// The prefix, in a table.
    pub prefix: Option<IpNet>,
    /// What would follow: the gravest of its faults.
    pub disposition: Disposition,
    /// That fault in words.
    pub text: String,
}
