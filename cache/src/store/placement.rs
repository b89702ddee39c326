//! Which drive an extent of an object goes to: weighted rendezvous hashing.
//!
//! Each drive draws a number for the extent from both their names, scaled by its size; the highest
//! wins. So a large object is spread over all drives in proportion to their sizes, a lost drive's
//! extents go to all others, and nothing else moves.

use super::key::mix;

/// A drive that may be chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Its identity.
    pub(super) uuid: u128,
    /// Its size, in any unit.
    pub(super) weight: u32,
}

/// The winner's place among the candidates.
pub(super) fn choose<T>(
    object: u128,
    extent: u32,
    candidates: impl Iterator<Item = (Candidate, T)>,
) -> Option<T> {
    let name = mix(object as u64 ^ mix((object >> 64) as u64 ^ u64::from(extent)));
    candidates
        .map(|(drive, place)| (score(name, drive), place))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, place)| place)
}

/// Weight over an exponentially distributed draw: the highest of several is each drive's with a
/// probability in proportion to its weight.
fn score(name: u64, drive: Candidate) -> f64 {
    let draw = mix(name ^ mix(drive.uuid as u64 ^ mix((drive.uuid >> 64) as u64)));
    // 53 bits, moved off zero: strictly between 0 and 1.
    let uniform = ((draw >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(drive.weight) / -uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(drives: &[Candidate], extent: u32) -> usize {
        choose(7, extent, drives.iter().copied().zip(0..)).unwrap()
    }

    #[test]
    fn shares_follow_sizes_and_a_lost_drive_moves_only_its_own() {
        let drives = [(11, 1), (12, 2), (13, 5)].map(|(uuid, weight)| Candidate { uuid, weight });
        let mut shares = [0_u32; 3];
        for extent in 0..8000 {
            let winner = chosen(&drives, extent);
            shares[winner] += 1;
            let without_last = chosen(&drives[..2], extent);
            assert!(winner == 2 || winner == without_last);
        }
        for (share, expected) in shares.into_iter().zip([1000, 2000, 5000_u32]) {
            assert!(share.abs_diff(expected) < expected / 6, "{shares:?}");
        }
    }

    #[test]
    fn no_drive_no_choice() {
        assert_eq!(choose(7, 0, std::iter::empty::<(Candidate, ())>()), None);
    }
}
