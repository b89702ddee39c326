//! A set of prefixes by their numbers, a bit each: what a full table needs stays in a processor's cache
//! while a walk in order of addresses asks for numbers in no order at all.

use super::prefix_table::PrefixId;

#[derive(Debug, Default)]
pub(super) struct PrefixSet {
    words: Vec<u64>,
}

impl PrefixSet {
    pub(super) fn insert(&mut self, id: PrefixId) {
        let (word, bit) = place(id);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    pub(super) fn remove(&mut self, id: PrefixId) {
        let (word, bit) = place(id);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    pub(super) fn contains(&self, id: PrefixId) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn place(id: PrefixId) -> (usize, u64) {
    (id.index() / 64, 1 << (id.index() % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(steps in prop::collection::vec((0u32..300, any::<bool>()), 0..100)) {
            let (mut ours, mut expected) = (PrefixSet::default(), BTreeSet::new());
            for (id, add) in steps {
                if add {
                    ours.insert(PrefixId(id));
                    expected.insert(id);
                } else {
                    ours.remove(PrefixId(id));
                    expected.remove(&id);
                }
            }
            prop_assert!((0..400).all(|id| ours.contains(PrefixId(id)) == expected.contains(&id)));
        }
    }
}
