//! `GET /metrics`: the node's counters in OpenMetrics, read at the moment they are asked for.
//!
//! The parts count for themselves; this collector only names what they have counted, so a number
//! exists once.

use std::fmt;
use std::sync::Arc;

use mcc_bgp::bmp::StationStatus;
use mcc_bgp::session::State;
use mcc_bgp::speaker::DynamicRefusals;
use mcc_cache::HistogramSnapshot;
use mcc_cache::store::{DriveState, DriveStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::View;

/// The metrics of the moment.
pub(super) fn encode(view: Arc<View>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("mcc");
    registry.register_collector(Box::new(NodeCollector(view)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// What there is to know of a drive: a name, what it means, and where to find it.
type DriveMetric = (&'static str, &'static str, fn(&DriveStatus) -> u64);

const DRIVE_GAUGES: &[DriveMetric] = &[
    ("drive_up", "1 if the drive takes part", |d| u64::from(d.state == DriveState::Up)),
    ("drive_opening", "1 while what is on the drive is being read, before it takes part", |d| {
        u64::from(matches!(d.state, DriveState::Opening(_)))
    }),
    ("drive_size_bytes", "Bytes given to the cache", |d| d.size),
    ("drive_used_bytes", "Bytes of content on the drive", |d| d.used),
    ("drive_blocks", "Blocks on the drive", |d| d.blocks),
    ("drive_pinned_blocks", "Blocks that are kept because their objects are pinned", |d| d.pinned),
    ("drive_scrub_percent", "How much of the drive this pass of the scrubber has been over", |d| {
        u64::from(d.scrub.percent)
    }),
    (
        "drive_last_scrub_timestamp_seconds",
        "When the scrubber was last over the whole drive; 0: never",
        |d| d.scrub.last_pass.unwrap_or(0),
    ),
];

const DRIVE_COUNTERS: &[DriveMetric] = &[
    ("drive_errors", "Operations that the drive failed", |d| d.counts.errors),
    ("drive_slow_operations", "Operations that took longer than a second", |d| d.counts.slow),
    ("drive_hung_operations", "Operations that did not come back", |d| d.counts.hung),
    ("drive_corrupt_blocks", "Blocks dropped for a wrong checksum", |d| d.counts.corrupt),
    ("drive_lost_records", "Records lost before the drive was opened: damaged or unknown", |d| {
        d.counts.records_lost
    }),
    (
        "drive_dropped_records",
        "Records dropped when the drive was opened: lost, replaced or purged",
        |d| d.counts.records_dropped,
    ),
    ("drive_evicted_blocks", "Blocks evicted to make room", |d| d.counts.evicted),
    ("drive_refused_blocks", "Blocks not stored because the drive could not keep up", |d| {
        d.counts.refused
    }),
    ("drive_written_blocks", "Blocks written", |d| d.counts.written),
    ("drive_scrubbed_blocks", "Blocks that the scrubber has compared", |d| d.scrub.checked),
    ("drive_checkpoints", "Checkpoints completed", |d| d.counts.checkpoints),
];

struct NodeCollector(Arc<View>);

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCollector")
    }
}

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.node(&mut page)?;
        self.cache(&mut page)?;
        self.bgp(&mut page)?;
        self.exports(&mut page)
    }
}

impl NodeCollector {
    fn node(&self, page: &mut Page<'_>) -> fmt::Result {
        let view = &self.0;
        let build = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        page.gauges("build_info", "Version of the program", [(build, 1)])?;
        page.gauge(
            "ready",
            "1 if the node is fit to serve",
            super::report::not_ready(view).is_empty(),
        )?;
        if let Some(link) = &view.link {
            let link = link.state();
            page.gauge(
                "control_connected",
                "1 if the control plane answered the last call",
                link.connected,
            )?;
            page.gauge(
                "feed_serial",
                "Serial of the newest advertisement that was sent",
                link.advertiser.serial,
            )?;
            let acked = link.advertiser.acknowledged_position.map_or(0, |p| p.serial);
            page.gauge(
                "feed_acked_serial",
                "Serial that the control plane has acknowledged",
                acked,
            )?;
            page.gauge(
                "feed_pending",
                "Prefixes changed since the newest advertisement",
                link.advertiser.pending as u64,
            )?;
            page.gauge(
                "feed_left_out_prefixes",
                "Prefixes that the control plane has and steers no client by",
                link.left_out.as_ref().map_or(0, |left_out| left_out.prefixes as u64),
            )?;
        }
        Ok(())
    }

