//! One entry of the object log: what is known about a generation, besides where its blocks lie.
//!
//! The log is only appended to. An entry is `magic, length of the body, CRC-32C of the body` (four
//! bytes each, little endian) and the body, filled up to a multiple of eight bytes. A later entry with
//! the same number replaces an earlier one. After damage the reader looks for the next entry that
//! is whole, so a flipped bit costs one object and a torn tail what was being written.

use http::{HeaderName, HeaderValue};
use mcc_config::HostName;

use super::key::ObjectKey;
use super::object::ObjectMeta;
use super::packed_meta::PackedMeta;

/// Begins each entry.
const MAGIC: [u8; 4] = *b"mcO1";
/// Bytes before the body.
const HEAD: usize = 12;
/// Longest body in bytes. Objects with longer names and headers are not stored.
const MAX_BODY: usize = 64 << 10;
/// Entries begin at multiples of this.
const ALIGN: usize = 8;

/// What the log knows about a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Number of the generation.
    pub number: u64,
    /// Its key.
    pub key: ObjectKey,
    /// What the origin said.
    pub meta: ObjectMeta,
}

/// What stands at the beginning of some bytes of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// An entry of so many bytes.
    Record(Box<ObjectRecord>, usize),
    /// So many bytes that belong to no entry.
    Damaged(usize),
    /// Whatever stands there is not complete: more bytes are needed.
    Incomplete,
}

/// An entry as the restart takes it in.
#[derive(Debug)]
pub(super) struct FoundObject {
    pub(super) number: u64,
    pub(super) key: ObjectKey,
    pub(super) length: u64,
    pub(super) meta: PackedMeta,
}

/// What stands at the beginning of some bytes of the log: like [`Scan`], without a look into the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryScan<'a> {
    /// The body of an entry that takes so many bytes. Its checksum is right.
    Body(&'a [u8], usize),
    Damaged(usize),
    Incomplete,
}

/// The object has a name or headers that are too long to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name and header fields take more than {MAX_BODY} bytes")]
pub struct TooLong;

impl ObjectRecord {
    /// The entry as it stands on the drive.
    ///
    /// # Errors
    /// [`TooLong`] when the body would pass 64 KiB.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let meta = &self.meta;
        let mut body = Vec::with_capacity(512);
        for field in [self.number, meta.length, meta.stored_at, meta.fresh_until] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        put(&mut body, self.key.host().as_bytes());
        put(&mut body, self.key.target().as_bytes());
        for validator in [&meta.etag, &meta.last_modified] {
            body.push(u8::from(validator.is_some()));
            put(&mut body, validator.as_ref().map_or(&[], |value| value.as_bytes()));
        }
        for (name, value) in &meta.headers {
            put(&mut body, name.as_str().as_bytes());
            put(&mut body, value.as_bytes());
        }
        if body.len() > MAX_BODY {
            return Err(TooLong);
        }
        let mut entry = Vec::with_capacity(HEAD + body.len() + ALIGN);
        entry.extend_from_slice(&MAGIC);
        entry.extend_from_slice(&(body.len() as u32).to_le_bytes());
        entry.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        entry.extend_from_slice(&body);
        entry.resize(entry.len().next_multiple_of(ALIGN), 0);
        Ok(entry)
    }

    /// Whether an object of this name and these headers can be encoded.
    #[must_use]
    pub fn fits(key: &ObjectKey, meta: &ObjectMeta) -> bool {
        /// More than the numbers and the lengths of name and validators take.
        const FIXED: usize = 64;
        let validator = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let headers: usize =
            meta.headers.iter().map(|(name, value)| 8 + name.as_str().len() + value.len()).sum();
        let validators = validator(&meta.etag) + validator(&meta.last_modified);
        FIXED + key.as_str().len() + validators + headers <= MAX_BODY
    }

    /// Reads what stands at the beginning of `bytes`, which begin at a multiple of eight in the log.
    /// `last` says that the log ends with them: then nothing is incomplete, only damaged.
    #[must_use]
    pub fn scan(bytes: &[u8], last: bool) -> Scan {
        match scan_entry(bytes, last) {
            EntryScan::Body(body, size) => match Self::decode_body(body) {
                Some(record) => Scan::Record(Box::new(record), size),
                None => Scan::Damaged(next_entry(bytes, last)),
            },
            EntryScan::Damaged(bytes) => Scan::Damaged(bytes),
            EntryScan::Incomplete => Scan::Incomplete,
        }
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        let Head { number, length, stored_at, fresh_until, key } = Head::take(&mut rest)?;
        let meta = ObjectMeta { length, stored_at, fresh_until, ..decode_fields(rest)? };
        Some(Self { number, key, meta })
    }
}

