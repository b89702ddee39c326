//! Every rule of RFC 7606, and of the RFCs that follow its scheme, by name: what a malformed
//! UPDATE is to be treated as.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by a panic what is wrong"
)]

mod support;

use mcc_bgp::wire::{DecodeContext, Disposition};
use support::{
    AS_PATH, AS_PATH_OLD, EXTERNAL, INTERNAL, MP_REACH, NEXT_HOP, OLD, ORIGIN, PREFIX, prefixes,
    read_update, told, update_message,
};

/// What becomes of the route.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Taken, without a finding.
    Taken,
    /// Taken, but for the attribute.
    Discard,
    /// Treated as withdrawn.
    Withdraw,
    /// The session ends with 3 and this subcode.
    Reset(u8),
}
use Fate::{Discard, Reset, Taken, Withdraw};

fn fate(bytes: &[u8], context: &DecodeContext) -> Fate {
    let update = match read_update(bytes, context) {
        Ok(update) => update,
        Err(error) => {
            let (code, subcode, _) = told(&error);
            assert_eq!(code, 3, "{error}");
            return Reset(subcode);
        }
    };
    let gravest = update.findings.iter().map(|finding| finding.disposition).max();
    for finding in &update.findings {
        assert!(finding.offset <= bytes.len() && finding.to_string().contains("RFC"), "{finding}");
    }
    assert_eq!(update.attributes.is_some(), !update.announced.is_empty());
    match gravest {
        None => {
            assert_eq!(prefixes(&update.announced), ["198.51.100.0/24"]);
            Taken
        }
        Some(Disposition::AttributeDiscard) => {
            assert_eq!(prefixes(&update.announced), ["198.51.100.0/24"]);
            Discard
        }
        Some(Disposition::TreatAsWithdraw) => {
            assert!(update.treated_as_withdraw());
            assert_eq!(prefixes(&update.withdrawn), ["198.51.100.0/24"]);
            assert!(update.announced.is_empty());
            Withdraw
        }
        Some(Disposition::SessionReset) => panic!("a reset is an error"),
    }
}

