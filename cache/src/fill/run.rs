//! A run: one origin request for consecutive blocks, and its bytes on their way into flights.
//!
//! Before each block the run asks its coordinator what to do with it. When the connection breaks, the run resumes
//! once at the byte that it has reached, under the same validator.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer};
use super::coordinator::Message;
use super::flight::{Flight, FlightWriter};
use super::open::fill_headers;
use super::ticket::Interest;
use super::{FillError, Shared};
use crate::conditional::Validators;
use crate::origin::OriginFailure;
use crate::range::{ByteRange, block_of};
use crate::store::{BLOCK, Object, ObjectMeta};
use crate::time::unix_now;

/// What to do with the next block of a run.
pub(super) enum Order {
    /// Fill it.
    Fill(Arc<Flight>),
    /// It is stored already: read over it.
    Skip,
    /// Nobody needs more.
    Stop,
}

/// How a run ended before its end.
#[derive(Debug)]
pub(super) enum Ended {
    Failed(FillError),
    /// The origin has another version now: its description, if it can be stored.
    Changed(Option<ObjectMeta>),
}

impl From<OriginFailure> for Ended {
    fn from(failure: OriginFailure) -> Self {
        Self::Failed(FillError::Origin(failure))
    }
}

/// A body that is already open, and the offset of its first byte.
pub(super) struct OpenBody {
    pub(super) body: Incoming,
    pub(super) from: u64,
}

pub(super) struct Run {
    pub(super) id: u64,
    pub(super) object: Arc<Object>,
    /// The reader in whose name the origin is asked.
    pub(super) interest: Arc<Interest>,
    pub(super) first: u32,
    /// The block behind the last one.
    pub(super) end: u32,
    /// Cancelled when nobody waits any more.
    pub(super) stop: CancellationToken,
    pub(super) shared: Arc<Shared>,
    pub(super) coordinator: mpsc::Sender<Message>,
}

impl Run {
    /// Fetches the blocks and reports the end to the coordinator.
    pub(super) async fn go(self, open: Option<OpenBody>) {
        self.shared.counters.runs_in_flight.up();
        let result = self.fetch(open).await;
        self.shared.counters.runs_in_flight.down();
        let origin = &self.interest.target().origin;
        if let Err(Ended::Failed(FillError::Origin(failure))) = &result {
            origin.failed(failure);
        }
        // The coordinator lives as long as it has runs.
        let _ = self.coordinator.send(Message::RunEnded { run: self.id, result }).await;
    }

    async fn fetch(&self, mut open: Option<OpenBody>) -> Result<(), Ended> {
        let offset = |block: u32| u64::from(block) * u64::from(BLOCK);
        let mut copy = Copy {
            run: self,
            at: offset(self.first),
            end: offset(self.end).min(self.object.length()),
            in_hand: InHand::Nothing,
        };
        let mut resumed = false;
        loop {
            let opened = match open.take() {
                Some(open) => Ok(open),
                None => self.request(copy.at, copy.end).await,
            };
            let result = match opened {
                Ok(body) => copy.body(body).await,
                Err(ended) => Err(ended),
            };
            match result {
                Err(Ended::Failed(FillError::Origin(
                    OriginFailure::Broken(_) | OriginFailure::Silent(_),
                ))) if !resumed => {
                    resumed = true;
                    self.shared.counters.fill_retries.add(1);
                }
                result => return result,
            }
        }
    }

    /// Asks for `at..end` of the very version that is pinned.
    async fn request(&self, at: u64, end: u64) -> Result<OpenBody, Ended> {
        let Some(asked) = ByteRange::new(at, end) else {
            return Err(Ended::Failed(FillError::Abandoned));
        };
        let meta = self.object.meta();
        let pinned =
            Validators { etag: meta.etag.clone(), last_modified: meta.last_modified.clone() };
        let mut headers = fill_headers(&self.interest, asked);
        if let Some(validator) = pinned.if_range() {
            headers.insert(header::IF_RANGE, validator.clone());
        }
        let target = self.interest.target();
        self.shared.counters.fill_requests.add(1);
        let response = self.shared.client.fetch(Method::GET, target, headers).await?;
        let (head, body) = response.into_parts();
        match answer::read(&head, Some(asked), target.origin.immutable(), unix_now()) {
            Answer::Content { meta, from, .. } => {
                let said = Validators {
                    etag: meta.etag.clone(),
                    last_modified: meta.last_modified.clone(),
                };
                if meta.length == self.object.length() && pinned.agree(&said) {
                    Ok(OpenBody { body, from })
                } else {
                    Err(Ended::Changed(Some(meta)))
                }
            }
            Answer::NoSuchBytes | Answer::Unstorable => Err(Ended::Changed(None)),
            Answer::NotModified(_) => {
                Err(OriginFailure::Nonsense("304, but nothing was compared").into())
            }
            Answer::Other => Err(OriginFailure::Status(head.status).into()),
            Answer::Nonsense(what) => Err(OriginFailure::Nonsense(what).into()),
        }
    }
}

