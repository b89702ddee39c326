//! The BGP state machine (RFC 4271 §8), without sockets and without a clock.
//!
//! * [`Peer`] is one neighbor: when to dial, which of two connections wins, when to try again.
//! * [`Connection`](connection::Connection) is one TCP connection from OPEN to its end.
//! * [`settings`] holds our OPEN, [`negotiation`] what follows from both OPENs and what is wrong with
//!   a neighbor's.
//! * [`failure`] says what comes after the end of a connection, [`retention`] what becomes of its
//!   routes, [`advice`] what a NOTIFICATION means for the operator.
//!
//! What happens outside comes in as an [`Event`], with the time; what is to be done comes out as
//! [`Action`]s, in the order they are to be done. Nothing here fails: a fault of the neighbor is an
//! action like any other (send a NOTIFICATION, close, tell the operator).

mod advice;
mod backoff;
mod connection;
mod error;
mod event;
mod failure;
pub mod negotiation;
mod open_advice;
mod peer;
mod retention;
mod role;
mod settings;
mod stop;
mod timers;

pub use connection::ConnectionState;
pub use error::{ErrorDirection, SessionError};
pub(crate) use event::CannotRefresh;
pub use event::{Action, Event, Refused, Role, State};
pub use negotiation::{GracefulRestart, LongLived, Negotiated, ShownCapability};
pub use peer::Peer;
pub use retention::Retention;
pub use settings::PeerSettings;
pub use stop::StopReason;
pub use timers::Timers;

#[cfg(test)]
mod fsm_properties;
#[cfg(test)]
mod fsm_table;
#[cfg(test)]
mod tests;
