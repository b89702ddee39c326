//! An origin with a latency: serves the files of a folder, each answer after a while, and counts what it sends.
//!
//! A thread per connection, bodies by sendfile(2). `GET /counters` tells the counts as JSON.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Bytes sent at a time.
const PIECE: u64 = 256 << 10;

/// How far away the origin is.
pub(crate) struct Pace {
    /// Before each answer.
    pub(crate) latency: Duration,
    /// Most megabytes per second on one connection.
    pub(crate) mb_per_s: Option<u32>,
}

impl Pace {
    /// How long `bytes` of a body take at least.
    fn time_for(&self, bytes: u64) -> Duration {
        let microseconds = self.mb_per_s.map_or(0, |mb_per_s| bytes / u64::from(mb_per_s));
        Duration::from_micros(microseconds)
    }
}

/// What all connections share.
struct Origin {
    dir: PathBuf,
    pace: Pace,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    /// Bytes of bodies.
    bytes: AtomicU64,
    /// Requests being answered.
    running: AtomicU64,
    /// The most at once.
    most: AtomicU64,
}

/// A request, as far as it matters here.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
    close: bool,
}

/// Listens at `listen` and serves the files in `dir`, for good.
pub(crate) fn serve(listen: SocketAddr, dir: &Path, pace: Pace) -> Result<()> {
    ensure!(dir.is_dir(), "{} is no folder", dir.display());
    let origin = Arc::new(Origin { dir: dir.to_owned(), pace, counters: Counters::default() });
    let listener = TcpListener::bind(listen).with_context(|| format!("listening at {listen}"))?;
    for socket in listener.incoming() {
        let (socket, origin) = (socket?, Arc::clone(&origin));
        thread::spawn(move || {
            // A client that is gone is no matter of the origin's.
            let _ = origin.connection(&socket);
        });
    }
    Ok(())
}

impl Origin {
    fn connection(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut reader = BufReader::new(socket);
        while let Some(request) = read_request(&mut reader)? {
            if request.path == "/counters" {
                self.tell_counters(socket)?;
                continue;
            }
            let running = self.counters.running.fetch_add(1, Ordering::Relaxed) + 1;
            self.counters.most.fetch_max(running, Ordering::Relaxed);
            self.counters.requests.fetch_add(1, Ordering::Relaxed);
            thread::sleep(self.pace.latency);
            let answered = self.answer(socket, &request);
            self.counters.running.fetch_sub(1, Ordering::Relaxed);
            answered?;
            if request.close {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, mut socket: &TcpStream, request: &Request) -> io::Result<()> {
        // The last part of a path has no `/` in it; `..` and the empty one are folders.
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let file = File::open(self.dir.join(name)).and_then(|file| Ok((file.metadata()?, file)));
        let Ok((metadata, file)) = file else { return empty(socket, "404 Not Found", "") };
        if !metadata.is_file() {
            return empty(socket, "404 Not Found", "");
        }
        let size = metadata.len();
        let tag = format!("\"{name}-{size}\"");
        let about = format!(
            "ETag: {tag}\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
             Cache-Control: public, max-age=86400\r\nAccept-Ranges: bytes\r\n"
        );
        if request.if_none_match.as_ref() == Some(&tag) {
            return empty(socket, "304 Not Modified", &about);
        }
        let unchanged = request.if_range.as_ref().is_none_or(|if_range| *if_range == tag);
        let range = request.range.as_deref().filter(|_| unchanged);
        let (status, mut body, content_range) = match range.map(|range| parse_range(range, size)) {
            None => ("200 OK", 0..size, String::new()),
            Some(Some(range)) => {
                let last = range.end - 1;
                let field = format!("Content-Range: bytes {}-{last}/{size}\r\n", range.start);
                ("206 Partial Content", range, field)
            }
            Some(None) => {
                let field = format!("Content-Range: bytes */{size}\r\n");
                return empty(socket, "416 Range Not Satisfiable", &field);
            }
        };
        let length = body.end - body.start;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\n{about}{content_range}\
             Content-Length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let (began, first) = (Instant::now(), body.start);
        while body.start < body.end {
            let due = began + self.pace.time_for(body.start - first);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let left = (body.end - body.start).min(PIECE) as usize;
            let sent = rustix::fs::sendfile(socket, &file, Some(&mut body.start), left)?;
            if sent == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.counters.bytes.fetch_add(sent as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn tell_counters(&self, mut socket: &TcpStream) -> io::Result<()> {
        let Counters { requests, bytes, most, .. } = &self.counters;
        let body = format!(
            "{{\"requests\": {}, \"bytes\": {}, \"most_at_once\": {}}}\n",
            requests.load(Ordering::Relaxed),
            bytes.load(Ordering::Relaxed),
            most.load(Ordering::Relaxed),
        );
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

fn empty(mut socket: &TcpStream, status: &str, fields: &str) -> io::Result<()> {
    let length = if status.starts_with("304") { "" } else { "Content-Length: 0\r\n" };
    write!(socket, "HTTP/1.1 {status}\r\n{fields}{length}\r\n")
}

/// The next request without a body; `None` at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned(),
        ..Request::default()
    };
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.split_once(':') else { return Ok(Some(request)) };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value),
            "if-range" => request.if_range = Some(value),
            "if-none-match" => request.if_none_match = Some(value),
            "connection" => request.close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

/// The bytes that a single `Range` means in an object of `size` bytes (RFC 9110 §14.1.2); `None` if there are none.
fn parse_range(range: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) => first..size,
        (Err(_), Ok(length)) => size.saturating_sub(length)..size,
        (Err(_), Err(_)) => return None,
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        assert_eq!(parse_range("bytes=0-0", 10), Some(0..1));
        assert_eq!(parse_range("bytes=4-", 10), Some(4..10));
        assert_eq!(parse_range("bytes=-3", 10), Some(7..10));
        assert_eq!(parse_range("bytes=8-99", 10), Some(8..10));
        assert_eq!(parse_range("bytes=10-12", 10), None);
        assert_eq!(parse_range("bytes=-", 10), None);
    }
}
