//! Drives that were given up, that are not where they belong, or that come back.

use std::path::PathBuf;

use rustix::io::Errno;

use super::failing::{fault, faulty};
use super::*;

/// Has the only drive fail until it is given up.
fn fail(store: &Store, folder: &Folder, faults: &Faults, error: Errno) {
    let effect = Effect::Error(error.raw_os_error());
    faults.inject(fault(folder, Part::Slab, Operation::Write, 5, effect));
    for n in 0..5 {
        let object = store.publish(&key(&format!("/fail/{n}")), &meta(1, blocks(1)));
        write(store, &object, 0).unwrap();
    }
    store.flush();
}

fn remembering(folder: &Folder, faults: &Faults) -> StoreOptions {
    StoreOptions { data_dir: Some(folder.path().to_owned()), ..faulty(faults) }
}

#[tokio::test]
async fn a_drive_that_was_given_up_stays_so_over_a_restart_of_the_node() {
    let (data, folder, faults) = (Folder::new(), Folder::new(), Faults::armed());
    let (drives, options) = ([folder.config(SLOTS)], remembering(&data, &faults));
    let store = opened(&drives, &options);
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(2))));
    // A file system that has become read-only is as bad as one that fails.
    fail(&store, &folder, &faults, Errno::ROFS);
    let words = offline(&store, 0).unwrap();
    assert!(words.reason.contains("Read-only"), "{words:?}");
    // It is written down by a thread of its own.
    while !fs::read_to_string(data.path().join("store.json")).unwrap().contains("Read-only") {
        thread::yield_now();
    }
    drop(store);

    let store = opened(&drives, &options);
    let again = offline(&store, 0).unwrap();
    assert_eq!((&again.reason, again.since), (&words.reason, words.since));
    assert_eq!(store.online(folder.path()), Ok(()));
    store.wait_for_drives(Duration::from_secs(60));
    assert_eq!(offline(&store, 0), None);
    assert_eq!(check_all(&store).await, 2);
    drop(store);
    let store = opened(&drives, &options);
    assert_eq!(offline(&store, 0), None, "said once is enough");
}

/// Files in `folder`, and itself, that this process has open.
fn open_in(folder: &Folder) -> Vec<PathBuf> {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    open.filter(|path| path.starts_with(folder.path())).collect()
}

/// So that its file system can be unmounted.
#[tokio::test]
async fn a_drive_that_is_offline_keeps_no_file_open() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    let object = store.publish(&key("/a"), &meta(1, blocks(2)));
    write_all(&store, &object);
    let pinned = store.block(&object, 0).unwrap();
    let files = open_in(&folder);
    assert!(files.len() >= 4, "slab, slots, objects and the folder's lock: {files:?}");
    fail(&store, &folder, &faults, Errno::IO);
    while !open_in(&folder).is_empty() {
        thread::yield_now();
    }
    let before = only_drive(&store);
    assert!(matches!(pinned.read(0..10).await, Err(ReadError::Gone { .. })));
    assert!(pinned.send(|_, _| Ok(())).is_err());
    let after = only_drive(&store);
    assert!(matches!(after.state, DriveState::Offline(_)));
    assert_eq!((after.blocks, after.used), (0, 0));
    assert_eq!((after.counts.errors, before.counts.errors), (5, 5), "no more of the drive's own");

    while store.online(folder.path()) == Err(OnlineError::Held) {
        thread::yield_now();
    }
    store.wait_for_drives(Duration::from_secs(60));
    assert_eq!(check_all(&store).await, 2);
    assert!(open_in(&folder).len() >= 4);
}

#[test]
fn a_replaced_drive_needs_no_words() {
    let (data, folder, faults) = (Folder::new(), Folder::new(), Faults::armed());
    let (drives, options) = ([folder.config(SLOTS)], remembering(&data, &faults));
    let store = opened(&drives, &options);
    fail(&store, &folder, &faults, Errno::IO);
    while !fs::read_to_string(data.path().join("store.json")).unwrap().contains("given_up") {
        thread::yield_now();
    }
    drop(store);
    for part in Part::ALL {
        fs::remove_file(folder.path().join(part.file_name())).unwrap();
    }
    let store = opened(&drives, &options);
    assert_eq!(offline(&store, 0), None);
}

#[tokio::test]
async fn a_full_file_system_is_told_and_borne() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    let full = Effect::Error(Errno::NOSPC.raw_os_error());
    // Some file systems need space even to overwrite.
    faults.inject(fault(&folder, Part::Slots, Operation::Write, 8, full));
    let object = store.publish(&key("/a"), &meta(1, blocks(1)));
    write(&store, &object, 0).unwrap();
    for _ in 0..8 {
        assert!(!store.flush(), "not durable");
    }
    let status = only_drive(&store);
    assert_eq!((status.state, status.counts.errors), (DriveState::Up, 8));
    assert!(status.note.unwrap().contains("file system is full"));
    assert_eq!(check_all(&store).await, 1, "it serves what it has");
    assert!(store.flush(), "there is space again");
}

