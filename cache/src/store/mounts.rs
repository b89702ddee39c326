//! Whether a drive's folder is where it should be: a folder whose mount is missing looks like an
//! empty one on the file system above it, and would fill that.
//!
//! What the system says comes in as text, so that the rule is the same everywhere and can be
//! tested without mounting anything.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The mount that a folder is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Major and minor number of its device, as `8:1`.
    pub(super) device: String,
    /// Its file system: `ext4`, `xfs`, ...
    pub(super) kind: String,
}

impl Mount {
    /// What an operator should know about its file system.
    pub(super) fn note(&self) -> Option<String> {
        matches!(self.kind.as_str(), "btrfs" | "zfs" | "bcachefs").then(|| {
            format!(
                "its file system ({}) copies on write: reserving space does not help there, and \
                 files fall to pieces; XFS or ext4 is faster",
                self.kind
            )
        })
    }
}

/// What the system says about mounts.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounts {
    /// All that are there, in the order of mounting.
    there: Vec<Mount>,
    /// Where something is to be mounted, and who says so.
    wanted: Vec<(PathBuf, String)>,
}

/// What is known about a folder from earlier starts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Where its file system was mounted.
    pub(super) mount: Option<&'a Path>,
    /// The uuid of the drive that was in it.
    pub(super) uuid: Option<u128>,
}

/// Nothing is mounted where something should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// Where.
    pub(super) point: PathBuf,
    /// How that is known.
    pub(super) evidence: String,
    /// What the folder is on instead.
    pub(super) instead: PathBuf,
}

impl Mounts {
    /// Asks the system. What it does not tell is not known: then nothing is refused.
    pub(super) fn of_system() -> Self {
        let read = |path: &str| fs::read(path).unwrap_or_default();
        let mut mounts = Self::new(&read("/proc/self/mountinfo"), &read("/etc/fstab"));
        let units = fs::read_dir("/etc/systemd/system").into_iter().flatten().flatten();
        for unit in units.filter(|unit| unit.path().extension().is_some_and(|e| e == "mount")) {
            let name = unit.file_name().to_string_lossy().into_owned();
            mounts.add_unit(&name, &fs::read(unit.path()).unwrap_or_default());
        }
        mounts
    }

    /// Reads proc_pid_mountinfo(5) and fstab(5).
    pub(super) fn new(mountinfo: &[u8], fstab: &[u8]) -> Self {
        let lines =
            |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let there = lines(mountinfo).iter().filter_map(|line| mount(line)).collect();
        let wanted = lines(fstab).iter().filter_map(|line| wanted(line)).collect();
        Self { there, wanted }
    }

    /// Takes in a mount unit of systemd.
    pub(super) fn add_unit(&mut self, name: &str, unit: &[u8]) {
        let text = String::from_utf8_lossy(unit);
        let places = text.lines().filter_map(|line| line.trim().strip_prefix("Where="));
        for place in places.map(str::trim).filter(|place| place.starts_with('/')) {
            self.wanted.push((place.into(), format!("the unit `{name}` mounts it")));
        }
    }

    /// The mount that `folder` (absolute, without links) is in. `None` when the system tells nothing.
    pub(super) fn of(&self, folder: &Path) -> Option<&Mount> {
        // Of two mounts in one place the later one hides the other.
        let above = self.there.iter().filter(|mount| folder.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// Whether `folder`, which holds a drive of this uuid or none, is in the mount that it should be in.
    pub(super) fn check(
        &self,
        folder: &Path,
        uuid: Option<u128>,
        known: Known<'_>,
    ) -> Result<(), Missing> {
        let Some(now) = self.of(folder) else { return Ok(()) };
        // It is the very drive, wherever it was moved to.
        if uuid.is_some() && uuid == known.uuid {
            return Ok(());
        }
        let is_missing = |point: &Path| {
            folder.starts_with(point) && point.starts_with(&now.point) && point != now.point
        };
        let missing = |point: &Path, evidence: &str| Missing {
            point: point.to_owned(),
            evidence: evidence.to_owned(),
            instead: now.point.clone(),
        };
        if let Some(point) = known.mount.filter(|point| is_missing(point)) {
            return Err(missing(point, "it was mounted at an earlier start"));
        }
        match self.wanted.iter().find(|(point, _)| is_missing(point)) {
            Some((point, evidence)) => Err(missing(point, evidence)),
            None => Ok(()),
        }
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let point = path(fields.nth(1)?);
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    point.is_absolute().then_some(Mount { point, device, kind })
}

/// `UUID=... /cache/1 xfs noatime 0 2`
fn wanted(line: &[u8]) -> Option<(PathBuf, String)> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let source = fields.next().filter(|source| !source.starts_with(b"#"))?;
    let point = path(fields.next()?);
    // Swap space has `none` here.
    let evidence = format!("/etc/fstab mounts {} there", text(source));
    point.is_absolute().then_some((point, evidence))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Both files write blanks and the like in octal: `\040`.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.split_first_chunk::<3>().filter(|_| *first == b'\\');
        let code = octal.and_then(|(digits, after)| {
            let digits = str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, after))
        });
        let (byte, after) = code.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    // `/cache/1/` is `/cache/1`.
    PathBuf::from(OsString::from_vec(bytes)).components().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n";
    const CACHE: &str = "40 22 8:17 / /cache/1 rw,noatime shared:7 master:1 - xfs /dev/sdb1 rw\n";
    const FSTAB: &str = "# the drives\nUUID=1-2 / ext4 defaults 0 1\n/dev/sdb1\t/cache/1/ xfs \
                         noatime 0 2\nUUID=3 none swap sw 0 0\n";

