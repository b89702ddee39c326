//! Drives that are still being opened while the node serves: what they hold meets what was published
//! and purged meanwhile.

use rustix::fs::{CWD, FileType, Mode};

use super::*;

/// A drive whose opening does not come to its end before it is let.
struct Held<'a> {
    folder: &'a Folder,
    meta: Vec<u8>,
}

impl<'a> Held<'a> {
    /// Puts a pipe in the place of `meta`: who reads it waits for somebody to write.
    fn new(folder: &'a Folder) -> Self {
        let path = folder.path().join("meta");
        let meta = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        Self { folder, meta }
    }

    fn release(self, store: &Store) {
        fs::write(self.folder.path().join("meta"), self.meta).unwrap();
        assert!(store.wait_for_drives(Duration::from_secs(60)));
    }
}

/// A drive that was closed with these objects on it.
fn filled(objects: &[(&str, ObjectMeta)]) -> Folder {
    let folder = Folder::new();
    let store = open(&folder);
    for (path, meta) in objects {
        write_all(&store, &store.publish(&key(path), meta));
    }
    store.close();
    folder
}

#[tokio::test]
async fn a_drive_that_hangs_holds_up_nobody() {
    let (slow, quick) = (filled(&[("/slow", meta(1, blocks(3)))]), Folder::new());
    let held = Held::new(&slow);
    let store = Store::open(&[slow.config(SLOTS), quick.config(SLOTS)], &options());
    while !store.has_drive() {
        thread::yield_now();
    }
    let states: Vec<DriveState> =
        store.status().drives.into_iter().map(|drive| drive.state).collect();
    let opening = DriveState::Opening(Opening { read: 0, records: 0 });
    assert_eq!(states, [opening, DriveState::Up]);
    assert!(!store.wait_for_drives(Duration::ZERO));
    assert!(store.object(&key("/slow")).is_none(), "a miss");

    let object = store.publish(&key("/new"), &meta(1, blocks(2)));
    for index in 0..2 {
        write(&store, &object, index).unwrap();
    }
    while !(store.has_block(&object, 0) && store.has_block(&object, 1)) {
        thread::yield_now();
    }
    assert_eq!(check_all(&store).await, 2);
    held.release(&store);
    assert_eq!(check_all(&store).await, 5);
    let drives = store.status().drives;
    assert!(drives.iter().all(|drive| drive.state == DriveState::Up), "{drives:?}");
}

#[tokio::test]
async fn what_was_published_meanwhile_decides() {
    let weak = ObjectMeta { etag: Some(HeaderValue::from_static("W/\"a\"")), ..meta(1, blocks(1)) };
    let folder = filled(&[
        ("/same", meta(1, blocks(3) + 17)),
        ("/changed", meta(1, blocks(2))),
        ("/weak", weak.clone()),
        ("/kept", meta(1, blocks(1))),
    ]);
    let held = Held::new(&folder);
    let store = Store::open(&[folder.config(SLOTS)], &options());
    let same = store.publish(&key("/same"), &meta(1, blocks(3) + 17));
    let changed = store.publish(&key("/changed"), &meta(2, blocks(2)));
    let uncertain = store.publish(&key("/weak"), &weak);
    held.release(&store);

    assert!(Arc::ptr_eq(&store.object(&key("/same")).unwrap(), &same));
    assert!((0..4).all(|index| store.has_block(&same, index)), "its blocks are taken over");
    assert!((0..2).all(|index| !store.has_block(&changed, index)), "another content");
    assert!(!store.has_block(&uncertain, 0), "a weak tag proves nothing");
    assert_eq!(check_all(&store).await, 5);
    let counts = only_drive(&store).counts;
    assert_eq!((counts.records_dropped, counts.records_lost), (3, 0), "nothing is damaged");

    // The drive knows the blocks by the new number already, and what it knew by others is gone.
    for copy in [folder.snapshot(), {
        store.close();
        folder.snapshot()
    }] {
        let store = open(&copy);
        assert_eq!(store.object(&key("/same")).unwrap().number(), same.number());
        assert_eq!(check_all(&store).await, 5);
        assert_eq!(only_drive(&store).counts.records_dropped, 0);
    }
}

