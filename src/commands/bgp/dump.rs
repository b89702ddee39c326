//! `mcc bgp dump`: the whole table into a file that routing tools read.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mcc_bgp::mrt;
use serde::Serialize;

use super::mrt_file::MrtFile;
use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{BgpDump, Common};
use crate::text;

/// What was written: `mcc bgp dump FILE --json`.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Written {
    file: PathBuf,
    neighbors: u64,
    prefixes: u64,
    routes: u64,
}

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &BgpDump,
) -> Result<Verdict> {
    let query: Vec<_> = arguments.neighbor.iter().map(|address| ("neighbor", address)).collect();
    // First the node: no file is made for a neighbor that is not there.
    let mut dump = client.stream("/v1/bgp/dump", &query).await?;
    let file = arguments.file.as_path();
    let mut out = MrtFile::create(file)?;
    while let Some(piece) = dump.chunk().await.context("the node broke the dump off")? {
        match out.write(&piece) {
            Err(error) if error.nobody_reads() => return Ok(Verdict::Good),
            written => written?,
        }
    }
    match out {
        MrtFile::Stream { .. } => return Ok(Verdict::Good),
        MrtFile::Beside(beside) => beside.finish()?,
    }
    let written = look(file)?;
    if common.json {
        print_json(&written)?;
    } else {
        text::print(&format!(
            "{} and {} of {} in {} (MRT: `mcc bgp replay`, bgpdump)\n",
            text::prefixes(written.prefixes),
            text::routes(written.routes),
            text::counted(written.neighbors, "neighbor", "neighbors"),
            file.display()
        ))?;
    }
    Ok(Verdict::Good)
}

/// What is in the file now.
fn look(file: &Path) -> Result<Written> {
    let mut written = Written { file: file.to_owned(), ..Written::default() };
    let mut reader = mrt::Reader::new(BufReader::new(File::open(file)?));
    let mut last = None;
    while let Some(record) = reader.next() {
        let (_, record) = record.with_context(|| file.display().to_string())?;
        match record.body {
            mrt::Body::PeerIndexTable(peers) => written.neighbors += peers.peers.len() as u64,
            mrt::Body::Rib(rib) => {
                // With ADD-PATH a prefix can have two records, one after the other.
                written.prefixes += u64::from(last.replace(rib.prefix) != Some(rib.prefix));
                written.routes += rib.entries.len() as u64;
            }
            mrt::Body::Message(_) | mrt::Body::StateChange(_) | mrt::Body::Other { .. } => {}
        }
    }
    Ok(written)
}
