//! End to end: the real program against real peers. `tests/run` runs it with everything else;
//! `cargo test --test e2e NAME` runs one test.

mod support;

#[path = "e2e/harness.rs"]
mod harness;
