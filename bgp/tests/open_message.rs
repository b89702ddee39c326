//! OPEN: each way to be right and to be wrong, byte by byte.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by a panic what is wrong"
)]

mod support;

use mcc_bgp::wire::{Capability, Family, Message, Open, Outgoing};
use support::{EXTERNAL, message, read, told};

/// Version 4, AS 65100, hold time 90, identifier 192.0.2.1; then length and parameters.
const FIXED: [u8; 9] = [4, 0xfe, 0x4c, 0, 90, 192, 0, 2, 1];

fn open_bytes(fixed: [u8; 9], parameters: &[u8]) -> Vec<u8> {
    message(1, &[&fixed, parameters].concat())
}

fn open(parameters: &[u8]) -> Open {
    match read(&open_bytes(FIXED, parameters), &EXTERNAL) {
        Ok(Message::Open(open)) => open,
        other => panic!("not an OPEN: {other:?}"),
    }
}

fn refused(fixed: [u8; 9], parameters: &[u8]) -> (u8, u8, Vec<u8>) {
    told(&read(&open_bytes(fixed, parameters), &EXTERNAL).unwrap_err())
}

#[test]
fn without_parameters() {
    let expected =
        Open { asn: 65100, hold_time: 90, bgp_id: [192, 0, 2, 1].into(), capabilities: vec![] };
    assert_eq!(open(&[0]), expected);
    assert_eq!(Outgoing::Open(expected).encode(), open_bytes(FIXED, &[0]));
}

#[test]
fn capabilities_in_one_parameter_or_in_several() {
    let expected =
        [Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(70000)];
    let one: &[u8] = &[14, 2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 1, 0x11, 0x70];
    let several: &[u8] = &[16, 2, 6, 1, 4, 0, 1, 0, 1, 2, 6, 65, 4, 0, 1, 0x11, 0x70];
    // RFC 9072 §2: also where the short form would do.
    let extended: &[u8] = &[255, 255, 0, 15, 2, 0, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 1, 0x11, 0x70];
    // RFC 9072 §2: the old length is not looked at, but for 0.
    let extended_with_another_length: &[u8] = &[7, 255, 0, 3, 2, 0, 0];
    for parameters in [one, several, extended] {
        let open = open(parameters);
        assert_eq!(open.capabilities, expected);
        assert_eq!(open.asn, 70000, "the capability has the true AS (RFC 6793 §4.1)");
    }
    assert_eq!(open(extended_with_another_length).capabilities, []);
}

#[test]
fn an_as_over_65535_goes_as_as_trans() {
    let capabilities = vec![Capability::FourOctetAs(70000)];
    let open = Open { asn: 70000, hold_time: 90, bgp_id: [192, 0, 2, 1].into(), capabilities };
    let fixed = [4, 0x5b, 0xa0, 0, 90, 192, 0, 2, 1];
    let expected = open_bytes(fixed, &[8, 2, 6, 65, 4, 0, 1, 0x11, 0x70]);
    assert_eq!(Outgoing::Open(open).encode(), expected);
}

#[test]
fn many_capabilities_take_the_extended_form() {
    let of_size = |size: usize| {
        let value = vec![7; size - 2].into();
        let capabilities = vec![Capability::Unknown { code: 200, value }];
        Outgoing::Open(Open {
            asn: 65100,
            hold_time: 90,
            bgp_id: [192, 0, 2, 1].into(),
            capabilities,
        })
    };
    // The first length that needs it: 253 bytes of capabilities and two of parameter are 255.
    let short = of_size(252).encode();
    assert_eq!(short[28..31], [254, 2, 252]);
    let long = of_size(253).encode();
    assert_eq!(long[28..35], [255, 255, 1, 0, 2, 0, 253]);
    for (sent, bytes) in [(of_size(252), short), (of_size(253), long)] {
        let Ok(Message::Open(read)) = read(&bytes, &EXTERNAL) else { panic!("not an OPEN") };
        assert_eq!(Outgoing::Open(read), sent);
    }
}

