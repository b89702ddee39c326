//! Which block to evict: S3-FIFO (Yang et al., SOSP 2023) over the slots of one drive.
//!
//! New blocks enter a small queue, a tenth of the cache. At its end a block that was hit at least
//! twice moves to the main queue; any other is evicted and remembered for a while as a ghost. A block
//! that comes back while its ghost is remembered enters the main queue directly. At the end of the
//! main queue a block that was hit since goes round again. So what is asked for once passes
//! through quickly, and a hit costs its reader one atomic increment and no list operation.
//!
//! Blocks that are being sent (pinned) are never evicted. This module knows slots and hashes only.

use super::key::mix;

/// Hits in the small queue that take a block to the main queue.
const PROMOTE_AT: u32 = 2;
/// The small queue's share of all slots: one in ...
const SMALL_SHARE: usize = 10;

/// What readers have done with the slots meanwhile.
pub trait Usage {
    /// Hits since they were last forgotten, 0 to 3.
    fn hits(&self, slot: u32) -> u32;
    /// Takes `hits` off.
    fn forget_hits(&self, slot: u32, hits: u32);
    /// Whether somebody is sending it right now.
    fn is_pinned(&self, slot: u32) -> bool;
}

/// The queues of one drive.
pub struct S3Fifo {
    links: Vec<Link>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

impl S3Fifo {
    /// Empty queues for `slots` slots.
    pub fn new(slots: u32) -> Self {
        Self {
            links: vec![Link::default(); slots as usize],
            small: Queue::default(),
            main: Queue::default(),
            // The paper's ghost queue is as long as the main queue: nine tenths.
            ghosts: Ghosts::new(slots as usize * 9 / 10),
        }
    }

    /// Slots in both queues.
    pub fn len(&self) -> usize {
        self.small.length + self.main.length
    }

    /// Takes in `slot`, just filled with the block whose name hashes to `block`.
    pub fn insert(&mut self, slot: u32, block: u64) {
        match self.ghosts.contains(block) {
            true => self.push(Place::Main, slot),
            false => self.push(Place::Small, slot),
        }
    }

    /// Takes in `slot`, found on the drive at start: it had earned its place before.
    pub fn restore(&mut self, slot: u32) {
        self.push(Place::Main, slot);
    }

    /// Takes `slot` out, wherever it is.
    pub fn remove(&mut self, slot: u32) {
        let Some(link) = self.links.get(slot as usize).copied() else { return };
        let Some(queue) = self.queue(link.place) else { return };
        queue.length -= 1;
        if link.older == NOBODY {
            queue.oldest = link.newer;
        }
        if link.newer == NOBODY {
            queue.newest = link.older;
        }
        if let Some(older) = self.links.get_mut(link.older as usize) {
            older.newer = link.newer;
        }
        if let Some(newer) = self.links.get_mut(link.newer as usize) {
            newer.older = link.older;
        }
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = Link::default();
        }
    }

    /// Chooses the slot to empty next, takes it out and remembers its block, whose hash
    /// `block_of` gives. `None` when every block is pinned.
    pub fn evict(&mut self, usage: &impl Usage, block_of: impl Fn(u32) -> u64) -> Option<u32> {
        let small_target = self.links.len() / SMALL_SHARE;
        // Pinned blocks met in the main queue one after the other: a whole round of them leaves
        // only the small queue to take from.
        let mut pinned = 0;
        // Each block can be moved on once for each of its three hits, and once for being pinned.
        for _ in 0..=self.len() * 5 {
            if self.small.length > small_target || pinned >= self.main.length {
                let slot = self.small.oldest()?;
                self.remove(slot);
                let hits = usage.hits(slot);
                if hits >= PROMOTE_AT || usage.is_pinned(slot) {
                    usage.forget_hits(slot, hits);
                    self.push(Place::Main, slot);
                } else {
                    self.ghosts.remember(block_of(slot));
                    return Some(slot);
                }
            } else {
                let slot = self.main.oldest()?;
                self.remove(slot);
                if usage.is_pinned(slot) {
                    pinned += 1;
                    self.push(Place::Main, slot);
                } else if usage.hits(slot) > 0 {
                    pinned = 0;
                    usage.forget_hits(slot, 1);
                    self.push(Place::Main, slot);
                } else {
                    return Some(slot);
                }
            }
        }
        None
    }

