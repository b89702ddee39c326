//! UPDATEs built byte by byte, and the way to read them.

#![allow(dead_code, reason = "each test program uses its part")]

use mcc_bgp::wire::{
    DecodeContext, DecodeError, FamilyOptions, MAX_EXTENDED_MESSAGE, Message, NeighborKind, Update,
    decode, frame,
};

/// eBGP, four-octet AS numbers, both families.
pub(crate) const EXTERNAL: DecodeContext = DecodeContext {
    neighbor: NeighborKind::External,
    four_octet_as: true,
    ipv4_unicast: Some(FamilyOptions { add_path: false, ipv6_next_hop: false }),
    ipv6_unicast: Some(FamilyOptions { add_path: false, ipv6_next_hop: false }),
    enhanced_route_refresh: false,
};
/// The same, iBGP.
pub(crate) const INTERNAL: DecodeContext =
    DecodeContext { neighbor: NeighborKind::Internal, ..EXTERNAL };
/// eBGP with two-octet AS numbers.
pub(crate) const OLD: DecodeContext = DecodeContext { four_octet_as: false, ..EXTERNAL };

pub(crate) const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
pub(crate) const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x4c];
pub(crate) const AS_PATH_OLD: &[u8] = &[0x40, 2, 4, 2, 1, 0xfe, 0x4c];
pub(crate) const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
/// 198.51.100.0/24.
pub(crate) const PREFIX: &[u8] = &[24, 198, 51, 100];
/// 2001:db8::/32 by way of 2001:db8::1.
pub(crate) const MP_REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0x20,
    1, 0xd, 0xb8,
];

pub(crate) fn message(code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    bytes.push(code);
    bytes.extend(body);
    bytes
}

pub(crate) fn update_message(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [withdrawn, attributes] {
        body.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
        body.extend(field);
    }
    body.extend(nlri);
    message(2, &body)
}

pub(crate) fn read(bytes: &[u8], context: &DecodeContext) -> Result<Message, DecodeError> {
    let frame = frame(bytes, MAX_EXTENDED_MESSAGE)?.expect("a whole message");
    assert_eq!(frame.len(), bytes.len());
    decode(frame, context)
}

pub(crate) fn read_update(bytes: &[u8], context: &DecodeContext) -> Result<Update, DecodeError> {
    match read(bytes, context)? {
        Message::Update(update) => Ok(update),
        other => panic!("not an UPDATE: {other:?}"),
    }
}

/// Prefixes as text, in order.
pub(crate) fn prefixes(list: &mcc_bgp::wire::NlriList) -> Vec<String> {
    list.iter().map(|nlri| nlri.prefix.to_string()).collect()
}

/// Code, subcode and data that the neighbor is told.
pub(crate) fn told(error: &DecodeError) -> (u8, u8, Vec<u8>) {
    let told = &error.notification;
    (told.code.into(), told.subcode, told.data.to_vec())
}
