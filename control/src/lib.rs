//! The control plane: nodes, advertisement, steering, API.

pub mod feed;
pub mod steering;