/// One attribute beside, or instead of, the mandatory ones.
struct Case(&'static str, &'static DecodeContext, &'static [u8], Fate);

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case("all is well",                             &EXTERNAL, &[], Taken),

    Case("7606 §7.1 ORIGIN of length 0",            &EXTERNAL, &[0x40, 1, 0], Withdraw),
    Case("7606 §7.1 ORIGIN of length 2",            &EXTERNAL, &[0x40, 1, 2, 0, 0], Withdraw),
    Case("7606 §7.1 ORIGIN 3",                      &EXTERNAL, &[0x40, 1, 1, 3], Withdraw),
    Case("4271 ORIGIN 2",                           &EXTERNAL, &[0x40, 1, 1, 2], Taken),

    Case("7606 §4 an empty AS_PATH is valid",       &INTERNAL, &[0x40, 2, 0], Taken),
    Case("7606 §7.2 unknown segment type",          &EXTERNAL, &[0x40, 2, 6, 5, 1, 0, 0, 0, 1], Withdraw),
    Case("7606 §7.2 segment type 0",                &EXTERNAL, &[0x40, 2, 6, 0, 1, 0, 0, 0, 1], Withdraw),
    Case("7606 §7.2 segment overrun",               &EXTERNAL, &[0x40, 2, 6, 2, 2, 0, 0, 0, 1], Withdraw),
    Case("7606 §7.2 segment underrun",              &EXTERNAL, &[0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2], Withdraw),
    Case("7606 §7.2 segment without AS numbers",    &EXTERNAL, &[0x40, 2, 2, 2, 0], Withdraw),
    Case("7607 §2 AS 0 in AS_PATH",                 &EXTERNAL, &[0x40, 2, 6, 2, 1, 0, 0, 0, 0], Withdraw),
    Case("9774 §3 AS_SET is the accept rules' business", &EXTERNAL, &[0x40, 2, 6, 1, 1, 0, 0, 0, 1], Taken),
    Case("5065 §5 confederation, external",         &EXTERNAL, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], Withdraw),
    Case("5065 §5 confederation, internal",         &INTERNAL, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], Taken),
    Case("9774 §3 AS_CONFED_SET too",               &INTERNAL, &[0x40, 2, 6, 4, 1, 0, 0, 0, 1], Taken),
    Case("5065 §5 AS_CONFED_SET, external",         &EXTERNAL, &[0x40, 2, 6, 4, 1, 0, 0, 0, 1], Withdraw),
    Case("6793 §4.1 two-octet AS_PATH on a new session", &EXTERNAL, &[0x40, 2, 4, 2, 1, 0xfe, 0x4c], Withdraw),

    Case("7606 §7.3 NEXT_HOP of length 3",          &EXTERNAL, &[0x40, 3, 3, 192, 0, 2], Withdraw),
    Case("7606 §7.3 NEXT_HOP of length 16",         &EXTERNAL, &[0x40, 3, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Withdraw),
    Case("7606 §3e NEXT_HOP 0.0.0.0",               &EXTERNAL, &[0x40, 3, 4, 0, 0, 0, 0], Withdraw),
    Case("7606 §3e NEXT_HOP of a multicast group",  &EXTERNAL, &[0x40, 3, 4, 224, 0, 0, 5], Withdraw),
    Case("7606 §3e NEXT_HOP 255.255.255.255",       &EXTERNAL, &[0x40, 3, 4, 255, 255, 255, 255], Withdraw),

    Case("7606 §7.4 MULTI_EXIT_DISC of length 3",   &EXTERNAL, &[0x80, 4, 3, 0, 0, 1], Withdraw),
    Case("4271 MULTI_EXIT_DISC",                    &EXTERNAL, &[0x80, 4, 4, 0, 0, 0, 1], Taken),

    Case("7606 §7.5 LOCAL_PREF, internal",          &INTERNAL, &[0x40, 5, 4, 0, 0, 0, 1], Taken),
    Case("7606 §7.5 LOCAL_PREF of length 3, internal", &INTERNAL, &[0x40, 5, 3, 0, 0, 1], Withdraw),
    Case("7606 §7.5 LOCAL_PREF, external",          &EXTERNAL, &[0x40, 5, 4, 0, 0, 0, 1], Discard),
    Case("7606 §7.5 LOCAL_PREF of length 3, external", &EXTERNAL, &[0x40, 5, 3, 0, 0, 1], Discard),

    Case("4271 ATOMIC_AGGREGATE",                   &EXTERNAL, &[0x40, 6, 0], Taken),
    Case("7606 §7.6 ATOMIC_AGGREGATE of length 1",  &EXTERNAL, &[0x40, 6, 1, 0], Discard),

    Case("6793 AGGREGATOR of length 8",             &EXTERNAL, &[0xc0, 7, 8, 0, 0, 0, 1, 192, 0, 2, 1], Taken),
    Case("7606 §7.7 AGGREGATOR of length 6, four-octet AS", &EXTERNAL, &[0xc0, 7, 6, 0, 1, 192, 0, 2, 1], Discard),
    Case("7606 §7.7 AGGREGATOR of length 8, two-octet AS", &OLD, &[0xc0, 7, 8, 0, 0, 0, 1, 192, 0, 2, 1], Discard),
    Case("7607 §2 AGGREGATOR of AS 0",              &EXTERNAL, &[0xc0, 7, 8, 0, 0, 0, 0, 192, 0, 2, 1], Discard),
    Case("7607 §2 AGGREGATOR of AS 0, two-octet AS", &OLD,     &[0xc0, 7, 6, 0, 0, 192, 0, 2, 1], Discard),

    Case("1997 COMMUNITIES",                        &EXTERNAL, &[0xc0, 8, 4, 0xfe, 0x4c, 3, 0x8f], Taken),
    Case("7606 §7.8 COMMUNITIES of length 0",       &EXTERNAL, &[0xc0, 8, 0], Withdraw),
    Case("7606 §7.8 COMMUNITIES of length 5",       &EXTERNAL, &[0xc0, 8, 5, 0, 0, 0, 1, 0], Withdraw),

    Case("7606 §7.9 ORIGINATOR_ID, internal",       &INTERNAL, &[0x80, 9, 4, 192, 0, 2, 1], Taken),
    Case("7606 §7.9 ORIGINATOR_ID of length 5, internal", &INTERNAL, &[0x80, 9, 5, 192, 0, 2, 1, 0], Withdraw),
    Case("7606 §7.9 ORIGINATOR_ID, external",       &EXTERNAL, &[0x80, 9, 4, 192, 0, 2, 1], Discard),
    Case("7606 §7.9 ORIGINATOR_ID of length 5, external", &EXTERNAL, &[0x80, 9, 5, 192, 0, 2, 1, 0], Discard),

    Case("7606 §7.10 CLUSTER_LIST, internal",       &INTERNAL, &[0x80, 10, 8, 1, 1, 1, 1, 2, 2, 2, 2], Taken),
    Case("7606 §7.10 CLUSTER_LIST of length 0, internal", &INTERNAL, &[0x80, 10, 0], Withdraw),
    Case("7606 §7.10 CLUSTER_LIST of length 6, internal", &INTERNAL, &[0x80, 10, 6, 1, 1, 1, 1, 2, 2], Withdraw),
    Case("7606 §7.10 CLUSTER_LIST, external",       &EXTERNAL, &[0x80, 10, 6, 1, 1, 1, 1, 2, 2], Discard),

    Case("7606 §7.14 EXTENDED COMMUNITIES of length 0", &EXTERNAL, &[0xc0, 16, 0], Withdraw),
    Case("7606 §7.14 EXTENDED COMMUNITIES of length 7", &EXTERNAL, &[0xc0, 16, 7, 0, 2, 0, 0, 0, 0, 0], Withdraw),
    Case("7606 §7.14 EXTENDED COMMUNITIES of an unknown type", &EXTERNAL, &[0xc0, 16, 8, 0x3e, 0xee, 0, 0, 0, 0, 0, 0], Taken),
    Case("7606 §7.15 IPv6 EXTENDED COMMUNITIES of length 8", &EXTERNAL, &[0xc0, 25, 8, 0, 2, 0, 0, 0, 0, 0, 0], Withdraw),

    Case("8092 §6 LARGE_COMMUNITY of length 0",     &EXTERNAL, &[0xc0, 32, 0], Withdraw),
    Case("8092 §6 LARGE_COMMUNITY of length 13",    &EXTERNAL, &[0xc0, 32, 13, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0], Withdraw),
    Case("9234 §5 ONLY_TO_CUSTOMER",                &EXTERNAL, &[0xc0, 35, 4, 0, 0, 0, 1], Taken),
    Case("9234 §5 ONLY_TO_CUSTOMER of length 2",    &EXTERNAL, &[0xc0, 35, 2, 0, 1], Withdraw),

    Case("6793 §4.1 AS4_PATH from a new speaker",   &EXTERNAL, &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1], Discard),
    Case("6793 §4.1 a malformed one",               &EXTERNAL, &[0xc0, 17, 1, 2], Discard),
    Case("6793 AS4_PATH from an old speaker",       &OLD,      &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1], Taken),
    Case("6793 §6 AS4_PATH of length 0",            &OLD,      &[0xc0, 17, 0], Discard),
    Case("6793 §6 AS4_PATH of an odd length",       &OLD,      &[0xc0, 17, 7, 2, 1, 0, 0, 0, 1, 0], Discard),
    Case("6793 §6 AS4_PATH with an overrun",        &OLD,      &[0xc0, 17, 6, 2, 2, 0, 0, 0, 1], Discard),
    Case("6793 §6 AS4_PATH with a confederation only", &OLD,   &[0xc0, 17, 6, 3, 1, 0, 0, 0, 1], Discard),
    Case("7607 §2 AS 0 in AS4_PATH",                &OLD,      &[0xc0, 17, 6, 2, 1, 0, 0, 0, 0], Discard),
    Case("9774 §3 AS_SET in AS4_PATH",              &OLD,      &[0xc0, 17, 6, 1, 1, 0, 0, 0, 1], Taken),
    Case("6793 §4.1 AS4_AGGREGATOR from a new speaker", &EXTERNAL, &[0xc0, 18, 8, 0, 1, 0, 0, 192, 0, 2, 1], Discard),
    Case("6793 §6 AS4_AGGREGATOR of length 6",      &OLD,      &[0xc0, 18, 6, 0, 1, 192, 0, 2, 1], Discard),
    Case("7607 §2 AS4_AGGREGATOR of AS 0",          &OLD,      &[0xc0, 18, 8, 0, 0, 0, 0, 192, 0, 2, 1], Discard),

    Case("7606 §3c ORIGIN with Optional",           &EXTERNAL, &[0xc0, 1, 1, 0], Withdraw),
    Case("7606 §3c ORIGIN without Transitive",      &EXTERNAL, &[0x00, 1, 1, 0], Withdraw),
    Case("7606 §3c MULTI_EXIT_DISC with Transitive", &EXTERNAL, &[0xc0, 4, 4, 0, 0, 0, 1], Withdraw),
    Case("7606 §3c COMMUNITIES without Transitive", &EXTERNAL, &[0x80, 8, 4, 0, 0, 0, 1], Withdraw),
    Case("7606 §3c ATOMIC_AGGREGATE with Optional", &EXTERNAL, &[0xc0, 6, 0], Withdraw),
    Case("7606 §3c the Partial flag is not judged", &EXTERNAL, &[0x60, 1, 1, 0], Taken),
    Case("7606 §3c unused flags are not judged",    &EXTERNAL, &[0x4f, 1, 1, 0], Taken),
    Case("4271 §4.3 two bytes for a short length",  &EXTERNAL, &[0x50, 1, 0, 1, 0], Taken),

    Case("4271 §6.3 unknown well-known attribute",  &EXTERNAL, &[0x40, 99, 1, 0], Reset(2)),
    Case("4271 §5 unknown optional transitive",     &EXTERNAL, &[0xc0, 99, 1, 0], Taken),
    Case("4271 §5 unknown optional non-transitive", &EXTERNAL, &[0x80, 99, 0], Taken),
    Case("8669 Prefix-SID is not looked into",      &EXTERNAL, &[0xc0, 40, 1, 0xff], Taken),

    Case("7606 §4 last attribute overruns",         &EXTERNAL, &[0xc0, 8, 8, 0, 0, 0, 1], Withdraw),
    Case("7606 §4 last attribute overruns, extended length", &EXTERNAL, &[0xd0, 8, 0xff, 0xff, 0, 0, 0, 1], Withdraw),
    Case("7606 §4 two bytes are left",              &EXTERNAL, &[0xc0, 8], Withdraw),
    Case("7606 §4 one byte is left",                &EXTERNAL, &[0xc0], Withdraw),
    Case("7606 §4 three bytes with extended length are left", &EXTERNAL, &[0xd0, 8, 0], Withdraw),

    Case("7606 §4 an overrun that begins like no attribute with prefixes", &EXTERNAL, &[0x80, 13, 30, 0, 2, 1], Withdraw),
    Case("7606 §3j MP_REACH_NLRI overruns",         &EXTERNAL, &[0x80, 14, 30, 0, 2, 1], Reset(9)),
    Case("7606 §3j MP_REACH_NLRI overruns, extended length", &EXTERNAL, &[0x90, 14, 1, 0, 0, 2, 1], Reset(9)),
    Case("7606 §3j MP_REACH_NLRI without a length", &EXTERNAL, &[0x80, 14], Reset(9)),
    Case("7606 §3j MP_UNREACH_NLRI overruns",       &EXTERNAL, &[0x80, 15, 4, 0, 2, 1], Reset(9)),

    Case("7606 §5.3 MP_REACH_NLRI of length 4",     &EXTERNAL, &[0x80, 14, 4, 0, 2, 1, 0], Reset(9)),
    Case("7606 §5.3 MP_REACH_NLRI with Transitive", &EXTERNAL, &[0xc0, 14, 5, 0, 2, 1, 0, 0], Reset(4)),
    Case("7606 §7.11 next hop of length 4 for IPv6", &EXTERNAL, &[0x80, 14, 9, 0, 2, 1, 4, 192, 0, 2, 1, 0], Reset(9)),
    Case("7606 §7.11 next hop overruns",            &EXTERNAL, &[0x80, 14, 9, 0, 2, 1, 16, 192, 0, 2, 1, 0], Reset(9)),
    Case("7606 §7.11 IPv6 next hop for IPv4, not negotiated", &EXTERNAL, &[0x80, 14, 25, 0, 1, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 24, 192, 0, 2], Reset(9)),
    Case("7606 §5.3 a prefix of 129 bits",          &EXTERNAL, &[0x80, 14, 22, 0, 2, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 129], Reset(9)),
    Case("7606 §5.3 a prefix overruns in MP_UNREACH_NLRI", &EXTERNAL, &[0x80, 15, 5, 0, 2, 1, 32, 0x20], Reset(9)),
    Case("7606 §5.3 MP_UNREACH_NLRI of length 2",   &EXTERNAL, &[0x80, 15, 2, 0, 2], Reset(9)),
    Case("7606 §5.3 MP_UNREACH_NLRI with Transitive", &EXTERNAL, &[0xc0, 15, 3, 0, 2, 1], Reset(4)),
    Case("4760 §8 MP_REACH_NLRI of a family not negotiated", &EXTERNAL, &[0x80, 14, 5, 0, 1, 128, 0, 0], Discard),
    Case("4760 §8 MP_UNREACH_NLRI of a family not negotiated", &EXTERNAL, &[0x80, 15, 3, 0, 25, 70], Discard),
];