    fn cache(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters = self.0.cache.counters();
        let results =
            counters.requests.iter().map(|(result, n)| ([("result", (*result).to_owned())], *n));
        page.counters("http_requests", "Requests by how they ended", results)?;
        let per_origin = |bytes: fn(&mcc_cache::OriginBytes) -> u64| {
            counters.origins.iter().map(move |o| ([("origin", o.origin.clone())], bytes(o)))
        };
        page.counters(
            "http_egress_bytes",
            "Content bytes sent to clients",
            per_origin(|o| o.egress_bytes),
        )?;
        page.counters(
            "fill_bytes",
            "Content bytes fetched from origins",
            per_origin(|o| o.fill_bytes),
        )?;
        page.counters(
            "origin_failures",
            "Requests to origins that failed",
            per_origin(|o| o.failures),
        )?;
        page.counter(
            "cache_hit_bytes",
            "Content bytes sent that had not to be fetched for it",
            counters.hit_bytes,
        )?;
        page.counter(
            "cache_miss_bytes",
            "Content bytes sent that had to be fetched",
            counters.miss_bytes,
        )?;
        page.counter(
            "cache_pass_bytes",
            "Content bytes passed through unstored",
            counters.pass_bytes,
        )?;
        page.counter("fill_requests", "Requests sent to origins", counters.fill_requests)?;
        page.counter("fill_retries", "Fills resumed after they broke", counters.fill_retries)?;
        page.counter(
            "cache_not_stored_blocks",
            "Complete blocks that no drive took",
            counters.not_stored_blocks,
        )?;
        page.counter(
            "cache_new_versions",
            "Objects found changed at the origin",
            counters.new_versions,
        )?;
        page.counter(
            "http_broken_responses",
            "Responses cut after their head",
            counters.broken_responses,
        )?;
        page.counter(
            "http_refused_connections",
            "Connections refused because there were too many",
            counters.refused_connections.times,
        )?;
        page.counter(
            "http_file_shortages",
            "Connections that had to wait because all open files were in use",
            counters.files_used_up.times,
        )?;
        page.counter(
            "http_slow_clients",
            "Connections closed because the client took too little or nothing",
            counters.slow_clients,
        )?;
        page.gauge("http_connections", "Client connections", counters.connections)?;
        page.gauge("fills_in_flight", "Origin requests being read", counters.fills_in_flight)?;
        page.gauge(
            "cache_memory_blocks",
            "Blocks of 1 MiB held in memory",
            counters.blocks_in_memory,
        )?;
        page.histograms(
            "http_first_byte_seconds",
            "Time from the end of a request's head to the start of its answer",
            [("hit", &counters.first_byte_hit), ("miss", &counters.first_byte_miss)],
        )?;

        self.drives(page)
    }

    fn drives(&self, page: &mut Page<'_>) -> fmt::Result {
        let mcc_cache::CacheStatus { store, pins, .. } = self.0.cache.status();
        page.gauge(
            "cache_objects",
            "Objects known, also those without a stored block",
            store.objects,
        )?;
        page.gauge("cache_pins", "Pinned objects", pins)?;
        let drives = store.drives;
        let of = |number: fn(&DriveStatus) -> u64| {
            drives.iter().map(move |d| ([("drive", d.path.display().to_string())], number(d)))
        };
        for (name, help, number) in DRIVE_GAUGES {
            page.gauges(name, help, of(*number))?;
        }
        for (name, help, number) in DRIVE_COUNTERS {
            page.counters(name, help, of(*number))?;
        }
        Ok(())
    }

    fn exports(&self, page: &mut Page<'_>) -> fmt::Result {
        let stations = self.0.exports.stations();
        let of = |value: fn(&StationStatus) -> u64| {
            stations.iter().map(move |s| ([("station", s.station.to_string())], value(s)))
        };
        page.gauges(
            "bmp_station_connected",
            "1 if the monitoring station is being told",
            of(|s| u64::from(s.connected)),
        )?;
        page.counters(
            "bmp_overruns",
            "Connections begun anew because the station was too slow",
            of(|s| s.overruns),
        )?;
        let Some(recorder) = self.0.exports.recorder() else { return Ok(()) };
        page.counter("mrt_failures", "MRT files that could not be written", recorder.failures)?;
        page.counter(
            "mrt_lost_messages",
            "Messages that are in no MRT file, though they should be",
            recorder.lost_messages,
        )
    }

