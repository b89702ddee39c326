//! What end-to-end tests stand on: the real program, real peers, HTTP, and waiting for a condition.

#![allow(dead_code, reason = "one test may need less than all of it")]

pub(crate) mod command;
pub(crate) mod computed_origin;
pub(crate) mod containers;
pub(crate) mod control;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod origin;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod terminal;
pub(crate) mod volume;
pub(crate) mod wait;
