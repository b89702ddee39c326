//! One generation of a stored object: what the origin said about it, and where its blocks lie.
//!
//! A generation is pinned by its length and validators. When the origin's content changes, a new
//! generation with a higher number takes the key; the two never share a block. Only the freshness
//! and the header fields of a generation may change, after the origin has confirmed it.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};

use super::BLOCK;
use super::extents::Extents;
use super::key::ObjectKey;
use super::packed_meta::PackedMeta;
use crate::time::hour;

/// What a stored response needs besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Length of the whole content in bytes.
    pub length: u64,
    /// `ETag` as the origin sent it (RFC 9110 §8.8.3).
    pub etag: Option<HeaderValue>,
    /// `Last-Modified` as the origin sent it (RFC 9110 §8.8.2).
    pub last_modified: Option<HeaderValue>,
    /// The other header fields to send with the content, in the origin's order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// When the origin last sent or confirmed it: seconds since 1970.
    pub stored_at: u64,
    /// Until when it may be served without asking the origin: seconds since 1970.
    pub fresh_until: u64,
}

/// By how many seconds what the origin said may lie in the future: clocks are set a little now and then.
const CLOCK_SLACK: u64 = 300;

impl ObjectMeta {
    /// Whether `other` is certain to describe the same bytes: equal length, and equal strong entity
    /// tags or, where neither side has a tag, equal modification dates. Weak tags and missing
    /// validators prove nothing (RFC 9110 §8.8.3.2).
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.length == other.length
            && match (&self.etag, &other.etag) {
                (Some(a), Some(b)) => a == b && !a.as_bytes().starts_with(b"W/"),
                (None, None) => {
                    self.last_modified.is_some() && self.last_modified == other.last_modified
                }
                _ => false,
            }
    }
}

/// One generation of a key.
pub struct Object {
    key: ObjectKey,
    number: u64,
    length: u64,
    meta: ArcSwap<PackedMeta>,
    blocks: BlockTable,
    /// Bytes of each block that were fetched and have not been sent to anybody. Made when the first
    /// one is fetched: not for what was found on a drive.
    unsent: OnceLock<Box<Extents>>,
    recency: AtomicU64,
    stored: AtomicU64,
    retired: AtomicBool,
    /// An operator wants it kept.
    pinned: AtomicBool,
    /// When it was last asked for: hours since 1970; 0 when not since the node started.
    asked: AtomicU32,
}

impl Object {
    /// What an origin has just said.
    pub(super) fn new(key: ObjectKey, number: u64, meta: &ObjectMeta) -> Self {
        let packed = PackedMeta::pack(meta);
        Self { recency: u64::MAX.into(), ..Self::found(key, number, meta.length, packed) }
    }

    /// What was found on a drive.
    pub(super) fn found(key: ObjectKey, number: u64, length: u64, meta: PackedMeta) -> Self {
        Self {
            key,
            number,
            length,
            meta: ArcSwap::from_pointee(meta),
            blocks: BlockTable::new(length),
            unsent: OnceLock::new(),
            recency: AtomicU64::new(number),
            stored: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            asked: AtomicU32::new(0),
        }
    }

