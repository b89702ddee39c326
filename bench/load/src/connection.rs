//! One keep-alive connection and the response that it is in the middle of.

use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::content::Content;
use crate::stream::Stream;

/// Longest head of a response, in bytes.
const HEAD_LIMIT: usize = 16 << 10;

/// The object that all connections ask for.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) content: Content,
}

/// A connection to the server under test.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    object: Arc<Object>,
    /// Requests made so far.
    pub(crate) requests: u64,
    response: Option<Response>,
}

/// A response on its way.
struct Response {
    asked_at: Instant,
    asked: Range<u64>,
    ranged: bool,
    /// Whether its bytes are compared with the object's.
    verified: bool,
    first_byte: Option<Duration>,
    part: Part,
}

/// The part of a response that comes next.
enum Part {
    Head(Vec<u8>),
    /// The body's byte at this offset of the object.
    Body(u64),
}

/// A response that has come whole.
pub(crate) struct Finished {
    pub(crate) latency: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) verified: bool,
}

impl Connection {
    pub(crate) fn new(stream: Stream, object: Arc<Object>) -> Self {
        Self { stream, object, requests: 0, response: None }
    }

    /// Whether a response is to come.
    pub(crate) fn is_busy(&self) -> bool {
        self.response.is_some()
    }

    /// Asks for `range` of the object, or for all of it.
    pub(crate) fn ask(&mut self, range: Range<u64>, ranged: bool, verified: bool) -> Result<()> {
        let Object { host, path, .. } = self.object.as_ref();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        if ranged {
            request += &format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
        }
        request += "\r\n";
        self.requests += 1;
        self.response = Some(Response {
            asked_at: Instant::now(),
            asked: range,
            ranged,
            verified,
            first_byte: None,
            part: Part::Head(Vec::new()),
        });
        // A request is far smaller than a socket's buffer, and the last one has been answered.
        self.stream.write_all(request.as_bytes()).context("sending a request")
    }

    /// Takes what is there, until the response is whole (then says so) or more must be waited for. Adds the bytes
    /// of the body to `bytes`. An error is a response that is not what it should be.
    pub(crate) fn advance(
        &mut self,
        scratch: &mut [u8],
        bytes: &mut u64,
    ) -> Result<Option<Finished>> {
        let Some(response) = &mut self.response else {
            bail!("bytes or an end that nobody asked for");
        };
        loop {
            let left = match response.part {
                Part::Head(_) => HEAD_LIMIT as u64,
                Part::Body(at) => response.asked.end - at,
            };
            let room = scratch.len().min(left as usize);
            let scratch = scratch.get_mut(..room).unwrap_or_default();
            let read = match response.part {
                Part::Body(_) if !response.verified => self.stream.discard(scratch),
                _ => self.stream.read(scratch),
            };
            let read = match read {
                Ok(0) => bail!("closed with {left} bytes to come"),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            response.first_byte.get_or_insert_with(|| response.asked_at.elapsed());
            let got = scratch.get(..read).unwrap_or_default();
            match response.take(got, &self.object, bytes)? {
                End::NotYet => {}
                End::Whole(finished) => {
                    self.response = None;
                    return Ok(Some(finished));
                }
            }
        }
    }
}

/// Whether a response has ended.
enum End {
    NotYet,
    Whole(Finished),
}

impl Response {
    fn take(&mut self, got: &[u8], object: &Object, bytes: &mut u64) -> Result<End> {
        let body = match &mut self.part {
            Part::Body(_) => got,
            Part::Head(head) => {
                head.extend_from_slice(got);
                let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                    ensure!(head.len() < HEAD_LIMIT, "the head of the response does not end");
                    return Ok(End::NotYet);
                };
                let body = head.split_off(end + 4);
                let text = String::from_utf8_lossy(head).into_owned();
                check_head(&text, self.ranged.then_some(object.size), &self.asked)?;
                self.part = Part::Body(self.asked.start);
                &body.clone()
            }
        };
        let Part::Body(at) = &mut self.part else { return Ok(End::NotYet) };
        let left = self.asked.end - *at;
        ensure!(body.len() as u64 <= left, "{} bytes too many", body.len() as u64 - left);
        if self.verified
            && let Some(offset) = object.content.first_difference(*at, body)
        {
            bail!(
                "wrong byte at offset {offset} of {} in the answer to {:?}",
                object.path,
                self.asked
            );
        }
        *at += body.len() as u64;
        *bytes += body.len() as u64;
        if *at < self.asked.end {
            return Ok(End::NotYet);
        }
        Ok(End::Whole(Finished {
            latency: self.asked_at.elapsed(),
            first_byte: self.first_byte.unwrap_or_default(),
            verified: self.verified,
        }))
    }
}

/// Whether this is the head of the answer to `asked`: status, length and, of an object of `ranged_of` bytes, the
/// range (RFC 9110 §14.4).
fn check_head(head: &str, ranged_of: Option<u64>, asked: &Range<u64>) -> Result<()> {
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let expected = if ranged_of.is_some() { "206" } else { "200" };
    let status = status_line.split(' ').nth(1).unwrap_or_default();
    ensure!(status == expected, "`{status_line}` instead of {expected}");
    let (mut length, mut range) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim());
        } else if name.eq_ignore_ascii_case("content-range") {
            range = Some(value.trim());
        }
    }
    let expected = (asked.end - asked.start).to_string();
    ensure!(length == Some(&expected), "Content-Length {length:?} instead of {expected}");
    if let Some(size) = ranged_of {
        let expected = format!("bytes {}-{}/{size}", asked.start, asked.end - 1);
        ensure!(range == Some(&expected), "Content-Range {range:?} instead of `{expected}`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 206 Partial Content\r\ncontent-length: 4\r\n\
                        Content-Range: bytes 4-7/9\r\n\r\n";

    #[test]
    fn a_head_must_fit_the_request() {
        check_head(HEAD, Some(9), &(4..8)).unwrap();
        for (ranged_of, asked) in [(None, 4..8), (Some(8), 4..8), (Some(9), 4..7), (Some(9), 3..7)]
        {
            assert!(check_head(HEAD, ranged_of, &asked).is_err(), "{ranged_of:?} {asked:?}");
        }
    }

    #[test]
    fn a_wrong_byte_is_an_error_if_the_response_is_verified() {
        let content = Content::of("o");
        let object = Object { host: "h".into(), path: "/o".into(), size: 9, content };
        let response = |verified| Response {
            asked_at: Instant::now(),
            asked: 4..8,
            ranged: true,
            verified,
            first_byte: None,
            part: Part::Head(Vec::new()),
        };
        let mut body = [0; 4];
        content.fill(4, &mut body);
        let mut bytes = 0;
        let answer = [HEAD.as_bytes(), &body].concat();
        assert!(matches!(response(true).take(&answer, &object, &mut bytes), Ok(End::Whole(_))));
        assert_eq!(bytes, 4);
        content.fill(3, &mut body);
        let answer = [HEAD.as_bytes(), &body].concat();
        assert!(response(true).take(&answer, &object, &mut bytes).is_err());
        assert!(response(false).take(&answer, &object, &mut bytes).is_ok());
    }
}
