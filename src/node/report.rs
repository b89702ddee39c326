//! What the node says of itself, made from snapshots at the moment it is asked.

use std::time::{Duration, UNIX_EPOCH};

use mcc_bgp::bmp::StationStatus;
use mcc_bgp::mrt::RecorderStatus;
use mcc_bgp::speaker::{
    DynamicStatus, NeighborDetail, NeighborStatus, SavingFailure, SavingStatus, SpeakerStatus,
};
use mcc_cache::CacheStatus;
use mcc_cache::store::{DamageFound, DriveState, DriveStatus, Offline, Opening};
use mcc_control::api::types::{
    DriveReport, Heartbeat, LeftOut, SessionReport, Traffic as TrafficReport,
};
use serde::Serialize;

use super::View;
use super::control_link::LinkState;
use super::neighbor_report::{NeighborReport, advice, neighbor_part};
use super::shortage::{self, Shortage};
use super::status::{
    FootprintSummary, HeldFootprint, Part, PartState, Status, Traffic, seconds_since,
};

/// Why the node is not fit to serve; empty when it is.
pub(super) fn not_ready(view: &View) -> Vec<String> {
    let cache = view.cache.status();
    let mut reasons = Vec::new();
    if cache.draining {
        reasons.push("draining: `mcc undrain` takes clients again".to_owned());
    }
    // A node that cannot store would fetch everything for everyone: clients are better off with
    // another node, or with the CDN.
    let drives = &cache.store.drives;
    if !drives.iter().any(|drive| drive.state == DriveState::Up) {
        let troubles: Vec<String> = drives.iter().filter_map(drive_trouble).collect();
        reasons.push(format!("no drive is up: {}", troubles.join("; ")));
    }
    reasons
}

/// What is not as it should be, though the node is fit to serve.
pub(super) fn warnings(view: &View) -> Vec<String> {
    let cache = view.cache.status();
    let drives = &cache.store.drives;
    let damaged = drives.iter().filter_map(|drive| {
        let (what, action) = damage(drive)?;
        Some(format!("drive {}: {what}: {action}", drive.path.display()))
    });
    let short = shortages(view, &cache).into_iter();
    let short = short.map(|shortage| format!("{}: {}", shortage.what, shortage.advice));
    let saving = view.speaker.status().saving;
    let saving = saving_parts(&saving)
        .map(|Part { detail, advice, .. }| format!("{detail}: {}", advice.unwrap_or_default()));
    let saving = saving.collect::<Vec<_>>();
    drives.iter().filter_map(drive_trouble).chain(damaged).chain(short).chain(saving).collect()
}

/// What is wrong where the footprint is saved.
fn saving_parts(saving: &SavingStatus) -> impl Iterator<Item = Part> {
    let part = |failure: &SavingFailure, what: &str, advice: &str| Part {
        name: "saved footprint".to_owned(),
        state: PartState::Warning,
        since_seconds: Some(failure.since_seconds),
        detail: format!("{what} {}: {}", failure.file.display(), failure.error),
        advice: Some(advice.to_owned()),
    };
    let failing = saving.failing.as_ref().map(|failing| {
        let advice = "make room and let the node write there: after a restart it would begin with what \
                      was saved before";
        part(failing, "the footprint cannot be saved in", advice)
    });
    let unused = saving.unused.as_ref().map(|unused| {
        let advice = "the node began without the footprint of its last run, and the next save replaces \
                      the file: look whether the drive with it is sound";
        part(unused, "the footprint of the last run is not used, from", advice)
    });
    failing.into_iter().chain(unused)
}

fn shortages(view: &View, cache: &CacheStatus) -> Vec<Shortage> {
    let wanted = view.config.cache.limits.connections.into();
    shortage::shortages(cache, wanted, crate::open_files::limit())
}

/// What is damaged on a drive that is up, and what to do about it.
fn damage(drive: &DriveStatus) -> Option<(String, String)> {
    let DamageFound { what, action, since } = drive.damage.clone()?;
    let since = seconds_since(UNIX_EPOCH + Duration::from_secs(since));
    let what = format!("{what} (noticed {} ago)", crate::text::duration(since));
    (drive.state == DriveState::Up).then_some((what, action))
}

/// Why a drive does not take part, and what to do about it; `None`: it does.
fn drive_trouble(drive: &DriveStatus) -> Option<String> {
    let path = drive.path.display();
    match &drive.state {
        DriveState::Up => None,
        DriveState::Opening(opening) => {
            Some(format!("drive {path} {}: {OPENING_ADVICE}", opening_words(*opening)))
        }
        DriveState::Offline(Offline { reason, action, .. }) => {
            Some(format!("drive {path} is offline: {reason}: {action}"))
        }
    }
}

const OPENING_ADVICE: &str =
    "nothing to do, it joins by itself; until then what it holds is fetched";

fn opening_words(opening: Opening) -> String {
    match opening {
        Opening { records: 0, .. } => "is being opened".to_owned(),
        Opening { read, records } => {
            format!("is being opened, {} of its index read", crate::text::percent(read, records))
        }
    }
}

