//! A router that sends broken messages: the commands that show them, and those that sort routes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::support::command::{Output, mcc};
use crate::support::node::{Node, Setup};
use crate::support::terminal::mcc_on_terminal;

const ROUTER: &str = "127.0.0.61";
const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
/// There are 0, 1 and 2.
const BAD_ORIGIN: &[u8] = &[0x40, 1, 1, 7];
/// 64500.
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf4];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 127, 0, 0, 61];
const LOCAL_PREF: &[u8] = &[0x40, 5, 4, 0, 0, 0, 100];
/// 65100:911.
const COMMUNITY: &[u8] = &[0xc0, 8, 4, 0xfe, 0x4c, 3, 0x8f];
/// rt:65100:7.
const ROUTE_TARGET: &[u8] = &[0xc0, 16, 8, 0, 2, 0xfe, 0x4c, 0, 0, 0, 7];

fn message(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16], &length.to_be_bytes()[..], &[code], body].concat()
}

fn update(attributes: &[&[u8]], prefixes: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(2, &[&[0, 0], &length[..], &attributes, prefixes].concat())
}

/// All that the router says in its session.
fn speech() -> Vec<u8> {
    // AS 65100, hold time 90 s, identifier 10.0.0.61, four-octet AS numbers.
    let open = [4, 0xfe, 0x4c, 0, 90, 10, 0, 0, 61, 8, 2, 6, 65, 4, 0, 0, 0xfe, 0x4c];
    let plain = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    let tagged = [&plain[..], &[COMMUNITY, ROUTE_TARGET]].concat();
    [
        message(1, &open),
        message(4, &[]),
        update(&plain, &[24, 20, 0, 0, 24, 20, 0, 1, 28, 20, 0, 2, 16]),
        update(&tagged, &[24, 20, 0, 3]),
        update(&[BAD_ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF], &[24, 20, 0, 4, 24, 20, 0, 5]),
        // End-of-RIB.
        message(2, &[0, 0, 0, 0]),
    ]
    .concat()
}

/// Speaks to whoever connects, until they hang up; its port.
fn router(address: &str, speech: Vec<u8>) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // The node may hang up whenever it likes.
            let talk = |mut stream: TcpStream| {
                stream.write_all(&speech)?;
                stream.read_to_end(&mut Vec::new())
            };
            let _ = talk(stream.unwrap());
        }
    });
    port
}

fn neighbor(address: &str, port: u16, rest: &str) -> String {
    format!("[[bgp.neighbor]]\naddress = \"{address}\"\nport = {port}\nasn = 65100\n{rest}\n")
}

/// A node with that router, which has said everything.
fn stage() -> Node {
    let rest = neighbor(ROUTER, router(ROUTER, speech()), "");
    let node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest).start();
    node.wait_for("four routes and the broken ones", "bgp status", |status| {
        let neighbor = &status["neighbors"][0];
        (neighbor["received"] == 4 && neighbor["updates_treated_as_withdraw"] == 1).then_some(())
    });
    node
}

