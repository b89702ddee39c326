//! What a load has shown.

use serde::Serialize;

/// One line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Length of the window in seconds.
    pub(crate) seconds: f64,
    /// Bytes of bodies that arrived in it.
    pub(crate) bytes: u64,
    /// Responses that ended in it.
    pub(crate) requests: u64,
    /// CPU time of the server's processes in it, in seconds.
    pub(crate) cpu_user: f64,
    pub(crate) cpu_system: f64,
    /// From the request to the last byte, in microseconds.
    pub(crate) latency: Spread,
    /// From the request to the first byte.
    pub(crate) first_byte: Spread,
    /// Responses compared byte for byte.
    pub(crate) verified: u64,
    /// Responses that were not what they should be, and connections lost in the middle of one.
    pub(crate) failed: u64,
    /// The first of these in words.
    pub(crate) first_failure: Option<String>,
    /// Share of the machine's time that the hypervisor took, 0 to 1.
    pub(crate) stolen: f64,
    pub(crate) idle: Option<IdleReport>,
}

/// What the idle connections have shown.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    /// So many were open while the others worked.
    pub(crate) connections: u64,
    /// So many could not be opened, or did not answer before or after.
    pub(crate) failed: u64,
    /// The first of these in words.
    pub(crate) first_failure: Option<String>,
    /// Resident memory of the server's processes before they were opened, and with them, in bytes.
    pub(crate) resident_before: u64,
    pub(crate) resident_with: u64,
}

/// Times in microseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Spread {
    pub(crate) fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let Some(max) = times.last().copied() else { return Self::default() };
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(max);
        Self { p50: at(50), p99: at(99), max }
    }
}