#[tokio::test]
async fn a_drive_that_was_away_learns_what_was_purged() {
    let (data, folder, faults) = (Folder::new(), Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &remembering(&data, &faults));
    for path in ["/keep/1", "/keep/2", "/gone/1", "/gone/2", "/gone-too"] {
        write_all(&store, &store.publish(&key(path), &meta(1, blocks(1))));
    }
    fail(&store, &folder, &faults, Errno::IO);
    store.purge(&Selector::Prefix { host: "dl.example".into(), path: "/gone/".into() });
    store.purge(&Selector::Url(key("/gone-too")));
    drop(store);
    let store = opened(&[folder.config(SLOTS)], &remembering(&data, &faults));
    // Not the purged content: this was fetched after it.
    let new = store.publish(&key("/gone/1"), &meta(2, blocks(1)));
    if offline(&store, 0).is_some() {
        while store.online(folder.path()).is_err() {
            thread::yield_now();
        }
        store.wait_for_drives(Duration::from_secs(60));
    }
    assert_eq!(check_all(&store).await, 2);
    write_all(&store, &new);
    store.close();
    drop(store);
    let store = opened(&[folder.config(SLOTS)], &remembering(&data, &faults));
    assert_eq!(check_all(&store).await, 3);
    assert!(store.object(&key("/gone-too")).is_none());
}

/// Writes down that a drive was mounted at `mount` when the node was started before.
fn was_mounted(data: &Folder, path: &Path, mount: &Path) {
    let book = format!(
        r#"{{"drives": [{{"path": "{}", "uuid": "7", "mount": "{}"}}]}}"#,
        path.display(),
        mount.display()
    );
    fs::write(data.path().join("store.json"), book).unwrap();
}

#[test]
fn a_folder_whose_mount_is_missing_is_not_filled() {
    let (data, folder) = (Folder::new(), Folder::new());
    let path = folder.path().join("mcc");
    fs::create_dir(&path).unwrap();
    was_mounted(&data, &path, folder.path());
    let options = remembering(&data, &Faults::default());
    let store = opened(&[drive(&path, SLOTS)], &options);
    let words = offline(&store, 0).unwrap();
    let mount = folder.path().display().to_string();
    assert!(words.reason.contains(&format!("nothing is mounted at `{mount}`")), "{words:?}");
    assert!(words.action.contains("allow_root = true"), "{words:?}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "not a byte");
    drop(store);
    let allowed = mcc_config::Drive { allow_root: true, ..drive(&path, SLOTS) };
    assert_eq!(offline(&opened(&[allowed], &options), 0), None);
    // It is the drive itself that is there now.
    assert_eq!(offline(&opened(&[drive(&path, SLOTS)], &options), 0), None);
}

#[test]
fn a_mount_that_went_away_is_missed() {
    let (data, folder) = (Folder::new(), Folder::new());
    let mount = |arguments: &[&str]| {
        let command = std::process::Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status();
        command.is_ok_and(|status| status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=128M", "tmpfs"]) {
        println!("skipped: mounting is not allowed here");
        return;
    }
    let options = remembering(&data, &Faults::default());
    let config = [folder.config(SLOTS)];
    let store = opened(&config, &options);
    let first = offline(&store, 0);
    store.close();
    drop(store);
    // The care and scrub threads may hold the files for a moment longer.
    while !mount(&["umount"]) {
        thread::yield_now();
    }
    assert_eq!(first, None);
    let store = opened(&config, &options);
    assert!(offline(&store, 0).unwrap().reason.contains("nothing is mounted"));
    assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=128M", "tmpfs"]));
    let back = store.online(folder.path());
    store.wait_for_drives(Duration::from_secs(60));
    let second = offline(&store, 0);
    drop(store);
    while !mount(&["umount"]) {
        thread::yield_now();
    }
    assert_eq!((back, second), (Ok(()), None), "mounted, an operator's word is enough");
}

#[test]
fn two_drives_on_one_file_system_are_told_of() {
    let (a, b) = (Folder::new(), Folder::new());
    let store = opened(&[a.config(SLOTS), b.config(SLOTS)], &options());
    for (drive, other) in store.status().drives.iter().zip([&b, &a]) {
        let note = drive.note.as_ref().unwrap();
        assert!(note.contains(other.path().to_str().unwrap()), "{note}");
    }
    assert_eq!(only_drive(&open(&Folder::new())).note, None);
}
