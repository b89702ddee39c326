//! The reader threads of a drive. Each drive has its own, so that one slow drive holds up nobody but
//! those who read from it.
//!
//! What comes from a drive is compared with its checksum before anybody gets it, and until then the block is
//! [not sound](super::slots::SlotStates::is_sound): memory has it already, and others would send it from there.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::READ_WINDOW;
use super::buffer::Buffer;
use super::drive::Pin;
use super::in_hand::InHand;
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

impl ReadJob {
    /// Whether somebody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Read { reply, .. } => !reply.is_closed(),
            Work::Load { reply } => !reply.is_closed(),
        }
    }
}

/// The way to the threads. They end when it is dropped.
pub(super) struct Readers {
    jobs: mpsc::Sender<ReadJob>,
    in_hand: Arc<InHand>,
}

impl Readers {
    /// Starts `threads` threads for the drive of this index.
    pub(super) fn start(index: u8, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (sender, jobs) = mpsc::channel(threads * WAITING);
        let jobs = Arc::new(Mutex::new(jobs));
        let in_hand = Arc::new(InHand::default());
        for thread in 0..threads {
            let (jobs, in_hand) = (Arc::clone(&jobs), Arc::clone(&in_hand));
            thread::Builder::new().name(format!("mcc-read-{index}-{thread}")).spawn(move || {
                // Of this thread only, as Linux has it. Where it is refused, all are equal.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                Reader { scratch: vec![0; READ_WINDOW as usize].into(), in_hand }.run(&jobs);
            })?;
        }
        Ok(Self { jobs: sender, in_hand })
    }

    /// Puts a job into the queue, and waits while that is full.
    pub(super) async fn send(&self, job: ReadJob) -> Result<(), Failure> {
        let Some(job) = self.in_hand.join(job) else { return Ok(()) };
        self.jobs.send(job).await.map_err(|_| Failure::Gone)
    }

    /// Whether there is more to do for `slot` than a thread is doing now.
    #[cfg(test)]
    pub(super) fn others_wait(&self, slot: u32) -> bool {
        self.in_hand.others_wait(slot)
    }

    /// Puts a job into the queue, if that is not full.
    pub(super) fn try_send(&self, job: ReadJob) -> bool {
        self.in_hand.join(job).is_none_or(|job| self.jobs.try_send(job).is_ok())
    }
}

/// One thread.
struct Reader {
    /// Blocks are read through here, piece by piece.
    scratch: Box<[u8]>,
    in_hand: Arc<InHand>,
}

impl Reader {
    fn run(mut self, jobs: &Mutex<mpsc::Receiver<ReadJob>>) {
        loop {
            // The lock is held while waiting: the other idle threads wait for the lock instead.
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(job) = next else { return };
            let slot = job.pin.slot;
            let mut next = self.in_hand.take(job);
            while let Some(job) = next {
                self.work(job);
                next = self.in_hand.next(slot);
            }
        }
    }

    /// Does a job for which somebody still waits. The pin goes before the reply, so that whoever gets the bytes finds
    /// the slot unpinned; replies that find nobody are lost.
    fn work(&mut self, job: ReadJob) {
        let ReadJob { pin, number, block, length, range, work } = job;
        let place = Place { pin, number, block, length };
        match work {
            Work::Read { mut buffer, reply } if !reply.is_closed() => {
                let result = match place.read_cached(&range, buffer.as_mut()) {
                    true => Ok(()),
                    false => self.read(&place, range.start, buffer.as_mut()),
                };
                drop(place);
                let _ = reply.send(result.map(|()| buffer.freeze()));
            }
            Work::Load { reply } if !reply.is_closed() => {
                let result = match place.pin.is_at_hand(&range) {
                    true => Ok(()),
                    false => self.read(&place, 0, &mut []),
                };
                drop(place);
                let _ = reply.send(result);
            }
            Work::Read { .. } | Work::Load { .. } => {}
        }
    }

    /// Reads the whole block from the drive. `wanted` gets the bytes from `start` on. One that cannot be had is
    /// forgotten, before anybody else could send what memory has of it now.
    fn read(&mut self, place: &Place, start: u32, wanted: &mut [u8]) -> Result<(), Failure> {
        let (states, slot) = (&place.pin.drive.states, place.pin.slot);
        if states.is_damaged(slot) {
            return Err(Failure::Gone);
        }
        states.begin_check(slot);
        let result = self.check(place, start, wanted);
        if let Err(failure) = &result {
            place.forget(failure);
        }
        states.end_check(slot);
        // The files of one that is offline are closed.
        result.map_err(|failure| if place.pin.drive.is_up() { failure } else { Failure::Gone })
    }

    /// Compares the whole block with the checksum in the slot table: what a drive gives is never taken on
    /// trust. `wanted` gets the bytes from `start` on.
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

    /// Fills `buffer` with `range`, if another has brought it into memory meanwhile and it is sound.
    fn read_cached(&self, range: &Range<u32>, buffer: &mut [u8]) -> bool {
        // Where memory is the drive, it is compared each time.
        self.pin.drive.slab.can_be_sent() && self.pin.read_cached(buffer, range.start)
    }

    /// Has the drive forget the block.
    fn forget(&self, failure: &Failure) {
        let (drive, slot) = (&self.pin.drive, self.pin.slot);
        match failure {
            Failure::Drive(error) if drive.is_up() => {
                drive.drop_block(slot);
                drive.failed("reading a block", error);
            }
            Failure::Corrupt if drive.is_up() => drive.drop_corrupt(slot, "reading"),
            // No fault of the drive.
            _ => {
                drive.states.condemn(slot);
            }
        }
    }
}
