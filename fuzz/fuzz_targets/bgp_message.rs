//! BGP messages from a neighbor: framing and decoding, under every negotiated context.
//!
//! Input: two bytes that choose the context, then the stream that the neighbor sends; or, with
//! bit 2 of the second byte, a message type and a body that gets a good header here.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcc_bgp::wire::{
    DecodeContext, FamilyOptions, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, NeighborKind, decode,
    frame,
};

const BUILD_HEADER: u8 = 0b100;

fuzz_target!(|input: &[u8]| {
    let [first, second, stream @ ..] = input else { return };
    let bit = |byte: u8, bit: u8| byte & 1 << bit != 0;
    let family = |negotiated: bool, add_path| {
        negotiated.then_some(FamilyOptions { add_path, ipv6_next_hop: bit(*second, 0) })
    };
    let context = DecodeContext {
        neighbor: if bit(*first, 0) { NeighborKind::Internal } else { NeighborKind::External },
        four_octet_as: bit(*first, 1),
        ipv4_unicast: family(bit(*first, 2), bit(*first, 3)),
        ipv6_unicast: family(bit(*first, 4), bit(*first, 5)),
        enhanced_route_refresh: bit(*first, 6),
    };
    let max = if bit(*second, 1) { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE };

    if second & BUILD_HEADER == 0 {
        read_all(stream, max, &context);
    } else if let [message_type, body @ ..] = stream {
        let Ok(length) = u16::try_from(body.len() + 19) else { return };
        let mut message = vec![0xff; 16];
        message.extend(length.to_be_bytes());
        message.push(*message_type);
        message.extend(body);
        read_all(&message, max, &context);
    }
});

/// As a session reads: message after message, until one ends it.
fn read_all(mut stream: &[u8], max: usize, context: &DecodeContext) {
    loop {
        let framed = match frame(stream, max) {
            Ok(Some(framed)) => framed,
            Ok(None) => {
                assert!(stream.len() < max, "a reader would wait for ever");
                return;
            }
            Err(error) => {
                error.notification.to_string();
                return;
            }
        };
        let size = framed.len();
        assert!(size <= max);
        match decode(framed, context) {
            Ok(Message::Update(update)) => {
                assert!(update.announced.allocated() + update.withdrawn.allocated() <= 2 * size);
                assert_eq!(update.attributes.is_some(), !update.announced.is_empty());
                assert!(!update.treated_as_withdraw() || update.announced.is_empty());
                for finding in &update.findings {
                    assert!(finding.offset <= size, "{finding}");
                }
                for part in update.parts() {
                    for nlri in part.announced.iter().chain(&part.withdrawn) {
                        assert_eq!(nlri.prefix, nlri.prefix.trunc());
                        assert!(context.family(family_of(nlri.prefix.addr().is_ipv4())).is_some());
                    }
                    if let Some(attributes) = &part.attributes {
                        let read = attributes.decode();
                        read.as_path.to_string();
                        read.ipv6_extended_communities.iter().for_each(|it| drop(it.to_string()));
                    }
                }
            }
            Ok(Message::Notification(notification)) => {
                notification.to_string();
                let _text = notification.unwrapped().shutdown_text();
            }
            Ok(Message::Open(open)) => {
                assert!(open.asn != 0 && !matches!(open.hold_time, 1 | 2));
                assert!(!open.bgp_id.is_unspecified());
            }
            Ok(Message::Keepalive | Message::RouteRefresh(_)) => {}
            Err(error) => {
                assert!(error.offset <= size, "{error}");
                error.notification.to_string();
                return;
            }
        }
        stream = stream.get(size..).unwrap_or_default();
    }
}

fn family_of(is_ipv4: bool) -> mcc_bgp::wire::Family {
    use mcc_bgp::wire::Family;
    if is_ipv4 { Family::IPV4_UNICAST } else { Family::IPV6_UNICAST }
}
