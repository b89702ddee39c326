//! A file that is being written: under another name until it is whole and on the disk.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

/// A file was not written.
#[derive(Debug, Error)]
#[error("{} cannot be written: {source}; {}", path.display(), way_out(source.kind()))]
pub(super) struct CannotWrite {
    path: PathBuf,
    source: io::Error,
}

impl CannotWrite {
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self { path, source }
    }
}

fn way_out(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room there, or let `[bgp.mrt]` keep fewer files (`keep`) or write elsewhere (`dir`)"
        }
        ErrorKind::PermissionDenied => "let the user that the node runs as write there",
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: look at the drive, or write elsewhere (`[bgp.mrt] dir`)"
        }
        _ => "look at the file system, or write elsewhere (`[bgp.mrt] dir`)",
    }
}

/// See the module's documentation. Dropped, it stays under its other name: nobody takes it for whole.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    part: PathBuf,
    /// So many bytes are whole records.
    whole: u64,
}

impl Part {
    /// Begins the file that will be `path`.
    pub(super) async fn create(path: PathBuf) -> Result<Self, CannotWrite> {
        let part = path.with_extension("mrt.part");
        let file = File::create(&part).await.map_err(CannotWrite::at(&path))?;
        Ok(Self { file, path, part, whole: 0 })
    }

    /// Appends whole records.
    pub(super) async fn write(&mut self, records: &[u8]) -> Result<(), CannotWrite> {
        self.file.write_all(records).await.map_err(CannotWrite::at(&self.path))?;
        // The file tells of an error only then.
        self.file.flush().await.map_err(CannotWrite::at(&self.path))?;
        self.whole += records.len() as u64;
        Ok(())
    }

    /// Gives the file its name once it is on the disk. What cannot be brought there is removed.
    pub(super) async fn finish(self) -> Result<(), CannotWrite> {
        let named = async {
            self.file.sync_all().await?;
            fs::rename(&self.part, &self.path).await
        };
        if let Err(error) = named.await {
            self.discard().await;
            return Err(CannotWrite::at(&self.path)(error));
        }
        Ok(())
    }

    /// After a failed write: keeps the whole records before it, if there are any. Whether it has.
    pub(super) async fn salvage(self) -> bool {
        if self.whole == 0 || self.file.set_len(self.whole).await.is_err() {
            self.discard().await;
            return false;
        }
        self.finish().await.is_ok()
    }

    /// Removes what was written. If that fails as well, it is the first error that is told.
    pub(super) async fn discard(&self) {
        let _ = fs::remove_file(&self.part).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is on a full disk, as the kernel plays it.
    async fn full(path: PathBuf, whole: u64) -> Part {
        let part = Part::create(path).await.unwrap();
        let file = File::options().write(true).open("/dev/full").await.unwrap();
        Part { file, whole, ..part }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_full_disk_is_told_with_file_and_way_out_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table-20261123T001500Z.mrt");
        let mut part = full(path.clone(), 0).await;
        let error = part.write(b"record").await.unwrap_err().to_string();
        let expected = format!("{} cannot be written: No space left on device", path.display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("make room there"), "{error}");
        assert!(!part.salvage().await);
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn of_a_file_that_breaks_off_the_whole_records_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("messages-20261123T001500Z.mrt");
        let mut part = Part::create(path.clone()).await.unwrap();
        part.write(b"whole").await.unwrap();
        // The disk takes half of a record.
        part.file.write_all(b"ha").await.unwrap();
        part.file.flush().await.unwrap();
        assert_eq!(names(dir.path()), ["messages-20261123T001500Z.mrt.part"]);
        assert!(part.salvage().await);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["messages-20261123T001500Z.mrt"]);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("messages-20261123T001500Z.mrt");
        // `/dev/full` cannot be cut to a length.
        assert!(!full(path, 5).await.salvage().await);
        assert_eq!(names(dir.path()), [""; 0]);
    }
}
