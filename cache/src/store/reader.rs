//! The reader threads of a drive. Each drive has its own, so that one slow drive holds up nobody but
//! those who read from it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::buffer::Buffer;
use super::drive::{Drive, Pin, count};
use super::keeper::Task;
use super::slot_record::{SLOT_RECORD, SlotEntry, SlotRecord};
use super::{BLOCK, READ_WINDOW};

/// Jobs that may wait for a thread, per thread. Full: whoever wants to read waits, and nothing is read ahead.
const WAITING: usize = 16;

/// Where processors are scarce the threads that send go first: what they have is in memory, and others wait for it.
const NICENESS: i32 = 10;

/// A part of a block to be read.
pub(super) struct ReadJob {
    pub(super) pin: Pin,
    pub(super) number: u64,
    pub(super) block: u32,
    pub(super) length: u32,
    pub(super) range: Range<u32>,
    pub(super) work: Work,
}

/// Where the bytes are to go.
pub(super) enum Work {
    /// Into the buffer, which is as long as the range.
    Read { buffer: Buffer, reply: oneshot::Sender<Result<Bytes, Failure>> },
    /// Into memory, to be sent from there.
    Load { reply: oneshot::Sender<Result<(), Failure>> },
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
pub(super) struct Readers {
    jobs: mpsc::Sender<ReadJob>,
    /// Threads that are reading.
    busy: Arc<AtomicUsize>,
}

impl Readers {
    /// Starts `threads` threads for the drive of this index.
    pub(super) fn start(index: u8, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (sender, jobs) = mpsc::channel(threads * WAITING);
        let jobs = Arc::new(Mutex::new(jobs));
        let busy = Arc::new(AtomicUsize::new(0));
        for thread in 0..threads {
            let (jobs, busy) = (Arc::clone(&jobs), Arc::clone(&busy));
            thread::Builder::new().name(format!("mcc-read-{index}-{thread}")).spawn(move || {
                // Of this thread only, as Linux has it. Where it is refused, all are equal.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                Reader { scratch: Vec::new(), busy }.run(&jobs);
            })?;
        }
        Ok(Self { jobs: sender, busy })
    }

    /// Puts a job into the queue, and waits while that is full.
    pub(super) async fn send(&self, job: ReadJob) -> Result<(), Failure> {
        self.jobs.send(job).await.map_err(|_| Failure::Gone)
    }

    /// Puts a job into the queue, if that is not full.
    pub(super) fn try_send(&self, job: ReadJob) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Whether nothing is on its way into memory.
    pub(super) fn are_idle(&self) -> bool {
        self.busy.load(Ordering::Acquire) == 0
    }
}

/// One thread.
struct Reader {
    /// What is read only to be verified, or to be in memory, goes here.
    scratch: Vec<u8>,
    busy: Arc<AtomicUsize>,
}

impl Reader {
    fn run(mut self, jobs: &Mutex<mpsc::Receiver<ReadJob>>) {
        loop {
            // The lock is held while waiting: the other idle threads wait for the lock instead.
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(job) = next else { return };
            self.busy.fetch_add(1, Ordering::AcqRel);
            self.work(job);
            self.busy.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Does a job for which somebody still waits. The pin goes before the reply, so that whoever gets the bytes finds
    /// the slot unpinned; replies that find nobody are lost.
    fn work(&mut self, job: ReadJob) {
        let ReadJob { pin, number, block, length, range, work } = job;
        let place = Place { pin, number, block, length };
        match work {
            Work::Read { mut buffer, reply } if !reply.is_closed() => {
                let result = self.read(&place, range.start, buffer.as_mut());
                place.note(&result);
                drop(place);
                let _ = reply.send(result.map(|()| buffer.freeze()));
            }
            Work::Load { reply } if !reply.is_closed() => {
                let result = self.load(&place, range);
                place.note(&result);
                drop(place);
                let _ = reply.send(result);
            }
            Work::Read { .. } | Work::Load { .. } => {}
        }
    }

    fn read(&mut self, place: &Place, start: u32, buffer: &mut [u8]) -> Result<(), Failure> {
        self.verify_once(place)?;
        let drive = &place.pin.drive;
        let offset = Drive::offset(place.pin.slot) + u64::from(start);
        drive.slab.read(buffer, offset).map_err(Failure::Drive)
    }

    /// Reads for nobody, so that errors are met here and not by sendfile(2).
    fn load(&mut self, place: &Place, range: Range<u32>) -> Result<(), Failure> {
        if self.verify_once(place)? {
            return Ok(());
        }
        let slab = &place.pin.drive.slab;
        let at = |start: u32| Drive::offset(place.pin.slot) + u64::from(start);
        slab.expect_read(at(range.start), u64::from(range.end - range.start));
        self.scratch.resize(BLOCK as usize, 0);
        for start in range.clone().step_by(READ_WINDOW as usize) {
            let length = READ_WINDOW.min(range.end - start) as usize;
            // The same piece of scratch each time: it stays in the processor's cache.
            let piece = self.scratch.get_mut(..length).unwrap_or_default();
            slab.read(piece, at(start)).map_err(Failure::Drive)?;
        }
        Ok(())
    }

    /// Verifies the block if it is suspect: true when all of it has been read for that.
    fn verify_once(&mut self, place: &Place) -> Result<bool, Failure> {
        let drive = &place.pin.drive;
        let suspect = drive.states.is_suspect(place.pin.slot);
        if suspect {
            let record = self.verify(place)?;
            drive.states.trust(place.pin.slot);
            // Lost when the queue is full: then the block is verified again after a restart.
            let _ = drive.tasks.try_send(Task::Verified(record));
        }
        Ok(suspect)
    }

    /// Compares the whole block with the checksum in the slot table.
    fn verify(&mut self, place: &Place) -> Result<SlotRecord, Failure> {
        let (drive, slot) = (&place.pin.drive, place.pin.slot);
        let mut bytes = [0; SLOT_RECORD];
        let entry = u64::from(slot) * SLOT_RECORD as u64;
        drive.table.read(&mut bytes, entry).map_err(Failure::Drive)?;
        let SlotEntry::Block(record) = SlotEntry::decode(&bytes, slot) else {
            return Err(Failure::Corrupt);
        };
        self.scratch.resize(BLOCK as usize, 0);
        let block = self.scratch.get_mut(..place.length as usize).unwrap_or_default();
        drive.slab.read(block, Drive::offset(slot)).map_err(Failure::Drive)?;
        let wanted = (place.number, place.block, place.length, crc32c::crc32c(block));
        let found = (record.number, record.block, record.length, record.crc);
        if wanted == found { Ok(record) } else { Err(Failure::Corrupt) }
    }
}

/// Which block lies where.
struct Place {
    pin: Pin,
    number: u64,
    block: u32,
    length: u32,
}

impl Place {
    /// Has the drive forget a block that could not be read.
    fn note<T>(&self, result: &Result<T, Failure>) {
        let (drive, slot) = (&self.pin.drive, self.pin.slot);
        match result {
            Err(Failure::Drive(error)) => {
                drive.drop_block(slot);
                drive.failed("reading a block", error);
            }
            Err(Failure::Corrupt) => {
                count(&drive.counts.corrupt);
                drive.drop_block(slot);
                let drive = drive.disk.path().display();
                tracing::warn!(%drive, slot, "checksum wrong, block dropped");
            }
            Ok(_) | Err(Failure::Gone) => {}
        }
    }
}
