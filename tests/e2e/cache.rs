//! `mcc cache …`: what is stored is told, fetched ahead, pinned, verified and purged, and what was
//! acknowledged outlives a crash.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::command::{Output, mcc};
use crate::support::containers::Network;
use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::origin::{HOST, Origin};
use crate::support::process::Process;
use crate::support::wait::wait_for;

const MIB: u64 = 1 << 20;

/// An origin, and a node before it.
fn stage(network: &Network) -> (Origin, Node) {
    let origin = Origin::start(network, 2);
    let node = Setup::new("edge-1", network.host(), &origin.section()).start();
    (origin, node)
}

/// A list of URLs in the node's folder, for `cache prefill`.
fn list(node: &Node, lines: &str) -> String {
    let file = node.process.folder().join("urls");
    fs::write(&file, lines).unwrap();
    file.to_str().unwrap().to_owned()
}

fn url(path: &str) -> String {
    format!("{HOST}{path}")
}

#[track_caller]
fn prefill(node: &Node, paths: &[&str]) -> Value {
    let urls: Vec<String> = paths.iter().map(|path| url(path)).collect();
    let file = list(node, &urls.join("\n"));
    node.ask(&format!("cache prefill {file} --json")).good().json()
}

#[track_caller]
fn objects(node: &Node) -> Vec<Value> {
    node.ask("cache ls --json").good().json()["objects"].as_array().unwrap().clone()
}

#[track_caller]
fn urls(node: &Node) -> Vec<String> {
    objects(node).iter().map(|object| object["url"].as_str().unwrap().to_owned()).collect()
}

/// A table must fit on a terminal of 100 columns.
#[track_caller]
fn narrow(output: Output) -> String {
    for line in output.stdout.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    output.stdout
}

#[test]
fn a_list_is_fetched_once_and_outlives_a_crash() {
    let Some(network) = Network::create() else { return };
    let (origin, node) = stage(&network);
    origin.make_file("/fresh/a.bin", 5 * MIB + 17);
    origin.make_file("/fresh/b.bin", 3);
    origin.make_file("/asked/c.bin", 2 * MIB);
    let file = list(
        &node,
        &format!(
            "# updates\n\nhttp://{HOST}/fresh/a.bin # large\n{HOST}/fresh/b.bin\n{HOST}/asked/c.bin\n\
             {HOST}/fresh/none\nother.example/f\n"
        ),
    );
    let first = node.ask(&format!("cache prefill {file} --parallel 2"));
    assert_eq!(first.code, Some(1), "two cannot be had: {first:?}");
    for line in [
        format!("√ stored    5.24 MB  http://{HOST}/fresh/a.bin\n"),
        format!("√ stored        3 B  {HOST}/fresh/b.bin\n"),
        format!(
            "× failed             {HOST}/fresh/none\n      the origin answered 404 Not Found\n"
        ),
        "`other.example` is no origin of this node\n".to_owned(),
        "5 of 5 objects: 3 fetched (7.34 MB), 0 stored already, 2 failed\n".to_owned(),
    ] {
        assert!(first.stdout.contains(&line), "no `{line}` in:\n{}", first.stdout);
    }

    // It was told that they are stored: no crash may take them away.
    let (setup, killed) = node.kill();
    let node = setup.start_in(killed.folder);
    let before = origin.sent("/");
    let sent: u64 = before.iter().filter(|sent| sent.status < 300).map(|sent| sent.bytes).sum();
    assert_eq!(sent, 7 * MIB + 20, "each byte once: {before:?}");
    let found = wait_for("drive", || match objects(&node) {
        objects if objects.len() == 3 => Ok(objects),
        objects => Err(format!("{objects:?}")),
    });
    assert!(found.iter().all(|object| object["length"] == object["stored"]), "{found:?}");
    let answer =
        http::get(&node.url(&format!("/fresh/a.bin?cacheHostOrigin={HOST}")), &[]).unwrap();
    assert_eq!(answer.header("cache-status"), "mcc-edge-1; hit");
    assert_eq!(answer.body, origin.read("/fresh/a.bin"));

    // Again it costs nothing: not a byte, and a question only where the origin demands it.
    let again = prefill(&node, &["/fresh/a.bin", "/fresh/b.bin", "/asked/c.bin"]);
    let outcomes = again["objects"].as_array().unwrap().iter().map(|object| &object["outcome"]);
    assert!(outcomes.into_iter().all(|outcome| outcome == "already_stored"), "{again}");
    assert_eq!(
        again["tally"],
        json!({ "fetched": 0, "already_stored": 3, "failed": 0, "fetched_bytes": 0 })
    );
    assert_eq!(again["broken_off"], Value::Null);
    let after = origin.sent("/");
    let asked: Vec<_> =
        after[before.len()..].iter().map(|sent| (sent.status, sent.bytes)).collect();
    assert_eq!(asked, [(304, 0)]);
}

