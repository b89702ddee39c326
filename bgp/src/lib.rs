//! A BGP-4 speaker that only listens: codec, session, RIB.
//!
//! * [`wire`]: messages from bytes and to bytes. No sockets, no time.
//! * [`session`]: the state machine of RFC 4271 §8. Events and time come in as values.
//! * [`policy`]: which prefixes of a neighbor become footprint, and why the others do not.
//! * [`rib`]: Adj-RIB-In of each neighbor, and the footprint made from them. One owner.
//! * [`speaker`]: the tokio edge: sockets, tasks, and the handle that the node holds.
//! * [`bmp`]: sessions and routes as they come, told to a monitoring station.
//! * [`mrt`]: tables and messages in the form that routing tools read, to files and from files.

pub mod bmp;
pub mod mrt;
pub mod policy;
mod rebuilt_update;
pub mod rib;
pub mod session;
pub mod speaker;
pub mod wire;

#[cfg(test)]
mod testing;
