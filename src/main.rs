//! The `mcc` program: a node and its control plane for internet providers.

mod admin_client;
mod cli;
mod commands;
mod demo;
mod listing;
mod logging;
mod node;
mod open_files;
mod private_file;
mod signals;
mod table;
mod terminal;
mod text;

use std::process::ExitCode;

use clap::Parser;

/// After so many turns of tasks a thread looks what has come from the network, however much else there is
/// to do. A turn may be a MiB sent, or a millisecond of routes: the runtime's own 61 would be a long wait
/// for whoever asks for little.
const TURNS: u32 = 16;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // One TLS implementation for all of the process, chosen here and nowhere else.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("mcc: another part of the process has chosen a TLS implementation already");
        return ExitCode::FAILURE;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().event_interval(TURNS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("mcc: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(commands::Verdict::Good) => ExitCode::SUCCESS,
        Ok(commands::Verdict::Bad) => ExitCode::from(1),
        Err(error) => {
            eprintln!("mcc: {}", text::printable(&with_causes(&error)));
            ExitCode::from(if error.is::<commands::WrongUse>() { 2 } else { 1 })
        }
    }
}

/// An error and its causes in one line. Many errors tell their cause in their own words already:
/// it is not told twice.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = anyhow::anyhow!(cause).context("a: entity not found").context("b");
        assert_eq!(with_causes(&error), "b: a: entity not found");
        let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = anyhow::anyhow!(cause).context("a: entity not found; look elsewhere");
        assert_eq!(with_causes(&error), "a: entity not found; look elsewhere");
    }
}
