//! IPv4 prefixes in order, each with a number: eight bytes a prefix, found in some ten steps that
//! mostly stay in one place in memory.
//!
//! A trie takes a step for each few bits of the address, and with a million prefixes in it nearly every
//! step waits for memory. Here the upper half of the address names a block of the table at once, and a
//! block is a sorted list, or some, each of a part of its addresses.

use std::hint::black_box;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::prefix_table::PrefixId;

/// A list that has become longer than this is divided, so that nothing is ever inserted into a long
/// one, ...
const LONGEST: usize = 64;
/// ... into so many, and each of them again, but no more than twice: lists that are empty take memory, 6 KiB for 65
/// prefixes at the worst.
const DIVIDED: usize = 16;
const MOST_LISTS: usize = DIVIDED * DIVIDED;

/// The map.
#[derive(Debug, Default)]
pub(super) struct Ipv4Prefixes {
    /// By the two upper octets of the address; none of a first octet that no prefix has had.
    blocks: Vec<Vec<Block>>,
    /// How many prefixes there are of each length: of most lengths above 24 there are none.
    lengths: Vec<u32>,
}

/// The prefixes whose addresses have the same upper half.
#[derive(Debug, Clone)]
enum Block {
    Whole(List),
    /// By the next bits of the address: four for sixteen lists, eight for 256.
    Divided(Box<[List]>),
}

/// The part of a list that a search reads first.
#[derive(Debug, Clone, Copy)]
pub(super) struct BeginOfSearch<'a>(&'a [(Key, PrefixId)]);

impl BeginOfSearch<'_> {
    /// Has memory bring it.
    pub(super) fn touch(self) {
        black_box(self.0.first().map(|(key, _)| key.0));
    }
}

/// In order.
type List = Vec<(Key, PrefixId)>;

/// The lower half of the address, then the length in eight bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u32);

/// Where a prefix is, or would be, in the order of address, then length.
#[derive(Debug, Clone, Copy)]
struct Position {
    octets: [u8; 2],
    key: Key,
}

impl Position {
    fn of(prefix: &Ipv4Net) -> Self {
        let [a, b, c, d] = prefix.network().octets();
        let key = Key(u32::from_be_bytes([0, c, d, prefix.prefix_len()]));
        Self { octets: [a, b], key }
    }

    fn prefix(self) -> Ipv4Net {
        let ([a, b], [_, c, d, length]) = (self.octets, self.key.0.to_be_bytes());
        // The length is that of a prefix: at most 32.
        Ipv4Net::new(Ipv4Addr::new(a, b, c, d), length).unwrap_or_default()
    }
}

impl Key {
    /// Which of so many lists it is in, a power of two.
    fn list(self, lists: usize) -> usize {
        self.scaled(lists) >> 16
    }

    /// The lower half of the address, where the whole of it is `lists`, in 65536th parts.
    fn scaled(self, lists: usize) -> usize {
        let [_, high, low, _] = self.0.to_be_bytes();
        usize::from(u16::from_be_bytes([high, low])) * lists
    }
}

impl Block {
    fn lists(&self) -> &[List] {
        match self {
            Self::Whole(list) => std::slice::from_ref(list),
            Self::Divided(lists) => lists,
        }
    }

    fn list_of(&self, key: Key) -> Option<(&List, Guess)> {
        match self {
            Self::Whole(list) => Some((list, Guess::new(list, key, 1))),
            Self::Divided(lists) => {
                let list = lists.get(key.list(lists.len()))?;
                Some((list, Guess::new(list, key, lists.len())))
            }
        }
    }

    fn list_of_mut(&mut self, key: Key) -> Option<(&mut List, Guess)> {
        match self {
            Self::Whole(list) => {
                let guess = Guess::new(list, key, 1);
                Some((list, guess))
            }
            Self::Divided(lists) => {
                let count = lists.len();
                let list = lists.get_mut(key.list(count))?;
                let guess = Guess::new(list, key, count);
                Some((list, guess))
            }
        }
    }

    /// Those from `first` on.
    fn from(&self, first: Key) -> impl Iterator<Item = (Key, PrefixId)> {
        let lists = self.lists();
        let lists = lists.get(first.list(lists.len())..).unwrap_or_default();
        lists.iter().flat_map(move |list| {
            let before = list.partition_point(|(key, _)| *key < first);
            list.get(before..).unwrap_or_default().iter().copied()
        })
    }

    #[cold]
    fn divide(&mut self) {
        let count = self.lists().len() * DIVIDED;
        if count > MOST_LISTS {
            return;
        }
        let mut lists = vec![List::new(); count];
        for &(key, id) in self.lists().iter().flatten() {
            if let Some(list) = lists.get_mut(key.list(count)) {
                list.push((key, id));
            }
        }
        *self = Self::Divided(lists.into());
    }
}

/// Where a prefix most likely is in its list. A long list has prefixes all over its block, so their
/// addresses tell, and nothing in the list has to be read.
#[derive(Debug, Clone, Copy)]
struct Guess(usize);

