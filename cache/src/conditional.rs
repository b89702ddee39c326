//! Conditional requests (RFC 9110 §13): validators, and what a request's conditions say of an object.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};

/// What tells one version of an object from another (RFC 9110 §8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, as the origin wrote it.
    pub etag: Option<HeaderValue>,
    /// `Last-Modified`, as the origin wrote it.
    pub last_modified: Option<HeaderValue>,
}

impl Validators {
    /// The validators of a response head.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            etag: headers.get(header::ETAG).filter(|tag| is_entity_tag(tag.as_bytes())).cloned(),
            last_modified: headers
                .get(header::LAST_MODIFIED)
                .filter(|date| parse_date(date).is_some())
                .cloned(),
        }
    }

    /// The `ETag`, if it promises the same bytes.
    #[must_use]
    pub fn strong_etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref().filter(|tag| !tag.as_bytes().starts_with(b"W/"))
    }

    /// Whether nothing tells versions apart. Such a response cannot be put together from ranges.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.strong_etag().is_none() && self.last_modified.is_none()
    }

    /// Whether `other` may be of the same version: strong tags decide where both have one, else the
    /// dates must agree. The caller compares lengths too.
    #[must_use]
    pub fn agree(&self, other: &Self) -> bool {
        match (self.strong_etag(), other.strong_etag()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.last_modified.is_some() && self.last_modified == other.last_modified,
        }
    }

    /// What to send in `If-Range`, so that the origin answers with a range of this version only.
    #[must_use]
    pub fn if_range(&self) -> Option<&HeaderValue> {
        self.strong_etag().or(self.last_modified.as_ref())
    }
}

/// What the conditions of a GET or HEAD say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer; `Range` counts.
    Proceed,
    /// Answer as if there were no `Range`: `If-Range` names another version.
    ProceedWhole,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Evaluates the conditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
#[must_use]
pub fn evaluate(headers: &HeaderMap, object: &Validators) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        let strong = object.strong_etag();
        if !any_tag(headers, header::IF_MATCH, |tag| {
            strong.is_some_and(|ours| tag == ours.as_bytes())
        }) {
            return Verdict::PreconditionFailed;
        }
    } else if let Some(date) = one_date(headers, header::IF_UNMODIFIED_SINCE)
        && modified(object).is_some_and(|modified| modified > date)
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        let ours = object.etag.as_ref().map(|tag| opaque(tag.as_bytes()));
        if any_tag(headers, header::IF_NONE_MATCH, |tag| Some(opaque(tag)) == ours) {
            return Verdict::NotModified;
        }
    } else if let Some(date) = one_date(headers, header::IF_MODIFIED_SINCE)
        && modified(object).is_some_and(|modified| modified <= date)
    {
        return Verdict::NotModified;
    }
    match headers.get(header::IF_RANGE) {
        Some(condition) if !if_range_holds(condition, object) => Verdict::ProceedWhole,
        _ => Verdict::Proceed,
    }
}

/// Strong comparison only (RFC 9110 §13.1.5); a date must be the very `Last-Modified`.
fn if_range_holds(condition: &HeaderValue, object: &Validators) -> bool {
    match parse_date(condition) {
        Some(date) => modified(object) == Some(date),
        None => object.strong_etag() == Some(condition),
    }
}

fn modified(object: &Validators) -> Option<SystemTime> {
    object.last_modified.as_ref().and_then(parse_date)
}

/// A date, if the field stands there once and is one; else the condition is ignored (RFC 9110 §13.1.3).
fn one_date(headers: &HeaderMap, name: header::HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    if lines.next().is_some() { None } else { parse_date(line) }
}

pub(crate) fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// Whether `*` or a tag that `matches` stands in the list. A list that breaks the grammar ends where it does.
fn any_tag(headers: &HeaderMap, name: header::HeaderName, matches: impl Fn(&[u8]) -> bool) -> bool {
    headers.get_all(name).iter().any(|line| {
        let mut rest = line.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        loop {
            while let [b',' | b' ' | b'\t', tail @ ..] = rest {
                rest = tail;
            }
            let Some((tag, tail)) = split_tag(rest) else {
                return false;
            };
            if matches(tag) {
                return true;
            }
            rest = tail;
        }
    })
}

