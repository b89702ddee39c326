//! Drives that are added, renamed, put elsewhere in the configuration, or lost: each keeps or moves its
//! own share, and content is found where it is.

use super::*;

const OBJECTS: u32 = 40;

fn stored(store: &Store) -> Vec<bool> {
    let has = |n: u32| {
        store.object(&key(&format!("/{n}"))).is_some_and(|object| store.has_block(&object, 0))
    };
    (0..OBJECTS).map(has).collect()
}

/// Three drives with objects of one block each.
fn three() -> ([Folder; 3], Vec<usize>) {
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    let store = opened(&folders.each_ref().map(|folder| folder.config(64)), &options());
    let places = (0..OBJECTS).map(|n| {
        let object = store.publish(&key(&format!("/{n}")), &meta(1, blocks(1)));
        write_all(&store, &object);
        object.block_table().get(0).unwrap().drive()
    });
    let places: Vec<usize> = places.collect();
    assert!((0..3).all(|drive| places.iter().filter(|place| **place == drive).count() > 3));
    store.close();
    (folders, places)
}

#[tokio::test]
async fn renamed_and_reordered_drives_keep_what_they_have() {
    let ([a, b, c], _) = three();
    let elsewhere = Folder::new();
    let moved = elsewhere.path().join("moved");
    fs::rename(b.path(), &moved).unwrap();
    let store = opened(&[c.config(64), drive(&moved, 64), a.config(64)], &options());
    assert_eq!(check_all(&store).await, OBJECTS as usize);
    fs::create_dir(b.path()).unwrap();
}

#[tokio::test]
async fn a_lost_drive_costs_its_share_and_a_new_one_takes_its_own() {
    let ([a, b, c], places) = three();
    // The second one is dead: its folder is gone.
    let missing = drive(&b.path().join("gone"), 64);
    let store = opened(&[a.config(64), missing, c.config(64)], &options());
    let left: Vec<bool> = places.iter().map(|place| *place != 1).collect();
    assert_eq!(stored(&store), left);
    // Fetched again, that goes to the others.
    for (n, there) in left.iter().enumerate() {
        let object = store.publish(&key(&format!("/{n}")), &meta(1, blocks(1)));
        if !there {
            write_all(&store, &object);
        }
    }
    assert_eq!(check_all(&store).await, OBJECTS as usize);
    store.close();
    drop(store);

    // A new, empty drive in its place takes a share of what comes; nothing that is there moves.
    let new = Folder::new();
    let store = opened(&[a.config(64), new.config(64), c.config(64)], &options());
    assert_eq!(stored(&store), vec![true; OBJECTS as usize]);
    for n in 0..OBJECTS {
        write_all(&store, &store.publish(&key(&format!("/more/{n}")), &meta(1, blocks(1))));
    }
    let share = store.status().drives[1].blocks;
    assert!((3..30).contains(&share), "{share} of {OBJECTS}");
    assert_eq!(check_all(&store).await, 2 * OBJECTS as usize);
}
