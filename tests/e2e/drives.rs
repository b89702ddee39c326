//! What happens to drives: full, read-only, dying, not mounted. Clients notice nothing.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use serde_json::Value;

use crate::support::computed_origin::{ComputedOrigin, Download, download, download_pausing};
use crate::support::node::{Node, Setup};
use crate::support::volume::Volume;
use crate::support::wait::wait_for;

const MIB: u64 = 1 << 20;

fn setup(origin: &ComputedOrigin, drive: &Path) -> Setup {
    let mut setup = Setup::new("edge-1", Ipv4Addr::LOCALHOST, &origin.section());
    setup.drive = (drive.to_str().unwrap().to_owned(), "64MiB");
    setup
}

#[track_caller]
fn whole(node: &Node, path: &str) -> String {
    match download(node.setup.http, path, None, 0) {
        Download::Whole { cache_status, .. } => cache_status,
        other => panic!("{path}: {other:?}"),
    }
}

/// Its only drive, as `mcc cache`'s API tells it.
fn drive(node: &Node) -> Value {
    node.admin("/v1/cache").json()["store"]["drives"][0].clone()
}

/// Downloads until the drive has been given up.
#[track_caller]
fn wait_until_offline(node: &Node, mut next: impl FnMut() -> String) -> Value {
    wait_for("drive offline", || {
        // Every one of them is whole and right, whatever the drive does.
        whole(node, &next());
        let drive = drive(node);
        if drive["state"] == "offline" { Ok(drive) } else { Err(drive.to_string()) }
    })
}

#[test]
fn a_full_file_system_stops_nothing() {
    let Some(volume) = Volume::create(160 * MIB) else { return };
    let origin = ComputedOrigin::start();
    let node = setup(&origin, &volume.path()).start();
    volume.fill();
    // Three times what the drive holds, each object twice. One that comes faster than the drive
    // writes is not stored.
    let mut hits = 0;
    for n in 0..24 {
        let path = format!("/full/{n}-{}", 8 * MIB + n);
        whole(&node, &path);
        hits += u32::from(whole(&node, &path).contains("hit"));
    }
    assert!(hits > 12, "{hits} of 24 hits");
    let drive = drive(&node);
    assert_eq!((&drive["state"], &drive["errors"]), (&"up".into(), &0.into()), "{drive}");
    assert!(drive["evicted"].as_u64().unwrap() > 0, "{drive}");
    // And across a restart, with no byte to spare.
    let (setup, stopped) = node.kill();
    let node = setup.start_in(stopped.folder);
    let path = format!("/full/23-{}", 8 * MIB + 23);
    node.wait_for("drive up", "status", |_| (drive_state(&node) == "up").then_some(()));
    whole(&node, &path);
}

fn drive_state(node: &Node) -> String {
    drive(node)["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_drive_that_becomes_read_only_is_named_and_nobody_notices() {
    let Some(volume) = Volume::create(160 * MIB) else { return };
    let origin = ComputedOrigin::start();
    let node = setup(&origin, &volume.path()).start();
    whole(&node, "/before-5000000");
    volume.fail_to_read_only();
    let mut n = 0;
    let drive = wait_until_offline(&node, || {
        n += 1;
        format!("/read-only/{n}-1500000")
    });
    assert!(drive["reason"].as_str().unwrap().contains("Read-only"), "{drive}");
    assert!(!drive["action"].as_str().unwrap().is_empty(), "{drive}");
    let status = node.ask("status").stdout;
    assert!(status.contains(volume.path().to_str().unwrap()), "{status}");
    // Cached or not, it is served.
    whole(&node, "/before-5000000");
}

#[test]
fn running_downloads_outlive_their_file_system() {
    const DOWNLOADS: usize = 16;
    let Some(volume) = Volume::create(160 * MIB) else { return };
    let origin = ComputedOrigin::start();
    let node = setup(&origin, &volume.path()).start();
    let path = format!("/shut-down-{}", 24 * MIB);
    whole(&node, &path);
    node.wait_for("stored blocks", "status", |_| {
        (drive(&node)["blocks"].as_u64()? >= 24).then_some(())
    });
    // Each has begun, and its connection owes bytes of the drive, when that ends.
    let (begun, ended) = (Barrier::new(DOWNLOADS + 1), Barrier::new(DOWNLOADS + 1));
    let client = || {
        let pause = || {
            begun.wait();
            ended.wait();
        };
        download_pausing(node.setup.http, &path, None, 0, pause)
    };
    let downloads = thread::scope(|scope| {
        let clients: Vec<_> = (0..DOWNLOADS).map(|_| scope.spawn(client)).collect();
        begun.wait();
        volume.shut_down();
        ended.wait();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    for download in &downloads {
        assert!(matches!(download, Download::Whole { .. }), "{downloads:?}");
    }
    let drive = drive(&node);
    assert!(drive["errors"].as_u64().unwrap() > 0, "{drive}");
    let metrics = node.admin("/metrics").text();
    assert!(metrics.contains("mcc_http_broken_responses_total 0"), "{metrics}");
}

#[test]
fn an_offline_drive_can_be_unmounted_mended_and_taken_back() {
    let Some(volume) = Volume::create(160 * MIB) else { return };
    let origin = ComputedOrigin::start();
    let node = setup(&origin, &volume.path()).start();
    let path = format!("/kept-{}", 8 * MIB);
    whole(&node, &path);
    node.wait_for("checkpoint", "status", |_| {
        let drive = drive(&node);
        (drive["blocks"] == 8 && drive["checkpoints"].as_u64()? > 0).then_some(())
    });
    // One client is in the middle of it, and takes nothing until all is over.
    let (begun, over) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let pause = || {
                begun.wait();
                over.wait();
            };
            download_pausing(node.setup.http, &path, None, 0, pause)
        });
        begun.wait();
        volume.shut_down();
        let mut n = 0;
        wait_until_offline(&node, || {
            n += 1;
            format!("/offline/{n}-1500000")
        });
        wait_for("unmounted", || volume.try_unmount());
        assert_eq!(drive_state(&node), "offline");
        volume.mount();
        node.ask(&format!("cache online {}", volume.path().display())).good();
        node.wait_for("drive up", "status", |_| (drive_state(&node) == "up").then_some(()));
        let again = whole(&node, &path);
        assert!(again.contains("hit"), "{again}");
        over.wait();
        let slow = slow.join().unwrap();
        assert!(matches!(slow, Download::Whole { .. }), "{slow:?}");
    });
}

