//! The BGP state machine (RFC 4271 §8), without sockets and without a clock.
//!
//! * [`Peer`] is one neighbor: when to dial, which of two connections wins, when to try again.
//! * [`Connection`](connection::Connection) is one TCP connection from OPEN to its end.
//! * [`negotiation`] is what both sides can do, and what is wrong with a neighbor's OPEN.
//!
//! What happens outside comes in as an [`Event`], with the time; what is to be done comes out as
//! [`Action`]s, in the order they are to be done. Nothing here fails: a fault of the neighbor is an
//! action like any other (send a NOTIFICATION, close, tell the operator).

mod backoff;
mod connection;
mod error;
pub mod negotiation;
mod peer;
mod stop;

pub use connection::ConnectionState;
pub use error::{ErrorDirection, SessionError};
pub use negotiation::{GracefulRestart, Negotiated, PeerSettings};
pub(crate) use peer::CannotRefresh;
pub use peer::{Action, Event, Peer, Refused, Retention, Role, State, Timers};
pub use stop::StopReason;

#[cfg(test)]
mod tests;
