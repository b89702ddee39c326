//! The store as a whole, on real files. What the parts promise by themselves is tested beside them.

mod away;
mod classes;
mod contents;
mod crash;
mod failing;
mod hanging;
mod joining;
mod keeping;
mod moving;
mod opening;
mod power;
mod scrubbing;

use std::fs;
use std::path::Path;

use http::HeaderValue;
use mcc_config::ByteSize;
use tempfile::TempDir;

use super::key::mix;
use super::*;

/// Slots of a test drive: small enough to fill, large enough to have all queues.
const SLOTS: u32 = 32;

/// A folder for a drive, gone at the end of the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self, slots: u32) -> mcc_config::Drive {
        drive(self.path(), slots)
    }

    /// Copies all files as they are at this moment: what a crash would leave.
    fn snapshot(&self) -> Self {
        let copy = Self::new();
        for file in fs::read_dir(self.path()).unwrap() {
            let file = file.unwrap();
            // The keeper may be replacing a file just now.
            if let Ok(bytes) = fs::read(file.path()) {
                fs::write(copy.path().join(file.file_name()), bytes).unwrap();
            }
        }
        copy
    }

    /// Inverts the byte at `at` of a file.
    fn flip(&self, part: Part, at: usize) {
        let path = self.path().join(part.file_name());
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] = !bytes[at];
        fs::write(&path, bytes).unwrap();
        // As a drive does it: it is seen only when the bytes are read from there.
        let file = fs::File::open(&path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

fn drive(path: &Path, slots: u32) -> mcc_config::Drive {
    let size = ByteSize::new(u64::from(slots) * u64::from(BLOCK));
    mcc_config::Drive { path: path.to_owned(), size, allow_root: false }
}

/// No checkpoint but those asked for or needed.
fn options() -> StoreOptions {
    StoreOptions {
        checkpoint_interval: Duration::from_secs(3600),
        scrub_rate: 0,
        ..StoreOptions::default()
    }
}

/// A store whose drives have joined, or have failed to.
fn opened(drives: &[mcc_config::Drive], options: &StoreOptions) -> Store {
    let store = Store::open(drives, options);
    assert!(store.wait_for_drives(Duration::from_secs(60)));
    store
}

fn open(folder: &Folder) -> Store {
    opened(&[folder.config(SLOTS)], &options())
}

fn key(path: &str) -> ObjectKey {
    ObjectKey::new(&"dl.example".parse().unwrap(), path, None)
}

fn meta(version: u32, length: u64) -> ObjectMeta {
    ObjectMeta {
        length,
        etag: Some(HeaderValue::from_str(&format!("\"v{version}\"")).unwrap()),
        last_modified: None,
        headers: vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
        stored_at: 1000 + u64::from(version),
        fresh_until: 2000,
    }
}

fn blocks(count: u32) -> u64 {
    u64::from(count) * u64::from(BLOCK)
}

/// The bytes of a block: different for each key, version and index.
fn content(object: &Object, index: u32) -> Vec<u8> {
    let meta = object.meta();
    let version = crc32c::crc32c(meta.etag.as_ref().unwrap().as_bytes());
    let seed = object.key().stable_hash() as u64 ^ u64::from(version) << 32 ^ u64::from(index);
    let length = object.block_length(index).unwrap() as usize;
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    let mut word = mix(seed);
    while bytes.len() < length {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Hands in a block in pieces, as they come from the network.
fn write(store: &Store, object: &Arc<Object>, index: u32) -> Result<(), NotStored> {
    let bytes = Bytes::from(content(object, index));
    let pieces = bytes.chunks(100_000).map(|piece| bytes.slice_ref(piece)).collect();
    store.write(object, index, pieces)
}

fn write_all(store: &Store, object: &Arc<Object>) {
    for index in 0..object.blocks() {
        write(store, object, index).unwrap();
    }
    store.flush();
}

async fn read(block: &PinnedBlock) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    for start in (0..block.len()).step_by(READ_WINDOW as usize) {
        let end = block.len().min(start + READ_WINDOW);
        bytes.extend_from_slice(&block.read(start..end).await?);
    }
    Ok(bytes)
}

/// Reads every block of every object; each must be what was stored, or fail with an error. Returns
/// how many were right.
async fn check_all(store: &Store) -> usize {
    let mut right = 0;
    for summary in store.list(&ListQuery { limit: usize::MAX, ..ListQuery::default() }).objects {
        let path = summary.url.strip_prefix("dl.example").unwrap().to_owned();
        let Some(object) = store.object(&key(&path)) else { continue };
        for index in 0..object.blocks() {
            let Some(block) = store.block(&object, index) else { continue };
            if let Ok(bytes) = read(&block).await {
                assert!(bytes == content(&object, index), "{object:?} block {index}");
                right += 1;
            }
        }
    }
    right
}

fn only_drive(store: &Store) -> DriveStatus {
    store.status().drives.remove(0)
}

fn offline(store: &Store, drive: usize) -> Option<Offline> {
    match store.status().drives[drive].state.clone() {
        DriveState::Up | DriveState::Opening(_) => None,
        DriveState::Offline(offline) => Some(offline),
    }
}
