//! What the two ends of a feed say to each other.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::digest::Digest;

/// The version of the protocol, in the head of each body.
pub const VERSION: u32 = 1;

/// The media type of a body, whatever its content encoding.
pub const MEDIA_TYPE: &str = "application/x-ndjson";

/// One life of a node's table: a UUID (version 7) made when the node starts.
///
/// Serials are comparable within a session only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(Uuid);

impl SessionId {
    /// A session of this name. Callers make it with `Uuid::now_v7()`.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A string that is no session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no session: a UUID such as 0190b8a3-6b5e-7000-8000-000000000001")]
pub struct SessionIdError(String);

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(s: &str) -> Result<Self, SessionIdError> {
        Uuid::try_parse(s).map(Self).map_err(|_| SessionIdError(s.to_owned()))
    }
}

impl TryFrom<String> for SessionId {
    type Error = SessionIdError;

    fn try_from(s: String) -> Result<Self, SessionIdError> {
        s.parse()
    }
}

impl From<SessionId> for String {
    fn from(session: SessionId) -> Self {
        session.to_string()
    }
}

/// Which table an end holds: the answer to each message, and part of each heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whose serials these are.
    pub session: SessionId,
    /// Grows with each set of changes, from 1.
    pub serial: u64,
    /// Fingerprint of the table at that serial.
    pub digest: Digest,
}

/// The first line of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Head {
    /// The whole table follows; or nothing, to ask whether the other end still has it.
    Snapshot {
        /// [`VERSION`].
        version: u32,
        /// Whose serial it is.
        session: SessionId,
        /// The serial of this table.
        serial: u64,
        /// Its fingerprint.
        digest: Digest,
        /// How many routes it has, whether they follow or not.
        routes: u64,
    },
    /// What every prefix that changed after `from` is at `to` follows.
    Delta {
        /// [`VERSION`].
        version: u32,
        /// Whose serials they are.
        session: SessionId,
        /// The receiver must be at this serial or later.
        from: u64,
        /// The serial that the receiver is at afterwards.
        to: u64,
        /// Fingerprint of the whole table at `to`.
        digest: Digest,
    },
}

impl Head {
    /// Where the receiver is once the body is applied.
    #[must_use]
    pub fn position(&self) -> Position {
        match *self {
            Self::Snapshot { session, serial, digest, .. } => Position { session, serial, digest },
            Self::Delta { session, to, digest, .. } => Position { session, serial: to, digest },
        }
    }

    /// The protocol version that the sender speaks.
    #[must_use]
    pub fn version(&self) -> u32 {
        match *self {
            Self::Snapshot { version, .. } | Self::Delta { version, .. } => version,
        }
    }
}

/// What the control plane says to a body that it has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200: it holds this table, on disk. Not always the one sent: a message that comes late is
    /// answered with what has been reached since.
    Ok(Position),
    /// 409: the body does not fit what it holds, which is this, or nothing that could be built on.
    Resync(Option<Position>),
    /// 400, or 413 if `too_large`: the body is not what it should be, and nothing was applied.
    Invalid {
        /// Counted from 1, which is the head; 0 if the body as a whole is wrong.
        line: u64,
        /// What is wrong and what would be right.
        reason: String,
        /// A limit was passed.
        too_large: bool,
    },
}

/// Why a message got no [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection, no complete response, or one that makes no sense.
    Unreachable(String),
    /// 429, 503 or another 5xx, with the time of `Retry-After` if there was one.
    Busy {
        /// Not before this time has passed.
        retry_after: Option<Duration>,
    },
    /// 401, 403 or 410: no retry can help.
    Refused(Refusal),
}

/// Why a node stops advertising until a person has done something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// 401
    #[error("the control plane does not know the token: enrol this node again (mcc enrol)")]
    Unauthorized,
    /// 403
    #[error("the token is not this node's: check control.token_file")]
    Forbidden,
    /// 410
    #[error("the node was deleted in the control plane: create it again and enrol")]
    Gone,
}
