//! Downloads with real clients from a real origin: each byte right, and fetched once.

use crate::support::containers::{Container, Image, Network};
use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::origin::{HOST, Origin};

const MIB: u64 = 1 << 20;

/// An origin at `.2`, a subscriber at `.3`, and a node between them.
struct Stage {
    origin: Origin,
    client: Container,
    node: Node,
}

fn stage(network: &Network) -> Stage {
    let origin = Origin::start(network, 2);
    let client = network.start(Image::Client, 3, "");
    let node = Setup::new("edge-1", network.host(), &origin.section()).start();
    Stage { origin, client, node }
}

impl Stage {
    /// The URL of a file in the query form.
    fn url(&self, path: &str) -> String {
        self.node.url(&format!("{path}?cacheHostOrigin={HOST}"))
    }

    /// The SHA-256 of what `curl` gets, and the `Cache-Status` beside it.
    #[track_caller]
    fn curl(&self, arguments: &str) -> (String, String) {
        let command = format!(
            "curl --silent --show-error --fail --dump-header /tmp/head --output /tmp/body {arguments} \
             && sha256sum </tmp/body && cat /tmp/head"
        );
        let output = self.client.ask(&command).unwrap_or_else(|error| panic!("{command}: {error}"));
        let sum = output.split_whitespace().next().unwrap().to_owned();
        let status = output.lines().find_map(|line| line.strip_prefix("Cache-Status: "));
        (sum, status.unwrap_or_else(|| panic!("no Cache-Status: {output}")).trim().to_owned())
    }
}

/// 200 MB, twice.
#[test]
fn a_large_file_is_fetched_once_and_every_download_is_right() {
    const SIZE: u64 = 200_000_000;
    let Some(network) = Network::create() else { return };
    let stage = stage(&network);
    let path = "/fresh/update.cab";
    let sum = stage.origin.make_file(path, SIZE);
    let url = stage.url(path);

    let (first, status) = stage.curl(&format!("'{url}'"));
    assert_eq!(first, sum);
    assert!(status.contains("fwd=miss"), "{status}");
    let (second, status) = stage.curl(&format!("'{url}'"));
    assert_eq!(second, sum);
    assert_eq!(status, "mcc-edge-1; hit");

    // Each byte once: what was asked for lies end to end, and nothing was sent beside it.
    let sent = stage.origin.sent(path);
    let mut ranges: Vec<(u64, u64)> = sent
        .iter()
        .map(|sent| {
            assert_eq!((sent.method.as_str(), sent.status), ("GET", 206), "{sent:?}");
            assert_eq!((sent.target.as_str(), sent.host.as_str()), (path, HOST), "{sent:?}");
            let (first, last) = sent.range.unwrap_or_else(|| panic!("no range: {sent:?}"));
            let last = last.min(SIZE - 1);
            assert_eq!(sent.bytes, last - first + 1, "{sent:?}");
            (first, last)
        })
        .collect();
    ranges.sort_unstable();
    assert_eq!(ranges.first().unwrap().0, 0);
    assert_eq!(ranges.last().unwrap().1, SIZE - 1);
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].1 + 1, pair[1].0, "{ranges:?}");
    }

    let traffic = stage.node.ask("status --json").good().json()["traffic"].clone();
    assert_eq!(traffic["fill_bytes"], SIZE);
    assert_eq!(traffic["egress_bytes"], 2 * SIZE);
    assert_eq!(traffic["hit_bytes"], SIZE);
    let cache = stage.node.admin("/v1/cache").json();
    assert!((cache["byte_hit_ratio"].as_f64().unwrap() - 0.5).abs() < 1e-9, "{cache}");
    let status = stage.node.ask("status").good().stdout;
    assert!(status.contains("50.0 % of the bytes sent had not to be fetched"), "{status}");
}

