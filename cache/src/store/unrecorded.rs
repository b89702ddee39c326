//! The records of the blocks that were written since the last checkpoint: the slot table on the drive
//! does not have them yet, and readers compare what they read with one or the other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slot_record::SlotRecord;

/// By slot; no more than the keeper writes in a checkpoint's time.
#[derive(Debug, Default)]
pub(super) struct Unrecorded(Mutex<HashMap<u32, SlotRecord>>);

impl Unrecorded {
    fn records(&self) -> MutexGuard<'_, HashMap<u32, SlotRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block was written. To be called before anybody can find it.
    pub(super) fn note(&self, record: SlotRecord) {
        self.records().insert(record.slot, record);
    }

    /// The record of the block in `slot`; `None` when the slot table has it, or when there is no block.
    pub(super) fn get(&self, slot: u32) -> Option<SlotRecord> {
        self.records().get(&slot).copied()
    }

    /// The slot table has `record` now.
    pub(super) fn forget(&self, record: &SlotRecord) {
        let mut records = self.records();
        if records.get(&record.slot) == Some(record) {
            records.remove(&record.slot);
        }
    }

    /// The slot was emptied.
    pub(super) fn drop(&self, slot: u32) {
        self.records().remove(&slot);
    }
}
