//! From a request's head to what it asks for: origin, path, cache key, range; or to its refusal.
//!
//! A node is asked in two forms. The **query form** names the origin in a last query parameter
//! `cacheHostOrigin` and the node in `Host`; the **host form** names the origin in `Host`. What goes to the
//! origin is the client's own path and query, byte for byte, without that parameter.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use mcc_config::HostName;
use thiserror::Error;

use crate::origin::{Origin, Origins};
use crate::range::RangeRequest;
use crate::store::ObjectKey;

/// The query parameter that names the origin in the query form.
pub const HOST_PARAMETER: &str = "cacheHostOrigin";

/// A request that may be answered.
#[derive(Debug, Clone)]
pub struct ContentRequest {
    /// Whether only the head is asked for.
    pub head_only: bool,
    /// What to ask the origin for.
    pub target: Target,
    /// The name of the object in the cache.
    pub key: ObjectKey,
    /// The bytes asked for.
    pub range: RangeRequest,
}

/// A path at an origin.
#[derive(Debug, Clone)]
pub struct Target {
    /// The allow-list's entry.
    pub origin: Arc<Origin>,
    /// The host asked for, for `Host`.
    pub host: HostName,
    /// Path and query for the request line.
    pub path_and_query: PathAndQuery,
}

impl Target {
    /// Whether the two lead to the same resource with the same signature.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.host == other.host && self.path_and_query == other.path_and_query
    }
}

/// Why a request is not answered with content. The text goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// 405: only GET and HEAD have a meaning here.
    #[error("only GET and HEAD are answered here")]
    Method,
    /// 400: a body has no meaning here, and its framing is where smuggled requests hide (RFC 9112 §11.2).
    #[error("GET and HEAD have no body here")]
    Body,
    /// 400: a proxy's request line; the node is no proxy.
    #[error("the request line must name a path, such as `GET /file`: this is no proxy")]
    NoPath,
    /// 400: HTTP/1.1 demands exactly one `Host` (RFC 9112 §3.2).
    #[error("the request must have one Host line that holds a host name")]
    Host,
    /// 400: the parameter is there, but not in its place.
    #[error("`cacheHostOrigin` must be the last query parameter, and stand there once")]
    ParameterPlace,
    /// 400: the parameter holds no host name.
    #[error("`cacheHostOrigin` must be a host name, without port or scheme")]
    ParameterValue,
    /// 403: no entry of the allow-list.
    #[error("`{0}` is not served here: name a served origin in `cacheHostOrigin` or `Host`")]
    NotServed(String),
    /// 508: the request has been here before (RFC 9110 §7.6.3).
    #[error("this request has come through this node before")]
    Loop,
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body
            | Self::NoPath
            | Self::Host
            | Self::ParameterPlace
            | Self::ParameterValue => StatusCode::BAD_REQUEST,
            Self::NotServed(_) => StatusCode::FORBIDDEN,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }
}

/// Reads a request's head. `node` is the node's name in `Via`.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn parse(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    origins: &Origins,
    node: &str,
) -> Result<ContentRequest, Refusal> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal::Method);
    }
    let no_bytes = |length: &HeaderValue| length == "0";
    if headers.contains_key(header::TRANSFER_ENCODING)
        || !headers.get_all(header::CONTENT_LENGTH).iter().all(no_bytes)
    {
        return Err(Refusal::Body);
    }
    if came_through(headers, node) {
        return Err(Refusal::Loop);
    }
    let path_and_query = uri
        .path_and_query()
        .filter(|path| uri.authority().is_none() && path.as_str().starts_with('/'))
        .ok_or(Refusal::NoPath)?;
    let (host, path_and_query) = match split_host_parameter(path_and_query)? {
        Some(found) => found,
        None => (host_header(headers)?, path_and_query.clone()),
    };
    let origin =
        origins.find(&host).ok_or_else(|| Refusal::NotServed(host.as_str().to_owned()))?.clone();
    Ok(ContentRequest {
        head_only: method == Method::HEAD,
        key: origin.key(&host, path_and_query.path(), path_and_query.query()),
        range: RangeRequest::parse(headers),
        target: Target { origin, host, path_and_query },
    })
}

