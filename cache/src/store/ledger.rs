//! What the node remembers about its drives beside them, in `store.json` in its data directory: which
//! drive was in which folder, which of them was given up, what was purged while a drive was away,
//! and what operators have pinned. A drive that is read-only or gone cannot say any of that itself.
//!
//! Without the file nothing is lost but that; a damaged one is put aside.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::key::ObjectKey;
use super::status::{Offline, Selector};

/// Numbers of generations that one run can give out: the next one begins behind them, whatever the
/// clock says.
const NUMBERS: u64 = 1 << 32;
/// Purges remembered one by one for drives that are away. With one more, such a drive comes back empty.
const MOST_PURGES: usize = 1000;

/// The file.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: Option<PathBuf>,
    boot: String,
    book: Mutex<Book>,
}

/// Its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Book {
    /// Where the numbers of generations begin at the next start.
    next_number: u64,
    drives: Vec<KnownDrive>,
    purges: Vec<MissedPurge>,
    /// Pinned objects: `host/path?query`.
    pins: Vec<ObjectKey>,
}

/// A drive that was there once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownDrive {
    pub(super) path: PathBuf,
    #[serde(with = "hex")]
    pub(super) uuid: u128,
    /// Where its file system was mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mount: Option<PathBuf>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given_up: Option<GivenUp>,
    /// How far it has been scrubbed.
    #[serde(default)]
    pub(super) scrub: ScrubMark,
}

/// Why a drive was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GivenUp {
    pub(super) reason: String,
    /// Seconds since 1970.
    pub(super) since: u64,
    /// The boot of the machine in which it was: after the next one it gets another chance.
    pub(super) boot: String,
}

/// How far a drive has been scrubbed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScrubMark {
    /// The slot to look at next.
    pub(super) slot: u32,
    /// When the last full pass ended: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_pass: Option<u64>,
}

/// A purge that drives which were away have not learned of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MissedPurge {
    what: Selector,
    /// Generations with lower numbers are meant.
    below: u64,
    drives: Vec<String>,
}

