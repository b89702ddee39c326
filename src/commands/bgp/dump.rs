//! `mcc bgp dump`: the whole table into a file that routing tools read.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mcc_bgp::mrt;
use reqwest::Response;
use serde::Serialize;

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
    let dump = client.stream("/v1/bgp/dump", &query).await?;
    let file = arguments.file.as_path();
    if file == Path::new("-") {
        copy(dump, io::stdout()).await?;
        return Ok(Verdict::Good);
    }
    // Under another name until it is whole: half a table looks like a small one.
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let cannot_write = || format!("cannot write {}", part.display());
    let copied = copy(dump, File::create(&part).with_context(cannot_write)?).await;
    if let Err(error) = copied {
        // The first error is the one to tell.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, file).with_context(|| format!("cannot write {}", file.display()))?;
    let written = look(file)?;
    if common.json {
        print_json(&written)?;
    } else {
        text::print(&format!(
            "{} and {} routes of {} neighbors in {} (MRT: `mcc bgp replay`, bgpdump)\n",
            text::prefixes(written.prefixes),
            text::count(written.routes),
            text::count(written.neighbors),
            file.display()
        ))?;
    }
    Ok(Verdict::Good)
}

async fn copy(mut dump: Response, mut out: impl Write) -> Result<()> {
    while let Some(piece) = dump.chunk().await.context("the node broke the dump off")? {
        out.write_all(&piece).context("writing the dump")?;
    }
    out.flush().context("writing the dump")
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