#[test]
fn content_that_the_drive_has_lost_comes_from_the_origin() {
    let Some(volume) = Volume::create(160 * MIB) else { return };
    let origin = ComputedOrigin::start();
    let node = setup(&origin, &volume.path()).start();
    let paths: Vec<String> = (0..6).map(|n| format!("/lost/{n}-{}", 3 * MIB + n)).collect();
    for path in &paths {
        whole(&node, path);
    }
    node.wait_for("stored blocks", "status", |_| {
        (drive(&node)["blocks"].as_u64()? >= 18).then_some(())
    });
    let before = origin.sent().1;
    volume.lose_sectors();
    for path in paths.iter().cycle().take(12) {
        whole(&node, path);
    }
    assert!(origin.sent().1 > before, "the drive cannot have had it all");
    // Some reads fail, others give zeros and say nothing.
    let drive = drive(&node);
    let noticed = ["errors", "corrupt"].map(|count| drive[count].as_u64().unwrap());
    assert!(noticed.iter().sum::<u64>() > 0, "{drive}");
}

#[test]
fn a_drive_whose_file_system_is_not_mounted_is_refused() {
    let Some(volume) = Volume::create(160 * MIB) else { return };
    let origin = ComputedOrigin::start();
    let node = setup(&origin, &volume.path()).start();
    whole(&node, "/mounted-5000000");
    let (setup, stopped) = node.stop();
    volume.unmount();
    let node = setup.start_in(stopped.folder);
    let missing = node.wait_for("refused drive", "status", |_| {
        let drive = drive(&node);
        (drive["state"] == "offline").then_some(drive)
    });
    assert!(missing["reason"].as_str().unwrap().contains("mount"), "{missing}");
    whole(&node, "/mounted-5000000");
    let there: Vec<_> = std::fs::read_dir(volume.path()).unwrap().flatten().collect();
    assert!(there.is_empty(), "written where nothing is mounted: {there:?}");
    let (setup, stopped) = node.stop();
    volume.mount();
    let node = setup.start_in(stopped.folder);
    node.wait_for("drive up", "status", |_| (drive_state(&node) == "up").then_some(()));
    let again = whole(&node, "/mounted-5000000");
    assert!(again.contains("hit"), "{again}");
}

#[test]
fn damage_is_told_until_all_the_rest_was_compared() {
    let origin = ComputedOrigin::start();
    let node = setup(&origin, Path::new("drive")).start();
    let path = format!("/damaged-{}", 4 * MIB);
    whole(&node, &path);
    node.wait_for("stored blocks", "cache status", |status| {
        (status["store"]["drives"][0]["blocks"] == 4).then_some(())
    });
    let (setup, stopped) = node.stop();
    let slab = stopped.folder.path().join("drive/slab");
    let mut bytes = std::fs::read(&slab).unwrap();
    bytes.chunks_mut(MIB as usize).for_each(|block| block[1000] = !block[1000]);
    std::fs::write(&slab, bytes).unwrap();
    let node = setup.start_in(stopped.folder);
    let ready = || node.admin("/readyz").json();
    assert_eq!(ready()["warnings"], Value::Array(vec![]));
    whole(&node, &path);
    let warning = ready()["warnings"][0].as_str().unwrap().to_owned();
    for words in ["drive drive: ", "not what had been stored", "ago", "mcc cache verify --drive"] {
        assert!(warning.contains(words), "{warning}");
    }
    assert_eq!(ready()["ready"], true);
    for command in ["status", "cache status"] {
        let told = node.ask(command).good().stdout;
        assert!(told.contains("not what had been stored"), "{told}");
    }
    node.ask("cache verify");
    node.wait_for("end of the warning", "status", |_| {
        (ready()["warnings"] == Value::Array(vec![])).then_some(())
    });
}