/// `GET /v1/status`
pub(super) fn status(view: &View) -> Status {
    let reasons = not_ready(view);
    let speaker = view.speaker.status();
    let cache = view.cache.status();
    let link = view.link.as_ref().map(|link| link.state());
    Status {
        name: view.config.node.name.clone(),
        address: view.config.node.address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: jiff::Timestamp::try_from(view.started).unwrap_or_default(),
        uptime_seconds: seconds_since(view.started),
        ready: reasons.is_empty(),
        reasons,
        draining: cache.draining,
        traffic: traffic(view),
        footprint: footprint(&speaker, link.as_deref()),
        parts: parts(view, &speaker, &cache, link.as_deref()),
    }
}

fn traffic(view: &View) -> Traffic {
    let counters = view.cache.counters();
    Traffic {
        requests: counters.requests.iter().map(|(_, n)| n).sum(),
        connections: counters.connections,
        egress_bytes: counters.hit_bytes + counters.miss_bytes + counters.pass_bytes,
        fill_bytes: counters.fill_bytes,
        hit_bytes: counters.hit_bytes,
        miss_bytes: counters.miss_bytes + counters.pass_bytes,
    }
}

fn footprint(speaker: &SpeakerStatus, link: Option<&LinkState>) -> FootprintSummary {
    FootprintSummary {
        prefixes: speaker.footprint.prefixes as u64,
        addresses: speaker.footprint.addresses,
        ipv6_slash48s: speaker.footprint.ipv6_slash48s,
        advertised: link.map_or(0, |link| {
            // Before the first acknowledgement the control plane may have nothing at all.
            let known = link.advertiser.routes + link.withheld;
            link.advertiser.acknowledged_position.map_or(0, |_| known as u64)
        }),
        generation: link
            .map(|link| format!("{}/{}", link.advertiser.session, link.advertiser.serial)),
        // What is held back it has not even been told.
        acknowledged: speaker.footprint.held.is_none()
            && link.is_some_and(|link| link.advertiser.acknowledged),
        left_out: link.and_then(|link| link.left_out.clone()),
        held: speaker.footprint.held.map(|held| HeldFootprint {
            since_seconds: held.since_seconds,
            before_prefixes: held.before.prefixes() as u64,
            before_addresses: held.before.addresses(),
            before_ipv6_slash48s: held.before.ipv6_slash48s(),
        }),
        damped: speaker.footprint.damped as u64,
    }
}

/// Only there when it needs somebody.
fn footprint_parts(footprint: &FootprintSummary) -> Vec<Part> {
    let warning = |since_seconds, detail, advice| Part {
        name: "footprint".to_owned(),
        state: PartState::Warning,
        since_seconds,
        detail,
        advice: Some(advice),
    };
    let held = footprint.held.map(|held| {
        let (detail, advice) = held.in_words(footprint);
        warning(Some(held.since_seconds), detail, advice)
    });
    let left_out = footprint.left_out.as_ref().map(|LeftOut { prefixes, reason }| {
        let prefixes = crate::text::prefixes(*prefixes as u64);
        warning(None, format!("no client is steered by {prefixes} of it"), reason.clone())
    });
    held.into_iter().chain(left_out).collect()
}

/// `GET /v1/bgp`: the speaker's own status with what the link knows of the advertisement.
#[derive(Serialize)]
pub(super) struct BgpReport {
    router_id: std::net::Ipv4Addr,
    neighbors: Vec<NeighborReport<NeighborStatus>>,
    dynamic: Vec<DynamicStatus>,
    footprint: FootprintSummary,
    unknown_connections: u64,
    /// Files of `[bgp.mrt]`; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mrt: Option<RecorderStatus>,
    /// Stations of `[[bgp.bmp]]`.
    bmp: Vec<StationStatus>,
}

pub(super) fn bgp(view: &View) -> BgpReport {
    let speaker = view.speaker.status();
    let link = view.link.as_ref().map(|link| link.state());
    BgpReport {
        router_id: speaker.router_id,
        footprint: footprint(&speaker, link.as_deref()),
        neighbors: speaker.neighbors.into_iter().map(NeighborReport::from).collect(),
        dynamic: speaker.dynamic,
        unknown_connections: speaker.unknown_connections,
        mrt: view.exports.recorder(),
        bmp: view.exports.stations(),
    }
}

/// `GET /v1/bgp/neighbors/{address}`
pub(super) fn neighbor(detail: NeighborDetail) -> impl Serialize {
    NeighborReport { advice: advice(&detail.status), neighbor: detail }
}

