//! What a body reader takes, and the words with which it refuses the rest.

use proptest::prelude::*;

use super::*;
use crate::feed::testing::{any_changes, any_table, records};
use crate::feed::{Digest, RouteTable, SessionId};

const SESSION: &str = "0190b8a3-6b5e-7000-8000-000000000001";

fn session() -> SessionId {
    SESSION.parse().unwrap()
}

/// The head of a delta, then these lines.
fn delta(lines: &[&str]) -> String {
    let digest = Digest::EMPTY;
    let head = format!(
        r#"{{"kind":"delta","version":1,"session":"{SESSION}","from":1,"to":2,"digest":"{digest}"}}"#
    );
    format!("{head}\n{}", lines.join("\n"))
}

fn snapshot(routes: u64, lines: &[&str]) -> String {
    let digest = Digest::EMPTY;
    let head = format!(
        r#"{{"kind":"snapshot","version":1,"session":"{SESSION}","serial":1,"digest":"{digest}","routes":{routes}}}"#
    );
    format!("{head}\n{}", lines.join("\n"))
}

fn refusal(body: &str, limits: &BodyLimits) -> String {
    read(body.as_bytes(), Encoding::Identity, limits).unwrap_err().to_string()
}

#[test]
fn a_delta_written_by_hand() {
    let body = delta(&[
        r#"{"op":"-","prefix":"192.0.2.0/24"}"#,
        r#"{"op":"+","prefix":"198.51.100.0/24","source":"bgp","path_len":3,"med":10,"neighbor_asn":65100,"communities":["65100:911"]}"#,
        r#"{"op":"+","prefix":"203.0.113.0/24","source":"manual","path_len":0}"#,
    ]);
    let Body::Delta { from: 1, position, changes } =
        read(body.as_bytes(), Encoding::Identity, &BodyLimits::default()).unwrap()
    else {
        panic!("no delta")
    };
    assert_eq!(position, Position { session: session(), serial: 2, digest: Digest::EMPTY });
    let learned = RouteAttributes {
        med: Some(10),
        communities: vec!["65100:911".to_owned()],
        ..RouteAttributes::bgp(3, 65100)
    };
    assert_eq!(
        changes,
        [
            Change::Absent("192.0.2.0/24".parse().unwrap()),
            Change::new("198.51.100.0/24".parse().unwrap(), Some(Arc::new(learned))),
            Change::new(
                "203.0.113.0/24".parse().unwrap(),
                Some(Arc::new(RouteAttributes::manual()))
            ),
        ]
    );
}

