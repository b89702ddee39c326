//! Files that only their owner may read: tokens, and settings with passwords.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is about to be replaced. Until [`Replacement::commit`] the old one stays as it is.
pub(crate) struct Replacement {
    target: PathBuf,
    beside: PathBuf,
    file: File,
}

impl Replacement {
    /// Makes sure that `target` can be written, by making a file beside it.
    pub(crate) fn prepare(target: &Path) -> io::Result<Self> {
        // A folder cannot be replaced by a file, which would come out only at the end.
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(".new");
        let beside = target.with_file_name(name);
        // Left over from an attempt that was cut short; its mode may be anything.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        Ok(Self { target: target.to_owned(), beside, file })
    }

    /// Puts `content` in the place of the old file, whole or not at all.
    pub(crate) fn commit(mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.target)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After a commit there is nothing left to remove.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_refused_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let error = Replacement::prepare(folder.path()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.token");
        fs::write(&file, "old").unwrap();
        drop(Replacement::prepare(&file).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        Replacement::prepare(&file).unwrap().commit(b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
