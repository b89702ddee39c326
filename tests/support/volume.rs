//! A file system of its own for a drive: ext4 in a file, by a loop device, that can be filled,
//! damaged, made read-only and unmounted. Needs root and loop devices.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system. Dropped, it is unmounted and gone.
pub(crate) struct Volume {
    folder: TempDir,
    device: String,
}

impl Volume {
    /// Makes and mounts one of `size` bytes; `None`, and a word about it, where that cannot be done.
    ///
    /// # Panics
    /// It cannot be done although `MCC_REQUIRE_CONTAINERS=1` says that it must.
    pub(crate) fn create(size: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        fs::create_dir(folder.path().join("mount")).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", path(&image)])
            .and_then(|_| run("losetup", &["--find", "--show", path(&image)]));
        let device = match made {
            Ok(device) => device.trim().to_owned(),
            Err(error) => {
                let must = std::env::var_os("MCC_REQUIRE_CONTAINERS").is_some_and(|v| v == "1");
                assert!(!must, "no loop device: {error}");
                println!("skipped: no loop device: {error}");
                return None;
            }
        };
        let volume = Self { folder, device };
        volume.mount();
        Some(volume)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    #[track_caller]
    pub(crate) fn mount(&self) {
        let mount = self.path();
        run("mount", &["-o", "errors=remount-ro", &self.device, path(&mount)]).unwrap();
    }

    #[track_caller]
    pub(crate) fn unmount(&self) {
        self.try_unmount().unwrap();
    }

    /// Unmounts it, or says why that cannot be: somebody has files of it open.
    pub(crate) fn try_unmount(&self) -> Result<(), String> {
        run("umount", &[path(&self.path())]).map(drop)
    }

    /// Makes it read-only under whoever uses it, as ext4 does after an error of the device.
    #[track_caller]
    pub(crate) fn fail_to_read_only(&self) {
        let name = self.device.trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "test").unwrap();
    }

    /// Ends all input and output on it under whoever uses it, as a file system does that has met an error it cannot
    /// live with: everything fails (EIO), what memory has of its files included.
    #[track_caller]
    pub(crate) fn shut_down(&self) {
        /// `EXT4_IOC_SHUTDOWN`, and that nothing is to be written any more.
        const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
        const NO_LOG_FLUSH: u32 = 2;
        let root = fs::File::open(self.path()).unwrap();
        // SAFETY: the kernel reads the u32 that it is given a pointer to.
        #[expect(unsafe_code, reason = "has no safe form")]
        unsafe {
            let shutdown = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH);
            rustix::ioctl::ioctl(&root, shutdown).unwrap();
        }
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) {
        let mut rest = fs::File::create(self.path().join("rest")).unwrap();
        let piece = vec![1; 1 << 20];
        while std::io::Write::write_all(&mut rest, &piece).is_ok() {}
    }

    /// From now on reads of what is not in memory fail (EIO): the device has lost its sectors.
    #[track_caller]
    pub(crate) fn lose_sectors(&self) {
        run("sync", &[]).unwrap();
        let image = self.folder.path().join("image");
        fs::File::options().write(true).open(image).unwrap().set_len(0).unwrap();
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whatever of it is still there.
        let _ = run("umount", &["--lazy", path(&self.path())]);
        let _ = run("losetup", &["--detach", &self.device]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a program. Gives its output, or what it said instead.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
