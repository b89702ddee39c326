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
use crate::fill::{FillError, ObjectReader, Source};
use crate::origin::{Origin, OriginFailure};

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
    Content(Bytes, Source),
    /// A range of an object. Later the place of sendfile: a piece on a drive need not cross user space.
    Range(Box<ObjectReader>),
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
    fn content(&self, bytes: usize, source: Source) {
        match source {
            Source::Drive => self.counters.hit_bytes.add(bytes as u64),
            Source::Fill | Source::Collapsed => self.counters.miss_bytes.add(bytes as u64),
        }
        self.sent(bytes);
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

    /// An origin's body as it comes, after the bytes `taken` from it already. `stall` is how long it may be silent.
    pub(crate) fn pass(taken: Bytes, body: Incoming, stall: Duration, meter: Meter) -> Self {
        let remaining = body.size_hint().exact().map(|rest| rest + taken.len() as u64);
        let chunks = unfold(Some((taken, body, meter)), move |state| async move {
            let (mut taken, mut body, meter) = state?;
            loop {
                if !taken.is_empty() {
                    meter.passed(taken.len());
                    return Some((Ok(taken), Some((Bytes::new(), body, meter))));
                }
                let failure = match timeout(stall, body.frame()).await {
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
            Segment::Content(bytes, source) => {
                meter.content(bytes.len(), *source);
                let bytes = std::mem::take(bytes);
                segments.pop_front();
                return Ok(Some(bytes));
            }
            Segment::Range(reader) => match reader.next().await? {
                Some((bytes, source)) => {
                    meter.content(bytes.len(), source);
                    return Ok(Some(bytes));
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
