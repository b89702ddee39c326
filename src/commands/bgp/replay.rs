//! `mcc bgp replay`: a recorded table or log, judged by the rules of a configuration. No node runs for it.

mod limit;

use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use mcc_bgp::mrt::{Reader, Replay, ReplayReport, ReplaySettings, ReplayedPeer};
use mcc_bgp::rib::{RouteConditions, RouteQuery, RouteView, Verdict as Judged};
use mcc_config::NodeConfig;
use serde::{Serialize, Serializer};
use serde_json::value::to_raw_value;

use super::Verdict;
use super::routes::Route;
use crate::cli::{BgpReplay, Common};
use crate::commands::DEFAULT_NODE_CONFIG;
use crate::listing::Listing;
use crate::table::Rows;
use crate::terminal::Output;
use crate::text::{self, Printed};

/// A large buffer, since a file can have gigabytes.
const BUFFER: usize = 1 << 20;
/// So many malformed UPDATEs are shown; `--json` has more of them.
const SHOWN_MALFORMED: usize = 10;
/// So many peers that are left out are shown.
const SHOWN_SKIPPED: usize = 10;

pub(super) fn run(common: &Common, arguments: &BgpReplay) -> Result<Verdict> {
    let config = common.config.as_deref().unwrap_or(Path::new(DEFAULT_NODE_CONFIG));
    let mut replay = Replay::new(settings(&NodeConfig::load(config)?, arguments)?)?;
    let file = &arguments.file;
    let read = if file == Path::new("-") {
        read(io::stdin().lock(), &mut replay)
    } else {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        read(opened, &mut replay)
    };
    let report = replay.report();
    // What was read before the fault is told all the same, if there is anything.
    if report.records > 0 || read.is_ok() {
        show(common, arguments, &replay, &report)?;
    }
    read.with_context(|| file.display().to_string())?;
    let over_limit = report.peers.iter().any(|peer| peer.over_limit);
    Ok(Verdict::of(report.malformed_records == 0 && !over_limit && !report.peers.is_empty()))
}

fn settings(config: &NodeConfig, arguments: &BgpReplay) -> Result<ReplaySettings> {
    let neighbors = config.bgp.as_ref().map(|bgp| bgp.neighbors.clone()).unwrap_or_default();
    let dynamic = config.bgp.as_ref().map(|bgp| bgp.dynamic.clone()).unwrap_or_default();
    if neighbors.is_empty() && dynamic.is_empty() {
        bail!("the configuration has no `[[bgp.neighbor]]`, so there are no rules to judge by");
    }
    Ok(ReplaySettings {
        neighbors,
        dynamic,
        router_id: config
            .router_id()
            .context("bgp.router_id: an IPv6 node has to set it, to any IPv4 address of its own")?,
        ebgp_requires_rules: config.bgp.as_ref().is_some_and(|bgp| bgp.ebgp_requires_rules),
        ipv6: config.node.ipv6,
        manual: config.footprint.cidrs.clone(),
        rules_of: arguments.neighbor,
        only_peer: arguments.peer,
    })
}

/// Reads to the end, or to a fault that leaves nothing to read.
fn read(source: impl Read, replay: &mut Replay) -> Result<()> {
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER, source));
    while let Some(next) = reader.next() {
        match next {
            Ok((offset, record)) => replay.record(offset, &record),
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => {
                eprintln!("{error}");
                replay.malformed_record(&error);
            }
        }
    }
    Ok(())
}

fn show(
    common: &Common,
    arguments: &BgpReplay,
    replay: &Replay,
    report: &ReplayReport,
) -> Result<()> {
    let listed = (arguments.routes || arguments.rejected).then_some(Listed {
        replay,
        verdict: if arguments.rejected { Judged::Refused } else { Judged::Any },
    });
    if common.json {
        return print_document(&Document { report, routes: listed });
    }
    if let Some(listed) = listed
        && listed.print()? == Printed::NobodyReads
    {
        return Ok(());
    }
    Ok(text::print(&render(report)?)?)
}

/// `mcc bgp replay --json`
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a ReplayReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Listed<'a>>,
}

fn print_document(document: &Document<'_>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from);
    match written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The routes, a page at a time: there can be a million.
struct Listed<'a> {
    replay: &'a Replay,
    verdict: Judged,
}

impl Listed<'_> {
    fn pages(&self) -> impl Iterator<Item = Vec<RouteView>> {
        let conditions = RouteConditions { verdict: self.verdict, ..RouteConditions::default() };
        let mut query = Some(RouteQuery { conditions, ..RouteQuery::default() });
        std::iter::from_fn(move || {
            let mut asked = query.take()?;
            let page = self.replay.routes(&asked);
            if page.next.is_some() {
                asked.after = page.next;
                query = Some(asked);
            }
            Some(page.routes)
        })
    }

    fn print(&self) -> Result<Printed> {
        let mut listing = Listing::<Route>::table(Output::standard());
        let mut any = false;
        for page in self.pages() {
            any |= !page.is_empty();
            let page: Vec<_> = page.iter().map(to_raw_value).collect::<Result<_, _>>()?;
            if text::print_page(&listing.page(&page)?)? == Printed::NobodyReads {
                return Ok(Printed::NobodyReads);
            }
        }
        Ok(text::print_page(&format!("{}\n", listing.end(any, None)?))?)
    }
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.pages().flatten())
    }
}

