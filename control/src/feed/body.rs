//! Bodies of feed messages: lines of JSON (NDJSON), compressed with zstd.
//!
//! The first line is the [`Head`]; each line after it is one prefix, in ascending order, each
//! prefix once:
//!
//! ```json
//! {"kind":"delta","version":1,"session":"0190b8a3-…","from":7,"to":8,"digest":"61c0…"}
//! {"op":"-","prefix":"192.0.2.0/24"}
//! {"op":"+","prefix":"198.51.100.0/24","source":"bgp","path_len":3,"med":10,"neighbor_asn":65100}
//! ```
//!
//! The same bytes are what the control plane stores. Reading is bounded: a small body that
//! decompresses to a large one is given up at the limit, not in the middle of the memory.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::message::{Head, Position, VERSION};
use super::record::{Change, RouteAttributes, RouteRecord, Source};

/// The level at which CPU and bytes balance for this text; its window is 2 MiB.
const COMPRESSION_LEVEL: i32 = 3;

/// Base-2 logarithm of the largest window that a sender may ask a reader to keep (8 MiB, what
/// RFC 8878 §3.1.1.1.2 recommends to support).
const WINDOW_LOG_MAX: u32 = 23;

/// Larger serials are not exact in every JSON reader (RFC 8259 §6).
const MAX_SERIAL: u64 = (1 << 53) - 1;

/// How a body is encoded (the `Content-Encoding` of its request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No compression: for a person with `curl`.
    Identity,
    /// RFC 8878. What nodes send.
    Zstd,
}

/// What a reader of bodies accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of a body as it comes in. The reader of the connection keeps this one.
    pub compressed_bytes: usize,
    /// Bytes of a body after decompression.
    pub decompressed_bytes: u64,
    /// Bytes of one line. The largest UPDATE (RFC 8654) with nothing but communities fits.
    pub line_bytes: u64,
    /// Lines after the head.
    pub routes: usize,
}

impl Default for BodyLimits {
    /// Room for a full IPv4 and IPv6 table, twice over.
    fn default() -> Self {
        Self {
            compressed_bytes: 64 << 20,
            decompressed_bytes: 512 << 20,
            line_bytes: 256 << 10,
            routes: 4_000_000,
        }
    }
}

/// What is wrong with a body, and where.
#[derive(Debug, Error)]
#[error("line {line}: {problem}")]
pub struct BodyError {
    /// Counted from 1, which is the head; 0 if the body as a whole is wrong.
    pub line: u64,
    /// What is wrong.
    #[source]
    pub problem: BodyProblem,
}

/// What can be wrong with a body.
#[derive(Debug, Error)]
pub enum BodyProblem {
    /// The bytes are no zstd frame, or only the beginning of one.
    #[error("cannot be decompressed: {0}")]
    Compression(io::Error),
    /// [`BodyLimits::decompressed_bytes`]
    #[error("the body is longer than {0} bytes after decompression")]
    BodyTooLong(u64),
    /// [`BodyLimits::line_bytes`]
    #[error("longer than {0} bytes")]
    LineTooLong(u64),
    /// [`BodyLimits::routes`]
    #[error("more than {0} prefixes")]
    TooManyRoutes(usize),
    /// The body is empty.
    #[error("there is no first line: it says kind, version, session, serial and digest")]
    NoHead,
    /// No JSON, or not the fields that belong here.
    #[error("{0}")]
    Syntax(serde_json::Error),
    /// A later protocol.
    #[error("version {0} is not known here: this end speaks version {VERSION}")]
    Version(u32),
    /// Serials that cannot be.
    #[error("serials {from} to {to}: they grow, from 1 to {MAX_SERIAL}")]
    Serials {
        /// Before the changes.
        from: u64,
        /// After them.
        to: u64,
    },
    /// No prefix.
    #[error("`{0}` is no prefix: an address, '/', a length, as in 198.51.100.0/24")]
    Prefix(String),
    /// Bits behind the prefix length are set.
    #[error("{found} has host bits set: {right} would be right", right = found.trunc())]
    HostBits {
        /// As it was written.
        found: IpNet,
    },
    /// A prefix after one that sorts later, or twice.
    #[error("{found} comes after {before}: prefixes are in ascending order, each once")]
    Order {
        /// The prefix of the line before.
        before: IpNet,
        /// The prefix of this line.
        found: IpNet,
    },
    /// A route without something that each has.
    #[error("`{0}` is missing: a line with \"op\":\"+\" has source and path_len")]
    Missing(&'static str),
    /// Attributes of a prefix that is gone.
    #[error("a line with \"op\":\"-\" has a prefix and nothing else")]
    AttributesOfAbsent,
    /// A removal in a snapshot.
    #[error("\"op\":\"-\" in a snapshot: it has only what is present")]
    AbsentInSnapshot,
    /// The head promised another number of routes.
    #[error("the first line says {promised} routes, the body has {found}")]
    Count {
        /// In the head.
        promised: u64,
        /// Lines after the head.
        found: usize,
    },
}

impl BodyError {
    /// Whether a limit was passed, which HTTP calls 413.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(
            self.problem,
            BodyProblem::BodyTooLong(_)
                | BodyProblem::LineTooLong(_)
                | BodyProblem::TooManyRoutes(_)
        )
    }
}

