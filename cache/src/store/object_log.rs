//! The object log of a drive as a file: read at start, appended to at each checkpoint, rewritten when
//! most of it is about objects that are gone.
//!
//! Space for it to grow, and for the file that replaces it when it is rewritten, is reserved in advance.
//! So a file system that somebody else has filled stops no checkpoint.

use std::collections::HashMap;
use std::{io, mem};

use super::disk::{Disk, DiskFile};
use super::fault::Part;
use super::object_record::{EntryScan, number_of, scan_entry};

/// Bytes read at once.
const PIECE: usize = 1 << 20;
/// The log is left alone until it has this many entries.
const FEW: u64 = 1024;

/// The log of one drive, open for appending.
#[derive(Debug)]
pub(super) struct ObjectLog {
    file: DiskFile,
    /// Where the next entry goes.
    end: u64,
    entries: u64,
    /// Bytes that are reserved for it, and as many for its replacement.
    room: u64,
}

/// What a log held.
#[derive(Debug, Default)]
pub(super) struct LogContents {
    /// The body of the last entry of each number.
    pub(super) objects: HashMap<u64, Box<[u8]>, foldhash::fast::RandomState>,
    /// Damaged places.
    pub(super) damaged: u64,
}

impl ObjectLog {
    /// Opens the log and reads it from beginning to end. What follows the last whole entry is cut
    /// off.
    pub(super) fn load(disk: &Disk) -> io::Result<(Self, LogContents)> {
        let file = disk.open(Part::Objects)?;
        let length = file.length()?;
        file.expect_sequential_reads();
        let mut contents = LogContents::default();
        let (mut read, mut done, mut end, mut entries) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut buffer: Vec<u8> = Vec::new();
        let mut used = 0;
        loop {
            let rest = buffer.get(used..).unwrap_or_default();
            match scan_entry(rest, read == length) {
                EntryScan::Body(body, size) => {
                    used += size;
                    done += size as u64;
                    end = done;
                    entries += 1;
                    if let Some(number) = number_of(body) {
                        contents.objects.insert(number, body.into());
                    }
                }
                EntryScan::Damaged(bytes) => {
                    used += bytes;
                    done += bytes as u64;
                    contents.damaged += 1;
                }
                EntryScan::Incomplete if read == length => break,
                EntryScan::Incomplete => {
                    buffer.drain(..used.min(buffer.len()));
                    used = 0;
                    let kept = buffer.len();
                    let piece = usize::try_from(length - read).unwrap_or(PIECE).min(PIECE);
                    buffer.resize(kept + piece, 0);
                    file.read(buffer.get_mut(kept..).unwrap_or_default(), read)?;
                    read += piece as u64;
                }
            }
        }
        file.set_length(end)?;
        Ok((Self { file, end, entries, room: 0 }, contents))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_length(0)?;
        (self.end, self.entries) = (0, 0);
        Ok(())
    }

    /// Reserves `room` bytes, and more if the log is long.
    pub(super) fn reserve(&mut self, disk: &Disk, room: u64) -> io::Result<()> {
        let room = room.max(self.end + self.end / 2);
        self.file.reserve(room)?;
        disk.reserve_replacement(Part::Objects, room)?;
        self.room = room;
        Ok(())
    }

    /// Appends entries. After a failure the next append goes to the same place.
    pub(super) fn append(&mut self, disk: &Disk, records: &[Vec<u8>]) -> io::Result<()> {
        let bytes = records.concat();
        let wanted = self.end + bytes.len() as u64;
        if wanted > self.room {
            // Without space it may still fit, or else the write fails.
            let _ = self.reserve(disk, wanted + wanted / 2);
        }
        self.file.write(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.entries += records.len() as u64;
        Ok(())
    }

    /// Whether more than half of the entries are about objects that are gone, when `live` are not.
    pub(super) fn is_mostly_dead(&self, live: usize) -> bool {
        self.entries > FEW && self.entries > 2 * live as u64
    }

    /// Replaces the log by one of these entries only. After a crash either of them is there.
    pub(super) fn rewrite(
        &mut self,
        disk: &Disk,
        records: impl Iterator<Item = Vec<u8>>,
    ) -> io::Result<()> {
        let (mut end, mut entries) = (0, 0);
        disk.replace(Part::Objects, |out| {
            for record in records {
                out.write_all(&record)?;
                end += record.len() as u64;
                entries += 1;
            }
            Ok(())
        })?;
        let room = mem::take(&mut self.room);
        *self = Self { file: disk.open(Part::Objects)?, end, entries, room: 0 };
        // The file has the space of the one that it replaced. If there is none for the next one, it is
        // asked for again with each entry.
        let _ = self.reserve(disk, room);
        Ok(())
    }

    /// The file, to be synced.
    pub(super) fn file(&self) -> &DiskFile {
        &self.file
    }
}
