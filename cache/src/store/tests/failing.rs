//! Drives that fail: each alone, with words, and never with a wrong byte.

use rustix::io::Errno;

use super::*;

pub(super) fn faulty(faults: &Faults) -> StoreOptions {
    StoreOptions { faults: faults.clone(), ..options() }
}

pub(super) fn fault(
    folder: &Folder,
    part: Part,
    operation: Operation,
    times: u32,
    effect: Effect,
) -> Fault {
    Fault { drive: folder.path().to_owned(), part, operation, after: 0, times, effect }
}

fn eio() -> Effect {
    Effect::Error(Errno::IO.raw_os_error())
}

#[tokio::test]
async fn a_read_error_drops_the_block_and_is_counted() {
    for effect in [eio(), Effect::Short] {
        let (folder, faults) = (Folder::new(), Faults::armed());
        let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
        let object = store.publish(&key("/a"), &meta(1, blocks(2)));
        write_all(&store, &object);
        let block = store.block(&object, 0).unwrap();
        faults.inject(fault(&folder, Part::Slab, Operation::Read, 1, effect));
        assert!(matches!(block.read(0..10).await, Err(ReadError::Drive { .. })));
        assert!(store.block(&object, 0).is_none());
        assert_eq!(only_drive(&store).counts.errors, 1);
        assert_eq!(offline(&store, 0), None);
        assert_eq!(check_all(&store).await, 1, "the other block is well");
    }
}

/// Memory has the bytes of a damaged block while it is being compared, and others may ask for them just then.
#[tokio::test]
async fn nothing_is_sent_from_memory_while_it_is_being_compared() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    let object = store.publish(&key("/a"), &meta(1, blocks(1)));
    write_all(&store, &object);
    let block = Arc::new(store.block(&object, 0).unwrap());
    assert!(block.is_trusted(), "it was written just now");
    faults.inject(fault(&folder, Part::Slab, Operation::Read, 1, Effect::Flip));
    faults.inject(fault(&folder, Part::Slots, Operation::Read, 1, Effect::Hang));
    let begin = |range| {
        tokio::spawn({
            let block = block.clone();
            async move { block.load(range).await }
        })
    };
    let first = begin(0..BLOCK);
    let hanging = faults.clone();
    tokio::task::spawn_blocking(move || hanging.await_hanging(1)).await.unwrap();
    assert!(!block.is_trusted());

    // Who comes now waits for what becomes of it: a second look would find it well.
    let second = begin(0..100);
    while !block.is_waited_for() {
        tokio::task::yield_now().await;
    }
    faults.release();
    assert!(matches!(first.await.unwrap(), Err(ReadError::Corrupt { .. })));
    assert!(matches!(second.await.unwrap(), Err(ReadError::Gone { .. })));
    assert!(!block.is_trusted() && store.block(&object, 0).is_none());
    assert_eq!(only_drive(&store).counts.corrupt, 1);
}

#[tokio::test]
async fn a_failed_write_stores_nothing() {
    for effect in [eio(), Effect::Short] {
        let (folder, faults) = (Folder::new(), Faults::armed());
        let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
        let object = store.publish(&key("/a"), &meta(1, blocks(2)));
        faults.inject(fault(&folder, Part::Slab, Operation::Write, 1, effect));
        write_all(&store, &object);
        assert!(!store.has_block(&object, 0) && store.has_block(&object, 1));
        assert_eq!(only_drive(&store).counts.errors, 1);
        write(&store, &object, 0).unwrap();
        store.flush();
        assert_eq!(check_all(&store).await, 2);
    }
}

#[tokio::test]
async fn five_errors_take_a_drive_offline_and_no_other() {
    let (bad, good, faults) = (Folder::new(), Folder::new(), Faults::armed());
    // Room for all: nothing is missing because it was evicted.
    let drives = [bad.config(128), good.config(128)];
    let store = opened(&drives, &faulty(&faults));
    // One extent each: their blocks are spread over both drives.
    let objects: Vec<_> =
        (0..16).map(|n| store.publish(&key(&format!("/{n}")), &meta(1, blocks(1)))).collect();
    objects.iter().for_each(|object| write_all(&store, object));
    let before = store.status();
    assert!(before.drives.iter().all(|drive| drive.blocks > 0), "{before:?}");

    faults.inject(fault(&bad, Part::Slab, Operation::Write, 5, eio()));
    for version in 2.. {
        if offline(&store, 0).is_some() {
            break;
        }
        assert!(version < 50);
        write_all(&store, &store.publish(&key("/new"), &meta(version, blocks(1))));
        for n in 0..8 {
            let path = format!("/new/{version}/{n}");
            write_all(&store, &store.publish(&key(&path), &meta(version, blocks(1))));
        }
    }
    let words = offline(&store, 0).unwrap();
    assert!(words.reason.contains("5 errors within 60 s"), "{words:?}");
    assert!(words.reason.contains("writing a block"), "{words:?}");
    assert!(words.action.contains("mcc cache online"), "{words:?}");
    assert_eq!(offline(&store, 1), None);

    // What lay on the bad drive is missing, and is taken by the good one.
    let lost: Vec<_> = objects.iter().filter(|object| !store.has_block(object, 0)).collect();
    assert_eq!(lost.len() as u64, before.drives[0].blocks);
    lost.iter().for_each(|object| write_all(&store, object));
    assert!(lost.iter().all(|object| store.has_block(object, 0)));
    assert!(check_all(&store).await > 0);
    store.close();
    drop(store);

    // Back after a restart, the bad drive has what it had; whatever is served is right.
    let copies = [bad.snapshot(), good.snapshot()];
    let drives = [copies[0].config(128), copies[1].config(128)];
    let store = opened(&drives, &options());
    assert_eq!((offline(&store, 0), offline(&store, 1)), (None, None));
    assert!(check_all(&store).await >= 16);
}

