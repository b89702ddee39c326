//! One route of one neighbor, in eight bytes: a million of them is what a full table is.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::attributes::AttributesId;
use super::generation::Generation;
use crate::policy::Refusal;

/// Bits of each field, lowest first: attribute set, second learned, generation, verdict.
const ATTRIBUTES_BITS: u32 = AttributesId::BITS;
const LEARNED_BITS: u32 = 28;
const GENERATION_BITS: u32 = Generation::BITS;
const VERDICT_BITS: u32 = 5;
const _: () = assert!(ATTRIBUTES_BITS + LEARNED_BITS + GENERATION_BITS + VERDICT_BITS == u64::BITS);

/// What the RIB knows of a route beside its prefix. Never 0, so that no route takes no more room
/// than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route(NonZeroU64);

/// Of the verdict; refusals follow.
const ACCEPTED: u64 = 0;
const _: () = assert!(Refusal::ALL.len() < 1 << VERDICT_BITS);

impl Route {
    pub(super) fn new(
        attributes: AttributesId,
        learned: Seconds,
        generation: Generation,
        verdict: Result<(), Refusal>,
    ) -> Self {
        let verdict = match verdict {
            Ok(()) => ACCEPTED,
            Err(refusal) => ACCEPTED + 1 + refusal as u64,
        };
        let mut bits = verdict;
        bits = bits << GENERATION_BITS | u64::from(generation.number());
        bits = bits << LEARNED_BITS | u64::from(learned.0);
        bits = bits << ATTRIBUTES_BITS | u64::from(attributes.number());
        // The attributes are not 0.
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MAX))
    }

    pub(super) fn attributes(self) -> AttributesId {
        AttributesId::from_low_bits(self.0.get())
    }

    pub(super) fn learned(self) -> Seconds {
        let bits = self.0.get() >> ATTRIBUTES_BITS & u64::from(Seconds::MAX);
        Seconds(u32::try_from(bits).unwrap_or(Seconds::MAX))
    }

    pub(super) fn generation(self) -> Generation {
        Generation::from_low_bits(self.0.get() >> (ATTRIBUTES_BITS + LEARNED_BITS))
    }

    pub(super) fn is_accepted(self) -> bool {
        self.verdict() == ACCEPTED
    }

    pub(super) fn refusal(self) -> Option<Refusal> {
        let index = usize::try_from(self.verdict().checked_sub(ACCEPTED + 1)?).ok()?;
        Refusal::ALL.get(index).copied()
    }

    fn verdict(self) -> u64 {
        self.0.get() >> (u64::BITS - VERDICT_BITS)
    }
}

/// Whole seconds since the RIB began; 8.5 years fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(u32);

impl Seconds {
    const MAX: u32 = (1 << LEARNED_BITS) - 1;

    pub(super) fn between(begin: Instant, now: Instant) -> Self {
        let seconds = now.saturating_duration_since(begin).as_secs();
        Self(u32::try_from(seconds).unwrap_or(Self::MAX).min(Self::MAX))
    }

    pub(super) fn until(self, later: Self) -> Duration {
        Duration::from_secs(u64::from(later.0.saturating_sub(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_do_not_touch_each_other(
            attributes in 1u64..1 << ATTRIBUTES_BITS,
            learned in 0u32..=Seconds::MAX,
            generation in 0u64..1 << GENERATION_BITS,
            verdict in 0usize..=Refusal::ALL.len(),
        ) {
            let attributes = AttributesId::from_low_bits(attributes);
            let generation = Generation::from_low_bits(generation);
            let verdict = match verdict.checked_sub(1) {
                None => Ok(()),
                Some(index) => Err(Refusal::ALL[index]),
            };
            let route = Route::new(attributes, Seconds(learned), generation, verdict);
            prop_assert_eq!(route.attributes(), attributes);
            prop_assert_eq!(route.learned(), Seconds(learned));
            prop_assert_eq!(route.generation(), generation);
            prop_assert_eq!(route.is_accepted(), verdict.is_ok());
            prop_assert_eq!(route.refusal(), verdict.err());
        }
    }
}
