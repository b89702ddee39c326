//! BMP (RFC 7854): every session and every route, as they come, told to a monitoring station.
//!
//! [`message`] makes the bytes; [`report`](mod@report) decides what a station is told, as a state
//! machine without sockets; [`station`] is the tokio edge, one task for each station.
//!
//! The node only talks, as the RFC has it: what a station sends is read and thrown away.

pub mod message;
pub mod report;
pub mod station;

pub use report::{ReportSettings, StationReport};
pub use station::{Station, StationSettings, StationStatus};
