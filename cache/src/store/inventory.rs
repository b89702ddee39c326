//! What a drive holds: which block is in which slot, which slots are free, and what to evict. The
//! keeper's own; no input or output here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::drive::Drive;
use super::free::FreeSlots;
use super::key::mix;
use super::object::{Location, Object};
use super::s3fifo::S3Fifo;

/// Slots, their blocks, and the objects that these belong to.
pub(super) struct Inventory {
    /// The block in each slot.
    owners: Vec<Owner>,
    objects: Vec<Option<Held>>,
    by_number: HashMap<u64, u32>,
    vacant: Vec<u32>,
    fifo: S3Fifo,
    /// Slots that are in no queue because their objects are pinned: at most half of all.
    kept: HashSet<u32>,
    pub(super) free: FreeSlots,
}

/// Eight bytes that say which block a slot holds.
#[derive(Debug, Clone, Copy)]
struct Owner {
    /// Place in `objects`, or `NOBODY`.
    object: u32,
    block: u32,
}

const NOBODY: u32 = u32::MAX;

/// An object with blocks on this drive.
struct Held {
    object: Arc<Object>,
    blocks: u32,
}

impl Inventory {
    /// Nothing is held, and nothing is free yet.
    pub(super) fn new(slots: u32) -> Self {
        Self {
            owners: vec![Owner { object: NOBODY, block: 0 }; slots as usize],
            objects: Vec::new(),
            by_number: HashMap::new(),
            vacant: Vec::new(),
            fifo: S3Fifo::new(slots),
            kept: HashSet::new(),
            free: FreeSlots::none(slots),
        }
    }

    /// The objects that have blocks here.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter().flatten().map(|held| &held.object)
    }

    /// How many objects have blocks here.
    pub(super) fn object_count(&self) -> usize {
        self.by_number.len()
    }

    /// The object of this number, if it has blocks here.
    pub(super) fn object(&self, number: u64) -> Option<&Arc<Object>> {
        let place = *self.by_number.get(&number)?;
        self.objects.get(place as usize)?.as_ref().map(|held| &held.object)
    }

    /// The block in `slot`.
    pub(super) fn owner(&self, slot: u32) -> Option<(&Arc<Object>, u32)> {
        let owner = self.owners.get(slot as usize)?;
        let held = self.objects.get(owner.object as usize)?.as_ref()?;
        Some((&held.object, owner.block))
    }

    /// All slots that hold a block.
    pub(super) fn taken(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.owners).filter(|(_, owner)| owner.object != NOBODY).map(|(slot, _)| slot)
    }

    /// The first slot from `from` on that holds a block and that `skip` does not name.
    pub(super) fn next_taken(&self, from: u32, skip: impl Fn(u32) -> bool) -> Option<u32> {
        let rest = self.owners.get(from as usize..)?;
        let taken = (from..).zip(rest).filter(|(_, owner)| owner.object != NOBODY);
        taken.map(|(slot, _)| slot).find(|slot| !skip(*slot))
    }

    /// Takes `slot` out of the eviction queues, or puts it in, as its object is pinned or not. Beyond half
    /// of the drive pins do not count.
    pub(super) fn settle(&mut self, drive: &Drive, slot: u32) {
        let Some((object, _)) = self.owner(slot) else { return };
        match (object.is_pinned(), self.kept.contains(&slot)) {
            (true, false) if self.kept.len() < self.owners.len() / 2 => {
                self.kept.insert(slot);
                self.fifo.remove(slot);
            }
            (false, true) => {
                self.kept.remove(&slot);
                self.fifo.restore(slot);
            }
            _ => return,
        }
        drive.counts.pinned.store(self.kept.len() as u64, Ordering::Relaxed);
    }

    /// Block `index` of `object` lies in `slot` from now on, for everyone to find. True when it is
    /// the object's first block here. `restored`: it was there when the drive was opened.
    pub(super) fn add(
        &mut self,
        drive: &Drive,
        slot: u32,
        object: &Arc<Object>,
        index: u32,
        restored: Option<Suspect>,
    ) -> bool {
        let Some(location) = Location::new(drive.index, slot) else { return false };
        let first = !self.by_number.contains_key(&object.number());
        let place = self.hold(object);
        if let Some(owner) = self.owners.get_mut(slot as usize) {
            *owner = Owner { object: place, block: index };
        }
        match restored {
            Some(_) => self.fifo.restore(slot),
            None => self.fifo.insert(slot, block_hash(object, index)),
        }
        drive.states.fill(slot, restored == Some(Suspect::Yes));
        object.block_table().set(index, location);
        let length = object.block_length(index).unwrap_or(0);
        object.count_stored(length);
        drive.counts.took(length);
        self.settle(drive, slot);
        first
    }

    fn hold(&mut self, object: &Arc<Object>) -> u32 {
        let known = self.by_number.get(&object.number()).copied();
        let place = known.or_else(|| self.vacant.pop()).unwrap_or(self.objects.len() as u32);
        if self.objects.len() as u32 == place {
            self.objects.push(None);
        }
        if let Some(entry) = self.objects.get_mut(place as usize) {
            let held = entry.get_or_insert_with(|| Held { object: Arc::clone(object), blocks: 0 });
            held.blocks += 1;
        }
        self.by_number.insert(object.number(), place);
        place
    }

    /// Takes the block out of `slot`: nobody finds it any more. The slot is not free by that.
    /// False when there was none.
    pub(super) fn release(&mut self, drive: &Drive, slot: u32) -> bool {
        let Some((object, index)) = self.owner(slot) else { return false };
        let object = Arc::clone(object);
        if let Some(location) = Location::new(drive.index, slot) {
            object.block_table().clear(index, location);
        }
        drive.states.kill(slot);
        self.fifo.remove(slot);
        if self.kept.remove(&slot) {
            drive.counts.pinned.store(self.kept.len() as u64, Ordering::Relaxed);
        }
        let length = object.block_length(index).unwrap_or(0);
        object.count_freed(length);
        drive.counts.gave(length);
        let Some(owner) = self.owners.get_mut(slot as usize) else { return true };
        let place = owner.object;
        owner.object = NOBODY;
        if let Some(entry) = self.objects.get_mut(place as usize)
            && let Some(held) = entry
        {
            held.blocks -= 1;
            if held.blocks == 0 {
                *entry = None;
                self.by_number.remove(&object.number());
                self.vacant.push(place);
            }
        }
        true
    }

    /// The slot to empty next; `None` when all are pinned. It still holds its block.
    pub(super) fn choose_victim(&mut self, drive: &Drive) -> Option<u32> {
        let Self { fifo, owners, objects, .. } = self;
        fifo.evict(&drive.states, |slot| {
            let owner = owners.get(slot as usize);
            let held = owner.and_then(|owner| Some((owner, objects.get(owner.object as usize)?)));
            match held {
                Some((owner, Some(held))) => block_hash(&held.object, owner.block),
                _ => u64::from(slot),
            }
        })
    }
}

/// Whether a block found at start is verified before it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspect {
    Yes,
    No,
}

/// The name of a block among the ghosts: the same after the object was stored anew.
fn block_hash(object: &Object, index: u32) -> u64 {
    let hash = object.key().stable_hash();
    mix(hash as u64 ^ mix((hash >> 64) as u64 ^ u64::from(index)))
}