fn prefixes(output: &Output) -> Vec<String> {
    let json: Value = serde_json::from_str(&output.stdout).unwrap();
    let routes = json["routes"].as_array().unwrap().iter();
    routes.map(|route| route["prefix"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn broken_messages_are_shown_with_their_bytes_and_the_session_with_its_history() {
    let node = stage();
    let errors = node.ask("bgp errors --json").good().json();
    let error = &errors["errors"][0];
    assert_eq!(
        (&error["neighbor"], &error["disposition"], &error["prefixes"], &error["example"]),
        (&json!(ROUTER), &json!("treat_as_withdraw"), &json!(2), &json!("20.0.4.0/24"))
    );
    assert_eq!(error["faults"][0]["attribute"], "ORIGIN");
    assert_eq!(error["faults"][0]["rule"], "RFC 7606 §7.1");
    let table = node.ask(&format!("bgp errors {ROUTER}")).good().stdout;
    for words in ["ORIGIN: the value is not 0, 1 or 2", "treated as withdraw", "and 1 more"] {
        assert!(table.contains(words), "no {words} in:\n{table}");
    }
    let dump = node.ask("bgp errors --hex").good().stdout;
    assert!(dump.contains("at byte 23 (0x0017): ORIGIN"), "{dump}");
    assert!(dump.contains("0010  00 "), "{dump}");
    assert!(dump.contains(">40  01 01 07"), "the fault is marked:\n{dump}");

    let history = node.ask(&format!("bgp history {ROUTER} --messages")).good().stdout;
    for words in [
        "OpenConfirm → Established",
        "received OPEN",
        "AS 65100, hold time 90 s, identifier 10.0.0.61; capabilities: four-octet-as (65100)",
        "received End-of-RIB",
    ] {
        assert!(history.contains(words), "no {words} in:\n{history}");
    }
    let page = node.ask(&format!("bgp neighbor {ROUTER}")).good().stdout;
    for words in ["keepalive every 30 s", "1 treated as withdraw", "1 refused: too_long"] {
        assert!(page.contains(words), "no {words} in:\n{page}");
    }
    for question in ["errors", "history", "neighbor"] {
        let unknown = node.ask(&format!("bgp {question} 192.0.2.9"));
        assert_eq!(unknown.code, Some(1));
        let words = format!("no neighbor 192.0.2.9; the configured ones are: {ROUTER}");
        assert!(unknown.stderr.contains(&words), "{question}: {unknown:?}");
    }
}

#[test]
fn on_a_terminal_every_table_is_as_wide_as_the_terminal_at_most_and_nothing_is_left_out() {
    // What it sends on a line of its own, with long ones after the first.
    let path = [&[0x40, 2, 2 + 4 * 30, 2, 30][..], &[0, 0, 0xfb, 0xf4].repeat(30)].concat();
    let long = [ORIGIN, &path, NEXT_HOP, LOCAL_PREF, COMMUNITY, ROUTE_TARGET];
    let speech = [speech(), update(&long, &[24, 20, 0, 7])].concat();
    let rest = neighbor(ROUTER, router(ROUTER, speech), "")
        // Nobody is there.
        + &neighbor("127.0.0.62", 1, "description = \"the second router of the west\"");
    let node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest).start();
    node.wait_for("routes, and the router that is away", "bgp status", |status| {
        let neighbors = &status["neighbors"];
        (neighbors[0]["received"] == 5 && !neighbors[1]["dial_error"].is_null()).then_some(())
    });
    let neighbor = format!("bgp neighbor {ROUTER}");
    let commands = [
        "bgp status",
        "bgp errors",
        "bgp errors --hex",
        "bgp history --messages",
        &neighbor,
        "bgp neighbor 127.0.0.62",
        "bgp routes",
        "cache status",
        "footprint",
        "list",
        "status",
    ];
    for command in commands {
        for columns in [80, 100, 160] {
            let shown = node.show(command, columns);
            for line in shown.lines() {
                let width = line.chars().count();
                assert!(width <= columns.into(), "{command}: {width} columns:\n{shown}");
            }
        }
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let long_path = vec!["64500"; 13].join(" ");
    for (command, whole) in [
        ("bgp errors", "the value is not 0, 1 or 2 (RFC 7606 §7.1)"),
        ("bgp history --messages", "identifier 10.0.0.61; capabilities: four-octet-as (65100)"),
        ("bgp routes", &*long_path),
        ("bgp routes", "65100:911 rt:65100:7"),
        ("bgp routes", "too_long"),
    ] {
        let shown = node.show(command, 80);
        assert!(words(&shown).contains(whole), "no {whole} in:\n{shown}");
        // Another program gets a line each.
        let piped = node.ask(command).stdout;
        assert!(piped.lines().any(|line| line.contains(whole)), "no {whole} in:\n{piped}");
    }
    // A terminal that does not know how wide it is.
    let admin = format!("http://{}", node.setup.admin);
    let args = ["bgp", "errors", "--admin", &admin];
    let same = |environment: Option<&str>, columns: u16| {
        assert_eq!(mcc_on_terminal(&args, 0, environment), node.show("bgp errors", columns));
    };
    same(None, 100);
    same(Some("160"), 160);
}

#[test]
fn routes_are_found_by_what_became_of_them_their_path_and_their_communities() {
    let node = stage();
    let all = ["20.0.0.0/24", "20.0.1.0/24", "20.0.2.16/28", "20.0.3.0/24"];
    let (accepted, tagged) = (["20.0.0.0/24", "20.0.1.0/24", "20.0.3.0/24"], ["20.0.3.0/24"]);
    let cases: [(&str, &[&str]); 11] = [
        ("", &all),
        ("--accepted", &accepted),
        ("--rejected", &["20.0.2.16/28"]),
        ("--reason too_long", &["20.0.2.16/28"]),
        ("--reason bogon", &[]),
        ("--stale", &[]),
        ("--origin-as 64500", &all),
        ("--as 64501", &[]),
        ("--community 65100:911", &tagged),
        ("--community rt:65100:7 --accepted", &tagged),
        ("20.0.2.0/23 --longer", &["20.0.2.16/28", "20.0.3.0/24"]),
    ];
    for (filter, expected) in cases {
        let found = node.ask(&format!("bgp routes {filter} --json")).good();
        assert_eq!(prefixes(&found), expected, "{filter}");
        let count = node.ask(&format!("bgp routes {filter} --count")).good().stdout;
        assert_eq!(count, format!("{}\n", expected.len()), "{filter}");
    }
    let csv = node.ask("bgp routes --community 65100:911 --csv").good().stdout;
    let line = csv.lines().nth(1).unwrap();
    let expected = format!(
        "20.0.3.0/24,{ROUTER},0,64500,IGP,{ROUTER},,100,65100:911,,rt:65100:7,true,,false,"
    );
    assert!(line.starts_with(&expected), "{csv}");
    let limited = node.ask("bgp routes --limit 2 --json").good();
    assert_eq!(prefixes(&limited), all[..2]);
    for (filter, words) in [
        ("--reason toolong", "`toolong` is no reason to refuse a route; the reasons are: "),
        ("--community 65100", "`65100` is no community"),
        ("20.0.0.7 --longer", "`longer` goes with `prefix`"),
    ] {
        let wrong = node.ask(&format!("bgp routes {filter}"));
        assert_eq!(wrong.code, Some(2));
        assert!(wrong.stderr.contains(words), "{wrong:?}");
    }
    for form in ["", "--count", "--json"] {
        let unknown = node.ask(&format!("bgp routes --neighbor 192.0.2.9 {form}"));
        assert_eq!(unknown.code, Some(1), "{unknown:?}");
        assert!(unknown.stderr.contains("no neighbor 192.0.2.9"), "{unknown:?}");
    }
}

#[test]
fn a_session_that_is_reset_says_so_in_json_too() {
    let node = stage();
    let reset = node.ask(&format!("bgp reset {ROUTER} --json")).good().json();
    assert_eq!(reset, json!({ "address": ROUTER, "reset": true }));
    node.wait_for("the session again", "bgp status", |status| {
        let neighbor = &status["neighbors"][0];
        (neighbor["flaps"] == 1 && neighbor["state"] == "Established").then_some(())
    });
    // The router does not know route refresh.
    let refresh = node.ask(&format!("bgp refresh {ROUTER} --json"));
    assert_eq!((refresh.code, refresh.stdout.as_str()), (Some(1), ""), "{refresh:?}");
}

#[test]
fn a_capture_begins_with_the_opens_and_is_read_back() {
    let node = stage();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let capture = node.ask(&format!("bgp capture {ROUTER} --file {path} --duration 1")).good();
    assert!(capture.stdout.contains("messages and 0 changes of state in "), "{capture:?}");
    let mut captured = Vec::new();
    std::fs::File::open(path).unwrap().read_to_end(&mut captured).unwrap();
    // BGP4MP_ET (RFC 6396 §4.4), then our OPEN somewhere in it, then the router's.
    assert_eq!(captured[4..6], [0, 17]);
    let open = speech()[..37].to_vec();
    assert!(captured.windows(open.len()).any(|bytes| bytes == open));
    let unknown = node.ask(&format!("bgp capture 192.0.2.9 --file {path}.none"));
    assert_eq!(unknown.code, Some(1));
    assert!(!std::path::Path::new(&format!("{path}.none")).exists());
}

#[test]
fn routes_that_are_not_taken_are_a_warning_wherever_a_neighbor_is_shown() {
    let limit = "max_prefixes = 3\nmax_prefixes_action = \"discard-new\"";
    let rest = neighbor(ROUTER, router(ROUTER, speech()), limit);
    let node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest).start();
    node.wait_for("a route too many", "bgp status", |status| {
        (status["neighbors"][0]["discarded"] == 1).then_some(())
    });
    let status = node.ask("bgp status").good().stdout;
    assert!(status.contains("1 route over `max_prefixes` not taken"), "{status}");
    assert!(status.contains("raise `max_prefixes`"), "{status}");
    let list = node.ask("list").stdout;
    let line = list.lines().find(|line| line.contains(ROUTER)).unwrap();
    for words in ["warning", "1 route over `max_prefixes` not taken"] {
        assert!(line.contains(words), "no {words} in:\n{list}");
    }
}

/// The records of a log (RFC 6396 §4.4.3), one a second.
fn log(messages: &[Vec<u8>]) -> Vec<u8> {
    let ends = [0, 0, 0xfe, 0x4c, 0, 0, 0xfe, 0x4c, 0, 0, 0, 1, 127, 0, 0, 61, 127, 0, 0, 1];
    let record = |(second, message): (u32, &Vec<u8>)| {
        let length = u32::try_from(ends.len() + message.len()).unwrap();
        let head = [&second.to_be_bytes()[..], &[0, 16, 0, 4], &length.to_be_bytes()];
        [&head.concat()[..], &ends, message].concat()
    };
    (1_700_000_000..).zip(messages).flat_map(record).collect()
}

/// Four routes are too many, and one of them is withdrawn again.
#[test]
fn a_replay_says_of_a_flood_what_the_node_has_done() {
    let plain = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    let messages = [
        speech()[..37].to_vec(),
        message(4, &[]),
        update(&plain, &[24, 20, 0, 0]),
        message(2, &[0, 0, 0, 0]),
        update(&plain, &[24, 20, 0, 1, 24, 20, 0, 2, 24, 20, 0, 3]),
        message(2, &[0, 4, 24, 20, 0, 1, 0, 0]),
    ];
    for (action, accepted, stale, discarded) in
        [("restart", 0, 0, 0), ("keep-last-good", 1, 1, 0), ("discard-new", 2, 0, 1)]
    {
        let limit = format!("max_prefixes = 3\nmax_prefixes_action = \"{action}\"");
        let rest = neighbor(ROUTER, router(ROUTER, messages.concat()), &limit);
        let node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest).start();
        let outcome = |peer: &Value| json!([peer["accepted"], peer["stale"], peer["discarded"]]);
        let expected = json!([accepted, stale, discarded]);
        node.wait_for(action, "bgp status", |status| {
            let peer = &status["neighbors"][0];
            let is_over = action == "discard-new" || peer["last_error"]["code"] == 6;
            (is_over && outcome(peer) == expected).then_some(())
        });

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("mcc.toml"), node.setup.file()).unwrap();
        std::fs::write(path("flood.mrt"), log(&messages)).unwrap();
        let replay = ["bgp", "replay", &path("flood.mrt"), "--config", &path("mcc.toml"), "--json"];
        let replay = mcc(&replay);
        assert_eq!(replay.code, Some(1), "{action}: {replay:?}");
        let report = replay.json();
        let peer = &report["peers"][0];
        assert_eq!(outcome(peer), expected, "{action}: {report}");
        assert_eq!(report["footprint"]["prefixes"], accepted);
        assert_eq!((&peer["peak"], &peer["over_limit"]), (&json!(4), &json!(true)));
        assert_eq!(peer["over_limit_at"], "2023-11-14T22:13:24Z");
        assert_eq!(peer["max_prefixes_action"], action);
        assert_eq!(peer["without_limit"]["accepted"], 3);
    }
}