#[test]
fn refusals_name_the_line_and_the_way_out() {
    let present = r#"{"op":"+","prefix":"192.0.2.0/24","source":"bgp","path_len":1}"#;
    let absent = r#"{"op":"-","prefix":"192.0.2.0/24"}"#;
    for (body, expected) in [
        (String::new(), "line 1: there is no first line"),
        ("{}".to_owned(), "line 1: missing field `kind`"),
        (
            delta(&[]).replace(r#""version":1"#, r#""version":2"#),
            "line 1: version 2 is not known here: this end speaks version 1",
        ),
        (delta(&[]).replace(r#""to":2"#, r#""to":1"#), "line 1: serials 1 to 1: they grow"),
        (
            delta(&[]).replace(r#""to":2"#, r#""to":9007199254740992"#),
            "line 1: serials 1 to 9007199254740992: they grow, from 1 to 9007199254740991",
        ),
        (snapshot(0, &[]).replace(r#""serial":1"#, r#""serial":0"#), "line 1: serials 0 to 0"),
        (delta(&[]).replace(SESSION, "1"), "line 1: `1` is no session: a UUID such as"),
        (delta(&[present, ""]) + "\n", "line 3: EOF while parsing"),
        (delta(&["{"]), "line 2: EOF while parsing"),
        (delta(&[r#"{"op":"*","prefix":"192.0.2.0/24"}"#]), "line 2: unknown variant `*`"),
        (
            delta(&[r#"{"op":"-","prefix":"192.0.2.0/24","color":1}"#]),
            "line 2: unknown field `color`",
        ),
        (
            delta(&[r#"{"op":"-","prefix":"192.0.2.0"}"#]),
            "line 2: `192.0.2.0` is no prefix: an address, '/', a length, as in 198.51.100.0/24",
        ),
        (
            delta(&[r#"{"op":"-","prefix":"192.0.2.1/24"}"#]),
            "line 2: 192.0.2.1/24 has host bits set: 192.0.2.0/24 would be right",
        ),
        (
            delta(&[present, absent]),
            "line 3: 192.0.2.0/24 comes after 192.0.2.0/24: prefixes are in ascending order",
        ),
        (
            delta(&[present, r#"{"op":"-","prefix":"192.0.0.0/16"}"#]),
            "line 3: 192.0.0.0/16 comes after 192.0.2.0/24",
        ),
        (
            delta(&[r#"{"op":"+","prefix":"192.0.2.0/24","path_len":1}"#]),
            "line 2: `source` is missing: a line with \"op\":\"+\" has source and path_len",
        ),
        (
            delta(&[r#"{"op":"-","prefix":"192.0.2.0/24","med":1}"#]),
            "line 2: a line with \"op\":\"-\" has a prefix and nothing else",
        ),
        (snapshot(1, &[absent]), "line 2: \"op\":\"-\" in a snapshot"),
        (snapshot(2, &[present]), "line 0: the first line says 2 routes, the body has 1"),
        (snapshot(0, &[present]), "line 0: the first line says 0 routes, the body has 1"),
    ] {
        let found = refusal(&body, &BodyLimits::default());
        assert!(found.starts_with(expected), "{body}\nexpected: {expected}\nfound: {found}");
    }
}

#[test]
fn each_limit_is_kept_and_named() {
    let present = r#"{"op":"+","prefix":"192.0.2.0/24","source":"bgp","path_len":1}"#;
    let body = delta(&[present]);
    let exact = BodyLimits {
        decompressed_bytes: body.len() as u64,
        line_bytes: body.lines().map(str::len).max().unwrap() as u64,
        routes: 1,
        ..BodyLimits::default()
    };
    assert!(read(body.as_bytes(), Encoding::Identity, &exact).is_ok());
    for (limits, expected) in [
        (
            BodyLimits { decompressed_bytes: exact.decompressed_bytes - 1, ..exact },
            format!("line 2: the body is longer than {} bytes", body.len() - 1),
        ),
        (
            BodyLimits { line_bytes: exact.line_bytes - 1, ..exact },
            format!("line 1: longer than {} bytes", exact.line_bytes - 1),
        ),
        (BodyLimits { routes: 0, ..exact }, "line 2: more than 0 prefixes".to_owned()),
    ] {
        let error = read(body.as_bytes(), Encoding::Identity, &limits).unwrap_err();
        assert!(error.is_too_large(), "{error}");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[test]
fn a_bomb_is_given_up_at_the_limit() {
    // 32 MiB in a few kilobytes.
    let bomb = |byte| {
        let text = delta(&[]);
        let rest = io::repeat(byte).take(32 << 20);
        zstd::encode_all(text.as_bytes().chain(rest), 1).unwrap()
    };
    assert!(bomb(b' ').len() < 8 << 10);
    let found = |byte, limits: &BodyLimits| {
        read(&bomb(byte), Encoding::Zstd, limits).unwrap_err().to_string()
    };
    assert_eq!(found(b' ', &BodyLimits::default()), "line 2: longer than 262144 bytes");
    let one_mib =
        BodyLimits { decompressed_bytes: 1 << 20, line_bytes: u64::MAX, ..BodyLimits::default() };
    assert_eq!(
        found(b' ', &one_mib),
        "line 2: the body is longer than 1048576 bytes after decompression"
    );
}

#[test]
fn a_window_larger_than_ours_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(delta(&[]).as_bytes()).unwrap();
    let error =
        read(&encoder.finish().unwrap(), Encoding::Zstd, &BodyLimits::default()).unwrap_err();
    assert!(error.to_string().contains("cannot be decompressed"), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_read(table in any_table(), changes in any_changes()) {
        let table: RouteTable = records(&table).into_iter().collect();
        let (session, digest) = (session(), table.digest());
        let routes = table.len() as u64;
        let head = Head::Snapshot { version: VERSION, session, serial: 7, digest, routes };
        let body = write(&head, table.records().map(Change::Present)).unwrap();
        let position = Position { session, serial: 7, digest };
        prop_assert_eq!(
            read(&body, Encoding::Zstd, &BodyLimits::default()).unwrap(),
            Body::Snapshot { position, routes: table.records().collect() }
        );

        let head = Head::Delta { version: VERSION, session, from: 3, to: 7, digest };
        let body = write(&head, changes.iter().cloned()).unwrap();
        prop_assert_eq!(
            read(&body, Encoding::Zstd, &BodyLimits::default()).unwrap(),
            Body::Delta { from: 3, position, changes }
        );
    }

    #[test]
    fn no_part_of_a_body_passes_for_a_whole(table in any_table(), cut in any::<prop::sample::Index>()) {
        prop_assume!(!table.is_empty());
        let table: RouteTable = records(&table).into_iter().collect();
        let digest = table.digest();
        let routes = table.len() as u64;
        let head = Head::Snapshot { version: VERSION, session: session(), serial: 7, digest, routes };
        let body = write(&head, table.records().map(Change::Present)).unwrap();
        let part = &body[..cut.index(body.len())];
        prop_assert!(read(part, Encoding::Zstd, &BodyLimits::default()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, Encoding::Identity, &BodyLimits::default());
        let _ = read(&bytes, Encoding::Zstd, &BodyLimits::default());
        let mut body = delta(&[]).into_bytes();
        body.extend(bytes);
        let _ = read(&body, Encoding::Identity, &BodyLimits::default());
    }
}
