//! All objects of the node by key: the one place that says which generation is current.
//!
//! Lookups take no lock. The catalog knows nothing of drives: whoever replaces or removes objects
//! gets the retired generations back and tells the drives to free their blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use papaya::{Compute, HashMap, Operation};

use super::key::ObjectKey;
use super::object::{Object, ObjectMeta};
use super::object_record::FoundObject;

/// Objects without a stored block that are kept before a sweep is worth its while.
const EMPTY_OBJECTS: usize = 4096;

/// The current generation of each key.
#[derive(Debug)]
pub(super) struct Catalog {
    objects: HashMap<ObjectKey, Arc<Object>>,
    /// Keys whose objects an operator wants kept, those included that are not stored.
    pins: HashMap<ObjectKey, ()>,
    next_number: AtomicU64,
    /// New objects since the last sweep, and at how many the next one is due.
    born: AtomicUsize,
    sweep_at: AtomicUsize,
}

/// What became of a publication.
pub(super) enum Published {
    /// The key was unknown.
    New(Arc<Object>),
    /// The current generation is about the same bytes; its freshness is renewed.
    Renewed(Arc<Object>),
    /// Another generation stood under the key; it is retired now.
    Replaced { new: Arc<Object>, old: Arc<Object> },
}

impl Catalog {
    /// An empty catalog that numbers generations upward from `first_number`.
    pub(super) fn new(first_number: u64) -> Self {
        Self {
            objects: HashMap::new(),
            pins: HashMap::new(),
            next_number: AtomicU64::new(first_number),
            born: AtomicUsize::new(0),
            sweep_at: AtomicUsize::new(EMPTY_OBJECTS),
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.pin().get(key).cloned()
    }

    /// How many objects there are, those without a stored block included.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Never gives out `number` or a lower one again.
    pub(super) fn skip_number(&self, number: u64) {
        self.next_number.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }

    /// Numbers that are given out from now on are not lower.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number.load(Ordering::Relaxed)
    }

    /// Pins `key`, or ends that. Returns its current generation.
    pub(super) fn set_pinned(&self, key: &ObjectKey, pinned: bool) -> Option<Arc<Object>> {
        let pins = self.pins.pin();
        let _ = if pinned { pins.insert(key.clone(), ()) } else { pins.remove(key) };
        let object = self.get(key)?;
        object.set_pinned(pinned);
        Some(object)
    }

    /// `object` has become the current generation of its key. Looked up only now: a pin that is set at
    /// the same time finds the object, or is found here.
    fn note_pin(&self, object: &Object) {
        if self.pins.pin().contains_key(object.key()) {
            object.set_pinned(true);
        }
    }

    pub(super) fn publish(&self, key: &ObjectKey, meta: &ObjectMeta) -> Published {
        if let Some(current) = self.get(key).filter(|current| current.meta().same_content(meta)) {
            current.confirm(meta);
            return Published::Renewed(current);
        }
        self.sweep_if_due();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let new = Arc::new(Object::new(key.clone(), number, meta));
        let objects = self.objects.pin();
        let outcome = objects.compute(key.clone(), |entry| match entry {
            // Somebody else has published the same, or even a later generation, meanwhile.
            Some((_, current)) if current.meta().same_content(meta) => {
                Operation::Abort(Arc::clone(current))
            }
            _ => Operation::Insert(Arc::clone(&new)),
        });
        match outcome {
            Compute::Aborted(current) => {
                current.confirm(meta);
                Published::Renewed(current)
            }
            Compute::Updated { old: (_, old), .. } => {
                old.retire();
                self.note_pin(&new);
                Published::Replaced { new, old: Arc::clone(old) }
            }
            Compute::Inserted(..) | Compute::Removed(..) => {
                self.note_pin(&new);
                Published::New(new)
            }
        }
    }

    /// Takes in an object that a drive holds blocks of, and returns the generation that these are
    /// blocks of: the current one, when it is certain to be the same content, or the drive's own, when
    /// that is the most recent one known. `None`: what the drive holds is out of date.
    ///
    /// What the origin has said in this run is more recent than whatever a drive says, and among
    /// drives the highest number is.
    pub(super) fn adopt(&self, found: FoundObject) -> Option<Arc<Object>> {
        let FoundObject { number, key, length, meta } = found;
        self.skip_number(number);
        let new = Arc::new(Object::found(key.clone(), number, length, meta));
        let objects = self.objects.pin();
        let outcome = objects.compute(key, |entry| match entry {
            Some((_, current)) if is_same(current, &new) => {
                Operation::Abort(Some(Arc::clone(current)))
            }
            Some((_, current)) if current.recency() >= number => Operation::Abort(None),
            _ => Operation::Insert(Arc::clone(&new)),
        });
        match outcome {
            Compute::Aborted(current) => {
                let current = current?;
                let of_this_run = current.recency() == u64::MAX;
                current.raise_recency(number);
                if !of_this_run && new.stored_at() > current.stored_at() {
                    current.renew(&new.meta());
                }
                Some(current)
            }
            Compute::Updated { old: (_, old), .. } => {
                old.retire();
                self.note_pin(&new);
                Some(new)
            }
            Compute::Inserted(..) | Compute::Removed(..) => {
                self.note_pin(&new);
                Some(new)
            }
        }
    }

    /// Removes and retires `object`, if it is still the current generation.
    pub(super) fn remove_exactly(&self, object: &Arc<Object>) {
        let objects = self.objects.pin();
        let _ = objects.remove_if(object.key(), |_, current| Arc::ptr_eq(current, object));
        object.retire();
    }

    /// Removes and retires every object that `doomed` names, and returns them.
    pub(super) fn remove(&self, doomed: impl Fn(&ObjectKey) -> bool) -> Vec<Arc<Object>> {
        let objects = self.objects.pin();
        let keys: Vec<ObjectKey> = objects.keys().filter(|key| doomed(key)).cloned().collect();
        keys.iter().filter_map(|key| self.remove_one(key)).collect()
    }

    /// Removes and retires the object under `key`.
    pub(super) fn remove_one(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        let objects = self.objects.pin();
        let object = objects.remove(key)?;
        object.retire();
        Some(Arc::clone(object))
    }

    /// Calls `visit` for each object, in no order.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&Arc<Object>)) {
        self.objects.pin().values().for_each(&mut visit);
    }

    /// Forgets objects that have no block on a drive and that nobody holds. Runs once for as many
    /// new objects as the last run left over, so that a publication costs a constant share of it.
    fn sweep_if_due(&self) {
        if self.born.fetch_add(1, Ordering::Relaxed) < self.sweep_at.load(Ordering::Relaxed) {
            return;
        }
        self.born.store(0, Ordering::Relaxed);
        self.objects.pin().retain(|_, object| {
            let idle = object.stored_bytes() == 0 && Arc::strong_count(object) == 1;
            if idle {
                // Whoever looked it up in this instant may serve it, but stores nothing for it.
                object.retire();
            }
            !idle
        });
        self.sweep_at.store(self.objects.len().max(EMPTY_OBJECTS), Ordering::Relaxed);
    }
}

/// Whether a generation that is known and one found on a drive are about the same bytes: by what the
/// origin said, or because it is the same generation, which several drives may hold blocks of.
fn is_same(known: &Object, found: &Object) -> bool {
    let (known_meta, found_meta) = (known.meta(), found.meta());
    let validators =
        |meta: &ObjectMeta| (meta.length, meta.etag.clone(), meta.last_modified.clone());
    let one =
        known.number() == found.number() && validators(&known_meta) == validators(&found_meta);
    one || known_meta.same_content(&found_meta)
}
