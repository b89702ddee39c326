//! The signals that stop the program.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for Ctrl-C and SIGTERM from [`StopSignals::listen`] on. One that comes while nobody waits
/// is not lost: the next wait is over at once.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Listens from now on, in place of the death that these signals are otherwise.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, hangup: None })
    }

    /// The end of the terminal is a signal too: for what is of use only as long as someone looks.
    pub(crate) fn and_hangup(self) -> io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..self })
    }

    /// Waits for the next signal and returns its name. Dropped before, it has taken none.
    pub(crate) async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Keeps a hangup from ending a daemon without a word to routers and clients: those who send one
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
