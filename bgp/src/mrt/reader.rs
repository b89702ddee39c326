//! Records from a stream of bytes, one at a time.

use std::io::{self, ErrorKind, Read};

use super::{Compression, HEADER, MAX_BODY, ReadError, Record};

/// Reads records. Holds one at a time, and of that never more than has come in: a header that lies
/// about a length costs no memory.
///
/// Many small reads: give it a `BufReader`.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    /// Bytes of the file before the next record.
    offset: u64,
    body: Vec<u8>,
    done: bool,
}

/// The fields of a header (RFC 6396 §2).
struct Header {
    seconds: u32,
    kind: u16,
    subtype: u16,
    length: u32,
}

impl Header {
    fn read(bytes: [u8; HEADER]) -> Self {
        let [s0, s1, s2, s3, k0, k1, t0, t1, l0, l1, l2, l3] = bytes;
        Self {
            seconds: u32::from_be_bytes([s0, s1, s2, s3]),
            kind: u16::from_be_bytes([k0, k1]),
            subtype: u16::from_be_bytes([t0, t1]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }
}

impl<R: Read> Reader<R> {
    /// From the first byte of a file.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, body: Vec::new(), done: false }
    }

    /// Bytes of the file before the next record.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record with the byte of the file that it begins at; `None` at the end of the file,
    /// and after an error that [is final](ReadError::is_final).
    ///
    /// # Errors
    /// What is wrong with the file, and where.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the reader")]
    pub fn next(&mut self) -> Option<Result<(u64, Record<'_>), ReadError>> {
        if self.done {
            return None;
        }
        let offset = self.offset;
        let header = match self.read_record() {
            Ok(header) => header?,
            Err(error) => {
                self.done = true;
                return Some(Err(error));
            }
        };
        let Header { seconds, kind, subtype, .. } = header;
        let record = Record::decode(seconds, kind, subtype, &self.body);
        let record = record.map_err(|(reason, rest)| {
            let at = HEADER + self.body.len() - rest.len();
            ReadError::Malformed { offset, kind, subtype, reason, at }
        });
        Some(record.map(|record| (offset, record)))
    }

    /// Fills `body`. `None` at the end of the file.
    fn read_record(&mut self) -> Result<Option<Header>, ReadError> {
        let offset = self.offset;
        let mut bytes = [0; HEADER];
        let found = read_up_to(&mut self.source, &mut bytes)
            .map_err(|source| ReadError::Io { offset, source })?;
        if found == 0 {
            self.done = true;
            return Ok(None);
        }
        if offset == 0
            && let Some(compression) = Compression::of(bytes.get(..found).unwrap_or_default())
        {
            return Err(ReadError::Compressed(compression));
        }
        let cut_off = |expected: usize, found: usize| ReadError::Truncated {
            offset,
            expected: expected as u64,
            found: found as u64,
        };
        if found < HEADER {
            return Err(cut_off(HEADER, found));
        }
        let header = Header::read(bytes);
        if header.length > MAX_BODY {
            let Header { kind, length, .. } = header;
            return Err(if offset == 0 {
                ReadError::NotMrt { kind, length }
            } else {
                ReadError::TooLong { offset, length }
            });
        }
        self.body.clear();
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let mut body = self.source.by_ref().take(u64::from(header.length));
        let found =
            body.read_to_end(&mut self.body).map_err(|source| ReadError::Io { offset, source })?;
        if found < length {
            return Err(cut_off(HEADER + length, HEADER + found));
        }
        self.offset += (HEADER + length) as u64;
        Ok(Some(header))
    }
}

/// Fills `buffer` as far as the source goes.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that promises 16 MiB, and a source that never gives them.
    #[test]
    fn a_length_costs_no_memory() {
        let bytes = [0, 0, 0, 1, 0, 11, 0, 0, 1, 0, 0, 0, 0xab];
        let mut reader = Reader::new(bytes.as_slice());
        assert!(matches!(reader.next(), Some(Err(ReadError::Truncated { .. }))));
        assert!(reader.body.capacity() < 1 << 16);
    }
}
