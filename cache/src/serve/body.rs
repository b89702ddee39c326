//! The body of an answer, with its exact length.
//!
//! What a head has promised in `Content-Length` is sent from the origin's bytes, or the connection breaks:
//! a body that ends in an error makes hyper close it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::timeout;

use super::egress::{Admission, EgressGate};
use super::outbox::Outbox;
use crate::counters::Counters;
use crate::fill::{Chunk, Content, FillError, ObjectReader};
use crate::origin::{Origin, OriginFailure};
use crate::range::ByteRange;

/// Why a body was cut.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Fill(#[from] FillError),
    #[error("cut while passing through: {0}")]
    Pass(OriginFailure),
}

/// A part of a body.
pub(crate) enum Segment {
    /// Bytes of the node's own: what stands between the parts of a multipart body.
    Text(Bytes),
    /// Content that is in memory already.
    Content(Chunk<Outbox>),
    /// A range of an object.
    Range(Box<ObjectReader<Outbox>>),
}

/// What is sent of a body that passes through.
pub(crate) struct Cut {
    /// Bytes to read over first.
    before: u64,
    /// Bytes to send after them; `None`: to the end, wherever that is.
    pub(crate) rest: Option<u64>,
}

type Contents = Pin<Box<dyn Stream<Item = Result<Content<Outbox>, BodyError>> + Send>>;

/// A body of known length.
pub(crate) struct ContentBody {
    kind: Kind,
    /// Bytes not sent yet; `None`: the origin has not told.
    remaining: Option<u64>,
    /// The right to run, until the end.
    _admission: Option<Admission>,
}

enum Kind {
    Memory(Bytes),
    Contents(Contents),
}

/// Who counts the bytes that are sent.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) counters: Arc<Counters>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) egress: Arc<EgressGate>,
}

impl Meter {
    /// Counts what goes out, and of it `fetched` bytes as fetched for it.
    fn content(&self, bytes: usize, fetched: u32) {
        let (bytes, fetched) = (bytes as u64, u64::from(fetched));
        self.counters.miss_bytes.add(fetched);
        self.counters.hit_bytes.add(bytes.saturating_sub(fetched));
        self.origin.counters.egress.add(bytes);
    }

    fn passed(&self, bytes: usize) {
        self.counters.pass_bytes.add(bytes as u64);
        self.origin.counters.egress.add(bytes as u64);
    }

    fn cut(&self, error: &BodyError) {
        self.counters.broken_responses.add(1);
        tracing::debug!(origin = self.origin.name(), %error, "response cut");
    }
}

impl ContentBody {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self::memory(Bytes::new())
    }

    /// Bytes in memory.
    pub(crate) fn memory(bytes: Bytes) -> Self {
        let remaining = Some(bytes.len() as u64);
        Self { remaining, kind: Kind::Memory(bytes), _admission: None }
    }

    /// `segments` one after the other, `length` bytes together.
    pub(crate) fn segments(segments: VecDeque<Segment>, length: u64, meter: Meter) -> Self {
        let contents = unfold(Some((segments, meter)), |state| async {
            let (mut segments, meter) = state?;
            match next_content(&mut segments, &meter).await {
                Ok(Some(content)) => Some((Ok(content), Some((segments, meter)))),
                Ok(None) => None,
                Err(error) => {
                    let error = BodyError::Fill(error);
                    meter.cut(&error);
                    Some((Err(error), None))
                }
            }
        });
        let kind = Kind::Contents(Box::pin(contents));
        Self { kind, remaining: Some(length), _admission: None }
    }

    /// `content` and nothing else, if it is in memory and may go at once; else it comes back.
    pub(crate) fn short(
        content: Content<Outbox>,
        fetched: u32,
        meter: &Meter,
    ) -> Result<Self, Content<Outbox>> {
        match content {
            Content::Memory(bytes) if !meter.egress.is_limited() => {
                meter.content(bytes.len(), fetched);
                Ok(Self::memory(bytes))
            }
            content => Err(content),
        }
    }

    /// The same body, which gives `admission` back at its end.
    pub(crate) fn admitted(self, admission: Admission) -> Self {
        Self { _admission: Some(admission), ..self }
    }

    /// What `cut` leaves of an origin's body as it comes, the bytes `taken` from it already included. `stall` is how
    /// long it may be silent.
    pub(crate) fn pass(
        taken: Bytes,
        body: Incoming,
        cut: Cut,
        stall: Duration,
        meter: Meter,
    ) -> Self {
        let remaining = cut.rest;
        let contents = unfold(Some((taken, body, cut, meter)), move |state| async move {
            let (mut taken, mut body, mut cut, meter) = state?;
            loop {
                let mut sent = cut.apply(&mut taken);
                if !sent.is_empty() {
                    let turn = meter.egress.turn(sent.len()).await;
                    cut.put_back(&mut taken, sent.split_off(turn));
                    meter.passed(sent.len());
                    return Some((Ok(Content::Memory(sent)), Some((taken, body, cut, meter))));
                }
                if cut.rest == Some(0) {
                    return None;
                }
                let failure = match timeout(stall, body.frame()).await {
                    // hyper ends a body before its `Content-Length` with an error.
                    Ok(None) => return None,
                    Ok(Some(Ok(frame))) => {
                        taken = frame.into_data().unwrap_or_default();
                        meter.counters.fill_bytes.add(taken.len() as u64);
                        meter.origin.counters.fill.add(taken.len() as u64);
                        continue;
                    }
                    Ok(Some(Err(error))) => OriginFailure::Broken(error.to_string()),
                    Err(_) => OriginFailure::Silent(stall),
                };
                meter.origin.failed(&failure);
                let error = BodyError::Pass(failure);
                meter.cut(&error);
                return Some((Err(error), None));
            }
        });
        let kind = Kind::Contents(Box::pin(contents));
        Self { kind, remaining, _admission: None }
    }
}