impl Ledger {
    /// Opens the file in `folder`; without a folder nothing outlives the process.
    pub(super) fn open(folder: Option<&Path>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let book = folder.and_then(read).unwrap_or_default();
        Self {
            folder: folder.map(Path::to_owned),
            boot: boot.trim().to_owned(),
            book: Mutex::new(book),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book, and the file if that makes a difference. Returns once it is on the drive.
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book();
        let before = book.clone();
        let result = change(&mut book);
        if *book != before
            && let Some(folder) = &self.folder
            && let Err(error) = write(folder, &book)
        {
            let file = file(folder);
            tracing::error!(file = %file.display(), %error, "not written: forgotten at a restart");
        }
        result
    }

    /// Where the numbers of this run's generations begin: behind those of all earlier runs, even when the
    /// clock was set back and the drive that has the highest is missing.
    pub(super) fn first_number(&self, clock: u64) -> u64 {
        self.change(|book| {
            let first = book.next_number.max(clock);
            book.next_number = first.saturating_add(NUMBERS);
            first
        })
    }

    /// What is known of the drive that was in `path` last.
    pub(super) fn drive(&self, path: &Path) -> Option<KnownDrive> {
        self.book().drives.iter().find(|drive| drive.path == path).cloned()
    }

    /// Why the drive `uuid` in `path` is not to be used: it was given up since the machine was booted.
    pub(super) fn given_up(&self, path: &Path, uuid: Option<u128>) -> Option<GivenUp> {
        let known = self.drive(path).filter(|known| Some(known.uuid) == uuid)?;
        known.given_up.filter(|given_up| given_up.boot == self.boot)
    }

    /// The drive `uuid` is in `path`, and well.
    pub(super) fn opened(&self, path: &Path, uuid: u128, mount: Option<&Path>) {
        self.change(|book| {
            let scrub = book
                .drives
                .iter()
                .find(|drive| drive.uuid == uuid)
                .map_or_else(ScrubMark::default, |drive| drive.scrub);
            book.drives.retain(|drive| drive.path != path && drive.uuid != uuid);
            let mount = mount.map(Path::to_owned);
            let path = path.to_owned();
            book.drives.push(KnownDrive { path, uuid, mount, given_up: None, scrub });
        });
    }

    /// The drive in `path` has failed.
    pub(super) fn give_up(&self, path: &Path, offline: &Offline) {
        let given_up = GivenUp {
            reason: offline.reason.clone(),
            since: offline.since,
            boot: self.boot.clone(),
        };
        self.change(|book| {
            if let Some(drive) = book.drives.iter_mut().find(|drive| drive.path == path) {
                drive.given_up = Some(given_up);
            }
        });
    }

    /// An operator says that the drive in `path` is well.
    pub(super) fn pardon(&self, path: &Path) {
        self.change(|book| {
            if let Some(drive) = book.drives.iter_mut().find(|drive| drive.path == path) {
                drive.given_up = None;
            }
        });
    }

    /// The drive has been scrubbed so far.
    pub(super) fn scrubbed(&self, uuid: u128, mark: ScrubMark) {
        self.change(|book| {
            if let Some(drive) = book.drives.iter_mut().find(|drive| drive.uuid == uuid) {
                drive.scrub = mark;
            }
        });
    }

    /// Generations numbered lower than `below` were purged. Drives that are not `up` learn of it when they
    /// come back.
    pub(super) fn purged(&self, what: &Selector, below: u64, up: &[u128]) {
        self.change(|book| {
            let away = book.drives.iter().filter(|drive| !up.contains(&drive.uuid));
            let drives: Vec<String> = away.map(|drive| hex::text(drive.uuid)).collect();
            if drives.is_empty() {
                return;
            }
            book.purges.push(MissedPurge { what: what.clone(), below, drives });
            if book.purges.len() > MOST_PURGES {
                let mut drives: Vec<String> =
                    book.purges.drain(..).flat_map(|purge| purge.drives).collect();
                drives.sort_unstable();
                drives.dedup();
                book.purges.push(MissedPurge { what: Selector::All, below, drives });
            }
        });
    }

    /// What the drive `uuid` has not learned of.
    pub(super) fn missed(&self, uuid: u128) -> Missed {
        let name = hex::text(uuid);
        let book = self.book();
        let purges = book.purges.iter().filter(|purge| purge.drives.contains(&name));
        Missed(purges.map(|purge| (purge.what.clone(), purge.below)).collect())
    }

    /// The drives of these uuids have forgotten what they had missed, for good.
    pub(super) fn caught_up(&self, drives: &[u128]) {
        let names: Vec<String> = drives.iter().map(|uuid| hex::text(*uuid)).collect();
        self.change(|book| {
            for purge in &mut book.purges {
                purge.drives.retain(|name| !names.contains(name));
            }
            book.purges.retain(|purge| !purge.drives.is_empty());
        });
    }

    /// Pinned objects, in order.
    pub(super) fn pins(&self) -> Vec<ObjectKey> {
        self.book().pins.clone()
    }

    /// Adds a pin, if it is not there.
    pub(super) fn pin(&self, key: &ObjectKey) {
        self.change(|book| {
            if let Err(place) = book.pins.binary_search(key) {
                book.pins.insert(place, key.clone());
            }
        });
    }

    /// Takes a pin away; false when there is none.
    pub(super) fn unpin(&self, key: &ObjectKey) -> bool {
        self.change(|book| {
            let place = book.pins.binary_search(key);
            place.map(|place| book.pins.remove(place)).is_ok()
        })
    }
}

/// What was purged while a drive was away.
#[derive(Debug, Default)]
pub(super) struct Missed(Vec<(Selector, u64)>);

impl Missed {
    /// Whether this generation was purged.
    pub(super) fn has(&self, key: &ObjectKey, number: u64) -> bool {
        self.0.iter().any(|(what, below)| number < *below && what.matches(key))
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("store.json")
}

fn read(folder: &Path) -> Option<Book> {
    let path = file(folder);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "what was known of the drives is lost");
            return None;
        }
    };
    match serde_json::from_slice::<Book>(&bytes) {
        Ok(mut book) => {
            book.pins.sort_unstable();
            book.pins.dedup();
            Some(book)
        }
        Err(error) => {
            let aside = path.with_extension("json.damaged");
            let kept = fs::rename(&path, &aside).is_ok();
            let file = path.display();
            tracing::error!(%file, %error, kept, "what was known of the drives cannot be read");
            None
        }
    }
}

