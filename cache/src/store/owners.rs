//! Which block of which object lies in each slot, in six bytes per slot: terabytes of slots are to
//! fit into memory. Slots that were never filled cost address space only.

use super::object::Location;

/// Bits of a block's index that do not fit into `blocks`: an object has at most 2^20 blocks.
const HIGH: u32 = 0xf;

/// A place among the objects of a drive and the index of a block, by slot.
pub(super) struct Owners {
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
    pub(super) fn none(slots: u32) -> Self {
        // Zeroed by the kernel, page by page as they are written to.
        let slots = slots as usize;
        Self { objects: vec![0; slots].into(), blocks: vec![0; slots].into() }
    }

    /// The object's place and the block's index.
    pub(super) fn get(&self, slot: u32) -> Option<(u32, u32)> {
        let (object, block) = (*self.objects.get(slot as usize)?, *self.blocks.get(slot as usize)?);
        Some(((object >> 4).checked_sub(1)?, (object & HIGH) << 16 | u32::from(block)))
    }

    /// False when the slot does not exist or a number is too high.
    pub(super) fn set(&mut self, slot: u32, object: u32, block: u32) -> bool {
        let slot = slot as usize;
        let (Some(entry), Some(low)) = (self.objects.get_mut(slot), self.blocks.get_mut(slot))
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
        if let Some(entry) = self.objects.get_mut(slot as usize) {
            *entry = 0;
        }
    }

    /// The slots that hold a block.
    pub(super) fn taken(&self) -> impl Iterator<Item = u32> {
        self.taken_from(0)
    }

    /// Those of them from `first` on.
    pub(super) fn taken_from(&self, first: u32) -> impl Iterator<Item = u32> {
        let objects = self.objects.get(first as usize..).unwrap_or_default();
        (first..).zip(objects).filter(|(_, object)| **object != 0).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn owners_come_back(object in 0..Owners::MAX_OBJECTS, block in 0..Owners::MAX_BLOCKS) {
            let mut owners = Owners::none(3);
            prop_assert!(owners.set(1, object, block));
            prop_assert_eq!(owners.get(1), Some((object, block)));
            prop_assert_eq!(owners.taken().collect::<Vec<_>>(), [1]);
            prop_assert!(owners.get(0).is_none() && owners.get(2).is_none() && owners.get(3).is_none());
            owners.clear(1);
            prop_assert_eq!(owners.get(1), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut owners = Owners::none(1);
        assert!(!owners.set(1, 0, 0) && !owners.set(0, Owners::MAX_OBJECTS, 0));
        assert!(!owners.set(0, 0, Owners::MAX_BLOCKS));
        assert!(
            u64::from(Owners::MAX_BLOCKS) * u64::from(super::super::BLOCK)
                >= super::super::MAX_LENGTH
        );
        assert_eq!(owners.get(0), None);
    }
}