    fn queue(&mut self, place: Place) -> Option<&mut Queue> {
        match place {
            Place::Out => None,
            Place::Small => Some(&mut self.small),
            Place::Main => Some(&mut self.main),
        }
    }

    fn push(&mut self, place: Place, slot: u32) {
        self.remove(slot);
        let Some(queue) = self.queue(place) else { return };
        let older = queue.newest;
        queue.newest = slot;
        if older == NOBODY {
            queue.oldest = slot;
        }
        queue.length += 1;
        if let Some(before) = self.links.get_mut(older as usize) {
            before.newer = slot;
        }
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = Link { older, newer: NOBODY, place };
        }
    }
}

/// Where a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Out,
    Small,
    Main,
}

/// No slot has this number: a drive has at most 2^26.
const NOBODY: u32 = u32::MAX;

/// A slot's neighbors in its queue.
#[derive(Debug, Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
    place: Place,
}

impl Default for Link {
    fn default() -> Self {
        Self { older: NOBODY, newer: NOBODY, place: Place::Out }
    }
}

/// The ends of a queue.
#[derive(Debug)]
struct Queue {
    oldest: u32,
    newest: u32,
    length: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { oldest: NOBODY, newest: NOBODY, length: 0 }
    }
}

impl Queue {
    fn oldest(&self) -> Option<u32> {
        (self.oldest != NOBODY).then_some(self.oldest)
    }
}

/// The blocks evicted last, as fingerprints in a fixed table: four bytes per ghost, no allocation.
///
/// A fingerprint carries the age of its eviction in 1/64 of the table's capacity. In a bucket of
/// eight the oldest gives way. A wrong "yes" (one in two million) costs a place in the wrong
/// queue.
struct Ghosts {
    table: Vec<[u32; 8]>,
    capacity: u64,
    evictions: u64,
}

impl Ghosts {
    /// Steps in which age is counted.
    const STEPS: u64 = 64;

    fn new(capacity: usize) -> Self {
        // A quarter more than needed, so that full buckets are rare.
        let buckets = (capacity * 5 / 4).div_ceil(8).max(1);
        Self { table: vec![[0; 8]; buckets], capacity: capacity.max(1) as u64, evictions: 0 }
    }

    /// 24 bits of name, never zero, above 8 bits of age.
    fn tag(block: u64) -> u32 {
        ((mix(block) as u32) | 1) << 8
    }

    fn step(&self) -> u32 {
        (self.evictions * Self::STEPS / self.capacity) as u32 & 0xff
    }

    /// Steps since the entry was made.
    fn age(&self, entry: u32) -> u32 {
        self.step().wrapping_sub(entry) & 0xff
    }

    fn bucket(&self, block: u64) -> usize {
        let high = u128::from(mix(block ^ 0x5bd1_e995)) * self.table.len() as u128;
        (high >> 64) as usize
    }

    fn contains(&self, block: u64) -> bool {
        let tag = Self::tag(block);
        self.table.get(self.bucket(block)).is_some_and(|bucket| {
            bucket
                .iter()
                .any(|entry| entry & !0xff == tag && u64::from(self.age(*entry)) <= Self::STEPS)
        })
    }

    fn remember(&mut self, block: u64) {
        self.evictions += 1;
        let (index, tag, step) = (self.bucket(block), Self::tag(block), self.step());
        let age = |entry: u32| match entry {
            0 => u32::MAX,
            _ => step.wrapping_sub(entry) & 0xff,
        };
        let Some(bucket) = self.table.get_mut(index) else { return };
        let oldest = bucket.iter_mut().max_by_key(|entry| match **entry & !0xff == tag {
            true => (true, 0),
            false => (false, age(**entry)),
        });
        if let Some(entry) = oldest {
            *entry = tag | step;
        }
    }
}

#[cfg(test)]
#[path = "s3fifo_tests.rs"]
mod tests;
