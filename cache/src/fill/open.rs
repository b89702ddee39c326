//! The first question about an object: what is it, and may it be stored?
//!
//! It asks for the first wanted blocks at once, so that one round trip brings length, validators and bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{self, Answer};
use super::ticket::Interest;
use super::window::FIRST_WINDOW;
use super::{FillError, Opened, OriginReply, Shared};
use crate::conditional::Validators;
use crate::origin::OriginFailure;
use crate::range::{ByteRange, block_of};
use crate::store::{BLOCK, Object, ObjectMeta};
use crate::time::unix_now;

/// The longest body of a refusal that is handed to everyone who waits.
const MAX_REPLY: usize = 64 << 10;

/// Somebody wants to know what the object is.
pub(super) struct Request {
    pub(super) interest: Arc<Interest>,
    pub(super) first: u64,
    pub(super) last: Option<u64>,
    pub(super) stale: Option<Arc<Object>>,
    pub(super) reply: oneshot::Sender<Result<Opened, FillError>>,
}

/// A question, as it goes to the origin.
pub(super) struct Question {
    pub(super) interest: Arc<Interest>,
    pub(super) asked: ByteRange,
    pub(super) stale: Option<Arc<Object>>,
}

/// What the origin said.
pub(super) enum Outcome {
    /// Content that may be stored; the body holds `from..to`.
    Content {
        meta: ObjectMeta,
        from: u64,
        to: u64,
        body: Incoming,
    },
    /// The stale object is right; this is what is known of it now.
    Confirmed(ObjectMeta),
    NoSuchBytes,
    Unstorable,
    Reply(OriginReply),
    Failed(OriginFailure),
}

impl Question {
    /// The blocks that `request` surely wants, but no more than the first window.
    pub(super) fn of(request: &Request) -> Self {
        let first = block_of(request.first);
        let last = request.last.map_or(u32::MAX, block_of);
        let end = first.saturating_add(FIRST_WINDOW).min(last.saturating_add(1)).max(first + 1);
        Self::about(request, first, end)
    }

    /// Asks for the first block: there are no bytes where `request` wanted some.
    pub(super) fn at_start(request: &Request) -> Self {
        Self::about(request, 0, 1)
    }

    fn about(request: &Request, first: u32, end: u32) -> Self {
        let offset = |block: u32| u64::from(block) * u64::from(BLOCK);
        let whole_block = ByteRange::new(0, u64::from(BLOCK));
        Self {
            interest: request.interest.clone(),
            #[expect(clippy::unwrap_used, reason = "a block has bytes")]
            asked: ByteRange::new(offset(first), offset(end)).or(whole_block).unwrap(),
            stale: request.stale.clone(),
        }
    }

    /// Asks the origin; once more if the connection broke before an answer came.
    pub(super) async fn ask(&self, shared: &Shared) -> Outcome {
        let mut headers = fill_headers(&self.interest, self.asked);
        if let Some(stale) = &self.stale {
            let meta = stale.meta();
            for (name, value) in [
                (header::IF_NONE_MATCH, &meta.etag),
                (header::IF_MODIFIED_SINCE, &meta.last_modified),
            ] {
                if let Some(value) = value {
                    headers.insert(name, value.clone());
                }
            }
        }
        let target = self.interest.target();
        shared.counters.fill_requests.add(1);
        let mut answer = shared.client.fetch(Method::GET, target, headers.clone()).await;
        if matches!(answer, Err(OriginFailure::Broken(_))) {
            shared.counters.fill_retries.add(1);
            shared.counters.fill_requests.add(1);
            answer = shared.client.fetch(Method::GET, target, headers).await;
        }
        let (head, body) = match answer {
            Ok(response) => response.into_parts(),
            Err(failure) => return Outcome::Failed(failure),
        };
        let immutable = target.origin.immutable();
        match answer::read(&head, Some(self.asked), immutable, unix_now()) {
            Answer::Content { meta, from, to } => Outcome::Content { meta, from, to, body },
            Answer::NotModified(headers) => match &self.stale {
                Some(stale) => confirmed(stale, &headers, immutable),
                None => Outcome::Failed(OriginFailure::Nonsense("304, but nothing was compared")),
            },
            Answer::NoSuchBytes => Outcome::NoSuchBytes,
            Answer::Unstorable => Outcome::Unstorable,
            Answer::Other => read_reply(head.status, head.headers, body, shared).await,
            Answer::Nonsense(what) => {
                let failure = OriginFailure::Nonsense(what);
                target.origin.failed(&failure);
                Outcome::Failed(failure)
            }
        }
    }
}

/// What every fill request carries.
pub(super) fn fill_headers(interest: &Interest, range: ByteRange) -> HeaderMap {
    let mut headers = interest.carried().clone();
    let bytes = format!("bytes={}-{}", range.start(), range.last());
    if let Ok(bytes) = HeaderValue::from_str(&bytes) {
        headers.insert(header::RANGE, bytes);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers
}

/// The stale object's headers with those of the 304 put over them (RFC 9111 §3.2).
fn confirmed(stale: &Object, newer: &HeaderMap, immutable: bool) -> Outcome {
    let old = stale.meta();
    let pinned = Validators { etag: old.etag.clone(), last_modified: old.last_modified.clone() };
    let said = Validators::of(newer);
    if said.etag.is_some() && said.etag != pinned.etag {
        return Outcome::Failed(OriginFailure::Nonsense("304 with the ETag of another version"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in old.headers.iter().filter(|(name, _)| !newer.contains_key(name)) {
        headers.append(name.clone(), value.clone());
    }
    for (name, value) in newer {
        headers.append(name.clone(), value.clone());
    }
    if let Some(date) = &pinned.last_modified {
        // Counts where the freshness is guessed from it.
        headers.insert(header::LAST_MODIFIED, date.clone());
    }
    Outcome::Confirmed(answer::meta(&headers, pinned, stale.length(), immutable, unix_now()))
}

/// Takes a refusal in whole, so that it can be told to several; a long one is not worth it.
async fn read_reply(
    status: StatusCode,
    headers: HeaderMap,
    mut body: Incoming,
    shared: &Shared,
) -> Outcome {
    let mut taken = BytesMut::new();
    loop {
        match timeout(shared.limits.stall, body.frame()).await {
            Err(_) => return Outcome::Failed(OriginFailure::Silent(shared.limits.stall)),
            Ok(None) => {
                return Outcome::Reply(OriginReply { status, headers, body: taken.freeze() });
            }
            Ok(Some(Err(error))) => {
                return Outcome::Failed(OriginFailure::Broken(error.to_string()));
            }
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_else(|_| Bytes::new());
                shared.counters.fill_bytes.add(data.len() as u64);
                taken.extend_from_slice(&data);
                if taken.len() > MAX_REPLY {
                    return Outcome::Unstorable;
                }
            }
        }
    }
}