    fn mounts(info: &str, fstab: &str) -> Mounts {
        Mounts::new(info.as_bytes(), fstab.as_bytes())
    }

    fn missing(
        mounts: &Mounts,
        folder: &str,
        uuid: Option<u128>,
        known: Known<'_>,
    ) -> Option<String> {
        mounts.check(Path::new(folder), uuid, known).err().map(|missing| missing.evidence)
    }

    const NOBODY: Known<'static> = Known { mount: None, uuid: None };

    #[test]
    fn the_mount_of_a_folder_is_the_longest_above_it() {
        let both = mounts(&format!("{ROOT}{CACHE}"), "");
        assert_eq!(both.of(Path::new("/cache/1/mcc")).unwrap().device, "8:17");
        assert_eq!(both.of(Path::new("/cache/1")).unwrap().kind, "xfs");
        assert_eq!(both.of(Path::new("/cache/10")).unwrap().point, Path::new("/"));
        let over = mounts(&format!("{ROOT}{CACHE}50 40 0:99 / /cache/1 rw - zfs tank rw"), "");
        let top = over.of(Path::new("/cache/1")).unwrap();
        assert_eq!(top.device, "0:99");
        assert!(top.note().unwrap().contains("zfs"));
        assert_eq!(mounts("", "").of(Path::new("/cache/1")), None);
    }

    #[test]
    fn a_plain_folder_on_a_single_disk_is_fine() {
        let single = mounts(ROOT, "UUID=1-2 / ext4 defaults 0 1\n");
        assert_eq!(missing(&single, "/var/cache/mcc", None, NOBODY), None);
        let known = Known { mount: Some(Path::new("/")), uuid: Some(7) };
        assert_eq!(missing(&single, "/var/cache/mcc", None, known), None);
    }

    #[test]
    fn a_mount_that_was_there_before_is_missed() {
        let known = Known { mount: Some(Path::new("/cache/1")), uuid: Some(7) };
        let without = mounts(ROOT, "");
        let words = missing(&without, "/cache/1", None, known).unwrap();
        assert!(words.contains("earlier start"), "{words}");
        assert!(missing(&without, "/cache/1/mcc", Some(8), known).is_some(), "another drive");
        assert_eq!(missing(&without, "/cache/1", Some(7), known), None, "its content was moved");
        let with = mounts(&format!("{ROOT}{CACHE}"), "");
        assert_eq!(missing(&with, "/cache/1", None, known), None, "a new, empty file system");
    }

    #[test]
    fn a_mount_that_the_system_is_to_make_is_missed() {
        let without = mounts(ROOT, FSTAB);
        let words = missing(&without, "/cache/1", None, NOBODY).unwrap();
        assert!(words.contains("/etc/fstab mounts /dev/sdb1"), "{words}");
        assert_eq!(missing(&without, "/cache/2", None, NOBODY), None);
        let with = mounts(&format!("{ROOT}{CACHE}"), FSTAB);
        assert_eq!(missing(&with, "/cache/1", None, NOBODY), None);

        let mut unit = mounts(ROOT, "");
        unit.add_unit("cache-1.mount", b"[Mount]\nWhat=/dev/sdb1\nWhere=/cache/1\n");
        assert!(missing(&unit, "/cache/1/mcc", None, NOBODY).unwrap().contains("cache-1.mount"));
    }

    #[test]
    fn names_with_blanks_are_read() {
        let blank = mounts("1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /my\\040disk rw - ext4 b rw", "");
        assert_eq!(blank.of(Path::new("/my disk/x")).unwrap().device, "8:2");
    }

    proptest! {
        #[test]
        fn garbage_is_no_mount(
            info: Vec<u8>, fstab: Vec<u8>, unit: Vec<u8>, folder in "/[a-z/]{0,10}",
        ) {
            let mut mounts = Mounts::new(&info, &fstab);
            mounts.add_unit("x.mount", &unit);
            let _ = mounts.check(Path::new(&folder), Some(1), Known::default());
        }
    }
}