#[tokio::test]
async fn a_flipped_bit_on_the_way_to_the_drive_is_found_after_a_crash() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    let object = store.publish(&key("/a"), &meta(1, blocks(3)));
    faults.inject(fault(&folder, Part::Slab, Operation::Write, 1, Effect::Flip));
    write_all(&store, &object);
    let copy = folder.snapshot();
    let store = open(&copy);
    assert_eq!(check_all(&store).await, 2);
    assert_eq!(only_drive(&store).counts.corrupt, 1);
}

#[tokio::test]
async fn a_failed_sync_of_blocks_gives_them_up() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    let kept = store.publish(&key("/kept"), &meta(1, blocks(1)));
    write_all(&store, &kept);
    faults.inject(fault(&folder, Part::Slab, Operation::Sync, 1, eio()));
    let lost = store.publish(&key("/lost"), &meta(1, blocks(1)));
    write_all(&store, &lost);
    assert!(!store.has_block(&lost, 0) && store.has_block(&kept, 0));
    write_all(&store, &lost);
    assert!(store.has_block(&lost, 0));
    let store = open(&folder.snapshot());
    assert_eq!(check_all(&store).await, 2);
}

#[tokio::test]
async fn records_that_do_not_get_through_are_written_again() {
    for part in [Part::Slots, Part::Objects] {
        for operation in [Operation::Write, Operation::Sync] {
            let (folder, faults) = (Folder::new(), Faults::armed());
            let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
            let object = store.publish(&key("/a"), &meta(1, blocks(3)));
            faults.inject(fault(&folder, part, operation, 1, Effect::Error(5)));
            write_all(&store, &object);
            assert_eq!(only_drive(&store).counts.errors, 1);
            store.flush();
            let store = open(&folder.snapshot());
            assert_eq!(check_all(&store).await, 3, "{part:?} {operation:?}");
        }
    }
}

#[test]
fn a_slow_drive_refuses_and_never_makes_the_caller_wait() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let options = StoreOptions { write_queue: 1, ..faulty(&faults) };
    let store = opened(&[folder.config(SLOTS)], &options);
    store.flush();
    let hang = Effect::Delay(Duration::from_millis(300));
    faults.inject(fault(&folder, Part::Slab, Operation::Write, 1, hang));
    let object = store.publish(&key("/a"), &meta(1, blocks(20)));
    let bytes = Bytes::from(vec![7; BLOCK as usize]);
    let results: Vec<_> =
        (0..20).map(|index| store.write(&object, index, vec![bytes.clone()])).collect();
    let refused = results.iter().filter(|result| **result == Err(NotStored::Busy)).count();
    assert!(refused > 0 && refused < 20, "{results:?}");
    store.flush();
    let status = only_drive(&store);
    assert_eq!(status.counts.refused, refused as u64);
    assert_eq!(status.counts.written, 20 - refused as u64);
}

/// A queue of one may be taken by a message of the drive's own threads.
fn write_soon(store: &Store, object: &Arc<Object>) {
    while write(store, object, 0) == Err(NotStored::Busy) {
        thread::yield_now();
    }
}

#[test]
fn a_message_that_finds_the_queue_full_is_made_up_for() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let options = StoreOptions { write_queue: 1, ..faulty(&faults) };
    let store = opened(&[folder.config(SLOTS)], &options);
    for path in ["/1", "/2", "/3", "/4"] {
        write_soon(&store, &store.publish(&key(path), &meta(1, 100)));
        store.flush();
    }
    let hang = Effect::Delay(Duration::from_millis(200));
    faults.inject(fault(&folder, Part::Slab, Operation::Write, 1, hang));
    write_soon(&store, &store.publish(&key("/slow"), &meta(1, 100)));
    store.purge(&Selector::Prefix { host: "dl.example".into(), path: "/".into() });
    store.flush();
    store.flush();
    assert_eq!(only_drive(&store).blocks, 0);
}

fn no_space() -> Effect {
    Effect::Error(Errno::NOSPC.raw_os_error())
}

#[tokio::test]
async fn a_log_without_space_is_written_anew_and_the_oldest_objects_go_if_need_be() {
    // How often a write finds no space: the append, then each rewriting.
    for (times, kept) in [(1, 8), (2, 6), (3, 4)] {
        let (folder, faults) = (Folder::new(), Faults::armed());
        let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
        for n in 0..7 {
            write_all(&store, &store.publish(&key(&format!("/{n}")), &meta(1, 1000)));
        }
        faults.inject(fault(&folder, Part::Objects, Operation::Write, times, no_space()));
        write_all(&store, &store.publish(&key("/7"), &meta(1, 1000)));
        let status = only_drive(&store);
        assert_eq!((status.counts.errors, status.blocks), (0, kept), "{times} times");
        store.flush();
        let store = open(&folder.snapshot());
        let urls: Vec<String> = store
            .list(&ListQuery { limit: 10, ..ListQuery::default() })
            .objects
            .into_iter()
            .map(|object| object.url)
            .collect();
        let newest: Vec<String> = (8 - kept..8).map(|n| format!("dl.example/{n}")).collect();
        assert_eq!(urls, newest);
        assert_eq!(check_all(&store).await as u64, kept);
    }
}

#[tokio::test]
async fn a_drive_without_space_to_reserve_for_its_records_says_so_and_works() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    faults.inject(fault(&folder, Part::Objects, Operation::Allocate, 9, no_space()));
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    assert!(only_drive(&store).note.unwrap().contains("no space could be reserved"));
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(2))));
    assert_eq!(check_all(&open(&folder.snapshot())).await, 2);
}