/// The entity tag at the start of `bytes`, and what follows it.
fn split_tag(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let quote = if bytes.starts_with(b"W/\"") { 2 } else { 0 };
    let inside = bytes.get(quote..)?.strip_prefix(b"\"")?;
    let length = inside.iter().position(|b| *b == b'"')?;
    bytes.split_at_checked(quote + length + 2)
}

fn is_entity_tag(bytes: &[u8]) -> bool {
    split_tag(bytes).is_some_and(|(_, rest)| rest.is_empty())
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn object(etag: &'static str) -> Validators {
        Validators {
            etag: Some(HeaderValue::from_static(etag)),
            last_modified: Some(HeaderValue::from_static(DATE)),
        }
    }

    fn verdict(conditions: &[(&'static str, &'static str)], etag: &'static str) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in conditions {
            headers.append(*name, HeaderValue::from_static(value));
        }
        evaluate(&headers, &object(etag))
    }

    #[test]
    fn conditions() {
        use Verdict::{NotModified, PreconditionFailed, Proceed, ProceedWhole};
        for (conditions, etag, expected) in [
            (vec![], "\"a\"", Proceed),
            (vec![("if-none-match", "\"a\"")], "\"a\"", NotModified),
            (vec![("if-none-match", "W/\"a\"")], "\"a\"", NotModified),
            (vec![("if-none-match", "\"x,y\", \"a\"")], "\"a\"", NotModified),
            (vec![("if-none-match", "*")], "\"a\"", NotModified),
            (vec![("if-none-match", "\"b\"")], "\"a\"", Proceed),
            // If-None-Match switches If-Modified-Since off.
            (vec![("if-none-match", "\"b\""), ("if-modified-since", DATE)], "\"a\"", Proceed),
            (vec![("if-modified-since", DATE)], "\"a\"", NotModified),
            (vec![("if-modified-since", LATER)], "\"a\"", NotModified),
            (vec![("if-modified-since", EARLIER)], "\"a\"", Proceed),
            (vec![("if-modified-since", "yesterday")], "\"a\"", Proceed),
            (vec![("if-match", "\"a\"")], "\"a\"", Proceed),
            (vec![("if-match", "\"b\"")], "\"a\"", PreconditionFailed),
            (vec![("if-match", "W/\"a\"")], "W/\"a\"", PreconditionFailed),
            (vec![("if-unmodified-since", EARLIER)], "\"a\"", PreconditionFailed),
            (vec![("if-unmodified-since", DATE)], "\"a\"", Proceed),
            (vec![("if-range", "\"a\"")], "\"a\"", Proceed),
            (vec![("if-range", "\"b\"")], "\"a\"", ProceedWhole),
            (vec![("if-range", "W/\"a\"")], "W/\"a\"", ProceedWhole),
            (vec![("if-range", DATE)], "\"a\"", Proceed),
            (vec![("if-range", LATER)], "\"a\"", ProceedWhole),
            (vec![("if-range", "nonsense")], "\"a\"", ProceedWhole),
        ] {
            assert_eq!(verdict(&conditions, etag), expected, "{conditions:?}");
        }
    }

    #[test]
    fn versions_agree_by_strong_tag_or_else_by_date() {
        assert!(object("\"a\"").agree(&object("\"a\"")));
        assert!(!object("\"a\"").agree(&object("\"b\"")), "same date, other bytes");
        assert!(object("W/\"a\"").agree(&object("W/\"b\"")), "weak tags say nothing, dates agree");
        let dateless =
            Validators { etag: Some(HeaderValue::from_static("W/\"a\"")), last_modified: None };
        assert!(!dateless.agree(&dateless), "nothing strong to go by");
    }

    #[test]
    fn broken_validators_are_not_taken() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, HeaderValue::from_static("abc"));
        headers.insert(header::LAST_MODIFIED, HeaderValue::from_static("0"));
        assert!(Validators::of(&headers).is_empty());
    }

    proptest! {
        #[test]
        fn any_condition_is_handled(value in proptest::collection::vec(any::<u8>(), 0..40), which in 0usize..5) {
            let names = ["if-match", "if-none-match", "if-range", "if-modified-since", "if-unmodified-since"];
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(names[which], value);
                let _ = evaluate(&headers, &object("\"a\""));
            }
        }
    }
}