impl FoundObject {
    /// Takes in the body of an entry; `None` when there is no sense in it.
    pub(super) fn from_body(body: &[u8]) -> Option<Self> {
        let ObjectRecord { number, key, meta } = ObjectRecord::decode_body(body)?;
        Some(Self { number, key, length: meta.length, meta: PackedMeta::pack(&meta) })
    }
}

/// The number of the generation that the body of an entry is about.
pub(super) fn number_of(body: &[u8]) -> Option<u64> {
    body.first_chunk().map(|number| u64::from_le_bytes(*number))
}

/// Reads what stands at the beginning of `bytes`, as [`ObjectRecord::scan`] does.
pub(super) fn scan_entry(bytes: &[u8], last: bool) -> EntryScan<'_> {
    let damaged = || EntryScan::Damaged(next_entry(bytes, last));
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
        return if last && !bytes.is_empty() { damaged() } else { EntryScan::Incomplete };
    };
    let Some(head) = head.strip_prefix(&MAGIC) else { return damaged() };
    let word = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|word| word.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    let (length, crc) = (word(0) as usize, word(4));
    if length > MAX_BODY {
        return damaged();
    }
    let size = (HEAD + length).next_multiple_of(ALIGN);
    let Some(body) = rest.get(..length).filter(|_| size <= bytes.len()) else {
        return if last { damaged() } else { EntryScan::Incomplete };
    };
    match crc32c::crc32c(body) == crc {
        true => EntryScan::Body(body, size),
        false => damaged(),
    }
}

/// How far the next place is where an entry may begin: at a multiple of eight.
fn next_entry(bytes: &[u8], last: bool) -> usize {
    let next = (ALIGN..bytes.len())
        .step_by(ALIGN)
        .find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(&MAGIC)));
    // What is left over behind the last multiple of eight is kept for the next read.
    next.unwrap_or(if last { bytes.len() } else { bytes.len() / ALIGN * ALIGN })
}

/// The beginning of a body.
struct Head {
    number: u64,
    length: u64,
    stored_at: u64,
    fresh_until: u64,
    key: ObjectKey,
}

impl Head {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let [number, length, stored_at, fresh_until] =
            [take_u64(rest)?, take_u64(rest)?, take_u64(rest)?, take_u64(rest)?];
        let host: HostName = str::from_utf8(take(rest)?).ok()?.parse().ok()?;
        let target = str::from_utf8(take(rest)?).ok()?;
        let key = target.starts_with('/').then(|| ObjectKey::new(&host, target, None))?;
        Some(Self { number, length, stored_at, fresh_until, key })
    }
}

/// The end of a body: validators and header fields. The numbers are left at zero.
fn decode_fields(mut rest: &[u8]) -> Option<ObjectMeta> {
    let [etag, last_modified] = [take_validator(&mut rest)?, take_validator(&mut rest)?];
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let name = HeaderName::from_bytes(take(&mut rest)?).ok()?;
        headers.push((name, HeaderValue::from_bytes(take(&mut rest)?).ok()?));
    }
    Some(ObjectMeta { etag, last_modified, headers, ..ObjectMeta::default() })
}

fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    body.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(bytes)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}

