//! The policies: ours as a drive runs it, and the others as their papers have them. All count blocks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;

use mcc_cache::eviction::{S3Fifo, Usage};

/// No block, no slot.
const NOBODY: u32 = u32::MAX;

/// A cache of blocks by their numbers.
pub(crate) trait Policy {
    /// Asks for `block`, which is in the cache afterwards: whether it was before.
    fn request(&mut self, block: u32) -> bool;
}

/// Our S3-FIFO with slots and hits as a drive has them.
pub(crate) struct Ours {
    queues: S3Fifo,
    hits: Hits,
    /// By block.
    slot_of: Vec<u32>,
    /// By slot.
    block_in: Vec<u32>,
    slots: usize,
}

/// Hits by slot, up to three.
struct Hits(Vec<Cell<u8>>);

impl Usage for Hits {
    fn hits(&self, slot: u32) -> u32 {
        self.0[slot as usize].get().into()
    }

    fn forget_hits(&self, slot: u32, hits: u32) {
        let cell = &self.0[slot as usize];
        cell.set(cell.get() - hits as u8);
    }

    fn is_pinned(&self, _: u32) -> bool {
        false
    }
}

impl Ours {
    pub(crate) fn new(slots: usize, blocks: usize) -> Self {
        Self {
            queues: S3Fifo::new(slots as u32),
            hits: Hits(vec![Cell::new(0); slots]),
            slot_of: vec![NOBODY; blocks],
            block_in: Vec::with_capacity(slots),
            slots,
        }
    }

    /// A slot to fill: one that never was, or one that the queues give up.
    fn slot(&mut self) -> u32 {
        if self.block_in.len() < self.slots {
            self.block_in.push(NOBODY);
            return self.block_in.len() as u32 - 1;
        }
        let block_in = &self.block_in;
        let slot = self.queues.evict(&self.hits, |slot| name(block_in[slot as usize]));
        let slot = slot.unwrap_or_else(|| panic!("nothing is pinned, so something can be evicted"));
        self.slot_of[block_in[slot as usize] as usize] = NOBODY;
        slot
    }
}

impl Policy for Ours {
    fn request(&mut self, block: u32) -> bool {
        let slot = self.slot_of[block as usize];
        if slot != NOBODY {
            let hits = &self.hits.0[slot as usize];
            hits.set((hits.get() + 1).min(3));
            return true;
        }
        let slot = self.slot();
        self.slot_of[block as usize] = slot;
        self.block_in[slot as usize] = block;
        self.hits.0[slot as usize].set(0);
        self.queues.insert(slot, name(block));
        false
    }
}

/// A block's name as a hash of it.
fn name(block: u32) -> u64 {
    u64::from(block).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Least recently used.
pub(crate) struct Lru {
    list: List,
    slots: usize,
}

impl Lru {
    pub(crate) fn new(slots: usize, blocks: usize) -> Self {
        Self { list: List::new(blocks), slots }
    }
}

impl Policy for Lru {
    fn request(&mut self, block: u32) -> bool {
        let hit = self.list.remove(block);
        if !hit && self.list.length == self.slots {
            self.list.remove(self.list.oldest);
        }
        self.list.push(block);
        hit
    }
}

/// SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest to the newest, spares what was visited, and evicts
/// the first block that was not.
pub(crate) struct Sieve {
    list: List,
    visited: Vec<bool>,
    hand: u32,
    slots: usize,
}

impl Sieve {
    pub(crate) fn new(slots: usize, blocks: usize) -> Self {
        Self { list: List::new(blocks), visited: vec![false; blocks], hand: NOBODY, slots }
    }

    fn evict(&mut self) {
        let mut at = self.hand;
        loop {
            if at == NOBODY {
                at = self.list.oldest;
            }
            if !self.visited[at as usize] {
                break;
            }
            self.visited[at as usize] = false;
            at = self.list.links[at as usize].newer;
        }
        self.hand = self.list.links[at as usize].newer;
        self.list.remove(at);
    }
}

impl Policy for Sieve {
    fn request(&mut self, block: u32) -> bool {
        if self.list.has(block) {
            self.visited[block as usize] = true;
            return true;
        }
        if self.list.length == self.slots {
            self.evict();
        }
        self.visited[block as usize] = false;
        self.list.push(block);
        false
    }
}

/// What S3-FIFO can be set to.
#[derive(Clone, Copy)]
pub(crate) struct Knobs {
    /// The small queue's share of the cache.
    pub(crate) small_percent: usize,
    /// Hits in the small queue that take a block to the main queue.
    pub(crate) promote_at: u8,
    /// Ghosts that are remembered, in percent of the cache's blocks.
    pub(crate) ghost_percent: usize,
}

impl Knobs {
    /// Yang et al., SOSP 2023.
    pub(crate) const PAPER: Self = Self { small_percent: 10, promote_at: 2, ghost_percent: 90 };
}

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { small_percent, promote_at, ghost_percent } = self;
        write!(f, "small {small_percent}%, at {promote_at}, ghost {ghost_percent}%")
    }
}

