//! What memory has of a file: the page cache, asked without waiting for the drive.
//!
//! cachestat(2) answers in half a microsecond per MiB (Linux 6.5); before it, and where a sandbox refuses it,
//! mincore(2) over a mapping that nobody touches takes forty times as long.
#![expect(unsafe_code, reason = "neither call has a safe form")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// How the page cache is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Cachestat,
    Mincore,
}

impl Method {
    /// The better one that this system has. Found out once.
    pub(super) fn of_system(file: &File) -> Self {
        static METHOD: OnceLock<Method> = OnceLock::new();
        *METHOD.get_or_init(|| match cachestat(file, 0, 1) {
            Ok(_) => Self::Cachestat,
            Err(_) => Self::Mincore,
        })
    }

    /// Whether it may be asked again and again.
    pub(super) fn is_cheap(self) -> bool {
        self == Self::Cachestat
    }

    /// How many of the pages that `length` bytes from `offset` touch are in memory.
    pub(super) fn cached_pages(self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
        match self {
            Self::Cachestat => cachestat(file, offset, length),
            Self::Mincore => mincore(file, offset, length),
        }
    }
}

/// How many pages `length` bytes from `offset` touch.
pub(super) fn pages(offset: u64, length: u64) -> u64 {
    let page = page_size() as u64;
    (offset + length).div_ceil(page) - offset / page
}

/// Pages that are being read in are counted too.
fn cachestat(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    #[repr(C)]
    struct Range {
        offset: u64,
        length: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Stat {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    /// The same number on all architectures but alpha.
    const CACHESTAT: libc::c_long = 451;
    let range = Range { offset, length };
    let mut stat = Stat::default();
    let flags: libc::c_uint = 0;
    // SAFETY: both structures are laid out as the kernel has them, and live until the call returns.
    let result = unsafe {
        libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut stat, flags)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(stat.cached) }
}

/// Pages that are being read in are not counted.
fn mincore(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    let page = page_size() as u64;
    let start = offset / page * page;
    let length =
        usize::try_from(offset + length - start).map_err(|_| io::Error::from(Errno::INVAL))?;
    let mut pages = vec![0_u8; length.div_ceil(page_size())];
    // SAFETY: a new mapping, which nobody reads and which is gone at the end of this function.
    unsafe {
        let map = mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, start)?;
        let result = match libc::mincore(map, length, pages.as_mut_ptr()) {
            0 => Ok(pages.iter().filter(|page| **page & 1 != 0).count() as u64),
            _ => Err(io::Error::last_os_error()),
        };
        munmap(map, length)?;
        result
    }
}

/// Has `length` bytes from `offset` written to the drive, and waits for it. They are not safe then (no metadata, no
/// flush of the drive), but memory can do without them.
pub(super) fn write_back(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let place = |n: u64| i64::try_from(n).map_err(|_| io::Error::from(Errno::INVAL));
    let (offset, length) = (place(offset)?, place(length)?);
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: numbers only.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, all) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use rustix::fs::Advice;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_range_touches_its_first_and_its_last_page() {
        let page = page_size() as u64;
        assert_eq!(pages(0, page), 1);
        assert_eq!(pages(page - 1, 2), 2);
        assert_eq!(pages(1, page), 2);
        assert_eq!(pages(3 * page, 256 * page), 256);
    }

    /// The old way is what a kernel before 6.5 would use.
    #[test]
    fn both_ways_see_what_is_in_memory() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 2 * MIB as usize], 0).unwrap();
        file.set_len(3 * MIB).unwrap();
        for method in [Method::of_system(&file), Method::Mincore] {
            let cached = |offset, length| method.cached_pages(&file, offset, length).unwrap();
            assert_eq!(cached(0, 2 * MIB), pages(0, 2 * MIB), "{method:?}");
            assert_eq!(cached(5000, MIB), pages(5000, MIB), "{method:?}");
            assert_eq!(cached(2 * MIB, MIB), 0, "{method:?}: a hole");
        }
        write_back(&file, 0, 3 * MIB).unwrap();
        rustix::fs::fadvise(&file, MIB, std::num::NonZeroU64::new(MIB), Advice::DontNeed).unwrap();
        let now = Method::of_system(&file).cached_pages(&file, 0, 2 * MIB).unwrap();
        // A file system that is memory itself forgets nothing.
        assert!(now == pages(0, MIB) || now == pages(0, 2 * MIB), "{now}");
        assert_eq!(Method::Mincore.cached_pages(&file, 0, 2 * MIB).unwrap(), now);
    }
}
