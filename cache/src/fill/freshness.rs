//! Whether a response may be stored, and for how long it is fresh (RFC 9111 §3, §4.2), for a shared cache.

use http::{HeaderMap, header};

use crate::conditional::parse_date;
use crate::time::unix;

/// How long content of immutable origins needs no question, in seconds.
const IMMUTABLE: u64 = 30 * 86_400;
/// Bounds of the guess that is made when the origin says nothing (RFC 9111 §4.2.2), in seconds. The lower one
/// keeps a file that was just published from being asked for again by each client of a rush.
const HEURISTIC_MIN: u64 = 60;
const HEURISTIC_MAX: u64 = 86_400;

/// The `Cache-Control` directives that count here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheControl {
    no_store: bool,
    no_cache: bool,
    must_revalidate: bool,
    max_age: Option<u64>,
    s_maxage: Option<u64>,
}

impl CacheControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::CACHE_CONTROL).iter();
        Self::parse(lines.filter_map(|line| line.to_str().ok()))
    }

    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut control = Self::default();
        for directive in lines.flat_map(|line| line.split(',')) {
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
                None => (directive.trim(), ""),
            };
            // What cannot be read as a number counts as stale at once (RFC 9111 §4.2.1).
            let seconds = || Some(value.parse().unwrap_or(0));
            match name.to_ascii_lowercase().as_str() {
                "no-store" | "private" => control.no_store = true,
                "no-cache" => control.no_cache = true,
                "must-revalidate" | "proxy-revalidate" => control.must_revalidate = true,
                "max-age" => control.max_age = seconds(),
                "s-maxage" => control.s_maxage = seconds(),
                _ => {}
            }
        }
        control
    }

    /// Whether the response may be stored at all.
    pub(crate) fn storable(self) -> bool {
        !self.no_store
    }

    /// Whether it may be served when it is stale and the origin is down (RFC 9111 §4.2.4).
    pub(crate) fn stale_allowed(self) -> bool {
        // s-maxage implies proxy-revalidate (RFC 9111 §5.2.2.10).
        !self.no_cache && !self.must_revalidate && self.s_maxage.is_none()
    }
}

/// The origin's own count of how old its response is, in seconds.
pub(crate) fn age(headers: &HeaderMap) -> u64 {
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok());
    age.and_then(|age| age.trim().parse().ok()).unwrap_or(0)
}

/// Until when the response that has just come in is fresh. `now` and the answer: seconds since 1970.
pub(crate) fn fresh_until(headers: &HeaderMap, immutable: bool, now: u64) -> u64 {
    if immutable {
        return now.saturating_add(IMMUTABLE);
    }
    let control = CacheControl::of(headers);
    if control.no_cache {
        return now;
    }
    let date = |name| headers.get(name).and_then(parse_date).map(unix);
    let sent = date(header::DATE).unwrap_or(now);
    let lifetime = control.s_maxage.or(control.max_age).unwrap_or_else(|| {
        if headers.contains_key(header::EXPIRES) {
            return date(header::EXPIRES).unwrap_or(0).saturating_sub(sent);
        }
        let modified = date(header::LAST_MODIFIED);
        let tenth = modified.map_or(0, |modified| sent.saturating_sub(modified) / 10);
        tenth.clamp(HEURISTIC_MIN, HEURISTIC_MAX)
    });
    now.saturating_add(lifetime.saturating_sub(age(headers)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn lifetime(headers: &[(&'static str, &'static str)]) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        fresh_until(&map, false, NOW) - NOW
    }

    #[test]
    fn lifetimes() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, seconds) in [
            (vec![("cache-control", "max-age=60")], 60),
            (vec![("cache-control", "max-age=60, s-maxage=\"10\"")], 10),
            (vec![("cache-control", "max-age=60"), ("age", "20")], 40),
            (vec![("cache-control", "max-age=60"), ("age", "90")], 0),
            (vec![("cache-control", "Max-Age=60"), ("cache-control", "no-cache")], 0),
            (vec![("cache-control", "max-age=soon")], 0),
            (vec![date, ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], 60),
            (vec![date, ("expires", "0"), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], 0),
            (vec![date, ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], 8640),
            (vec![date, ("last-modified", "Sat, 05 Nov 1988 08:49:37 GMT")], HEURISTIC_MAX),
            (vec![], HEURISTIC_MIN),
            (vec![date, ("last-modified", "Sun, 06 Nov 1994 08:49:30 GMT")], HEURISTIC_MIN),
        ] {
            assert_eq!(lifetime(&headers), seconds, "{headers:?}");
        }
    }

    #[test]
    fn directives() {
        let parse = |line: &'static str| CacheControl::parse([line].into_iter());
        assert!(!parse("public, No-Store").storable());
        assert!(!parse("private=\"x\"").storable());
        assert!(parse("public, max-age=1").storable());
        assert!(parse("max-age=1").stale_allowed());
        assert!(!parse("max-age=1, must-revalidate").stale_allowed());
        assert!(!parse("s-maxage=1").stale_allowed());
    }
}
