//! Attribute sets, each stored once however many routes carry it: a full table has a quarter of a
//! million sets for a million routes.
//!
//! A set is kept as the bytes that came. Beside them stands what routes are compared by, and what the
//! neighbor's accept rules said of it: a set that comes again is not looked into again.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::num::NonZeroU32;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::NeighborId;
use crate::policy::Refusal;
use crate::wire::{AttributeSet, Community, PathAttributes};

/// "This path is about to go" (RFC 8326): taken only where there is no other.
const GRACEFUL_SHUTDOWN: Community = Community(0xffff_0000);
/// "This route is of a session lost long ago" (RFC 9494 §4.6), and "do not keep it that long".
const LLGR_STALE: Community = Community(0xffff_0006);
const NO_LLGR: Community = Community(0xffff_0007);
/// LOCAL_PREF of a route without one, as routers have it.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// Names a set in an [`AttributeTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttributesId(NonZeroU32);

impl AttributesId {
    /// 134 million sets: more than fit into the memory of a node.
    pub(super) const BITS: u32 = 27;
    const MAX: u32 = (1 << Self::BITS) - 1;

    /// Of a number that was made by [`AttributesId::number`]; any other names no set.
    pub(super) fn from_low_bits(bits: u64) -> Self {
        let number = u32::try_from(bits & u64::from(Self::MAX)).unwrap_or(0);
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    pub(super) fn number(self) -> u32 {
        self.0.get()
    }

    fn from_index(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        (number <= Self::MAX).then_some(Self(NonZeroU32::new(number)?))
    }

    fn index(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

/// The sets, with the number of their users. A set goes with its last user.
#[derive(Debug, Default)]
pub(super) struct AttributeTable {
    slots: Vec<Slot>,
    free: Vec<AttributesId>,
    ids: HashTable<Hashed>,
    /// Seeded by chance: who may write communities must not be able to make all sets collide.
    hasher: RandomState,
    /// What a set says that is being looked into: in one place, not anew for each.
    said: PathAttributes,
}

/// A set beside its hash: so the table grows, and passes over other sets, without a look at their bytes.
#[derive(Debug, Clone, Copy)]
struct Hashed {
    hash: AttributesHash,
    id: AttributesId,
}

/// The bytes that a comparison reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct BeginOfComparison<'a>(&'a [u8]);

impl BeginOfComparison<'_> {
    /// Has memory bring them.
    pub(super) fn touch(self) {
        black_box((self.0.first().copied(), self.0.last().copied()));
    }
}

/// Of the bytes of a set, in one [`AttributeTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttributesHash(u32);

impl AttributesHash {
    /// As a hash table wants it: it takes its bits from both ends.
    fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}

#[derive(Debug)]
struct Slot {
    bytes: Box<[u8]>,
    /// 0: the slot is free.
    users: u32,
    traits: Traits,
    judged_for: NeighborId,
    refusal: Option<Refusal>,
}

/// What routes are compared by, and what the control plane is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traits {
    /// As the best route is chosen by: 100 if there is none, 0 for a path that is about to go.
    pub(super) local_pref: u32,
    /// Without [`HAS_MED`] 0. Not an `Option`: there is one of these for each set.
    med: u32,
    flags: u8,
    /// The first AS of the path.
    pub(super) first_asn: Option<NonZeroU32>,
    /// RFC 4271 §9.1.2.2; 65535 stands for all that is longer.
    pub(super) as_path_length: u16,
}

/// The flags of [`Traits`].
const HAS_MED: u8 = 1;
const IS_LLGR_STALE: u8 = 2;
const IS_NO_LLGR: u8 = 4;

impl Traits {
    fn of(attributes: &PathAttributes) -> Self {
        let has = |community| attributes.communities.contains(&community);
        let flags = [
            (attributes.med.is_some(), HAS_MED),
            (has(LLGR_STALE), IS_LLGR_STALE),
            (has(NO_LLGR), IS_NO_LLGR),
        ];
        let local_pref = attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
        Self {
            local_pref: if has(GRACEFUL_SHUTDOWN) { 0 } else { local_pref },
            med: attributes.med.unwrap_or(0),
            flags: flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum(),
            first_asn: attributes.as_path.first().and_then(NonZeroU32::new),
            as_path_length: u16::try_from(attributes.as_path.length()).unwrap_or(u16::MAX),
        }
    }

    /// `MULTI_EXIT_DISC`.
    pub(super) fn med(&self) -> Option<u32> {
        (self.flags & HAS_MED != 0).then_some(self.med)
    }

    /// Whether a router on the way has kept the route for long after it had lost its session.
    pub(super) fn is_llgr_stale(&self) -> bool {
        self.flags & IS_LLGR_STALE != 0
    }

