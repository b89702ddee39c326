//! The `meta` file of a drive: whose it is, and whether it was closed in order. 64 bytes, replaced
//! as a whole: magic (8), format, slot size, MiB of the slab, epoch, epoch again, clean flag (4
//! each), uuid (16), MiB of the slab without small slots (4), zeros, and the CRC-32C of all before it.
//!
//! Format 1 had large slots only, and zeros where format 2 has the MiB without small slots. It is read
//! as what it is, and becomes format 2 when the drive is opened.
//!
//! Where the epoch stands again, earlier releases had the last one up to which blocks were to be compared with their
//! checksums: so they compare all. This one does in any case, and does not read it.

use super::BLOCK;
use super::layout::SlotLayout;

const MAGIC: [u8; 8] = *b"mcc-disk";
const SIZE: usize = 64;

/// The format that this release writes. It reads this one and the one before.
pub(super) const FORMAT: u32 = 2;
const LARGE_SLOTS_ONLY: u32 = 1;

/// What the `meta` file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveMeta {
    /// Identity of the drive, random, given when it was first used. Placement goes by it.
    pub uuid: u128,
    /// Size of the slab in MiB.
    pub mebibytes: u32,
    /// How many of them, from the beginning, are large slots and nothing else.
    pub plain: u32,
    /// How often the drive has been opened.
    pub epoch: u32,
    /// Whether the last stop was in order: for the log.
    pub clean: bool,
}

/// Why a `meta` file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The bytes are damaged: what the drive holds cannot be trusted.
    #[error("damaged")]
    Damaged,
    /// Another release wrote it.
    #[error("format {0}, this release knows formats {LARGE_SLOTS_ONLY} to {FORMAT}")]
    Format(u32),
    /// Its slots have another size.
    #[error("slots of {0} bytes, this release has slots of {BLOCK}")]
    SlotSize(u32),
}

impl DriveMeta {
    /// The slots that it speaks of.
    pub(super) fn layout(&self) -> SlotLayout {
        SlotLayout::new(self.mebibytes, self.plain)
    }

    /// The file's content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIZE);
        bytes.extend_from_slice(&MAGIC);
        let clean = u32::from(self.clean);
        for field in [FORMAT, BLOCK, self.mebibytes, self.epoch, self.epoch, clean] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.uuid.to_le_bytes());
        bytes.extend_from_slice(&self.plain.to_le_bytes());
        bytes.resize(SIZE - 4, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`MetaError`] says why it cannot be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetaError> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(MetaError::Damaged)?;
        let rest = body.strip_prefix(&MAGIC).ok_or(MetaError::Damaged)?;
        if bytes.len() != SIZE || u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
            return Err(MetaError::Damaged);
        }
        let mut words = rest
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
        let mut next = || words.next().unwrap_or_default();
        let (format, slot_size) = (next(), next());
        if format != FORMAT && format != LARGE_SLOTS_ONLY {
            return Err(MetaError::Format(format));
        }
        if slot_size != BLOCK {
            return Err(MetaError::SlotSize(slot_size));
        }
        let (mebibytes, epoch, _, clean) = (next(), next(), next(), next() == 1);
        let uuid = (0..4).fold(0, |uuid, word| uuid | u128::from(next()) << (32 * word));
        let plain = match format {
            LARGE_SLOTS_ONLY => mebibytes,
            _ => next(),
        };
        Ok(Self { uuid, mebibytes, plain, epoch, clean })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_comes_back_and_damage_is_seen(
            uuid: u128, mebibytes: u32, plain: u32, epoch: u32, clean: bool,
            bit in 0_usize..512,
        ) {
            let meta = DriveMeta { uuid, mebibytes, plain, epoch, clean };
            let mut bytes = meta.encode();
            prop_assert_eq!(DriveMeta::decode(&bytes), Ok(meta));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(DriveMeta::decode(&bytes), Err(MetaError::Damaged));
        }

        #[test]
        fn garbage_is_damage(bytes: Vec<u8>) {
            prop_assert_eq!(DriveMeta::decode(&bytes), Err(MetaError::Damaged));
        }
    }

    fn as_format(format: u8, meta: DriveMeta) -> Vec<u8> {
        let mut bytes = meta.encode();
        bytes[8] = format;
        let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
        bytes[60..].copy_from_slice(&crc);
        bytes
    }

    const META: DriveMeta = DriveMeta { uuid: 1, mebibytes: 100, plain: 0, epoch: 1, clean: true };

    #[test]
    fn a_later_format_is_named() {
        assert_eq!(DriveMeta::decode(&as_format(3, META)), Err(MetaError::Format(3)));
    }

    #[test]
    fn the_first_format_has_large_slots_only() {
        let read = DriveMeta::decode(&as_format(1, META));
        assert_eq!(read, Ok(DriveMeta { plain: 100, ..META }));
    }

    #[test]
    fn what_an_earlier_release_wrote_is_read() {
        let mut bytes = META.encode();
        // The last epoch that had not been closed.
        bytes[24..28].copy_from_slice(&7_u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..SIZE - 4]);
        bytes[SIZE - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(DriveMeta::decode(&bytes), Ok(META));
    }
}
