//! All input and output on a drive goes through here: the folder, its lock, and its four files.
//! Faults are injected here, and nowhere else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Advice, FallocateFlags};
use rustix::io::ReadWriteFlags;

use super::fault::{Effect, Faults, Operation, Part};
use super::residency::{Method, pages, write_back};

/// File systems that are memory themselves, as statfs(2) tells them.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
/// Most bytes that the page cache keeps in one piece; such pieces are aligned.
const LARGEST_PAGE: u64 = 8 << 20;
/// So far apart are the bytes that tell whether a read under way has come past them.
const PROBE_STEP: u64 = 128 << 10;

/// The folder of a drive.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    path: Arc<Path>,
    faults: Faults,
}

/// The right to use a folder, which one process at a time has. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Lock {
    _folder: File,
}

impl Disk {
    pub(super) fn new(path: &Path, faults: Faults) -> Self {
        Self { path: path.into(), faults }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the folder, which must exist; `None` when another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
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
        let path = self.file(part);
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let in_memory = rustix::fs::fstatfs(&options)
            .is_ok_and(|system| matches!(system.f_type.cast_unsigned(), TMPFS | RAMFS));
        Ok(DiskFile { file: Arc::new(options), part, disk: self.clone(), in_memory })
    }

    /// The content of a small file; `None` when it is missing.
    pub(super) fn read(&self, part: Part) -> io::Result<Option<Vec<u8>>> {
        self.faults.meet(&self.path, part, Operation::Read)?;
        match fs::read(self.file(part)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file as a whole: after a crash the drive has the old one or the new one.
    pub(super) fn replace(
        &self,
        part: Part,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.file(part);
        let new = path.with_added_extension("new");
        self.faults.meet(&self.path, part, Operation::Write)?;
        let mut out = io::BufWriter::with_capacity(1 << 20, File::create(&new)?);
        write(&mut out)?;
        out.flush()?;
        self.faults.meet(&self.path, part, Operation::Sync)?;
        out.get_ref().sync_data()?;
        fs::rename(&new, &path)?;
        File::open(&self.path)?.sync_all()
    }

    fn file(&self, part: Part) -> PathBuf {
        self.path.join(part.file_name())
    }
}

/// An open file of a drive.
#[derive(Debug, Clone)]
pub(super) struct DiskFile {
    file: Arc<File>,
    part: Part,
    disk: Disk,
    /// Its file system has no other place for it than memory.
    in_memory: bool,
}

impl DiskFile {
    /// The file itself, to be sent from.
    pub(super) fn raw(&self) -> &Arc<File> {
        &self.file
    }

    /// Length in bytes.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    /// Makes the file `bytes` long with all its space taken, so that it can never run out later.
    pub(super) fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.meet(Operation::Allocate)?;
        Ok(rustix::fs::fallocate(&*self.file, FallocateFlags::empty(), 0, bytes)?)
    }

    /// Tells the kernel that reads go all over the file: its own read-ahead would be waste.
    pub(super) fn expect_random_reads(&self) {
        // Advice: nothing is lost when the file system ignores or refuses it.
        let _ = rustix::fs::fadvise(&*self.file, 0, None, Advice::Random);
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let effect = self.meet(Operation::Read)?;
        if effect == Some(Effect::Short) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.file.read_exact_at(buffer, offset)?;
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

    /// Whether memory has all of `length` bytes from `offset`, as far as can be seen without waiting for the drive.
    /// Where faults are to be met it has nothing, so that each read is a real one.
    pub(super) fn is_cached(&self, offset: u64, length: u64) -> bool {
        let method = Method::of_system(&self.file);
        !self.disk.faults.is_armed()
            && method
                .cached_pages(&self.file, offset, length)
                .is_ok_and(|cached| cached >= pages(offset, length))
    }

    /// Whether no read is under way at samples of `length` bytes from `offset`, which [`Self::is_cached`] does not
    /// always see.
    pub(super) fn is_settled(&self, offset: u64, length: u64) -> bool {
        let end = offset + length;
        let samples = (offset..end).step_by(PROBE_STEP as usize).chain(end.checked_sub(1));
        samples.into_iter().all(|sample| self.read_cached(&mut [0], sample))
    }

    /// Fills `buffer` from `offset` if memory has all of it; false if not, or if the file system cannot tell.
    pub(super) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> bool {
        let length = buffer.len();
        let mut slices = [IoSliceMut::new(buffer)];
        let nowait = ReadWriteFlags::NOWAIT;
        !self.disk.faults.is_armed()
            && rustix::io::preadv2(&*self.file, &mut slices, offset, nowait) == Ok(length)
    }

    /// Has the drive begin to read `length` bytes from `offset` into memory.
    pub(super) fn expect_read(&self, offset: u64, length: u64) {
        let _ = rustix::fs::fadvise(&*self.file, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    /// Drops `length` bytes from `offset` out of memory, and waits for the drive if it has not got them yet. False when
    /// memory cannot do without them, because a socket is still sending them: then they must not be overwritten.
    pub(super) fn let_go(&self, offset: u64, length: u64) -> bool {
        let method = Method::of_system(&self.file);
        let is_gone = || method.cached_pages(&self.file, offset, length).is_ok_and(|n| n == 0);
        let drop = |offset, length| {
            let length = NonZeroU64::new(length);
            let _ = rustix::fs::fadvise(&*self.file, offset, length, Advice::DontNeed);
        };
        if self.in_memory || is_gone() {
            return true;
        }
        drop(offset, length);
        if is_gone() {
            return true;
        }
        // Perhaps it was only not written back yet, or lies in one large page with its neighbors.
        if write_back(&self.file, offset, length).is_err() {
            return false;
        }
        let start = offset / LARGEST_PAGE * LARGEST_PAGE;
        drop(start, (offset + length).next_multiple_of(LARGEST_PAGE) - start);
        is_gone()
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.meet(Operation::Write)? {
            Some(Effect::Short) => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                self.file.write_all_at(half, offset)?;
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
            Some(Effect::Flip) => {
                let mut bytes = bytes.to_vec();
                flip_middle(&mut bytes);
                self.file.write_all_at(&bytes, offset)
            }
            _ => self.file.write_all_at(bytes, offset),
        }
    }

    /// Writes all of `pieces`, one after the other, at `offset`.
    pub(super) fn write_pieces(&self, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
        /// The kernel takes this many at once (IOV_MAX).
        const PIECES: usize = 1024;
        if self.disk.faults.is_armed() {
            return self.write(&pieces.concat(), offset);
        }
        for pieces in pieces.chunks(PIECES) {
            let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|p| IoSlice::new(p)).collect();
            let mut rest = slices.as_mut_slice();
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                let written = match rustix::io::pwritev(&*self.file, rest, offset) {
                    Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                    Ok(written) => written,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
        }
        Ok(())
    }

    /// Returns when everything written has reached the drive.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.meet(Operation::Sync)?;
        self.file.sync_data()
    }

    fn meet(&self, operation: Operation) -> io::Result<Option<Effect>> {
        self.disk.faults.meet(&self.disk.path, self.part, operation)
    }
}

fn flip_middle(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte = !*byte;
    }
}