/// Takes the query form apart: the origin's host, and path and query as they were before the
/// parameter was added. `None`: the parameter is not there.
///
/// # Errors
/// [`Refusal::ParameterPlace`] and [`Refusal::ParameterValue`].
pub fn split_host_parameter(
    path_and_query: &PathAndQuery,
) -> Result<Option<(HostName, PathAndQuery)>, Refusal> {
    let Some(query) = path_and_query.query() else { return Ok(None) };
    let (before, last) = match query.rsplit_once('&') {
        Some((before, last)) => (Some(before), last),
        None => (None, query),
    };
    let is_parameter = |text: &str| {
        text.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case(HOST_PARAMETER))
    };
    if before.is_some_and(|before| before.split('&').any(is_parameter)) {
        return Err(Refusal::ParameterPlace);
    }
    if !is_parameter(last) {
        return Ok(None);
    }
    let (_, value) = last.split_once('=').ok_or(Refusal::ParameterValue)?;
    let host = value.parse().map_err(|_| Refusal::ParameterValue)?;
    let path = path_and_query.path();
    let original = match before {
        Some(before) => format!("{path}?{before}"),
        None => path.to_owned(),
    };
    // A prefix of what the parser took is taken again.
    let original = PathAndQuery::try_from(original).map_err(|_| Refusal::NoPath)?;
    Ok(Some((host, original)))
}

/// The host name in `Host`, its port dropped: origins are reached on their own port.
fn host_header(headers: &HeaderMap) -> Result<HostName, Refusal> {
    let mut lines = headers.get_all(header::HOST).iter();
    let line = lines.next().and_then(|line| line.to_str().ok()).ok_or(Refusal::Host)?;
    if lines.next().is_some() {
        return Err(Refusal::Host);
    }
    let (name, port) = match line.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') => (name, port),
        _ => (line, "80"),
    };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::Host);
    }
    name.parse().map_err(|_| {
        // An address: most often the node's own, asked for without the parameter.
        let address = name.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<std::net::IpAddr>() {
            Ok(_) => Refusal::NotServed(name.to_owned()),
            Err(_) => Refusal::Host,
        }
    })
}

