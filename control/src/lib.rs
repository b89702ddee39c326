//! The control plane: nodes, advertisement, steering, API.
//!
//! [`server::ControlPlane`] is the program's half that operators and nodes call; [`client::Client`]
//! is how they call it. [`feed`] is the protocol by which a node tells which clients it serves,
//! [`steering`] the answer to "which node serves this client". Both are free of sockets.

pub mod api;
pub mod client;
pub mod feed;
mod fleet;
pub mod health;
mod metrics;
pub mod node;
pub mod server;
pub mod steering;
pub mod store;
mod system_roots;
pub mod tls;
pub mod tokens;