#[test]
fn ranges_are_answered_with_206_and_exactly_their_bytes() {
    const SIZE: u64 = 5 * MIB + 123;
    let Some(network) = Network::create() else { return };
    let stage = stage(&network);
    for (path, is_warm) in [("/fresh/cold", false), ("/fresh/warm", true)] {
        let sum = stage.origin.make_file(path, SIZE);
        let whole = stage.origin.read(path);
        if is_warm {
            assert_eq!(stage.curl(&format!("'{}'", stage.url(path))).0, sum);
        }
        let url = stage.url(path);
        for (lines, first, last) in [
            (&["bytes=0-0"][..], 0, 0),
            (&["bytes=1048570-1048585"], MIB - 6, MIB + 9),
            (&["bytes=2097152-3145727"], 2 * MIB, 3 * MIB - 1),
            (&["bytes=-5"], SIZE - 5, SIZE - 1),
            (&["bytes=5000000-"], 5_000_000, SIZE - 1),
            (&["bytes=5000000-99999999"], 5_000_000, SIZE - 1),
            // A client that resumes for the third time: the last line is the true one.
            (&["bytes=10-19", "bytes=100-199", "bytes=1000-1999"], 1000, 1999),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("Range", *line)).collect();
            let answer = http::get(&url, &headers).unwrap();
            assert_eq!(answer.status, 206, "{path} {lines:?}: {answer:?}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{SIZE}"));
            assert_eq!(answer.header("content-length"), (last - first + 1).to_string());
            let right = whole.slice(first as usize..=last as usize);
            assert!(answer.body == right, "wrong bytes: {path} {lines:?}");
        }
        let beyond = http::get(&url, &[("Range", "bytes=99999999-")]).unwrap();
        assert_eq!(beyond.status, 416);
        assert_eq!(beyond.header("content-range"), format!("bytes */{SIZE}"));
    }
}

#[test]
fn both_forms_of_a_request_over_both_ports_share_one_object() {
    let Some(network) = Network::create() else { return };
    let stage = stage(&network);
    let path = "/fresh/a%20b/f.bin";
    let sum = stage.origin.make_file("/fresh/a b/f.bin", 3 * MIB);
    let (http, https) = (stage.node.setup.http, stage.node.setup.https);

    // The query form, with a signature that must reach the origin as it is.
    let signed = format!("{path}?P1=1&P2=%20x&P4=a%2b");
    let query_form = format!("{signed}&cacheHostOrigin={HOST}");
    let (first, status) = stage.curl(&format!("'{}'", stage.node.url(&query_form)));
    assert_eq!(first, sum);
    assert!(status.contains("fwd=miss"), "{status}");
    // The host form, of a client that DNS has steered here; another signature, and TLS.
    let host_form = format!(
        "--resolve {HOST}:{}:{} 'http://{HOST}:{}{path}?P4=other'",
        http.port(),
        http.ip(),
        http.port()
    );
    let over_tls = format!("--insecure 'https://{https}{query_form}'");
    let host_over_tls = format!("--insecure --header 'Host: {HOST}' 'https://{https}{path}'");
    for arguments in [host_form, over_tls, host_over_tls] {
        assert_eq!(
            stage.curl(&arguments),
            (sum.clone(), "mcc-edge-1; hit".to_owned()),
            "{arguments}"
        );
    }
    let sent = stage.origin.sent("/");
    let sent: Vec<_> = sent.into_iter().filter(|sent| sent.target != "/").collect();
    assert!(sent.iter().all(|sent| sent.target == signed && sent.host == HOST), "{sent:?}");
    assert_eq!(sent.iter().map(|sent| sent.bytes).sum::<u64>(), 3 * MIB);
    // As an operator verifies a node.
    let wget = format!("wget --quiet -O /tmp/wget '{}'", stage.node.url(&query_form));
    stage.client.ask(&format!("{wget} && cmp /tmp/wget /tmp/body")).unwrap();
    // Who does not trust the certificate is told by TLS, not by a closed port.
    let distrust =
        stage.client.ask(&format!("curl --silent 'https://{https}{query_form}'; echo $?"));
    assert_eq!(distrust.unwrap().trim(), "60");
}

