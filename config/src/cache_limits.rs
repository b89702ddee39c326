//! `[cache.limits]`: what the cache bears.

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// `[cache.limits]`. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheLimits {
    /// Client connections at once; those above are told 503.
    pub connections: u32,
    /// How long a client may take for a TLS handshake, for a request's head, and between two requests.
    pub head_time: u32,
    /// How long a client waits for its answer, and then for each next piece of it, whatever the cause; then it is
    /// told 504, or the answer is cut.
    pub client_wait: u32,
    /// How long an origin may take to answer.
    pub origin_answer_time: u32,
    /// How long an origin may be silent in the middle of a body.
    pub origin_silence: u32,
    /// How long a client may take none of the bytes that are there for it; then the connection is closed.
    pub stuck_time: u32,
    /// Bytes per second that a client must take on the average while it is waited for; 0: any.
    pub least_rate: u32,
    /// The time waited for a client over which that average is taken.
    pub least_rate_time: u32,
    /// Content in memory on its way from origins, from which on nothing is read ahead.
    pub read_ahead_memory: ByteSize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head_time: 30,
            client_wait: 15,
            origin_answer_time: 10,
            origin_silence: 10,
            stuck_time: 120,
            least_rate: 1000,
            least_rate_time: 60,
            read_ahead_memory: ByteSize::new(512 << 20),
        }
    }
}