fn parts(
    view: &View,
    speaker: &SpeakerStatus,
    cache: &CacheStatus,
    link: Option<&LinkState>,
) -> Vec<Part> {
    let up = seconds_since(view.started);
    let addresses = &view.addresses;
    let listeners = [("http", &addresses.http), ("https", &addresses.https)].into_iter();
    let mut parts: Vec<Part> = listeners
        .map(|(name, addresses)| {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Part {
                name: name.to_owned(),
                state: if cache.draining { PartState::Warning } else { PartState::Up },
                since_seconds: Some(up),
                detail: match cache.draining {
                    true => format!("draining on {}", addresses.join(", ")),
                    false => format!("listening on {}", addresses.join(", ")),
                },
                advice: cache.draining.then(|| "`mcc undrain` takes clients again".to_owned()),
            }
        })
        .collect();
    parts.extend(shortages(view, cache).into_iter().map(Part::from));
    parts.extend(cache.store.drives.iter().map(|drive| drive_part(drive, up)));
    parts.extend(cache.origins.iter().filter_map(|origin| {
        let error = origin.last_error.as_ref()?;
        Some(Part {
            name: format!("origin {}", origin.origin),
            state: PartState::Warning,
            since_seconds: None,
            detail: format!("{} failures; the last: {}", origin.failures, error.text),
            advice: Some("check name resolution and reachability from this machine".to_owned()),
        })
    }));
    parts.extend(speaker.neighbors.iter().map(neighbor_part));
    parts.extend(footprint_parts(&footprint(speaker, link)));
    parts.extend(saving_parts(&speaker.saving));
    parts.extend(link.map(link_part));
    parts
}

fn drive_part(drive: &DriveStatus, up: u64) -> Part {
    let name = format!("drive {}", drive.path.display());
    let filled =
        || format!("{} of {} used", crate::text::bytes(drive.used), crate::text::bytes(drive.size));
    match &drive.state {
        DriveState::Up => {
            let (damage, action) = damage(drive).unzip();
            let advice: Vec<String> = action.into_iter().chain(drive.note.clone()).collect();
            Part {
                name,
                state: if advice.is_empty() { PartState::Up } else { PartState::Warning },
                since_seconds: Some(up),
                detail: std::iter::once(filled()).chain(damage).collect::<Vec<_>>().join("; "),
                advice: (!advice.is_empty()).then(|| advice.join("; ")),
            }
        }
        DriveState::Opening(opening) => Part {
            name,
            state: PartState::Warning,
            since_seconds: None,
            detail: opening_words(*opening),
            advice: Some(OPENING_ADVICE.to_owned()),
        },
        DriveState::Offline(offline) => Part {
            name,
            state: PartState::Down,
            since_seconds: Some(seconds_since(UNIX_EPOCH + Duration::from_secs(offline.since))),
            detail: offline.reason.clone(),
            advice: Some(offline.action.clone()),
        },
    }
}

fn link_part(link: &LinkState) -> Part {
    let (state, detail, advice) = match (&link.error, link.connected) {
        (_, true) if link.refused.is_some() => (
            PartState::Down,
            format!(
                "the control plane does not take the footprint: {}",
                link.refused.as_deref().unwrap_or_default()
            ),
            Some("steering uses the last footprint that was acknowledged".to_owned()),
        ),
        (_, true) if link.new_settings => (
            PartState::Warning,
            "the control plane has new settings for this node".to_owned(),
            Some("a restart of the node applies them".to_owned()),
        ),
        (_, true) => (PartState::Up, format!("connected to {}", link.url), None),
        (Some(error), false) => (
            PartState::Down,
            error.clone(),
            Some(
                "serving goes on; steering uses the last footprint that was acknowledged"
                    .to_owned(),
            ),
        ),
        (None, false) => (PartState::Warning, format!("connecting to {}", link.url), None),
    };
    Part {
        name: "control plane".to_owned(),
        state,
        since_seconds: Some(seconds_since(link.since)),
        detail,
        advice,
    }
}

/// What the node tells the control plane every few seconds. `egress_mbps` is over the time since
/// the last heartbeat.
pub(super) fn heartbeat(view: &View, link: &LinkState, egress_mbps: f64) -> Heartbeat {
    let reasons = not_ready(view);
    let traffic = traffic(view);
    let speaker = view.speaker.status();
    Heartbeat {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: view.cache.is_draining(),
        ready: reasons.is_empty(),
        reasons,
        config_generation: view.central_generation,
        feed: link.advertiser.acknowledged_position,
        traffic: TrafficReport {
            egress_bytes: traffic.egress_bytes,
            hit_bytes: traffic.hit_bytes,
            fill_bytes: traffic.fill_bytes,
            egress_mbps,
        },
        drives: view.cache.status().store.drives.iter().map(drive_report).collect(),
        sessions: speaker.neighbors.iter().map(session_report).collect(),
    }
}

fn drive_report(drive: &DriveStatus) -> DriveReport {
    DriveReport {
        path: drive.path.display().to_string(),
        up: drive.state == DriveState::Up,
        size_bytes: drive.size,
        used_bytes: drive.used,
        error: match &drive.state {
            DriveState::Up => None,
            DriveState::Opening(opening) => Some(opening_words(*opening)),
            DriveState::Offline(offline) => Some(offline.reason.clone()),
        },
    }
}

fn session_report(neighbor: &NeighborStatus) -> SessionReport {
    SessionReport {
        address: neighbor.address,
        asn: neighbor.asn,
        state: format!("{:?}", neighbor.state),
        uptime_seconds: neighbor.up_down_seconds,
        received: u64::from(neighbor.received),
        accepted: u64::from(neighbor.accepted),
        last_error: neighbor.last_error.as_ref().map(|error| error.error.text.clone()),
    }
}