/// Whether `Via` names this node (RFC 9110 §7.6.3: protocol, then the name, then perhaps a comment).
fn came_through(headers: &HeaderMap, node: &str) -> bool {
    headers.get_all(header::VIA).iter().any(|line| {
        String::from_utf8_lossy(line.as_bytes())
            .split(',')
            .filter_map(|hop| hop.split_ascii_whitespace().nth(1))
            .any(|name| name.eq_ignore_ascii_case(node))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(
        method: &Method,
        uri: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<ContentRequest, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        parse(method, &uri.parse().unwrap(), &map, &Origins::new(&[]), "mcc-edge-1")
    }

    fn get(uri: &str, host: &'static str) -> Result<(String, String), Refusal> {
        read(&Method::GET, uri, &[("host", host)]).map(|request| {
            let target = request.target;
            (target.host.as_str().to_owned(), target.path_and_query.as_str().to_owned())
        })
    }

    const HOST: &str = "au.download.windowsupdate.com";

    #[test]
    fn the_query_form_gives_back_the_original_bytes() {
        for (asked, original) in [
            ("/f?cacheHostOrigin=au.download.windowsupdate.com", "/f"),
            (
                "/a%2Fb/%7e?P1=1&P2=%20x&P4=a%2b&cacheHostOrigin=au.download.windowsupdate.com",
                "/a%2Fb/%7e?P1=1&P2=%20x&P4=a%2b",
            ),
            ("/f?a&&b=&cacheHostOrigin=AU.download.windowsupdate.com.", "/f?a&&b="),
            ("/f??x=1&cacheHostOrigin=au.download.windowsupdate.com", "/f??x=1"),
            ("/a/../b//c?cachehostorigin=au.download.windowsupdate.com", "/a/../b//c"),
        ] {
            assert_eq!(get(asked, "192.0.2.1"), Ok((HOST.to_owned(), original.to_owned())));
        }
    }

    #[test]
    fn the_host_form() {
        let expected = (HOST.to_owned(), "/f?P1=1".to_owned());
        assert_eq!(get("/f?P1=1", HOST), Ok(expected.clone()));
        assert_eq!(get("/f?P1=1", "au.download.windowsupdate.com:80"), Ok(expected));
        assert_eq!(get("/f", "example.com").unwrap_err().status(), StatusCode::FORBIDDEN);
        for address in ["192.0.2.1", "192.0.2.1:8080", "[2001:db8::1]:80"] {
            assert!(matches!(get("/f", address), Err(Refusal::NotServed(_))), "{address}");
        }
        for bad in ["", "a b", "host:80:90", "host:", "host:x", "host/path"] {
            assert_eq!(get("/f", bad), Err(Refusal::Host), "{bad}");
        }
        let twice = read(&Method::GET, "/f", &[("host", HOST), ("host", "b.example")]);
        assert_eq!(twice.unwrap_err(), Refusal::Host);
        assert_eq!(read(&Method::GET, "/f", &[]).unwrap_err(), Refusal::Host);
    }

    #[test]
    fn the_parameter_must_be_last_single_and_a_host() {
        for (uri, refusal) in [
            ("/f?cacheHostOrigin=au.download.windowsupdate.com&x=1", Refusal::ParameterPlace),
            ("/f?cacheHostOrigin=a.example&cacheHostOrigin=b.example", Refusal::ParameterPlace),
            ("/f?cacheHostOrigin=au.download.windowsupdate.com:80", Refusal::ParameterValue),
            ("/f?cacheHostOrigin=10.0.0.1", Refusal::ParameterValue),
            ("/f?cacheHostOrigin=", Refusal::ParameterValue),
            ("/f?cacheHostOrigin", Refusal::ParameterValue),
            ("/f?cacheHostOrigin=http://a.example", Refusal::ParameterValue),
            ("/f?cacheHostOrigin=a.example", Refusal::NotServed("a.example".to_owned())),
        ] {
            assert_eq!(get(uri, HOST), Err(refusal), "{uri}");
        }
    }

    #[test]
    fn other_methods_proxy_requests_and_loops_are_refused() {
        let host = [("host", HOST)];
        assert_eq!(read(&Method::POST, "/f", &host).unwrap_err(), Refusal::Method);
        assert_eq!(read(&Method::CONNECT, "a.example:443", &host).unwrap_err(), Refusal::Method);
        assert_eq!(
            read(&Method::GET, "http://au.download.windowsupdate.com/f", &host).unwrap_err(),
            Refusal::NoPath
        );
        assert_eq!(read(&Method::GET, "*", &host).unwrap_err(), Refusal::NoPath);
        let through = |via: &'static str| read(&Method::GET, "/f", &[("host", HOST), ("via", via)]);
        assert_eq!(through("1.1 a, HTTP/1.1 MCC-edge-1 (mcc)").unwrap_err(), Refusal::Loop);
        assert!(through("1.1 mcc-edge-10, 1.1 squid").is_ok());
    }

    #[test]
    fn signatures_are_no_part_of_the_key() {
        let key = |uri| read(&Method::GET, uri, &[("host", HOST)]).unwrap().key;
        assert_eq!(key("/f?P1=1&P4=a"), key("/f?P1=2&P4=b"));
        assert_ne!(key("/f"), key("/F"));
    }

    proptest! {
        #[test]
        fn any_target_and_host_is_handled(target in "[/?&=a-zA-Z%.:@#*-]{0,60}", host in "[ -~]{0,30}") {
            if let (Ok(uri), Ok(host)) = (target.parse::<Uri>(), HeaderValue::from_str(&host)) {
                let mut headers = HeaderMap::new();
                headers.insert(header::HOST, host);
                let _ = parse(&Method::GET, &uri, &headers, &Origins::new(&[]), "n");
            }
        }

        /// Whatever the original query was, it comes back unchanged.
        #[test]
        fn the_original_query_comes_back(path in "/[a-zA-Z0-9%/._~-]{0,30}", query in "[a-bA-B0-9%&=?/._~-]{1,30}") {
            let original = format!("{path}?{query}");
            let asked = format!("{original}&cacheHostOrigin={HOST}").parse::<PathAndQuery>().unwrap();
            let (_, back) = split_host_parameter(&asked).unwrap().unwrap();
            prop_assert_eq!(back.as_str(), original);
        }
    }
}
