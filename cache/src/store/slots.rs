//! The state of every slot of a drive in one word each: how often it is pinned, how often it was hit
//! lately, and whether it holds a block. Readers pin, the drive's keeper does the rest; nobody waits.
//!
//! A reader looks up where a block lies, pins that slot, and looks again: if the block is still
//! there, the slot cannot change until the pin is gone. The keeper goes the other way round: it
//! takes the block's place away, then the slot's `LIVE` flag, and only then looks for pins.

use std::sync::atomic::{AtomicU32, Ordering};

/// Low bits: number of pins.
const PINS: u32 = (1 << 20) - 1;
/// Two bits: hits since the eviction queues last asked, 3 means "3 or more".
const HIT: u32 = 1 << 20;
const HITS: u32 = 3 * HIT;
/// The slot holds a block.
const LIVE: u32 = 1 << 22;
/// The block comes from before an unclean stop and has not been verified since.
const SUSPECT: u32 = 1 << 23;

/// One word per slot.
pub(super) struct SlotStates(Box<[AtomicU32]>);

impl SlotStates {
    pub(super) fn new(slots: u32) -> Self {
        Self((0..slots).map(|_| AtomicU32::new(0)).collect())
    }

    fn word(&self, slot: u32) -> Option<&AtomicU32> {
        self.0.get(slot as usize)
    }

    /// Pins `slot` and counts a hit; false when it holds no block.
    pub(super) fn pin(&self, slot: u32) -> bool {
        self.try_pin(slot, |word| if word & HITS == HITS { word + 1 } else { word + 1 + HIT })
    }

    /// Pins `slot` once more, for somebody who has it pinned already or does not count as a hit.
    pub(super) fn pin_quietly(&self, slot: u32) -> bool {
        self.try_pin(slot, |word| word + 1)
    }

    fn try_pin(&self, slot: u32, next: impl Fn(u32) -> u32) -> bool {
        let pinned = |word: u32| (word & LIVE != 0 && word & PINS < PINS).then(|| next(word));
        self.word(slot).is_some_and(|word| {
            word.fetch_update(Ordering::AcqRel, Ordering::Acquire, pinned).is_ok()
        })
    }

    pub(super) fn unpin(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_sub(1, Ordering::Release);
        }
    }

    pub(super) fn is_pinned(&self, slot: u32) -> bool {
        self.word(slot).is_some_and(|word| word.load(Ordering::Acquire) & PINS != 0)
    }

    pub(super) fn is_live(&self, slot: u32) -> bool {
        self.word(slot).is_some_and(|word| word.load(Ordering::Acquire) & LIVE != 0)
    }

    /// The slot holds a block from now on. Call it before the block's place is made known.
    pub(super) fn fill(&self, slot: u32, suspect: bool) {
        if let Some(word) = self.word(slot) {
            word.store(if suspect { LIVE | SUSPECT } else { LIVE }, Ordering::Release);
        }
    }

    /// Nobody can pin the slot from now on; pins that exist stay.
    pub(super) fn kill(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_and(PINS, Ordering::AcqRel);
        }
    }

    pub(super) fn is_suspect(&self, slot: u32) -> bool {
        self.word(slot).is_some_and(|word| word.load(Ordering::Acquire) & SUSPECT != 0)
    }

    pub(super) fn trust(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_and(!SUSPECT, Ordering::AcqRel);
        }
    }
}

impl super::s3fifo::Usage for SlotStates {
    fn hits(&self, slot: u32) -> u32 {
        self.word(slot).map_or(0, |word| (word.load(Ordering::Relaxed) & HITS) / HIT)
    }

    fn forget_hits(&self, slot: u32, hits: u32) {
        if let Some(word) = self.word(slot) {
            // Hits that come in between are counted, save that they stop at three.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(word - HIT * hits.min((word & HITS) / HIT))
            });
        }
    }

    fn is_pinned(&self, slot: u32) -> bool {
        self.is_pinned(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::s3fifo::Usage as _;
    use super::*;

    #[test]
    fn a_slot_without_a_block_cannot_be_pinned() {
        let slots = SlotStates::new(2);
        assert!(!slots.pin(0));
        assert!(!slots.pin(2), "no such slot");
        slots.fill(0, false);
        assert!(slots.pin(0) && slots.is_pinned(0));
        slots.kill(0);
        assert!(!slots.pin(0) && slots.is_pinned(0), "the pin outlives the block");
        slots.unpin(0);
        assert!(!slots.is_pinned(0));
    }

    #[test]
    fn hits_stop_at_three_and_are_forgotten_one_by_one() {
        let slots = SlotStates::new(1);
        slots.fill(0, true);
        for _ in 0..5 {
            assert!(slots.pin(0));
        }
        assert_eq!(slots.hits(0), 3);
        slots.forget_hits(0, 1);
        assert_eq!(slots.hits(0), 2);
        slots.forget_hits(0, 3);
        assert_eq!(slots.hits(0), 0);
        assert!(slots.is_live(0) && slots.is_suspect(0) && slots.is_pinned(0));
        slots.trust(0);
        assert!(slots.is_live(0) && !slots.is_suspect(0));
    }
}
