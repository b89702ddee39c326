//! The cache: store, fill and HTTP data path.

pub mod store;
