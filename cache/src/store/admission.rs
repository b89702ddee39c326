//! Whether a drive is to be used at all, before anything is written to its folder: it must be where it
//! belongs, and not have been given up.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::drive::advice;
use super::ledger::{GivenUp, Ledger, ScrubMark};
use super::mounts::{Known, Missing, Mounts};
use super::status::Offline;

/// What the system and earlier starts say, at one instant.
#[derive(Debug)]
pub(super) struct Admission {
    mounts: Mounts,
    ledger: Arc<Ledger>,
    /// The folders of all drives.
    folders: Vec<PathBuf>,
}

/// Why a drive is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    NoMount(Missing),
    GivenUp(GivenUp),
}

impl Admission {
    /// Looks around for the drives in `folders`.
    pub(super) fn new(ledger: &Arc<Ledger>, folders: &[PathBuf]) -> Self {
        // One that does not exist is on no file system.
        let folders = folders.iter().map(|folder| real(folder)).filter(|folder| folder.exists());
        let folders = folders.collect();
        Self { mounts: Mounts::of_system(), ledger: Arc::clone(ledger), folders }
    }

    /// Whether the drive in `folder`, whose uuid is this or which is none yet, may be used. Returns what an
    /// operator should know about it.
    pub(super) fn admit(
        &self,
        folder: &Path,
        uuid: Option<u128>,
        allow_root: bool,
    ) -> Result<Vec<String>, Refused> {
        let known = self.ledger.drive(folder);
        let before = known.as_ref().map_or_else(Known::default, |known| Known {
            mount: known.mount.as_deref(),
            uuid: Some(known.uuid),
        });
        let place = real(folder);
        if !allow_root {
            self.mounts.check(&place, uuid, before).map_err(Refused::NoMount)?;
        }
        if let Some(given_up) = self.ledger.given_up(folder, uuid) {
            return Err(Refused::GivenUp(given_up));
        }
        Ok(self.notes(&place))
    }

    fn notes(&self, place: &Path) -> Vec<String> {
        let Some(mount) = self.mounts.of(place) else { return Vec::new() };
        let beside = self.folders.iter().find(|other| {
            *other != place && self.mounts.of(other).is_some_and(|m| m.device == mount.device)
        });
        let shared = beside.map(|other| {
            format!(
                "`{}` is on the same file system: they share its speed, and fail together; give \
                 each drive its own",
                other.display()
            )
        });
        mount.note().into_iter().chain(shared).collect()
    }

    /// How far the drive `uuid` in `folder` has been scrubbed.
    pub(super) fn scrub_mark(&self, folder: &Path, uuid: u128) -> ScrubMark {
        let known = self.ledger.drive(folder).filter(|known| known.uuid == uuid);
        known.map_or_else(ScrubMark::default, |known| known.scrub)
    }

    /// The drive `uuid` in `folder` is in use from now on.
    pub(super) fn opened(&self, folder: &Path, uuid: u128) {
        let mount = self.mounts.of(&real(folder)).map(|mount| mount.point.as_path());
        self.ledger.opened(folder, uuid, mount);
    }
}

/// The folder itself, where links led to it.
fn real(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

impl Refused {
    /// The words for an operator.
    pub(super) fn offline(&self, folder: &Path) -> Offline {
        match self {
            Self::NoMount(missing) => Offline::new(
                format!(
                    "nothing is mounted at `{}` ({}): the folder is on the file system at `{}`",
                    missing.point.display(),
                    missing.evidence,
                    missing.instead.display()
                ),
                format!(
                    "mount it, then `mcc cache online {}`; if a plain folder is meant now, set \
                     `allow_root = true` in its `[[drive]]` and restart the node",
                    folder.display()
                ),
            ),
            Self::GivenUp(given_up) => Offline {
                since: given_up.since,
                ..Offline::new(given_up.reason.clone(), advice(folder))
            },
        }
    }
}
