//! Drives whose operations do not come back: nobody waits for them but their own threads.

use super::failing::{fault, faulty};
use super::*;
use crate::store::bay::Standing;

/// A drive with `blocks` objects of one block each.
fn filled(store: &Store, count: u32) -> Vec<Arc<Object>> {
    let publish = |n: u32| store.publish(&key(&format!("/{n}")), &meta(1, blocks(1)));
    let objects: Vec<_> = (0..count).map(publish).collect();
    objects.iter().for_each(|object| write_all(store, object));
    objects
}

/// Drives that hang are given up soon; but a good one on a busy machine must not be one.
fn impatient(faults: &Faults) -> StoreOptions {
    StoreOptions { patience: Duration::from_secs(2), ..faulty(faults) }
}

/// Waits for a drive to be given up.
fn given_up(store: &Store, drive: usize) -> Offline {
    loop {
        if let Some(offline) = offline(store, drive) {
            return offline;
        }
        thread::yield_now();
    }
}

#[tokio::test]
async fn readers_of_a_drive_that_hangs_are_sent_away_and_no_other() {
    let (bad, good, faults) = (Folder::new(), Folder::new(), Faults::armed());
    let store = Arc::new(opened(&[bad.config(SLOTS), good.config(SLOTS)], &impatient(&faults)));
    let objects = filled(&store, 16);
    let on_bad: Vec<_> = objects
        .iter()
        .filter(|object| object.block_table().get(0).unwrap().drive() == 0)
        .map(|object| store.block(object, 0).unwrap())
        .collect();
    assert!(on_bad.len() > 1 && on_bad.len() < 16);

    // More of them than there are reader threads: the others wait in the queue.
    faults.inject(fault(&bad, Part::Slab, Operation::Read, u32::MAX, Effect::Hang));
    let reads: Vec<_> = (0..40).map(|n| on_bad[n % on_bad.len()].read(0..100)).collect();
    for read in futures_util::future::join_all(reads).await {
        assert!(matches!(read, Err(ReadError::Gone { .. })), "{read:?}");
    }
    let words = offline(&store, 0).unwrap();
    assert!(words.reason.contains("it hangs: a read of its file `slab`"), "{words:?}");
    assert!(words.since > 0 && words.action.contains("mcc cache online"), "{words:?}");
    assert_eq!(store.status().drives[0].counts.hung, 1);

    // Nobody else notices.
    assert!(store.flush());
    assert_eq!(check_all(&store).await, 16 - on_bad.len());
    let lost = objects.iter().filter(|object| !store.has_block(object, 0));
    lost.for_each(|object| write_all(&store, object));
    assert_eq!(check_all(&store).await, 16);
    faults.release();
}

#[test]
fn what_waits_for_a_keeper_that_hangs_is_given_back() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &impatient(&faults));
    faults.inject(fault(&folder, Part::Slab, Operation::Write, 1, Effect::Hang));
    let publish = |n: u32| store.publish(&key(&format!("/{n}")), &meta(1, blocks(1)));
    let objects: Vec<_> = (0..12).map(publish).collect();
    let data = Bytes::from(vec![7; BLOCK as usize]);
    for object in &objects {
        store.write(object, 0, vec![data.clone()]).unwrap();
    }
    faults.await_hanging(1);
    given_up(&store, 0);
    // Each was in the catalog, here, and in the queue; one is in the hands of the keeper.
    while objects.iter().filter(|object| Arc::strong_count(object) > 2).count() > 1 {
        thread::yield_now();
    }
    assert!(store.flush(), "no drive is up: there is nothing to wait for");
    assert_eq!(write(&store, &objects[0], 0), Err(NotStored::NoDrive));
    assert_eq!(store.online(folder.path()), Err(OnlineError::Held));
    faults.release();
}

#[tokio::test]
async fn a_drive_that_hangs_while_it_is_opened_holds_up_nobody() {
    let (bad, good, faults) = (Folder::new(), Folder::new(), Faults::armed());
    let drives = [bad.config(SLOTS), good.config(SLOTS)];
    let store = opened(&drives, &options());
    let on_good = filled(&store, 16)
        .iter()
        .filter(|object| object.block_table().get(0).unwrap().drive() == 1)
        .count();
    store.close();
    drop(store);
    faults.inject(fault(&bad, Part::Slots, Operation::Read, 1, Effect::Hang));
    let store = opened(&drives, &impatient(&faults));
    let words = offline(&store, 0).unwrap();
    assert!(words.reason.contains("it hangs: a read of its file `slots`"), "{words:?}");
    assert!(store.flush());
    assert_eq!(check_all(&store).await, on_good);
    assert_eq!(store.online(bad.path()), Err(OnlineError::Held));
    faults.release();
    while store.online(bad.path()) == Err(OnlineError::Held) {
        thread::yield_now();
    }
    assert!(store.wait_for_drives(Duration::from_secs(60)));
    assert_eq!(check_all(&store).await, 16);
}

#[tokio::test]
async fn a_drive_that_comes_round_is_taken_back_on_an_operators_word() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &impatient(&faults));
    filled(&store, 5);
    let unknown = store.online(Path::new("/nowhere")).unwrap_err().to_string();
    assert!(unknown.contains(folder.path().to_str().unwrap()), "{unknown}");
    assert_eq!(store.online(folder.path()), Err(OnlineError::Up));
    faults.inject(fault(&folder, Part::Slab, Operation::Sync, 1, Effect::Hang));
    let object = store.publish(&key("/new"), &meta(1, blocks(1)));
    write(&store, &object, 0).unwrap();
    assert!(!store.flush(), "it never gets there");
    given_up(&store, 0);
    assert_eq!(check_all(&store).await, 0);
    faults.release();
    // Its threads find out that they are not wanted any more, and let go.
    while store.online(folder.path()) == Err(OnlineError::Held) {
        thread::yield_now();
    }
    assert!(store.wait_for_drives(Duration::from_secs(60)));
    assert_eq!(offline(&store, 0), None);
    assert_eq!(check_all(&store).await, 5, "what had reached it is there again");
    write_all(&store, &store.object(&key("/0")).unwrap());
    assert!(store.flush());
}

/// Else the drive would be noted as given up after an operator has said that it is well.
#[test]
fn a_drive_is_not_taken_back_before_it_was_noted_that_it_was_given_up() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &impatient(&faults));
    let object = store.publish(&key("/a"), &meta(1, blocks(1)));
    faults.inject(fault(&folder, Part::Slab, Operation::Write, 1, Effect::Hang));
    store.write(&object, 0, vec![Bytes::from(vec![7; BLOCK as usize])]).unwrap();
    given_up(&store, 0);
    faults.release();
    let bay = store.bays[0].load_full();
    while bay.standing() != Standing::Empty {
        thread::yield_now();
    }
    // As it was while its carer had not come to it.
    bay.uncared.store(false, Ordering::Release);
    assert_eq!(store.online(folder.path()), Err(OnlineError::Held));
    bay.uncared.store(true, Ordering::Release);
    assert_eq!(store.online(folder.path()), Ok(()));
    assert!(store.wait_for_drives(Duration::from_secs(60)));
    assert_eq!(offline(&store, 0), None);
}
