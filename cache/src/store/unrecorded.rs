//! The records that the slot table on the drive does not have: those of blocks written since the last checkpoint, which
//! it does not have yet, and those of blocks that it has forgotten while somebody still reads them. Readers compare what
//! they read with one or the other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slot_record::SlotRecord;

/// By slot; no more than the keeper writes in a checkpoint's time, and those that are pinned.
#[derive(Debug, Default)]
pub(super) struct Unrecorded(Mutex<HashMap<u32, SlotRecord>>);

impl Unrecorded {
    fn records(&self) -> MutexGuard<'_, HashMap<u32, SlotRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block was written, or is about to be forgotten by the slot table. To be called before anybody can find it, or
    /// before it is forgotten.
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

    /// Nobody reads what was in the slot any more.
    pub(super) fn drop(&self, slot: u32) {
        self.records().remove(&slot);
    }
}
