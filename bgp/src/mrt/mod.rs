//! MRT (RFC 6396, RFC 8050): what a BGP speaker learned or heard, in the form that routing tools
//! read: `bgpdump`, `mrtparse`, RouteViews, RIPE RIS.
//!
//! A file is a row of [`Record`]s. Two kinds matter here: TABLE_DUMP_V2, a whole table ([`table`]),
//! and BGP4MP, messages and state changes as they happened ([`session`]). [`Reader`] takes them
//! from any `Read`, one at a time; [`Record::encode`] makes them. Both are pure: no files, no clock.
//! [`TableDump`] makes a file of a table, and [`Replay`] judges one by the accept rules.
//! [`Recorder`] is the tokio edge, which writes files while a node runs.
//!
//! Records of other types, of other families and the geographic peer table of RFC 6397 are
//! [`Body::Other`]: stepped over, never an error.

mod dump;
mod error;
mod part;
mod reader;
mod recorder;
mod replay;
pub mod session;
pub mod table;
#[cfg(test)]
mod tests;

pub use dump::{TableDump, TableDumpStream};
pub use error::{Compression, ReadError};
pub use reader::Reader;
pub use recorder::{Recorder, RecorderSettings, RecorderStatus};
pub use replay::{
    MalformedUpdate, Replay, ReplayError, ReplayReport, ReplaySettings, ReplayedPeer, SkippedPeer,
    WithoutLimit,
};

use session::{SessionMessage, StateChange};
use table::{PeerIndexTable, RibPrefix};

/// Bytes of a record before its body: time, type, subtype, length (RFC 6396 §2).
pub const HEADER: usize = 12;
/// The longest body that is read. The longest that makes sense, a peer table of 65,535 peers, has
/// 1.7 MB.
pub const MAX_BODY: u32 = 16 << 20;

/// Record types (RFC 6396 §4): the name in the RFC, the number at IANA.
mod kind {
    pub(super) const TABLE_DUMP_V2: u16 = 13;
    pub(super) const BGP4MP: u16 = 16;
    pub(super) const BGP4MP_ET: u16 = 17;
}

/// When something happened: seconds since 1970, and microseconds where the record has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC; the field ends in the year 2106.
    pub seconds: u32,
    /// Microseconds after that, under a million; only BGP4MP_ET has them (RFC 6396 §3).
    pub micros: Option<u32>,
}

impl Time {
    /// `at` to the second.
    #[must_use]
    pub fn seconds_of(at: jiff::Timestamp) -> Self {
        // Before 1970 and after 2106 no clock of a node is.
        Self { seconds: u32::try_from(at.as_second()).unwrap_or(0), micros: None }
    }

    /// `at` to the microsecond.
    #[must_use]
    pub fn micros_of(at: jiff::Timestamp) -> Self {
        let micros = u32::try_from(at.subsec_microsecond()).unwrap_or(0);
        Self { micros: Some(micros), ..Self::seconds_of(at) }
    }
}

impl From<Time> for jiff::Timestamp {
    fn from(time: Time) -> Self {
        let nanos = time.micros.unwrap_or(0).min(999_999) * 1000;
        let nanos = i32::try_from(nanos).unwrap_or(0);
        Self::new(i64::from(time.seconds), nanos).unwrap_or_default()
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was recorded.
    pub time: Time,
    /// What it says.
    pub body: Body<'a>,
}

/// What a record says. Bytes of messages and attributes are those of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// The peers that the table records after it count by (RFC 6396 §4.3.1).
    PeerIndexTable(PeerIndexTable),
    /// One prefix of a table, with what each peer said of it (RFC 6396 §4.3.2, RFC 8050 §4).
    Rib(RibPrefix<'a>),
    /// A BGP message (RFC 6396 §4.4.2, §4.4.3, RFC 8050 §3).
    Message(SessionMessage<'a>),
    /// A session changed its state (RFC 6396 §4.4.1, §4.4.4).
    StateChange(StateChange),
    /// Something else.
    Other {
        /// MRT type.
        kind: u16,
        /// Its subtype.
        subtype: u16,
    },
}

/// Why a body cannot be read, and what of it was left.
type Malformed<'a> = (&'static str, &'a [u8]);

impl<'a> Record<'a> {
    fn decode(
        seconds: u32,
        kind: u16,
        subtype: u16,
        bytes: &'a [u8],
    ) -> Result<Self, Malformed<'a>> {
        let mut time = Time { seconds, micros: None };
        let mut rest = bytes;
        if kind == kind::BGP4MP_ET {
            let Some((micros, after)) = bytes.split_first_chunk() else {
                return Err(("the microseconds are missing (RFC 6396 §3)", bytes));
            };
            time.micros = Some(u32::from_be_bytes(*micros));
            rest = after;
        }
        let body = match kind {
            kind::TABLE_DUMP_V2 => table::decode(subtype, rest)?,
            kind::BGP4MP | kind::BGP4MP_ET => session::decode(subtype, rest)?,
            _ => None,
        };
        Ok(Self { time, body: body.unwrap_or(Body::Other { kind, subtype }) })
    }

    /// Appends the whole record, header included. A message or state change with microseconds
    /// becomes BGP4MP_ET. [`Body::Other`] has no bytes, and appends nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let micros = match self.body {
            Body::Message(_) | Body::StateChange(_) => self.time.micros,
            Body::PeerIndexTable(_) | Body::Rib(_) | Body::Other { .. } => None,
        };
        let bgp4mp = if micros.is_some() { kind::BGP4MP_ET } else { kind::BGP4MP };
        let (kind, subtype) = match &self.body {
            Body::PeerIndexTable(_) => (kind::TABLE_DUMP_V2, table::PEER_INDEX_TABLE),
            Body::Rib(rib) => (kind::TABLE_DUMP_V2, rib.subtype()),
            Body::Message(message) => (bgp4mp, message.subtype()),
            Body::StateChange(change) => (bgp4mp, change.subtype()),
            Body::Other { .. } => return,
        };
        out.extend(self.time.seconds.to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend(subtype.to_be_bytes());
        let length_at = out.len();
        out.extend([0; 4]);
        out.extend(micros.into_iter().flat_map(u32::to_be_bytes));
        match &self.body {
            Body::PeerIndexTable(peers) => peers.encode(out),
            Body::Rib(rib) => rib.encode(out),
            Body::Message(message) => message.encode(out),
            Body::StateChange(change) => change.encode(out),
            Body::Other { .. } => {}
        }
        let length = u32::try_from(out.len() - begin - HEADER).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(length_at..length_at + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}
