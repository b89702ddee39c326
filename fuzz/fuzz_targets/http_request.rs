//! The head of a client's request: request target, `Host`, `Via`, framing.
//!
//! Input: the request target on the first line, then lines of fields, `name:value`.

#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;
use mcc_cache::origin::Origins;
use mcc_cache::request::{HOST_PARAMETER, parse};

static ORIGINS: LazyLock<Origins> = LazyLock::new(|| Origins::new(&[]));

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|b| *b == b'\n');
    let Some(Ok(uri)) = lines.next().map(Uri::try_from) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(50) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    match parse(&Method::GET, &uri, &headers, &ORIGINS, "mcc-edge-1") {
        Ok(request) => {
            // What is asked from the origin is the beginning of what was asked from the node.
            let (asked, sent) = (uri.to_string(), request.target.path_and_query.to_string());
            assert!(asked.starts_with(&sent), "{asked} {sent}");
            let cut = asked.get(sent.len()..).unwrap_or_default().to_ascii_lowercase();
            assert!(cut.is_empty() || cut.contains(&HOST_PARAMETER.to_ascii_lowercase()));
            assert!(ORIGINS.find(&request.target.host).is_some(), "an open proxy");
            assert!(request.key.target().starts_with('/'));
        }
        Err(refusal) => {
            assert!(refusal.status().is_client_error() || refusal.status().as_u16() == 508);
        }
    }
});
