//! `mcc bgp capture`: the messages of sessions into a file, as they come and go.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mcc_bgp::mrt;
use tokio::time::sleep;

use super::Verdict;
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
    let mut out: Box<dyn Write> = if to_stdout {
        Box::new(io::stdout())
    } else {
        Box::new(File::create(file).with_context(|| format!("cannot write {}", file.display()))?)
    };
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
            Ok(Some(bytes)) => match out.write_all(&bytes).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break None,
                written => written.with_context(|| format!("writing {}", file.display()))?,
            },
            Ok(None) => break Some("the node has stopped".to_owned()),
            Err(error) => {
                break Some(format!(
                    "the node broke it off: it has stopped, or this reader was too slow ({error})"
                ));
            }
        }
    };
    drop(out);
    if !to_stdout {
        text::print(&summary(file)?)?;
    }
    match broken_off {
        Some(why) => bail!("the capture is good up to here; {why}"),
        None => Ok(Verdict::Good),
    }
}

/// What is in the file now.
fn summary(file: &Path) -> Result<String> {
    let mut reader = mrt::Reader::new(BufReader::new(File::open(file)?));
    let (mut messages, mut changes) = (0, 0);
    // The last record may be cut off: the capture can end in the middle of it.
    while let Some(Ok((_, record))) = reader.next() {
        match record.body {
            mrt::Body::Message(_) => messages += 1,
            mrt::Body::StateChange(_) => changes += 1,
            mrt::Body::PeerIndexTable(_) | mrt::Body::Rib(_) | mrt::Body::Other { .. } => {}
        }
    }
    Ok(format!(
        "{} messages and {} changes of state in {} (MRT: `mcc bgp replay` and bgpdump read it)\n",
        text::count(messages),
        text::count(changes),
        file.display()
    ))
}