#[test]
fn a_prefill_that_is_stopped_stops_fetching_and_says_how_far_it_came() {
    let Some(network) = Network::create() else { return };
    let (origin, node) = stage(&network);
    origin.make_file("/fresh/a.bin", 10);
    origin.make_file("/slow/b.bin", 60 * MIB);
    let file = list(&node, &format!("{HOST}/fresh/a.bin\n{HOST}/slow/b.bin\n"));
    let admin = format!("http://{}", node.setup.admin);
    let mut running = Process::mcc(&["cache", "prefill", &file, "--admin", &admin], &[]);
    running.wait_for_log("√ stored");
    node.wait_for("bytes of the slow one", "cache ls", |list| {
        let objects = list["objects"].as_array()?.iter();
        let slow = objects.clone().find(|object| object["url"] == url("/slow/b.bin"))?;
        (slow["stored"].as_u64()? >= MIB).then_some(())
    });
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(1));
    let log = running.log();
    assert!(log.contains("1 of 2 objects: 1 fetched (10 B), 0 stored already, 0 failed"), "{log}");
    assert!(log.contains("Broken off: stopped by SIGINT"), "{log}");
    node.wait_for("end of the fetch", "cache status", |status| {
        (status["objects_in_flight"] == 0).then_some(())
    });
    let stored = objects(&node).pop().unwrap();
    assert!(stored["stored"].as_u64().unwrap() < 60 * MIB, "{stored}");
}

#[test]
fn what_is_stored_is_told_in_tables_json_and_csv() {
    let Some(network) = Network::create() else { return };
    let (origin, node) = stage(&network);
    let empty = node.ask("cache ls").good().stdout;
    assert_eq!(empty, "nothing is stored that begins so\n");
    let sizes = [("/asked/d.bin", 7), ("/fresh/a.bin", 3 * MIB), ("/fresh/b/c.bin", 5 * MIB)];
    for (path, size) in sizes {
        origin.make_file(path, size);
    }
    prefill(&node, &sizes.map(|(path, _)| path));
    let got = http::get(&node.url(&format!("/fresh/a.bin?cacheHostOrigin={HOST}")), &[]).unwrap();
    assert_eq!(got.header("cache-status"), "mcc-edge-1; hit");

    let status = narrow(node.ask("cache status").good());
    for words in [
        "8.39 MB of 336 MB used (2.5 %), 3 objects (0 pinned), 9 blocks\n",
        "3.15 MB sent to clients, 8.39 MB fetched from origins (8.39 MB of it ahead of clients)\n",
        "100.0 % of the bytes sent had not to be fetched\n",
        "√ up",
        HOST,
    ] {
        assert!(status.contains(words), "no `{words}` in:\n{status}");
    }
    let json = node.ask("cache status --json").good().json();
    assert_eq!(json["store"]["drives"][0]["path"], "drive");
    assert_eq!((&json["store"]["objects"], &json["egress_bytes"]), (&3.into(), &(3 * MIB).into()));

    let table = narrow(node.ask("cache ls").good());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    for (line, (path, _)) in lines[1..4].iter().zip(sizes) {
        assert!(line.ends_with(&url(path)) && line.contains("100.0 %"), "{line}");
    }
    assert!(
        lines[1].contains("stale") && (lines[2].contains("23h 59m") || lines[2].contains("1d 0h")),
        "{table}"
    );
    let order = |options: &str| -> Vec<String> {
        let list = node.ask(&format!("cache ls --json {options}")).good().json();
        let objects = list["objects"].as_array().unwrap();
        objects.iter().map(|object| object["url"].as_str().unwrap().to_owned()).collect()
    };
    let [d, a, c] = sizes.map(|(path, _)| url(path));
    assert_eq!(order(""), [d.clone(), a.clone(), c.clone()]);
    assert_eq!(order("--sort size"), [c.clone(), a.clone(), d.clone()]);
    assert_eq!(order("--sort stored --limit 2"), [c.clone(), a.clone()]);
    assert_eq!(order(&format!("http://{HOST}/fresh/")), [a.clone(), c.clone()]);
    assert_eq!(order("nothing"), [""; 0]);
    // More than one page.
    let page = node.admin("/v1/cache/objects?limit=2").json();
    let next = page["next"].as_str().unwrap().replace(' ', "+");
    let rest = node.admin(&format!("/v1/cache/objects?limit=2&after={next}")).json();
    assert_eq!((&rest["objects"][0]["url"], &rest["next"]), (&json!(c), &Value::Null));
    let limited = node.ask("cache ls --limit 1").good();
    assert!(limited.stderr.contains("more objects than --limit 1"), "{limited:?}");
    let csv = node.ask("cache ls --csv").good().stdout;
    assert!(csv.starts_with("url,length,stored,"), "{csv}");
    assert!(csv.contains(&format!("\n{a},{0},{0},", 3 * MIB)), "{csv}");

    let show = narrow(node.ask(&format!("cache show {c}")).good());
    for words in [
        "Length         5.24 MB (5,242,880 bytes), 5 blocks\n",
        "Stored         100.0 %: 5.24 MB in 5 blocks\n",
        "drive: 5.24 MB in 5 blocks\n",
        "Freshness      served without asking the origin for another ",
        "content-type: application/octet-stream\n",
    ] {
        assert!(show.contains(words), "no `{words}` in:\n{show}");
    }
    let json = node.ask(&format!("cache show http://{c} --json")).good().json();
    assert_eq!((&json["url"], &json["blocks"]), (&json!(c), &json!(5)));
    assert_eq!(json["drives"], json!([{ "path": "drive", "blocks": 5, "bytes": 5 * MIB }]));
    let none = node.ask(&format!("cache show {HOST}/none"));
    assert_eq!(none.code, Some(1));
    assert_eq!(none.stderr, format!("mcc: `{HOST}/none` is not stored here\n"));
}

