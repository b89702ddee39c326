//! Which prefixes changed at which serial, so that a control plane that has fallen behind gets a
//! delta and not the whole table.
//!
//! Only prefixes are kept. What they are now is in the table, and a delta always leads to now: so
//! it tells each prefix once, however often it changed.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ipnet::IpNet;

#[derive(Debug)]
pub(super) struct ChangeLog {
    steps: VecDeque<Step>,
    changes: usize,
    changes_max: usize,
    age_max: Duration,
    /// Deltas can start here or later.
    start: u64,
}

#[derive(Debug)]
struct Step {
    serial: u64,
    at: Instant,
    prefixes: Vec<IpNet>,
}

impl ChangeLog {
    /// Keeps at most `changes_max` changes, none longer than `age_max`.
    pub(super) fn new(changes_max: usize, age_max: Duration) -> Self {
        Self { steps: VecDeque::new(), changes: 0, changes_max, age_max, start: 0 }
    }

    /// The prefixes that differ at `serial` from the serial before it.
    pub(super) fn push(&mut self, serial: u64, prefixes: Vec<IpNet>, now: Instant) {
        self.changes += prefixes.len();
        self.steps.push_back(Step { serial, at: now, prefixes });
        while let Some(oldest) = self.steps.front()
            && (self.changes > self.changes_max
                || now.saturating_duration_since(oldest.at) > self.age_max)
        {
            self.changes -= oldest.prefixes.len();
            self.start = oldest.serial;
            self.steps.pop_front();
        }
    }

    /// The prefixes that changed after `serial`, in ascending order, each once; none if that is
    /// not known any more.
    pub(super) fn since(&self, serial: u64) -> Option<impl Iterator<Item = IpNet> + use<>> {
        if serial < self.start {
            return None;
        }
        let after = self.steps.iter().filter(|step| step.serial > serial);
        let prefixes: BTreeSet<IpNet> = after.flat_map(|step| &step.prefixes).copied().collect();
        Some(prefixes.into_iter())
    }

    /// Forgets everything: no delta starts before `serial`.
    pub(super) fn restart(&mut self, serial: u64) {
        self.steps.clear();
        self.changes = 0;
        self.start = serial;
    }
}
