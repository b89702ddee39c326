//! How the store works.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::Faults;

/// How the store works. The defaults are right for a node.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Time between checkpoints: what a power loss may cost in fills.
    pub checkpoint_interval: Duration,
    /// Reader threads per drive: its queue depth.
    pub readers: usize,
    /// Blocks (1 MiB of memory each) that may wait for a drive. More are refused, not waited for.
    pub write_queue: usize,
    /// How long an operation on a drive may take before the drive is given up. A sync may take four
    /// times as long.
    pub patience: Duration,
    /// Where the store keeps what it must remember beside the drives. Without it, only until it is
    /// closed.
    pub data_dir: Option<PathBuf>,
    /// Bytes per second that the scrubber reads on each drive; 0: it reads only when asked to.
    pub scrub_rate: u64,
    /// Objects that nobody has asked for in this time go first when room is needed.
    pub max_age: Option<Duration>,
    /// Faults to meet, for tests.
    pub faults: Faults,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(5),
            readers: 4,
            write_queue: 256,
            patience: Duration::from_secs(30),
            data_dir: None,
            scrub_rate: 10_000_000,
            max_age: None,
            faults: Faults::default(),
        }
    }
}