#[test]
fn what_is_purged_stays_gone_after_a_crash() {
    let Some(network) = Network::create() else { return };
    let (origin, mut node) = stage(&network);
    let paths = ["/fresh/a/1", "/fresh/a/2", "/fresh/b", "/asked/c"];
    for path in paths {
        origin.make_file(path, 2 * MIB);
    }
    prefill(&node, &paths);
    for (what, said, left) in [
        (
            url("/fresh/b"),
            "1 object gone, 2.10 MB of that",
            &["/asked/c", "/fresh/a/1", "/fresh/a/2"][..],
        ),
        (
            format!("--prefix {}", url("/fresh/a/")),
            "2 objects gone, 4.19 MB of that",
            &["/asked/c"],
        ),
        (url("/fresh/b"), "Nothing of it was stored.", &["/asked/c"]),
        (format!("--origin {HOST}"), "1 object gone", &[]),
        ("--all".to_owned(), "Nothing of it was stored.", &[]),
    ] {
        let purged = node.ask(&format!("cache purge {what}")).good();
        assert!(purged.stdout.starts_with(said), "{what}: {purged:?}");
        let (setup, killed) = node.kill();
        node = setup.start_in(killed.folder);
        let left: Vec<String> = left.iter().map(|path| url(path)).collect();
        wait_for("what is left", || match urls(&node) {
            found if found == left => Ok(()),
            found => Err(format!("{found:?}")),
        });
    }
    let json = node.ask("cache purge --all --json").good().json();
    assert_eq!((&json["objects"], &json["bytes"]), (&0.into(), &0.into()));
}

/// Inverts a byte in the middle of the first block of `content` that lies in the slab of the drive in `folder`.
#[track_caller]
fn flip_a_byte(folder: &Path, content: &[u8]) {
    let path = folder.join("drive/slab");
    let slab = File::options().read(true).write(true).open(&path).unwrap();
    // Long enough to leave out a slot where the same block lay before, with its flipped byte.
    let begin = &content[..4096];
    let mut bytes = vec![0; 4096];
    // Blocks begin at multiples of the smallest slot.
    let step = 64 << 10;
    let at = (0..slab.metadata().unwrap().len() / step).map(|slot| slot * step).find(|at| {
        slab.read_exact_at(&mut bytes, *at).unwrap();
        bytes == begin
    });
    let at = at.expect("the block is in the slab") + 1000;
    slab.write_all_at(&[!content[1000]], at).unwrap();
    slab.sync_all().unwrap();
}

