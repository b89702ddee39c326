//! The reader threads of a drive. Each drive has its own, so that one slow drive holds up nobody but
//! those who read from it.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::drive::{Pin, count};
use super::keeper::Task;
use super::slot_record::{SLOT_RECORD, SlotEntry, SlotRecord};
use super::{BLOCK, READ_WINDOW};

/// Reads that may wait for a thread, per thread. Full: whoever wants to read waits.
const WAITING: usize = 16;
/// Buffers that a thread keeps for the next reads.
const SPARE_BUFFERS: usize = 32;
/// Shorter reads get a buffer of their own size.
const SMALL_READ: usize = 16 << 10;

/// A read to be done.
pub(super) struct ReadJob {
    pub(super) pin: Pin,
    pub(super) number: u64,
    pub(super) block: u32,
    pub(super) length: u32,
    pub(super) range: Range<u32>,
    pub(super) reply: oneshot::Sender<Result<Bytes, Failure>>,
}

/// Why there are no bytes.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody reads from the drive any more.
    Gone,
    /// They are not those that were stored.
    Corrupt,
    /// The drive failed.
    Drive(io::Error),
}

/// The way to the threads. They end when it is dropped.
pub(super) struct Readers(mpsc::Sender<ReadJob>);

impl Readers {
    /// Starts `threads` threads for the drive of this index.
    pub(super) fn start(index: u8, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (sender, jobs) = mpsc::channel(threads * WAITING);
        let jobs = Arc::new(Mutex::new(jobs));
        for thread in 0..threads {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name(format!("mcc-read-{index}-{thread}"))
                .spawn(move || Reader::new().run(&jobs))?;
        }
        Ok(Self(sender))
    }

    /// Puts a job into the queue, and waits while that is full.
    pub(super) async fn read(&self, job: ReadJob) -> Result<(), Failure> {
        self.0.send(job).await.map_err(|_| Failure::Gone)
    }
}

/// One thread.
struct Reader {
    /// Whole blocks that are verified go here.
    scratch: Vec<u8>,
    spare: Receiver<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

impl Reader {
    fn new() -> Self {
        let (home, spare) = sync_channel(SPARE_BUFFERS);
        Self { scratch: Vec::new(), spare, home }
    }

    fn run(mut self, jobs: &Mutex<mpsc::Receiver<ReadJob>>) {
        loop {
            // The lock is held while waiting: the other idle threads wait for the lock instead.
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(job) = next else { return };
            if job.reply.is_closed() {
                continue;
            }
            let result = self.read(&job);
            let drive = &job.pin.drive;
            match &result {
                Err(Failure::Drive(error)) => {
                    drive.drop_block(job.pin.slot);
                    drive.failed("reading a block", error);
                }
                Err(Failure::Corrupt) => {
                    count(&drive.counts.corrupt);
                    drive.drop_block(job.pin.slot);
                    let drive = drive.disk.path().display();
                    tracing::warn!(%drive, slot = job.pin.slot, "checksum wrong, block dropped");
                }
                Ok(_) | Err(Failure::Gone) => {}
            }
            // The pin goes first, so that whoever gets the bytes finds the slot unpinned.
            let ReadJob { pin, reply, .. } = job;
            drop(pin);
            // Nobody waits any more: the client is gone.
            let _ = reply.send(result);
        }
    }

    fn read(&mut self, job: &ReadJob) -> Result<Bytes, Failure> {
        let drive = &job.pin.drive;
        if drive.states.is_suspect(job.pin.slot) {
            let record = self.verify(job)?;
            drive.states.trust(job.pin.slot);
            // Lost when the queue is full: then the block is verified again after a restart.
            let _ = drive.tasks.try_send(Task::Verified(record));
        }
        let mut buffer = self.buffer((job.range.end - job.range.start) as usize);
        let offset = drive.offset(job.pin.slot) + u64::from(job.range.start);
        drive.slab.read(buffer.as_mut(), offset).map_err(Failure::Drive)?;
        Ok(Bytes::from_owner(buffer))
    }

    /// Compares the whole block with the checksum in the slot table.
    fn verify(&mut self, job: &ReadJob) -> Result<SlotRecord, Failure> {
        let (drive, slot) = (&job.pin.drive, job.pin.slot);
        let mut bytes = [0; SLOT_RECORD];
        let place = u64::from(slot) * SLOT_RECORD as u64;
        drive.table.read(&mut bytes, place).map_err(Failure::Drive)?;
        let SlotEntry::Block(record) = SlotEntry::decode(&bytes, slot) else {
            return Err(Failure::Corrupt);
        };
        self.scratch.resize(BLOCK as usize, 0);
        let block = self.scratch.get_mut(..job.length as usize).unwrap_or_default();
        drive.slab.read(block, drive.offset(slot)).map_err(Failure::Drive)?;
        let wanted = (job.number, job.block, job.length, crc32c::crc32c(block));
        let found = (record.number, record.block, record.length, record.crc);
        if wanted == found { Ok(record) } else { Err(Failure::Corrupt) }
    }

    fn buffer(&self, length: usize) -> Buffer {
        if length <= SMALL_READ || length > READ_WINDOW as usize {
            return Buffer { bytes: vec![0; length], length, home: None };
        }
        let bytes = self.spare.try_recv().unwrap_or_else(|_| vec![0; READ_WINDOW as usize]);
        Buffer { bytes, length, home: Some(self.home.clone()) }
    }
}

/// Bytes on their way to a client. The buffer goes back to the thread that it is from.
struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    home: Option<SyncSender<Vec<u8>>>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            // Enough are spare, or the thread has ended: the memory is freed.
            let _ = home.try_send(std::mem::take(&mut self.bytes));
        }
    }
}
