//! Damage is found before somebody asks for it.

use rustix::io::Errno;

use super::failing::{fault, faulty};
use super::*;

fn finished(verification: &Verification) -> VerifyProgress {
    while !verification.is_finished() {
        thread::yield_now();
    }
    verification.progress()
}

/// Damages the first byte of a block where it lies.
fn damage(folder: &Folder, object: &Object, index: u32) {
    use std::os::unix::fs::FileExt as _;
    let slot = object.block_table().get(index).unwrap().slot();
    // Thirty-two MiB are one stripe: sixteen small slots in the first MiB, then large ones.
    let offset = u64::from(slot - 15) * u64::from(BLOCK);
    let slab = fs::File::options().write(true).open(folder.path().join("slab")).unwrap();
    slab.write_all_at(&[!content(object, index)[0]], offset).unwrap();
    slab.sync_all().unwrap();
}

#[tokio::test]
async fn a_verification_finds_damage_and_nothing_else() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(9)));
    let small = store.publish(&key("/small"), &meta(1, 5000));
    write_all(&store, &object);
    write_all(&store, &small);
    let progress = finished(&store.verify());
    assert_eq!((progress.blocks, progress.done, progress.mismatches), (10, 10, 0));
    damage(&folder, &object, 4);
    let progress = finished(&store.verify());
    assert_eq!((progress.done, progress.mismatches, progress.errors), (10, 1, 0));
    assert!(progress.finished && !progress.cancelled);
    assert_eq!(progress.drives[0].path, folder.path());
    let status = only_drive(&store);
    assert_eq!((status.counts.corrupt, status.scrub.checked), (1, 20));
    assert!(status.scrub.last_pass.is_some());
    assert!(!store.has_block(&object, 4), "it is to be fetched anew");
    assert_eq!(check_all(&store).await, 9);
    write(&store, &object, 4).unwrap();
    store.flush();
    let told = only_drive(&store).damage.unwrap();
    assert!(told.what.starts_with("1 block was not what had been stored"), "{told:?}");
    assert_eq!(finished(&store.verify()).mismatches, 0);
    assert_eq!(only_drive(&store).damage, None, "all else has been seen to be well");
    assert_eq!(check_all(&store).await, 10);
}

/// No checkpoint was made of it yet.
#[test]
fn what_was_written_just_now_is_compared_too() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(5)));
    for index in 0..object.blocks() {
        write(&store, &object, index).unwrap();
    }
    let progress = finished(&store.verify());
    assert_eq!((progress.done, progress.mismatches), (5, 0));
}

#[test]
fn blocks_that_cannot_be_read_are_counted_and_dropped() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(6))));
    let eio = Effect::Error(Errno::IO.raw_os_error());
    faults.inject(fault(&folder, Part::Slab, Operation::Read, 2, eio));
    let progress = finished(&store.verify());
    assert_eq!((progress.mismatches, progress.errors), (0, 2));
    store.flush();
    let status = only_drive(&store);
    assert_eq!((status.blocks, status.counts.errors), (4, 2));
}

#[test]
fn a_verification_can_be_broken_off() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let store = opened(&[folder.config(SLOTS)], &faulty(&faults));
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(6))));
    faults.inject(fault(&folder, Part::Slab, Operation::Read, 1, Effect::Hang));
    let verification = store.verify();
    faults.await_hanging(1);
    assert_eq!(store.verify().progress().done, 0, "the same one, still running");
    verification.cancel();
    faults.release();
    let progress = finished(&verification);
    assert!(progress.cancelled && progress.done < 6, "{progress:?}");
    assert_eq!(finished(&store.verify()).done, 6, "another one can follow");
    assert_eq!(store.last_verification().unwrap().progress().done, 6);
}

#[test]
fn a_verification_does_not_wait_for_a_drive_that_hangs() {
    let (folder, faults) = (Folder::new(), Faults::armed());
    let patience = Duration::from_millis(60);
    let store = opened(&[folder.config(SLOTS)], &StoreOptions { patience, ..faulty(&faults) });
    write_all(&store, &store.publish(&key("/a"), &meta(1, blocks(6))));
    faults.inject(fault(&folder, Part::Slab, Operation::Read, 1, Effect::Hang));
    let progress = finished(&store.verify());
    assert_eq!(progress.done, 0);
    assert!(offline(&store, 0).unwrap().reason.contains("it hangs"));
    faults.release();
}

#[test]
fn the_scrubber_finds_damage_by_itself_and_goes_on_after_a_restart() {
    let (data, folder) = (Folder::new(), Folder::new());
    let options = |scrub_rate| StoreOptions {
        data_dir: Some(data.path().to_owned()),
        scrub_rate,
        ..options()
    };
    let store = opened(&[folder.config(SLOTS)], &options(0));
    let object = store.publish(&key("/a"), &meta(1, blocks(9)));
    write_all(&store, &object);
    damage(&folder, &object, 7);
    store.close();
    drop(store);

    let store = opened(&[folder.config(SLOTS)], &options(1 << 40));
    while only_drive(&store).scrub.last_pass.is_none() {
        thread::yield_now();
    }
    let status = only_drive(&store);
    assert_eq!((status.scrub.checked, status.counts.corrupt), (9, 1));
    store.close();
    drop(store);
    let store = opened(&[folder.config(SLOTS)], &options(1 << 40));
    let again = only_drive(&store).scrub;
    assert_eq!((again.last_pass, again.checked), (status.scrub.last_pass, 0), "not twice a day");
}

#[test]
fn a_damaged_record_is_damage_too() {
    let folder = Folder::new();
    let store = open(&folder);
    let object = store.publish(&key("/a"), &meta(1, blocks(2)));
    write_all(&store, &object);
    let slot = object.block_table().get(1).unwrap().slot() as usize;
    folder.flip(Part::Slots, slot * slot_record::SLOT_RECORD + 9);
    assert_eq!(finished(&store.verify()).mismatches, 1);
    assert!(store.has_block(&object, 0) && !store.has_block(&object, 1));
}
