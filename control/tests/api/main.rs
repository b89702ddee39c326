//! The control plane over real HTTP, on real SQLite files.

mod access;
mod bad_input;
mod life;
mod plane;
mod start;
mod steering;
