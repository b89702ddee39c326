//! How an [`ObjectMeta`] is kept in memory: a fifth of the size, for a cache knows many objects of which
//! few are asked for at a time. Made up each time that somebody asks, without copying a value.
//!
//! Validators and header fields lie in one piece of memory. A length is written seven bits at a
//! time, and a name that is common is one byte.

use bytes::{Buf as _, Bytes};
use http::header::{self, HeaderName, HeaderValue};

use super::object::ObjectMeta;

/// Names that are written as their place here plus one. In memory only: the order does not matter.
static COMMON: [HeaderName; 36] = [
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::AGE,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPIRES,
    header::LINK,
    header::SERVER,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::VIA,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("ms-correlationid"),
    HeaderName::from_static("ms-cv"),
    HeaderName::from_static("ms-requestid"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("x-amz-request-id"),
    HeaderName::from_static("x-azure-ref"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("x-ccc"),
    HeaderName::from_static("x-cid"),
    HeaderName::from_static("x-ms-request-id"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-request-id"),
];

/// All of an [`ObjectMeta`] but the length, which never changes.
#[derive(Debug)]
pub(super) struct PackedMeta {
    pub(super) stored_at: u64,
    pub(super) fresh_until: u64,
    fields: Bytes,
}

impl PackedMeta {
    pub(super) fn pack(meta: &ObjectMeta) -> Self {
        let mut fields = Vec::new();
        for validator in [&meta.etag, &meta.last_modified] {
            match validator {
                None => put_number(&mut fields, 0),
                Some(value) => {
                    put_number(&mut fields, value.len() + 1);
                    fields.extend_from_slice(value.as_bytes());
                }
            }
        }
        for (name, value) in &meta.headers {
            let place = COMMON.iter().position(|common| common == name);
            put_number(&mut fields, place.map_or(0, |place| place + 1));
            if place.is_none() {
                put(&mut fields, name.as_str().as_bytes());
            }
            put(&mut fields, value.as_bytes());
        }
        let fields = Bytes::from(fields.into_boxed_slice());
        Self { stored_at: meta.stored_at, fresh_until: meta.fresh_until, fields }
    }

    pub(super) fn unpack(&self, length: u64) -> ObjectMeta {
        let mut meta = ObjectMeta {
            length,
            stored_at: self.stored_at,
            fresh_until: self.fresh_until,
            ..ObjectMeta::default()
        };
        // What is in `fields` was put there by `pack`, and ends where it ends.
        let _ = unpack_fields(self.fields.clone(), &mut meta);
        meta
    }
}

fn unpack_fields(mut rest: Bytes, meta: &mut ObjectMeta) -> Option<()> {
    for validator in [&mut meta.etag, &mut meta.last_modified] {
        if let Some(length) = take_number(&mut rest)?.checked_sub(1) {
            *validator = Some(take_value(&mut rest, length)?);
        }
    }
    while !rest.is_empty() {
        let name = match take_number(&mut rest)?.checked_sub(1) {
            Some(place) => COMMON.get(place)?.clone(),
            None => {
                let length = take_number(&mut rest)?;
                HeaderName::from_bytes(&take(&mut rest, length)?).ok()?
            }
        };
        let length = take_number(&mut rest)?;
        meta.headers.push((name, take_value(&mut rest, length)?));
    }
    Some(())
}

fn put(fields: &mut Vec<u8>, bytes: &[u8]) {
    put_number(fields, bytes.len());
    fields.extend_from_slice(bytes);
}

/// Seven bits at a time, the low ones first; the highest bit of a byte says that more follow.
fn put_number(fields: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        fields.push(number as u8 | 0x80);
        number >>= 7;
    }
    fields.push(number as u8);
}

fn take_number(rest: &mut Bytes) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = rest.try_get_u8().ok()?;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn take_value(rest: &mut Bytes, length: usize) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(take(rest, length)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = HeaderValue> {
        let short = "[ -~]{0,40}";
        prop_oneof![9 => short, 1 => "[a-z]{120,300}"]
            .prop_map(|text| HeaderValue::from_str(&text).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            length: u64, stored_at: u64, fresh_until: u64,
            etag in proptest::option::of(value()), last_modified in proptest::option::of(value()),
            known in proptest::collection::vec((0..COMMON.len(), value()), 0..6),
            others in proptest::collection::vec(("[a-z][a-z0-9-]{0,140}", value()), 0..4),
        ) {
            let known = known.into_iter().map(|(place, value)| (COMMON[place].clone(), value));
            let others = others.into_iter().map(|(name, value)| (name.parse().unwrap(), value));
            let headers = known.chain(others).collect();
            let meta = ObjectMeta { length, etag, last_modified, headers, stored_at, fresh_until };
            prop_assert_eq!(PackedMeta::pack(&meta).unpack(length), meta);
        }
    }

    #[test]
    fn it_is_small() {
        let value = HeaderValue::from_static;
        let meta = ObjectMeta {
            etag: Some(value("\"0123456789abcdef\"")),
            headers: vec![
                (header::CONTENT_TYPE, value("application/octet-stream")),
                (header::CACHE_CONTROL, value("public, max-age=17280000")),
            ],
            ..ObjectMeta::default()
        };
        assert_eq!(PackedMeta::pack(&meta).fields.len(), 1 + 18 + 1 + (2 + 24) * 2);
    }
}