fn render(report: &ReplayReport) -> Result<String> {
    let mut out = String::new();
    if report.peers.is_empty() {
        writeln!(out, "No peer of the file is judged.")?;
    } else {
        let mut rows = Rows::new(&[
            "Peer",
            ">AS",
            "Rules of",
            ">Updates",
            ">Peak",
            ">Limit",
            ">Routes",
            ">Accepted",
            ">Refused",
            "~Reasons",
        ]);
        for peer in &report.peers {
            rows.push([
                peer.address.to_string(),
                peer.asn.to_string(),
                peer.dynamic.map_or_else(|| peer.neighbor.to_string(), |range| range.to_string()),
                text::count(peer.updates),
                text::count(peer.peak.into()),
                text::count(peer.max_prefixes.into()),
                text::count(peer.received.into()),
                text::count(peer.accepted.into()),
                text::count((peer.received - peer.accepted).into()),
                reasons(peer),
            ]);
        }
        out.push_str(&rows.render(Output::standard()));
    }
    for peer in &report.peers {
        let address = peer.address;
        if let Some(words) = limit::in_words(peer) {
            writeln!(out, "\n{address}: {words}")?;
        }
        if peer.stale > 0 {
            let (stale, are) = (text::count(peer.stale.into()), text::are(peer.stale.into()));
            writeln!(
                out,
                "\n{address}: its session had ended; {stale} of the routes {are} stale."
            )?;
        }
        if peer.ipv6_left_out > 0 {
            let left_out = text::counted(peer.ipv6_left_out, "IPv6 route is", "IPv6 routes are");
            writeln!(out, "\n{address}: {left_out} left out; `[node] ipv6 = true` takes them.")?;
        }
    }
    skipped(report, &mut out)?;
    malformed(report, &mut out)?;
    let footprint = &report.footprint;
    writeln!(
        out,
        "\nFootprint: {}",
        text::footprint(footprint.prefixes as u64, footprint.addresses, footprint.ipv6_slash48s)
    )?;
    write!(out, "Read: {}", text::counted(report.records, "record", "records"))?;
    if let (Some(from), Some(to)) = (report.from, report.to) {
        write!(out, " of {from}")?;
        if from != to {
            write!(out, " to {to}")?;
        }
    }
    for (count, what) in [
        (report.other_records, "of types that are not judged"),
        (report.malformed_records, "that cannot be read"),
    ] {
        if count > 0 {
            write!(out, "; {} {what}", text::count(count))?;
        }
    }
    out.push('\n');
    Ok(out)
}

fn reasons(peer: &ReplayedPeer) -> String {
    let mut reasons: Vec<_> = peer.rejected.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons =
        reasons.iter().map(|(reason, count)| format!("{reason} {}", text::count((**count).into())));
    match reasons.collect::<Vec<_>>() {
        none if none.is_empty() => "-".to_owned(),
        some => some.join(", "),
    }
}

fn skipped(report: &ReplayReport, out: &mut String) -> Result<(), std::fmt::Error> {
    if report.skipped_peers.is_empty() {
        return Ok(());
    }
    let count = match report.skipped_peers.len() {
        1 => "1 peer of the file is".to_owned(),
        n => format!("{} peers of the file are", text::count(n as u64)),
    };
    writeln!(
        out,
        "\n{count} left out; `--neighbor ADDR` judges all by the rules of one neighbor:"
    )?;
    for peer in report.skipped_peers.iter().take(SHOWN_SKIPPED) {
        writeln!(
            out,
            "  {} AS {}, {}",
            peer.address,
            peer.asn,
            text::counted(peer.updates, "update", "updates")
        )?;
    }
    if report.skipped_peers.len() > SHOWN_SKIPPED {
        writeln!(out, "  …")?;
    }
    Ok(())
}

fn malformed(report: &ReplayReport, out: &mut String) -> Result<(), std::fmt::Error> {
    if report.malformed_updates == 0 {
        return Ok(());
    }
    let updates = text::counted(report.malformed_updates, "malformed update", "malformed updates");
    writeln!(out, "\n{updates} (RFC 7606):")?;
    for found in report.malformed.iter().take(SHOWN_MALFORMED) {
        let prefix = found.prefix.map(|prefix| format!(" {prefix}")).unwrap_or_default();
        let text = text::printable(&found.text);
        writeln!(out, "  {}{prefix}, record at byte {}: {text}", found.peer, found.offset)?;
    }
    if report.malformed_updates > SHOWN_MALFORMED as u64 {
        writeln!(out, "  …")?;
    }
    Ok(())
}
