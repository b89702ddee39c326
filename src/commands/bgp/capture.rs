//! `mcc bgp capture`: the messages of sessions into a file, as they come and go.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use mcc_bgp::mrt;
use tokio::time::sleep;

use super::Verdict;
use super::mrt_file::MrtFile;
use crate::admin_client::AdminClient;
use crate::cli::{BgpCapture, CaptureTarget};
use crate::signals::StopSignals;
use crate::text;

pub(super) async fn run(client: &AdminClient, arguments: &BgpCapture) -> Result<Verdict> {
    let mut signals = StopSignals::listen()?;
    let query = match arguments.target {
        CaptureTarget::All => vec![],
        CaptureTarget::Neighbor(address) => vec![("neighbor", address)],
    };
    // First the node: no file is made for a neighbor that is not there.
    let mut stream = client.stream("/v1/bgp/capture", &query).await?;
    let file = arguments.file.as_path();
    let to_stdout = file == Path::new("-");
    let mut out = MrtFile::create(file)?;
    if !to_stdout {
        let end = match arguments.duration {
            Some(seconds) => format!("for {seconds} s"),
            None => "until Ctrl-C".to_owned(),
        };
        eprintln!("capturing into {} {end}", file.display());
    }
    let over = async {
        match arguments.duration {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let broken_off = loop {
        let chunk = tokio::select! {
            chunk = stream.chunk() => chunk,
            () = &mut over => break None,
            _ = signals.next() => break None,
        };
        match chunk {
            Ok(Some(bytes)) => match out.write(&bytes) {
                Ok(()) => {}
                Err(error) if error.nobody_reads() => break None,
                Err(error) => break Some(error.into()),
            },
            Ok(None) => break Some(anyhow!("the node has stopped")),
            Err(error) => {
                break Some(anyhow!(
                    "the node broke it off: it has stopped, or this reader was too slow ({error})"
                ));
            }
        }
    };
    let summary = match out {
        MrtFile::Stream { .. } => None,
        MrtFile::Beside(mut beside) => {
            // The capture can end in the middle of a record.
            let whole = beside.cut_to_whole_records()?;
            if whole == 0
                && let Some(why) = broken_off
            {
                return Err(why.context("nothing was captured"));
            }
            beside.finish()?;
            Some(summary(file)?)
        }
    };
    text::print(&summary.unwrap_or_default())?;
    match broken_off {
        Some(why) => Err(why.context("the capture is good up to here")),
        None => Ok(Verdict::Good),
    }
}

/// What is in the file now.
fn summary(file: &Path) -> Result<String> {
    let mut reader = mrt::Reader::new(BufReader::new(File::open(file)?));
    let (mut messages, mut changes) = (0, 0);
    while let Some(Ok((_, record))) = reader.next() {
        match record.body {
            mrt::Body::Message(_) => messages += 1,
            mrt::Body::StateChange(_) => changes += 1,
            mrt::Body::PeerIndexTable(_) | mrt::Body::Rib(_) | mrt::Body::Other { .. } => {}
        }
    }
    Ok(format!(
        "{} and {} of state in {} (MRT: `mcc bgp replay` and bgpdump read it)\n",
        text::messages(messages),
        text::counted(changes, "change", "changes"),
        file.display()
    ))
}