    /// The key that it is, or was, stored under.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The number of the generation: unique on this node, and higher than that of each generation
    /// it replaced.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Length of the whole content in bytes; never changes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What the origin said, as of its last answer. Put together for each call.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        self.meta.load().unpack(self.length)
    }

    /// Until when it may be served without asking the origin: seconds since 1970.
    pub(super) fn fresh_until(&self) -> u64 {
        self.meta.load().fresh_until
    }

    /// Whether it may be served at `now` (seconds since 1970) without asking the origin. Not when it is from
    /// the future: the clock was set back, and was wrong when the origin was asked, or is so now.
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        let meta = self.meta.load();
        meta.fresh_until > now && meta.stored_at <= now.saturating_add(CLOCK_SLACK)
    }

    /// When the origin last sent or confirmed it: seconds since 1970.
    pub(super) fn stored_at(&self) -> u64 {
        self.meta.load().stored_at
    }

    /// What a drive says under a lower number is older than this generation: its own number, or that
    /// of another record of the same content. The highest number there is once the origin has spoken
    /// of it in this run.
    pub(super) fn recency(&self) -> u64 {
        self.recency.load(Ordering::Acquire)
    }

    /// A record of this number is of the same content.
    pub(super) fn raise_recency(&self, number: u64) {
        self.recency.fetch_max(number, Ordering::AcqRel);
    }

    /// How many blocks the content has.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.length.div_ceil(u64::from(BLOCK))).unwrap_or(u32::MAX)
    }

    /// Length in bytes of block `index`; `None` behind the end. All but the last are [`BLOCK`] long.
    #[must_use]
    pub fn block_length(&self, index: u32) -> Option<u32> {
        let start = u64::from(index) * u64::from(BLOCK);
        let rest = self.length.checked_sub(start).filter(|rest| *rest > 0)?;
        Some(u32::try_from(rest).unwrap_or(u32::MAX).min(BLOCK))
    }

    /// Bytes of it that lie on drives.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Whether another generation has taken its place, or it was purged. Its blocks are being freed
    /// and nothing is stored for it any more; those who are sending it may finish.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether an operator wants it kept.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Acquire)
    }

    pub(super) fn set_pinned(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::Release);
    }

    /// Somebody asks for it in this hour.
    pub(super) fn note_asked(&self, hour: u32) {
        if self.asked.load(Ordering::Relaxed) != hour {
            self.asked.store(hour, Ordering::Relaxed);
        }
    }

    /// The hour in which it was last asked for, in seconds since 1970; `None`: not since the node started.
    pub(super) fn asked_at(&self) -> Option<u64> {
        Some(u64::from(self.asked.load(Ordering::Relaxed)) * 3600).filter(|at| *at > 0)
    }

    /// The last hour in which it may have been asked for: what was not since the node started was at
    /// most as long as it could be served without asking the origin, which would have renewed it.
    pub(super) fn last_asked(&self, now: u32) -> u32 {
        match self.asked.load(Ordering::Relaxed) {
            0 => hour(self.fresh_until()).min(now),
            asked => asked,
        }
    }

    /// Takes over the freshness and header fields of an answer about this same generation.
    pub(super) fn renew(&self, answer: &ObjectMeta) {
        self.meta.rcu(|current| {
            let current = current.unpack(self.length);
            PackedMeta::pack(&ObjectMeta {
                etag: current.etag,
                last_modified: current.last_modified,
                ..answer.clone()
            })
        });
    }

    /// The origin has said that this generation is what it has.
    pub(super) fn confirm(&self, answer: &ObjectMeta) {
        self.renew(answer);
        self.raise_recency(u64::MAX);
    }

    /// Block `index` comes from the origin, now or anew: the next bytes of it that are sent, as many as
    /// it has, are those that had to be fetched.
    pub(crate) fn note_fetch(&self, index: u32) {
        let unsent = self.unsent.get_or_init(|| Box::new(Extents::new(self.length, 0)));
        if let (Some(unsent), Some(length)) =
            (unsent.get_or_allocate(index), self.block_length(index))
        {
            unsent.store(length, Ordering::Relaxed);
        }
    }

    /// `bytes` bytes of block `index` are being sent. Returns how many of them had to be fetched for it:
    /// each fetched byte counts for one sent byte, whoever sends first. None after a restart, since
    /// what is on the drives then was fetched before.
    pub(crate) fn note_sent(&self, index: u32, bytes: u32) -> u32 {
        let Some(unsent) = self.unsent.get().and_then(|unsent| unsent.get(index)) else { return 0 };
        let pay = |unsent: u32| (unsent > 0).then(|| unsent.saturating_sub(bytes));
        let before = unsent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        before.map_or(0, |unsent| unsent.min(bytes))
    }

    pub(super) fn block_table(&self) -> &BlockTable {
        &self.blocks
    }

    pub(super) fn count_stored(&self, bytes: u32) {
        self.stored.fetch_add(u64::from(bytes), Ordering::Relaxed);
    }

    pub(super) fn count_freed(&self, bytes: u32) {
        self.stored.fetch_sub(u64::from(bytes), Ordering::Relaxed);
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("key", &self.key)
            .field("number", &self.number)
            .field("length", &self.length)
            .field("stored", &self.stored_bytes())
            .finish_non_exhaustive()
    }
}

/// Where a block lies: 6 bits of drive, 26 bits of slot. Up to 63 drives of 51 TiB each, at four
/// bytes of memory per stored MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location(u32);

impl Location {
    const NONE: u32 = u32::MAX;
    const SLOT_BITS: u32 = 26;
    /// Drives that a node can have: the index of all ones is taken by `NONE`.
    pub(super) const MAX_DRIVES: usize = 63;
    /// Slots that a drive can have.
    pub(super) const MAX_SLOTS: u32 = 1 << Self::SLOT_BITS;

    /// `None` when either number is out of range.
    pub(super) fn new(drive: u8, slot: u32) -> Option<Self> {
        (usize::from(drive) < Self::MAX_DRIVES && slot < Self::MAX_SLOTS)
            .then_some(Self(u32::from(drive) << Self::SLOT_BITS | slot))
    }

    pub(super) fn drive(self) -> usize {
        (self.0 >> Self::SLOT_BITS) as usize
    }

    pub(super) fn slot(self) -> u32 {
        self.0 & (Self::MAX_SLOTS - 1)
    }
}

/// The locations of an object's blocks.
pub(super) struct BlockTable(Extents);

impl BlockTable {
    /// An empty table.
    fn new(length: u64) -> Self {
        Self(Extents::new(length, Location::NONE))
    }

