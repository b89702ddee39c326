//! Byte for byte what the origin has, over real sockets: random requests, pipelined, read at any pace or not to the end,
//! while blocks are evicted and purged, and drives fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panic"
)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mcc_cache::Purge;
use mcc_cache::store::{Effect, Fault, Faults, ListQuery, Operation, Part, StoreOptions};
use mcc_config::ByteSize;
use proptest::prelude::*;
use support::{HOST, Node, TestOrigin, content, settings, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

/// What one request asks for.
#[derive(Debug, Clone)]
enum Ask {
    Whole,
    /// Parts of the object, as pairs of bounds in ten-thousandths of its length.
    Ranges(Vec<(usize, usize)>),
    Suffix(usize),
    Head,
    NotModified,
}

/// How a client reads what it gets.
#[derive(Debug, Clone)]
enum Manner {
    Fast,
    /// So many bytes at a time, through a small window.
    Dribble(usize),
    /// No more than so many bytes.
    CloseAfter(usize),
}

#[derive(Debug, Clone)]
struct Script {
    /// Object and request, all sent at once.
    asks: Vec<(usize, Ask)>,
    manner: Manner,
    /// The object that is purged when the client is done.
    purge: Option<usize>,
}

fn ask() -> impl Strategy<Value = Ask> {
    let bounds = (0_usize..10_000, 0_usize..10_000).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        1 => Just(Ask::Whole),
        4 => bounds.clone().prop_map(|bounds| Ask::Ranges(vec![bounds])),
        2 => proptest::collection::vec(bounds, 2..4).prop_map(Ask::Ranges),
        1 => (1_usize..3 * MIB).prop_map(Ask::Suffix),
        1 => Just(Ask::Head),
        1 => Just(Ask::NotModified),
    ]
}

fn script(objects: usize) -> impl Strategy<Value = Script> {
    let manner = prop_oneof![
        3 => Just(Manner::Fast),
        1 => (500_usize..20_000).prop_map(Manner::Dribble),
        1 => (0_usize..3 * MIB).prop_map(Manner::CloseAfter),
    ];
    let asks = proptest::collection::vec((0..objects, ask()), 1..6);
    let purge = proptest::option::weighted(0.3, 0..objects);
    (asks, manner, purge).prop_map(|(asks, manner, purge)| Script { asks, manner, purge })
}

/// The objects: short ones, one of exactly two blocks, and long ones.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let any = prop_oneof![1_usize..40_000, Just(2 * MIB), 500_000_usize..7 * MIB];
    proptest::collection::vec(any, 2..8)
}

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| content(8 * MIB, 7));

/// The bytes of an object: each begins elsewhere in the same sequence.
fn object(number: usize, length: usize) -> &'static [u8] {
    &BYTES[number * 1001..number * 1001 + length]
}

impl Ask {
    fn head(&self, number: usize, length: usize, last: bool) -> String {
        let bound = |part: usize| part * length / 10_000;
        let method = if matches!(self, Self::Head) { "HEAD" } else { "GET" };
        let field = match self {
            Self::Whole | Self::Head => String::new(),
            Self::Suffix(n) => format!("Range: bytes=-{n}\r\n"),
            Self::NotModified => "If-None-Match: \"v1\"\r\n".to_owned(),
            Self::Ranges(parts) => {
                let parts: Vec<String> =
                    parts.iter().map(|(a, b)| format!("{}-{}", bound(*a), bound(*b))).collect();
                format!("Range: bytes={}\r\n", parts.join(","))
            }
        };
        let close = if last { "Connection: close\r\n" } else { "" };
        format!("{method} /{number} HTTP/1.1\r\nHost: {HOST}\r\n{field}{close}\r\n")
    }
}