    fn bgp(&self, page: &mut Page<'_>) -> fmt::Result {
        let status = self.0.speaker.status();
        let neighbors = || status.neighbors.iter().map(|n| (n.address.to_string(), n));
        page.gauges(
            "bgp_neighbor_up",
            "1 if the session is established",
            neighbors().map(|(a, n)| ([("neighbor", a)], u64::from(n.state == State::Established))),
        )?;
        page.gauges(
            "bgp_session_state",
            "1 Idle, 2 Connect, 3 Active, 4 OpenSent, 5 OpenConfirm, 6 Established",
            neighbors().map(|(a, n)| ([("neighbor", a)], n.state as u64 + 1)),
        )?;
        page.counters(
            "bgp_flaps",
            "Established sessions that were lost",
            neighbors().map(|(a, n)| ([("neighbor", a)], n.flaps)),
        )?;
        let routes = neighbors().flat_map(|(a, n)| {
            let kinds = [
                ("received", n.received),
                ("accepted", n.accepted),
                ("rejected", n.rejected.values().sum()),
                ("stale", n.stale),
                ("restored", n.restored),
                ("discarded", n.discarded),
            ];
            kinds.map(|(state, count)| {
                ([("neighbor", a.clone()), ("state", state.to_owned())], u64::from(count))
            })
        });
        page.gauges("bgp_routes", "Routes of a neighbor", routes)?;
        page.gauges(
            "bgp_max_prefixes",
            "The most routes that a neighbor may announce",
            neighbors().map(|(a, n)| ([("neighbor", a)], u64::from(n.max_prefixes))),
        )?;
        page.gauges(
            "bgp_shut_down_by_router",
            "1 if the router's operator has ended the session and meant to",
            neighbors()
                .map(|(a, n)| ([("neighbor", a)], u64::from(n.shut_down_by_router.is_some()))),
        )?;
        let malformed = neighbors().flat_map(|(a, n)| {
            let treatments = [
                ("treat_as_withdraw", n.updates_treated_as_withdraw),
                ("attribute_discard", n.updates_with_discarded_attributes),
                ("session_reset", n.malformed_resets),
            ];
            treatments.map(|(treatment, count)| {
                ([("neighbor", a.clone()), ("treatment", treatment.to_owned())], count)
            })
        });
        page.counters(
            "bgp_malformed_updates",
            "Messages with a fault, by what it led to (RFC 7606)",
            malformed,
        )?;
        page.counter(
            "bgp_unknown_connections",
            "BGP connections from addresses that are no neighbor's",
            status.unknown_connections,
        )?;
        let refused = status.dynamic.iter().flat_map(|range| {
            let DynamicRefusals { asn, max_sessions, no_open, busy } = range.refused;
            let reasons = [
                ("asn", asn),
                ("max_sessions", max_sessions),
                ("no_open", no_open),
                ("busy", busy),
            ];
            let prefix = range.prefix.to_string();
            reasons.map(|(reason, count)| {
                ([("prefix", prefix.clone()), ("reason", reason.to_owned())], count)
            })
        });
        page.counters(
            "bgp_dynamic_refused",
            "BGP connections from a [[bgp.dynamic]] prefix that came to nothing, by reason",
            refused,
        )?;
        page.gauge(
            "footprint_prefixes",
            "Prefixes of the footprint",
            status.footprint.prefixes as u64,
        )?;
        page.gauge(
            "footprint_addresses",
            "IPv4 addresses that they cover together",
            status.footprint.addresses,
        )?;
        page.gauge(
            "footprint_ipv6_slash48s",
            "IPv6 addresses that they cover together, in /48s",
            status.footprint.ipv6_slash48s,
        )?;
        page.gauge(
            "footprint_held",
            "1 if the control plane is not told until `mcc footprint approve`",
            status.footprint.held.is_some(),
        )?;
        page.gauge(
            "footprint_damped_prefixes",
            "Prefixes that the control plane is not told of because they flap",
            status.footprint.damped as u64,
        )?;
        page.gauge(
            "footprint_saved",
            "0 while the footprint cannot be saved for the next start",
            status.saving.failing.is_none(),
        )?;
        page.counter(
            "footprint_save_failures",
            "Attempts to save the footprint that have failed",
            status.saving.failures,
        )
    }
}

/// Writes metrics one after the other.
struct Page<'a>(DescriptorEncoder<'a>);

/// The labels of one sample.
type Labels<const N: usize> = [(&'static str, String); N];

impl Page<'_> {
    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // The unit is part of the name already, where there is one.
        self.0.encode_descriptor(name, help, None::<&Unit>, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<u64>) -> fmt::Result {
        let sample = ConstGauge::new(i64::try_from(value.into()).unwrap_or(i64::MAX));
        sample.encode(self.describe(name, help, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.describe(name, help, MetricType::Counter)?)
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, MetricType::Gauge)?;
        for (labels, value) in samples {
            let sample = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            sample.encode(metric.encode_family(&labels.as_slice())?)?;
        }
        Ok(())
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(metric.encode_family(&labels.as_slice())?)?;
        }
        Ok(())
    }

    fn histograms<'h>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'static str, &'h HistogramSnapshot)>,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, MetricType::Histogram)?;
        for (result, histogram) in samples {
            // The encoder wants each bucket by itself, and the last one open.
            let mut below = 0;
            let mut buckets = Vec::with_capacity(histogram.buckets.len() + 1);
            for (bound, cumulative) in &histogram.buckets {
                buckets.push((*bound, cumulative - below));
                below = *cumulative;
            }
            buckets.push((f64::MAX, histogram.count.saturating_sub(below)));
            let labels = [("result", result)];
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                histogram.sum_seconds,
                histogram.count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}
