//! Laws of the eviction queues, and what they are for: scans pass, favorites stay.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// Hits and pins by slot.
#[derive(Default)]
struct Readers {
    hits: RefCell<HashMap<u32, u32>>,
    pinned: Cell<Option<u32>>,
    all_pinned: Cell<bool>,
}

impl Readers {
    fn hit(&self, slot: u32) {
        let mut hits = self.hits.borrow_mut();
        let count = hits.entry(slot).or_default();
        *count = (*count + 1).min(3);
    }
}

impl Usage for Readers {
    fn hits(&self, slot: u32) -> u32 {
        self.hits.borrow().get(&slot).copied().unwrap_or(0)
    }

    fn forget_hits(&self, slot: u32, hits: u32) {
        *self.hits.borrow_mut().entry(slot).or_default() -= hits;
    }

    fn is_pinned(&self, slot: u32) -> bool {
        self.all_pinned.get() || self.pinned.get() == Some(slot)
    }
}

/// A cache of blocks by name, driven by the queues; counts what it missed.
struct Cache {
    queues: S3Fifo,
    readers: Readers,
    slots: HashMap<u64, u32>,
    names: Vec<Option<u64>>,
    misses: u64,
}

impl Cache {
    fn new(slots: u32) -> Self {
        Self {
            queues: S3Fifo::new(slots),
            readers: Readers::default(),
            slots: HashMap::new(),
            names: vec![None; slots as usize],
            misses: 0,
        }
    }

    fn ask(&mut self, name: u64) {
        if let Some(slot) = self.slots.get(&name) {
            return self.readers.hit(*slot);
        }
        self.misses += 1;
        let free = self.names.iter().position(Option::is_none).map(|slot| slot as u32);
        let slot = free.unwrap_or_else(|| {
            let names = &self.names;
            self.queues
                .evict(&self.readers, |slot| names[slot as usize].unwrap())
                .expect("nothing is pinned")
        });
        if let Some(old) = self.names[slot as usize].replace(name) {
            self.slots.remove(&old);
        }
        self.readers.hits.borrow_mut().remove(&slot);
        self.slots.insert(name, slot);
        self.queues.insert(slot, name);
    }
}

#[test]
fn a_scan_does_not_wash_out_what_is_asked_for_often() {
    let mut cache = Cache::new(100);
    for _ in 0..4 {
        (0..50).for_each(|name| cache.ask(name));
    }
    (1000..11_000).for_each(|name| cache.ask(name));
    cache.misses = 0;
    (0..50).for_each(|name| cache.ask(name));
    assert_eq!(cache.misses, 0);
}

#[test]
fn a_block_that_comes_back_soon_is_kept() {
    let mut cache = Cache::new(100);
    (0..100).for_each(|name| cache.ask(name));
    // 0 is evicted unasked, comes back while its ghost is known, and then outlives a scan that
    // would have washed it out of the small queue.
    (100..120).for_each(|name| cache.ask(name));
    assert!(!cache.slots.contains_key(&0));
    cache.ask(0);
    (200..270).for_each(|name| cache.ask(name));
    assert!(cache.slots.contains_key(&0));
}

#[test]
fn old_ghosts_are_forgotten() {
    let mut ghosts = Ghosts::new(1600);
    (0..10_000).for_each(|name| ghosts.remember(name));
    let known = |names: std::ops::Range<u64>| names.filter(|name| ghosts.contains(*name)).count();
    assert!(known(9200..10_000) > 780, "{} of the last 800", known(9200..10_000));
    assert!(known(0..7000) < 20, "{} from long ago", known(0..7000));
    assert!(known(10_000..20_000) < 10, "{} that never were", known(10_000..20_000));
}

#[test]
fn a_block_in_a_slot_that_was_emptied_and_filled_again_starts_anew() {
    let mut queues = S3Fifo::new(20);
    let readers = Readers::default();
    (0..10).for_each(|slot| queues.restore(slot));
    (0..10).for_each(|slot| queues.remove(slot));
    assert_eq!((queues.len(), queues.evict(&readers, u64::from)), (0, None));
    (0..10).for_each(|slot| queues.restore(slot));
    (0..5).for_each(|slot| queues.remove(slot));
    // New blocks in slots whose old links are still in the main queue.
    (0..5).for_each(|slot| queues.insert(slot, u64::from(slot)));
    assert_eq!(queues.len(), 10);
    let evicted: Vec<u32> = std::iter::from_fn(|| queues.evict(&readers, u64::from)).collect();
    assert_eq!(evicted.len(), 10);
    // They are asked for by nobody: those that pass the small queue's share go first.
    assert_eq!(evicted[..3], [0, 1, 2]);
}

#[test]
fn pinned_blocks_stay() {
    let mut queues = S3Fifo::new(10);
    let readers = Readers::default();
    (0..10).for_each(|slot| queues.insert(slot, u64::from(slot)));
    readers.pinned.set(Some(0));
    let evicted: Vec<u32> =
        std::iter::from_fn(|| queues.evict(&readers, u64::from)).take(20).collect();
    assert_eq!(evicted, (1..10).collect::<Vec<_>>());
    readers.all_pinned.set(true);
    assert_eq!(queues.evict(&readers, u64::from), None);
    assert_eq!(queues.len(), 1, "it is still there");
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32),
    Restore(u32),
    Remove(u32),
    Hit(u32),
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u32..40).prop_map(Step::Insert),
        (0_u32..40).prop_map(Step::Restore),
        (0_u32..40).prop_map(Step::Remove),
        (0_u32..40).prop_map(Step::Hit),
        Just(Step::Evict),
    ]
}

proptest! {
    /// Whatever happens, the queues hold exactly what was put in and not taken out.
    #[test]
    fn nothing_is_lost_or_doubled(steps in proptest::collection::vec(step(), 0..300)) {
        let mut queues = S3Fifo::new(40);
        let readers = Readers::default();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(slot) => {
                    queues.insert(slot, u64::from(slot));
                    model.insert(slot, ());
                }
                Step::Restore(slot) => {
                    queues.restore(slot);
                    model.insert(slot, ());
                }
                Step::Remove(slot) => {
                    queues.remove(slot);
                    model.remove(&slot);
                }
                Step::Hit(slot) => readers.hit(slot),
                Step::Evict => match queues.evict(&readers, u64::from) {
                    Some(slot) => prop_assert!(model.remove(&slot).is_some()),
                    None => prop_assert!(model.is_empty()),
                },
            }
            prop_assert_eq!(queues.len(), model.len());
        }
        let mut rest: Vec<u32> = std::iter::from_fn(|| queues.evict(&readers, u64::from)).collect();
        rest.sort_unstable();
        prop_assert_eq!(rest, model.into_keys().collect::<Vec<_>>());
    }
}
