//! The advertisement protocol: how a node tells the control plane its footprint.
//!
//! The node is always the client. Its [`Advertiser`] sends the whole table once (a snapshot), then
//! what changes (deltas); the control plane's [`Receiver`] holds one table per node. Both ends are
//! state machines without sockets; `control::client` and `control::api` carry their bytes.
//!
//! | request | answer | what the node does |
//! |---|---|---|
//! | `PUT routes`: a snapshot, or its head alone as the question "do you have this?" | 200 and [`Position`] | goes on |
//! | `POST routes`: a delta | 409 and a [`Position`] or nothing | delta from there, else snapshot |
//! | | 400, 413 | snapshot, later |
//! | | 429, 503 with `Retry-After` | waits, coalescing |
//! | | 401, 403, 410 | stops, and says why |
//!
//! What makes it hold: changes set states, so a replay does no harm; serials order the messages of
//! a session; the [`Digest`] of the whole table is compared with each message and each heartbeat,
//! so that the ends cannot come apart unseen; 200 is said only after the change is on disk.

mod advertiser;
pub mod body;
mod digest;
mod log;
mod message;
mod receiver;
mod record;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use advertiser::{Advertiser, AdvertiserState, AdvertiserStatus, Pace, Request};
pub use body::{BodyError, BodyLimits, Encoding};
pub use digest::{Digest, DigestError};
pub use message::{
    Answer, Failure, Head, MEDIA_TYPE, Position, Refusal, SessionId, SessionIdError, VERSION,
};
pub use receiver::{Receiver, RestoreError, Superseded, Update, Verdict};
pub use record::{Change, RouteAttributes, RouteRecord, Source};
pub use table::RouteTable;
