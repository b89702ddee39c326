//! The free slots of one class of a drive: one bit each. Slots are given out in rising order from where the last
//! one was taken, so that what is filled together lies together.

/// A set of slots.
#[derive(Debug)]
pub(super) struct FreeSlots {
    words: Box<[u64]>,
    count: u32,
    /// The word to look into next.
    cursor: usize,
}

impl FreeSlots {
    /// None of `slots` slots is free.
    pub(super) fn none(slots: u32) -> Self {
        Self { words: vec![0; slots.div_ceil(64) as usize].into(), count: 0, cursor: 0 }
    }

    /// How many are free.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn insert(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut((slot / 64) as usize) {
            let bit = 1 << (slot % 64);
            self.count += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Takes the next free slot.
    pub(super) fn take(&mut self) -> Option<u32> {
        for _ in 0..=self.words.len() {
            match self.words.get_mut(self.cursor) {
                Some(0) => self.cursor += 1,
                Some(word) => {
                    let bit = word.trailing_zeros();
                    *word &= *word - 1;
                    self.count -= 1;
                    return Some(self.cursor as u32 * 64 + bit);
                }
                None => self.cursor = 0,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec(proptest::option::of(0_u32..200), 0..400)) {
            let (mut free, mut model) = (FreeSlots::none(200), BTreeSet::new());
            for step in steps {
                match step {
                    Some(slot) => {
                        free.insert(slot);
                        model.insert(slot);
                    }
                    None => match free.take() {
                        Some(slot) => prop_assert!(model.remove(&slot)),
                        None => prop_assert!(model.is_empty()),
                    },
                }
                prop_assert_eq!(free.count() as usize, model.len());
            }
        }
    }

    #[test]
    fn neighbors_are_given_out_in_turn() {
        let mut free = FreeSlots::none(100);
        (0..100).for_each(|slot| free.insert(slot));
        assert_eq!(
            (0..100).map_while(|_| free.take()).collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }
}
