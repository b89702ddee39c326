//! `mcc demo`: the whole of it, with nothing to prepare, and nothing left behind.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rustix::process::Signal;

use crate::support::command::Output;
use crate::support::process::Process;
use crate::support::{command, http};

/// Starts the demo; its files go to the folder `tmp` in the one that it runs in.
fn start(arguments: &[&str]) -> Process {
    let folder = tempfile::tempdir().unwrap();
    let tmp = folder.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let tmp = format!("TMPDIR={}", tmp.display());
    // `env` becomes the program, so that signals reach it.
    let program = [tmp.as_str(), env!("CARGO_BIN_EXE_mcc"), "demo"];
    Process::start("env", folder, &[&program[..], arguments].concat(), &[])
}

#[track_caller]
fn assert_nothing_left(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder.join("tmp")).unwrap().map(Result::unwrap).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_check_shows_every_step_and_is_good() {
    let mut demo = start(&["--check"]);
    let status = demo.wait();
    let log = demo.log();
    assert!(status.success(), "{status}");
    for words in [
        "1. The router announces; the node learns",
        "Router ID 127.0.0.1, 1 of 1 sessions established",
        "Footprint: 200 prefixes, 51,200 addresses; all acknowledged by the control plane",
        "default_route",
        "2. The control plane steers",
        "198.18.7.9 is served by demo-edge (127.0.0.1)",
        "by prefix 198.18.7.0/24",
        "3. A subscriber downloads, and another one",
        "$ wget -O /dev/null 'http://127.0.0.1:",
        "?cacheHostOrigin=downloads.example'",
        "fwd=miss",
        "; hit",
        "The demo is good.",
    ] {
        assert!(log.contains(words), "no `{words}` in:\n{log}");
    }
    assert_nothing_left(demo.folder());
}

#[test]
fn the_demo_stays_up_until_ctrl_c() {
    let mut demo = start(&[]);
    demo.wait_for_log("Ctrl-C ends it and leaves nothing behind.");
    let log = demo.log();

    // What it says to try works.
    let tries: Vec<&str> =
        log.lines().filter(|line| line.starts_with("  ")).map(str::trim).collect();
    let commands: Vec<_> = tries.iter().filter_map(|line| line.strip_prefix("mcc ")).collect();
    assert_eq!(commands.len(), 5, "{tries:?}");
    for command in commands {
        let Output { code, stderr, .. } = command::mcc(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(code, Some(0), "mcc {command}: {stderr}");
    }
    let wget = tries.iter().find_map(|line| line.strip_prefix("wget -O /dev/null '")).unwrap();
    let download = http::get(wget.trim_end_matches('\''), &[]).unwrap();
    assert_eq!((download.status.as_u16(), download.body.len()), (200, 64 << 20));

    // Everything that it has said it listens on.
    let addresses: Vec<SocketAddr> = log
        .split(|c: char| c.is_whitespace() || matches!(c, '/' | '\''))
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(addresses.len() >= 5, "{addresses:?}");
    for address in &addresses {
        TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    }
    demo.signal(Signal::INT);
    let status = demo.wait();
    assert!(status.success(), "{status}");
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} still answers");
    }
    assert_nothing_left(demo.folder());
}

#[test]
fn a_demo_that_is_cut_short_leaves_nothing_either() {
    // While it is being set up, and in the middle of its steps.
    let set_up = |demo: &mut Process| {
        demo.wait_for("files of the demo", |demo| {
            let files = std::fs::read_dir(demo.folder().join("tmp")).unwrap().count();
            if files > 0 { Ok(()) } else { Err("none".to_owned()) }
        });
    };
    let steps = |demo: &mut Process| {
        demo.wait_for_log("1. The router announces");
    };
    let moments: [&dyn Fn(&mut Process); 2] = [&set_up, &steps];
    for moment in moments {
        for (arguments, good) in [(&[][..], true), (&["--check"][..], false)] {
            let mut demo = start(arguments);
            moment(&mut demo);
            demo.signal(Signal::INT);
            let status = demo.wait();
            assert_eq!(status.code(), Some(i32::from(!good)), "{arguments:?}");
            assert!(!demo.log().contains("The demo is good."), "{}", demo.log());
            assert_nothing_left(demo.folder());
        }
    }
}
