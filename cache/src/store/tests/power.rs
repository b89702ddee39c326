//! Power loss at any instant: of what was written since a file was last synced, each sector of 512 bytes
//! is on the drive or is not. The keeper is driven step by step, so each run can be repeated.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use proptest::prelude::*;

use super::super::bay::Progress;
use super::super::checkpoint::Stage;
use super::super::keeper::Keeper;
use super::super::layout::Class;
use super::super::recover::prepare;
use super::*;

const SECTOR: usize = 512;
const MEBIBYTES: u32 = 16;

#[derive(Debug, Clone)]
enum Step {
    /// Publish this version of an object.
    Publish(u8, u8),
    /// Store one of its blocks.
    Store(u8, u32),
    Purge(u8),
    Renew(u8),
    Evict(bool),
    /// Begin a checkpoint, or take the one under way one step on.
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8, 1..4_u8).prop_map(|(path, version)| Step::Publish(path, version)),
        9 => (0..4_u8, 0..3_u32).prop_map(|(path, index)| Step::Store(path, index)),
        1 => (0..4_u8).prop_map(Step::Purge),
        1 => (0..4_u8).prop_map(Step::Renew),
        2 => any::<bool>().prop_map(Step::Evict),
        5 => Just(Step::Checkpoint),
    ]
}

/// A file as it would certainly be after a power loss.
struct Synced {
    bytes: Vec<u8>,
    inode: u64,
}

/// What is known of a block or an object: since when, in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Since(u64);

struct Machine {
    folder: Folder,
    shared: Shared,
    keeper: Keeper,
    synced: BTreeMap<&'static str, Synced>,
    /// The slab as it was when its sync began.
    syncing: Option<Vec<u8>>,
    /// Checkpoints begun and completed.
    begun: u64,
    completed: u64,
    /// Blocks on the drive, by object number and index.
    stored: BTreeMap<(u64, u32), Since>,
    /// Numbers of generations that were replaced or purged.
    gone: BTreeMap<u64, Since>,
    dice: u64,
}

impl Machine {
    fn new(dice: u64) -> Self {
        let folder = Folder::new();
        let shared = Shared::new(Ledger::open(None), 1, &[]);
        let (drive, progress) = (folder.config(MEBIBYTES), Progress::default());
        let (keeper, tasks) = prepare(0, &drive, &shared, &options(), &progress).unwrap();
        // Nobody sends anything here; the syncer finds its messages refused, as with a full queue.
        drop(tasks);
        let mut machine = Self {
            folder,
            shared,
            keeper,
            synced: BTreeMap::new(),
            syncing: None,
            begun: 0,
            completed: 0,
            stored: BTreeMap::new(),
            gone: BTreeMap::new(),
            dice,
        };
        for part in ["slab", "slots", "objects.log"] {
            machine.sync(part);
        }
        machine
    }

