//! Which bytes are asked for, and in which order.

use std::ops::Range;

use clap::ValueEnum;

use crate::content::mix;

/// In which order the ranges of an object are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Any, again and again
    Random,
    /// In random order, but each only once over all connections; the load ends when all have been
    Once,
    /// Each connection goes through the object from its start
    Sequential,
}

/// Hands out ranges.
#[derive(Debug)]
pub(crate) struct Plan {
    size: u64,
    /// Bytes per range; `None` for the whole object.
    range: Option<u64>,
    order: Order,
    random: Random,
    /// Starts of the ranges that have not been asked for yet, if each is to be once.
    left: Vec<u64>,
}

impl Plan {
    /// For an object of `size` bytes in ranges of `range` bytes, both at least 1.
    pub(crate) fn new(size: u64, range: Option<u64>, order: Order) -> Self {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let mut left = Vec::new();
        if let (Order::Once, Some(range)) = (order, range) {
            left = (0..size.div_ceil(range)).map(|number| number * range).collect();
            for last in (1..left.len()).rev() {
                left.swap(last, random.below(last as u64 + 1) as usize);
            }
        }
        Self { size, range, order, random, left }
    }

    /// Whether requests have a `Range`.
    pub(crate) fn is_ranged(&self) -> bool {
        self.range.is_some()
    }

    /// What a connection that has made `requests` requests asks for next; `None` when all has been asked for.
    pub(crate) fn next(&mut self, requests: u64) -> Option<Range<u64>> {
        let Some(range) = self.range else { return Some(0..self.size) };
        let ranges = self.size.div_ceil(range);
        let start = match self.order {
            Order::Random => self.random.below(ranges) * range,
            Order::Once => self.left.pop()?,
            Order::Sequential => requests % ranges * range,
        };
        Some(start..(start + range).min(self.size))
    }
}

/// The same numbers in each run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.0)) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_is_each_range_once() {
        let mut plan = Plan::new(1000, Some(64), Order::Once);
        let mut all: Vec<Range<u64>> = std::iter::from_fn(|| plan.next(0)).collect();
        all.sort_by_key(|range| range.start);
        assert_eq!(all.len(), 16);
        assert_eq!(all[15], 960..1000);
        assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn sequential_begins_again_at_the_end() {
        let mut plan = Plan::new(10, Some(4), Order::Sequential);
        let ranges: Vec<Range<u64>> = (0..4).map_while(|requests| plan.next(requests)).collect();
        assert_eq!(ranges, [0..4, 4..8, 8..10, 0..4]);
    }
}