/// A body that was read whole and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The whole table.
    Snapshot {
        /// Of this table.
        position: Position,
        /// In ascending order of prefix.
        routes: Vec<RouteRecord>,
    },
    /// A snapshot whose routes were left out, to ask whether the reader has them already.
    Claim {
        /// Of the table.
        position: Position,
    },
    /// Changes to a table.
    Delta {
        /// The reader is at this serial or later.
        from: u64,
        /// Where it is afterwards.
        position: Position,
        /// In ascending order of prefix.
        changes: Vec<Change>,
    },
}

/// Reads a body.
///
/// # Errors
/// The first thing that is wrong, with its line. Memory stays within a small multiple of what
/// `limits` allow.
pub fn read(bytes: &[u8], encoding: Encoding, limits: &BodyLimits) -> Result<Body, BodyError> {
    match encoding {
        Encoding::Identity => Lines::new(bytes, limits).body(),
        Encoding::Zstd => {
            let at_start = |error| BodyError { line: 0, problem: BodyProblem::Compression(error) };
            let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(at_start)?;
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(at_start)?;
            Lines::new(BufReader::new(decoder), limits).body()
        }
    }
}

/// Writes a body, compressed.
///
/// # Errors
/// Only if the compressor cannot get its memory.
pub fn write(head: &Head, changes: impl IntoIterator<Item = Change>) -> io::Result<Vec<u8>> {
    let mut out = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?;
    out.include_checksum(true)?;
    write_lines(&mut out, head, changes)?;
    out.finish()
}

fn write_lines(
    out: &mut impl Write,
    head: &Head,
    changes: impl IntoIterator<Item = Change>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, head)?;
    for change in changes {
        out.write_all(b"\n")?;
        let line = WrittenLine {
            op: if change.attributes().is_some() { Op::Present } else { Op::Absent },
            prefix: change.prefix(),
            attributes: change.attributes().map(AsRef::as_ref),
        };
        serde_json::to_writer(&mut *out, &line)?;
    }
    out.write_all(b"\n")
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Op {
    #[serde(rename = "+")]
    Present,
    #[serde(rename = "-")]
    Absent,
}

#[derive(Serialize)]
struct WrittenLine<'a> {
    op: Op,
    prefix: IpNet,
    #[serde(flatten)]
    attributes: Option<&'a RouteAttributes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine<'a> {
    op: Op,
    #[serde(borrow)]
    prefix: Cow<'a, str>,
    source: Option<Source>,
    path_len: Option<u32>,
    med: Option<u32>,
    neighbor_asn: Option<u32>,
    communities: Option<Vec<String>>,
}

/// A body as it is read, line by line.
struct Lines<'l, R> {
    input: io::Take<R>,
    limits: &'l BodyLimits,
    line: Vec<u8>,
    number: u64,
    before: Option<IpNet>,
    // Equal attributes are kept once, from the start.
    shared: HashSet<Arc<RouteAttributes>>,
}

impl<'l, R: BufRead> Lines<'l, R> {
    fn new(input: R, limits: &'l BodyLimits) -> Self {
        Self {
            // One byte more than allowed, so that the limit is told from the end.
            input: input.take(limits.decompressed_bytes.saturating_add(1)),
            limits,
            line: Vec::new(),
            number: 0,
            before: None,
            shared: HashSet::new(),
        }
    }

    fn body(mut self) -> Result<Body, BodyError> {
        let result = self.head_and_routes();
        result.map_err(|problem| BodyError { line: self.number, problem })
    }