/// S3-FIFO with three queues, as simple as can be.
pub(crate) struct Fifo3 {
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghosts: List,
    inside: Vec<bool>,
    hits: Vec<u8>,
    slots: usize,
    small_slots: usize,
    most_ghosts: usize,
    promote_at: u8,
}

impl Fifo3 {
    pub(crate) fn new(slots: usize, blocks: usize, knobs: Knobs) -> Self {
        Self {
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: List::new(blocks),
            inside: vec![false; blocks],
            hits: vec![0; blocks],
            slots,
            small_slots: slots * knobs.small_percent / 100,
            most_ghosts: slots * knobs.ghost_percent / 100,
            promote_at: knobs.promote_at,
        }
    }

    fn evict(&mut self) {
        if self.small.len() > self.small_slots || self.main.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(block) = self.small.pop_front() {
            if self.hits[block as usize] >= self.promote_at {
                self.hits[block as usize] = 0;
                self.main.push_back(block);
                continue;
            }
            self.inside[block as usize] = false;
            self.ghosts.push(block);
            if self.ghosts.length > self.most_ghosts {
                self.ghosts.remove(self.ghosts.oldest);
            }
            return;
        }
        self.evict_main();
    }

    fn evict_main(&mut self) {
        while let Some(block) = self.main.pop_front() {
            if self.hits[block as usize] == 0 {
                self.inside[block as usize] = false;
                return;
            }
            self.hits[block as usize] -= 1;
            self.main.push_back(block);
        }
    }
}

impl Policy for Fifo3 {
    fn request(&mut self, block: u32) -> bool {
        if self.inside[block as usize] {
            self.hits[block as usize] = (self.hits[block as usize] + 1).min(3);
            return true;
        }
        if self.small.len() + self.main.len() == self.slots {
            self.evict();
        }
        self.inside[block as usize] = true;
        self.hits[block as usize] = 0;
        match self.ghosts.remove(block) {
            true => self.main.push_back(block),
            false => self.small.push_back(block),
        }
        false
    }
}

/// Blocks in the order in which they came, linked by their numbers.
struct List {
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
    length: usize,
}

#[derive(Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
    linked: bool,
}

impl List {
    fn new(blocks: usize) -> Self {
        let link = Link { older: NOBODY, newer: NOBODY, linked: false };
        Self { links: vec![link; blocks], oldest: NOBODY, newest: NOBODY, length: 0 }
    }

    fn has(&self, block: u32) -> bool {
        self.links[block as usize].linked
    }

    fn push(&mut self, block: u32) {
        self.links[block as usize] = Link { older: self.newest, newer: NOBODY, linked: true };
        match self.newest {
            NOBODY => self.oldest = block,
            newest => self.links[newest as usize].newer = block,
        }
        self.newest = block;
        self.length += 1;
    }

    /// Takes `block` out: whether it was there.
    fn remove(&mut self, block: u32) -> bool {
        let Link { older, newer, linked } = self.links[block as usize];
        if !linked {
            return false;
        }
        match older {
            NOBODY => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        match newer {
            NOBODY => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
        self.links[block as usize].linked = false;
        self.length -= 1;
        true
    }
}
