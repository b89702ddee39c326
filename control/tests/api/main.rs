//! The control plane over real HTTP, on real SQLite files.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects by panicking when it is not so"
)]

mod access;
mod bad_input;
mod crash;
mod life;
mod plane;
mod start;
mod steering;
