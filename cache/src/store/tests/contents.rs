//! What is stored is found again, until it is replaced, purged or evicted.

use super::super::bay::Progress;
use super::super::layout::Class;
use super::super::recover::prepare;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::store::residency::Method;

#[tokio::test]
async fn a_stored_block_is_read_back() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(2) + 17));
    assert!(store.block(&object, 0).is_none());
    write_all(&store, &object);
    for index in 0..3 {
        let block = store.block(&object, index).unwrap();
        let wanted = content(&object, index);
        assert_eq!(block.len() as usize, wanted.len());
        assert!(read(&block).await.unwrap() == wanted);
        for range in [0..1, 3..17, 16..17, 5..5] {
            let part = block.read(range.clone()).await.unwrap();
            assert_eq!(part, wanted[range.start as usize..range.end as usize]);
        }
    }
    let last = store.block(&object, 2).unwrap();
    assert!(matches!(last.read(0..18).await, Err(ReadError::OutOfRange { length: 17, .. })));
    assert!(store.block(&object, 3).is_none());
    let status = only_drive(&store);
    assert_eq!((status.blocks, status.used), (3, object.length()));
    assert_eq!(object.stored_bytes(), object.length());
}

#[tokio::test]
async fn content_and_headers_outlive_a_restart() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a?v=1"), &meta(1, blocks(3) - 5));
    write_all(&store, &object);
    let renewed = ObjectMeta { fresh_until: 9999, stored_at: 1500, ..meta(1, blocks(3) - 5) };
    store.renew(&object, &renewed);
    store.close();
    drop(store);

    let store = open(&folder);
    let again = store.object(&key("/a?v=1")).unwrap();
    assert_eq!(again.meta(), renewed);
    assert_eq!(again.number(), object.number());
    assert!(!store.block(&again, 0).unwrap().is_trusted(), "who knows what was done meanwhile");
    assert_eq!(check_all(&store).await, 3);
    let newer = store.publish(&key("/b"), &meta(1, 5));
    assert!(newer.number() > object.number());
}

#[tokio::test]
async fn another_generation_takes_the_place_of_the_old_one() {
    let folder = Folder::new();
    let store = open(&folder);
    let old = store.publish(&key("/a"), &meta(1, blocks(4)));
    write_all(&store, &old);
    let same = store.publish(&key("/a"), &ObjectMeta { fresh_until: 5000, ..meta(1, blocks(4)) });
    assert!(Arc::ptr_eq(&old, &same) && same.meta().fresh_until == 5000);

    let pinned = store.block(&old, 1).unwrap();
    let new = store.publish(&key("/a"), &meta(2, blocks(4)));
    assert!(new.number() > old.number() && old.is_retired());
    assert_eq!(write(&store, &old, 0), Err(NotStored::Retired));
    assert!(Arc::ptr_eq(&store.object(&key("/a")).unwrap(), &new));
    write_all(&store, &new);
    assert!(store.block(&old, 0).is_none(), "its blocks are freed");

    // Who is sending the old one may finish, whatever else is written meanwhile.
    let other = store.publish(&key("/other"), &meta(1, blocks(3 * SLOTS)));
    for index in 0..other.blocks() {
        write(&store, &other, index).unwrap();
        store.flush();
    }
    assert!(read(&pinned).await.unwrap() == content(&old, 1), "its slot was not refilled");
    let mut bytes = vec![0; BLOCK as usize];
    let read = |slab: &fs::File, offset| slab.read_exact_at(&mut bytes, offset);
    pinned.send(read).unwrap();
    assert!(bytes == content(&old, 1), "the same for who sends from the slab");
    assert!(check_all(&store).await > 0);
}

