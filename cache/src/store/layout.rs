//! Where each slot lies in the slab, and how large it is: the one place that knows.
//!
//! The slab is cut into stripes of 64 MiB. The first MiB of a stripe is cut into sixteen small slots,
//! the other 63 are large ones, and slots are numbered in the order in which they lie. So the small
//! slots take 1/64 of a drive, lie near what is filled with them, and a slot's number means the
//! same place whatever the size of the drive: one that grows or shrinks keeps all others.
//!
//! Drives of format 1 have large slots only. They keep them, as the plain part in front of the
//! stripes that come when such a drive grows.

use super::BLOCK;
use super::object::Location;

/// Bytes in a small slot (64 KiB): blocks that are no longer go there.
pub const SMALL_SLOT: u32 = 64 << 10;

/// MiB per stripe.
const STRIPE: u32 = 64;
/// Small slots in a stripe, all in its first MiB.
const SMALL_PER_STRIPE: u32 = BLOCK / SMALL_SLOT;
/// Large slots in a stripe.
const LARGE_PER_STRIPE: u32 = STRIPE - 1;
/// Slots in a stripe.
const SLOTS_PER_STRIPE: u32 = SMALL_PER_STRIPE + LARGE_PER_STRIPE;

/// How large a slot is. Each class has its own free slots and its own eviction queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 1 MiB.
    Large,
    /// 64 KiB.
    Small,
}

impl Class {
    pub(super) const ALL: [Self; 2] = [Self::Large, Self::Small];

    /// Bytes in a slot of this class.
    #[must_use]
    pub fn size(self) -> u32 {
        match self {
            Self::Large => BLOCK,
            Self::Small => SMALL_SLOT,
        }
    }
}

/// One value for each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PerClass<T> {
    pub(super) large: T,
    pub(super) small: T,
}

impl<T> PerClass<T> {
    pub(super) fn new(value: impl Fn(Class) -> T) -> Self {
        Self { large: value(Class::Large), small: value(Class::Small) }
    }

    pub(super) fn of(&self, class: Class) -> &T {
        match class {
            Class::Large => &self.large,
            Class::Small => &self.small,
        }
    }

    pub(super) fn of_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Large => &mut self.large,
            Class::Small => &mut self.small,
        }
    }
}

/// The slots of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLayout {
    /// MiB of the whole slab.
    mebibytes: u32,
    /// MiB of it in front of the stripes, a large slot each.
    plain: u32,
}

impl SlotLayout {
    /// The layout of a slab of so many MiB, of which the first `plain` are large slots and the rest
    /// stripes. What a drive cannot have, or number, is left out.
    #[must_use]
    pub fn new(mebibytes: u32, plain: u32) -> Self {
        let plain = plain.min(mebibytes).min(Location::MAX_SLOTS);
        let stripes = (Location::MAX_SLOTS - plain) / SLOTS_PER_STRIPE;
        Self { mebibytes: mebibytes.min(plain + stripes * STRIPE), plain }
    }

    /// MiB of the whole slab.
    pub(super) fn mebibytes(self) -> u32 {
        self.mebibytes
    }

    /// MiB in front of the stripes.
    pub(super) fn plain(self) -> u32 {
        self.plain
    }