/// Compares the front of `answers` with what `ask` is to get of `object`, and takes it off. False: it is cut short.
fn check(answers: &mut &[u8], ask: &Ask, object: &[u8]) -> bool {
    let Some(end) = answers.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answers[..end]).unwrap();
    *answers = &answers[end + 4..];
    let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    if matches!(ask, Ask::NotModified) {
        assert_eq!(status, 304, "{head}");
        return true;
    }
    let length: usize = field("Content-Length").unwrap().parse().unwrap();
    if matches!(ask, Ask::Head) {
        assert_eq!((status, length), (200, object.len()), "{head}");
        return true;
    }
    let whole = answers.len() >= length;
    let body = &answers[..length.min(answers.len())];
    *answers = &answers[body.len()..];
    let bounds = |text: &str| {
        let (first, rest) = text.strip_prefix("bytes ").unwrap().split_once('-').unwrap();
        let (last, total) = rest.split_once('/').unwrap();
        assert_eq!(total, object.len().to_string());
        (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap() + 1)
    };
    match (status, field("Content-Range")) {
        (200, None) => {
            assert!(matches!(ask, Ask::Whole), "{ask:?}: {head}");
            assert_eq!(length, object.len());
            assert!(object.starts_with(body), "{ask:?}");
        }
        (206, Some(range)) => {
            let (from, to) = bounds(range);
            assert_eq!(length, to - from, "{head}");
            assert!(object[from..to].starts_with(body), "{ask:?}: {head}");
            check_bounds(ask, object.len(), &[(from, to)]);
        }
        (206, None) if whole => {
            let boundary = field("Content-Type").unwrap().split_once("boundary=").unwrap().1;
            let (mut rest, mut parts) = (body, Vec::new());
            let end = format!("\r\n--{boundary}--\r\n");
            while rest != end.as_bytes() {
                let head_end = rest.windows(4).skip(4).position(|w| w == b"\r\n\r\n").unwrap() + 8;
                let head = std::str::from_utf8(&rest[..head_end]).unwrap();
                assert!(head.starts_with(&format!("\r\n--{boundary}\r\n")), "{head}");
                let (from, to) = bounds(head.split_once("Content-Range: ").unwrap().1.trim_end());
                rest = rest[head_end..].strip_prefix(&object[from..to]).expect("a part's bytes");
                parts.push((from, to));
            }
            check_bounds(ask, object.len(), &parts);
        }
        (206, None) => {}
        _ => panic!("{ask:?}: {head}"),
    }
    whole
}

/// The parts of an answer must be what was asked for, joined where they touch or nearly do.
fn check_bounds(ask: &Ask, length: usize, parts: &[(usize, usize)]) {
    let covered = |at: usize| parts.iter().any(|(from, to)| (*from..*to).contains(&at));
    match ask {
        Ask::Suffix(n) => assert_eq!(parts, [(length.saturating_sub(*n), length)]),
        Ask::Ranges(wanted) => {
            for (a, b) in wanted {
                let (first, last) = (a * length / 10_000, b * length / 10_000);
                assert!(covered(first) && covered(last), "{wanted:?}: {parts:?}");
            }
            let outer = wanted.iter().map(|(a, _)| a * length / 10_000).min();
            assert_eq!(parts.first().map(|(from, _)| *from), outer);
        }
        _ => panic!("{ask:?} got parts"),
    }
}