#[test]
fn an_open_never_grows_beyond_4096_bytes() {
    let value = vec![7; 255];
    let capability = Capability::Unknown { code: 200, value: value.into() };
    let open = Outgoing::Open(Open {
        asn: 65100,
        hold_time: 90,
        bgp_id: [192, 0, 2, 1].into(),
        capabilities: vec![capability; 20],
    });
    let Ok(Message::Open(read)) = read(&open.encode(), &EXTERNAL) else { panic!("not an OPEN") };
    assert_eq!(read.capabilities.len(), 15, "15 of 257 bytes fit");
}

#[test]
fn each_error_has_its_notification() {
    let with = |at: usize, value: u8| {
        let mut fixed = FIXED;
        fixed[at] = value;
        fixed
    };
    let no_as = [4, 0, 0, 0, 90, 192, 0, 2, 1];
    let no_id = [4, 0xfe, 0x4c, 0, 90, 0, 0, 0, 0];
    // What, fixed part, parameters, subcode, data.
    type Case<'a> = (&'a str, [u8; 9], &'a [u8], u8, &'a [u8]);
    let cases: &[Case<'_>] = &[
        ("4271 §6.2 version 3", with(0, 3), &[0], 1, &[0, 4]),
        ("4271 §6.2 version 5", with(0, 5), &[0], 1, &[0, 4]),
        ("7607 §2 AS 0", no_as, &[0], 2, &[]),
        ("7607 §2 AS 0 in the capability", FIXED, &[8, 2, 6, 65, 4, 0, 0, 0, 0], 2, &[]),
        ("4271 §6.2 hold time 1", with(4, 1), &[0], 6, &[]),
        ("4271 §6.2 hold time 2", with(4, 2), &[0], 6, &[]),
        ("6286 §2.2 identifier 0", no_id, &[0], 3, &[]),
        ("4271 §6.2 unknown parameter", FIXED, &[2, 1, 0], 4, &[]),
        ("4271 §6.2 parameters are too short", FIXED, &[4, 2, 0], 0, &[]),
        ("4271 §6.2 bytes after the parameters", FIXED, &[0, 2, 0], 0, &[]),
        ("4271 §6.2 a parameter overruns", FIXED, &[2, 2, 9], 0, &[]),
        ("5492 §4 a capability overruns", FIXED, &[4, 2, 2, 2, 9], 0, &[]),
        ("5492 §4 half a capability", FIXED, &[3, 2, 1, 2], 0, &[]),
        ("9072 §2 extended length overruns", FIXED, &[255, 255, 0, 9, 2, 0, 0], 0, &[]),
        ("9072 §2 a length of 0 is never extended", FIXED, &[0, 255, 0, 3, 2, 0, 0], 0, &[]),
        ("9072 §2 extended length is cut", FIXED, &[255, 255, 0], 0, &[]),
    ];
    for (what, fixed, parameters, subcode, data) in cases {
        assert_eq!(refused(*fixed, parameters), (2, *subcode, data.to_vec()), "{what}");
    }
    for hold_time in [0, 3] {
        assert!(read(&open_bytes(with(4, hold_time), &[0]), &EXTERNAL).is_ok(), "{hold_time}");
    }
    let multicast_id = [4, 0xfe, 0x4c, 0, 90, 224, 0, 0, 1];
    assert!(read(&open_bytes(multicast_id, &[0]), &EXTERNAL).is_ok(), "RFC 6286: any but 0");
}

#[test]
fn unknown_and_malformed_capabilities_do_no_harm() {
    let open = open(&[9, 2, 7, 99, 1, 0, 65, 2, 0, 1]);
    let codes: Vec<_> = open.capabilities.iter().map(Capability::code).collect();
    assert_eq!(codes, [99, 65]);
    assert_eq!(open.asn, 65100, "a malformed four-octet capability says nothing");
}
