//! The body of an answer, with its exact length.
//!
//! What a head has promised in `Content-Length` is sent from the origin's bytes, or the connection breaks:
//! a body that ends in an error makes hyper close it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::timeout;

use super::egress::EgressGate;
use crate::counters::Counters;
use crate::fill::{Chunk, FillError, ObjectReader};
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
    Content(Chunk),
    /// A range of an object. Later the place of sendfile: a piece on a drive need not cross user space.
    Range(Box<ObjectReader>),
}

/// What is sent of a body that passes through.
pub(crate) struct Cut {
    /// Bytes to read over first.
    before: u64,
    /// Bytes to send after them; `None`: to the end, wherever that is.
    pub(crate) rest: Option<u64>,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// A body of known length.
pub(crate) struct ContentBody {
    kind: Kind,
    /// Bytes not sent yet; `None`: the origin has not told.
    remaining: Option<u64>,
}

enum Kind {
    Memory(Bytes),
    Chunks(Chunks),
}

/// Who counts the bytes that are sent.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) counters: Arc<Counters>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) egress: Arc<EgressGate>,
}

impl Meter {
    fn content(&self, chunk: &Chunk) {
        let (bytes, fetched) = (chunk.bytes.len() as u64, u64::from(chunk.fetched));
        self.counters.miss_bytes.add(fetched);
        self.counters.hit_bytes.add(bytes.saturating_sub(fetched));
        self.sent(chunk.bytes.len());
    }

    fn passed(&self, bytes: usize) {
        self.counters.pass_bytes.add(bytes as u64);
        self.sent(bytes);
    }

    fn sent(&self, bytes: usize) {
        self.origin.counters.egress.add(bytes as u64);
        self.egress.sent(bytes as u64, Instant::now());
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
        Self { remaining: Some(bytes.len() as u64), kind: Kind::Memory(bytes) }
    }

    /// `segments` one after the other, `length` bytes together.
    pub(crate) fn segments(segments: VecDeque<Segment>, length: u64, meter: Meter) -> Self {
        let chunks = unfold(Some((segments, meter)), |state| async {
            let (mut segments, meter) = state?;
            match next_chunk(&mut segments, &meter).await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some((segments, meter)))),
                Ok(None) => None,
                Err(error) => {
                    let error = BodyError::Fill(error);
                    meter.cut(&error);
                    Some((Err(error), None))
                }
            }
        });
        Self { kind: Kind::Chunks(Box::pin(chunks)), remaining: Some(length) }
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
        let chunks = unfold(Some((taken, body, cut, meter)), move |state| async move {
            let (mut taken, mut body, mut cut, meter) = state?;
            loop {
                cut.apply(&mut taken);
                if !taken.is_empty() {
                    meter.passed(taken.len());
                    return Some((Ok(taken), Some((Bytes::new(), body, cut, meter))));
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
        Self { kind: Kind::Chunks(Box::pin(chunks)), remaining }
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

    /// Leaves of the next `bytes` of the body those that are to be sent.
    fn apply(&mut self, bytes: &mut Bytes) {
        let over = usize::try_from(self.before).unwrap_or(usize::MAX).min(bytes.len());
        self.before -= over as u64;
        let _ = bytes.split_to(over);
        if let Some(rest) = &mut self.rest {
            bytes.truncate(usize::try_from(*rest).unwrap_or(usize::MAX));
            *rest -= bytes.len() as u64;
        }
    }
}

async fn next_chunk(
    segments: &mut VecDeque<Segment>,
    meter: &Meter,
) -> Result<Option<Bytes>, FillError> {
    while let Some(segment) = segments.front_mut() {
        match segment {
            Segment::Text(bytes) => {
                let bytes = std::mem::take(bytes);
                segments.pop_front();
                return Ok(Some(bytes));
            }
            Segment::Content(chunk) => {
                meter.content(chunk);
                let bytes = std::mem::take(&mut chunk.bytes);
                segments.pop_front();
                return Ok(Some(bytes));
            }
            Segment::Range(reader) => match reader.next().await? {
                Some(chunk) => {
                    meter.content(&chunk);
                    return Ok(Some(chunk.bytes));
                }
                None => drop(segments.pop_front()),
            },
        }
    }
    Ok(None)
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
            Kind::Chunks(chunks) => std::task::ready!(chunks.as_mut().poll_next(context)),
        };
        if let (Some(Ok(bytes)), Some(remaining)) = (&chunk, &mut self.remaining) {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Memory(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
