//! The cache: store, fill and HTTP data path.
//!
//! [`Cache`] is what a node uses. A request goes through [`request`] (what is asked for), [`range`] and
//! [`conditional`] (which bytes), the [`store`] (what is on drives), `fill` (what must be fetched) and `serve`
//! (connections and answers). [`origin`] knows where content may come from.

mod cache;
pub mod conditional;
mod counters;
mod fill;
pub mod origin;
pub mod range;
pub mod request;
mod serve;
pub mod store;
mod time;

pub use cache::{
    Cache, CacheError, CacheSettings, CacheStatus, Limits, ObjectDetail, OriginStatus, PinError,
    Purge, PurgeError,
};
pub use counters::{
    CountersSnapshot, FIRST_BYTE_BUCKETS, HistogramSnapshot, OriginBytes, ShortageSnapshot,
};
pub use fill::{FillRate, PrefillError, PrefillProgress, Prefilled};
pub use serve::tls::{CertificateFiles, TlsError};

/// The eviction policy of a drive, by itself: for the simulator in `benches/eviction`, which holds it against others.
pub mod eviction {
    pub use crate::store::s3fifo::{S3Fifo, Usage};
}

/// What only the fuzz targets see.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::fill::claim;
}
