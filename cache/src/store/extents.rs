//! One small number for each block of an object, in extents that are allocated when they are first
//! written to: a range of a huge object costs memory for that range only.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use super::{BLOCK, EXTENT_BLOCKS, MAX_LENGTH};

/// A number per block. Reads and writes take no lock.
pub(super) struct Extents {
    blocks: u32,
    /// What a number is before it is written.
    initial: u32,
    extents: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

impl Extents {
    /// Numbers for the blocks of an object of `length` bytes. Objects longer than [`MAX_LENGTH`] are
    /// not stored and get none.
    pub(super) fn new(length: u64, initial: u32) -> Self {
        let blocks = match length <= MAX_LENGTH {
            true => u32::try_from(length.div_ceil(u64::from(BLOCK))).unwrap_or(0),
            false => 0,
        };
        let extents = (0..blocks.div_ceil(EXTENT_BLOCKS)).map(|_| OnceLock::new()).collect();
        Self { blocks, initial, extents }
    }

    /// The number of block `index`; `None` while nothing of its extent was written.
    pub(super) fn get(&self, index: u32) -> Option<&AtomicU32> {
        let extent = self.extents.get((index / EXTENT_BLOCKS) as usize)?.get()?;
        extent.get((index % EXTENT_BLOCKS) as usize)
    }

    /// The number of block `index`, to be written; `None` when the object has no such block.
    pub(super) fn get_or_allocate(&self, index: u32) -> Option<&AtomicU32> {
        let first = index - index % EXTENT_BLOCKS;
        let extent = self.extents.get((index / EXTENT_BLOCKS) as usize)?;
        let size = EXTENT_BLOCKS.min(self.blocks - first);
        let initial = || (0..size).map(|_| AtomicU32::new(self.initial)).collect();
        extent.get_or_init(initial).get((index % EXTENT_BLOCKS) as usize)
    }

    /// All numbers of allocated extents, with the index of their blocks, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &AtomicU32)> {
        self.extents
            .iter()
            .zip((0_u32..).step_by(EXTENT_BLOCKS as usize))
            .filter_map(|(extent, first)| Some((extent.get()?, first)))
            .flat_map(|(extent, first)| (first..).zip(extent.iter()))
    }
}