impl Guess {
    /// In one of so many lists.
    fn new(list: &List, key: Key, lists: usize) -> Self {
        Self((list.len() * (key.scaled(lists) & 0xffff)) >> 16)
    }
}

/// Searches from the guess on in growing steps: so most of what it reads lies side by side.
fn place(list: &List, Guess(guess): Guess, key: Key) -> Result<usize, usize> {
    let is_before = |index: usize| list.get(index).is_some_and(|(other, _)| *other < key);
    let (mut from, mut to, mut step) = (guess, guess, 4);
    if is_before(guess) {
        while to < list.len() && is_before(to) {
            (from, to) = (to + 1, (to + step).min(list.len()));
            step *= 2;
        }
    } else {
        while from > 0 && !is_before(from - 1) {
            (from, to) = (from.saturating_sub(step), from);
            step *= 2;
        }
    }
    let between = list.get(from..to).unwrap_or_default();
    let found = between.binary_search_by_key(&key, |(key, _)| *key);
    let found = found.map(|at| from + at).map_err(|at| from + at);
    match found {
        Err(at) if list.get(at).is_some_and(|(other, _)| *other == key) => Ok(at),
        other => other,
    }
}

impl Ipv4Prefixes {
    pub(super) fn get(&self, prefix: &Ipv4Net) -> Option<PrefixId> {
        let Position { octets: [first, second], key } = Position::of(prefix);
        let block = self.blocks.get(usize::from(first))?.get(usize::from(second))?;
        let (list, guess) = block.list_of(key)?;
        let (_, id) = list.get(place(list, guess, key).ok()?)?;
        Some(*id)
    }

