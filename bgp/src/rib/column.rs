//! One value per prefix, found by the prefix's number.
//!
//! Every neighbor has a column of routes, and the footprint is one too. The prefixes themselves are
//! stored once, in the [`PrefixTable`](super::prefix_table::PrefixTable): a further neighbor with
//! the same table costs eight bytes a route.

use super::prefix_table::PrefixId;

/// Values in one chunk. A chunk is there while it has a value, so that a neighbor with a few
/// prefixes does not pay for the full table beside it.
const CHUNK: usize = 512;

#[derive(Debug)]
pub(super) struct Column<T> {
    chunks: Vec<Option<Box<Chunk<T>>>>,
    /// Chunks that there are.
    used: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    used: usize,
    values: [Option<T>; CHUNK],
}

impl<T: Copy> Column<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), used: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    #[inline]
    pub(super) fn get(&self, id: PrefixId) -> Option<T> {
        let (chunk, place) = split(id);
        *self.chunks.get(chunk)?.as_ref()?.values.get(place)?
    }

    /// Stores a value and returns the one it replaces.
    #[inline]
    pub(super) fn insert(&mut self, id: PrefixId, value: T) -> Option<T> {
        let (index, place) = split(id);
        if !matches!(self.chunks.get(index), Some(Some(_))) {
            self.make_chunk(index);
        }
        let chunk = self.chunks.get_mut(index)?.as_mut()?;
        let replaced = chunk.values.get_mut(place)?.replace(value);
        chunk.used += usize::from(replaced.is_none());
        replaced
    }

    /// Once in five hundred values.
    #[cold]
    fn make_chunk(&mut self, index: usize) {
        if self.chunks.len() <= index {
            self.chunks.resize_with(index + 1, || None);
        }
        if let Some(chunk) = self.chunks.get_mut(index) {
            *chunk = Some(Box::new(Chunk { used: 0, values: [None; CHUNK] }));
            self.used += 1;
        }
    }

    /// Removes a value and returns it.
    pub(super) fn remove(&mut self, id: PrefixId) -> Option<T> {
        let (chunk, place) = split(id);
        let slot = self.chunks.get_mut(chunk)?;
        let chunk = slot.as_mut()?;
        let removed = chunk.values.get_mut(place)?.take()?;
        chunk.used -= 1;
        if chunk.used == 0 {
            *slot = None;
            self.used -= 1;
        }
        Some(removed)
    }
}

fn split(id: PrefixId) -> (usize, usize) {
    let index = id.index();
    (index / CHUNK, index % CHUNK)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_map(steps in prop::collection::vec((0u32..2000, any::<Option<u32>>()), 0..200)) {
            let mut column = Column::new();
            let mut map = std::collections::BTreeMap::new();
            for (id, value) in steps {
                let (ours, expected) = match value {
                    Some(value) => (column.insert(PrefixId(id), value), map.insert(id, value)),
                    None => (column.remove(PrefixId(id)), map.remove(&id)),
                };
                prop_assert_eq!(ours, expected);
                prop_assert_eq!(column.get(PrefixId(id)), map.get(&id).copied());
            }
            let mut chunks: Vec<_> = map.keys().map(|id| id / 512).collect();
            chunks.dedup();
            prop_assert_eq!(column.chunks.iter().flatten().count(), chunks.len(), "none is kept empty");
            prop_assert_eq!(column.is_empty(), map.is_empty());
        }
    }
}
