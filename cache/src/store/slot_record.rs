//! One line of the slot table: which block lies in a slot. 32 bytes, little endian:
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | number of the object's generation |
//! | 8..12 | index of the block |
//! | 12..16 | length of the block in bytes |
//! | 16..20 | CRC-32C of the block's bytes |
//! | 20..24 | the slot itself: a record in the wrong place is no record |
//! | 24..28 | epoch (run of the node) in which the record was made |
//! | 28..32 | CRC-32C of bytes 0..28 |
//!
//! An empty slot is 32 zero bytes.

use super::BLOCK;

/// Bytes per record.
pub(super) const SLOT_RECORD: usize = 32;

/// A record that names a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRecord {
    /// Number of the object's generation.
    pub number: u64,
    /// Index of the block in the object.
    pub block: u32,
    /// Its length in bytes, 1 to 1 MiB.
    pub length: u32,
    /// CRC-32C of its bytes.
    pub crc: u32,
    /// The slot that it lies in.
    pub slot: u32,
    /// The epoch in which it was made. Releases that trusted blocks of earlier runs looked at it.
    pub epoch: u32,
}

/// What 32 bytes of the slot table say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEntry {
    /// Nothing lies there.
    Empty,
    /// A block lies there.
    Block(SlotRecord),
    /// Torn or damaged: nothing that can be used lies there.
    Damaged,
}

impl SlotRecord {
    /// The record as it stands on the drive.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_RECORD] {
        let mut bytes = [0; SLOT_RECORD];
        let (body, crc) = bytes.split_at_mut(SLOT_RECORD - 4);
        let (number, rest) = body.split_at_mut(8);
        number.copy_from_slice(&self.number.to_le_bytes());
        let fields = [self.block, self.length, self.crc, self.slot, self.epoch];
        for (place, field) in rest.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        crc.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        bytes
    }
}

impl SlotEntry {
    /// Reads the 32 bytes that stand at the place of `slot`.
    #[must_use]
    pub fn decode(bytes: &[u8; SLOT_RECORD], slot: u32) -> Self {
        if *bytes == [0; SLOT_RECORD] {
            return Self::Empty;
        }
        let mut words = bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
        let mut next = || words.next().unwrap_or_default();
        let (low, high) = (next(), next());
        let record = SlotRecord {
            number: u64::from(high) << 32 | u64::from(low),
            block: next(),
            length: next(),
            crc: next(),
            slot: next(),
            epoch: next(),
        };
        let sound = next() == crc32c::crc32c(bytes.get(..SLOT_RECORD - 4).unwrap_or_default())
            && record.slot == slot
            && (1..=BLOCK).contains(&record.length);
        if sound { Self::Block(record) } else { Self::Damaged }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn record()(number: u64, block: u32, length in 1..=BLOCK, crc: u32, slot: u32, epoch: u32)
            -> SlotRecord {
            SlotRecord { number, block, length, crc, slot, epoch }
        }
    }

    proptest! {
        #[test]
        fn records_come_back(record in record()) {
            let entry = SlotEntry::decode(&record.encode(), record.slot);
            prop_assert_eq!(entry, SlotEntry::Block(record));
        }

        #[test]
        fn a_changed_bit_or_place_damages_it(record in record(), bit in 0_usize..256, other: u32) {
            let mut bytes = record.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(SlotEntry::decode(&bytes, record.slot), SlotEntry::Damaged);
            if other != record.slot {
                prop_assert_eq!(SlotEntry::decode(&record.encode(), other), SlotEntry::Damaged);
            }
        }

        #[test]
        fn a_torn_write_damages_it(old in record(), new in record(), at in 1_usize..32) {
            let mut bytes = new.encode();
            bytes[at..].copy_from_slice(&old.encode()[at..]);
            prop_assume!(bytes != new.encode() && bytes != old.encode());
            prop_assert_eq!(SlotEntry::decode(&bytes, new.slot), SlotEntry::Damaged);
        }

        #[test]
        fn garbage_is_damaged(bytes: [u8; 32], slot: u32) {
            prop_assume!(bytes != [0; 32]);
            prop_assert_eq!(SlotEntry::decode(&bytes, slot), SlotEntry::Damaged);
        }
    }

    #[test]
    fn zeros_are_empty() {
        assert_eq!(SlotEntry::decode(&[0; 32], 0), SlotEntry::Empty);
    }
}
