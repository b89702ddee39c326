//! `mcc-load`: what `bench/cache/bench.py` measures with.
//!
//! `make` writes an object, `origin` serves a folder of them, `get` loads a server with requests for one and says
//! what came of it. The bytes of an object follow from its name and the offset ([`content`]), so that responses
//! are compared with what they should be without a copy at hand.

mod connection;
mod content;
mod load;
mod origin;
mod plan;
mod report;
mod server_process;
mod stream;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use content::Content;
use load::LoadArgs;
use origin::Pace;

/// Bytes written at a time.
const PIECE: u64 = 1 << 20;

#[derive(Parser)]
#[command(about = "The load client and the origin of the cache benchmarks")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes an object whose bytes follow from the file's name
    Make {
        /// File to write
        file: PathBuf,
        /// Its length in bytes
        size: u64,
    },
    /// Serves the files of a folder, each answer after a while, until it is killed
    Origin(OriginArgs),
    /// Loads a server with requests for one object, and prints what came of it as JSON
    Get(Box<LoadArgs>),
}

#[derive(Args)]
struct OriginArgs {
    /// Address to listen at
    #[arg(long)]
    listen: SocketAddr,
    /// Folder of the files. Of a URL's path only the last part counts: /1/big and /2/big are the same file
    #[arg(long)]
    dir: PathBuf,
    /// Time before each answer, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Most megabytes (10^6) per second on one connection; without it as fast as can be
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    mb_per_s: Option<u32>,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Make { file, size } => make(&file, size),
        Command::Origin(args) => {
            let pace =
                Pace { latency: Duration::from_millis(args.latency_ms), mb_per_s: args.mb_per_s };
            origin::serve(args.listen, &args.dir, pace)
        }
        Command::Get(args) => {
            let report = load::run(&args)?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
    }
}

fn make(path: &Path, size: u64) -> Result<()> {
    let name = path.file_name().context("no file name")?.to_string_lossy();
    let content = Content::of(&name);
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut file = BufWriter::with_capacity(PIECE as usize, file);
    let mut piece = vec![0; PIECE as usize];
    let mut offset = 0;
    while offset < size {
        piece.truncate((size - offset).min(PIECE) as usize);
        content.fill(offset, &mut piece);
        file.write_all(&piece)?;
        offset += piece.len() as u64;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}
