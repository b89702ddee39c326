//! Drives that fail while their blocks are being sent by reference: hyper has been promised the bytes already.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panic"
)]

mod support;

use std::path::PathBuf;

use http::StatusCode;
use support::client::parse;
use support::{Fault, HOST, Node, Reply, TestOrigin, content, settings, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MIB: usize = 1 << 20;
const BLOCKS: usize = 6;

/// A node that has `/f` on its drive, and in memory nowhere but in the page cache.
struct Scene {
    _folder: tempfile::TempDir,
    slab: PathBuf,
    origin: TestOrigin,
    node: Node,
    expected: Vec<u8>,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    let expected = content(BLOCKS * MIB, 6);
    origin.put("/f", expected.clone(), "\"v1\"");
    let settings = settings(folder.path(), origin.address);
    let slab = settings.drives[0].path.join("slab");
    let node = Node::start(settings).await;
    assert!(node.get("/f", &[]).await.body == expected);
    node.written("/f", BLOCKS as u64).await;
    until(|| node.cache.status().objects_in_flight == 0).await;
    origin.forget_log();
    Scene { _folder: folder, slab, origin, node, expected }
}

/// A download that has begun, and of which no more is taken until it is told to go on.
struct Paused {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Scene {
    async fn begin(&self) -> Paused {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 << 10).unwrap();
        let mut stream = socket.connect(self.node.http).await.unwrap();
        let head = format!("GET /f HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 100_000];
        stream.read_exact(&mut answer).await.unwrap();
        Paused { stream, answer }
    }

    /// The drive has no bytes any more.
    fn lose_slab(&self) {
        std::fs::File::options().write(true).open(&self.slab).unwrap().set_len(0).unwrap();
    }

    fn fetched(&self) -> usize {
        self.origin.log().iter().map(|entry| entry.sent).sum()
    }
}

impl Paused {
    async fn go_on(mut self) -> Reply {
        // One that is cut ends in an error, or early.
        let _ = self.stream.read_to_end(&mut self.answer).await;
        parse(&self.answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_answers_are_finished_from_the_origin() {
    let scene = scene().await;
    let mut downloads = Vec::new();
    for _ in 0..12 {
        downloads.push(scene.begin().await);
    }
    scene.lose_slab();
    let downloads = downloads.into_iter().map(|download| tokio::spawn(download.go_on()));
    for download in downloads.collect::<Vec<_>>() {
        let reply = download.await.unwrap();
        assert_eq!(reply.cache_status(), "mcc-edge-1; hit", "it had begun as one");
        let wrong = reply.body.iter().zip(&scene.expected).position(|(is, should)| is != should);
        assert_eq!((wrong, reply.body.len()), (None, scene.expected.len()), "wrong byte, length");
        assert!(reply.is_whole());
    }
    assert_eq!(scene.node.cache.counters().broken_responses, 0);
    assert!(scene.fetched() >= BLOCKS * MIB - 4 * MIB, "the drive has nothing");
    let counts = scene.node.cache.status().store.drives[0].counts;
    assert!(counts.errors + counts.corrupt > 0, "it is told: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_never_put_behind_the_first_bytes() {
    for gone in [false, true] {
        let scene = scene().await;
        let download = scene.begin().await;
        if gone {
            let status = Some(StatusCode::SERVICE_UNAVAILABLE);
            scene.origin.fail(Fault { status, ..Fault::default() });
        } else {
            scene.origin.put("/f", content(BLOCKS * MIB, 7), "\"v2\"");
        }
        scene.lose_slab();
        let reply = download.go_on().await;
        assert!(!reply.is_whole() && scene.expected.starts_with(&reply.body));
        until(|| scene.node.cache.counters().connections == 0).await;
        assert_eq!(scene.node.cache.counters().broken_responses, 1);
    }
}