impl Cut {
    /// Everything: `length` bytes, if that is known.
    pub(crate) fn none(length: Option<u64>) -> Self {
        Self { before: 0, rest: length }
    }

    /// The bytes of `range` only.
    pub(crate) fn to(range: ByteRange) -> Self {
        Self { before: range.start(), rest: Some(range.len()) }
    }

    /// Takes from the next `bytes` of the body, which are used up, those that are to be sent.
    fn apply(&mut self, bytes: &mut Bytes) -> Bytes {
        let mut bytes = std::mem::take(bytes);
        let over = usize::try_from(self.before).unwrap_or(usize::MAX).min(bytes.len());
        self.before -= over as u64;
        let _ = bytes.split_to(over);
        if let Some(rest) = &mut self.rest {
            bytes.truncate(usize::try_from(*rest).unwrap_or(usize::MAX));
            *rest -= bytes.len() as u64;
        }
        bytes
    }

    /// Has `later` be the next of the body, which [`apply`](Self::apply) has given out already.
    fn put_back(&mut self, bytes: &mut Bytes, later: Bytes) {
        if let Some(rest) = &mut self.rest {
            *rest += later.len() as u64;
        }
        *bytes = later;
    }
}

/// The next content, as much of it as the egress limit lets go at once.
async fn next_content(
    segments: &mut VecDeque<Segment>,
    meter: &Meter,
) -> Result<Option<Content<Outbox>>, FillError> {
    while let Some(segment) = segments.front_mut() {
        match segment {
            Segment::Text(bytes) => {
                let bytes = std::mem::take(bytes);
                segments.pop_front();
                return Ok(Some(Content::Memory(bytes)));
            }
            Segment::Content(chunk) if chunk.content.len() == 0 => drop(segments.pop_front()),
            Segment::Content(chunk) => {
                let turn = meter.egress.turn(chunk.content.len()).await;
                let content = chunk.content.split_to(turn);
                let length = content.len();
                let fetched = chunk.fetched.min(u32::try_from(length).unwrap_or(u32::MAX));
                chunk.fetched -= fetched;
                meter.content(length, fetched);
                return Ok(Some(content));
            }
            Segment::Range(reader) => match reader.next().await? {
                Some(chunk) => segments.push_front(Segment::Content(chunk)),
                None => drop(segments.pop_front()),
            },
        }
    }
    Ok(None)
}

/// What hyper is given of `content`. To be called in the order in which hyper gets it, and only for what it gets.
fn take(content: Content<Outbox>) -> Bytes {
    match content {
        Content::Memory(bytes) => bytes,
        Content::Stored(part, outbox) => outbox.promise(part),
    }
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let chunk = match &mut self.kind {
            Kind::Memory(bytes) if bytes.is_empty() => None,
            Kind::Memory(bytes) => Some(Ok(std::mem::take(bytes))),
            Kind::Contents(contents) => {
                let content = std::task::ready!(contents.as_mut().poll_next(context));
                // What hyper gets from here, it sends or breaks the connection.
                content.map(|content| content.map(take))
            }
        };
        if let (Some(Ok(bytes)), Some(remaining)) = (&chunk, &mut self.remaining) {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
