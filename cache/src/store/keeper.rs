//! The keeper of a drive: the one thread that stores, evicts and frees blocks on it.
//!
//! The way of a slot: free → (block written) filled → (checkpoint) recorded → (evicted, purged,
//! replaced or dropped) emptied → (checkpoint) free. An emptied slot waits for the checkpoint that
//! persists its emptiness, and for its last pin to go, before it is filled again. Some slots are kept
//! free in advance, so that new blocks need not wait for that.
//!
//! Checkpoints are in [`checkpoint`](super::checkpoint).

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ageing::Ageing;
use super::checkpoint::{Change, Checkpoint};
use super::disk::Lock;
use super::drive::{Drive, Pin, count};
use super::inventory::{Inventory, Origin};
use super::layout::{Class, PerClass};
use super::object::Object;
use super::scrub::Next;
use super::slot_record::SlotRecord;

/// Slots of each class kept free: one in so many, ...
const FREE_SHARE: u32 = 32;
/// ... but no more than these (4 GiB of large ones).
const FREE_MOST: u32 = 4096;
/// Free slots looked at for one that no socket is sending from any more.
const LOOKED_AT: usize = 64;
/// Checkpoints made one after the other for a block that finds no free slot.
const PATIENCE: usize = 3;

/// What the keeper is asked to do.
pub(super) enum Task {
    /// Store a block. The data is as long as the block.
    Store { object: Arc<Object>, index: u32, data: Vec<Bytes> },
    /// Free the blocks of an object that was replaced or purged.
    Retire(Arc<Object>),
    /// Write down the new freshness of an object.
    Renew(Arc<Object>),
    /// A reader has dropped the block in this slot.
    Dropped(u32),
    /// An object was pinned, or is so no more.
    Settle(Arc<Object>),
    /// Say which block is the first in `from` or a later slot.
    Next { from: u32, reply: SyncSender<Option<Next>> },
    /// Make a checkpoint and say so.
    Flush(SyncSender<()>),
    /// Make a last checkpoint, mark the drive clean, end, and say so.
    Close(SyncSender<()>),
    /// Look around: something has changed.
    Wake,
}

/// The thread's state.
pub(super) struct Keeper {
    pub(super) drive: Arc<Drive>,
    pub(super) inventory: Inventory,
    pub(super) checkpoint: Checkpoint,
    /// Held until the keeper ends.
    pub(super) lock: Lock,
    pub(super) interval: Duration,
    /// Slots to keep free.
    reserve: PerClass<u32>,
    ageing: Option<Ageing>,
    /// How many drives had joined when it last looked at everything.
    joined: u64,
}

impl Keeper {
    pub(super) fn new(
        drive: Arc<Drive>,
        inventory: Inventory,
        checkpoint: Checkpoint,
        lock: Lock,
        interval: Duration,
        ageing: Option<Ageing>,
    ) -> Self {
        let layout = drive.layout;
        let reserve = PerClass::new(|class| (layout.count(class) / FREE_SHARE).clamp(2, FREE_MOST));
        Self { drive, inventory, checkpoint, lock, interval, reserve, ageing, joined: 0 }
    }

