//! End to end: the real program against real peers. `tests/run` runs it with everything else;
//! `cargo test --test e2e NAME` runs one test.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test a panic is how a failure is told"
)]

mod support;

#[path = "e2e/bird.rs"]
mod bird;
#[path = "e2e/harness.rs"]
mod harness;
