//! What is kept and what goes first: pins, the age limit, superseded generations.

use super::*;

/// Stores objects that are asked for once, more than the drive can hold.
fn scan(store: &Store, name: &str) {
    for n in 0..3 * SLOTS {
        let object = store.publish(&key(&format!("/scan/{name}/{n}")), &meta(1, blocks(1)));
        write_all(store, &object);
    }
}

#[tokio::test]
async fn pinned_objects_stay_whatever_comes() {
    let (data, folder) = (Folder::new(), Folder::new());
    let options = StoreOptions { data_dir: Some(data.path().to_owned()), ..options() };
    let store = opened(&[folder.config(SLOTS)], &options);
    let (kept, early) = (key("/kept"), key("/early"));
    write_all(&store, &store.publish(&kept, &meta(1, blocks(5))));
    store.pin(&kept).unwrap();
    store.pin(&early).unwrap();
    let stored = |store: &Store, key: &ObjectKey| {
        store.object(key).map_or(0, |object| object.stored_bytes() >> 20)
    };
    // One that is stored only after it was pinned.
    write_all(&store, &store.publish(&early, &meta(1, blocks(2))));
    scan(&store, "a");
    assert_eq!((stored(&store, &kept), stored(&store, &early)), (5, 2));
    assert_eq!(only_drive(&store).pinned, 7);

    // A new generation is kept as the old one was.
    write_all(&store, &store.publish(&kept, &meta(2, blocks(4))));
    scan(&store, "b");
    assert_eq!(stored(&store, &kept), 4);
    store.close();
    drop(store);

    let store = opened(&[folder.config(SLOTS)], &options);
    scan(&store, "c");
    assert_eq!((stored(&store, &kept), stored(&store, &early)), (4, 2));
    let pins = store.pins();
    assert_eq!(
        pins.iter().map(|pin| pin.url.as_str()).collect::<Vec<_>>(),
        ["dl.example/early", "dl.example/kept"]
    );
    assert_eq!(pins[1].object.as_ref().unwrap().stored, blocks(4));

    assert!(store.unpin(&kept) && !store.unpin(&kept));
    store.flush();
    assert_eq!(only_drive(&store).pinned, 2);
    assert!(check_all(&store).await > 0);
}

#[tokio::test]
async fn no_more_than_half_can_be_pinned() {
    let folder = Folder::new();
    let store = open(&folder);
    store.publish(&key("/a"), &meta(1, blocks(10)));
    store.publish(&key("/b"), &meta(1, blocks(7)));
    store.pin(&key("/a")).unwrap();
    assert_eq!(store.pin(&key("/b")), Err(TooManyPins { wanted: 17, most: 16 }));
    assert_eq!(store.pin(&key("/a")), Ok(()), "it is pinned already");
    // It has grown at the origin: what is too much is as any other content.
    write_all(&store, &store.publish(&key("/a"), &meta(2, blocks(20))));
    let status = only_drive(&store);
    assert!(status.pinned <= 16 && status.pinned >= 15, "{status:?}");
    scan(&store, "a");
    assert!(check_all(&store).await > 20);
}

#[tokio::test]
async fn a_superseded_generation_makes_room_before_others() {
    let folder = Folder::new();
    let store = open(&folder);
    write_all(&store, &store.publish(&key("/other"), &meta(1, blocks(10))));
    let old = store.publish(&key("/changed"), &meta(1, blocks(16)));
    write_all(&store, &old);
    let sending = store.block(&old, 3).unwrap();
    let new = store.publish(&key("/changed"), &meta(2, blocks(16)));
    store.flush();
    write_all(&store, &new);
    // All but the block that is being sent was free at once.
    assert_eq!(read(&sending).await.unwrap(), content(&old, 3));
    let other = store.object(&key("/other")).unwrap();
    assert_eq!(other.stored_bytes(), blocks(10), "{:?}", only_drive(&store));
}

#[test]
fn what_nobody_asks_for_within_the_age_limit_goes_first() {
    let folder = Folder::new();
    let aged = StoreOptions { max_age: Some(Duration::from_secs(24 * 3600)), ..options() };
    // Fresh until 1970: after a restart it counts as not asked for since.
    let store = open(&folder);
    for path in ["/a", "/b"] {
        write_all(&store, &store.publish(&key(path), &meta(1, blocks(10))));
    }
    store.close();
    drop(store);
    let store = opened(&[folder.config(SLOTS)], &aged);
    let asked = store.object(&key("/b")).unwrap();
    // Makes room for a few blocks: all comes from the one that is too old.
    write_all(&store, &store.publish(&key("/new"), &meta(1, blocks(15))));
    assert_eq!(asked.stored_bytes(), blocks(10));
    assert_eq!(store.list("dl.example/a", None, 1).objects[0].stored, 0);
}
