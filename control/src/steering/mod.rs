//! Steering: which node serves a client address, and why.
//!
//! [`Index`] holds the footprints of all nodes by prefix and publishes a [`View`] of them;
//! [`NodeStates`] says which nodes may be sent clients. From both and an address comes a
//! [`Decision`], always the same one for the same input:
//!
//! 1. the longest prefix that covers the client and has a node that may be sent clients,
//! 2. of its nodes, those that have it entered by hand before those that learned it,
//! 3. the shortest AS path,
//! 4. the lowest MED, compared within one neighbor AS (RFC 4271 §9.1.2.2 (c)),
//! 5. a rendezvous hash of the client's /24 or /48, weighted by the capacity of the nodes.
//!
//! Pure functions on values: HTTP, DNS and `geo` are different ways to say the same decision.

mod decision;
pub mod geo;
mod index;
mod nodes;
mod rank;
pub mod review;
mod sets;

pub use decision::{Candidate, Choice, Chosen, Decision, Passed, Reason};
pub use index::{Index, Steering, View};
pub use nodes::{NodeId, NodeState, NodeStates, PassedOver, Standing};
pub use sets::RouteRank;
