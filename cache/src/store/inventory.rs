//! What a drive holds: which block is in which slot, which slots are free, and what to evict. The
//! keeper's own; no input or output here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::drive::Drive;
use super::free::FreeSlots;
use super::key::mix;
use super::layout::{Class, PerClass, SlotLayout};
use super::object::{Location, Object};
use super::owners::Owners;
use super::s3fifo::{S3Fifo, Usage};
use super::slots::SlotStates;

/// Slots, their blocks, and the objects that these belong to.
pub(super) struct Inventory {
    layout: SlotLayout,
    /// The block in each slot.
    owners: Owners,
    objects: Vec<Option<Held>>,
    by_number: HashMap<u64, u32, foldhash::fast::RandomState>,
    vacant: Vec<u32>,
    /// By the slots' ranks in their class, as are the free ones.
    fifos: PerClass<S3Fifo>,
    free: PerClass<FreeSlots>,
    /// Slots that are in no queue because their objects are pinned: at most half of each class.
    kept: PerClass<HashSet<u32, foldhash::fast::RandomState>>,
}

/// An object with blocks on this drive.
struct Held {
    object: Arc<Object>,
    blocks: u32,
}

impl Inventory {
    /// Nothing is held, and nothing is free yet.
    pub(super) fn new(layout: SlotLayout) -> Self {
        Self {
            layout,
            owners: Owners::none(layout),
            objects: Vec::new(),
            by_number: HashMap::default(),
            vacant: Vec::new(),
            fifos: PerClass::new(|class| S3Fifo::new(layout.count(class))),
            free: PerClass::new(|class| FreeSlots::none(layout.count(class))),
            kept: PerClass::default(),
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

    /// Whether blocks of `object` can be held. Not those of two objects with the same number, which
    /// there are only when the clock went back between two runs.
    pub(super) fn accepts(&self, object: &Arc<Object>) -> bool {
        self.object(object.number()).is_none_or(|held| Arc::ptr_eq(held, object))
    }

    /// The block in `slot`.
    pub(super) fn owner(&self, slot: u32) -> Option<(&Arc<Object>, u32)> {
        let (place, block) = self.owners.get(slot)?;
        let held = self.objects.get(place as usize)?.as_ref()?;
        Some((&held.object, block))
    }

    /// All slots that hold a block.
    pub(super) fn taken(&self) -> impl Iterator<Item = u32> {
        self.owners.taken()
    }

    /// How many slots of `class` are free.
    pub(super) fn free(&self, class: Class) -> u32 {
        self.free.of(class).count()
    }

    /// Takes the next free slot of `class`.
    pub(super) fn take_free(&mut self, class: Class) -> Option<u32> {
        let rank = self.free.of_mut(class).take()?;
        Some(self.layout.slot(class, rank))
    }

    /// `slot` can be filled.
    pub(super) fn set_free(&mut self, slot: u32) {
        let (class, rank) = self.layout.rank(slot);
        self.free.of_mut(class).insert(rank);
    }

    /// The first slot from `from` on that holds a block and that `skip` does not name.
    pub(super) fn next_taken(&self, from: u32, skip: impl Fn(u32) -> bool) -> Option<u32> {
        self.owners.taken_from(from).find(|slot| !skip(*slot))
    }

    /// Takes `slot` out of the eviction queues, or puts it in, as its object is pinned or not. Beyond half
    /// of the slots of a class pins do not count.
    pub(super) fn settle(&mut self, drive: &Drive, slot: u32) {
        let Some((object, _)) = self.owner(slot) else { return };
        let pinned = object.is_pinned();
        let (class, rank) = self.layout.rank(slot);
        let most = self.layout.count(class) as usize / 2;
        let kept = self.kept.of_mut(class);
        match (pinned, kept.contains(&slot)) {
            (true, false) if kept.len() < most => {
                kept.insert(slot);
                self.fifos.of_mut(class).remove(rank);
            }
            (false, true) => {
                kept.remove(&slot);
                self.fifos.of_mut(class).restore(rank);
            }
            _ => return,
        }
        self.count_kept(drive);
    }

    fn count_kept(&self, drive: &Drive) {
        let kept: usize = Class::ALL.iter().map(|class| self.kept.of(*class).len()).sum();
        drive.counts.pinned.store(kept as u64, Ordering::Relaxed);
    }

    /// Block `index` of `object` lies in `slot` from now on, for everyone to find. True when it is
    /// the object's first block here.
    pub(super) fn add(
        &mut self,
        drive: &Drive,
        slot: u32,
        object: &Arc<Object>,
        index: u32,
        origin: Origin,
    ) -> bool {
        let Some(location) = Location::new(drive.index, slot) else { return false };
        let (place, first) = self.hold(object);
        self.owners.set(slot, place, index);
        let (class, rank) = self.layout.rank(slot);
        match origin {
            Origin::Restored => self.fifos.of_mut(class).restore(rank),
            Origin::Written => self.fifos.of_mut(class).insert(rank, block_hash(object, index)),
        }
        drive.states.fill(slot, origin == Origin::Restored);
        object.block_table().set(index, location);
        let length = object.block_length(index).unwrap_or(0);
        object.count_stored(length);
        drive.counts.took(length);
        self.settle(drive, slot);
        first
    }

    /// The object's place, with one more block, and whether that is its first one.
    fn hold(&mut self, object: &Arc<Object>) -> (u32, bool) {
        let (objects, vacant) = (&mut self.objects, &mut self.vacant);
        let mut first = false;
        let place = *self.by_number.entry(object.number()).or_insert_with(|| {
            first = true;
            vacant.pop().unwrap_or_else(|| {
                objects.push(None);
                objects.len() as u32 - 1
            })
        });
        if let Some(entry) = self.objects.get_mut(place as usize) {
            let held = entry.get_or_insert_with(|| Held { object: Arc::clone(object), blocks: 0 });
            held.blocks += 1;
        }
        (place, first)
    }

    /// Takes the block out of `slot`: nobody finds it any more. The slot is not free by that.
    /// False when there was none.
    pub(super) fn release(&mut self, drive: &Drive, slot: u32) -> bool {
        let Some((place, index)) = self.owners.get(slot) else { return false };
        let Some(Some(held)) = self.objects.get_mut(place as usize) else { return false };
        let object = Arc::clone(&held.object);
        held.blocks -= 1;
        if held.blocks == 0
            && let Some(entry) = self.objects.get_mut(place as usize)
        {
            *entry = None;
            self.by_number.remove(&object.number());
            self.vacant.push(place);
        }
        if let Some(location) = Location::new(drive.index, slot) {
            object.block_table().clear(index, location);
        }
        drive.states.kill(slot);
        self.owners.clear(slot);
        let (class, rank) = self.layout.rank(slot);
        self.fifos.of_mut(class).remove(rank);
        if self.kept.of_mut(class).remove(&slot) {
            self.count_kept(drive);
        }
        let length = object.block_length(index).unwrap_or(0);
        object.count_freed(length);
        drive.counts.gave(length);
        true
    }

    /// The slot of `class` to empty next; `None` when all are pinned. It still holds its block.
    pub(super) fn choose_victim(&mut self, drive: &Drive, class: Class) -> Option<u32> {
        let Self { layout, fifos, owners, objects, .. } = self;
        let usage = ClassUsage { states: &drive.states, layout: *layout, class };
        let rank = fifos.of_mut(class).evict(&usage, |rank| {
            let owner = owners.get(layout.slot(class, rank));
            let held = owner.and_then(|(place, block)| Some((objects.get(place as usize)?, block)));
            match held {
                Some((Some(held), block)) => block_hash(&held.object, block),
                _ => u64::from(rank),
            }
        })?;
        Some(layout.slot(class, rank))
    }
}

/// The states of one class of slots, by rank.
struct ClassUsage<'a> {
    states: &'a SlotStates,
    layout: SlotLayout,
    class: Class,
}

impl Usage for ClassUsage<'_> {
    fn hits(&self, rank: u32) -> u32 {
        self.states.hits(self.layout.slot(self.class, rank))
    }

    fn forget_hits(&self, rank: u32, hits: u32) {
        self.states.forget_hits(self.layout.slot(self.class, rank), hits);
    }

    fn is_pinned(&self, rank: u32) -> bool {
        self.states.is_pinned(self.layout.slot(self.class, rank))
    }
}

/// How a block came into its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was written just now.
    Written,
    /// It was there when the drive was opened: it is compared with its checksum before it is sent.
    Restored,
}

/// The name of a block among the ghosts: the same after the object was stored anew.
fn block_hash(object: &Object, index: u32) -> u64 {
    let hash = object.key().stable_hash();
    mix(hash as u64 ^ mix((hash >> 64) as u64 ^ u64::from(index)))
}