/// The copying of bodies into flights; goes on over a broken connection.
struct Copy<'a> {
    run: &'a Run,
    /// The next byte needed.
    at: u64,
    end: u64,
    in_hand: InHand,
}

/// What happens with the block that `at` is in. Decided once, at its start: a block is filled from its first
/// byte or not at all.
enum InHand {
    /// `at` is the start of a block.
    Nothing,
    Fill(FlightWriter),
    Skip {
        to: u64,
    },
}

impl Copy<'_> {
    async fn body(&mut self, open: OpenBody) -> Result<(), Ended> {
        let OpenBody { mut body, from } = open;
        let shared = &self.run.shared;
        let origin = &self.run.interest.target().origin;
        // An origin that ignores ranges begins at 0: what lies before is read over.
        let mut before = self.at.saturating_sub(from);
        let mut finishing = false;
        while self.at < self.end {
            let frame = tokio::select! {
                biased;
                () = self.run.stop.cancelled(), if !finishing => {
                    if !self.worth_finishing() {
                        return Err(Ended::Failed(FillError::Abandoned));
                    }
                    finishing = true;
                    continue;
                }
                frame = timeout(shared.limits.stall, body.frame()) => frame,
            };
            let mut bytes = match frame {
                Err(_) => return Err(OriginFailure::Silent(shared.limits.stall).into()),
                Ok(None) => {
                    let early = "the body ended early".to_owned();
                    return Err(OriginFailure::Broken(early).into());
                }
                Ok(Some(Err(error))) => {
                    return Err(OriginFailure::Broken(innermost(&error)).into());
                }
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_else(|_| Bytes::new()),
            };
            shared.counters.fill_bytes.add(bytes.len() as u64);
            origin.counters.fill.add(bytes.len() as u64);
            let over = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
            before -= over as u64;
            let _ = bytes.split_to(over);
            self.take(bytes).await?;
        }
        // Nothing may follow; taking the end of the body gives the connection back to the pool.
        let _ = timeout(shared.limits.stall, body.frame()).await;
        Ok(())
    }

    /// Whether more than half of the block in hand has come in: the rest is cheaper than doing it again.
    fn worth_finishing(&self) -> bool {
        match &self.in_hand {
            InHand::Fill(writer) => writer.taken() * 2 > writer.flight().length() as usize,
            InHand::Nothing | InHand::Skip { .. } => false,
        }
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), Ended> {
        while !bytes.is_empty() && self.at < self.end {
            let had = bytes.len();
            match &mut self.in_hand {
                InHand::Nothing => {
                    self.in_hand = match self.order(block_of(self.at)).await {
                        Order::Fill(flight) => InHand::Fill(FlightWriter::new(flight)),
                        Order::Skip => {
                            let next = (u64::from(block_of(self.at)) + 1) * u64::from(BLOCK);
                            InHand::Skip { to: next.min(self.end) }
                        }
                        Order::Stop => return Err(Ended::Failed(FillError::Abandoned)),
                    };
                }
                InHand::Skip { to } => {
                    let rest = usize::try_from(*to - self.at).unwrap_or(usize::MAX);
                    let _ = bytes.split_to(rest.min(had));
                    self.at += (had - bytes.len()) as u64;
                    if self.at == *to {
                        self.in_hand = InHand::Nothing;
                    }
                }
                InHand::Fill(writer) => {
                    let whole = writer.take(&mut bytes);
                    self.at += (had - bytes.len()) as u64;
                    if whole {
                        let flight = writer.flight().clone();
                        self.in_hand = InHand::Nothing;
                        self.land(&flight).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn order(&self, index: u32) -> Order {
        let (reply, order) = oneshot::channel();
        let message = Message::NextBlock { run: self.run.id, index, reply };
        if self.run.coordinator.send(message).await.is_err() {
            return Order::Stop;
        }
        tokio::select! {
            order = order => order.unwrap_or(Order::Stop),
            // Held back because readers are far behind; and then they left.
            () = self.run.stop.cancelled() => Order::Stop,
        }
    }

    /// A block is whole: to its drive.
    async fn land(&self, flight: &Arc<Flight>) {
        let (run, index) = (self.run.id, flight.index());
        let stored = self.run.shared.store.write(&self.run.object, index, flight.data());
        let _ = self.run.coordinator.send(Message::Landed { run, index, stored }).await;
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
