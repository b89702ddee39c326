//! What operators have the store do: purge, pin, verify, take a drive back.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::Store;
use super::bay::{Bay, Standing};
use super::drive::Drive;
use super::keeper::Task;
use super::key::ObjectKey;
use super::object::Object;
use super::refusal::{OnlineError, TooManyPins, VerifyError};
use super::status::{PinnedObject, Purged, Selector};
use super::verify::{DriveRun, Verification};

impl Store {
    /// Removes objects. They are gone for every lookup when this returns; the drives forget them
    /// with their next checkpoint ([`Store::flush`] waits for it). What a drive holds that is still
    /// being opened is gone too, though not counted. A drive that is away learns of it when it comes
    /// back.
    pub fn purge(&self, selector: &Selector) -> Purged {
        // First, so that a drive that begins to come back now finds it there or below.
        self.shared.ledger.purged(selector, self.shared.catalog.next_number(), &self.uuids_up());
        if self.is_opening() {
            self.shared.purges.note(selector);
        } else {
            self.shared.purges.forget();
        }
        let gone: Vec<Arc<Object>> = match selector {
            Selector::Url(key) => self.shared.catalog.remove_one(key).into_iter().collect(),
            _ => self.shared.catalog.remove(|key| selector.matches(key)),
        };
        let bytes = gone.iter().map(|object| object.stored_bytes()).sum();
        for object in &gone {
            self.tell_all(|| Task::Retire(Arc::clone(object)));
        }
        Purged { objects: gone.len() as u64, bytes, durable: false }
    }

    /// Has the drives keep the object under `key`, stored now or later, whatever else is asked for, in all
    /// its generations. On the drives before this returns.
    ///
    /// # Errors
    /// [`TooManyPins`]: with it, pinned objects would take more than half of the drives.
    pub fn pin(&self, key: &ObjectKey) -> Result<(), TooManyPins> {
        let slots = |key: &ObjectKey| {
            self.shared.catalog.get(key).map_or(1, |object| u64::from(object.blocks()))
        };
        let pins = self.shared.ledger.pins();
        let pinned: u64 = pins.iter().filter(|pin| *pin != key).map(slots).sum();
        let size: u64 = self.up().map(|drive| drive.slots()).sum();
        let (wanted, most) = (pinned + slots(key), size / 2);
        if wanted > most {
            return Err(TooManyPins { wanted, most });
        }
        self.shared.ledger.pin(key);
        if let Some(object) = self.shared.catalog.set_pinned(key, true) {
            self.tell_all(|| Task::Settle(Arc::clone(&object)));
        }
        Ok(())
    }

    /// Ends a pin: the object is as any other. False when there was no such pin.
    pub fn unpin(&self, key: &ObjectKey) -> bool {
        let was = self.shared.ledger.unpin(key);
        if let Some(object) = self.shared.catalog.set_pinned(key, false) {
            self.tell_all(|| Task::Settle(Arc::clone(&object)));
        }
        was
    }

    /// All pins in the order of their URLs, with what is stored of each.
    #[must_use]
    pub fn pins(&self) -> Vec<PinnedObject> {
        let pinned = |key: ObjectKey| {
            let object = self.shared.catalog.get(&key).map(|object| object.as_ref().into());
            PinnedObject { url: key.to_string(), object }
        };
        self.shared.ledger.pins().into_iter().map(pinned).collect()
    }

    /// An operator says that the drive in `path`, which is offline, is well: begins to open it anew, and
    /// returns at once. [`Store::status`] tells what becomes of it.
    ///
    /// # Errors
    /// [`OnlineError`]: there is nothing to be done.
    pub fn online(&self, path: &Path) -> Result<(), OnlineError> {
        let _one = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.bays.iter().enumerate().find(|(_, bay)| bay.load().path() == path);
        let unknown = || OnlineError::Unknown { known: self.known_paths() };
        let (index, place) = place.ok_or_else(unknown)?;
        let bay = place.load();
        match bay.standing() {
            Standing::Opening => return Err(OnlineError::Opening),
            Standing::Up => return Err(OnlineError::Up),
            Standing::Held => return Err(OnlineError::Held),
            Standing::Empty => {}
        }
        self.shared.ledger.pardon(path);
        bay.abandon();
        place.store(Bay::open(index, bay.config(), &self.shared, &self.options));
        Ok(())
    }

    /// Has all drives compare all their blocks with their checksums now, at full speed. When that is being
    /// done already, nothing new begins. What is damaged is dropped, and fetched anew when asked for.
    pub fn verify(&self) -> Verification {
        self.verify_drives(self.up().collect())
    }

    /// The same for the one drive in `path`.
    ///
    /// # Errors
    /// [`VerifyError`]: there is nothing to compare.
    pub fn verify_one(&self, path: &Path) -> Result<Verification, VerifyError> {
        let Some(bay) = self.bays.iter().find(|bay| bay.load().path() == path) else {
            return Err(VerifyError::Unknown { known: self.known_paths() });
        };
        let drive = bay.load().up().cloned();
        Ok(self.verify_drives(vec![drive.ok_or(VerifyError::Down)?]))
    }

    /// The folders of all drives, for whoever named another one.
    fn known_paths(&self) -> String {
        let known = self.bays.iter().map(|bay| bay.load().path().display().to_string());
        known.collect::<Vec<_>>().join(", ")
    }

    fn verify_drives(&self, drives: Vec<Arc<Drive>>) -> Verification {
        let mut last = self.verification.lock().unwrap_or_else(PoisonError::into_inner);
        let is_running = |last: &&Verification| !last.is_finished() && !last.is_cancelled();
        if let Some(running) = last.as_ref().filter(is_running) {
            return running.clone();
        }
        let runs: Vec<_> = drives.iter().map(|drive| Arc::new(DriveRun::new(drive))).collect();
        let verification = Verification::new(runs.clone());
        for (drive, run) in drives.into_iter().zip(runs) {
            drive.scrub.order(verification.clone(), run);
        }
        *last = Some(verification.clone());
        verification
    }

    /// The verification that was ordered last, running or not.
    #[must_use]
    pub fn last_verification(&self) -> Option<Verification> {
        self.verification.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
