//! Passing through: the client's own request goes to the origin, and the answer back, unstored.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Server;
use super::answer::{passed_headers, via_lines};
use super::body::{ContentBody, Cut};
use super::head::{self, CacheStatus};
use crate::counters::RequestResult;
use crate::origin::OriginFailure;
use crate::range::{ByteRange, RangeRequest, Selection};
use crate::request::ContentRequest;

/// A body without a length is read up to here in bytes, so that its length can be told.
const LENGTH_SEARCH: usize = 1 << 20;

/// Fields of an origin's answer that are not stored as they are, but passed on.
const PASSED_TOO: [header::HeaderName; 6] = [
    header::ETAG,
    header::LAST_MODIFIED,
    header::CONTENT_RANGE,
    header::CONTENT_LENGTH,
    header::ACCEPT_RANGES,
    header::AGE,
];

impl Server {
    /// Has the origin answer `request`.
    ///
    /// # Errors
    /// [`OriginFailure`]: nothing of an answer has been sent.
    pub(super) async fn pass(
        &self,
        request: &ContentRequest,
        head: &request::Parts,
    ) -> Result<(RequestResult, Response<ContentBody>), OriginFailure> {
        let method = if request.head_only { Method::HEAD } else { Method::GET };
        let fills = self.fills.shared();
        let asked = request_headers(&head.headers);
        let answer = fills.client.fetch(method, &request.target, asked).await?;
        let (mut parts, mut body) = answer.into_parts();
        let mut headers = passed_headers(&parts.headers);
        for name in PASSED_TOO {
            if let Some(value) = parts.headers.remove(&name) {
                headers.insert(name, value);
            }
        }
        let mut status = parts.status;
        let has_body = !request.head_only
            && status != StatusCode::NOT_MODIFIED
            && status != StatusCode::NO_CONTENT;
        let body = if has_body {
            let (taken, length) = self.find_length(request, &mut body).await?;
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            let wants_range = request.range != RangeRequest::Whole
                && !head.headers.contains_key(header::IF_RANGE);
            let cut = if status == StatusCode::OK && wants_range {
                let length = length.ok_or(OriginFailure::Nonsense(
                    "200 without a length, but a range was asked for",
                ))?;
                cut_to_range(&request.range, length, &mut status, &mut headers)
            } else {
                Cut::none(length)
            };
            ContentBody::pass(taken, body, cut, fills.limits.stall, self.meter(request))
        } else {
            ContentBody::empty()
        };
        self.id.sign(&mut headers, CacheStatus::Bypass);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok((RequestResult::Pass, response))
    }

    /// The length of `body`, for which the first bytes may have to be taken from it.
    async fn find_length(
        &self,
        request: &ContentRequest,
        body: &mut Incoming,
    ) -> Result<(Bytes, Option<u64>), OriginFailure> {
        if let Some(length) = body.size_hint().exact() {
            return Ok((Bytes::new(), Some(length)));
        }
        let stall = self.fills.shared().limits.stall;
        let mut taken = BytesMut::new();
        while taken.len() < LENGTH_SEARCH {
            match timeout(stall, body.frame()).await {
                Err(_) => return Err(OriginFailure::Silent(stall)),
                Ok(Some(Err(error))) => return Err(OriginFailure::Broken(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    self.counters.fill_bytes.add(bytes.len() as u64);
                    request.target.origin.counters.fill.add(bytes.len() as u64);
                    taken.extend_from_slice(&bytes);
                }
                Ok(None) => {
                    let length = taken.len() as u64;
                    return Ok((taken.freeze(), Some(length)));
                }
            }
        }
        Ok((taken.freeze(), None))
    }
}

/// The client's own fields, with the range that holds: the last line.
fn request_headers(client: &HeaderMap) -> HeaderMap {
    let mut headers = passed_headers(client);
    for name in [header::HOST, header::EXPECT, header::RANGE] {
        headers.remove(name);
    }
    if let Some(range) = client.get_all(header::RANGE).iter().next_back() {
        headers.insert(header::RANGE, range.clone());
    }
    headers.extend(via_lines(client));
    headers
}

/// Makes a 206 (or a 416) of the 200 with which an origin without ranges has answered a request for one: a client
/// that resumes appends what it gets, whatever the status. Of several ranges it gets the one around them.
fn cut_to_range(
    range: &RangeRequest,
    length: u64,
    status: &mut StatusCode,
    headers: &mut HeaderMap,
) -> Cut {
    let around = match range.select(length) {
        Selection::Whole => return Cut::none(Some(length)),
        Selection::Unsatisfiable => None,
        Selection::One(range) => Some(range),
        Selection::Several(ranges) => ranges
            .first()
            .zip(ranges.last())
            .and_then(|(first, last)| ByteRange::new(first.start(), last.end())),
    };
    let (code, told, cut) = match around {
        Some(range) => {
            let told = head::content_range(range, length);
            (StatusCode::PARTIAL_CONTENT, told, Cut::to(range))
        }
        None => (StatusCode::RANGE_NOT_SATISFIABLE, head::no_range(length), Cut::none(Some(0))),
    };
    *status = code;
    headers.insert(header::CONTENT_RANGE, told);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(cut.rest.unwrap_or(0)));
    cut
}
