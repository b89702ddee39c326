//! Whatever instant the node stops at, and whatever happened to the files since: every byte that is
//! served afterwards is right.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn after_a_crash_all_that_was_flushed_is_there_and_verified() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(5)));
    write_all(&store, &object);
    let copy = folder.snapshot();
    drop(store);

    let store = open(&copy);
    let object = store.object(&key("/a")).unwrap();
    let block = store.block(&object, 0).unwrap();
    assert!(!block.is_trusted());
    assert!(read(&block).await.unwrap() == content(&object, 0));
    assert!(block.is_trusted());
    assert_eq!(check_all(&store).await, 5);
    store.close();
    drop(store);

    // Closed in order, and damaged while it was closed.
    copy.flip(Part::Slab, BLOCK as usize + 1000);
    let store = open(&copy);
    let object = store.object(&key("/a")).unwrap();
    let block = store.block(&object, 0).unwrap();
    assert!(matches!(block.read(0..10).await, Err(ReadError::Corrupt { block: 0, .. })));
    assert_eq!(check_all(&store).await, 4);
    assert_eq!(only_drive(&store).counts.records_dropped, 0);
}

#[tokio::test]
async fn what_was_not_verified_stays_suspect_over_orderly_restarts() {
    let folder = Folder::new();
    let store = open(&folder);
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(2))));
    let copy = folder.snapshot();
    for _ in 0..3 {
        let store = open(&copy);
        let object = store.object(&key("/a")).unwrap();
        assert!(!store.block(&object, 1).unwrap().is_trusted());
        store.close();
    }
    // The first large slots lie behind the small ones.
    copy.flip(Part::Slab, BLOCK as usize + 1000);
    copy.flip(Part::Slab, 2 * BLOCK as usize + 1000);
    let store = open(&copy);
    let object = store.object(&key("/a")).unwrap();
    let block = store.block(&object, 1).unwrap();
    assert!(matches!(block.read(0..10).await, Err(ReadError::Corrupt { block: 1, .. })));
    assert!(store.block(&object, 1).is_none() && !store.has_block(&object, 1), "dropped");
    assert!(matches!(block.read(0..10).await, Err(ReadError::Gone { .. })), "for good");
    assert_eq!(only_drive(&store).counts.corrupt, 1);
    drop(block);
    // It can be stored again.
    write(&store, &object, 1).unwrap();
    store.flush();
    assert!(read(&store.block(&object, 1).unwrap()).await.unwrap() == content(&object, 1));
}

/// Snapshots in the middle of everything. The files are copied one after the other while the
/// keeper writes, so they fit each other even less than after a crash.
#[tokio::test]
async fn a_snapshot_at_any_instant_serves_no_wrong_byte() {
    let folder = Folder::new();
    let often = StoreOptions { checkpoint_interval: Duration::from_millis(3), ..options() };
    let store = opened(&[folder.config(SLOTS)], &often);
    let mut right = 0;
    for version in 0..30 {
        let object = store.publish(&key(&format!("/{}", version % 5)), &meta(version, blocks(9)));
        for index in 0..object.blocks() {
            // A refusal is as good as a write here.
            let _ = write(&store, &object, index);
        }
        if version % 7 == 3 {
            store.purge(&Selector::Url(key("/1")));
        }
        if version % 3 == 0 {
            let copy = folder.snapshot();
            let copied = opened(&[copy.config(SLOTS)], &options());
            assert_eq!(offline(&copied, 0), None);
            right += check_all(&copied).await;
        }
    }
    assert!(right > 50, "{right}");
}

#[tokio::test]
async fn a_damaged_meta_file_costs_the_content_and_nothing_else() {
    let folder = Folder::new();
    let store = open(&folder);
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(2))));
    store.close();
    drop(store);
    folder.flip(Part::Meta, 20);
    let store = open(&folder);
    assert!(only_drive(&store).note.unwrap().contains("`meta`"));
    assert_eq!(store.status().objects, 0);
    let object = store.publish(&key("/a"), &meta(2, blocks(2)));
    write_all(&store, &object);
    assert_eq!(check_all(&store).await, 2);
}

#[tokio::test]
async fn what_an_index_has_lost_is_told() {
    let folder = Folder::new();
    let store = open(&folder);
    for path in ["/a", "/b"] {
        write_all(&store, &store.publish(&key(path), &meta(1, blocks(2))));
    }
    store.close();
    drop(store);
    assert_eq!(only_drive(&open(&folder.snapshot())).damage, None);
    let cut = |part: Part, bytes: u64| {
        let copy = folder.snapshot();
        let path = copy.path().join(part.file_name());
        fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
        copy
    };
    for (part, blocks, lost) in [(Part::Objects, 0, 4), (Part::Slots, 0, 0), (Part::Slab, 4, 0)] {
        let store = open(&cut(part, 0));
        let status = only_drive(&store);
        let told = status.damage.unwrap_or_else(|| panic!("{part:?}"));
        let words = if part == Part::Objects { "4 records" } else { part.file_name() };
        assert!(told.what.contains(words), "{told:?}");
        assert_eq!((status.blocks, status.counts.records_lost), (blocks, lost), "{part:?}");
    }
}

#[derive(Debug, Clone)]
struct Damage {
    part: Part,
    at: prop::sample::Index,
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Flip,
    Zero,
    Garbage,
    Truncate,
}

fn damage() -> impl Strategy<Value = Damage> {
    let part = prop_oneof![Just(Part::Slots), Just(Part::Objects), Just(Part::Slab)];
    let how = prop_oneof![
        3 => Just(How::Flip), 2 => Just(How::Zero), 2 => Just(How::Garbage), 1 => Just(How::Truncate)
    ];
    (part, any::<prop::sample::Index>(), how).prop_map(|(part, at, how)| Damage { part, at, how })
}

fn apply(folder: &Folder, damage: &Damage) {
    let path = folder.path().join(damage.part.file_name());
    let mut bytes = fs::read(&path).unwrap();
    // Where something is: most of the slab and of the table is empty.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = damage.at.index(used);
    let end = bytes.len().min(at + 40);
    match damage.how {
        How::Flip => bytes[at] = !bytes[at],
        How::Zero => bytes[at..end].fill(0),
        How::Garbage => bytes[at..end].fill(0xa5),
        How::Truncate => bytes.truncate(at),
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn damaged_files_serve_no_wrong_byte(damages in proptest::collection::vec(damage(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = Folder::new();
        let store = opened(&[folder.config(16)], &options());
        for path in ["/1", "/2", "/3"] {
            write_all(&store, &store.publish(&key(path), &meta(1, blocks(2) + 100)));
        }
        let copy = folder.snapshot();
        drop(store);
        for damage in &damages {
            apply(&copy, damage);
        }
        // A truncated slab is reserved anew, full of zeros; the checksums tell.
        let store = opened(&[copy.config(16)], &options());
        prop_assert_eq!(offline(&store, 0), None);
        runtime.block_on(check_all(&store));
        // It works on: what is stored now is there after one more crash.
        let object = store.publish(&key("/new"), &meta(1, blocks(1)));
        write_all(&store, &object);
        let store = opened(&[copy.snapshot().config(16)], &options());
        let right = runtime.block_on(check_all(&store));
        prop_assert!(right >= 1 && store.object(&key("/new")).is_some());
    }
}
