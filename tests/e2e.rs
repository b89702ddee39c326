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
#[path = "e2e/cache.rs"]
mod cache;
#[path = "e2e/cli.rs"]
mod cli;
#[path = "e2e/control.rs"]
mod control;
#[path = "e2e/crash.rs"]
mod crash;
#[path = "e2e/demo.rs"]
mod demo;
#[path = "e2e/download.rs"]
mod download;
#[path = "e2e/drives.rs"]
mod drives;
#[path = "e2e/gobgp.rs"]
mod gobgp;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/interop/mod.rs"]
mod interop;
#[path = "e2e/limits.rs"]
mod limits;
#[path = "e2e/no_authorities.rs"]
mod no_authorities;
#[path = "e2e/odd_router.rs"]
mod odd_router;
#[path = "e2e/stop.rs"]
mod stop;
