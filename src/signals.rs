//! The signals that stop the program.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for Ctrl-C or SIGTERM and returns its name.
pub(crate) async fn stop_signal() -> io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
