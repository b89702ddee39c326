//! The command line of `mcc`, run to its end.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What a command has said, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit status; none if a signal has ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Itself, if the command found what it was asked about to be good.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Runs `mcc` with these arguments.
pub(crate) fn mcc(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_mcc"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start mcc: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