    /// Bytes of the whole slab.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.mebibytes) * u64::from(BLOCK)
    }

    /// Slots of both classes. The last stripe may be cut short; its small slots come first.
    #[must_use]
    pub fn slots(self) -> u32 {
        self.count(Class::Large) + self.count(Class::Small)
    }

    /// Slots of one class.
    #[must_use]
    pub fn count(self, class: Class) -> u32 {
        let striped = self.mebibytes - self.plain;
        let groups = striped.div_ceil(STRIPE);
        match class {
            Class::Large => self.plain + striped - groups,
            Class::Small => groups * SMALL_PER_STRIPE,
        }
    }

    /// The class for a block of `length` bytes.
    #[must_use]
    pub fn class_for(self, length: u32) -> Class {
        match length <= SMALL_SLOT && self.plain < self.mebibytes {
            true => Class::Small,
            false => Class::Large,
        }
    }

    /// The class of `slot`, and how many slots of that class come before it.
    pub(super) fn rank(self, slot: u32) -> (Class, u32) {
        let Some(behind) = slot.checked_sub(self.plain) else { return (Class::Large, slot) };
        let (stripe, place) = (behind / SLOTS_PER_STRIPE, behind % SLOTS_PER_STRIPE);
        match place.checked_sub(SMALL_PER_STRIPE) {
            None => (Class::Small, stripe * SMALL_PER_STRIPE + place),
            Some(large) => (Class::Large, self.plain + stripe * LARGE_PER_STRIPE + large),
        }
    }

    /// The slot that has `rank` others of its class before it.
    #[must_use]
    pub fn slot(self, class: Class, rank: u32) -> u32 {
        match class {
            Class::Small => {
                let (stripe, place) = (rank / SMALL_PER_STRIPE, rank % SMALL_PER_STRIPE);
                self.plain + stripe * SLOTS_PER_STRIPE + place
            }
            Class::Large => {
                let Some(behind) = rank.checked_sub(self.plain) else { return rank };
                let (stripe, large) = (behind / LARGE_PER_STRIPE, behind % LARGE_PER_STRIPE);
                self.plain + stripe * SLOTS_PER_STRIPE + SMALL_PER_STRIPE + large
            }
        }
    }

    /// Where `slot` begins in the slab, in bytes.
    pub(super) fn offset(self, slot: u32) -> u64 {
        let (mebibyte, small) = match slot.checked_sub(self.plain) {
            None => (slot, 0),
            Some(behind) => {
                let (stripe, place) = (behind / SLOTS_PER_STRIPE, behind % SLOTS_PER_STRIPE);
                let first = self.plain + stripe * STRIPE;
                match place.checked_sub(SMALL_PER_STRIPE) {
                    None => (first, place),
                    Some(large) => (first + 1 + large, 0),
                }
            }
        };
        u64::from(mebibyte) * u64::from(BLOCK) + u64::from(small) * u64::from(SMALL_SLOT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Slots fill the slab from its beginning to its end in the order of their numbers, and
        /// ranks count them by class.
        #[test]
        fn slots_lie_side_by_side(mebibytes in 1_u32..300, plain in 0_u32..200) {
            let layout = SlotLayout::new(mebibytes, plain);
            let (mut end, mut counted) = (0, PerClass::<u32>::default());
            for slot in 0..layout.slots() {
                let (class, rank) = layout.rank(slot);
                prop_assert_eq!(layout.offset(slot), end);
                prop_assert_eq!(*counted.of(class), rank);
                prop_assert_eq!(layout.slot(class, rank), slot);
                end += u64::from(class.size());
                *counted.of_mut(class) += 1;
            }
            prop_assert_eq!(end, layout.bytes());
            prop_assert_eq!(counted, PerClass::new(|class| layout.count(class)));
        }

        #[test]
        fn a_slot_keeps_its_place_whatever_the_size(a in 1_u32..300, b in 1_u32..300, plain in 0_u32..50) {
            let (small, large) = (SlotLayout::new(a.min(b), plain.min(a.min(b))), SlotLayout::new(a.max(b), plain.min(a.min(b))));
            for slot in 0..small.slots() {
                prop_assert_eq!(small.offset(slot), large.offset(slot));
                prop_assert_eq!(small.rank(slot), large.rank(slot));
            }
        }
    }

    #[test]
    fn a_sixty_fourth_is_small_and_all_fit_the_numbers() {
        let layout = SlotLayout::new(1 << 20, 0);
        assert_eq!(layout.count(Class::Small), (1 << 14) * 16);
        assert_eq!(layout.count(Class::Large), (1 << 20) - (1 << 14));
        for plain in [0, 1000, u32::MAX] {
            assert!(SlotLayout::new(u32::MAX, plain).slots() <= Location::MAX_SLOTS);
        }
        assert_eq!(SlotLayout::new(u32::MAX, 0).mebibytes() >> 20, 51, "TiB");
    }

    #[test]
    fn blocks_go_where_they_fit() {
        let layout = SlotLayout::new(64, 0);
        assert_eq!(layout.class_for(SMALL_SLOT), Class::Small);
        assert_eq!(layout.class_for(SMALL_SLOT + 1), Class::Large);
        assert_eq!(SlotLayout::new(64, 64).class_for(1), Class::Large, "it has no small ones");
    }
}
