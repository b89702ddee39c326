//! What the cache counts: plain atomics on the way of a request, read as one snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::time::unix_now;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of things that exist now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn up(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something that clients came for and the node had no more of.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    times: Counter,
    /// Seconds since 1970; 0: never.
    last: AtomicU64,
}

impl Shortage {
    pub(crate) fn note(&self) {
        self.times.add(1);
        self.last.store(unix_now(), Ordering::Relaxed);
    }

    fn snapshot(&self) -> ShortageSnapshot {
        let last = self.last.load(Ordering::Relaxed);
        ShortageSnapshot { times: self.times.get(), last: (last > 0).then_some(last) }
    }
}

/// How a request ended, for `mcc_http_requests_total{result}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestResult {
    /// The first bytes came from a drive (or a condition was answered from stored headers).
    Hit,
    /// The first bytes were fetched for this request.
    Miss,
    /// The first bytes came from a fetch that another request had started.
    Collapsed,
    /// Passed through unstored.
    Pass,
    /// Refused by a rule of this node: 400, 403, 405, 508.
    Refused,
    /// 503: draining, over the egress limit, too many connections.
    Unavailable,
    /// 502 or 504: the origin failed before the head was sent.
    OriginError,
}

impl RequestResult {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Hit, "hit"),
        (Self::Miss, "miss"),
        (Self::Collapsed, "collapsed"),
        (Self::Pass, "pass"),
        (Self::Refused, "refused"),
        (Self::Unavailable, "unavailable"),
        (Self::OriginError, "origin_error"),
    ];
}

/// Bytes of one origin.
#[derive(Debug, Default)]
pub(crate) struct OriginCounters {
    pub(crate) egress: Counter,
    pub(crate) fill: Counter,
}

/// Upper bounds of the buckets of first-byte time, in seconds.
pub const FIRST_BYTE_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Times from the end of a request's head to the start of its answer.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; FIRST_BYTE_BUCKETS.len()],
    count: Counter,
    sum_micros: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = self.buckets.iter().zip(FIRST_BYTE_BUCKETS).find(|(_, le)| seconds <= *le);
        if let Some((bucket, _)) = bucket {
            bucket.add(1);
        }
        self.count.add(1);
        self.sum_micros.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn snapshot(&self) -> HistogramSnapshot {
        let mut cumulative = 0;
        let buckets = self
            .buckets
            .iter()
            .zip(FIRST_BYTE_BUCKETS)
            .map(|(bucket, le)| {
                cumulative += bucket.get();
                (le, cumulative)
            })
            .collect();
        let sum_seconds = Duration::from_micros(self.sum_micros.get()).as_secs_f64();
        HistogramSnapshot { buckets, count: self.count.get(), sum_seconds }
    }
}

/// Everything that is counted over all origins.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    results: [Counter; RequestResult::ALL.len()],
    pub(crate) hit_bytes: Counter,
    pub(crate) miss_bytes: Counter,
    pub(crate) pass_bytes: Counter,
    pub(crate) fill_bytes: Counter,
    pub(crate) fill_requests: Counter,
    pub(crate) fill_retries: Counter,
    pub(crate) not_stored_blocks: Counter,
    pub(crate) new_versions: Counter,
    pub(crate) broken_responses: Counter,
    pub(crate) connections_full: Shortage,
    pub(crate) files_used_up: Shortage,
    pub(crate) slow_clients: Counter,
    pub(crate) connections: Gauge,
    pub(crate) runs_in_flight: Gauge,
    pub(crate) blocks_in_memory: Gauge,
    pub(crate) first_byte_hit: Histogram,
    pub(crate) first_byte_miss: Histogram,
}

impl Counters {
    pub(crate) fn request(&self, result: RequestResult) {
        let counters = self.results.iter().zip(RequestResult::ALL);
        if let Some((counter, _)) = counters.into_iter().find(|(_, (r, _))| *r == result) {
            counter.add(1);
        }
    }

    pub(crate) fn snapshot(&self, origins: &crate::origin::Origins) -> CountersSnapshot {
        CountersSnapshot {
            requests: RequestResult::ALL
                .iter()
                .zip(&self.results)
                .map(|((_, name), counter)| (*name, counter.get()))
                .collect(),
            origins: origins
                .all()
                .into_iter()
                .map(|origin| OriginBytes {
                    origin: origin.name().to_owned(),
                    egress_bytes: origin.counters.egress.get(),
                    fill_bytes: origin.counters.fill.get(),
                    failures: origin.failures.get(),
                })
                .filter(|bytes| bytes.egress_bytes + bytes.fill_bytes + bytes.failures > 0)
                .collect(),
            hit_bytes: self.hit_bytes.get(),
            miss_bytes: self.miss_bytes.get(),
            pass_bytes: self.pass_bytes.get(),
            fill_bytes: self.fill_bytes.get(),
            fill_requests: self.fill_requests.get(),
            fill_retries: self.fill_retries.get(),
            not_stored_blocks: self.not_stored_blocks.get(),
            new_versions: self.new_versions.get(),
            broken_responses: self.broken_responses.get(),
            refused_connections: self.connections_full.snapshot(),
            files_used_up: self.files_used_up.snapshot(),
            slow_clients: self.slow_clients.get(),
            connections: self.connections.get(),
            fills_in_flight: self.runs_in_flight.get(),
            blocks_in_memory: self.blocks_in_memory.get(),
            first_byte_hit: self.first_byte_hit.snapshot(),
            first_byte_miss: self.first_byte_miss.snapshot(),
        }
    }
}