    /// Works until the store is closed or gone.
    pub(super) fn run(mut self, tasks: &Mutex<Receiver<Task>>) {
        loop {
            // Locked while it waits only: from a keeper that hangs others may take its tasks.
            let wait = self.checkpoint.wait(self.interval);
            let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(wait);
            let task = match next {
                Ok(task) => task,
                Err(RecvTimeoutError::Timeout) => Task::Wake,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.drive.abandoned.load(Ordering::Acquire) {
                return;
            }
            if !self.drive.is_up() {
                return self.stay_offline(task, tasks);
            }
            match task {
                Task::Store { object, index, data } => self.store(&object, index, &data),
                Task::Retire(object) => {
                    self.release_object(&object);
                }
                Task::Renew(object) => self.renewed(&object),
                Task::Dropped(slot) => self.dropped(slot),
                Task::Settle(object) => self.settle(&object),
                Task::Next { from, reply } => self.tell_next(from, &reply),
                Task::Flush(done) => self.checkpoint.waiters.push(done),
                Task::Close(done) => return self.close(&done),
                Task::Wake => {}
            }
            let joined = self.drive.joined.load(Ordering::Acquire);
            if self.drive.sweep.swap(false, Ordering::AcqRel) || joined != self.joined {
                self.joined = joined;
                self.sweep();
            }
            if let Some(ageing) = &mut self.ageing {
                ageing.look(self.inventory.objects(), Instant::now());
            }
            self.make_room();
            self.step_checkpoint();
            let starving = Class::ALL.into_iter().any(|class| {
                self.inventory.free(class) < self.reserve.of(class).div_ceil(2)
                    && self.checkpoint.has_emptied(class)
            });
            if starving || self.checkpoint.is_due(self.interval, Instant::now()) {
                self.begin_checkpoint();
            }
        }
    }

    pub(super) fn store(&mut self, object: &Arc<Object>, index: u32, data: &[Bytes]) {
        if object.is_retired() {
            return;
        }
        let Some(length) = object.block_length(index) else { return };
        if let Some(place) = object.block_table().get(index)
            && place.drive() == usize::from(self.drive.index)
        {
            if self.drive.states.is_live(place.slot()) {
                return;
            }
            self.empty(place.slot());
        }
        if !self.inventory.accepts(object) {
            count(&self.drive.counts.refused);
            return;
        }
        let Some(slot) = self.free_slot(self.class_for(length)) else {
            count(&self.drive.counts.refused);
            return;
        };
        let crc = data.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        if let Err(error) = self.drive.slab.write_pieces(data, self.drive.offset(slot)) {
            self.inventory.set_free(slot);
            self.drive.failed("writing a block", &error);
            return;
        }
        self.drive.slab.begin_write_back(self.drive.offset(slot), u64::from(length));
        let record = SlotRecord {
            number: object.number(),
            block: index,
            length,
            crc,
            slot,
            epoch: self.checkpoint.meta.epoch,
        };
        self.drive.unrecorded.note(record);
        if self.inventory.add(&self.drive, slot, object, index, Origin::Written) {
            self.checkpoint.unlogged.insert(object.number());
        }
        self.checkpoint.changes.insert(slot, Change::Filled(record));
        count(&self.drive.counts.written);
    }

    /// Where a block of `length` bytes goes: a small one to a large slot while the small ones are used up
    /// and large ones lie about unused.
    fn class_for(&self, length: u32) -> Class {
        match self.drive.layout.class_for(length) {
            Class::Small if self.spills() => Class::Large,
            class => class,
        }
    }

    fn spills(&self) -> bool {
        let (small, large) = (Class::Small, Class::Large);
        self.inventory.free(small) <= *self.reserve.of(small)
            && self.inventory.free(large) > 2 * *self.reserve.of(large)
    }

    /// A free slot of `class`; when there is none, waits for checkpoints to make some. Meanwhile the queue fills
    /// and blocks are refused: the drive is slower than the network.
    fn free_slot(&mut self, class: Class) -> Option<u32> {
        for _ in 0..PATIENCE {
            if let Some(slot) = self.take_free(class) {
                return Some(slot);
            }
            self.make_room();
            self.begin_checkpoint();
            self.finish_checkpoint();
        }
        self.take_free(class)
    }

    /// A free slot that can be overwritten. What sendfile(2) has put into a socket are the pages of the slab themselves,
    /// until the client has acknowledged them: new bytes in those pages would reach it as the old block's.
    fn take_free(&mut self, class: Class) -> Option<u32> {
        let mut held = Vec::new();
        let mut found = None;
        for _ in 0..LOOKED_AT {
            let Some(slot) = self.inventory.take_free(class) else { break };
            let drive = &self.drive;
            let (offset, length) = (drive.offset(slot), u64::from(class.size()));
            if !drive.states.was_sent(slot) || drive.slab.let_go(offset, length) {
                found = Some(slot);
                break;
            }
            held.push(slot);
        }
        held.into_iter().for_each(|slot| self.inventory.set_free(slot));
        found
    }

    /// Evicts until the reserve is there, slots included that the next checkpoint sets free. What
    /// there is too little of is made of its own kind only.
    fn make_room(&mut self) {
        for class in Class::ALL {
            while self.inventory.free(class) + self.checkpoint.emptied(class)
                < *self.reserve.of(class)
                && !(class == Class::Small && self.spills())
            {
                if let Some(object) = self.ageing.as_mut().and_then(|a| a.next(Instant::now())) {
                    let freed = self.release_object(&object);
                    self.drive.counts.evicted.fetch_add(freed, Ordering::Relaxed);
                    continue;
                }
                let Some(slot) = self.inventory.choose_victim(&self.drive, class) else { break };
                self.empty(slot);
                count(&self.drive.counts.evicted);
            }
        }
    }

    /// Takes the block out of `slot` and has the drive forget it.
    pub(super) fn empty(&mut self, slot: u32) {
        if self.inventory.release(&self.drive, slot) {
            self.checkpoint.empty(slot);
        }
    }

    /// Returns how many slots it emptied.
    pub(super) fn release_object(&mut self, object: &Arc<Object>) -> u64 {
        let slots = self.slots_of(object);
        slots.iter().for_each(|slot| self.empty(*slot));
        slots.len() as u64
    }

    fn slots_of(&self, object: &Object) -> Vec<u32> {
        object.block_table().on_drive(self.drive.index).map(|(_, slot)| slot).collect()
    }

    fn settle(&mut self, object: &Object) {
        for slot in self.slots_of(object) {
            self.inventory.settle(&self.drive, slot);
        }
    }

    fn tell_next(&self, from: u32, reply: &SyncSender<Option<Next>>) {
        let slot = self.inventory.next_taken(from, |slot| self.checkpoint.is_pending(slot));
        let next = slot.and_then(|slot| {
            let (object, block) = self.inventory.owner(slot)?;
            let (number, length) = (object.number(), object.block_length(block)?);
            let (pin, key) = (Pin::quiet(&self.drive, slot)?, object.key().clone());
            Some(Next { pin, key, number, block, length })
        });
        let _ = reply.try_send(next);
    }

    pub(super) fn renewed(&mut self, object: &Arc<Object>) {
        if self.inventory.object(object.number()).is_some() {
            self.checkpoint.unlogged.insert(object.number());
        }
    }

    fn dropped(&mut self, slot: u32) {
        // The slot may have been emptied, and even refilled, since the reader dropped its block.
        if !self.drive.states.is_live(slot) {
            self.empty(slot);
        }
    }

    /// Looks for everything that messages would have told, had the queue not been full.
    fn sweep(&mut self) {
        let doomed: Vec<u32> = self
            .inventory
            .taken()
            .filter(|slot| {
                !self.drive.states.is_live(*slot)
                    || self.inventory.owner(*slot).is_some_and(|(object, _)| object.is_retired())
            })
            .collect();
        for slot in doomed {
            self.empty(slot);
        }
        let left: Vec<u32> = self.inventory.taken().collect();
        for slot in left {
            self.inventory.settle(&self.drive, slot);
        }
    }

    /// The drive has failed: its blocks are forgotten, so that other drives may take them, and
    /// nothing is written any more.
    fn stay_offline(self, task: Task, tasks: &Mutex<Receiver<Task>>) {
        let drive = self.let_go();
        let mut next = Some(task);
        while let Some(task) = next {
            if matches!(task, Task::Close(_)) || drive.abandoned.load(Ordering::Acquire) {
                return;
            }
            drop(task);
            next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
        }
    }

    /// Forgets all that it holds, for everyone, and gives back memory, files and lock. Whoever waits for a
    /// checkpoint learns that there is none.
    pub(super) fn let_go(mut self) -> Arc<Drive> {
        let slots: Vec<u32> = self.inventory.taken().collect();
        for slot in slots {
            self.inventory.release(&self.drive, slot);
        }
        let drive = Arc::clone(&self.drive);
        drive.close_files();
        self.checkpoint.log.file().close();
        drop(self);
        drive.let_go.store(true, Ordering::Release);
        drive
    }
}
