//! The owner of one object's fetches: who reads, what is in flight, which runs there are.
//!
//! Everything that reaches it is a [`Message`]; it answers at once or keeps the question until it can. It never
//! waits for a run or a reader, so they may wait for it.

mod opening;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::flight::Flight;
use super::open::{self, Outcome, Question};
use super::run::{Ended, OpenBody, Order, Run};
use super::ticket::Interest;
use super::window::{MAX_WINDOW, ReadAhead};
use super::{FillError, Located, Shared};
use crate::origin::OriginFailure;
use crate::store::{NotStored, Object, ObjectKey, ObjectMeta, Selector};

/// Origin requests at once for one object's read-ahead. A block that is waited for is fetched in any case.
const PARALLEL_RUNS: usize = 4;
/// Blocks of one request.
const RUN_BLOCKS: u32 = MAX_WINDOW / 4;
/// How long a reader that got all of its range still counts: its client may be about to ask for the next one.
const LINGER: Duration = Duration::from_secs(1);
/// How long a landed block is kept in memory for the drive to write it.
const DRIVE_TIME: Duration = Duration::from_secs(10);
/// A drive that may evict a new block before it has taken so many others cannot be relied on by readers that follow
/// each other.
const FORGOTTEN_SOON: u64 = 4 * MAX_WINDOW as u64;
/// A reader that has been at the same block for so long stands still.
const STANDSTILL: Duration = Duration::from_secs(10);
/// How often what can change without a message is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What a coordinator is told and asked.
pub(super) enum Message {
    /// A reader: what is this object?
    Open(open::Request),
    /// A reader: this block is not on a drive.
    Want {
        object: Arc<Object>,
        index: u32,
        interest: Arc<Interest>,
        reply: oneshot::Sender<Result<(Arc<Object>, Located), FillError>>,
    },
    /// The answer of the origin to an opening question.
    Answered { question: Question, outcome: Outcome },
    /// A run: what to do with this block?
    NextBlock { run: u64, index: u32, reply: oneshot::Sender<Order> },
    /// A block is whole, and a drive will write it, or why not.
    Landed { run: u64, index: u32, stored: Result<(), NotStored> },
    /// A run has ended.
    RunEnded { run: u64, result: Result<(), Ended> },
}

/// A reader, and when it left.
struct Reader {
    interest: Arc<Interest>,
    left: Option<Instant>,
    /// Where it was seen, and since when.
    seen: (u32, Instant),
}

/// A block in memory.
struct Held {
    flight: Arc<Flight>,
    /// The run that fills it: one and no other.
    filler: Option<u64>,
    /// Set once it has landed.
    landed: Option<Landed>,
}

/// What becomes of a whole block.
#[derive(Clone, Copy)]
enum Landed {
    /// A drive has taken it and will have written it soon.
    Taken(Instant),
    /// Its drive cannot keep up: it is offered again.
    Waiting,
    /// It is not stored, and in memory for those only who come to it soon.
    NotStored,
}

/// A run at work on the blocks `at..end`.
struct Running {
    at: u32,
    end: u32,
    /// It carries the whole object because the origin ignores ranges.
    whole: bool,
    stop: CancellationToken,
    /// The block that it asks for and has to wait with.
    held_back: Option<(u32, oneshot::Sender<Order>)>,
}

pub(super) struct Coordinator {
    key: ObjectKey,
    shared: Arc<Shared>,
    mailbox: mpsc::Sender<Message>,
    /// Whether something is being fetched, or waits for a drive.
    is_busy: Arc<AtomicBool>,
    object: Option<Arc<Object>>,
    readers: HashMap<u64, Reader>,
    left: Arc<Notify>,
    blocks: HashMap<u32, Held>,
    runs: HashMap<u64, Running>,
    next_run: u64,
    /// Those who wait for the answer to an opening question, while there is one.
    opening: Option<Vec<open::Request>>,
    ahead: ReadAhead,
    /// When waiting blocks were last offered to the drives.
    offered: Instant,
}