    fn head_and_routes(&mut self) -> Result<Body, BodyProblem> {
        let head = self.head()?;
        let position = head.position();
        match head {
            Head::Snapshot { routes: promised, .. } => {
                let mut routes = Vec::new();
                while let Some(change) = self.change()? {
                    let Change::Present(record) = change else {
                        return Err(BodyProblem::AbsentInSnapshot);
                    };
                    self.room_for_one_more(routes.len())?;
                    routes.push(record);
                }
                self.number = 0;
                match routes.len() {
                    0 if promised > 0 => Ok(Body::Claim { position }),
                    found if u64::try_from(found) == Ok(promised) => {
                        Ok(Body::Snapshot { position, routes })
                    }
                    found => Err(BodyProblem::Count { promised, found }),
                }
            }
            Head::Delta { from, .. } => {
                let mut changes = Vec::new();
                while let Some(change) = self.change()? {
                    self.room_for_one_more(changes.len())?;
                    changes.push(change);
                }
                Ok(Body::Delta { from, position, changes })
            }
        }
    }

    fn head(&mut self) -> Result<Head, BodyProblem> {
        if !self.next_line()? {
            return Err(BodyProblem::NoHead);
        }
        let head: Head = serde_json::from_slice(&self.line).map_err(BodyProblem::Syntax)?;
        if head.version() != VERSION {
            return Err(BodyProblem::Version(head.version()));
        }
        let (from, to) = match head {
            Head::Snapshot { serial, .. } => (0, serial),
            Head::Delta { from, to, .. } => (from, to),
        };
        if from >= to || to > MAX_SERIAL {
            return Err(BodyProblem::Serials { from, to });
        }
        Ok(head)
    }

    /// The change that the next line holds; none at the end.
    fn change(&mut self) -> Result<Option<Change>, BodyProblem> {
        if !self.next_line()? {
            return Ok(None);
        }
        let line: ReadLine<'_> = serde_json::from_slice(&self.line).map_err(BodyProblem::Syntax)?;
        let prefix = check_prefix(&line.prefix)?;
        if let Some(before) = self.before.replace(prefix)
            && before >= prefix
        {
            return Err(BodyProblem::Order { before, found: prefix });
        }
        match line.op {
            Op::Present => {
                let attributes = RouteAttributes {
                    source: line.source.ok_or(BodyProblem::Missing("source"))?,
                    path_len: line.path_len.ok_or(BodyProblem::Missing("path_len"))?,
                    med: line.med,
                    neighbor_asn: line.neighbor_asn,
                    communities: line.communities.unwrap_or_default(),
                };
                let attributes = match self.shared.get(&attributes) {
                    Some(shared) => Arc::clone(shared),
                    None => {
                        let new = Arc::new(attributes);
                        self.shared.insert(Arc::clone(&new));
                        new
                    }
                };
                Ok(Some(Change::Present(RouteRecord { prefix, attributes })))
            }
            Op::Absent
                if line.source.is_some()
                    || line.path_len.is_some()
                    || line.med.is_some()
                    || line.neighbor_asn.is_some()
                    || line.communities.is_some() =>
            {
                Err(BodyProblem::AttributesOfAbsent)
            }
            Op::Absent => Ok(Some(Change::Absent(prefix))),
        }
    }

    fn room_for_one_more(&self, routes: usize) -> Result<(), BodyProblem> {
        if routes < self.limits.routes {
            Ok(())
        } else {
            Err(BodyProblem::TooManyRoutes(self.limits.routes))
        }
    }

    /// Reads a line into `self.line`, without its end. `false`: there is none.
    fn next_line(&mut self) -> Result<bool, BodyProblem> {
        self.number += 1;
        self.line.clear();
        let limit = self.limits.line_bytes;
        let read = (&mut self.input)
            .take(limit.saturating_add(1))
            .read_until(b'\n', &mut self.line)
            .map_err(BodyProblem::Compression)?;
        if self.input.limit() == 0 {
            return Err(BodyProblem::BodyTooLong(self.limits.decompressed_bytes));
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if u64::try_from(read).unwrap_or(u64::MAX) > limit {
            return Err(BodyProblem::LineTooLong(limit));
        }
        Ok(read > 0)
    }
}

fn check_prefix(text: &str) -> Result<IpNet, BodyProblem> {
    let prefix: IpNet = text.parse().map_err(|_| BodyProblem::Prefix(text.to_owned()))?;
    if prefix != prefix.trunc() {
        return Err(BodyProblem::HostBits { found: prefix });
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests;
