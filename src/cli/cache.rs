//! `mcc cache …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Asks about what is stored, and changes it.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Drives and what is on them, traffic, origins
    Status,
    /// List what is stored
    Ls(CacheLs),
    /// Show everything about one stored object
    Show {
        /// Its URL: host, path and query, with or without `http://`
        url: String,
    },
    /// Remove stored content, at once and for good; clients that are getting it now get it whole
    Purge(CachePurge),
    /// Keep an object, stored now or later, whatever else is asked for
    Pin {
        /// Its URL
        url: String,
    },
    /// Have a pinned object be as any other
    Unpin {
        /// Its URL
        url: String,
    },
    /// List what is pinned
    Pins,
    /// Have content fetched and stored before a client asks for it; what is stored already is not
    /// fetched again
    Prefill(CachePrefill),
    /// Compare what is on the drives with its checksums now; what is damaged is dropped
    Verify(CacheVerify),
    /// Take a drive back that is offline, after it was repaired or replaced
    Online {
        /// Its folder, as in the configuration
        drive: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CacheLs {
    /// Only what begins so: `downloads.example`, `downloads.example/updates/` [default: everything]
    pub(crate) prefix: Option<String>,
    /// In which order
    #[arg(long, value_enum, default_value_t = CacheSort::Url)]
    pub(crate) sort: CacheSort,
    /// The most objects to show [default: all]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// The order of `mcc cache ls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheSort {
    /// By URL
    Url,
    /// The longest first
    Size,
    /// Those with the most bytes on drives first
    Stored,
    /// Those that the origin has sent or confirmed last first
    Recent,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CachePurge {
    /// One object: host, path and query, with or without `http://`
    pub(crate) url: Option<String>,
    /// Everything of an origin, by its host or one of its aliases
    #[arg(long, value_name = "HOST")]
    pub(crate) origin: Option<String>,
    /// Everything whose URL begins so, such as `downloads.example/updates/`
    #[arg(long, value_name = "HOST/PATH/")]
    pub(crate) prefix: Option<String>,
    /// Everything
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CachePrefill {
    /// A list of URLs, one a line; what follows a `#` at the beginning of a line or after a blank is
    /// a comment. `-` is the standard input
    pub(crate) file: PathBuf,
    /// The most to fetch, in megabits (10^6 bits) per second [default: as fast as it goes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate_mbps: Option<u32>,
    /// How many objects to fetch at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) parallel: u32,
}

#[derive(Debug, Args)]
pub(crate) struct CacheVerify {
    /// Only this drive, by its folder as in the configuration [default: all]
    #[arg(long, value_name = "PATH")]
    pub(crate) drive: Option<PathBuf>,
}
