//! What operators ask of a running cache: purge, pin, verify, take a drive back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panic")]

mod support;

use std::fs;
use std::path::Path;

use mcc_cache::store::{ListQuery, OnlineError};
use mcc_cache::{PinError, Purge};
use support::{HOST, Node, TestOrigin, content, settings, until};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// A node that has fetched all these.
async fn filled(paths: &[&str]) -> (TempDir, TestOrigin, Node) {
    let folder = TempDir::new().unwrap();
    let origin = TestOrigin::start().await;
    for path in paths {
        origin.put(path, content(2 * MIB, 7), "\"v1\"");
    }
    let node = Node::start(settings(folder.path(), origin.address)).await;
    for path in paths {
        assert!(node.get(path, &[]).await.is_whole());
        node.written(path, 2).await;
    }
    (folder, origin, node)
}

fn urls(node: &Node) -> Vec<String> {
    let query = ListQuery { limit: 100, ..ListQuery::default() };
    node.cache.list(&query).objects.into_iter().map(|object| object.url).collect()
}

/// What a crash of the machine would leave.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_for_good_outlives_a_crash() {
    let (folder, origin, node) = filled(&["/game/1", "/game/2", "/gamepad", "/other"]).await;
    // By an alias, as people copy URLs.
    let prefix = Purge::Prefix("http://cdn2.downloads.example/game/".to_owned());
    let purged = node.cache.purge_for_good(&prefix).await.unwrap();
    assert_eq!((purged.objects, purged.bytes, purged.durable), (2, 4 << 20, true));
    let left = [format!("{HOST}/gamepad"), format!("{HOST}/other")];
    assert_eq!(urls(&node), left);

    let crashed = TempDir::new().unwrap();
    copy(folder.path(), crashed.path());
    let again = Node::start(settings(crashed.path(), origin.address)).await;
    assert_eq!(urls(&again), left);
    assert!(again.cache.purge(&Purge::Prefix("example.com/".to_owned())).is_err());
    assert!(again.cache.purge(&Purge::Prefix(HOST.to_owned())).is_err(), "that is an origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_name_objects_as_clients_do() {
    let (_folder, _origin, node) = filled(&["/a"]).await;
    let cache = &node.cache;
    cache.pin("https://cdn2.downloads.example/a?token=1").unwrap();
    cache.pin(&format!("{HOST}/later")).unwrap();
    let pins = cache.pins();
    assert_eq!(
        pins.iter().map(|pin| &pin.url).collect::<Vec<_>>(),
        [&format!("{HOST}/a"), &format!("{HOST}/later")]
    );
    assert!(pins[0].object.is_some() && pins[1].object.is_none());
    until(|| cache.status().store.drives[0].pinned == 2).await;
    assert!(matches!(cache.pin("nonsense"), Err(PinError::Name(_))));
    assert!(matches!(cache.pin("example.com/x"), Err(PinError::Name(_))));
    assert_eq!(cache.unpin(&format!("{HOST}/a")), Ok(true));
    assert_eq!(cache.unpin(&format!("{HOST}/a")), Ok(false));
    until(|| cache.status().store.drives[0].pinned == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_and_a_healthy_drive() {
    let (folder, _origin, node) = filled(&["/a"]).await;
    let cache = &node.cache;
    // What the slot table does not know yet is left out.
    cache.purge_for_good(&Purge::Url(format!("{HOST}/nothing"))).await.unwrap();
    let verification = cache.verify(None).unwrap();
    until(|| verification.is_finished()).await;
    let progress = cache.last_verification().unwrap().progress();
    assert_eq!((progress.blocks, progress.done, progress.mismatches), (2, 2, 0));
    let drive = folder.path().join("drive");
    assert_eq!(cache.online(&drive), Err(OnlineError::Up));
    let unknown = cache.online(Path::new("/cache/9"));
    assert_eq!(unknown, Err(OnlineError::Unknown { known: drive.display().to_string() }));
}
