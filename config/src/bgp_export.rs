//! What the speaker tells others of what it learned: files in MRT, stations that speak BMP.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[bgp.mrt]`: tables and messages in files (RFC 6396).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mrt {
    /// The folder; it is made if it is not there.
    pub dir: PathBuf,
    /// Seconds between two files with the whole table; 0: none.
    #[serde(default = "default_table_interval")]
    pub table_interval: u32,
    /// Whether messages are written, too.
    #[serde(default)]
    pub messages: bool,
    /// Seconds until the next file of messages begins; at least 1.
    #[serde(default = "default_rotate")]
    pub rotate: u32,
    /// How many files of each kind are kept; at least 1.
    #[serde(default = "default_keep")]
    pub keep: u32,
}

/// `[[bgp.bmp]]`: a monitoring station (RFC 7854).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmpStation {
    /// Where it listens.
    pub station: SocketAddr,
    /// Whether it is told the routes as the routers send them.
    #[serde(default = "default_pre_policy")]
    pub pre_policy: bool,
    /// Whether it is told the routes that the accept rules let through.
    #[serde(default)]
    pub post_policy: bool,
    /// Seconds between two reports of counters; 0: none.
    #[serde(default = "default_statistics_interval")]
    pub statistics_interval: u32,
}

fn default_table_interval() -> u32 {
    7200
}

fn default_rotate() -> u32 {
    900
}

fn default_keep() -> u32 {
    96
}

fn default_pre_policy() -> bool {
    true
}

fn default_statistics_interval() -> u32 {
    300
}
