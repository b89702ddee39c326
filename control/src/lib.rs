//! The control plane: nodes, advertisement, steering, API.

/// The HTTP interface of the control plane.
pub mod api {
    pub mod types;
}
pub mod feed;
pub mod health;
pub mod node;
pub mod steering;
pub mod store;
pub mod tokens;