    fn random(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.dice)
    }

    fn look(&self, part: &str) -> Synced {
        let path = self.folder.path().join(part);
        Synced { bytes: fs::read(&path).unwrap(), inode: fs::metadata(&path).unwrap().ino() }
    }

    fn sync(&mut self, part: &'static str) {
        let now = self.look(part);
        self.synced.insert(part, now);
    }

    fn object(&self, path: u8) -> Option<Arc<Object>> {
        self.shared.catalog.get(&key(&format!("/{path}")))
    }

    fn retire(&mut self, object: &Arc<Object>) {
        self.keeper.release_object(object);
        self.stored.retain(|(number, _), _| *number != object.number());
        self.gone.insert(object.number(), Since(self.begun));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(path, version) => {
                let length = [blocks(2) + 100, 1000, blocks(1)][usize::from(path % 3)];
                let meta = meta(u32::from(*version), length);
                if let Published::Replaced { old, .. } =
                    self.shared.catalog.publish(&key(&format!("/{path}")), &meta)
                {
                    self.retire(&old);
                }
            }
            Step::Store(path, index) => {
                let Some(object) = self.object(*path) else { return };
                if object.block_length(*index).is_none() {
                    return;
                }
                let known = object.block_table().get(*index);
                // As many slots as there are free ones: it must not wait for checkpoints here.
                let class =
                    self.keeper.drive.layout.class_for(object.block_length(*index).unwrap());
                if known.is_some() || self.keeper.inventory.free(class) == 0 {
                    return;
                }
                let bytes = Bytes::from(content(&object, *index));
                self.keeper.store(&object, *index, &[bytes]);
                assert!(object.block_table().get(*index).is_some());
                self.stored.insert((object.number(), *index), Since(self.begun));
            }
            Step::Purge(path) => {
                if let Some(object) = self.shared.catalog.remove_one(&key(&format!("/{path}"))) {
                    self.retire(&object);
                }
            }
            Step::Renew(path) => {
                let Some(object) = self.object(*path) else { return };
                object.confirm(&ObjectMeta { fresh_until: 5000, ..object.meta() });
                self.keeper.renewed(&object);
            }
            Step::Evict(small) => {
                let class = if *small { Class::Small } else { Class::Large };
                let drive = Arc::clone(&self.keeper.drive);
                let Some(slot) = self.keeper.inventory.choose_victim(&drive, class) else { return };
                let (object, index) = self.keeper.inventory.owner(slot).unwrap();
                self.stored.remove(&(object.number(), index));
                self.keeper.empty(slot);
            }
            Step::Checkpoint => self.checkpoint(),
        }
    }

    fn checkpoint(&mut self) {
        match self.keeper.checkpoint.stage() {
            None => {
                self.syncing = Some(self.look("slab").bytes);
                self.begun += 1;
                self.keeper.begin_checkpoint();
                if self.keeper.checkpoint.stage().is_none() {
                    self.completed = self.begun;
                }
            }
            Some(Stage::Blocks) => {
                while self.keeper.checkpoint.stage() == Some(Stage::Blocks) {
                    self.keeper.step_checkpoint();
                    thread::yield_now();
                }
                let (bytes, inode) = (self.syncing.take().unwrap(), 0);
                self.synced.insert("slab", Synced { bytes, inode });
            }
            Some(Stage::Records) => {
                self.keeper.finish_checkpoint();
                self.sync("slots");
                self.sync("objects.log");
                self.completed = self.begun;
            }
        }
    }

    /// The drive as a power loss at this instant could leave it.
    fn lose_power(&mut self) -> Folder {
        let copy = Folder::new();
        fs::copy(self.folder.path().join("meta"), copy.path().join("meta")).unwrap();
        for part in ["slab", "slots", "objects.log"] {
            let now = self.look(part);
            let random = [self.random(), self.random()];
            let synced = &self.synced[part];
            let replaced = part == "objects.log" && synced.inode != now.inode;
            let bytes = match (replaced, random[0].is_multiple_of(2)) {
                // Replaced as a whole, and synced before that.
                (true, true) => now.bytes,
                (true, false) => synced.bytes.clone(),
                (false, _) => torn(&synced.bytes, &now.bytes, random),
            };
            fs::write(copy.path().join(part), bytes).unwrap();
        }
        copy
    }

    /// Opens what a power loss has left, and looks at everything.
    async fn check(&mut self) {
        let copy = self.lose_power();
        let store = opened(&[copy.config(MEBIBYTES)], &options());
        assert_eq!(offline(&store, 0), None);
        check_all(&store).await;
        let counts = only_drive(&store).counts;
        assert_eq!(counts.corrupt, 0, "a record was on the drive before its block");
        let objects: BTreeMap<u64, Arc<Object>> = (0..4)
            .filter_map(|path| store.object(&key(&format!("/{path}"))))
            .map(|object| (object.number(), object))
            .collect();
        for ((number, index), since) in &self.stored {
            let there = objects.get(number).is_some_and(|object| store.has_block(object, *index));
            assert!(there || *since >= Since(self.completed), "block {index} of {number} is lost");
        }
        for (number, since) in &self.gone {
            let there = objects.get(number).is_some_and(|object| object.stored_bytes() > 0);
            assert!(!there || *since >= Since(self.completed), "{number} is back");
        }
    }
}

/// Some sectors of `now`, the others as they were when the file was synced.
fn torn(synced: &[u8], now: &[u8], random: [u64; 2]) -> Vec<u8> {
    // The length is written like everything else: a file that grew may have its old one.
    let length = match random[0] % 3 {
        0 => synced.len(),
        1 => now.len(),
        _ => synced.len() + now.len().saturating_sub(synced.len()) / 2,
    };
    let mut bytes = synced.to_vec();
    bytes.resize(length, 0);
    let mostly = random[1] % 4;
    for (sector, (old, new)) in bytes.chunks_mut(SECTOR).zip(now.chunks(SECTOR)).enumerate() {
        let there = match mostly {
            0 => false,
            1 => true,
            _ => mix(random[0] ^ sector as u64).is_multiple_of(2),
        };
        if there {
            let both = old.len().min(new.len());
            old[..both].copy_from_slice(&new[..both]);
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_power_loss_at_any_instant_costs_only_what_was_not_synced(
        steps in proptest::collection::vec(step(), 10..60), dice: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut machine = Machine::new(dice);
        for step in &steps {
            machine.step(step);
            if machine.random().is_multiple_of(3) {
                runtime.block_on(machine.check());
            }
        }
        runtime.block_on(machine.check());
    }
}