/// The table has forgotten it by then.
#[tokio::test]
async fn what_was_purged_while_it_is_sent_is_compared_all_the_same() {
    for restarted in [false, true] {
        let folder = Folder::new();
        let store = open(&folder);
        write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(2))));
        let store = if restarted {
            store.close();
            drop(store);
            open(&folder)
        } else {
            store
        };
        let object = store.object(&key("/a")).unwrap();
        let pinned = [0, 1].map(|index| store.block(&object, index).unwrap());
        let place = pinned[1].send(|_, offset| Ok(offset)).unwrap();
        store.purge(&Selector::Url(key("/a")));
        store.flush();
        folder.flip(Part::Slab, place as usize + 1000);
        assert!(read(&pinned[0]).await.unwrap() == content(&object, 0));
        let damaged = pinned[1].read(0..10).await;
        assert!(matches!(damaged, Err(ReadError::Corrupt { .. })), "{damaged:?}");
        drop(pinned);
        // Nothing of it stays behind in what is put there next.
        for n in 0..SLOTS {
            let object = store.publish(&key(&format!("/{n}")), &meta(2, blocks(1)));
            write(&store, &object, 0).unwrap();
            store.flush();
        }
        assert!(check_all(&store).await > 20);
    }
}

/// What comes into memory without having been asked for by a reader thread is compared by nobody.
#[tokio::test]
async fn to_look_into_memory_has_the_drive_read_nothing() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(1)));
    write_all(&store, &object);
    let block = store.block(&object, 0).unwrap();
    let place = block.send(|_, offset| Ok(offset)).unwrap();
    let slab = fs::File::open(folder.path().join("slab")).unwrap();
    slab.sync_all().unwrap();
    rustix::fs::fadvise(&slab, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let in_memory =
        || Method::of_system(&slab).cached_pages(&slab, place, u64::from(BLOCK)).unwrap();
    if in_memory() > 0 {
        println!("skipped: this file system is memory itself");
        return;
    }
    assert_eq!(block.read_cached(0..1000), None);
    assert_eq!(in_memory(), 0);
    assert!(read(&block).await.unwrap() == content(&object, 0));
    assert!(block.is_trusted() && block.read_cached(0..1000).is_some());
}

#[tokio::test]
async fn a_full_drive_evicts_what_nobody_asks_for() {
    let folder = Folder::new();
    let store = open(&folder);
    let favorite = store.publish(&key("/favorite"), &meta(1, blocks(2)));
    write_all(&store, &favorite);
    let scan = store.publish(&key("/scan"), &meta(1, blocks(5 * SLOTS)));
    for index in 0..scan.blocks() {
        write(&store, &scan, index).unwrap();
        store.flush();
        for index in 0..2 {
            let block = store.block(&favorite, index).expect("it is asked for all the time");
            assert!(read(&block).await.unwrap() == content(&favorite, index));
        }
    }
    let status = only_drive(&store);
    assert_eq!(status.counts.written, 2 + 5 * u64::from(SLOTS));
    assert_eq!(status.blocks + status.counts.evicted, status.counts.written);
    assert!(status.blocks >= u64::from(SLOTS) - 4, "{status:?}");
    assert_eq!(check_all(&store).await as u64, status.blocks);

    store.close();
    drop(store);
    let store = open(&folder);
    assert_eq!(check_all(&store).await as u64, status.blocks);
}

#[tokio::test]
async fn purged_objects_are_gone_for_good() {
    let selectors = [
        (Selector::Url(key("/x/1")), vec!["/x/2", "/y/1"]),
        (Selector::Prefix { host: "dl.example".into(), path: "/x/".into() }, vec!["/y/1"]),
        (Selector::Origin("dl.example".into()), vec![]),
        (Selector::Origin("other.example".into()), vec!["/x/1", "/x/2", "/y/1"]),
        (Selector::All, vec![]),
    ];
    for (selector, left) in selectors {
        let folder = Folder::new();
        let store = open(&folder);
        for path in ["/x/1", "/x/2", "/y/1"] {
            write_all(&store, &store.publish(&key(path), &meta(1, 1000)));
        }
        let gone = 3 - left.len() as u64;
        let purged = store.purge(&selector);
        assert_eq!(purged, Purged { objects: gone, bytes: 1000 * gone, durable: false });
        let found = |store: &Store| -> Vec<String> {
            let page = store.list(&ListQuery { limit: 10, ..ListQuery::default() });
            page.objects.iter().map(|object| object.url.clone()).collect()
        };
        let left: Vec<String> = left.iter().map(|path| format!("dl.example{path}")).collect();
        assert_eq!(found(&store), left);
        store.flush();
        assert_eq!(only_drive(&store).blocks, left.len() as u64);
        let store = open(&folder.snapshot());
        assert_eq!(found(&store), left, "after a crash behind the checkpoint");
    }
}