    /// Where a search for the prefix will begin to read.
    pub(super) fn begin_of_search(&self, prefix: &Ipv4Net) -> Option<BeginOfSearch<'_>> {
        let Position { octets: [first, second], key } = Position::of(prefix);
        let block = self.blocks.get(usize::from(first))?.get(usize::from(second))?;
        let (list, Guess(guess)) = block.list_of(key)?;
        Some(BeginOfSearch(list.get(guess..)?))
    }

    /// The number of a prefix, which gets that of `new` if it has none.
    pub(super) fn get_or_insert_with(
        &mut self,
        prefix: &Ipv4Net,
        new: impl FnOnce() -> PrefixId,
    ) -> PrefixId {
        let Position { octets: [first, second], key } = Position::of(prefix);
        if self.blocks.is_empty() {
            self.blocks = vec![Vec::new(); 256];
            self.lengths = vec![0; 33];
        }
        let Some(blocks) = self.blocks.get_mut(usize::from(first)) else { return new() };
        if blocks.is_empty() {
            *blocks = vec![Block::Whole(List::new()); 256];
        }
        let Some(block) = blocks.get_mut(usize::from(second)) else { return new() };
        let Some((list, guess)) = block.list_of_mut(key) else { return new() };
        match place(list, guess, key) {
            Ok(at) => list.get(at).map_or_else(new, |(_, id)| *id),
            Err(at) => {
                let id = new();
                list.insert(at, (key, id));
                if list.len() > LONGEST {
                    block.divide();
                }
                if let Some(count) = self.lengths.get_mut(usize::from(prefix.prefix_len())) {
                    *count += 1;
                }
                id
            }
        }
    }

    pub(super) fn remove(&mut self, prefix: &Ipv4Net) -> Option<PrefixId> {
        let Position { octets: [first, second], key } = Position::of(prefix);
        let block = self.blocks.get_mut(usize::from(first))?.get_mut(usize::from(second))?;
        let (list, guess) = block.list_of_mut(key)?;
        let (_, id) = list.remove(place(list, guess, key).ok()?);
        if list.len() <= list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
        if list.is_empty() && block.lists().iter().all(Vec::is_empty) {
            *block = Block::Whole(List::new());
        }
        if let Some(count) = self.lengths.get_mut(usize::from(prefix.prefix_len())) {
            *count -= 1;
        }
        Some(id)
    }

    /// In order of address, then length: from `first` on, whether it is there or not.
    pub(super) fn iter_from(&self, first: Ipv4Net) -> impl Iterator<Item = (Ipv4Net, PrefixId)> {
        let first = Position::of(&first);
        self.blocks_from(first.octets).flat_map(move |(octets, block)| {
            let from = if octets == first.octets { first.key } else { Key(0) };
            block.from(from).map(move |(key, id)| (Position { octets, key }.prefix(), id))
        })
    }

    /// The same from the beginning, each as its first and last address: for a walk over everything.
    pub(super) fn for_each_range(&self, mut each: impl FnMut(u32, u32, PrefixId)) {
        for (first, blocks) in (0_u32..).zip(&self.blocks) {
            for (second, block) in (0_u32..).zip(blocks) {
                let upper_half = first << 24 | second << 16;
                for &(Key(key), id) in block.lists().iter().flatten() {
                    let address = upper_half | key >> 8;
                    let hosts = u32::MAX.checked_shr(key & 0xff).unwrap_or(0);
                    each(address, address | hosts, id);
                }
            }
        }
    }

    fn blocks_from(&self, [first, second]: [u8; 2]) -> impl Iterator<Item = ([u8; 2], &Block)> {
        let of_octets = (first..=255).zip(self.blocks.iter().skip(first.into()));
        of_octets.flat_map(move |(octet, blocks)| {
            let from = if octet == first { second } else { 0 };
            let blocks = (from..=255).zip(blocks.iter().skip(from.into()));
            blocks.map(move |(other, block)| ([octet, other], block))
        })
    }

    /// The prefixes that cover `prefix`, itself included, shortest first.
    pub(super) fn covering(&self, prefix: Ipv4Net) -> impl Iterator<Item = (Ipv4Net, PrefixId)> {
        let lengths = (0..=prefix.prefix_len()).zip(&self.lengths);
        lengths.filter(|(_, count)| **count > 0).filter_map(move |(length, _)| {
            let covering = Ipv4Net::new(prefix.addr(), length).ok()?.trunc();
            Some((covering, self.get(&covering)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Near each other, so that they cover and meet; or crowded into one block.
    fn prefix() -> impl Strategy<Value = Ipv4Net> {
        let near = (0..64_u32, 0..=32_u8).prop_map(|(bits, length)| (bits.reverse_bits(), length));
        let crowded =
            (0..0x1_0000_u32, 25..=32_u8).prop_map(|(low, length)| (0x0808_0000 | low, length));
        prop_oneof![near, crowded].prop_map(|(address, length)| {
            Ipv4Net::new(Ipv4Addr::from_bits(address), length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn is_an_ordered_map(
            steps in prop::collection::vec((prefix(), 0..4_u8), 0..200),
            crowd in 0..2000_usize,
            asked in prefix(),
        ) {
            let mut prefixes = Ipv4Prefixes::default();
            let mut map = BTreeMap::new();
            let crowd = (0..crowd).map(|i| {
                let address = Ipv4Addr::from_bits(0x0808_0000 | u32::try_from(i * 37 % 0x1_0000).unwrap());
                (Ipv4Net::new(address, 32).unwrap(), 1)
            });
            for (number, (prefix, step)) in crowd.chain(steps).enumerate() {
                let id = PrefixId(u32::try_from(number).unwrap());
                if step == 0 {
                    prop_assert_eq!(prefixes.remove(&prefix), map.remove(&prefix));
                } else {
                    let found = prefixes.get_or_insert_with(&prefix, || id);
                    prop_assert_eq!(found, *map.entry(prefix).or_insert(id));
                }
                prop_assert_eq!(prefixes.get(&prefix), map.get(&prefix).copied());
            }
            let entries = |(prefix, id): (&Ipv4Net, &PrefixId)| (*prefix, *id);
            prop_assert!(prefixes.iter_from(Ipv4Net::default()).eq(map.iter().map(entries)));
            prop_assert!(prefixes.iter_from(asked).eq(map.range(asked..).map(entries)));
            let mut ranges = Vec::new();
            prefixes.for_each_range(|first, last, id| ranges.push((first, last, id)));
            let range = |(prefix, id): (Ipv4Net, PrefixId)| {
                (prefix.network().to_bits(), prefix.broadcast().to_bits(), id)
            };
            prop_assert!(ranges.into_iter().eq(map.iter().map(entries).map(range)));
            let covering = map.iter().map(entries).filter(|(prefix, _)| prefix.contains(&asked));
            prop_assert!(prefixes.covering(asked).eq(covering));
            for prefix in map.keys() {
                prefixes.remove(prefix);
            }
            prop_assert!(prefixes.lengths.iter().all(|count| *count == 0));
            let is_empty = |block: &Block| matches!(block, Block::Whole(list) if list.capacity() == 0);
            prop_assert!(prefixes.blocks.iter().flatten().all(is_empty), "the memory goes back");
        }
    }

    #[test]
    fn no_list_becomes_long() {
        for (longest_prefix, longest_list) in [(24, LONGEST), (32, 511 + 8)] {
            let mut prefixes = Ipv4Prefixes::default();
            for length in 16..=longest_prefix {
                for i in 0..1_u32 << (length - 16) {
                    let address = Ipv4Addr::from_bits(0x0808_0000 | i << (32 - length));
                    let prefix = Ipv4Net::new(address, length).unwrap();
                    prefixes.get_or_insert_with(&prefix, || PrefixId(i));
                }
            }
            let count = (1 << (longest_prefix - 15)) - 1;
            assert_eq!(prefixes.iter_from(Ipv4Net::default()).count(), count);
            let lists = prefixes.blocks.iter().flatten().flat_map(Block::lists);
            assert!(lists.map(Vec::len).max() <= Some(longest_list));
        }
    }
}