#[test]
fn heads_are_as_the_clients_read_them() {
    let Some(network) = Network::create() else { return };
    let stage = stage(&network);
    stage.origin.make_file("/fresh/one.gif", 100);
    let at = stage.node.setup.http;
    let query = format!("?cacheHostOrigin={HOST}");
    for (request, status, lines) in [
        (
            format!("GET /fresh/one.gif{query} HTTP/1.1\r\nHost: {at}\r\nRange: bytes=10-19\r\n"),
            "HTTP/1.1 206 Partial Content",
            &[
                "Accept-Ranges: bytes",
                "Content-Length: 10",
                "Content-Range: bytes 10-19/100",
                "Content-Type: image/gif",
            ][..],
        ),
        (
            format!("HEAD /fresh/one.gif{query} HTTP/1.1\r\nHost: {at}\r\n"),
            "HTTP/1.1 200 OK",
            &["Accept-Ranges: bytes", "Content-Length: 100"],
        ),
        (
            "GET /fresh/one.gif?cacheHostOrigin=other.example HTTP/1.1\r\nHost: a\r\n".to_owned(),
            "HTTP/1.1 403 Forbidden",
            &[],
        ),
        (format!("GET /fresh/one.gif HTTP/1.1\r\nHost: {at}\r\n"), "HTTP/1.1 403 Forbidden", &[]),
        (
            format!("GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n"),
            "HTTP/1.1 400 Bad Request",
            &[],
        ),
        (
            format!("POST /fresh/one.gif HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n"),
            "HTTP/1.1 405 Method Not Allowed",
            &["Allow: GET, HEAD"],
        ),
        // The origin's own word is passed on.
        (format!("GET /fresh/none HTTP/1.1\r\nHost: {HOST}\r\n"), "HTTP/1.1 404 Not Found", &[]),
    ] {
        let answer = http::raw(at, &format!("{request}Connection: close\r\n\r\n"));
        let head = answer.split("\r\n\r\n").next().unwrap();
        let mut found = head.split("\r\n");
        assert_eq!(found.next(), Some(status), "{request}");
        for line in lines {
            assert!(head.split("\r\n").any(|found| found == *line), "no `{line}` in: {head}");
        }
        for line in found {
            let name = line.split(':').next().unwrap();
            let title = name.split('-').all(|word| {
                word.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
            });
            assert!(title, "not in Title-Case: {line}");
            assert_ne!(name, "Transfer-Encoding", "{head}");
        }
    }
    let sent = stage.origin.sent("/fresh/");
    assert!(sent.iter().all(|sent| sent.host == HOST), "only the allow-list is asked: {sent:?}");
}

#[test]
fn what_is_stored_outlives_the_origin_and_a_restart() {
    let Some(network) = Network::create() else { return };
    let mut stage = stage(&network);
    let fresh = stage.origin.make_file("/fresh/f.bin", 9 * MIB + 1);
    let asked = stage.origin.make_file("/asked/f.bin", 3 * MIB);
    for (path, sum) in [("/fresh/f.bin", &fresh), ("/asked/f.bin", &asked)] {
        assert_eq!(&stage.curl(&format!("'{}'", stage.url(path))).0, sum);
    }
    // What must be asked about is asked about, and not fetched again.
    let (sum, status) = stage.curl(&format!("'{}'", stage.url("/asked/f.bin")));
    assert_eq!((&sum, status.as_str()), (&asked, "mcc-edge-1; fwd=stale; fwd-status=304"));
    let last = stage.origin.sent("/asked/").pop().unwrap();
    assert_eq!((last.status, last.bytes), (304, 0));
    let before = stage.origin.sent("/");

    let (setup, stopped) = stage.node.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    stage.node = setup.start_in(stopped.folder);
    let (sum, status) = stage.curl(&format!("'{}'", stage.url("/fresh/f.bin")));
    assert_eq!((sum, status.as_str()), (fresh.clone(), "mcc-edge-1; hit"));
    assert_eq!(stage.origin.sent("/"), before, "a hit after the restart asks for nothing");

    stage.origin.container.kill();
    let (sum, status) = stage.curl(&format!("'{}'", stage.url("/fresh/f.bin")));
    assert_eq!((sum, status.as_str()), (fresh, "mcc-edge-1; hit"));
    let (sum, status) = stage.curl(&format!("'{}'", stage.url("/asked/f.bin")));
    assert_eq!((sum, status.as_str()), (asked, "mcc-edge-1; hit; detail=stale"));
    let miss = http::get(&stage.url("/fresh/other"), &[]).unwrap();
    assert!(matches!(miss.status.as_u16(), 502 | 504), "{}: {}", miss.status, miss.text());
    let parts = stage.node.ask("list --json").good().json();
    let part = format!("origin {HOST}");
    let part = parts.as_array().unwrap().iter().find(|found| found["name"] == part.as_str());
    assert_eq!(
        part.unwrap_or_else(|| panic!("the origin is not named: {parts}"))["state"],
        "warning"
    );

    // Purged is purged.
    let purge = format!("http://{}/v1/cache/purge", stage.node.setup.admin);
    let purged = http::post(&purge, &[], &serde_json::json!({ "all": true })).unwrap();
    assert_eq!(purged.json()["objects"], 2, "{}", purged.text());
    let gone = http::get(&stage.url("/fresh/f.bin"), &[]).unwrap();
    assert!(gone.status.is_server_error(), "{}", gone.status);
}