/// The outer `None` is damage, the inner one a validator that the origin did not send.
fn take_validator(rest: &mut &[u8]) -> Option<Option<HeaderValue>> {
    let (present, after) = rest.split_first()?;
    *rest = after;
    let bytes = take(rest)?;
    match present {
        0 => Some(None),
        1 => Some(Some(HeaderValue::from_bytes(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn record()(
            number: u64, length: u64, stored_at: u64, fresh_until: u64,
            path in "/[ -~]{0,40}", query in proptest::option::of("[a-z=&]{0,20}"),
            etag in proptest::option::of("\"[a-z0-9]{0,20}\""),
            last_modified in proptest::option::of("[ -~]{0,30}"),
            headers in proptest::collection::vec(("[a-z][a-z-]{0,10}", "[ -~]{0,30}"), 0..5),
        ) -> ObjectRecord {
            let value = |text: String| HeaderValue::from_str(&text).unwrap();
            let host: HostName = "dl.example".parse().unwrap();
            ObjectRecord {
                number,
                key: ObjectKey::new(&host, &path, query.as_deref()),
                meta: ObjectMeta {
                    length, stored_at, fresh_until,
                    etag: etag.map(value),
                    last_modified: last_modified.map(value),
                    headers: headers
                        .into_iter()
                        .map(|(name, text)| (name.parse().unwrap(), value(text)))
                        .collect(),
                },
            }
        }
    }

    /// Reads a log to its end, as much at a time as `piece` says.
    fn read_all(log: &[u8], piece: usize) -> (Vec<ObjectRecord>, usize) {
        let (mut records, mut damaged) = (Vec::new(), 0);
        let (mut at, mut end) = (0, 0);
        loop {
            match ObjectRecord::scan(&log[at..end], end == log.len()) {
                Scan::Record(record, size) => {
                    records.push(*record);
                    at += size;
                }
                Scan::Damaged(bytes) => {
                    assert!(bytes > 0, "no progress");
                    damaged += bytes;
                    at += bytes;
                }
                Scan::Incomplete if end == log.len() => return (records, damaged),
                Scan::Incomplete => end = (end + piece).min(log.len()),
            }
        }
    }

    proptest! {
        #[test]
        fn a_log_comes_back_in_pieces(
            records in proptest::collection::vec(record(), 0..6), piece in 1_usize..600,
        ) {
            let log: Vec<u8> = records.iter().flat_map(|r| r.encode().unwrap()).collect();
            prop_assert_eq!(read_all(&log, piece), (records, 0));
        }

        #[test]
        fn a_flipped_bit_costs_one_record(
            records in proptest::collection::vec(record(), 1..6), at: prop::sample::Index, bit in 0..8,
        ) {
            let entries: Vec<Vec<u8>> = records.iter().map(|r| r.encode().unwrap()).collect();
            let mut log = entries.concat();
            let at = at.index(log.len());
            log[at] ^= 1_u8 << bit;
            let mut start = 0;
            let hit = entries.iter().position(|entry| { start += entry.len(); at < start }).unwrap();
            let (read, _) = read_all(&log, 64);
            let mut others = records.clone();
            let lost = others.remove(hit);
            // A bit in the padding harms nothing.
            prop_assert!(read == others || (read.len() == records.len() && read[hit] == lost));
        }

        #[test]
        fn a_torn_tail_costs_the_last_record(records in proptest::collection::vec(record(), 1..5), cut in 1_usize..12) {
            let mut log: Vec<u8> = records.iter().flat_map(|r| r.encode().unwrap()).collect();
            log.truncate(log.len() - cut);
            let (read, _) = read_all(&log, 100);
            prop_assert_eq!(&read[..], &records[..records.len() - 1]);
        }

        #[test]
        fn garbage_holds_nothing(log: Vec<u8>, piece in 1_usize..50) {
            prop_assert_eq!(read_all(&log, piece), (Vec::new(), log.len()));
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_packed_is_what_was_written(record in record()) {
            let bytes = record.encode().unwrap();
            let EntryScan::Body(body, size) = scan_entry(&bytes, true) else { panic!() };
            prop_assert_eq!((size, number_of(body)), (bytes.len(), Some(record.number)));
            let found = FoundObject::from_body(body).unwrap();
            let unpacked = found.meta.unpack(found.length);
            prop_assert_eq!(ObjectRecord { number: found.number, key: found.key, meta: unpacked }, record);
        }
    }

    #[test]
    fn too_long_a_name_is_refused() {
        let host: HostName = "dl.example".parse().unwrap();
        let record = ObjectRecord {
            number: 1,
            key: ObjectKey::new(&host, &"x".repeat(MAX_BODY), None),
            meta: ObjectMeta {
                length: 1,
                etag: None,
                last_modified: None,
                headers: Vec::new(),
                stored_at: 0,
                fresh_until: 0,
            },
        };
        assert_eq!(record.encode(), Err(TooLong));
    }
}
