//! Which block to evict: S3-FIFO (Yang et al., SOSP 2023) over the slots of one class of a drive.
//!
//! New blocks enter a small queue, a tenth of the cache. At its end a block that was hit at least
//! twice moves to the main queue; any other is evicted and remembered for a while as a ghost. A block
//! that comes back while its ghost is remembered enters the main queue directly. At the end of the
//! main queue a block that was hit since goes round again. So what is asked for once passes
//! through quickly, and a hit costs its reader one atomic increment and no list operation.
//!
//! Blocks that are being sent (pinned) are never evicted. This module knows slots and hashes only.
//!
//! Memory is four bytes per slot for the queues and two for the ghosts. So the queues are linked in
//! one direction only, and a slot that is emptied in the middle of one (a purge, say) leaves its link
//! behind until its turn comes. When the slot is filled again before that, the new block waits
//! there, and enters the queue that it belongs to when the old link's turn comes.

use super::key::mix;

/// Hits in the small queue that take a block to the main queue.
const PROMOTE_AT: u32 = 2;
/// The small queue's share of all slots: one in ...
pub(super) const SMALL_SHARE: usize = 10;

/// What readers have done with the slots meanwhile.
pub trait Usage {
    /// Hits since they were last forgotten, 0 to 3.
    fn hits(&self, slot: u32) -> u32;
    /// Takes `hits` off.
    fn forget_hits(&self, slot: u32, hits: u32);
    /// Whether somebody is sending it right now.
    fn is_pinned(&self, slot: u32) -> bool;
}

/// The queues of one class of slots.
pub struct S3Fifo {
    links: Box<[Link]>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

impl S3Fifo {
    /// Empty queues for `slots` slots.
    pub fn new(slots: u32) -> Self {
        Self {
            // Zeroed by the kernel, page by page as they are written to.
            links: vec![0; slots as usize].into(),
            small: Queue::default(),
            main: Queue::default(),
            // The paper's ghost queue is as long as the main queue: nine tenths.
            ghosts: Ghosts::new(slots as usize * 9 / 10),
        }
    }

    /// Slots in both queues.
    pub(super) fn len(&self) -> usize {
        self.small.length + self.main.length
    }

    /// Takes in `slot`, just filled with the block whose name hashes to `block`.
    pub fn insert(&mut self, slot: u32, block: u64) {
        match self.ghosts.contains(block) {
            true => self.put(Place::Main, slot),
            false => self.put(Place::Small, slot),
        }
    }

    /// Takes in `slot`, found on the drive at start: it had earned its place before.
    pub(super) fn restore(&mut self, slot: u32) {
        self.put(Place::Main, slot);
    }

    /// Takes `slot` out, wherever it is. Its link stays until its turn comes.
    pub fn remove(&mut self, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize) else { return };
        let left = *link & LEFT != 0;
        let Some(place) = Place::of(*link) else { return };
        *link = *link & !(MOVE_MAIN | MOVE_SMALL) | LEFT;
        if !left {
            self.queue(place).length -= 1;
        }
    }

    /// Chooses the slot to empty next, takes it out and remembers its block, whose hash
    /// `block_of` gives. `None` when every block is pinned.
    pub fn evict(&mut self, usage: &impl Usage, block_of: impl Fn(u32) -> u64) -> Option<u32> {
        let small_target = self.links.len() / SMALL_SHARE;
        // Pinned blocks met in the main queue one after the other: a whole round of them leaves
        // only the small queue to take from.
        let mut pinned = 0;
        // Each block can be moved on once for each of its three hits, once for being pinned, and
        // once for having waited at an old link.
        for _ in 0..=self.len() * 6 {
            let place = match self.small.length > small_target || pinned >= self.main.length {
                true => Place::Small,
                false => Place::Main,
            };
            let slot = match self.pop(place) {
                Popped::Slot(slot) => slot,
                Popped::Moved => continue,
                Popped::Nothing if self.len() == 0 || place == Place::Small => return None,
                Popped::Nothing => continue,
            };
            let (hits, is_pinned) = (usage.hits(slot), usage.is_pinned(slot));
            match place {
                Place::Small if hits >= PROMOTE_AT || is_pinned => {
                    usage.forget_hits(slot, hits);
                    self.put(Place::Main, slot);
                }
                Place::Small => {
                    self.ghosts.remember(block_of(slot));
                    return Some(slot);
                }
                Place::Main if is_pinned => {
                    pinned += 1;
                    self.put(Place::Main, slot);
                }
                Place::Main if hits > 0 => {
                    pinned = 0;
                    usage.forget_hits(slot, 1);
                    self.put(Place::Main, slot);
                }
                Place::Main => return Some(slot),
            }
        }
        None
    }

    fn queue(&mut self, place: Place) -> &mut Queue {
        match place {
            Place::Small => &mut self.small,
            Place::Main => &mut self.main,
        }
    }

