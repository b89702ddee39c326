//! All input and output on a drive goes through here: the folder, its lock, and its four files.
//! Each operation is watched here and meets its faults here, and nowhere else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::fault::{Effect, Faults, Operation, Part};
use super::residency::{Method, pages, write_back};
use super::watch::{Busy, Watch};

/// Bytes of a file that is written as a whole until it is synced: a sync never has more to do.
const SYNC_EVERY: u64 = 64 << 20;
/// File systems that are memory themselves, as statfs(2) tells them.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
/// Most bytes that the page cache keeps in one piece; such pieces are aligned.
const LARGEST_PAGE: u64 = 8 << 20;

/// The folder of a drive.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    path: Arc<Path>,
    faults: Faults,
    watch: Arc<Watch>,
}

/// The right to use a folder, which one process at a time has. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Lock {
    _folder: File,
}

impl Disk {
    pub(super) fn new(path: &Path, faults: Faults, watch: Arc<Watch>) -> Self {
        Self { path: path.into(), faults, watch }
    }

    /// What is being done on the drive.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The operation at hand begins. Whatever makes it fail is met with its guard held: an injected
    /// hang is seen like a real one.
    fn begin(&self, part: Part, operation: Operation) -> io::Result<(Busy<'_>, Option<Effect>)> {
        let busy = self.watch.begin(part, operation);
        let effect = self.faults.meet(&self.path, part, operation)?;
        Ok((busy, effect))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the folder, which must exist; `None` when another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        let (_busy, _) = self.begin(Part::Meta, Operation::Open)?;
        let folder = File::open(&self.path)?;
        if !folder.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        match folder.try_lock() {
            Ok(()) => Ok(Some(Lock { _folder: folder })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Opens a file of the drive for reading and writing; creates it when it is missing.
    pub(super) fn open(&self, part: Part) -> io::Result<DiskFile> {
        self.open_with(part, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    /// Opens a file to read what the drive itself has of it, past the page cache. What is read, and
    /// from where to where, must be aligned to 4 KiB. Fails where the file system cannot do that.
    pub(super) fn open_direct(&self, part: Part) -> io::Result<DiskFile> {
        let direct = OFlags::DIRECT.bits().cast_signed();
        self.open_with(part, OpenOptions::new().read(true).custom_flags(direct))
    }

    fn open_with(&self, part: Part, options: &OpenOptions) -> io::Result<DiskFile> {
        let (_busy, _) = self.begin(part, Operation::Open)?;
        let file = options.open(self.file(part))?;
        let in_memory = rustix::fs::fstatfs(&file)
            .is_ok_and(|system| matches!(system.f_type.cast_unsigned(), TMPFS | RAMFS));
        let file = Arc::new(ArcSwapOption::from_pointee(file));
        Ok(DiskFile { file, part, disk: self.clone(), in_memory })
    }

    /// The content of a small file; `None` when it is missing.
    pub(super) fn read(&self, part: Part) -> io::Result<Option<Vec<u8>>> {
        let (_busy, _) = self.begin(part, Operation::Read)?;
        match fs::read(self.file(part)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file as a whole: after a crash the drive has the old one or the new one. What was
    /// [reserved](Self::reserve_replacement) for it is used.
    pub(super) fn replace(
        &self,
        part: Part,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.faults.meet(&self.path, part, Operation::Write)?;
        let file = NewFile { file: self.replacement(part)?, disk: self, part, unsynced: 0 };
        let mut out = io::BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.flush()?;
        out.get_mut().sync()?;
        let (_busy, _) = self.begin(part, Operation::Open)?;
        fs::rename(self.new_file(part), self.file(part))?;
        File::open(&self.path)?.sync_all()
    }

    /// Reserves `bytes` of space for the next replacement of a file, so that a full file system cannot
    /// prevent it.
    pub(super) fn reserve_replacement(&self, part: Part, bytes: u64) -> io::Result<()> {
        let (_busy, _) = self.begin(part, Operation::Allocate)?;
        let file = self.replacement(part)?;
        Ok(rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes)?)
    }

    /// The file that is to replace another one, empty. Space that it has already stays with it.
    fn replacement(&self, part: Part) -> io::Result<File> {
        let path = self.new_file(part);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        Ok(file)
    }

    fn new_file(&self, part: Part) -> PathBuf {
        self.file(part).with_added_extension("new")
    }

    fn file(&self, part: Part) -> PathBuf {
        self.path.join(part.file_name())
    }
}

/// A file that is to replace another one.
struct NewFile<'a> {
    file: File,
    disk: &'a Disk,
    part: Part,
    unsynced: u64,
}

impl NewFile<'_> {
    fn sync(&mut self) -> io::Result<()> {
        let (_busy, _) = self.disk.begin(self.part, Operation::Sync)?;
        self.unsynced = 0;
        self.file.sync_data()
    }
}

impl io::Write for NewFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
        }
        let _busy = self.disk.watch.begin(self.part, Operation::Write);
        let written = self.file.write(bytes)?;
        self.unsynced += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What reading from memory has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InMemory {
    Read,
    /// Memory has not got it all, or the file system cannot tell.
    Missing,
    /// It had it all, but not any more when it was read, or is still getting it: the drive may be bringing it now.
    LetGo,
}

/// An open file of a drive. Its clones are one file: [closed](DiskFile::close), it is so for all of them.
#[derive(Debug, Clone)]
pub(super) struct DiskFile {
    /// `None` once it is closed.
    file: Arc<ArcSwapOption<File>>,
    part: Part,
    disk: Disk,
    /// Its file system has no other place for it than memory.
    in_memory: bool,
}

impl DiskFile {
    /// Closes it for good. Its file system can be unmounted when the operations under way have ended.
    pub(super) fn close(&self) {
        self.file.store(None);
    }

    /// Has `act` do something with the file itself.
    ///
    /// # Errors
    /// What `act` says, or that the file is closed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        match &*self.file.load() {
            Some(file) => act(file),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "the drive is offline")),
        }
    }

    /// Length in bytes.
    pub(super) fn length(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.metadata()?.len()))
    }

    pub(super) fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.with(|file| file.set_len(bytes))
    }

    /// Makes the file `bytes` long with all its space taken, so that it can never run out later.
    pub(super) fn allocate(&self, bytes: u64) -> io::Result<()> {
        let (_busy, _) = self.begin(Operation::Allocate)?;
        self.with(|file| Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes)?))
    }

    /// Takes space for the file to grow to `bytes` without changing its length.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let (_busy, _) = self.begin(Operation::Allocate)?;
        self.with(|file| Ok(rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)?))
    }

    /// Tells the kernel that reads go all over the file: its own read-ahead would be waste.
    pub(super) fn expect_random_reads(&self) {
        self.advise(0, None, Advice::Random);
    }

    /// Tells the kernel that the file is about to be read from its beginning to its end.
    pub(super) fn expect_sequential_reads(&self) {
        self.advise(0, None, Advice::Sequential);
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (_busy, effect) = self.begin(Operation::Read)?;
        if effect == Some(Effect::Short) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.with(|file| file.read_exact_at(buffer, offset))?;
        if effect == Some(Effect::Flip) {
            flip_middle(buffer);
        }
        Ok(())
    }

    /// Whether bytes may be sent by reference. Not from a file system that is memory itself: its pages are never let
    /// go of, so that nobody could tell when a socket has done with them.
    pub(super) fn can_be_sent(&self) -> bool {
        !self.in_memory
    }

    /// Whether memory has all of `length` bytes from `offset`, or is getting them.
    /// Where faults are to be met it has nothing, so that each read is a real one.
    pub(super) fn is_cached(&self, offset: u64, length: u64) -> bool {
        !self.disk.faults.is_armed()
            && self.cached_pages(offset, length).is_ok_and(|cached| cached >= pages(offset, length))
    }

    /// Whether [`Self::is_cached`] costs next to nothing.
    pub(super) fn is_cheap_to_ask(&self) -> bool {
        self.with(|file| Ok(Method::of_system(file).is_cheap())).unwrap_or(true)
    }

    /// Fills `buffer` from `offset` if memory has all of it. Where it has not, nothing is read from the drive: the call
    /// that does not wait for the drive would have it begin all the same, and nobody would compare what comes.
    pub(super) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> InMemory {
        let length = buffer.len();
        if !self.is_cached(offset, length as u64) {
            return InMemory::Missing;
        }
        let mut slices = [IoSliceMut::new(buffer)];
        let read = |file: &File| {
            Ok(rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT)?)
        };
        match self.with(read) {
            Ok(read) if read == length => InMemory::Read,
            _ => InMemory::LetGo,
        }
    }

    /// Has the drive begin to read `length` bytes from `offset` into memory.
    pub(super) fn expect_read(&self, offset: u64, length: u64) {
        self.advise(offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    /// Drops `length` bytes from `offset` out of memory, and waits for the drive if it has not got them yet. False when
    /// memory cannot do without them, because a socket is still sending them: then they must not be overwritten.
    pub(super) fn let_go(&self, offset: u64, length: u64) -> bool {
        let is_gone = || self.cached_pages(offset, length).is_ok_and(|n| n == 0);
        let drop = |offset, length| {
            self.advise(offset, NonZeroU64::new(length), Advice::DontNeed);
        };
        if self.in_memory || is_gone() {
            return true;
        }
        drop(offset, length);
        if is_gone() {
            return true;
        }
        // Perhaps it was only not written back yet, or lies in one large page with its neighbors.
        if self.with(|file| write_back(file, offset, length)).is_err() {
            return false;
        }
        let start = offset / LARGEST_PAGE * LARGEST_PAGE;
        drop(start, (offset + length).next_multiple_of(LARGEST_PAGE) - start);
        is_gone()
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (_busy, effect) = self.begin(Operation::Write)?;
        match effect {
            Some(Effect::Short) => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                self.with(|file| file.write_all_at(half, offset))?;
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
            Some(Effect::Flip) => {
                let mut bytes = bytes.to_vec();
                flip_middle(&mut bytes);
                self.with(|file| file.write_all_at(&bytes, offset))
            }
            _ => self.with(|file| file.write_all_at(bytes, offset)),
        }
    }

    /// Writes all of `pieces`, one after the other, at `offset`.
    pub(super) fn write_pieces(&self, pieces: &[Bytes], offset: u64) -> io::Result<()> {
        if self.disk.faults.is_armed() {
            return self.write(&pieces.concat(), offset);
        }
        let (_busy, _) = self.begin(Operation::Write)?;
        self.with(|file| write_pieces(file, pieces, offset))
    }

    /// Returns when everything written has reached the drive.
    pub(super) fn sync(&self) -> io::Result<()> {
        let (_busy, _) = self.begin(Operation::Sync)?;
        self.with(|file| file.sync_data())
    }

    /// Has the kernel begin to write out what was written here, so that the next [`sync`](Self::sync)
    /// finds little left to do, and reads meanwhile do not wait behind a flood of writes.
    #[expect(unsafe_code, reason = "no safe crate has sync_file_range(2)")]
    pub(super) fn begin_write_back(&self, offset: u64, length: u64) {
        let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
        let _busy = self.disk.watch.begin(self.part, Operation::Write);
        let _ = self.with(|file| {
            // SAFETY: the call takes numbers only, and the descriptor is open for as long as `file`.
            // It is a hint: an error stays with the pages, and the sync that follows reports it.
            unsafe {
                let descriptor = file.as_raw_fd();
                libc::sync_file_range(descriptor, offset, length, libc::SYNC_FILE_RANGE_WRITE);
            }
            Ok(())
        });
    }

    /// Tells the kernel that nobody will want these bytes soon: pages of them that are written out
    /// can go.
    pub(super) fn forget_pages(&self, offset: u64, length: u64) {
        self.advise(offset, NonZeroU64::new(length), Advice::DontNeed);
    }

    /// How many of the pages that `length` bytes from `offset` touch are in memory.
    fn cached_pages(&self, offset: u64, length: u64) -> io::Result<u64> {
        self.with(|file| Method::of_system(file).cached_pages(file, offset, length))
    }

    /// Nothing is lost when the file system ignores or refuses it.
    fn advise(&self, offset: u64, length: Option<NonZeroU64>, advice: Advice) {
        let _ = self.with(|file| Ok(rustix::fs::fadvise(file, offset, length, advice)?));
    }

    fn begin(&self, operation: Operation) -> io::Result<(Busy<'_>, Option<Effect>)> {
        self.disk.begin(self.part, operation)
    }
}

/// Writes all of `pieces`, one after the other, at `offset`.
fn write_pieces(file: &File, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
    /// The kernel takes this many at once (IOV_MAX).
    const PIECES: usize = 1024;
    for pieces in pieces.chunks(PIECES) {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|p| IoSlice::new(p)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written = match rustix::io::pwritev(file, rest, offset) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            offset += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
    }
    Ok(())
}

fn flip_middle(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte = !*byte;
    }
}

/// Whether an operation failed for want of space: no fault of the drive.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}