/// The mandatory attributes but that of the case, then the case's.
fn attributes_with(case: &[u8], context: &DecodeContext) -> Vec<u8> {
    let as_path = if context.four_octet_as { AS_PATH } else { AS_PATH_OLD };
    let mut attributes = Vec::new();
    for usual in [ORIGIN, as_path, NEXT_HOP] {
        if case.get(1) != Some(&usual[1]) {
            attributes.extend_from_slice(usual);
        }
    }
    attributes.extend_from_slice(case);
    attributes
}

#[test]
fn each_rule_has_its_fate() {
    let mut wrong = Vec::new();
    for Case(rule, context, attribute, expected) in CASES {
        let bytes = update_message(&[], &attributes_with(attribute, context), PREFIX);
        let found = fate(&bytes, context);
        if found != *expected {
            wrong.push(format!("{rule}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// RFC 7606 §5.2: without a reachable prefix nothing but a reset is safe, unless all that is
/// wrong is to be discarded.
#[test]
fn without_reachable_prefixes_a_withdraw_becomes_a_reset() {
    let cases: &[(&str, &[u8], Result<(), u8>)] = &[
        ("ORIGIN 3", &[0x40, 1, 1, 3], Err(6)),
        ("ORIGIN of length 2", &[0x40, 1, 2, 0, 0], Err(5)),
        ("ORIGIN with Optional", &[0xc0, 1, 1, 0], Err(4)),
        ("AS_PATH with an overrun", &[0x40, 2, 6, 2, 2, 0, 0, 0, 1], Err(11)),
        ("NEXT_HOP 0.0.0.0", &[0x40, 3, 4, 0, 0, 0, 0], Err(8)),
        ("COMMUNITIES of length 0", &[0xc0, 8, 0], Err(5)),
        ("an overrun", &[0xc0, 8, 8, 0], Err(1)),
        ("ATOMIC_AGGREGATE of length 1", &[0x40, 6, 1, 0], Ok(())),
        ("nothing wrong", &[0x40, 1, 1, 0], Ok(())),
    ];
    for (what, attribute, expected) in cases {
        // Withdrawn routes do not count: they are not reachable.
        for withdrawn in [&[], PREFIX] {
            let found = read_update(&update_message(withdrawn, attribute, &[]), &EXTERNAL);
            match (found, expected) {
                (Ok(update), Ok(())) => assert_eq!(update.attributes, None, "{what}"),
                (Err(error), Err(subcode)) => {
                    assert_eq!(told(&error), (3, *subcode, attribute.to_vec()), "{what}");
                }
                (found, _) => panic!("{what}: {found:?}"),
            }
        }
    }
    let foreign = [&[0x80, 14, 5, 0, 1, 128, 0, 0], [0xc0, 8, 0].as_slice()].concat();
    let update = read_update(&update_message(&[], &foreign, &[]), &EXTERNAL).unwrap();
    assert!(update.treated_as_withdraw(), "prefixes of another family are reachable prefixes");
}

/// RFC 7606 §3d. `NEXT_HOP` is mandatory only beside the NLRI field.
#[test]
fn a_missing_mandatory_attribute_withdraws() {
    let all = [(1, ORIGIN), (2, AS_PATH), (3, NEXT_HOP)];
    for (missing, _) in all {
        let attributes: Vec<u8> = all
            .iter()
            .filter(|(code, _)| *code != missing)
            .flat_map(|(_, it)| it.to_vec())
            .collect();
        let bytes = update_message(&[], &attributes, PREFIX);
        assert_eq!(fate(&bytes, &EXTERNAL), Withdraw, "{missing}");
        let update = read_update(&bytes, &EXTERNAL).unwrap();
        assert_eq!(update.findings[0].attribute, Some(missing));

        let attributes = [MP_REACH, &attributes].concat();
        let update = read_update(&update_message(&[], &attributes, &[]), &EXTERNAL).unwrap();
        assert_eq!(update.treated_as_withdraw(), missing != 3, "{missing}");
    }
    let withdrawal = read_update(&update_message(PREFIX, &[], &[]), &EXTERNAL).unwrap();
    assert_eq!(withdrawal.findings, [], "a withdrawal needs no attributes");
}

/// RFC 7606 §3g.
#[test]
fn of_duplicates_the_first_is_kept() {
    let med = |value| [0x80, 4, 4, 0, 0, 0, value];
    let attributes = [ORIGIN, AS_PATH, NEXT_HOP, &med(7), &med(8)].concat();
    let update = read_update(&update_message(&[], &attributes, PREFIX), &EXTERNAL).unwrap();
    assert_eq!(update.attributes.unwrap().decode().med, Some(7));
    assert_eq!(update.findings.len(), 1);
    assert_eq!(update.findings[0].disposition, Disposition::AttributeDiscard);

    let unknown = [0xc0, 99, 1, 0];
    let attributes = [ORIGIN, AS_PATH, NEXT_HOP, &unknown, &unknown].concat();
    assert_eq!(fate(&update_message(&[], &attributes, PREFIX), &EXTERNAL), Discard);

    let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    for twice in [MP_REACH, unreach] {
        let attributes = [ORIGIN, AS_PATH, twice, twice].concat();
        let error = read_update(&update_message(&[], &attributes, &[]), &EXTERNAL).unwrap_err();
        assert_eq!(told(&error), (3, 1, twice.to_vec()));
    }
}

/// RFC 7606 §3h.
#[test]
fn the_gravest_of_several_faults_counts() {
    let discard: &[u8] = &[0x40, 6, 1, 0];
    let withdraw: &[u8] = &[0xc0, 8, 0];
    let reset: &[u8] = &[0x80, 15, 2, 0, 2];
    let usual = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    for (faults, expected, count) in
        [(vec![withdraw, discard], Withdraw, 2), (vec![discard, discard], Discard, 2)]
    {
        let bytes = update_message(&[], &[&usual, &*faults.concat()].concat(), PREFIX);
        assert_eq!(fate(&bytes, &EXTERNAL), expected);
        assert_eq!(read_update(&bytes, &EXTERNAL).unwrap().findings.len(), count);
    }
    let attributes = [&usual, discard, withdraw, reset].concat();
    assert_eq!(fate(&update_message(&[], &attributes, PREFIX), &EXTERNAL), Reset(9));
}

/// RFC 7606 §5.3 and §3j: prefixes that cannot be read leave a reset only.
#[test]
fn a_malformed_prefix_field_resets() {
    let usual = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    let cases: &[(&str, &[u8])] = &[
        ("33 bits", &[33, 192, 0, 2, 0, 0]),
        ("an overrun", &[24, 192, 0]),
        ("an overrun after a good one", &[8, 10, 32]),
    ];
    for (what, field) in cases {
        let announced = read_update(&update_message(&[], &usual, field), &EXTERNAL);
        let withdrawn = read_update(&update_message(field, &[], &[]), &EXTERNAL);
        for found in [announced, withdrawn] {
            assert_eq!(told(&found.unwrap_err()), (3, 10, vec![]), "{what}");
        }
    }
}

/// RFC 7606 §3b.
#[test]
fn lengths_beyond_the_message_reset() {
    for (withdrawn, attributes) in [(1_u16, 0_u16), (0, 1), (0xffff, 0)] {
        let body = [withdrawn.to_be_bytes(), attributes.to_be_bytes()].concat();
        let error = read_update(&support::message(2, &body), &EXTERNAL).unwrap_err();
        assert_eq!(told(&error), (3, 1, vec![]));
    }
}

#[test]
fn ipv4_routes_without_ipv4_negotiated_are_ignored() {
    let context = DecodeContext { ipv4_unicast: None, ..EXTERNAL };
    let usual = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    for bytes in [
        update_message(&[], &usual, PREFIX),
        update_message(PREFIX, &[], &[]),
        update_message(&[], &[], &[]),
    ] {
        let update = read_update(&bytes, &context).unwrap();
        assert!(update.announced.is_empty() && update.withdrawn.is_empty());
        assert_eq!(update.end_of_rib, None);
        assert_eq!(update.findings.len(), 1);
    }
}