/// Replaces the file: after a crash there is the old one or the new one.
fn write(folder: &Path, book: &Book) -> io::Result<()> {
    let path = file(folder);
    let new = path.with_extension("json.new");
    fs::create_dir_all(folder)?;
    let mut out = File::create(&new)?;
    out.write_all(&serde_json::to_vec_pretty(book)?)?;
    out.sync_data()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}

/// A uuid as 32 hexadecimal digits.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn text(uuid: u128) -> String {
        format!("{uuid:032x}")
    }

    pub(super) fn serialize<S: Serializer>(uuid: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(*uuid))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn key(path: &str) -> ObjectKey {
        ObjectKey::new(&"dl.example".parse().unwrap(), path, None)
    }

    fn offline(reason: &str) -> Offline {
        Offline { reason: reason.to_owned(), action: String::new(), since: 5 }
    }

    #[test]
    fn it_outlives_the_process() {
        let folder = TempDir::new().unwrap();
        let path = Path::new("/cache/1");
        {
            let ledger = Ledger::open(Some(folder.path()));
            assert_eq!(ledger.first_number(100), 100);
            ledger.opened(path, 7, Some(path));
            ledger.give_up(path, &offline("5 errors"));
            ledger.scrubbed(7, ScrubMark { slot: 9, last_pass: Some(3) });
            ledger.pin(&key("/b"));
            ledger.pin(&key("/a"));
            ledger.pin(&key("/a"));
        }
        let ledger = Ledger::open(Some(folder.path()));
        let known = ledger.drive(path).unwrap();
        assert_eq!((known.uuid, known.mount.as_deref()), (7, Some(path)));
        assert_eq!(known.scrub, ScrubMark { slot: 9, last_pass: Some(3) });
        assert_eq!(ledger.given_up(path, Some(7)).unwrap().reason, "5 errors");
        assert_eq!(ledger.given_up(path, Some(8)), None, "another drive");
        assert_eq!(ledger.given_up(path, None), None, "an empty folder");
        assert_eq!(ledger.pins(), [key("/a"), key("/b")]);
        assert!(ledger.unpin(&key("/a")) && !ledger.unpin(&key("/a")));
        // The clock has been set back.
        assert!(ledger.first_number(50) >= 100 + NUMBERS);

        let mut rebooted = Ledger::open(Some(folder.path()));
        rebooted.boot = "another".to_owned();
        assert_eq!(rebooted.given_up(path, Some(7)), None);
        ledger.pardon(path);
        assert_eq!(ledger.given_up(path, Some(7)), None);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = TempDir::new().unwrap();
        fs::write(file(folder.path()), "{ not json").unwrap();
        let ledger = Ledger::open(Some(folder.path()));
        assert_eq!(ledger.pins(), []);
        assert!(folder.path().join("store.json.damaged").exists());
        ledger.pin(&key("/a"));
        assert_eq!(Ledger::open(Some(folder.path())).pins(), [key("/a")]);
    }

    #[test]
    fn a_drive_that_is_away_learns_what_was_purged() {
        let ledger = Ledger::open(None);
        for (path, uuid) in [("/1", 1), ("/2", 2)] {
            ledger.opened(Path::new(path), uuid, None);
        }
        ledger.purged(&Selector::Url(key("/a")), 10, &[1]);
        ledger.purged(&Selector::All, 10, &[1, 2]);
        let missed = ledger.missed(2);
        assert!(missed.has(&key("/a"), 9));
        assert!(!missed.has(&key("/a"), 10) && !missed.has(&key("/b"), 9));
        assert!(!ledger.missed(1).has(&key("/a"), 9));
        ledger.caught_up(&[2]);
        assert!(!ledger.missed(2).has(&key("/a"), 9));
        for _ in 0..=MOST_PURGES {
            ledger.purged(&Selector::Url(key("/c")), 20, &[1]);
        }
        assert!(ledger.missed(2).has(&key("/anything"), 19), "too many to remember");
    }
}
