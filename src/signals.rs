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

/// Keeps a hangup from ending the program without a word to routers and clients: those who send one
/// mean "read your settings again". To be called inside the runtime.
pub(crate) fn outlive_hangup() -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!(
                "SIGHUP changes nothing: settings are read at the start, restart to apply new ones"
            );
        }
    });
    Ok(())
}