    /// Takes the oldest slot out of a queue. Links that were left behind go on the way.
    fn pop(&mut self, place: Place) -> Popped {
        loop {
            let queue = self.queue(place);
            let Some(slot) = queue.oldest.checked_sub(1) else { return Popped::Nothing };
            let Some(link) = self.links.get_mut(slot as usize) else { return Popped::Nothing };
            let link = std::mem::take(link);
            let queue = self.queue(place);
            queue.oldest = link & NEXT;
            if queue.oldest == 0 {
                queue.newest = 0;
            }
            if link & LEFT != 0 {
                continue;
            }
            queue.length -= 1;
            match link & (MOVE_MAIN | MOVE_SMALL) {
                0 => return Popped::Slot(slot),
                MOVE_MAIN => self.put(Place::Main, slot),
                _ => self.put(Place::Small, slot),
            }
            return Popped::Moved;
        }
    }

    /// Puts `slot` at the end of a queue, or has it wait at its old link until it can go there.
    fn put(&mut self, place: Place, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize) else { return };
        if let Some(old) = Place::of(*link) {
            let left = *link & LEFT != 0;
            *link = *link & !(LEFT | MOVE_MAIN | MOVE_SMALL) | place.waiting();
            if left {
                self.queue(old).length += 1;
            }
            return;
        }
        *link = place.flag();
        let queue = self.queue(place);
        queue.length += 1;
        let before = std::mem::replace(&mut queue.newest, slot + 1);
        match before.checked_sub(1) {
            None => queue.oldest = slot + 1,
            Some(before) => {
                if let Some(before) = self.links.get_mut(before as usize) {
                    *before |= slot + 1;
                }
            }
        }
    }
}

/// What was at the end of a queue.
enum Popped {
    Slot(u32),
    /// A slot that had waited there; it is in its own queue now.
    Moved,
    Nothing,
}

/// A slot's place in its queue: the next newer slot plus one (0: it is the newest), and flags. All
/// zeros: it is in no queue.
type Link = u32;

/// Low bits: a drive has at most 2^26 slots.
const NEXT: u32 = (1 << 27) - 1;
const IN_SMALL: u32 = 1 << 27;
const IN_MAIN: u32 = 1 << 28;
/// The slot was emptied; only its link is still there.
const LEFT: u32 = 1 << 29;
/// The slot was filled again, and enters this queue when its link's turn comes.
const MOVE_SMALL: u32 = 1 << 30;
const MOVE_MAIN: u32 = 1 << 31;

/// One of the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Small,
    Main,
}

impl Place {
    /// The queue that a link is in.
    fn of(link: Link) -> Option<Self> {
        match link & (IN_SMALL | IN_MAIN) {
            0 => None,
            IN_SMALL => Some(Self::Small),
            _ => Some(Self::Main),
        }
    }

    fn flag(self) -> Link {
        match self {
            Self::Small => IN_SMALL,
            Self::Main => IN_MAIN,
        }
    }

    fn waiting(self) -> Link {
        match self {
            Self::Small => MOVE_SMALL,
            Self::Main => MOVE_MAIN,
        }
    }
}

/// The ends of a queue: slots plus one, 0 for none.
#[derive(Debug, Default)]
struct Queue {
    oldest: u32,
    newest: u32,
    /// Links that were left behind do not count.
    length: usize,
}

/// The blocks evicted last, as fingerprints in a fixed table: two bytes per ghost, no allocation.
///
/// Each bucket remembers the last sixteen evictions that fell into it, so an eviction is remembered
/// for about as many others as the table has room for. A wrong "yes" (one in four thousand) costs
/// a place in the wrong queue.
struct Ghosts {
    /// Newest first; zero where nothing was remembered yet.
    table: Box<[[u16; 16]]>,
}

impl Ghosts {
    fn new(capacity: usize) -> Self {
        Self { table: vec![[0; 16]; capacity.div_ceil(16).max(1)].into() }
    }

    /// A name of 16 bits, never zero.
    fn tag(block: u64) -> u16 {
        (mix(block) as u16).max(1)
    }

    fn bucket(&self, block: u64) -> usize {
        let high = u128::from(mix(block ^ 0x5bd1_e995)) * self.table.len() as u128;
        (high >> 64) as usize
    }

    fn contains(&self, block: u64) -> bool {
        let tag = Self::tag(block);
        self.table.get(self.bucket(block)).is_some_and(|bucket| bucket.contains(&tag))
    }

    fn remember(&mut self, block: u64) {
        let (index, tag) = (self.bucket(block), Self::tag(block));
        let Some(bucket) = self.table.get_mut(index) else { return };
        // The same block's older entry gives way, else the oldest.
        let gone = bucket.iter().position(|entry| *entry == tag).unwrap_or(bucket.len() - 1);
        if let Some(newer) = bucket.get_mut(..=gone) {
            newer.rotate_right(1);
        }
        if let Some(first) = bucket.first_mut() {
            *first = tag;
        }
    }
}

#[cfg(test)]
#[path = "s3fifo_tests.rs"]
mod tests;
