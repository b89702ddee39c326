//! Why the store does not do what it is asked for.

use thiserror::Error;

/// Why a block was not stored. The content is served all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotStored {
    /// The drive is slower than the network: its queue is full. Counted as `refused`.
    #[error("the drive cannot keep up")]
    Busy,
    /// No drive is up.
    #[error("no drive is up")]
    NoDrive,
    /// The object was purged, or a newer generation has taken its place.
    #[error("the object was replaced or purged")]
    Retired,
    /// The data is not as long as this block of the object is.
    #[error("the data is not as long as the block")]
    WrongLength,
    /// The object is longer than [`MAX_LENGTH`](super::MAX_LENGTH), or its name and header fields than 64 KiB.
    #[error("the object is too large to be stored")]
    TooLarge,
}

/// More was to be pinned than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "pinned objects would take {wanted} MiB of drives where {most} MiB may be pinned, half of them: \
     unpin others first"
)]
pub struct TooManyPins {
    /// Slots that pinned objects would take with the new one.
    pub wanted: u64,
    /// Slots that they may take.
    pub most: u64,
}

/// Why a drive was not opened anew.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OnlineError {
    /// No drive has this path.
    #[error("no `[[drive]]` has this path; the drives are: {known}")]
    Unknown {
        /// The paths that there are.
        known: String,
    },
    /// It is up.
    #[error("the drive is up")]
    Up,
    /// That is being done.
    #[error("the drive is being opened")]
    Opening,
    /// Operations that were begun before it went offline have not come back from the kernel.
    #[error(
        "operations on the drive still hang in the kernel: look at `dmesg`; when they do not come \
         back, only a restart of the node or of the machine helps"
    )]
    Held,
}

/// Why a drive was not verified.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// No drive has this path.
    #[error("no `[[drive]]` has this path; the drives are: {known}")]
    Unknown {
        /// The paths that there are.
        known: String,
    },
    /// It is offline, or still being opened.
    #[error("the drive is not up: `mcc cache status` says why")]
    Down,
}