#[tokio::test]
async fn blocks_taken_over_are_verified_under_their_new_number() {
    let folder = Folder::new();
    let store = open(&folder);
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(2))));
    let crashed = folder.snapshot();
    let held = Held::new(&crashed);
    let store = Store::open(&[crashed.config(SLOTS)], &options());
    let object = store.publish(&key("/a"), &meta(1, blocks(2)));
    held.release(&store);
    assert!(!store.block(&object, 0).unwrap().is_trusted());
    assert_eq!(check_all(&store).await, 2);
}

#[tokio::test]
async fn what_is_purged_meanwhile_does_not_come_back() {
    let folder = filled(&[
        ("/url", meta(1, blocks(1))),
        ("/dir/1", meta(1, blocks(1))),
        ("/again", meta(1, blocks(1))),
        ("/kept", meta(1, blocks(1))),
    ]);
    let held = Held::new(&folder);
    let store = Store::open(&[folder.config(SLOTS)], &options());
    store.purge(&Selector::Url(key("/url")));
    store.purge(&Selector::Prefix { host: "dl.example".into(), path: "/dir/".into() });
    // Purged and published again: the same by its tag, but the operator wanted it fetched anew.
    store.purge(&Selector::Url(key("/again")));
    let again = store.publish(&key("/again"), &meta(1, blocks(1)));
    held.release(&store);

    assert!(store.object(&key("/url")).is_none() && store.object(&key("/dir/1")).is_none());
    assert!(!store.has_block(&again, 0));
    assert!(Arc::ptr_eq(&store.object(&key("/again")).unwrap(), &again));
    assert_eq!(check_all(&store).await, 1);
    let store = open(&folder.snapshot());
    assert_eq!(check_all(&store).await, 1, "after a crash, too");
}

#[tokio::test]
async fn the_blocks_of_one_object_on_several_drives_find_together() {
    let (a, b) = (Folder::new(), Folder::new());
    let both = [a.config(SLOTS), b.config(SLOTS)];
    let store = opened(&both, &options());
    // Two blocks in two extents: some of the objects lie on both drives.
    let spread = meta(1, blocks(66));
    let path = |n: usize| format!("/{n}");
    for n in 0..8 {
        let object = store.publish(&key(&path(n)), &spread);
        write(&store, &object, 0).unwrap();
        write(&store, &object, 65).unwrap();
    }
    store.flush();
    assert!(store.status().drives.iter().all(|drive| drive.blocks > 0));
    store.close();
    drop(store);

    let (first, second) = (Held::new(&a), Held::new(&b));
    let store = Store::open(&both, &options());
    let objects: Vec<_> = (0..4).map(|n| store.publish(&key(&path(n)), &spread)).collect();
    fs::write(a.path().join("meta"), first.meta).unwrap();
    while !store.has_drive() {
        thread::yield_now();
    }
    second.release(&store);
    for object in &objects {
        assert!(store.has_block(object, 0) && store.has_block(object, 65), "{object:?}");
    }
    assert_eq!(check_all(&store).await, 16);

    // One drive forgets what it took over in a crash, the other does not: they still find together.
    let old_a = a.snapshot();
    store.close();
    drop(store);
    let copies = [old_a.config(SLOTS), b.config(SLOTS)];
    assert_eq!(check_all(&opened(&copies, &options())).await, 16);
}

/// Numbers are taken from the clock. When it went back, a number may be given out that a drive has a
/// record of, for something else.
#[tokio::test]
async fn a_number_given_out_twice_mixes_nothing() {
    use super::super::bay::Progress;
    use super::super::recover::prepare;

    let folder = filled(&[("/old", meta(1, blocks(2)))]);
    let number = {
        let store = open(&folder);
        let number = store.object(&key("/old")).unwrap().number();
        store.close();
        number
    };
    let shared = Shared::new(Ledger::open(None), number, &[]);
    let Published::New(new) = shared.catalog.publish(&key("/new"), &meta(7, blocks(2))) else {
        panic!()
    };
    assert_eq!(new.number(), number);
    let drive = folder.config(SLOTS);
    let progress = Progress::default();
    let (mut keeper, _tasks) = prepare(0, &drive, &shared, &options(), &progress).unwrap();
    keeper.store(&new, 0, &[Bytes::from(content(&new, 0))]);
    keeper.begin_checkpoint();
    keeper.finish_checkpoint();
    let store = open(&folder.snapshot());
    assert_eq!(check_all(&store).await, 2, "the old one's blocks, and none of the new one");
}