#[test]
fn what_only_some_routers_announce_is_bad_in_every_form() {
    let other = "127.0.0.62";
    let speech = speech();
    // All up to the first UPDATE, which it says with one prefix; no End-of-RIB.
    let one = update(&[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF], &[24, 20, 0, 0]);
    let few = [speech[..56].to_vec(), one].concat();
    let rest =
        neighbor(ROUTER, router(ROUTER, speech), "") + &neighbor(other, router(other, few), "");
    let node = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest).start();
    node.wait_for("the routes of both", "bgp status", |status| {
        let received = |i: usize| status["neighbors"][i]["received"].clone();
        (received(0) == 4 && received(1) == 1).then_some(())
    });
    for form in ["", "--csv", "--json"] {
        let found = node.ask(&format!("footprint --inconsistent {form}"));
        assert_eq!(found.code, Some(1), "{form}: {found:?}");
        assert!(found.stdout.contains("20.0.3.0/24"), "{form}: {found:?}");
        assert!(!found.stdout.contains("20.0.0.0/24"), "{form}: {found:?}");
    }
}

/// A limit of the size of files takes part of what is written and then nothing, as a full disk does.
#[test]
fn a_disk_that_is_full_leaves_no_half_of_a_file() {
    let node = stage();
    let folder = tempfile::tempdir().unwrap();
    let admin = format!("http://{}", node.setup.admin);
    let limited = |limit: &str, command: &str| {
        // Ignored, the signal becomes an error of the write.
        let script =
            format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" {command} --admin {admin}");
        let output = std::process::Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_mcc")])
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    std::fs::write(folder.path().join("table.mrt"), b"old").unwrap();
    for command in ["bgp dump table.mrt", "bgp capture all --file new.mrt --duration 60"] {
        let (code, stderr) = limited("0", command);
        assert_eq!(code, Some(1), "{command}: {stderr}");
        for words in ["cannot write ", ".mrt: File too large", "make room there"] {
            assert!(stderr.contains(words), "{command}: no {words} in: {stderr}");
        }
        assert_eq!(names(), ["table.mrt"], "{command}");
        assert_eq!(std::fs::read(folder.path().join("table.mrt")).unwrap(), b"old");
    }
}