    /// Where block `index` lies.
    pub(super) fn get(&self, index: u32) -> Option<Location> {
        match self.0.get(index)?.load(Ordering::Acquire) {
            Location::NONE => None,
            place => Some(Location(place)),
        }
    }

    /// Puts block `index` at `location`; false when the object has no such block.
    pub(super) fn set(&self, index: u32, location: Location) -> bool {
        let Some(entry) = self.0.get_or_allocate(index) else { return false };
        entry.store(location.0, Ordering::Release);
        true
    }

    /// Forgets block `index`, unless it has moved from `location` since.
    pub(super) fn clear(&self, index: u32, location: Location) {
        if let Some(entry) = self.0.get(index) {
            // A failed exchange means that the block has a newer place, which stays.
            let _ = entry.compare_exchange(
                location.0,
                Location::NONE,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// All blocks that lie on `drive`: index and slot.
    pub(super) fn on_drive(&self, drive: u8) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().filter_map(move |(index, entry)| match entry.load(Ordering::Acquire) {
            Location::NONE => None,
            place => {
                let location = Location(place);
                (location.drive() == usize::from(drive)).then_some((index, location.slot()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(length: u64, etag: Option<&'static str>, date: Option<&'static str>) -> ObjectMeta {
        ObjectMeta {
            length,
            etag: etag.map(HeaderValue::from_static),
            last_modified: date.map(HeaderValue::from_static),
            headers: Vec::new(),
            stored_at: 0,
            fresh_until: 0,
        }
    }

    #[test]
    fn only_strong_evidence_makes_the_same_content() {
        let date = Some("Tue, 01 Sep 2026 00:00:00 GMT");
        let same = |a: ObjectMeta, b: ObjectMeta| a.same_content(&b);
        assert!(same(meta(5, Some("\"a\""), None), meta(5, Some("\"a\""), date)));
        assert!(same(meta(5, None, date), meta(5, None, date)));
        assert!(!same(meta(5, Some("\"a\""), None), meta(6, Some("\"a\""), None)));
        assert!(!same(meta(5, Some("\"a\""), date), meta(5, Some("\"b\""), date)));
        assert!(!same(meta(5, Some("W/\"a\""), date), meta(5, Some("W/\"a\""), date)));
        assert!(!same(meta(5, None, None), meta(5, None, None)));
        assert!(!same(meta(5, None, date), meta(5, Some("\"a\""), date)));
    }

    #[test]
    fn block_lengths_add_up_to_the_length() {
        for length in [0, 1, u64::from(BLOCK) - 1, u64::from(BLOCK), 5 * u64::from(BLOCK) + 17] {
            let key = ObjectKey::new(&"a.example".parse().unwrap(), "/", None);
            let object = Object::new(key, 1, &meta(length, None, None));
            let sum: u64 =
                (0..object.blocks()).map(|i| u64::from(object.block_length(i).unwrap())).sum();
            assert_eq!(sum, length);
            assert_eq!(object.block_length(object.blocks()), None);
        }
    }

    #[test]
    fn each_fetched_byte_counts_for_one_sent_byte() {
        let key = ObjectKey::new(&"a.example".parse().unwrap(), "/", None);
        let object = Object::new(key, 1, &meta(u64::from(BLOCK) + 10, None, None));
        assert_eq!(object.note_sent(1, 10), 0, "it was here before");
        object.note_fetch(1);
        assert_eq!([4, 4, 4, 4].map(|bytes| object.note_sent(1, bytes)), [4, 4, 2, 0]);
        assert_eq!(object.note_sent(0, 10), 0, "another block");
        object.note_fetch(1);
        object.note_fetch(1);
        assert_eq!(object.note_sent(1, 20), 10, "the last block is short");
        object.note_fetch(2);
        assert_eq!(object.note_sent(2, 1), 0, "there is no such block");
    }

    #[test]
    fn a_table_holds_what_was_put_and_clears_only_the_same_place() {
        let table = BlockTable::new(u64::from(BLOCK) * 130 + 1);
        let (a, b) = (Location::new(0, 7).unwrap(), Location::new(3, 9).unwrap());
        assert!(table.get(129).is_none());
        assert!(table.set(0, b) && table.set(129, a) && table.set(130, b));
        assert!(!table.set(131, a), "131 blocks: 0 to 130");
        assert_eq!(table.on_drive(3).collect::<Vec<_>>(), [(0, 9), (130, 9)]);
        table.clear(129, b);
        assert_eq!(table.get(129), Some(a));
        table.clear(129, a);
        assert_eq!(table.get(129), None);
    }

    #[test]
    fn the_last_location_is_not_mistaken_for_none() {
        assert!(Location::new(63, Location::MAX_SLOTS - 1).is_none());
        let last = Location::new(62, Location::MAX_SLOTS - 1).unwrap();
        assert_eq!((last.drive(), last.slot()), (62, Location::MAX_SLOTS - 1));
    }
}
