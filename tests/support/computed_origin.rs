//! An origin whose content is computed: any number of objects of any length, each in as many
//! versions as a test makes of it, and a client that compares every byte as it comes.
//!
//! The path says the length: `/anything-LENGTH`. Bytes follow from path, version and offset.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The name that the node knows it by.
pub(crate) const HOST: &str = "computed.example";

/// How long a download may be silent before it is taken for hung.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes made, sent and compared at once.
const PIECE: usize = 64 << 10;

/// A running origin; it ends with the process.
pub(crate) struct ComputedOrigin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By path; 0 when it is not here.
    versions: Mutex<HashMap<String, u64>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl State {
    fn version(&self, path: &str) -> u64 {
        self.versions.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

impl ComputedOrigin {
    /// Starts it on a free loopback port.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A node that goes away in the middle is what the tests do on purpose.
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }

    /// The section of a node's file that leads to it.
    pub(crate) fn section(&self) -> String {
        format!("[[origin]]\nhost = \"{HOST}\"\nconnect = \"{}\"\n", self.address)
    }

    /// Replaces the content of `path`. Gives the number of its new version.
    pub(crate) fn renew(&self, path: &str) -> u64 {
        let mut versions = self.state.versions.lock().unwrap();
        let version = versions.entry(path.to_owned()).or_default();
        *version += 1;
        *version
    }

    /// The version that `path` has now.
    pub(crate) fn version(&self, path: &str) -> u64 {
        self.state.version(path)
    }

    /// Requests answered so far, and bytes of content sent.
    pub(crate) fn sent(&self) -> (u64, u64) {
        let State { requests, bytes, .. } = &*self.state;
        (requests.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}

/// Answers the requests of one connection until it ends.
fn serve(stream: &TcpStream, state: &State) -> Option<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let head = read_head(&mut lines)?;
        let target = head.first()?.split(' ').nth(1)?.to_owned();
        let path = target.split('?').next()?;
        let Some(length) = length_of(path) else {
            (&*stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        };
        state.requests.fetch_add(1, Ordering::Relaxed);
        let version = state.version(path);
        let range = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let range = value.strip_prefix("bytes=")?;
            name.eq_ignore_ascii_case("range").then(|| range.split_once('-'))?
        });
        let (status, first, last) = match range {
            Some((first, last)) => {
                let last = last.parse().unwrap_or(u64::MAX).min(length - 1);
                ("206 Partial Content", first.parse().ok()?, last)
            }
            None => ("200 OK", 0, length - 1),
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{version}\"\r\nCache-Control: max-age=86400\r\n",
            last + 1 - first
        );
        if range.is_some() {
            answer.push_str(&format!("Content-Range: bytes {first}-{last}/{length}\r\n"));
        }
        (&*stream).write_all(format!("{answer}\r\n").as_bytes()).ok()?;
        let mut piece = vec![0; PIECE];
        let mut at = first;
        while at <= last {
            let size = usize::try_from(last + 1 - at).unwrap().min(PIECE);
            content(path, version, at, &mut piece[..size]);
            (&*stream).write_all(&piece[..size]).ok()?;
            state.bytes.fetch_add(size as u64, Ordering::Relaxed);
            at += size as u64;
        }
    }
}

/// The lines of a head; `None` when the connection ends before its end.
fn read_head(lines: &mut impl std::io::BufRead) -> Option<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(head),
            line => head.push(line.to_owned()),
        }
    }
}

fn length_of(path: &str) -> Option<u64> {
    path.rsplit_once('-')?.1.parse().ok().filter(|length| *length > 0)
}

/// Writes the bytes of `path` in `version` from `offset` on into `piece`.
fn content(path: &str, version: u64, offset: u64, piece: &mut [u8]) {
    let seed = path.bytes().fold(mix(version), |seed, byte| mix(seed ^ u64::from(byte)));
    let mut word = (u64::MAX, [0; 8]);
    for (at, byte) in (offset..).zip(piece) {
        if at / 8 != word.0 {
            word = (at / 8, mix(seed ^ (at / 8)).to_le_bytes());
        }
        *byte = word.1[(at % 8) as usize];
    }
}

/// Spreads every bit over all (the finalizer of MurmurHash3).
fn mix(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// What came of a download. Every byte of it was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Download {
    /// All of it came.
    Whole { bytes: u64, version: u64, cache_status: String },
    /// The connection broke, or none was made.
    Broken { bytes: u64 },
    /// Another status than 200 and 206.
    Refused(u16),
}

/// Downloads `range` (first byte, length) of `path` through the node at `node`, and compares each
/// byte with the version that the answer's `ETag` names.
///
/// # Panics
/// A byte is wrong, the version is older than `oldest`, the head is not what was asked for, or
/// nothing comes for a minute.
#[track_caller]
pub(crate) fn download(
    node: SocketAddr,
    path: &str,
    range: Option<(u64, u64)>,
    oldest: u64,
) -> Download {
    download_pausing(node, path, range, oldest, || {})
}

/// Like [`download`]. After the first bytes of the body it calls `pause`, and takes no more until that returns.
///
/// # Panics
/// As there.
#[track_caller]
pub(crate) fn download_pausing(
    node: SocketAddr,
    path: &str,
    range: Option<(u64, u64)>,
    oldest: u64,
    pause: impl FnOnce(),
) -> Download {
    let broken = |bytes| Download::Broken { bytes };
    let Ok(stream) = TcpStream::connect(node) else { return broken(0) };
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    if let Some((first, length)) = range {
        request.push_str(&format!("Range: bytes={first}-{}\r\n", first + length - 1));
    }
    if (&stream).write_all(format!("{request}\r\n").as_bytes()).is_err() {
        return broken(0);
    }
    let mut reader = BufReader::with_capacity(PIECE, &stream);
    let Some(head) = read_head(&mut reader) else { return broken(0) };
    let field = |name: &str| {
        head.iter().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let status: u16 = head[0].split(' ').nth(1).unwrap().parse().unwrap();
    if status != 200 && status != 206 {
        return Download::Refused(status);
    }
    let length = length_of(path).unwrap();
    let (first, wanted) = range.unwrap_or((0, length));
    assert_eq!(status, if range.is_some() { 206 } else { 200 }, "{path}: {head:?}");
    assert_eq!(field("content-length"), Some(wanted.to_string().as_str()), "{path}: {head:?}");
    let version: u64 = field("etag").unwrap().trim_matches('"').parse().unwrap();
    assert!(version >= oldest, "{path}: version {version}, but {oldest} was purged to: {head:?}");
    let cache_status = field("cache-status").unwrap_or_default().to_owned();

    let mut bytes = 0;
    let mut right = vec![0; PIECE];
    let mut pause = Some(pause);
    while bytes < wanted {
        if bytes > 0
            && let Some(pause) = pause.take()
        {
            pause();
        }
        let piece = match reader.fill_buf() {
            Ok([]) => return broken(bytes),
            Ok(piece) => piece,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("{path}: nothing for {SILENCE:?} after {bytes} of {wanted} bytes");
            }
            Err(_) => return broken(bytes),
        };
        let size = piece.len().min(usize::try_from(wanted - bytes).unwrap_or(PIECE));
        let right = &mut right[..size];
        content(path, version, first + bytes, right);
        assert!(piece[..size] == *right, "wrong byte in {path} after {}", first + bytes);
        reader.consume(size);
        bytes += size as u64;
    }
    let mut rest = Vec::new();
    // A reset behind the last byte takes nothing away.
    let _ = reader.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{path}: {} bytes too many", rest.len());
    Download::Whole { bytes, version, cache_status }
}
