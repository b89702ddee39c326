//! Drives that cannot be opened say why and what to do; those that change size, join, leave or come
//! back keep what is theirs.

use rustix::io::Errno;

use super::*;

#[track_caller]
fn refused(drive: &mcc_config::Drive, reason: &str) {
    let store = opened(std::slice::from_ref(drive), &options());
    let words = offline(&store, 0).expect("offline");
    assert!(words.reason.contains(reason), "{words:?}");
    let ways = ["restart the node", &format!("`mcc cache online {}`", drive.path.display())];
    assert!(ways.iter().any(|way| words.action.ends_with(way)), "{words:?}");
}

#[test]
fn a_missing_folder_is_not_created() {
    let folder = Folder::new();
    let path = folder.path().join("not-mounted");
    refused(&drive(&path, SLOTS), "the folder does not exist");
    assert!(!path.exists());
}

#[test]
fn what_is_no_folder_too_small_or_in_use_is_refused() {
    let folder = Folder::new();
    let file = folder.path().join("file");
    fs::write(&file, "hello").unwrap();
    refused(&drive(&file, SLOTS), "no folder");
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    refused(&folder.config(15), "less than 16 MiB");
    let drive = Folder::new();
    let _first = open(&drive);
    refused(&drive.config(SLOTS), "another process uses it");
}

#[test]
fn a_full_file_system_is_named() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    faults.inject(Fault {
        drive: folder.path().to_owned(),
        part: Part::Slab,
        operation: Operation::Allocate,
        after: 0,
        times: 1,
        effect: Effect::Error(Errno::NOSPC.raw_os_error()),
    });
    let options = StoreOptions { faults, ..options() };
    let store = opened(&[folder.config(SLOTS)], &options);
    let words = offline(&store, 0).unwrap();
    assert!(words.reason.contains("no space for 33554432 bytes"), "{words:?}");
    assert!(words.action.contains("smaller `size`"), "{words:?}");
    drop(store);
    let store = opened(&[folder.config(SLOTS)], &options);
    assert_eq!(offline(&store, 0), None, "with space it opens");
}

#[test]
fn content_of_a_later_release_is_left_alone() {
    let folder = Folder::new();
    let store = open(&folder);
    write_all(&store, &store.publish(&key("/a"), &meta(1, 1000)));
    store.close();
    drop(store);
    let path = folder.path().join("meta");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    bytes[60..].copy_from_slice(&crc);
    fs::write(&path, &bytes).unwrap();
    let before = fs::read(folder.path().join("slots")).unwrap();
    refused(&folder.config(SLOTS), "format 9");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read(folder.path().join("slots")).unwrap(), before);
}

#[tokio::test]
async fn a_drive_that_comes_back_with_an_old_generation_gives_way() {
    let (a, b) = (Folder::new(), Folder::new());
    let both = [a.config(SLOTS), b.config(SLOTS)];
    let store = opened(&both, &options());
    let olds: Vec<_> =
        (0..12).map(|n| store.publish(&key(&format!("/{n}")), &meta(1, blocks(1)))).collect();
    olds.iter().for_each(|object| write_all(&store, object));
    store.close();
    drop(store);

    // The second drive is away while everything changes at the origin.
    let store = opened(&both[..1], &options());
    for n in 0..12 {
        write_all(&store, &store.publish(&key(&format!("/{n}")), &meta(2, blocks(1))));
    }
    store.close();
    drop(store);

    for drives in [&[a.config(SLOTS), b.config(SLOTS)], &[b.config(SLOTS), a.config(SLOTS)]] {
        let store = opened(drives, &options());
        for n in 0..12 {
            let object = store.object(&key(&format!("/{n}"))).unwrap();
            assert_eq!(object.meta().etag, meta(2, 1).etag);
        }
        store.flush();
        assert_eq!(check_all(&store).await, 12);
        assert_eq!(store.status().blocks, 12, "the old blocks are freed");
        store.close();
    }
}

#[test]
fn the_object_log_does_not_grow_for_ever() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, 1000));
    write_all(&store, &object);
    let size = || fs::metadata(folder.path().join("objects.log")).unwrap().len();
    let one = size();
    for time in 0..1500 {
        store.renew(&object, &ObjectMeta { fresh_until: time, ..meta(1, 1000) });
        store.flush();
    }
    assert!(size() < 1100 * one, "{} entries", size() / one);
    let store = open(&folder.snapshot());
    assert_eq!(store.object(&key("/a")).unwrap().meta().fresh_until, 1499);
}
