//! Small blocks in small slots, and drives whose size or format changes.

use super::super::layout::SMALL_SLOT;
use super::*;

#[tokio::test]
async fn each_class_of_slots_evicts_its_own() {
    let folder = Folder::new();
    let store = open(&folder);
    // While there is room, small blocks that find no small slot lie in large ones.
    for n in 0..30 {
        write_all(&store, &store.publish(&key(&format!("/first/{n}")), &meta(1, 1)));
    }
    assert_eq!(only_drive(&store).blocks, 30);
    store.purge(&Selector::All);
    store.flush();
    let filler = store.publish(&key("/filler"), &meta(1, blocks(3 * SLOTS)));
    write_all(&store, &filler);
    let large = store.publish(&key("/large"), &meta(1, blocks(10)));
    write_all(&store, &large);
    let before = only_drive(&store).blocks;
    for n in 0..60 {
        let length = u64::from(if n % 2 == 0 { 1 } else { SMALL_SLOT });
        write_all(&store, &store.publish(&key(&format!("/small/{n}")), &meta(1, length)));
    }
    assert!((0..10).all(|index| store.has_block(&large, index)), "no large one had to go");
    let small = only_drive(&store).blocks - before;
    assert!((12..=16).contains(&small), "{small} in 16 small slots");
    let last = store.object(&key("/small/59")).unwrap();
    assert!(store.has_block(&last, 0));

    let scan = store.publish(&key("/scan"), &meta(1, blocks(3 * SLOTS)));
    write_all(&store, &scan);
    assert!(store.has_block(&last, 0), "and no small one for the large");
    store.close();
    drop(store);
    let store = open(&folder);
    assert_eq!(check_all(&store).await as u64, only_drive(&store).blocks);
    assert!(store.has_block(&store.object(&key("/small/59")).unwrap(), 0));
}

/// A drive that a release wrote which had large slots only.
fn first_format(mebibytes: u32) -> Folder {
    let folder = Folder::new();
    let meta = DriveMeta { uuid: 5, mebibytes, plain: mebibytes, epoch: 1, clean: true };
    let mut bytes = meta.encode();
    bytes[8] = 1;
    bytes[48..60].fill(0);
    let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    bytes[60..].copy_from_slice(&crc);
    fs::write(folder.path().join("meta"), bytes).unwrap();
    folder
}

#[tokio::test]
async fn a_drive_of_the_first_format_is_kept_and_grows_small_slots() {
    let folder = first_format(SLOTS);
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(20) + 5));
    write_all(&store, &object);
    // As before: a block lies where its slot's number says, however short it is.
    let offset = store.block(&object, 20).unwrap().send(|_, offset| Ok(offset)).unwrap();
    assert_eq!(offset % u64::from(BLOCK), 0);
    store.close();
    drop(store);

    let store = open(&folder);
    assert_eq!(check_all(&store).await, 21);
    store.close();
    drop(store);
    let store = opened(&[folder.config(2 * SLOTS)], &options());
    assert_eq!(check_all(&store).await, 21);
    for n in 0..10 {
        write_all(&store, &store.publish(&key(&format!("/small/{n}")), &meta(1, 100)));
    }
    let small = store.object(&key("/small/9")).unwrap();
    let offset = store.block(&small, 0).unwrap().send(|_, offset| Ok(offset)).unwrap();
    assert_eq!(offset / u64::from(BLOCK), u64::from(SLOTS), "in the part that is new");
    store.close();
    drop(store);
    let store = opened(&[folder.config(2 * SLOTS)], &options());
    assert_eq!(check_all(&store).await, 31);
}

#[tokio::test]
async fn a_drive_grows_and_shrinks_and_keeps_what_fits() {
    let folder = Folder::new();
    let store = open(&folder);
    write_all(&store, &store.publish(&key("/small"), &meta(1, 1000)));
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(25))));
    store.close();
    drop(store);
    // 16 MiB have 15 large slots, those that were filled first. Two of them are to be free.
    for (mebibytes, kept) in [(SLOTS, 26), (96, 26), (SLOTS, 26), (16, 14), (SLOTS, 14)] {
        let store = opened(&[folder.config(mebibytes)], &options());
        store.flush();
        let status = only_drive(&store);
        assert_eq!((status.size, status.note.as_deref()), (blocks(mebibytes), None));
        assert_eq!((status.blocks, status.counts.records_dropped), (kept, 0), "{mebibytes}");
        assert_eq!(check_all(&store).await as u64, kept);
        assert_eq!(fs::metadata(folder.path().join("slab")).unwrap().len(), blocks(mebibytes));
        store.close();
    }
    let store = open(&folder);
    let object = store.publish(&key("/b"), &meta(1, blocks(10)));
    write_all(&store, &object);
    assert_eq!(check_all(&store).await, 24, "what was cut off and came back is empty");
}
