//! What the store tells operators: per drive, and object by object.

use std::path::PathBuf;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::key::ObjectKey;
use super::object::Object;
use crate::time::unix_now;

/// The whole store at one instant.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStatus {
    /// One entry per `[[drive]]`, in the order of the configuration.
    pub drives: Vec<DriveStatus>,
    /// Objects known, those without a stored block included.
    pub objects: u64,
    /// Stored blocks on all drives that are up.
    pub blocks: u64,
    /// Bytes that the cache takes on all drives that are up.
    pub size: u64,
    /// Bytes of content in stored blocks on all drives that are up.
    pub used: u64,
}

/// One drive at one instant. Counters begin at zero when the node starts.
#[derive(Debug, Clone, Serialize)]
pub struct DriveStatus {
    /// The folder, as configured.
    pub path: PathBuf,
    /// Whether it takes part.
    #[serde(flatten)]
    pub state: DriveState,
    /// Something an operator should know although the drive is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Damage that was found on it, until a pass over the whole drive has found no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<DamageFound>,
    /// Bytes that the cache takes on it.
    pub size: u64,
    /// Bytes of content in its blocks.
    pub used: u64,
    /// Blocks stored.
    pub blocks: u64,
    /// Blocks among them that are kept because an operator has pinned their objects.
    pub pinned: u64,
    /// How far the scrubber is.
    pub scrub: ScrubStatus,
    /// What happened since the start.
    #[serde(flatten)]
    pub counts: DriveCounts,
}

/// Whether a drive takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum DriveState {
    /// It stores and serves.
    Up,
    /// What it holds is being read. It joins when that is done; until then the others do its work.
    Opening(Opening),
    /// It does neither, until an operator has done something about it.
    Offline(Offline),
}

/// How far the opening of a drive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// Records of the slot table read so far.
    pub read: u64,
    /// Records in all; 0 before that is known.
    pub records: u64,
}

/// Why a drive does not take part, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offline {
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub action: String,
    /// Since when: seconds since 1970.
    pub since: u64,
}

impl Offline {
    /// From now on.
    pub(super) fn new(reason: impl Into<String>, action: impl Into<String>) -> Self {
        Self { reason: reason.into(), action: action.into(), since: unix_now() }
    }
}

/// Damage that was found on a drive that is up, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamageFound {
    /// What it is.
    pub what: String,
    /// What to do.
    pub action: String,
    /// When the first of it was found: seconds since 1970.
    pub since: u64,
}

/// How far the scrubber of a drive is: it reads all blocks again and again, and compares each with its
/// checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ScrubStatus {
    /// How much of the drive this pass has been over, in percent.
    pub percent: u8,
    /// When the last pass over the whole drive ended: seconds since 1970.
    pub last_pass: Option<u64>,
    /// Blocks compared since the node started.
    pub checked: u64,
}

/// Counters of a drive since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DriveCounts {
    /// Blocks written.
    pub written: u64,
    /// Blocks evicted to make room.
    pub evicted: u64,
    /// Blocks that were not stored because the drive could not keep up.
    pub refused: u64,
    /// Operations that the drive failed.
    pub errors: u64,
    /// Operations that took longer than a second.
    pub slow: u64,
    /// Operations that did not come back: each has taken the drive offline.
    pub hung: u64,
    /// Blocks dropped because their checksum was wrong.
    pub corrupt: u64,
    /// Records dropped when it was opened: of content that was replaced or purged meanwhile, and those lost.
    pub records_dropped: u64,
    /// Records lost among them, and entries of the object log: damaged, or naming an object that is not known.
    pub records_lost: u64,
    /// Checkpoints completed.
    pub checkpoints: u64,
}

/// One object of a listing.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectSummary {
    /// Host, path and key query.
    pub url: String,
    /// Number of the generation.
    pub number: u64,
    /// Length of the whole content in bytes.
    pub length: u64,
    /// Bytes of it that lie on drives.
    pub stored: u64,
    /// The entity tag, if it is text.
    pub etag: Option<String>,
    /// `Last-Modified` as the origin sent it, if it is text.
    pub last_modified: Option<String>,
    /// When the origin last sent or confirmed it: seconds since 1970.
    pub stored_at: u64,
    /// Until when it is served without asking the origin: seconds since 1970.
    pub fresh_until: u64,
    /// The hour in which it was last asked for: seconds since 1970; `None`: not since the node started.
    pub asked_at: Option<u64>,
    /// Whether an operator wants it kept.
    pub pinned: bool,
}

impl From<&Object> for ObjectSummary {
    fn from(object: &Object) -> Self {
        let meta = object.meta();
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Self {
            url: object.key().to_string(),
            number: object.number(),
            length: object.length(),
            stored: object.stored_bytes(),
            etag: text(&meta.etag),
            last_modified: text(&meta.last_modified),
            stored_at: meta.stored_at,
            fresh_until: meta.fresh_until,
            asked_at: object.asked_at(),
            pinned: object.is_pinned(),
        }
    }
}

/// An object that an operator wants kept.
#[derive(Debug, Clone, Serialize)]
pub struct PinnedObject {
    /// Host, path and key query.
    pub url: String,
    /// What is known of it; `None` before it was first asked for.
    pub object: Option<ObjectSummary>,
}

/// What to purge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// One object.
    Url(ObjectKey),
    /// All objects of a canonical host.
    Origin(String),
    /// All objects of a canonical host whose path begins so.
    Prefix {
        /// The canonical host.
        host: String,
        /// The beginning of the path, with its first `/`.
        path: String,
    },
    /// Everything.
    All,
}

impl Selector {
    /// Whether `key` is meant.
    #[must_use]
    pub fn matches(&self, key: &ObjectKey) -> bool {
        match self {
            Self::Url(wanted) => key == wanted,
            Self::Origin(host) => key.host() == host,
            Self::Prefix { host, path } => key.host() == host && key.target().starts_with(path),
            Self::All => true,
        }
    }
}

/// What a purge removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Objects.
    pub objects: u64,
    /// Bytes of them that lay on drives.
    pub bytes: u64,
    /// Whether the drives have forgotten them for good: not even a crash brings them back.
    pub durable: bool,
}
