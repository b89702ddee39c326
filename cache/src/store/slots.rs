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
/// The block has not been compared with its checksum since the drive was opened, or since it was doubted.
const SUSPECT: u32 = 1 << 23;
/// The block was found to be damaged: not even those who have it pinned may read it again.
const DAMAGED: u32 = 1 << 24;
/// Bytes of the block have gone to a socket by reference: the kernel may hold pages of the slot for as
/// long as a client takes to acknowledge them, pins or no pins.
const SENT: u32 = 1 << 25;
/// Two bits: how many are reading the block from the drive, to compare it with its checksum. Memory fills with bytes
/// that nobody has compared yet.
const CHECK: u32 = 1 << 26;
const CHECKS: u32 = 3 * CHECK;

/// One word per slot.
pub(super) struct SlotStates(Box<[AtomicU32]>);

impl SlotStates {
    /// No slot holds a block. Sockets of an earlier process may still be sending from any of them.
    pub(super) fn new(slots: u32) -> Self {
        Self((0..slots).map(|_| AtomicU32::new(SENT)).collect())
    }

    fn word(&self, slot: u32) -> Option<&AtomicU32> {
        self.0.get(slot as usize)
    }

    /// Pins `slot` and counts a hit; false when it holds no block.
    pub(super) fn pin(&self, slot: u32) -> bool {
        let hit = |word: u32| if word & HITS == HITS { word } else { word + HIT };
        self.update(slot, |word| (word & LIVE != 0 && word & PINS < PINS).then(|| hit(word) + 1))
    }

    /// Pins `slot` without counting a hit; false when it holds no block.
    pub(super) fn pin_quietly(&self, slot: u32) -> bool {
        self.update(slot, |word| (word & LIVE != 0 && word & PINS < PINS).then(|| word + 1))
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Pins once more a `slot` that the caller has pinned: its block can still be read, even if it
    /// was evicted from the index meanwhile. False when it was found to be damaged.
    pub(super) fn pin_again(&self, slot: u32) -> bool {
        self.update(slot, |word| (word & DAMAGED == 0 && word & PINS < PINS).then(|| word + 1))
    }

    fn update(&self, slot: u32, next: impl Fn(u32) -> Option<u32>) -> bool {
        self.word(slot).is_some_and(|word| {
            word.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
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

    /// Nobody can pin the slot anew from now on. Pins that exist stay, and their holders may go on
    /// reading, under the same suspicion as before.
    pub(super) fn kill(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_and(PINS | SUSPECT | DAMAGED | SENT | CHECKS, Ordering::AcqRel);
        }
    }

    /// The block in the slot is damaged: nobody can read it from now on, pinned or not. False when that was known.
    pub(super) fn condemn(&self, slot: u32) -> bool {
        self.word(slot).is_some_and(|word| {
            word.fetch_and(!LIVE, Ordering::AcqRel);
            word.fetch_or(DAMAGED, Ordering::AcqRel) & DAMAGED == 0
        })
    }

    pub(super) fn is_damaged(&self, slot: u32) -> bool {
        self.word(slot).is_some_and(|word| word.load(Ordering::Acquire) & DAMAGED != 0)
    }

    /// Whether what memory has of the block can be sent unread. Ask when memory was found to have it, or was read:
    /// bytes that came in before are sound if the block is so now.
    pub(super) fn is_sound(&self, slot: u32) -> bool {
        let doubts = SUSPECT | DAMAGED | CHECKS;
        self.word(slot).is_some_and(|word| word.load(Ordering::Acquire) & doubts == 0)
    }

    /// The block is about to be read from the drive. The caller has the slot pinned, and is one of two who may do
    /// this: the reader thread that has the slot, and the scrubber.
    pub(super) fn begin_check(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_add(CHECK, Ordering::AcqRel);
        }
    }

    /// It was read, and [trusted](Self::trust) or [condemned](Self::condemn) before this call.
    pub(super) fn end_check(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_sub(CHECK, Ordering::AcqRel);
        }
    }

    /// Bytes of the block are about to go to a socket by reference. The caller has the slot pinned.
    pub(super) fn note_sent(&self, slot: u32) {
        if let Some(word) = self.word(slot)
            && word.load(Ordering::Relaxed) & SENT == 0
        {
            word.fetch_or(SENT, Ordering::AcqRel);
        }
    }

    /// Whether sockets may hold pages of the slot.
    pub(super) fn was_sent(&self, slot: u32) -> bool {
        self.word(slot).is_some_and(|word| word.load(Ordering::Acquire) & SENT != 0)
    }

    /// The drive may be bringing bytes of the block into memory that nobody compares: so whoever wants it next does.
    pub(super) fn doubt(&self, slot: u32) {
        if let Some(word) = self.word(slot) {
            word.fetch_or(SUSPECT, Ordering::AcqRel);
        }
    }

    pub(super) fn trust(&self, slot: u32) {
        if let Some(word) = self.word(slot)
            && word.load(Ordering::Relaxed) & SUSPECT != 0
        {
            word.fetch_and(!SUSPECT, Ordering::AcqRel);
        }
    }

    /// Hits since they were last forgotten, 0 to 3.
    pub(super) fn hits(&self, slot: u32) -> u32 {
        self.word(slot).map_or(0, |word| (word.load(Ordering::Relaxed) & HITS) / HIT)
    }

    /// Takes `hits` off.
    pub(super) fn forget_hits(&self, slot: u32, hits: u32) {
        if let Some(word) = self.word(slot) {
            // Hits that come in between are counted, save that they stop at three.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(word - HIT * hits.min((word & HITS) / HIT))
            });
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(!slots.pin_quietly(0));
        slots.fill(1, false);
        assert!(slots.pin_quietly(1) && slots.is_pinned(1));
        assert_eq!(slots.hits(1), 0);
    }

