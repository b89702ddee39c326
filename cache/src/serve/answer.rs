//! From a request to its answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Server;
use super::body::{ContentBody, Meter, Segment};
use super::head::{self, CacheStatus};
use super::multipart::Multipart;
use super::outbox::Outbox;
use crate::conditional::{self, Validators, Verdict};
use crate::counters::RequestResult;
use crate::fill::{self, FillError, How, ObjectReader, Opened, OriginReply, Source, Ticket};
use crate::origin::OriginFailure;
use crate::range::{ByteRange, Selection, block_of};
use crate::request::{self as content, ContentRequest};
use crate::store::Object;
use crate::time::unix_now;

/// So often an answer begins anew because the object has changed at the origin before its first byte.
const CHANGES: u32 = 2;

/// An object to answer from, and how it became known; `None`: it was known and fresh.
struct Found {
    object: Arc<Object>,
    how: Option<How>,
    ticket: Ticket,
}

impl Server {
    /// Answers one request. What is on drives is promised in the connection's `outbox`; where there is none, under TLS,
    /// all of the answer is in memory.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        outbox: Option<Outbox>,
    ) -> Response<ContentBody> {
        let start = Instant::now();
        // A request has no body that means anything here; hyper reads over it.
        let (head, _) = request.into_parts();
        let (result, response) = self.decide(&head, outbox).await;
        self.counters.request(result);
        match result {
            RequestResult::Hit => self.counters.first_byte_hit.observe(start.elapsed()),
            RequestResult::Miss | RequestResult::Collapsed | RequestResult::Pass => {
                self.counters.first_byte_miss.observe(start.elapsed());
            }
            _ => {}
        }
        response
    }

    async fn decide(
        &self,
        head: &request::Parts,
        outbox: Option<Outbox>,
    ) -> (RequestResult, Response<ContentBody>) {
        if self.is_draining() {
            let mut response = head::unavailable("this node is being drained");
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            return (RequestResult::Unavailable, response);
        }
        let parsed =
            content::parse(&head.method, &head.uri, &head.headers, &self.origins, self.id.name());
        let request = match parsed {
            Ok(request) => request,
            Err(refusal) => {
                let mut response = head::text(refusal.status(), &refusal.to_string());
                if refusal.status() == StatusCode::BAD_REQUEST {
                    // Whatever follows on this connection is not to be trusted.
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                return (RequestResult::Refused, response);
            }
        };
        let Some(admission) = self.egress.admit() else {
            let response = head::unavailable("this node is at its egress limit");
            return (RequestResult::Unavailable, response);
        };
        let patience = self.fills.shared().limits.patience;
        let answer = timeout(patience, self.fulfil(&request, head, outbox)).await;
        let answer = answer.map(|answer| {
            answer.map(|(result, response)| (result, response.map(|body| body.admitted(admission))))
        });
        answer.unwrap_or(Err(FillError::Late(patience))).unwrap_or_else(|error| {
            let response = head::text(error.status(), &error.to_string());
            (RequestResult::OriginError, response)
        })
    }

    /// The answer to a request that may be served.
    async fn fulfil(
        &self,
        request: &ContentRequest,
        head: &request::Parts,
        outbox: Option<Outbox>,
    ) -> Result<(RequestResult, Response<ContentBody>), FillError> {
        let mut tries = 0..CHANGES;
        loop {
            let answer = match self.find(request, &head.headers).await? {
                Opening::Found(found) => {
                    self.answer_from(request, &head.headers, found, outbox.clone()).await
                }
                Opening::Reply(reply) => Ok((RequestResult::Pass, self.reply(request, &reply))),
                Opening::PassThrough => self.pass(request, head).await.map_err(FillError::Origin),
            };
            match answer {
                // Nothing of the old version has gone out yet: the answer can be all of the new one.
                Err(FillError::Origin(OriginFailure::Changed)) if tries.next().is_some() => {}
                answer => return answer,
            }
        }
    }

    pub(super) fn meter(&self, request: &ContentRequest) -> Meter {
        Meter {
            counters: self.counters.clone(),
            origin: request.target.origin.clone(),
            egress: self.egress.clone(),
        }
    }

    /// Looks the object up, and asks the origin when it is not known or not fresh.
    async fn find(
        &self,
        request: &ContentRequest,
        headers: &HeaderMap,
    ) -> Result<Opening, FillError> {
        let origin = &request.target.origin;
        if origin.never_stored(request.target.path_and_query.path())
            || headers.contains_key(header::AUTHORIZATION)
        {
            return Ok(Opening::PassThrough);
        }
        let (first, last) = (request.range.first_byte(), request.range.last_byte());
        let carried = carried(headers);
        let last_block = last.map_or(u32::MAX, block_of);
        let ticket = Ticket::new(request.target.clone(), carried, block_of(first), last_block);
        let known = self.store.object(&request.key);
        if let Some(object) = &known
            && object.is_fresh(unix_now())
        {
            return Ok(Opening::Found(Found { object: object.clone(), how: None, ticket }));
        }
        if request.head_only {
            // The origin's own head, without having it send content.
            return Ok(Opening::PassThrough);
        }
        let opened = self.fills.open(&request.key, &ticket, first, last, known.as_ref()).await?;
        Ok(match opened {
            Opened::Object { object, how } => {
                Opening::Found(Found { object, how: Some(how), ticket })
            }
            Opened::PassThrough => Opening::PassThrough,
            Opened::Reply(reply) => Opening::Reply(reply),
        })
    }

    async fn answer_from(
        &self,
        request: &ContentRequest,
        headers: &HeaderMap,
        found: Found,
        outbox: Option<Outbox>,
    ) -> Result<(RequestResult, Response<ContentBody>), FillError> {
        let meta = found.object.meta();
        let length = found.object.length();
        let validators =
            Validators { etag: meta.etag.clone(), last_modified: meta.last_modified.clone() };
        let (status, selection) = match conditional::evaluate(headers, &validators) {
            Verdict::NotModified => (StatusCode::NOT_MODIFIED, None),
            Verdict::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, None),
            // Range has a meaning for GET only (RFC 9110 §14.2).
            Verdict::ProceedWhole => (StatusCode::OK, Some(Selection::Whole)),
            Verdict::Proceed if request.head_only => (StatusCode::OK, Some(Selection::Whole)),
            Verdict::Proceed => match request.range.select(length) {
                Selection::Whole => (StatusCode::OK, Some(Selection::Whole)),
                Selection::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, None),
                some => (StatusCode::PARTIAL_CONTENT, Some(some)),
            },
        };
        let mut out = head::object_headers(meta, status);
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            out.insert(header::CONTENT_RANGE, head::no_range(length));
            out.remove(header::CONTENT_TYPE);
        }
        let how = found.how;
        // Asked before the body is begun, which has missing blocks fetched.
        let on_drives = selection.as_ref().is_none_or(|selection| {
            let blocks = selection.ranges(length).into_iter().flat_map(ByteRange::blocks);
            request.head_only || blocks.into_iter().all(|i| self.store.has_block(&found.object, i))
        });
        let (source, body) = match selection {
            Some(selection) if !request.head_only => {
                let meter = self.meter(request);
                self.body(found, &selection, &mut out, meter, outbox).await?
            }
            Some(_) => {
                out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                (Source::Drive, ContentBody::empty())
            }
            None => {
                if status != StatusCode::NOT_MODIFIED {
                    out.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
                }
                (Source::Drive, ContentBody::empty())
            }
        };
        let stored = self.store.has_drive();
        let cache_status = match (how, source) {
            (Some(How::Fetched), _) | (None, Source::Fill) => CacheStatus::Miss { stored },
            (Some(How::Revalidated), _) => CacheStatus::Revalidated,
            (Some(How::Stale), _) => CacheStatus::Stale,
            (Some(How::Collapsed), _) | (None, Source::Collapsed) => CacheStatus::Collapsed,
            (None, Source::Drive) if on_drives => CacheStatus::Hit,
            (None, Source::Drive) => CacheStatus::Partial { stored },
        };
        let result = match source {
            Source::Drive if how != Some(How::Fetched) => RequestResult::Hit,
            _ if cache_status == CacheStatus::Collapsed => RequestResult::Collapsed,
            _ => RequestResult::Miss,
        };
        self.id.sign(&mut out, cache_status);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = out;
        Ok((result, response))
    }

    /// The body for `selection`, its first bytes in hand: what fails before them is still told by a status.
    async fn body(
        &self,
        found: Found,
        selection: &Selection,
        out: &mut HeaderMap,
        meter: Meter,
        outbox: Option<Outbox>,
    ) -> Result<(Source, ContentBody), FillError> {
        let Found { object, ticket, .. } = found;
        let length = object.length();
        let multipart = match selection {
            Selection::Several(ranges) => {
                let kind = out.get(header::CONTENT_TYPE);
                Some(Multipart::new(ranges, length, kind, rand::random()))
            }
            _ => None,
        };
        let whole = ByteRange::new(0, length);
        let (first_range, sent) = match (&multipart, selection) {
            (Some(multipart), _) => {
                out.insert(header::CONTENT_TYPE, multipart.content_type.clone());
                (multipart.parts.first().map(|(_, range)| *range), multipart.length())
            }
            (None, Selection::One(range)) => {
                out.insert(header::CONTENT_RANGE, head::content_range(*range, length));
                (Some(*range), range.len())
            }
            _ => (whole, length),
        };
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(sent));
        let Some(first_range) = first_range else {
            return Ok((Source::Drive, ContentBody::empty()));
        };
        let target = multipart.is_some().then(|| ticket.target().clone());
        let read = |ticket, range| {
            let (fills, object) = (self.fills.clone(), object.clone());
            ObjectReader::new(fills, object, ticket, range, outbox.clone())
        };
        let mut reader = read(ticket, first_range);
        let mut chunk = reader.next().await?.ok_or(FillError::Unreadable)?;
        let source = chunk.source;
        if chunk.content.len() as u64 == sent {
            match ContentBody::short(chunk.content, chunk.fetched, &meter) {
                Ok(body) => return Ok((source, body)),
                Err(content) => chunk.content = content,
            }
        }
        let mut segments = VecDeque::new();
        segments.push_back(Segment::Content(chunk));
        segments.push_back(Segment::Range(Box::new(reader)));
        if let (Some(multipart), Some(target)) = (multipart, target) {
            let mut parts = multipart.parts.into_iter();
            if let Some((text, _)) = parts.next() {
                segments.push_front(Segment::Text(text));
            }
            for (text, range) in parts {
                let (next, last) = (block_of(range.start()), block_of(range.last()));
                let ticket = Ticket::new(target.clone(), HeaderMap::new(), next, last);
                segments.push_back(Segment::Text(text));
                segments.push_back(Segment::Range(Box::new(read(ticket, range))));
            }
            segments.push_back(Segment::Text(multipart.end));
        }
        Ok((source, ContentBody::segments(segments, sent, meter)))
    }

    /// An origin's refusal, told to one of those who waited for it.
    fn reply(&self, request: &ContentRequest, reply: &OriginReply) -> Response<ContentBody> {
        let mut headers = passed_headers(&reply.headers);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
        self.id.sign(&mut headers, CacheStatus::Bypass);
        let body = if request.head_only { Bytes::new() } else { reply.body.clone() };
        let mut response = Response::new(ContentBody::memory(body));
        *response.status_mut() = reply.status;
        *response.headers_mut() = headers;
        response
    }
}

/// What is known of the object asked for.
enum Opening {
    Found(Found),
    PassThrough,
    Reply(Arc<OriginReply>),
}

/// What a fill in this client's name carries of its request.
fn carried(headers: &HeaderMap) -> HeaderMap {
    let mut carried = via_lines(headers);
    if let Some(agent) = headers.get(header::USER_AGENT) {
        carried.insert(header::USER_AGENT, agent.clone());
    }
    carried
}

pub(super) fn via_lines(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(header::VIA).iter().map(|line| (header::VIA, line.clone())).collect()
}

/// The end-to-end fields that are passed on as they are.
pub(super) fn passed_headers(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| fill::passed_on(name, headers))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
