//! What an origin's answer to a fill request is: bytes that may be stored, or something else.

use http::{HeaderMap, HeaderName, StatusCode, header, response};

use super::freshness::{self, CacheControl};
use crate::conditional::Validators;
use crate::range::ByteRange;
use crate::store::{MAX_LENGTH, ObjectMeta};

/// An origin's answer, read.
#[derive(Debug)]
pub(super) enum Answer {
    /// 206 or 200: the body holds the bytes `from..to` of the object that `meta` describes.
    Content { meta: ObjectMeta, from: u64, to: u64 },
    /// 304: what is stored is still right; freshness and headers as here.
    NotModified(Box<HeaderMap>),
    /// 416: there are no bytes where some were asked for.
    NoSuchBytes,
    /// A good answer that must not, or cannot, be stored. To be asked for anew by the client's own request.
    Unstorable,
    /// Any other status: the origin's own word to the client.
    Other,
    /// It contradicts itself or the request.
    Nonsense(&'static str),
}

/// Header fields that belong to one connection or one response, never to the stored object.
const NOT_STORED: &[&str] = &[
    "accept-ranges",
    "age",
    "alt-svc",
    "cache-status",
    "connection",
    "content-length",
    "content-range",
    "etag",
    "keep-alive",
    "last-modified",
    "proxy-authenticate",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Whether `name` is the origin's word about the content, to be passed on as it is.
pub(crate) fn passed_on(name: &HeaderName, headers: &HeaderMap) -> bool {
    let named_by_connection = || {
        headers.get_all(header::CONNECTION).iter().any(|line| {
            let mut names = line.as_bytes().split(|b| *b == b',');
            names.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
        })
    };
    !NOT_STORED.contains(&name.as_str()) && !named_by_connection()
}

/// Reads the head of the answer to a request for the bytes `asked` (`None`: no `Range` was sent).
pub(super) fn read(
    head: &response::Parts,
    asked: Option<ByteRange>,
    immutable: bool,
    now: u64,
) -> Answer {
    let headers = &head.headers;
    match head.status {
        StatusCode::PARTIAL_CONTENT | StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Answer::NotModified(Box::new(headers.clone())),
        StatusCode::RANGE_NOT_SATISFIABLE if asked.is_some() => return Answer::NoSuchBytes,
        status if status.is_success() => return Answer::Unstorable,
        _ => return Answer::Other,
    }
    let body_length = match content_length(headers) {
        Ok(length) => length,
        Err(nonsense) => return Answer::Nonsense(nonsense),
    };
    let (from, to, length) = if head.status == StatusCode::OK {
        // Without a length the object cannot be cut into blocks.
        let Some(length) = body_length else { return Answer::Unstorable };
        (0, length, length)
    } else {
        let Some(asked) = asked else {
            return Answer::Nonsense("206, but no range was asked for");
        };
        let (range, total) = match content_range(headers) {
            ContentRange::Known(range, total) => (range, total),
            ContentRange::UnknownTotal => return Answer::Unstorable,
            ContentRange::Broken => return Answer::Nonsense("206 without a valid Content-Range"),
        };
        if range.start() != asked.start() || range.end() > asked.end() {
            return Answer::Nonsense("206 with another range than was asked for");
        }
        if range.end() != asked.end().min(total) {
            return Answer::Nonsense("206 with less than was asked for");
        }
        if body_length.is_some_and(|length| length != range.len()) {
            return Answer::Nonsense("Content-Length and Content-Range contradict each other");
        }
        (range.start(), range.end(), total)
    };
    let validators = Validators::of(headers);
    if !storable(headers) || validators.is_empty() || length > MAX_LENGTH {
        return Answer::Unstorable;
    }
    Answer::Content { meta: meta(headers, validators, length, immutable, now), from, to }
}

/// What is stored of an object whose newest answer had `headers`.
pub(super) fn meta(
    headers: &HeaderMap,
    validators: Validators,
    length: u64,
    immutable: bool,
    now: u64,
) -> ObjectMeta {
    ObjectMeta {
        length,
        etag: validators.etag,
        last_modified: validators.last_modified,
        headers: headers
            .iter()
            .filter(|(name, _)| passed_on(name, headers))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        stored_at: now.saturating_sub(freshness::age(headers)),
        fresh_until: freshness::fresh_until(headers, immutable, now),
    }
}

fn storable(headers: &HeaderMap) -> bool {
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    // Each request asks for no coding; what varies by anything else would need a key of its own.
    let one_variant = headers.get_all(header::VARY).iter().all(|line| {
        line.as_bytes().split(|b| *b == b',').all(|name| {
            let name = name.trim_ascii();
            name.is_empty()
                || name.eq_ignore_ascii_case(b"accept-encoding")
                || name.eq_ignore_ascii_case(b"origin")
        })
    });
    plain && one_variant && CacheControl::of(headers).storable()
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    length.map(Some).ok_or("Content-Length is no number")
}

enum ContentRange {
    Known(ByteRange, u64),
    UnknownTotal,
    Broken,
}

/// `bytes first-last/total` (RFC 9110 §14.4).
fn content_range(headers: &HeaderMap) -> ContentRange {
    let parse = || {
        let mut lines = headers.get_all(header::CONTENT_RANGE).iter();
        let line = lines.next()?.to_str().ok()?;
        if lines.next().is_some() {
            return None;
        }
        let (unit, rest) = line.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let range = ByteRange::new(first, last.checked_add(1)?)?;
        if total == "*" {
            return Some(ContentRange::UnknownTotal);
        }
        let total: u64 = total.parse().ok()?;
        (range.end() <= total).then_some(ContentRange::Known(range, total))
    };
    parse().unwrap_or(ContentRange::Broken)
}

/// What the fuzz target asks: reads the head of an answer to a request for `asked`, and returns the
/// bytes that its body claims to be, with the length of the object.
#[cfg(fuzzing)]
pub fn claim(
    head: &response::Parts,
    asked: Option<ByteRange>,
    now: u64,
) -> Option<(u64, u64, u64)> {
    match read(head, asked, false, now) {
        Answer::Content { meta, from, to } => Some((from, to, meta.length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Answer {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, HeaderValue::from_static(value));
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        read(&head, ByteRange::new(100, 200), false, 1000)
    }

    #[test]
    fn a_good_part() {
        let headers = [
            ("content-range", "bytes 100-199/5000"),
            ("content-length", "100"),
            ("etag", "\"a\""),
            ("content-type", "image/gif"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("set-cookie", "a=b"),
        ];
        let Answer::Content { meta, from, to } = answer(206, &headers) else { panic!() };
        assert_eq!((meta.length, from, to), (5000, 100, 200));
        let names: Vec<_> = meta.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type"]);
    }

    #[test]
    fn a_whole_and_a_short_last_part() {
        let whole = answer(200, &[("content-length", "50"), ("etag", "\"a\"")]);
        assert!(matches!(whole, Answer::Content { from: 0, to: 50, .. }));
        let tail = answer(206, &[("content-range", "bytes 100-149/150"), ("etag", "\"a\"")]);
        assert!(matches!(tail, Answer::Content { from: 100, to: 150, .. }));
    }

    #[test]
    fn lies_are_found() {
        let etag = ("etag", "\"a\"");
        for headers in [
            vec![etag],
            vec![etag, ("content-range", "bytes 0-99/5000")],
            vec![etag, ("content-range", "bytes 100-299/5000")],
            vec![etag, ("content-range", "bytes 100-149/5000")],
            vec![etag, ("content-range", "bytes 100-199/150")],
            vec![etag, ("content-range", "bytes 100-18446744073709551615/18446744073709551615")],
            vec![etag, ("content-range", "items 100-199/5000")],
            vec![etag, ("content-range", "bytes 100-199/5000"), ("content-length", "99")],
        ] {
            assert!(matches!(answer(206, &headers), Answer::Nonsense(_)), "{headers:?}");
        }
    }

    #[test]
    fn what_must_not_be_stored() {
        let range = ("content-range", "bytes 100-199/5000");
        for headers in [
            vec![range],
            vec![range, ("etag", "W/\"a\"")],
            vec![range, ("etag", "\"a\""), ("cache-control", "no-store")],
            vec![range, ("etag", "\"a\""), ("vary", "Accept-Encoding, Cookie")],
            vec![range, ("etag", "\"a\""), ("content-encoding", "gzip")],
            vec![("content-range", "bytes 100-199/*"), ("etag", "\"a\"")],
        ] {
            assert!(matches!(answer(206, &headers), Answer::Unstorable), "{headers:?}");
        }
        assert!(matches!(answer(200, &[("etag", "\"a\"")]), Answer::Unstorable), "no length");
        assert!(matches!(answer(404, &[]), Answer::Other));
        assert!(matches!(answer(416, &[]), Answer::NoSuchBytes));
        assert!(matches!(answer(204, &[]), Answer::Unstorable));
    }
}