/// The order that makes a crash harmless: no refill before the drive has forgotten, no refill under
/// a pin.
#[test]
fn an_emptied_slot_waits_for_its_checkpoint_and_its_last_pin() {
    let folder = Folder::new();
    let drive = folder.config(SLOTS);
    let shared = Shared::new(Ledger::open(None), 1, &[]);
    let progress = Progress::default();
    let (mut keeper, _tasks) = prepare(0, &drive, &shared, &options(), &progress).unwrap();
    let Published::New(object) = shared.catalog.publish(&key("/a"), &meta(1, 1000)) else {
        panic!()
    };
    keeper.store(&object, 0, &[Bytes::from(content(&object, 0))]);
    let slot = object.block_table().get(0).unwrap().slot();
    let free = keeper.inventory.free(Class::Small);
    assert_eq!(free, 15, "sixteen small slots");
    keeper.begin_checkpoint();
    keeper.finish_checkpoint();

    let pin = Pin::hit(&keeper.drive, slot).unwrap();
    keeper.empty(slot);
    assert!(Pin::hit(&keeper.drive, slot).is_none());
    assert_eq!(keeper.inventory.free(Class::Small), free, "the drive still has its record");
    keeper.begin_checkpoint();
    keeper.finish_checkpoint();
    assert_eq!(keeper.inventory.free(Class::Small), free, "it is still pinned");
    drop(pin);
    keeper.step_checkpoint();
    assert_eq!(keeper.inventory.free(Class::Small), free + 1);
}

#[test]
fn what_cannot_be_stored_is_refused_with_the_reason() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, 1000));
    assert_eq!(store.write(&object, 0, vec![]), Err(NotStored::WrongLength));
    assert_eq!(
        store.write(&object, 1, vec![Bytes::from_static(b"x")]),
        Err(NotStored::WrongLength)
    );
    let huge = store.publish(&key("/huge"), &meta(1, MAX_LENGTH + 1));
    assert_eq!(write(&store, &huge, 0), Err(NotStored::TooLarge));
    let mut long = meta(1, 1000);
    long.headers = vec![(http::header::LINK, HeaderValue::from_str(&"x".repeat(70_000)).unwrap())];
    let long = store.publish(&key("/long"), &long);
    assert_eq!(write(&store, &long, 0), Err(NotStored::TooLarge));
    store.close();
    assert_eq!(write(&store, &object, 0), Err(NotStored::NoDrive));
    let nowhere = opened(&[], &options());
    let object = nowhere.publish(&key("/a"), &meta(1, 1000));
    assert_eq!(write(&nowhere, &object, 0), Err(NotStored::NoDrive));
}

/// The paths of a listing, page by page.
fn listed(store: &Store, mut query: ListQuery) -> Vec<String> {
    let mut paths = Vec::new();
    loop {
        let page = store.list(&query);
        assert!(page.objects.len() <= query.limit);
        let urls = page.objects.into_iter().map(|object| object.url);
        paths.extend(urls.map(|url| url.strip_prefix("dl.example").unwrap().to_owned()));
        match page.next {
            Some(next) => query.after = Some(next.parse().unwrap()),
            None => return paths,
        }
    }
}

#[test]
fn a_listing_comes_in_pages_in_order() {
    let store = opened(&[], &options());
    for number in (0..25).rev() {
        store.publish(&key(&format!("/{number:02}")), &meta(1, 1));
    }
    let query = ListQuery { prefix: "dl.example/".to_owned(), limit: 10, ..ListQuery::default() };
    assert_eq!(
        listed(&store, query.clone()),
        (0..25).map(|n| format!("/{n:02}")).collect::<Vec<_>>()
    );
    let query = ListQuery { prefix: "dl.example/1".to_owned(), ..query };
    assert_eq!(listed(&store, query).len(), 10);
}

