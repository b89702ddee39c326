//! Where a command writes an MRT file to.
//!
//! A file gets its name when it is whole and on the disk: half a table looks like a small one. Until then
//! it has `.part` behind its name, and what had the name before is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use mcc_bgp::mrt;

/// See the module's documentation.
pub(super) enum MrtFile {
    /// The standard output, a device or a pipe: written to as it is, a new file must never take its place.
    Stream { name: PathBuf, out: Box<dyn Write + Send> },
    /// An ordinary file.
    Beside(Beside),
}

/// A file under another name. Dropped before it is finished, it is gone.
pub(super) struct Beside {
    name: PathBuf,
    target: PathBuf,
    part: PathBuf,
    file: File,
}

/// It was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; {}", name.display(), way_out(source.kind()))]
pub(super) struct CannotWrite {
    name: PathBuf,
    #[source]
    source: io::Error,
}

impl CannotWrite {
    fn of(name: &Path) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        |source| Self { name, source }
    }

    /// Whoever read it has had enough (`mcc bgp dump - | head`).
    pub(super) fn nobody_reads(&self) -> bool {
        self.source.kind() == ErrorKind::BrokenPipe
    }
}

fn way_out(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "make room there, or name a file on another file system"
        }
        _ => "name another file, or look at its folder",
    }
}

impl MrtFile {
    /// `-` is the standard output. A link is followed: it stays, and what it leads to is written.
    pub(super) fn create(name: &Path) -> Result<Self, CannotWrite> {
        let cannot_write = || CannotWrite::of(name);
        let stream = |out| Self::Stream { name: name.to_owned(), out };
        if name == Path::new("-") {
            return Ok(stream(Box::new(io::stdout())));
        }
        let target = fs::canonicalize(name).unwrap_or_else(|_| name.to_owned());
        if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
            let file = OpenOptions::new().write(true).open(&target).map_err(cannot_write())?;
            return Ok(stream(Box::new(file)));
        }
        let mut part = target.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(cannot_write())?;
        Ok(Self::Beside(Beside { name: name.to_owned(), target, part, file }))
    }

    /// Appends what has come.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CannotWrite> {
        let (name, out): (&Path, &mut dyn Write) = match self {
            Self::Stream { name, out } => (name, out),
            Self::Beside(beside) => (&beside.name, &mut beside.file),
        };
        out.write_all(bytes).and_then(|()| out.flush()).map_err(CannotWrite::of(name))
    }
}

impl Beside {
    /// Gives it its name.
    pub(super) fn finish(self) -> Result<(), CannotWrite> {
        let synced = self.file.sync_all().and_then(|()| fs::rename(&self.part, &self.target));
        synced.map_err(CannotWrite::of(&self.name))
    }

    /// Removes a record at the end that is not whole. Gives how many bytes are left.
    pub(super) fn cut_to_whole_records(&mut self) -> Result<u64, CannotWrite> {
        let cannot_write = || CannotWrite::of(&self.name);
        let written = File::open(&self.part).map_err(cannot_write())?;
        let mut reader = mrt::Reader::new(BufReader::new(written));
        while let Some(Ok(_)) = reader.next() {}
        let whole = reader.offset();
        self.file.set_len(whole).map_err(cannot_write())?;
        Ok(whole)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Once it has its name there is nothing left to remove; else the first error is the one to tell.
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A record of an unknown type with three bytes.
    const RECORD: [u8; 15] = [0, 0, 0, 1, 0, 99, 0, 0, 0, 0, 0, 3, 7, 7, 7];

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.mrt");
        fs::write(&path, "old").unwrap();
        let mut file = MrtFile::create(&path).unwrap();
        file.write(&RECORD).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"old".to_vec(), 1));

        let mut file = MrtFile::create(&path).unwrap();
        file.write(&RECORD).unwrap();
        let MrtFile::Beside(beside) = file else { panic!("an ordinary file") };
        beside.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), RECORD);
        assert_eq!(names(folder.path()), ["table.mrt"]);
    }

    #[test]
    fn a_record_that_is_cut_off_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.mrt");
        for (bytes, kept) in [(&[RECORD, RECORD].concat()[..20], &RECORD[..]), (&RECORD[..7], &[])]
        {
            let mut file = MrtFile::create(&path).unwrap();
            file.write(bytes).unwrap();
            let MrtFile::Beside(mut beside) = file else { panic!("an ordinary file") };
            assert_eq!(beside.cut_to_whole_records().unwrap(), kept.len() as u64);
            beside.finish().unwrap();
            assert_eq!(fs::read(&path).unwrap(), kept);
        }
    }

    #[test]
    fn a_full_disk_is_told_with_the_file_and_the_way_out() {
        let mut file = MrtFile::create(Path::new("/dev/full")).unwrap();
        let error = file.write(&RECORD).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /dev/full: No space left on device"), "{error}");
        assert!(
            error.ends_with("make room there, or name a file on another file system"),
            "{error}"
        );
    }
}