/// Whoever runs it as root must not lose `/dev/null`.
#[test]
fn a_dump_never_takes_the_place_of_a_pipe_or_a_link() {
    let node = stage();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let dump = |name: &str| node.ask(&format!("bgp dump {}", at(name).display()));

    let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(made.success());
    let pipe = at("pipe");
    let reader = thread::spawn(move || std::fs::read(pipe).unwrap());
    dump("pipe").good();
    let through_the_pipe = reader.join().unwrap();
    // TABLE_DUMP_V2, PEER_INDEX_TABLE (RFC 6396 §4.3).
    assert_eq!(through_the_pipe[4..8], [0, 13, 0, 1]);
    assert!(!std::fs::metadata(at("pipe")).unwrap().is_file(), "it is a pipe no more");

    std::fs::write(at("file"), b"old").unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    dump("link").good();
    assert!(std::fs::symlink_metadata(at("link")).unwrap().is_symlink(), "it is a link no more");
    assert_eq!(std::fs::read(at("file")).unwrap().len(), through_the_pipe.len());
}

#[test]
fn a_footprint_is_counted_as_people_do_and_one_that_cannot_be_saved_is_told() {
    let cidrs =
        "[footprint]\ncidrs = [\"198.51.100.0/24\", \"2001:db8::/32\", \"2001:db8::/48\"]\n";
    let rest = neighbor(ROUTER, router(ROUTER, speech()), "") + cidrs;
    let folder = tempfile::tempdir().unwrap();
    // No file can take the place of a folder.
    std::fs::create_dir(folder.path().join("footprint.last-good")).unwrap();
    let setup = Setup { ipv6: true, ..Setup::new("edge-1", Ipv4Addr::LOCALHOST, &rest) };
    let node = setup.start_in(folder);
    node.wait_for_footprint(6);
    let size = "6 prefixes, 1,024 IPv4 addresses and 65,536 IPv6 /48s";
    for command in ["bgp status", "status", "footprint"] {
        let shown = node.ask(command).stdout;
        assert!(shown.contains(size), "{command}: {shown}");
    }
    let json = node.ask("footprint --json").good().json();
    let numbers = [&json["count"], &json["addresses"], &json["ipv6_slash48s"]];
    assert_eq!(numbers, [&json!(6), &json!(1024), &json!(65_536)]);
    let status = node.ask("bgp status --json").json();
    let numbers = [&status["footprint"]["addresses"], &status["footprint"]["ipv6_slash48s"]];
    assert_eq!(numbers, [&json!(1024), &json!(65_536)]);
    let metrics = node.admin("/metrics").text();
    for line in ["mcc_footprint_addresses 1024\n", "mcc_footprint_ipv6_slash48s 65536\n"] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }

    node.wait_for("word of the file", "status", |status| {
        let parts = status["parts"].as_array()?;
        let mut details = parts.iter().filter_map(|part| part["detail"].as_str());
        details.any(|detail| detail.starts_with("the footprint cannot be saved")).then_some(())
    });
    // Nor could it be read when the node started.
    let (shown, ready) = (node.ask("status").stdout, node.admin("/readyz").json());
    for words in [
        "the footprint cannot be saved in ./footprint.last-good: ",
        "the footprint of the last run is not used, from ./footprint.last-good: ",
    ] {
        assert!(shown.contains(words), "{shown}");
        let warnings = ready["warnings"].as_array().unwrap();
        let mut warnings = warnings.iter().map(|warning| warning.as_str().unwrap());
        assert!(warnings.any(|warning| warning.starts_with(words)), "{ready}");
    }
    assert!(node.admin("/metrics").text().contains("mcc_footprint_saved 0\n"));
}
