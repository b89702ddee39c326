//! Which slots reader threads have in hand: who else wants something of such a block waits for that thread, and not in
//! the queue. So a block that many want at the same time is read once.
//!
//! The jobs that wait are as many as clients want something of the block. Those of clients that have gone away are
//! dropped before the others need more memory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::reader::ReadJob;

/// By slot, the jobs that wait for the thread that has it, in the order they came in.
#[derive(Default)]
pub(super) struct InHand(Mutex<HashMap<u32, VecDeque<ReadJob>>>);

impl InHand {
    /// The job, unless a thread has its slot in hand: then that one does it.
    pub(super) fn join(&self, job: ReadJob) -> Option<ReadJob> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get_mut(&job.pin.slot) {
            Some(others) => {
                follow(others, job);
                None
            }
            None => Some(job),
        }
    }

    /// The same, and from now on the caller has the slot in hand.
    pub(super) fn take(&self, job: ReadJob) -> Option<ReadJob> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.entry(job.pin.slot) {
            Entry::Occupied(mut others) => {
                follow(others.get_mut(), job);
                None
            }
            Entry::Vacant(vacant) => {
                vacant.insert(VecDeque::new());
                Some(job)
            }
        }
    }

    /// What else is wanted of a slot; `None` ends having it in hand.
    pub(super) fn next(&self, slot: u32) -> Option<ReadJob> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let job = slots.get_mut(&slot).and_then(VecDeque::pop_front);
        if job.is_none() {
            slots.remove(&slot);
        }
        job
    }

    #[cfg(test)]
    pub(super) fn others_wait(&self, slot: u32) -> bool {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&slot).is_some_and(|others| !others.is_empty())
    }
}

/// Puts a job behind the others. Before they need more memory, those go that nobody waits for any more.
fn follow(others: &mut VecDeque<ReadJob>, job: ReadJob) {
    if others.len() == others.capacity() {
        others.retain(ReadJob::is_wanted);
    }
    others.push_back(job);
}