    #[test]
    fn who_has_a_pin_reads_on_until_the_block_is_damaged() {
        let slots = SlotStates::new(1);
        slots.fill(0, true);
        assert!(slots.pin(0));
        slots.kill(0);
        assert!(slots.pin_again(0) && !slots.is_sound(0) && !slots.is_live(0));
        assert!(slots.condemn(0) && !slots.condemn(0));
        assert!(!slots.pin_again(0) && slots.is_pinned(0));
        slots.fill(0, false);
        assert!(slots.pin(0) && slots.pin_again(0));
    }

    #[test]
    fn what_was_sent_is_remembered_until_the_slot_is_refilled() {
        let slots = SlotStates::new(1);
        assert!(slots.was_sent(0), "by whoever had the drive before");
        slots.fill(0, false);
        assert!(!slots.was_sent(0) && slots.is_sound(0) && slots.pin(0));
        slots.note_sent(0);
        slots.kill(0);
        slots.unpin(0);
        assert!(slots.was_sent(0));
        slots.fill(0, true);
        assert!(!slots.was_sent(0) && !slots.is_sound(0));
    }

    #[test]
    fn what_is_being_read_in_is_not_sound_until_it_was_compared() {
        let slots = SlotStates::new(1);
        slots.fill(0, false);
        assert!(slots.pin(0) && slots.is_sound(0));
        slots.begin_check(0);
        slots.begin_check(0);
        slots.trust(0);
        slots.end_check(0);
        assert!(!slots.is_sound(0), "the other one has not compared it yet");
        slots.kill(0);
        slots.end_check(0);
        assert!(slots.is_sound(0) && slots.is_pinned(0));
        slots.begin_check(0);
        slots.condemn(0);
        slots.end_check(0);
        assert!(!slots.is_sound(0));
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
        assert!(slots.is_live(0) && !slots.is_sound(0) && slots.is_pinned(0));
        slots.trust(0);
        assert!(slots.is_live(0) && slots.is_sound(0));
    }
}