/// The counters at one moment. All but the three named "now" only grow while the process lives.
#[derive(Debug, Clone, Serialize)]
pub struct CountersSnapshot {
    /// Requests by result: `hit`, `miss`, `collapsed`, `pass`, `refused`, `unavailable`,
    /// `origin_error`. For `mcc_http_requests_total{result}`.
    pub requests: Vec<(&'static str, u64)>,
    /// Bytes by entry of the allow-list, those without traffic left out. For
    /// `mcc_http_egress_bytes_total{origin}` and `mcc_fill_bytes_total{origin}`.
    pub origins: Vec<OriginBytes>,
    /// Content bytes sent that did not have to be fetched for it: they were stored, or fetched for another client
    /// that got them too. For `mcc_cache_hit_bytes_total`.
    pub hit_bytes: u64,
    /// Content bytes sent that had to be fetched, whichever way they then took: each byte of a stored object that
    /// comes from its origin counts once here, for the first who gets it. Two clients that download a new file
    /// at once make one file of misses and one of hits. What is fetched and never sent (ahead of a client that
    /// left) is in `fill_bytes` only. For `mcc_cache_miss_bytes_total`.
    pub miss_bytes: u64,
    /// Content bytes passed through unstored. With `hit_bytes` and `miss_bytes` they are all that was sent.
    pub pass_bytes: u64,
    /// Content bytes that came from origins, those passed through included.
    pub fill_bytes: u64,
    /// Requests sent to origins.
    pub fill_requests: u64,
    /// Fills that were resumed after they broke.
    pub fill_retries: u64,
    /// Complete blocks that the store did not take (queue full, drive offline).
    pub not_stored_blocks: u64,
    /// Objects found changed at the origin.
    pub new_versions: u64,
    /// Responses cut after their head was sent.
    pub broken_responses: u64,
    /// Connections refused because there were too many.
    pub refused_connections: ShortageSnapshot,
    /// Connections that had to wait because the process, or the system, had no more files to open for them.
    pub files_used_up: ShortageSnapshot,
    /// Connections closed because the client took what it was owed too slowly, or not at all.
    pub slow_clients: u64,
    /// Client connections now.
    pub connections: u64,
    /// Origin requests being read into blocks now.
    pub fills_in_flight: u64,
    /// Blocks held in memory now, of 1 MiB each.
    pub blocks_in_memory: u64,
    /// First-byte time of requests answered from drives.
    pub first_byte_hit: HistogramSnapshot,
    /// First-byte time of requests that the origin had part in.
    pub first_byte_miss: HistogramSnapshot,
}

/// How often something was used up, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ShortageSnapshot {
    /// Times since the start.
    pub times: u64,
    /// Seconds since 1970; `None`: not since the start.
    pub last: Option<u64>,
}

/// Bytes of one entry of the allow-list.
#[derive(Debug, Clone, Serialize)]
pub struct OriginBytes {
    /// The entry: a host, or `*.domain`.
    pub origin: String,
    /// Content bytes sent to clients.
    pub egress_bytes: u64,
    /// Content bytes received.
    pub fill_bytes: u64,
    /// Requests that failed.
    pub failures: u64,
}

/// A histogram in the shape of OpenMetrics.
#[derive(Debug, Clone, Serialize)]
pub struct HistogramSnapshot {
    /// Upper bound in seconds, and how many observations are at or below it.
    pub buckets: Vec<(f64, u64)>,
    /// Observations.
    pub count: u64,
    /// Their sum in seconds.
    pub sum_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative() {
        let histogram = Histogram::default();
        for micros in [50, 100, 900, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets[0], (0.0001, 2));
        assert_eq!(snapshot.buckets[3], (0.001, 3));
        assert_eq!(snapshot.buckets.last(), Some(&(10.0, 3)), "the slow one is in +Inf only");
        assert_eq!((snapshot.count, snapshot.sum_seconds), (4, 60.00105));
    }

    #[test]
    fn each_result_has_its_own_counter() {
        let counters = Counters::default();
        for (i, (result, _)) in RequestResult::ALL.iter().enumerate() {
            (0..=i).for_each(|_| counters.request(*result));
        }
        let snapshot = counters.snapshot(&crate::origin::Origins::new(&[]));
        let counts: Vec<u64> = snapshot.requests.iter().map(|(_, n)| *n).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7]);
    }
}