#[test]
fn a_flipped_byte_is_found_named_and_fetched_anew() {
    let Some(network) = Network::create() else { return };
    let (origin, mut node) = stage(&network);
    origin.make_file("/fresh/a.bin", 5 * MIB);
    origin.make_file("/fresh/b.bin", 5 * MIB);
    prefill(&node, &["/fresh/a.bin", "/fresh/b.bin"]);
    let good = node.ask("cache verify").good().stdout;
    assert!(good.contains("10 of 10 blocks compared, 0 damaged, 0 unreadable\n"), "{good}");
    assert!(good.ends_with("All is as it was stored.\n"), "{good}");

    let a = origin.read("/fresh/a.bin");
    for stopped in [false, true] {
        if stopped {
            let (setup, left) = node.stop();
            flip_a_byte(left.folder.path(), &a[2 << 20..]);
            node = setup.start_in(left.folder);
        } else {
            flip_a_byte(node.process.folder(), &a[2 << 20..]);
        }
        let bad = node.ask("cache verify --drive drive");
        assert_eq!(bad.code, Some(1), "{bad:?}");
        let named = format!("× damaged  block 2 of {} on drive\n", url("/fresh/a.bin"));
        assert!(bad.stdout.contains(&named), "{bad:?}");
        assert!(bad.stdout.contains("10 of 10 blocks compared, 1 damaged"), "{bad:?}");
        // Nobody got the wrong byte, and the right one is fetched.
        let path = format!("/fresh/a.bin?cacheHostOrigin={HOST}");
        assert!(http::get(&node.url(&path), &[]).unwrap().body == a);
        wait_for("the block on the drive again", || {
            let show = node.ask(&format!("cache show {} --json", url("/fresh/a.bin"))).json();
            (show["stored"] == 5 * MIB).then_some(()).ok_or_else(|| show.to_string())
        });
    }
    // What was fetched anew is compared as soon as a checkpoint has it.
    let json = node.wait_for("a look at all blocks", "cache verify", |json| {
        (json["drives"][0]["done"] == 10).then(|| json.clone())
    });
    assert_eq!((&json["damaged"], &json["broken_off"]), (&json!([]), &Value::Null));
    assert_eq!(
        (&json["drives"][0]["path"], &json["drives"][0]["done"]),
        (&json!("drive"), &json!(10))
    );
    let unknown = node.ask("cache verify --drive /nowhere");
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("the drives are: drive"), "{unknown:?}");
}

#[test]
fn pins_outlive_purge_and_restart() {
    let Some(network) = Network::create() else { return };
    let (origin, node) = stage(&network);
    origin.make_file("/fresh/a.bin", 3 * MIB);
    assert_eq!(node.ask("cache pins").good().stdout, "Nothing is pinned.\n");
    let a = url("/fresh/a.bin");
    let early = node.ask(&format!("cache pin http://{a}")).good().stdout;
    assert!(early.contains("Nothing of it is yet: `mcc cache prefill`"), "{early}");
    prefill(&node, &["/fresh/a.bin"]);
    let again = node.ask(&format!("cache pin {a}")).good().stdout;
    assert_eq!(again, format!("{a} is pinned: all 3.15 MB of it stay.\n"));

    let (setup, killed) = node.kill();
    let node = setup.start_in(killed.folder);
    let pins = narrow(node.ask("cache pins").good());
    assert!(pins.contains("100.0 %") && pins.trim_end().ends_with(&a), "{pins}");
    let json = node.ask("cache pins --json").good().json();
    assert_eq!(
        (&json["pins"][0]["url"], &json["pins"][0]["object"]["length"]),
        (&json!(a), &json!(3 * MIB))
    );
    let status = node.ask("cache status").good().stdout;
    assert!(status.contains("1 pinned"), "{status}");
    let show = node.ask(&format!("cache show {a}")).good().stdout;
    assert!(show.contains("Pinned         yes"), "{show}");
    let list = node.ask("cache ls --json").good().json();
    assert_eq!(list["objects"][0]["pinned"], true);

    node.ask(&format!("cache purge {a}")).good();
    assert_eq!(node.ask("cache pins --json").good().json()["pins"][0]["object"], Value::Null);
    node.ask(&format!("cache unpin {a}")).good();
    let gone = node.ask(&format!("cache unpin {a}"));
    assert_eq!(gone.code, Some(1));
    assert!(gone.stdout.contains("was not pinned"), "{gone:?}");
}

#[test]
fn an_offline_drive_is_named_everywhere_and_comes_back_on_the_operators_word() {
    let rest = "[[drive]]\npath = \"second\"\nsize = \"64MiB\"\n";
    let node = Setup::new("edge-1", std::net::Ipv4Addr::LOCALHOST, rest).start();
    let status = node.ask("cache status");
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.stdout.contains("× offline"), "{status:?}");
    assert!(status.stdout.contains("\nsecond is offline since "), "{status:?}");
    let ready = node.admin("/readyz");
    assert_eq!(ready.status, 200, "the other one is well");
    let warning = ready.json()["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.starts_with("drive second is offline: "), "{warning}");
    let status = node.ask("status").good().stdout;
    assert!(status.contains("× down  drive second: "), "{status}");

    let up = node.ask("cache online drive");
    assert_eq!(up.code, Some(1), "{up:?}");
    assert!(up.stderr.contains("the drive is up"), "{up:?}");
    let unknown = node.ask("cache online /nowhere");
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("the drives are: drive, second"), "{unknown:?}");
    fs::create_dir(node.process.folder().join("second")).unwrap();
    let online = node.ask("cache online second").good().stdout;
    assert!(online.contains("second is being opened"), "{online}");
    wait_for("the drive", || {
        let status = node.ask("cache status");
        if status.code == Some(0) { Ok(()) } else { Err(status.stdout) }
    });
}