async fn play(node: Arc<Node>, script: Script, lengths: Vec<usize>) {
    let socket = TcpSocket::new_v4().unwrap();
    if let Manner::Dribble(_) = script.manner {
        socket.set_recv_buffer_size(4096).unwrap();
    }
    let mut stream = socket.connect(node.http).await.unwrap();
    let last = script.asks.len() - 1;
    let heads: String = (script.asks.iter().enumerate())
        .map(|(place, (number, ask))| ask.head(*number, lengths[*number], place == last))
        .collect();
    stream.write_all(heads.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    match script.manner {
        Manner::Fast => drop(stream.read_to_end(&mut answers).await.unwrap()),
        Manner::Dribble(bytes) => {
            let mut buffer = vec![0; bytes];
            loop {
                let n = stream.read(&mut buffer).await.unwrap();
                if n == 0 {
                    break;
                }
                answers.extend_from_slice(&buffer[..n]);
                tokio::task::yield_now().await;
            }
        }
        Manner::CloseAfter(bytes) => {
            let _ = (&mut stream).take(bytes as u64).read_to_end(&mut answers).await;
        }
    }
    drop(stream);
    let mut rest = answers.as_slice();
    let mut asks = script.asks.iter();
    let all = asks.all(|(number, ask)| check(&mut rest, ask, object(*number, lengths[*number])));
    let closes = matches!(script.manner, Manner::CloseAfter(_));
    assert!(all || closes, "an answer was cut: {script:?}");
    assert!(!all || rest.is_empty(), "and nothing else");
    if let Some(number) = script.purge {
        let purge = Purge::Url(format!("{HOST}/{number}"));
        node.cache.purge(&purge).unwrap();
    }
}

async fn play_all(lengths: &[usize], rounds: Vec<Vec<Script>>) {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestOrigin::start().await;
    for (number, length) in lengths.iter().enumerate() {
        origin.put(&format!("/{number}"), object(number, *length).to_vec(), "\"v1\"");
    }
    let mut settings = settings(folder.path(), origin.address);
    // Less than the objects together: blocks are evicted all the time.
    settings.drives[0].size = ByteSize::new(16 << 20);
    let node = Arc::new(Node::start(settings).await);
    for scripts in rounds {
        let mut clients = JoinSet::new();
        for script in scripts {
            clients.spawn(play(node.clone(), script, lengths.to_vec()));
        }
        while let Some(client) = clients.join_next().await {
            if let Err(failure) = client {
                std::panic::resume_unwind(failure.into_panic());
            }
        }
    }
    until(|| node.cache.counters().connections == 0).await;
    assert_eq!(node.cache.counters().broken_responses, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_the_right_one(
        (lengths, rounds) in lengths().prop_flat_map(|lengths| {
            let scripts = proptest::collection::vec(script(lengths.len()), 1..7);
            (Just(lengths), proptest::collection::vec(scripts, 3..5))
        }),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(play_all(&lengths, rounds));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_fails_in_the_middle_is_made_up_for_by_the_origin() {
    for effect in [Effect::Error(5), Effect::Short] {
        let folder = tempfile::tempdir().unwrap();
        let origin = TestOrigin::start().await;
        let expected = content(6 * MIB, 6);
        origin.put("/f", expected.clone(), "\"v1\"");
        let faults = Faults::armed();
        let options = StoreOptions { faults: faults.clone(), ..StoreOptions::default() };
        let settings = settings(folder.path(), origin.address);
        let drive = settings.drives[0].path.clone();
        let node = Node::start_with(settings, options).await;
        assert!(node.get("/f", &[]).await.body == expected);
        node.written("/f", 6).await;
        // And no longer in memory: every block is read.
        until(|| node.cache.status().objects_in_flight == 0).await;
        origin.forget_log();
        // The third block's second quarter.
        let fault = Fault {
            drive,
            part: Part::Slab,
            operation: Operation::Read,
            after: 9,
            times: 1,
            effect,
        };
        faults.inject(fault);
        let reply = node.get("/f", &[]).await;
        assert_eq!(reply.cache_status(), "mcc-edge-1; hit");
        assert!(reply.is_whole() && reply.body == expected);
        let fetched: usize = origin.log().iter().map(|entry| entry.sent).sum();
        assert_eq!(fetched, MIB, "that block, and no other");
        let drive = &node.cache.status().store.drives[0];
        assert_eq!(drive.counts.errors, 1);
        assert_eq!(node.cache.counters().broken_responses, 0);
    }
}

/// An origin with one file of 100 GB, each eight bytes of which are their own offset.
async fn huge_origin(length: u64) -> std::net::SocketAddr {
    let answer = move |request: Request<Incoming>| async move {
        let range = request.headers()[header::RANGE].to_str().unwrap().to_owned();
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, end) =
            (first.parse().unwrap(), last.parse::<u64>().unwrap().min(length - 1) + 1);
        let told = format!("bytes {first}-{}/{length}", end - 1);
        let response = Response::builder().status(206).header(header::ETAG, "\"v1\"");
        let response = response.header(header::CACHE_CONTROL, "max-age=3600");
        let body = Full::new(Bytes::from(huge(first..end)));
        Ok::<_, Infallible>(response.header(header::CONTENT_RANGE, told).body(body).unwrap())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

fn huge(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|at| (at / 8 * 8).to_le_bytes()[(at % 8) as usize]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_far_into_an_object_of_100_gb() {
    let length = 100_000_000_000_u64;
    let folder = tempfile::tempdir().unwrap();
    let address = huge_origin(length).await;
    let node = Node::start(settings(folder.path(), address)).await;
    let from = (5 << 30) + 700_001;
    for (range, expected) in [
        (format!("bytes={from}-{}", from + 2_999_999), huge(from..from + 3_000_000)),
        ("bytes=-1500000".to_owned(), huge(length - 1_500_000..length)),
    ] {
        for stored in [false, true] {
            if stored {
                let query =
                    ListQuery { prefix: format!("{HOST}/huge"), limit: 1, ..ListQuery::default() };
                until(|| {
                    let page = node.cache.list(&query);
                    page.objects.first().is_some_and(|o| o.stored >= expected.len() as u64)
                })
                .await;
            }
            let reply = node.get("/huge", &[&format!("Range: {range}")]).await;
            assert!(reply.status == 206 && reply.is_whole() && reply.body == expected, "{range}");
        }
    }
    assert!(node.cache.counters().hit_bytes > 0);
}
