//! Faults on demand: makes a chosen operation on a drive fail, so that tests can show what happens
//! then. A store without faults pays one comparison per operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The files of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The slots: content.
    Slab,
    /// The slot table.
    Slots,
    /// The object log.
    Objects,
    /// Format, identity and clean flag.
    Meta,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Slab, Self::Slots, Self::Objects, Self::Meta];

    /// Its name in the drive's folder.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Slab => "slab",
            Self::Slots => "slots",
            Self::Objects => "objects.log",
            Self::Meta => "meta",
        }
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A data sync.
    Sync,
    /// Preallocation.
    Allocate,
    /// Opening it.
    Open,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Sync, Self::Allocate, Self::Open];

    /// As said of a drive: "it hangs in ...".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "a read",
            Self::Write => "a write",
            Self::Sync => "a sync",
            Self::Allocate => "a reservation of space",
            Self::Open => "opening a file",
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The operation does nothing and fails with this error number: EIO, ENOSPC, EROFS, ...
    Error(i32),
    /// Half of it is done, then it fails as at the end of the file.
    Short,
    /// The byte in the middle arrives with all bits inverted, and nobody is told.
    Flip,
    /// It takes this much longer.
    Delay(Duration),
    /// It does not come back until [`Faults::release`], and then goes well.
    Hang,
}

/// One fault to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The drive's folder.
    pub drive: PathBuf,
    /// The file.
    pub part: Part,
    /// The operation.
    pub operation: Operation,
    /// How many such operations go well before, counted from the injection.
    pub after: u32,
    /// How many fail then.
    pub times: u32,
    /// How.
    pub effect: Effect,
}

/// The faults that a store is to meet. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Option<Arc<Board>>);

#[derive(Debug, Default)]
struct Board {
    state: Mutex<State>,
    /// Somebody hangs, or need not hang any more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    hanging: usize,
    releases: u64,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hang(&self) {
        let mut state = self.state();
        let release = state.releases;
        state.hanging += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_while(state, |state| state.releases == release);
        waited.unwrap_or_else(PoisonError::into_inner).hanging -= 1;
    }
}

impl Faults {
    /// A switchboard to inject faults through; `Faults::default()` can never inject any.
    #[must_use]
    pub fn armed() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds a fault. Without effect unless [armed](Faults::armed).
    pub fn inject(&self, fault: Fault) {
        if let Some(board) = &self.0 {
            board.state().faults.push(fault);
        }
    }

    /// Lets all operations go on that hang now.
    pub fn release(&self) {
        if let Some(board) = &self.0 {
            board.state().releases += 1;
            board.changed.notify_all();
        }
    }

    /// Returns when so many operations hang. Returns at once unless [armed](Faults::armed).
    pub fn await_hanging(&self, operations: usize) {
        if let Some(board) = &self.0 {
            let hang = board.changed.wait_while(board.state(), |state| state.hanging < operations);
            drop(hang);
        }
    }

    pub(super) fn is_armed(&self) -> bool {
        self.0.is_some()
    }

    /// The effect that the operation at hand is to have; counts it. Errors, delays and hanging are
    /// carried out here, the others are the caller's to carry out.
    pub(super) fn meet(
        &self,
        drive: &Path,
        part: Part,
        operation: Operation,
    ) -> io::Result<Option<Effect>> {
        let Some(board) = &self.0 else { return Ok(None) };
        let mut effect = None;
        {
            let faults = &mut board.state().faults;
            let hits =
                |f: &&mut Fault| f.drive == drive && f.part == part && f.operation == operation;
            for fault in faults.iter_mut().filter(hits) {
                if fault.after > 0 {
                    fault.after -= 1;
                } else if fault.times > 0 {
                    fault.times -= 1;
                    effect = Some(fault.effect);
                }
            }
            faults.retain(|fault| fault.times > 0);
        }
        match effect {
            Some(Effect::Error(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Effect::Delay(time)) => {
                std::thread::sleep(time);
                Ok(None)
            }
            Some(Effect::Hang) => {
                board.hang();
                Ok(None)
            }
            other => Ok(other),
        }
    }
}
