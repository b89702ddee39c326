//! Attribute sets, each stored once however many routes carry it: a full table has a quarter of a
//! million sets for a million routes.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::wire::PathAttributes;

/// Names a set in an [`AttributeTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttributesId(u32);

impl AttributesId {
    /// 134 million sets: more than fit into the memory of a node.
    pub(super) const BITS: u32 = 27;
    const MAX: u32 = (1 << Self::BITS) - 1;

    pub(super) fn from_low_bits(bits: u64) -> Self {
        Self(u32::try_from(bits & u64::from(Self::MAX)).unwrap_or(Self::MAX))
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The sets, with the number of their users. A set goes with its last user.
#[derive(Debug, Default)]
pub(super) struct AttributeTable {
    slots: Vec<Option<Slot>>,
    free: Vec<AttributesId>,
    ids: HashMap<Key, AttributesId>,
}

#[derive(Debug)]
struct Slot {
    attributes: Arc<PathAttributes>,
    users: u32,
}

impl AttributeTable {
    /// Finds or stores a set; the caller is one more user of it. `None`: there are too many sets.
    pub(super) fn acquire(&mut self, attributes: &Arc<PathAttributes>) -> Option<AttributesId> {
        let key = Key(Arc::clone(attributes));
        if let Some(&id) = self.ids.get(&key) {
            self.add_user(id);
            return Some(id);
        }
        let slot = Some(Slot { attributes: Arc::clone(attributes), users: 1 });
        let id = match self.free.pop() {
            Some(id) => {
                *self.slots.get_mut(id.index())? = slot;
                id
            }
            None => {
                let number = u32::try_from(self.slots.len()).ok()?;
                let id = (number <= AttributesId::MAX).then_some(AttributesId(number))?;
                self.slots.push(slot);
                id
            }
        };
        self.ids.insert(key, id);
        Some(id)
    }

    pub(super) fn add_user(&mut self, id: AttributesId) {
        if let Some(Some(slot)) = self.slots.get_mut(id.index()) {
            slot.users += 1;
        }
    }

    pub(super) fn release(&mut self, id: AttributesId) {
        let Some(entry) = self.slots.get_mut(id.index()) else { return };
        let Some(slot) = entry else { return };
        slot.users -= 1;
        if slot.users == 0 {
            if let Some(slot) = entry.take() {
                self.ids.remove(&Key(slot.attributes));
            }
            self.free.push(id);
        }
    }

    pub(super) fn get(&self, id: AttributesId) -> Option<&Arc<PathAttributes>> {
        Some(&self.slots.get(id.index())?.as_ref()?.attributes)
    }

    /// How many different sets there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Hashed by the bytes on the wire, which hold nearly everything; compared in full.
#[derive(Debug, PartialEq, Eq)]
struct Key(Arc<PathAttributes>);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.raw.hash(state);
        self.0.next_hop.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attributes;

    #[test]
    fn equal_sets_are_one_until_the_last_user_leaves() {
        let mut table = AttributeTable::default();
        let first = table.acquire(&Arc::new(attributes(&[1, 2]))).unwrap();
        let same = table.acquire(&Arc::new(attributes(&[1, 2]))).unwrap();
        let other = table.acquire(&Arc::new(attributes(&[1, 3]))).unwrap();
        assert_eq!(first, same);
        assert_ne!(first, other);
        table.release(first);
        assert_eq!(table.get(same).unwrap().as_path.to_string(), "1 2");
        table.release(same);
        assert_eq!(table.get(same), None);
        assert_eq!(table.len(), 1);
        // The free place is used again.
        assert_eq!(table.acquire(&Arc::new(attributes(&[4]))), Some(first));
    }

    #[test]
    fn same_bytes_read_differently_are_different_sets() {
        let mut table = AttributeTable::default();
        let two_octets = attributes(&[1]);
        let four_octets = PathAttributes { raw: two_octets.raw.clone(), ..attributes(&[65536]) };
        let ids = [two_octets, four_octets].map(|set| table.acquire(&Arc::new(set)));
        assert_ne!(ids[0], ids[1]);
    }
}
