//! `multipart/byteranges` (RFC 9110 §14.6): what stands between the parts, and how long it all is.

use bytes::Bytes;
use http::HeaderValue;

use super::head::ascii;
use crate::range::ByteRange;

/// The frame of a multipart body.
pub(crate) struct Multipart {
    /// For the head of the answer.
    pub(crate) content_type: HeaderValue,
    /// Each range with the text in front of it.
    pub(crate) parts: Vec<(Bytes, ByteRange)>,
    /// What ends the body.
    pub(crate) end: Bytes,
}

impl Multipart {
    /// Frames `ranges` of an object of `total` bytes. `boundary` must not occur in the content; random digits
    /// will not.
    pub(crate) fn new(
        ranges: &[ByteRange],
        total: u64,
        content_type: Option<&HeaderValue>,
        boundary: u64,
    ) -> Self {
        let boundary = format!("mcc-{boundary:016x}");
        let kind = content_type.and_then(|kind| kind.to_str().ok());
        let kind = kind.map_or_else(String::new, |kind| format!("Content-Type: {kind}\r\n"));
        let part = |range: &ByteRange| {
            let (first, last) = (range.start(), range.last());
            let head = format!(
                "\r\n--{boundary}\r\n{kind}Content-Range: bytes {first}-{last}/{total}\r\n\r\n"
            );
            (Bytes::from(head), *range)
        };
        Self {
            content_type: ascii(&format!("multipart/byteranges; boundary={boundary}")),
            parts: ranges.iter().map(part).collect(),
            end: Bytes::from(format!("\r\n--{boundary}--\r\n")),
        }
    }

    /// The length of the body in bytes.
    pub(crate) fn length(&self) -> u64 {
        let parts: u64 =
            self.parts.iter().map(|(head, range)| head.len() as u64 + range.len()).sum();
        parts + self.end.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_each_range() {
        let ranges = [ByteRange::new(0, 2).unwrap(), ByteRange::new(500, 510).unwrap()];
        let kind = HeaderValue::from_static("image/gif");
        let multipart = Multipart::new(&ranges, 1000, Some(&kind), 7);
        assert_eq!(multipart.content_type, "multipart/byteranges; boundary=mcc-0000000000000007");
        assert_eq!(
            multipart.parts[1].0,
            "\r\n--mcc-0000000000000007\r\nContent-Type: image/gif\r\n\
             Content-Range: bytes 500-509/1000\r\n\r\n"
        );
        let texts = multipart.parts.iter().map(|(head, _)| head.len()).sum::<usize>();
        assert_eq!(multipart.length(), (texts + multipart.end.len() + 12) as u64);
    }
}
