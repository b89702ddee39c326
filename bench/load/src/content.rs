//! The bytes of an object, computed from its name and the offset.
//!
//! No two words of eight bytes are alike, within an object or between two, so that a byte from a wrong place or of
//! a wrong object is found where it is compared.

/// Bytes compared at a time.
const PIECE: usize = 16 << 10;

/// An object's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    seed: u64,
}

impl Content {
    /// Of the object at `path`: the last part of it is the name that counts.
    pub(crate) fn of(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let seed =
            name.bytes().fold(0x9e37_79b9_7f4a_7c15, |seed, byte| mix(seed ^ u64::from(byte)));
        Self { seed }
    }

    /// Fills `out` with what begins at `offset`.
    pub(crate) fn fill(self, offset: u64, out: &mut [u8]) {
        let skipped = (offset % 8) as usize;
        let (first, rest) = out.split_at_mut(((8 - skipped) % 8).min(out.len()));
        let mut number = offset / 8;
        if !first.is_empty() {
            let word = self.word(number).into_iter().skip(skipped);
            first.iter_mut().zip(word).for_each(|(to, from)| *to = from);
            number += 1;
        }
        let (eights, last) = rest.as_chunks_mut();
        let behind = number + eights.len() as u64;
        for (eight, number) in eights.iter_mut().zip(number..) {
            *eight = self.word(number);
        }
        last.iter_mut().zip(self.word(behind)).for_each(|(to, from)| *to = from);
    }

    /// Where `bytes`, said to begin at `offset`, first differ from the object.
    pub(crate) fn first_difference(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = [0; PIECE];
        for (piece, start) in bytes.chunks(PIECE).zip((offset..).step_by(PIECE)) {
            let expected = expected.get_mut(..piece.len())?;
            self.fill(start, expected);
            if piece != expected {
                let equal = piece.iter().zip(expected).take_while(|(is, should)| *is == *should);
                return Some(start + equal.count() as u64);
            }
        }
        None
    }

    fn word(self, number: u64) -> [u8; 8] {
        mix(self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes()
    }
}

/// The finalizer of SplitMix64: a bijection, each bit of the result depends on each of `word`.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_is_what_the_whole_has_there() {
        let content = Content::of("/a/object");
        let mut whole = vec![0; 100];
        content.fill(0, &mut whole);
        for start in 0..40 {
            for end in start..60 {
                let mut piece = vec![0; end - start];
                content.fill(start as u64, &mut piece);
                assert_eq!(piece, whole[start..end], "{start}..{end}");
            }
        }
    }

    #[test]
    fn only_the_last_part_of_a_path_counts() {
        let first = |path: &str| {
            let mut bytes = [0; 8];
            Content::of(path).fill(0, &mut bytes);
            bytes
        };
        assert_eq!(first("/1/object"), first("object"));
        assert_eq!(first("/object?token=7"), first("object"));
        assert_ne!(first("/object"), first("/object2"));
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let content = Content::of("object");
        let mut bytes = vec![0; 3 * PIECE];
        content.fill(5, &mut bytes);
        assert_eq!(content.first_difference(5, &bytes), None);
        assert_eq!(content.first_difference(6, &bytes), Some(6));
        bytes[2 * PIECE + 7] ^= 1;
        assert_eq!(content.first_difference(5, &bytes), Some(5 + 2 * PIECE as u64 + 7));
    }
}
