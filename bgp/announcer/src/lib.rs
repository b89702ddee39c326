//! A BGP router that announces routes, for the demo and for tests; a node never reaches it.
//!
//! [`Router`] is the whole of it: real TCP, OPEN, KEEPALIVE and hold time, then its table, packed
//! by attribute set, and End-of-RIB. `route` says what it announces, `encode` turns that to bytes
//! (the only code here that can), `session` is one connection, `router` the task around it.

#![expect(clippy::disallowed_types, reason = "this is where the router is made")]

pub mod encode;
mod route;
mod router;
mod session;

pub use route::{Attributes, Route};
pub use router::{
    AnnounceError, Endpoint, Heard, Router, RouterSettings, RouterStatus, StartError,
};
