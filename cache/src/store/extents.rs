//! One small number for each block of an object, in extents that are allocated when they are first
//! written to: a range of a huge object costs memory for that range only.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use super::{BLOCK, EXTENT_BLOCKS, MAX_LENGTH};

/// A number per block. Reads and writes take no lock.
pub(super) struct Extents {
    /// What a number is before it is written.
    initial: u32,
    numbers: Numbers,
}

enum Numbers {
    /// The object has one block, as most have.
    One(AtomicU32),
    More {
        blocks: u32,
        extents: Box<[OnceLock<Box<[AtomicU32]>>]>,
    },
}

impl Extents {
    /// Numbers for the blocks of an object of `length` bytes. Objects longer than [`MAX_LENGTH`] are
    /// not stored and get none.
    pub(super) fn new(length: u64, initial: u32) -> Self {
        let blocks = match length <= MAX_LENGTH {
            true => u32::try_from(length.div_ceil(u64::from(BLOCK))).unwrap_or(0),
            false => 0,
        };
        let numbers = match blocks {
            1 => Numbers::One(AtomicU32::new(initial)),
            _ => {
                let extents = blocks.div_ceil(EXTENT_BLOCKS);
                Numbers::More { blocks, extents: (0..extents).map(|_| OnceLock::new()).collect() }
            }
        };
        Self { initial, numbers }
    }

    /// The number of block `index`; `None` while nothing of its extent was written.
    pub(super) fn get(&self, index: u32) -> Option<&AtomicU32> {
        match &self.numbers {
            Numbers::One(number) => (index == 0).then_some(number),
            Numbers::More { extents, .. } => {
                let extent = extents.get((index / EXTENT_BLOCKS) as usize)?.get()?;
                extent.get((index % EXTENT_BLOCKS) as usize)
            }
        }
    }

    /// The number of block `index`, to be written; `None` when the object has no such block.
    pub(super) fn get_or_allocate(&self, index: u32) -> Option<&AtomicU32> {
        let Numbers::More { blocks, extents } = &self.numbers else { return self.get(index) };
        let first = index - index % EXTENT_BLOCKS;
        let extent = extents.get((index / EXTENT_BLOCKS) as usize)?;
        let size = EXTENT_BLOCKS.min(blocks - first);
        let initial = || (0..size).map(|_| AtomicU32::new(self.initial)).collect();
        extent.get_or_init(initial).get((index % EXTENT_BLOCKS) as usize)
    }

    /// All numbers of allocated extents, with the index of their blocks, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &AtomicU32)> {
        let (one, more) = match &self.numbers {
            Numbers::One(number) => (Some((0, number)), None),
            Numbers::More { extents, .. } => (None, Some(extents)),
        };
        let more = more.into_iter().flatten().zip((0_u32..).step_by(EXTENT_BLOCKS as usize));
        let more = more
            .filter_map(|(extent, first)| Some((extent.get()?, first)))
            .flat_map(|(extent, first)| (first..).zip(extent.iter()));
        one.into_iter().chain(more)
    }
}
