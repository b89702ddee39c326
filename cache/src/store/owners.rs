//! Which block of which object lies in each slot, in six bytes per slot: terabytes of slots are to
//! fit into memory. Slots that were never filled cost address space only; all small ones come behind
//! all large ones here, so that it is the same for a drive with few small blocks.

use super::layout::{Class, SlotLayout};
use super::object::Location;

/// Bits of a block's index that do not fit into `blocks`: an object has at most 2^20 blocks.
const HIGH: u32 = 0xf;

/// A place among the objects of a drive and the index of a block, by slot.
pub(super) struct Owners {
    layout: SlotLayout,
    /// Zero for nobody; else the object's place plus one, above the block's bits 16 to 19.
    objects: Box<[u32]>,
    /// The block's low 16 bits.
    blocks: Box<[u16]>,
}

impl Owners {
    /// Places of objects are below this: a drive has no more objects than slots.
    pub(super) const MAX_OBJECTS: u32 = Location::MAX_SLOTS;
    /// Indices of blocks are below this.
    pub(super) const MAX_BLOCKS: u32 = (HIGH + 1) << 16;

    /// All slots are empty.
    pub(super) fn none(layout: SlotLayout) -> Self {
        // Zeroed by the kernel, page by page as they are written to.
        let slots = layout.slots() as usize;
        Self { layout, objects: vec![0; slots].into(), blocks: vec![0; slots].into() }
    }

    fn slots(&self) -> u32 {
        self.layout.slots()
    }

    fn place(&self, slot: u32) -> usize {
        match self.layout.rank(slot) {
            _ if slot >= self.slots() => usize::MAX,
            (Class::Large, rank) => rank as usize,
            (Class::Small, rank) => (self.layout.count(Class::Large) + rank) as usize,
        }
    }

    /// The object's place and the block's index.
    pub(super) fn get(&self, slot: u32) -> Option<(u32, u32)> {
        let place = self.place(slot);
        let (object, block) = (*self.objects.get(place)?, *self.blocks.get(place)?);
        Some(((object >> 4).checked_sub(1)?, (object & HIGH) << 16 | u32::from(block)))
    }

    /// False when the slot does not exist or a number is too high.
    pub(super) fn set(&mut self, slot: u32, object: u32, block: u32) -> bool {
        let place = self.place(slot);
        let (Some(entry), Some(low)) = (self.objects.get_mut(place), self.blocks.get_mut(place))
        else {
            return false;
        };
        if object >= Self::MAX_OBJECTS || block >= Self::MAX_BLOCKS {
            return false;
        }
        *entry = (object + 1) << 4 | block >> 16;
        *low = block as u16;
        true
    }

    pub(super) fn clear(&mut self, slot: u32) {
        let place = self.place(slot);
        if let Some(entry) = self.objects.get_mut(place) {
            *entry = 0;
        }
    }

    /// The slots that hold a block.
    pub(super) fn taken(&self) -> impl Iterator<Item = u32> {
        self.taken_from(0)
    }

    /// Those of them from `first` on.
    pub(super) fn taken_from(&self, first: u32) -> impl Iterator<Item = u32> {
        (first..self.slots()).filter(|slot| self.get(*slot).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn owners_come_back(object in 0..Owners::MAX_OBJECTS, block in 0..Owners::MAX_BLOCKS) {
            let mut owners = Owners::none(SlotLayout::new(3, 3));
            prop_assert!(owners.set(1, object, block));
            prop_assert_eq!(owners.get(1), Some((object, block)));
            prop_assert_eq!(owners.taken().collect::<Vec<_>>(), [1]);
            prop_assert!(owners.get(0).is_none() && owners.get(2).is_none() && owners.get(3).is_none());
            owners.clear(1);
            prop_assert_eq!(owners.get(1), None);
        }
    }

    #[test]
    fn each_slot_of_either_class_has_its_own() {
        let layout = SlotLayout::new(130, 1);
        let mut owners = Owners::none(layout);
        assert!((0..layout.slots()).all(|slot| owners.set(slot, slot, 2 * slot)));
        assert!(!owners.set(layout.slots(), 0, 0) && owners.get(layout.slots()).is_none());
        for slot in 0..layout.slots() {
            assert_eq!(owners.get(slot), Some((slot, 2 * slot)));
        }
        assert_eq!(owners.taken_from(100).count() as u32, layout.slots() - 100);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut owners = Owners::none(SlotLayout::new(1, 1));
        assert!(!owners.set(1, 0, 0) && !owners.set(0, Owners::MAX_OBJECTS, 0));
        assert!(!owners.set(0, 0, Owners::MAX_BLOCKS));
        assert!(
            u64::from(Owners::MAX_BLOCKS) * u64::from(super::super::BLOCK)
                >= super::super::MAX_LENGTH
        );
        assert_eq!(owners.get(0), None);
    }
}
