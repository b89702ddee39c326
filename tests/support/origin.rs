//! An origin: nginx in a container, with files of random bytes and a note of every byte it has sent.

use std::net::SocketAddr;

use bytes::Bytes;

use super::containers::{Container, Image, Network};
use super::http;

/// The name that the node knows it by.
pub(crate) const HOST: &str = "downloads.example";

/// The paths `/fresh/…` may be served without a question for a day, `/asked/…` must be asked about
/// each time, `/slow/…` come at 1 MB/s.
const CONFIG: &str = r#"
user root;
events {}
error_log stderr;
http {
    default_type application/octet-stream;
    types { image/gif gif; }
    log_format sent '$request_method $request_uri $host "$http_range" $status $body_bytes_sent';
    access_log /var/log/nginx/sent.log sent;
    server {
        listen 80;
        root /srv;
        location /fresh/ { expires 1d; }
        location /asked/ { add_header Cache-Control max-age=0; }
        location /slow/ { expires 1d; limit_rate 1m; }
    }
}
"#;

/// A running origin.
pub(crate) struct Origin {
    pub(crate) container: Container,
}

/// A line of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) host: String,
    /// First and last byte that were asked for.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) status: u16,
    /// Bytes of the body.
    pub(crate) bytes: u64,
}

impl Origin {
    /// Starts it at the address that ends in `last`.
    pub(crate) fn start(network: &Network, last: u8) -> Self {
        let container = network.start(Image::Nginx, last, CONFIG);
        let origin = Self { container };
        let url = format!("http://{}/", origin.address());
        super::wait::wait_for("answer of nginx", || http::get(&url, &[]));
        origin
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.container.address(), 80).into()
    }

    /// The section of a node's file that leads to it.
    pub(crate) fn section(&self) -> String {
        format!("[[origin]]\nhost = \"{HOST}\"\nconnect = \"{}\"\n", self.address())
    }

    /// Makes a file of random bytes. Gives its SHA-256.
    #[track_caller]
    pub(crate) fn make_file(&self, path: &str, bytes: u64) -> String {
        let script = format!(
            "f='/srv{path}' && mkdir -p \"${{f%/*}}\" && head -c {bytes} /dev/urandom >\"$f\" && sha256sum <\"$f\""
        );
        let sum = self.container.ask(&script).unwrap();
        sum.split_whitespace().next().unwrap().to_owned()
    }

    /// A file, straight from nginx. Its log notes that too, with a query that no client sends.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> Bytes {
        let answer = http::get(&format!("http://{}{path}?by=test", self.address()), &[]).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        answer.body
    }

    /// What it has sent so far for requests whose target begins with `path`, in order.
    #[track_caller]
    pub(crate) fn sent(&self, path: &str) -> Vec<Sent> {
        let log = self.container.ask("cat /var/log/nginx/sent.log").unwrap();
        let all =
            log.lines().map(|line| sent(line).unwrap_or_else(|| panic!("no log line: {line}")));
        all.filter(|sent| sent.target.starts_with(path) && !sent.target.ends_with("?by=test"))
            .collect()
    }
}

fn sent(line: &str) -> Option<Sent> {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, host, range, status, bytes] = words[..] else { return None };
    let range = range.trim_matches('"').strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Some(Sent {
        method: method.to_owned(),
        target: target.to_owned(),
        host: host.to_owned(),
        range,
        status: status.parse().ok()?,
        bytes: bytes.parse().ok()?,
    })
}
