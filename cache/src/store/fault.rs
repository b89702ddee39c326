//! Faults on demand: makes a chosen operation on a drive fail, so that tests can show what happens
//! then. A store without faults pays one comparison per operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The operation does nothing and fails with this error number.
    Error(i32),
    /// Half of it is done, then it fails as at the end of the file.
    Short,
    /// The byte in the middle arrives with all bits inverted, and nobody is told.
    Flip,
    /// It takes this much longer.
    Delay(Duration),
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
pub struct Faults(Option<Arc<Mutex<Vec<Fault>>>>);

impl Faults {
    /// A switchboard to inject faults through; `Faults::default()` can never inject any.
    #[must_use]
    pub fn armed() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds a fault. Without effect unless [armed](Faults::armed).
    pub fn inject(&self, fault: Fault) {
        if let Some(faults) = &self.0 {
            faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        }
    }

    pub(super) fn is_armed(&self) -> bool {
        self.0.is_some()
    }

    /// The effect that the operation at hand is to have; counts it. Errors and delays are carried
    /// out here, the others are the caller's to carry out.
    pub(super) fn meet(
        &self,
        drive: &Path,
        part: Part,
        operation: Operation,
    ) -> io::Result<Option<Effect>> {
        let Some(faults) = &self.0 else { return Ok(None) };
        let mut effect = None;
        {
            let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
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
            other => Ok(other),
        }
    }
}