    /// Whether the route is not to be kept beyond the restart time.
    pub(super) fn is_no_llgr(&self) -> bool {
        self.flags & IS_NO_LLGR != 0
    }
}

impl AttributeTable {
    /// Finds or stores a set that `neighbor` sent, by its `hash`; the caller is one more user of it. With
    /// it comes what `judge` says of it, or said when the neighbor sent it before. `None`: there are too
    /// many.
    pub(super) fn acquire(
        &mut self,
        set: &AttributeSet,
        hash: AttributesHash,
        neighbor: NeighborId,
        judge: impl FnOnce(&PathAttributes) -> Option<Refusal>,
    ) -> Option<(AttributesId, Option<Refusal>)> {
        let slots = &self.slots;
        let same = |it: &Hashed| it.hash == hash && bytes(slots, it.id) == set.as_bytes();
        if let Some(&Hashed { id, .. }) = self.ids.find(hash.spread(), same) {
            let slot = self.slots.get_mut(id.index())?;
            slot.users += 1;
            if slot.judged_for != neighbor {
                slot.judged_for = neighbor;
                set.decode_into(&mut self.said);
                slot.refusal = judge(&self.said);
            }
            return Some((id, slot.refusal));
        }
        set.decode_into(&mut self.said);
        let slot = Slot {
            bytes: set.as_bytes().into(),
            users: 1,
            traits: Traits::of(&self.said),
            judged_for: neighbor,
            refusal: judge(&self.said),
        };
        let refusal = slot.refusal;
        let id = match self.free.pop() {
            Some(id) => {
                *self.slots.get_mut(id.index())? = slot;
                id
            }
            None => {
                let id = AttributesId::from_index(self.slots.len())?;
                self.slots.push(slot);
                id
            }
        };
        let of = |it: &Hashed| it.hash.spread();
        self.ids.insert_unique(hash.spread(), Hashed { hash, id }, of);
        Some((id, refusal))
    }

    /// Of the bytes of a set: what [`AttributeTable::acquire`] wants beside it.
    pub(super) fn hash(&self, bytes: &[u8]) -> AttributesHash {
        let hash = self.hasher.hash_one(bytes) >> 32;
        AttributesHash(u32::try_from(hash).unwrap_or_default())
    }

    /// A set with this hash: most likely the right one, but nobody has compared the bytes.
    pub(super) fn find(&self, hash: AttributesHash) -> Option<AttributesId> {
        self.ids.find(hash.spread(), |it| it.hash == hash).map(|it| it.id)
    }

    /// What [`AttributeTable::acquire`] will compare.
    pub(super) fn begin_of_comparison(&self, id: AttributesId) -> BeginOfComparison<'_> {
        BeginOfComparison(bytes(&self.slots, id))
    }

    /// Forgets what the accept rules of `neighbor` said: its number gets other rules. A walk over all
    /// sets.
    pub(super) fn forget_verdicts_of(&mut self, neighbor: NeighborId) {
        for slot in self.slots.iter_mut().filter(|slot| slot.judged_for == neighbor) {
            slot.judged_for = NeighborId::NOBODY;
        }
    }

    pub(super) fn add_user(&mut self, id: AttributesId) {
        if let Some(slot) = self.slots.get_mut(id.index()) {
            slot.users += 1;
        }
    }

    pub(super) fn release(&mut self, id: AttributesId) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        slot.users -= 1;
        if slot.users == 0 {
            let bytes = std::mem::take(&mut slot.bytes);
            let hash = self.hash(&bytes).spread();
            if let Ok(entry) = self.ids.find_entry(hash, |it| it.id == id) {
                entry.remove();
            }
            self.free.push(id);
        }
    }

    pub(super) fn get(&self, id: AttributesId) -> Option<AttributeSet> {
        let slot = self.slots.get(id.index()).filter(|slot| slot.users > 0)?;
        Some(AttributeSet::from_bytes(&slot.bytes))
    }

    pub(super) fn traits(&self, id: AttributesId) -> Option<Traits> {
        Some(self.slots.get(id.index())?.traits)
    }

    /// How many different sets there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

fn bytes(slots: &[Slot], id: AttributesId) -> &[u8] {
    slots.get(id.index()).map(|slot| &*slot.bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, set};

    const A: NeighborId = NeighborId(0);
    const B: NeighborId = NeighborId(1);

    fn acquire(
        table: &mut AttributeTable,
        set: &AttributeSet,
        neighbor: NeighborId,
        judge: impl FnOnce(&PathAttributes) -> Option<Refusal>,
    ) -> Option<(AttributesId, Option<Refusal>)> {
        let hash = table.hash(set.as_bytes());
        table.acquire(set, hash, neighbor, judge)
    }

    #[test]
    fn equal_sets_are_one_until_the_last_user_leaves() {
        let mut table = AttributeTable::default();
        let with_path = |table: &mut AttributeTable, path: &[u32]| {
            acquire(table, &set(&attributes(path)), A, |_| None).unwrap().0
        };
        let first = with_path(&mut table, &[1, 2]);
        let same = with_path(&mut table, &[1, 2]);
        let other = with_path(&mut table, &[1, 3]);
        assert_eq!(first, same);
        assert_ne!(first, other);
        table.release(first);
        assert_eq!(table.get(same).unwrap().decode().as_path.to_string(), "1 2");
        table.release(same);
        assert_eq!(table.get(same), None);
        assert_eq!(table.len(), 1);
        // The free place is used again.
        assert_eq!(with_path(&mut table, &[4]), first);
        assert_eq!(table.get(first).unwrap().decode().as_path.to_string(), "4");
    }

    #[test]
    fn a_set_is_judged_once_for_a_neighbor() {
        let mut table = AttributeTable::default();
        let set = set(&attributes(&[1]));
        let mut judged = Vec::new();
        for (neighbor, verdict) in
            [(A, Some(Refusal::AsLoop)), (A, None), (B, None), (A, Some(Refusal::Blackhole))]
        {
            let judge = |_: &PathAttributes| {
                judged.push(neighbor);
                verdict
            };
            acquire(&mut table, &set, neighbor, judge);
        }
        assert_eq!(judged, [A, B, A]);
        let again = acquire(&mut table, &set, A, |_| None).unwrap();
        assert_eq!(again.1, Some(Refusal::Blackhole));
    }
}
