//! The `mcc` program.
fn main() {}
