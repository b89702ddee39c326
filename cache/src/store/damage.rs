//! Damage that was found on a drive, for as long as nobody can say that there is no more of it: until a pass over the
//! whole drive has found none.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::status::DamageFound;
use crate::time::unix_now;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// What was missing or damaged when the drive was opened, in words.
    index: Vec<String>,
    /// Blocks that were not what had been stored.
    blocks: u64,
    /// When the first of all that was found: seconds since 1970.
    since: u64,
    /// How much was found in all, and how much of it before the pass that is under way began.
    all: u64,
    before_pass: Option<u64>,
}

impl DamageLog {
    fn found(&self, what: impl FnOnce(&mut Found)) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.blocks == 0 && found.index.is_empty() {
            found.since = unix_now();
        }
        found.all += 1;
        what(&mut found);
    }

    /// The index of the drive has lost something.
    pub(super) fn in_index(&self, words: String) {
        self.found(|found| found.index.push(words));
    }

    /// A block is not what was stored.
    pub(super) fn block(&self) {
        self.found(|found| found.blocks += 1);
    }

    /// A pass over the whole drive begins.
    pub(super) fn pass_begins(&self) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.before_pass = Some(found.all);
    }

    /// It has come to its end. If nothing was found, by it or by readers meanwhile, all is well again.
    pub(super) fn pass_ends(&self) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.before_pass.take() == Some(found.all) {
            *found = Found { all: found.all, ..Found::default() };
        }
    }

    /// What an operator should know of the drive in `path`.
    pub(super) fn status(&self, path: &Path) -> Option<DamageFound> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = match found.blocks {
            0 => None,
            1 => Some("1 block was not what had been stored in it, and was dropped".to_owned()),
            n => {
                Some(format!("{n} blocks were not what had been stored in them, and were dropped"))
            }
        };
        let what: Vec<String> = found.index.iter().cloned().chain(blocks).collect();
        (!what.is_empty()).then(|| DamageFound {
            what: what.join("; "),
            action: format!(
                "nothing wrong is sent, and what is missing is fetched anew; look at `dmesg` and the drive's SMART \
                 values, and have the rest compared: `mcc cache verify --drive {}`; this goes when that finds nothing",
                path.display()
            ),
            since: found.since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(log: &DamageLog) -> Option<String> {
        log.status(Path::new("/cache/1")).map(|found| found.what)
    }

    #[test]
    fn it_is_told_until_a_whole_pass_has_found_no_more() {
        let log = DamageLog::default();
        assert_eq!(log.status(Path::new("/cache/1")), None);
        log.pass_begins();
        log.in_index("its `slots` file was cut short".to_owned());
        log.block();
        log.pass_ends();
        let told = log.status(Path::new("/cache/1")).unwrap();
        assert!(told.what.starts_with("its `slots` file was cut short; 1 block was"), "{told:?}");
        assert!(told.action.contains("mcc cache verify --drive /cache/1") && told.since > 0);
        // The end of one whose beginning was before the restart says nothing.
        log.pass_ends();
        log.pass_begins();
        log.block();
        assert!(what(&log).unwrap().contains("2 blocks"));
        log.pass_ends();
        assert!(what(&log).is_some());
        log.pass_begins();
        log.pass_ends();
        assert_eq!(what(&log), None);
        log.block();
        assert!(what(&log).unwrap().starts_with("1 block was"));
    }
}