#[test]
fn a_listing_by_size_comes_with_the_longest_first_and_equals_by_url() {
    let store = Store::open(&[], &options());
    for (path, length) in [("/b", 5), ("/d", 7), ("/a", 5), ("/c", 5), ("/e", 10)] {
        store.publish(&key(path), &meta(1, length));
    }
    for limit in 1..7 {
        let query = ListQuery { order: ListOrder::Size, limit, ..ListQuery::default() };
        assert_eq!(listed(&store, query), ["/e", "/d", "/a", "/b", "/c"], "{limit} a page");
    }
    assert_eq!("x".parse::<Cursor>(), Err(NoCursor));
    assert_eq!("x y".parse::<Cursor>(), Err(NoCursor));
}

#[test]
fn the_shares_of_an_object_are_what_its_drives_hold() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/x"), &meta(1, 2 * u64::from(BLOCK) + 7));
    assert_eq!(store.shares(&object), []);
    write_all(&store, &object);
    let share = &store.shares(&object)[0];
    assert_eq!((share.blocks, share.bytes), (3, object.length()));
    assert_eq!(share.path, only_drive(&store).path);
}

#[test]
fn objects_without_blocks_do_not_pile_up() {
    let store = opened(&[], &options());
    let held = store.publish(&key("/held"), &meta(1, 1));
    for number in 0..20_000 {
        store.publish(&key(&format!("/{number}")), &meta(1, 1));
    }
    assert!(store.status().objects < 10_000, "{}", store.status().objects);
    assert!(store.object(held.key()).is_some() && !held.is_retired());
}

/// Readers hit whatever is there while it is written, evicted, replaced and purged under them.
#[test]
fn readers_never_see_a_wrong_byte() {
    let folder = Folder::new();
    let store = open(&folder);
    let done = AtomicBool::new(false);
    let read_some = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut right = 0_u64;
        while !done.load(Ordering::Relaxed) {
            for path in ["/0", "/1", "/2"] {
                let Some(object) = store.object(&key(path)) else { continue };
                for index in 0..object.blocks() {
                    let Some(block) = store.block(&object, index) else { continue };
                    if let Ok(bytes) = runtime.block_on(block.read(1000..3000)) {
                        assert!(bytes == content(&object, index)[1000..3000], "{object:?} {index}");
                        right += 1;
                    }
                }
            }
        }
        right
    };
    let right: u64 = thread::scope(|scope| {
        let readers = [scope.spawn(read_some), scope.spawn(read_some)];
        for version in 0..16 {
            let path = format!("/{}", version % 3);
            let object = store.publish(&key(&path), &meta(version, blocks(14)));
            for index in 0..object.blocks() {
                // A refusal is as good as a write here.
                let _ = write(&store, &object, index);
            }
            match version % 4 {
                0 => drop(store.flush()),
                1 => drop(store.purge(&Selector::Url(key("/0")))),
                _ => {}
            }
        }
        store.flush();
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(right > 0);
    assert!(only_drive(&store).counts.errors == 0 && only_drive(&store).counts.corrupt == 0);
}

#[test]
fn what_the_origin_said_in_the_future_is_not_fresh() {
    let store = opened(&[], &options());
    let said = |stored_at, fresh_until| {
        let meta = ObjectMeta { stored_at, fresh_until, ..meta(1, 1) };
        store.publish(&key(&format!("/{stored_at}")), &meta)
    };
    assert!(said(1000, 2000).is_fresh(1999) && !said(1000, 2000).is_fresh(2000));
    assert!(said(1000, 2000).is_fresh(800), "clocks are set a little");
    // The clock stood years ahead when the origin was asked.
    assert!(!said(400_000_000, 400_003_600).is_fresh(5000));
}