impl Coordinator {
    pub(super) fn new(
        key: ObjectKey,
        shared: Arc<Shared>,
        mailbox: mpsc::Sender<Message>,
        is_busy: Arc<AtomicBool>,
    ) -> Self {
        Self {
            key,
            shared,
            mailbox,
            is_busy,
            object: None,
            readers: HashMap::new(),
            left: Arc::default(),
            blocks: HashMap::new(),
            runs: HashMap::new(),
            next_run: 0,
            opening: None,
            ahead: ReadAhead::default(),
            offered: Instant::now(),
        }
    }

    /// Works until nothing is left to do; `leave` takes it out of the list of coordinators.
    pub(super) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        leave: impl FnOnce(&ObjectKey),
    ) {
        let stop = self.shared.stop.clone();
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = self.left.notified() => {}
                () = tokio::time::sleep(TICK), if self.has_time_to_watch() => {}
                () = stop.cancelled() => break,
            }
            self.tidy();
            self.is_busy.store(self.is_busy(), Ordering::Release);
            // A message that has been sent already is taken first.
            if self.is_idle() && messages.is_empty() {
                break;
            }
        }
        leave(&self.key);
        messages.close();
        // Those who had found this coordinator in the list get no reply and ask the next one.
        while messages.try_recv().is_ok() {}
        for held in self.blocks.values() {
            held.flight.fail(&FillError::Abandoned);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Open(request) => self.open(request),
            Message::Want { object, index, interest, reply } => {
                let located = self.want(&object, index, &interest);
                let _ = reply.send(located);
            }
            Message::Answered { question, outcome } => self.answered(question, outcome),
            Message::NextBlock { run, index, reply } => {
                if let Some(running) = self.runs.get_mut(&run) {
                    let passed = running.at..index;
                    running.at = index;
                    running.held_back = Some((index, reply));
                    self.give_up(run, passed, &FillError::Abandoned);
                }
            }
            Message::Landed { run, index, stored } => {
                if let Some(held) = self.blocks.get_mut(&index).filter(|h| h.filler == Some(run)) {
                    let landed = match (stored, &self.object) {
                        // Purged and found again: offered under its new number.
                        (Err(NotStored::Retired), Some(now)) if !now.is_retired() => {
                            Landed::Waiting
                        }
                        (stored, _) => Landed::from(stored),
                    };
                    held.landed = Some(landed);
                    self.count(landed);
                }
            }
            Message::RunEnded { run, result } => self.run_ended(run, result),
        }
    }

    fn meet(&mut self, interest: &Arc<Interest>) {
        self.readers.entry(interest.id()).or_insert_with(|| {
            interest.wake(&self.left);
            let seen = (interest.next(), Instant::now());
            Reader { interest: interest.clone(), left: None, seen }
        });
    }

    fn publish(&mut self, meta: &ObjectMeta) -> Arc<Object> {
        let before = self.shared.store.object(&self.key);
        let object = self.shared.store.publish(&self.key, meta);
        if before.is_some_and(|before| before.number() != object.number()) {
            self.shared.counters.new_versions.add(1);
        }
        self.set_object(&object);
        object
    }

    /// Makes `object` the version that is fetched. What is in flight of another one ends.
    fn set_object(&mut self, object: &Arc<Object>) {
        let Some(before) = self.object.replace(object.clone()) else { return };
        if before.number() == object.number() {
            return;
        }
        if before.meta().same_content(&object.meta()) {
            // After a purge the same bytes come back under a new number: what is in flight goes on, and
            // what has landed under the old number is offered again.
            let landed = self.blocks.values_mut().filter_map(|held| held.landed.as_mut());
            landed.for_each(|landed| *landed = Landed::Waiting);
        } else {
            for (_, running) in self.runs.drain() {
                running.stop.cancel();
            }
            let changed = FillError::Origin(OriginFailure::Changed);
            for (_, held) in self.blocks.drain() {
                held.flight.fail(&changed);
            }
            self.ahead = ReadAhead::default();
        }
    }

    // --- Blocks ---

    fn want(
        &mut self,
        object: &Arc<Object>,
        index: u32,
        interest: &Arc<Interest>,
    ) -> Result<(Arc<Object>, Located), FillError> {
        self.meet(interest);
        match &self.object {
            Some(ours) if ours.number() == object.number() => {}
            // Purged and found again: the same bytes under a new number.
            Some(ours) if ours.meta().same_content(&object.meta()) => {}
            Some(ours) if ours.number() > object.number() => {
                return Err(FillError::Origin(OriginFailure::Changed));
            }
            _ => self.set_object(object),
        }
        let Some(current) = self.object.clone() else { return Err(FillError::Abandoned) };
        let stored = self.shared.store.has_block(&current, index);
        let held = self.blocks.get(&index).filter(|held| !held.flight.has_failed());
        let under_way = held.is_some() || self.is_under_way(index);
        let end = self.ahead.wants(interest.id(), index, interest.last()).min(current.blocks());
        if !under_way && !stored {
            self.start_run(interest, index, self.end_of_gap(&current, index, end), None);
        }
        self.read_ahead(&current, interest, index + 1, end);
        if stored && held_is_none(&self.blocks, index) {
            return Ok((current, Located::Stored));
        }
        let flight = self.flight(&current, index).ok_or(FillError::Abandoned)?;
        Ok((current, Located::Flight { flight, started: !under_way }))
    }

    /// The block in memory; made when it is not there yet.
    fn flight(&mut self, object: &Object, index: u32) -> Option<Arc<Flight>> {
        if let Some(held) = self.blocks.get(&index).filter(|held| !held.flight.has_failed()) {
            return Some(held.flight.clone());
        }
        let flight = Flight::new(index, object.block_length(index)?, self.shared.counters.clone());
        self.blocks.insert(index, Held { flight: flight.clone(), filler: None, landed: None });
        Some(flight)
    }

    /// Whether a run will come to the block.
    fn is_under_way(&self, index: u32) -> bool {
        self.runs.values().any(|run| !run.stop.is_cancelled() && (run.at..run.end).contains(&index))
    }

    fn is_missing(&self, object: &Object, index: u32) -> bool {
        !self.is_under_way(index)
            && self.blocks.get(&index).is_none_or(|held| held.flight.has_failed())
            && !self.shared.store.has_block(object, index)
    }

    /// Where the missing blocks from `first` on end, `end` at the latest, and the length of a run.
    fn end_of_gap(&self, object: &Object, first: u32, end: u32) -> u32 {
        let end = end.min(first.saturating_add(RUN_BLOCKS));
        (first + 1..end)
            .find(|index| !self.is_missing(object, *index))
            .unwrap_or(end)
            .max(first + 1)
    }

    /// Starts runs for what is missing of `from..end`, if that is worth a request.
    fn read_ahead(&mut self, object: &Arc<Object>, interest: &Arc<Interest>, from: u32, end: u32) {
        let worth = (end.saturating_sub(from) / 4).max(1);
        let mut index = from;
        while index < end && self.runs.len() < PARALLEL_RUNS {
            if self.shared.is_memory_full() {
                return;
            }
            if !self.is_missing(object, index) {
                index += 1;
                continue;
            }
            let gap_end = self.end_of_gap(object, index, end);
            let is_tail = gap_end == object.blocks() || gap_end > interest.last();
            if gap_end - index >= worth.min(RUN_BLOCKS) || is_tail {
                self.start_run(interest, index, gap_end, None);
            }
            index = gap_end;
        }
    }

    fn start_run(
        &mut self,
        interest: &Arc<Interest>,
        first: u32,
        end: u32,
        open: Option<OpenBody>,
    ) {
        let Some(object) = &self.object else { return };
        if first >= end {
            return;
        }
        self.next_run += 1;
        let stop = self.shared.stop.child_token();
        let run = Run {
            id: self.next_run,
            object: object.clone(),
            interest: interest.clone(),
            first,
            end,
            stop: stop.clone(),
            shared: self.shared.clone(),
            coordinator: self.mailbox.clone(),
        };
        let whole = open.is_some() && end - first > RUN_BLOCKS;
        self.runs.insert(self.next_run, Running { at: first, end, whole, stop, held_back: None });
        self.shared.tasks.spawn(run.go(open));
    }

    fn run_ended(&mut self, id: u64, result: Result<(), Ended>) {
        let Some(running) = self.runs.remove(&id) else { return };
        let error = match result {
            Ok(()) => FillError::Abandoned,
            Err(Ended::Failed(error)) => error,
            Err(Ended::Changed(meta)) => {
                match meta {
                    Some(meta) => drop(self.publish(&meta)),
                    None => {
                        // It cannot be stored any more: the next request finds out what it is.
                        self.shared.counters.new_versions.add(1);
                        self.shared.store.purge(&Selector::Url(self.key.clone()));
                    }
                }
                FillError::Origin(OriginFailure::Changed)
            }
        };
        self.give_up(id, running.at..running.end, &error);
    }

    /// Ends what run `id` has, or should have, filled of `range` and has not.
    fn give_up(&mut self, id: u64, range: Range<u32>, error: &FillError) {
        for index in range {
            let Some(held) = self.blocks.get(&index) else { continue };
            let ours = match held.filler {
                Some(filler) => filler == id,
                None => !self.is_under_way(index),
            };
            if ours && !held.flight.is_whole() {
                held.flight.fail(error);
                self.blocks.remove(&index);
            }
        }
    }

    // --- What changes without a message ---

    fn tidy(&mut self) {
        let now = Instant::now();
        self.readers.retain(|_, reader| {
            if reader.left.is_none() && reader.interest.has_left() {
                reader.left = Some(now);
            }
            if reader.seen.0 != reader.interest.next() {
                reader.seen = (reader.interest.next(), now);
            }
            match reader.left {
                Some(left) => reader.interest.has_finished() && now < left + LINGER,
                None => true,
            }
        });
        self.give_orders();
        self.offer_again(now);
        if let Some(object) = self.object.clone() {
            let (store, readers) = (&self.shared.store, &self.readers);
            // A small drive may have evicted a block again before those come to it whom it was fetched for.
            let is_short = store.forgets_within(FORGOTTEN_SOON) && !self.shared.is_memory_full();
            self.blocks.retain(|index, held| {
                let Some(landed) = held.landed else { return true };
                let is_followed = || {
                    let mut readers = readers.values();
                    is_short
                        && readers.any(|reader| reader.is_moving(now) && reader.is_near(*index))
                };
                match landed {
                    _ if store.has_block(&object, *index) => is_followed(),
                    Landed::Taken(at) => now < at + DRIVE_TIME || is_followed(),
                    Landed::Waiting => true,
                    Landed::NotStored => readers.values().any(|reader| reader.is_near(*index)),
                }
            });
        }
    }

    /// Offers the drives what they had no room for. While that waits it takes the place of what would be read ahead;
    /// what goes beyond that place is given up.
    fn offer_again(&mut self, now: Instant) {
        if now < self.offered + TICK {
            return;
        }
        self.offered = now;
        let Some(object) = self.object.clone() else { return };
        let waiting = |held: &&mut Held| matches!(held.landed, Some(Landed::Waiting));
        let mut given_up = 0;
        for held in self.blocks.values_mut().filter(waiting) {
            let offer = self.shared.store.write(&object, held.flight.index(), held.flight.data());
            let landed = match Landed::from(offer) {
                Landed::Waiting if given_up < self.shared.excess() => Landed::NotStored,
                Landed::Waiting => break,
                landed => landed,
            };
            given_up += u64::from(matches!(landed, Landed::NotStored));
            held.landed = Some(landed);
        }
        self.shared.counters.not_stored_blocks.add(given_up);
    }

    fn count(&self, landed: Landed) {
        if matches!(landed, Landed::NotStored) {
            self.shared.counters.not_stored_blocks.add(1);
        }
    }

    /// Stops the runs that nobody needs, and lets those go on whose readers have caught up.
    fn give_orders(&mut self) {
        let readers = &self.readers;
        let furthest = readers.values().map(|reader| reader.interest.next()).max();
        let mut orders = Vec::new();
        for (id, running) in &mut self.runs {
            if !readers.values().any(|reader| reader.needs(running.at, running.end)) {
                running.stop.cancel();
            }
            if let Some((index, reply)) = running.held_back.take() {
                let far = furthest.is_some_and(|at| index > at.saturating_add(MAX_WINDOW));
                let waited_for = self.blocks.contains_key(&index);
                if running.stop.is_cancelled() {
                    let _ = reply.send(Order::Stop);
                } else if running.whole && (far || self.shared.is_memory_full()) && !waited_for {
                    running.held_back = Some((index, reply));
                } else {
                    orders.push((*id, index, reply));
                }
            }
        }
        let Some(object) = self.object.clone() else { return };
        for (run, index, reply) in orders {
            let order = self.order(&object, run, index);
            let _ = reply.send(order);
        }
    }

    /// What run `run` is to do with block `index`.
    fn order(&mut self, object: &Object, run: u64, index: u32) -> Order {
        let waited_for = self.blocks.get(&index).is_some_and(|held| !held.flight.has_failed());
        if !waited_for && self.shared.store.has_block(object, index) {
            return Order::Skip;
        }
        let Some(flight) = self.flight(object, index) else { return Order::Stop };
        match self.blocks.get_mut(&index) {
            Some(held) if held.filler.is_none() => {
                held.filler = Some(run);
                object.note_fetch(index);
                Order::Fill(flight)
            }
            _ => Order::Skip,
        }
    }

    /// Whether something may change that sends no message: a drive's write, a reader's pace, a lingering reader.
    fn has_time_to_watch(&self) -> bool {
        self.blocks.values().any(|held| held.landed.is_some())
            || self.runs.values().any(|run| run.held_back.is_some())
            || self.readers.values().any(|reader| reader.left.is_some())
    }

    /// Whether something is being fetched, or waits for a drive to write it.
    fn is_busy(&self) -> bool {
        let (store, object) = (&self.shared.store, self.object.as_ref());
        let waits = |(index, held): (&u32, &Held)| match held.landed {
            None => true,
            Some(Landed::NotStored) => false,
            Some(_) => object.is_some_and(|object| !store.has_block(object, *index)),
        };
        !self.runs.is_empty() || self.opening.is_some() || self.blocks.iter().any(waits)
    }

    fn is_idle(&self) -> bool {
        self.readers.is_empty()
            && self.runs.is_empty()
            && self.opening.is_none()
            && self.blocks.values().all(|held| held.landed.is_none())
    }
}

impl From<Result<(), NotStored>> for Landed {
    fn from(stored: Result<(), NotStored>) -> Self {
        match stored {
            Ok(()) => Self::Taken(Instant::now()),
            Err(NotStored::Busy) => Self::Waiting,
            Err(_) => Self::NotStored,
        }
    }
}

impl Reader {
    /// Whether it will want something of the blocks `at..end`. One that has finished may be followed by a
    /// request for what comes next.
    fn needs(&self, at: u32, end: u32) -> bool {
        let (next, last) = (self.interest.next(), self.interest.last());
        let last = last.max(next.saturating_add(MAX_WINDOW));
        next < end && at <= last
    }

    /// Whether it has come on lately: for one that stands still nothing is kept.
    fn is_moving(&self, now: Instant) -> bool {
        now < self.seen.1 + STANDSTILL
    }

    /// Whether it comes to the block soon.
    fn is_near(&self, index: u32) -> bool {
        let (next, last) = (self.interest.next(), self.interest.last());
        self.left.is_none() && next <= index && index <= last.min(next.saturating_add(MAX_WINDOW))
    }
}

fn held_is_none(blocks: &HashMap<u32, Held>, index: u32) -> bool {
    blocks.get(&index).is_none_or(|held| held.flight.has_failed())
}