#[test]
fn the_metrics_of_drives_have_their_names() {
    let node = Setup::new("edge-1", std::net::Ipv4Addr::LOCALHOST, "").start();
    let text = node.admin("/metrics").text();
    for name in [
        "mcc_drive_up",
        "mcc_drive_opening",
        "mcc_drive_size_bytes",
        "mcc_drive_used_bytes",
        "mcc_drive_blocks",
        "mcc_drive_pinned_blocks",
        "mcc_drive_errors_total",
        "mcc_drive_slow_operations_total",
        "mcc_drive_hung_operations_total",
        "mcc_drive_corrupt_blocks_total",
        "mcc_drive_evicted_blocks_total",
        "mcc_drive_refused_blocks_total",
        "mcc_drive_written_blocks_total",
        "mcc_drive_scrubbed_blocks_total",
    ] {
        let sample = format!("\n{name}{{drive=\"drive\"}} ");
        assert!(text.contains(&sample), "no {name} in {text}");
    }
    for name in ["mcc_cache_objects", "mcc_cache_pins", "mcc_http_broken_responses_total"] {
        assert!(text.contains(&format!("\n{name} 0\n")), "no {name} in {text}");
    }
}

#[test]
fn wrong_use_is_2_and_says_what_is_right() {
    let node = Setup::new("edge-1", std::net::Ipv4Addr::LOCALHOST, "").start();
    let empty = list(&node, "# nothing yet\n");
    let two = node.process.folder().join("two");
    fs::write(&two, "a.example/1 a.example/2\n").unwrap();
    let two = two.to_str().unwrap();
    for (command, words) in [
        ("cache".to_owned(), "Usage"),
        ("cache purge".to_owned(), "--prefix <HOST/PATH/>"),
        ("cache purge --all --origin a.example".to_owned(), "cannot be used with"),
        ("cache purge --origin a.example".to_owned(), "`a.example` is no origin of this node"),
        ("cache purge nonsense".to_owned(), "write host and path"),
        ("cache show nonsense".to_owned(), "write host and path"),
        ("cache ls --sort colour".to_owned(), "stored"),
        ("cache prefill /nonexistent/list".to_owned(), "cannot read the list of URLs"),
        (format!("cache prefill {empty}"), "has no URL in it: write one a line"),
        (format!("cache prefill {two}"), "line 1: one URL a line"),
        (format!("cache prefill {empty} --parallel 17"), "1..=16"),
        (format!("cache prefill {empty} --rate-mbps 0"), "--rate-mbps"),
    ] {
        let output = node.ask(&command);
        assert_eq!(output.code, Some(2), "{command}: {output:?}");
        assert!(output.stderr.contains(words), "{command}: {output:?}");
    }
    let admin = format!("http://{}", node.setup.admin);
    let order = |body: Value| http::post(&format!("{admin}/v1/cache/prefill"), &[], &body).unwrap();
    for body in [json!({}), json!({ "urls": [] }), json!({ "urls": ["a/b"], "parallel": 17 })] {
        let answer = order(body.clone());
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let beyond = node.admin("/v1/cache/objects?after=x");
    assert_eq!(beyond.status, 400);
}

#[test]
fn where_no_node_runs_every_question_says_so() {
    let admin = format!("http://{}", crate::support::ports::free_address());
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("urls");
    fs::write(&list, "a.example/1\n").unwrap();
    let list = Path::new(&list).to_str().unwrap();
    for question in [
        "cache status",
        "cache ls",
        "cache show a.example/1",
        "cache purge --all",
        "cache pin a.example/1",
        "cache unpin a.example/1",
        "cache pins",
        "cache verify",
        "cache online /cache/1",
        &format!("cache prefill {list}"),
    ] {
        let words: Vec<&str> = question.split(' ').collect();
        let output = mcc(&[&words[..], &["--admin", &admin]].concat());
        assert_eq!(output.code, Some(1), "{question}: {output:?}");
        let expected = format!("mcc: no node answers at {admin}");
        assert!(output.stderr.starts_with(&expected), "{question}: {output:?}");
    }
}
