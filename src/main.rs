//! The `mcc` program: a node and its control plane for internet providers.

mod admin_client;
mod cli;
mod commands;
mod demo;
mod logging;
mod node;
mod open_files;
mod private_file;
mod signals;
mod text;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // One TLS implementation for all of the process, chosen here and nowhere else.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("mcc: another part of the process has chosen a TLS implementation already");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
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
            eprintln!("mcc: {error:#}");
            ExitCode::from(1)
        }
    }
}
