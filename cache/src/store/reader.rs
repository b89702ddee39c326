//! The reader threads of a drive. Each drive has its own, so that one slow drive holds up nobody but
//! those who read from it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::READ_WINDOW;
use super::buffer::Buffer;
use super::drive::Pin;
use super::slot_record::{SlotEntry, SlotRecord};

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
                Reader { scratch: vec![0; READ_WINDOW as usize].into(), busy }.run(&jobs);
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
    /// Blocks are read through here, piece by piece.
    scratch: Box<[u8]>,
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
                let result = place.note(self.check(&place, range.start, buffer.as_mut()));
                drop(place);
                let _ = reply.send(result.map(|()| buffer.freeze()));
            }
            Work::Load { reply } if !reply.is_closed() => {
                let result = place.note(self.check(&place, 0, &mut []));
                drop(place);
                let _ = reply.send(result);
            }
            Work::Read { .. } | Work::Load { .. } => {}
        }
    }

    /// Reads the whole block and compares it with the checksum in the slot table: what a drive gives is
    /// never taken on trust. `wanted` gets the bytes from `start` on.
    fn check(&mut self, place: &Place, start: u32, wanted: &mut [u8]) -> Result<(), Failure> {
        let (drive, slot) = (&place.pin.drive, place.pin.slot);
        let crc = self.read_all(place, start as usize, wanted).map_err(Failure::Drive)?;
        let Some(record) = place.record().map_err(Failure::Drive)? else {
            // It was purged, and nobody can say any more what was in it.
            return Err(if drive.states.is_live(slot) { Failure::Corrupt } else { Failure::Gone });
        };
        if record.crc != crc {
            return Err(Failure::Corrupt);
        }
        drive.states.trust(slot);
        Ok(())
    }

    /// The checksum of the block as it is read. `wanted` gets the bytes from `start` on.
    fn read_all(&mut self, place: &Place, start: usize, wanted: &mut [u8]) -> io::Result<u32> {
        let drive = &place.pin.drive;
        let (offset, length) = (drive.offset(place.pin.slot), place.length as usize);
        drive.slab.expect_read(offset, length as u64);
        let mut crc = 0;
        for at in (0..length).step_by(READ_WINDOW as usize) {
            // The same piece of scratch each time: it stays in the processor's cache.
            let piece = (READ_WINDOW as usize).min(length - at);
            let piece = self.scratch.get_mut(..piece).unwrap_or_default();
            drive.slab.read(piece, offset + at as u64)?;
            crc = crc32c::crc32c_append(crc, piece);
            let (from, to) = (at.max(start), (at + piece.len()).min(start + wanted.len()));
            if from < to
                && let Some(to) = wanted.get_mut(from - start..to - start)
                && let Some(from) = piece.get(from - at..from - at + to.len())
            {
                to.copy_from_slice(from);
            }
        }
        Ok(crc)
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
    /// The record of the block; `None` when there is none.
    fn record(&self) -> io::Result<Option<SlotRecord>> {
        let (drive, slot) = (&self.pin.drive, self.pin.slot);
        let is_of = |record: &SlotRecord| {
            (self.number, self.block, self.length) == (record.number, record.block, record.length)
        };
        if let Some(record) = drive.unrecorded.get(slot).filter(is_of) {
            return Ok(Some(record));
        }
        match drive.look_up(slot)? {
            SlotEntry::Block(record) if is_of(&record) => Ok(Some(record)),
            // Forgotten by the table between the two looks: then it is there now.
            _ => Ok(drive.unrecorded.get(slot).filter(is_of)),
        }
    }

    /// Has the drive forget a block that could not be read.
    fn note(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        let (drive, slot) = (&self.pin.drive, self.pin.slot);
        match &result {
            // Its files are closed.
            Err(_) if !drive.is_up() => return Err(Failure::Gone),
            Err(Failure::Drive(error)) => {
                drive.drop_block(slot);
                drive.failed("reading a block", error);
            }
            Err(Failure::Corrupt) => drive.drop_corrupt(slot, "reading"),
            Ok(()) | Err(Failure::Gone) => {}
        }
        result
    }
}
