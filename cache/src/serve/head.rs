//! The heads of answers: what the origin said, what the node adds.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::body::ContentBody;
use crate::range::ByteRange;
use crate::store::ObjectMeta;
use crate::time::unix_now;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How long a client should wait after a 503, in seconds. Short: it goes to the CDN meanwhile.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("60");

/// How the cache took part in an answer (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// From a drive.
    Hit,
    /// From a drive although stale, because the origin is down.
    Stale,
    /// From a drive after the origin has confirmed it.
    Revalidated,
    /// The beginning from a drive; some of the rest has to be fetched, and a drive may keep it.
    Partial { stored: bool },
    /// Fetched for this request, and a drive may keep it.
    Miss { stored: bool },
    /// From a fetch that another request had started.
    Collapsed,
    /// Passed through.
    Bypass,
}

/// The node's name in `Via` and `Cache-Status`.
#[derive(Debug, Clone)]
pub(crate) struct NodeId {
    name: String,
    via: HeaderValue,
    /// `Cache-Status` of a hit, which most answers are.
    hit: HeaderValue,
}

impl NodeId {
    /// `mcc-` and the node's name. The prefix makes it a token that begins with a letter.
    pub(crate) fn new(node: &mcc_config::NodeName) -> Self {
        let name = format!("mcc-{node}");
        let via = HeaderValue::from_str(&format!("1.1 {name}"));
        // Letters, digits and '-' can always be sent.
        let hit = ascii(&format!("{name}; hit"));
        Self { via: via.unwrap_or(HeaderValue::from_static("1.1 mcc")), hit, name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn via(&self) -> &HeaderValue {
        &self.via
    }

    /// Adds what every answer with an origin's content carries.
    pub(crate) fn sign(&self, headers: &mut HeaderMap, status: CacheStatus) {
        headers.append(header::VIA, self.via.clone());
        let name = &self.name;
        let kept = |stored: bool| if stored { "; stored" } else { "" };
        let text = match status {
            CacheStatus::Hit => {
                headers.append(CACHE_STATUS, self.hit.clone());
                return;
            }
            CacheStatus::Stale => format!("{name}; hit; detail=stale"),
            CacheStatus::Revalidated => format!("{name}; fwd=stale; fwd-status=304"),
            CacheStatus::Partial { stored } => format!("{name}; fwd=partial{}", kept(stored)),
            CacheStatus::Miss { stored } => format!("{name}; fwd=miss{}", kept(stored)),
            CacheStatus::Collapsed => format!("{name}; fwd=miss; collapsed"),
            CacheStatus::Bypass => format!("{name}; fwd=bypass"),
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

/// The fields of a stored object, in an answer of `status`.
pub(crate) fn object_headers(meta: ObjectMeta, status: StatusCode) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(meta.headers.len() + 9);
    for (name, value) in meta.headers {
        // Describes bytes that are not sent here (RFC 9110 §15.4.5).
        if status == StatusCode::NOT_MODIFIED && name == header::CONTENT_TYPE {
            continue;
        }
        headers.append(name, value);
    }
    let validators = [(header::ETAG, meta.etag), (header::LAST_MODIFIED, meta.last_modified)];
    for (name, value) in validators {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let age = unix_now().saturating_sub(meta.stored_at);
    headers.insert(header::AGE, HeaderValue::from(age));
    headers
}

/// `bytes first-last/total`.
pub(crate) fn content_range(range: ByteRange, total: u64) -> HeaderValue {
    ascii(&format!("bytes {}-{}/{total}", range.start(), range.last()))
}

/// `bytes */total`, for 416.
pub(crate) fn no_range(total: u64) -> HeaderValue {
    ascii(&format!("bytes */{total}"))
}

pub(crate) fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// An answer in the node's own words.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<ContentBody> {
    let body = ContentBody::memory(format!("{text}\n").into());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// A fast 503. The client goes to the CDN at once and does not ban the node.
pub(crate) fn unavailable(why: &str) -> Response<ContentBody> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}
