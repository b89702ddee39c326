//! What a speaker tells others of a real session: a BMP station, MRT files, a dump, and its replay.

#![expect(clippy::disallowed_types, reason = "the router that the speaker is tested with")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mcc_announcer::{Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_bgp::bmp::{Station, StationSettings};
use mcc_bgp::mrt::{
    Body, Reader, Recorder, RecorderSettings, Replay, ReplaySettings, session::ESTABLISHED,
};
use mcc_bgp::session::State;
use mcc_bgp::speaker::{Speaker, SpeakerHandle, SpeakerSettings};
use mcc_bgp::wire::Nlri;
use mcc_config::{Asn, DynamicNeighbors, Neighbor};
use support::{EXTERNAL, read_update};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

const ASN: u32 = 65100;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// Long enough for any machine; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// BMP message types (RFC 7854 §4.1).
const ROUTE_MONITORING: u8 = 0;
const PEER_DOWN: u8 = 2;
const PEER_UP: u8 = 3;
const INITIATION: u8 = 4;
const TERMINATION: u8 = 5;
/// Common header and per-peer header (RFC 7854 §4.1, §4.2).
const BEFORE_UPDATE: usize = 48;

/// A router with so many routes, each with attributes of its own, and the speaker beside it.
fn pair(routes: u32) -> (Router, Speaker, BTreeSet<IpNet>, Neighbor) {
    let prefix =
        |i: u32| IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(0x1400_0000 + (i << 8)), 24).unwrap());
    let route = |i| {
        let attributes = Attributes {
            med: Some(i),
            ..Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500, 64501])
        };
        Route::new(prefix(i), &Arc::new(attributes))
    };
    let endpoint = Endpoint::Listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let settings = RouterSettings::new(endpoint, ASN, Ipv4Addr::new(10, 0, 0, 1));
    let router = Router::start(settings, (0..routes).map(route).collect()).unwrap();
    let address = router.local_addr().unwrap();
    let mut neighbor = Neighbor::new(address.ip(), Asn::new(ASN).unwrap());
    neighbor.port = address.port();
    neighbor.max_prefixes = 1_000_000;
    let speaker = Speaker::start(SpeakerSettings {
        neighbors: vec![neighbor.clone()],
        ..SpeakerSettings::new(OURS)
    })
    .unwrap();
    (router, speaker, (0..routes).map(prefix).collect(), neighbor)
}

async fn received(handle: &SpeakerHandle, routes: usize) {
    let wait = async {
        while usize::try_from(handle.status().neighbors[0].received).unwrap() < routes {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// A station that is told what the router sends, or only what of it is accepted.
fn station(
    address: SocketAddr,
    post_policy: bool,
    handle: &SpeakerHandle,
    tasks: &TaskTracker,
) -> Station {
    let settings = StationSettings {
        address,
        name: "edge-1".to_owned(),
        pre_policy: !post_policy,
        post_policy,
        statistics_interval: None,
    };
    Station::start(settings, handle.clone(), tasks)
}

/// The next message of a stream to a station: its type and all of it.
async fn next(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let message = async {
        let mut head = [0; 6];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[0], 3, "the version");
        let length = u32::from_be_bytes(head[1..5].try_into().unwrap());
        let mut message = head.to_vec();
        message.resize(usize::try_from(length).unwrap(), 0);
        stream.read_exact(&mut message[6..]).await.unwrap();
        (head[5], message)
    };
    timeout(PATIENCE, message).await.unwrap()
}

/// Reads up to the message of type `last`; the types of the others that are no routes, and the
/// prefixes that were announced.
async fn told_until(stream: &mut TcpStream, last: u8) -> (Vec<u8>, BTreeSet<IpNet>) {
    let (mut types, mut prefixes) = (Vec::new(), BTreeSet::new());
    loop {
        let (code, message) = next(stream).await;
        if code == ROUTE_MONITORING {
            let update = read_update(&message[BEFORE_UPDATE..], &EXTERNAL).unwrap();
            prefixes.extend(update.announced.iter().map(|nlri: Nlri| nlri.prefix));
        } else {
            types.push(code);
        }
        if code == last {
            return (types, prefixes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_hears_the_table_then_the_changes_then_the_end() {
    let (router, speaker, mut expected, _) = pair(300);
    let handle = speaker.handle();
    received(&handle, 300).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let tasks = TaskTracker::new();
    let station = station(listener.local_addr().unwrap(), false, &handle, &tasks);
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();

    let more: IpNet = "21.0.0.0/24".parse().unwrap();
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    router.announce(vec![Route::new(more, &attributes)]).await.unwrap();
    expected.insert(more);
    received(&handle, 301).await;
    assert!(station.status().connected);

    speaker.shutdown(Some("bye")).await;
    let (types, prefixes) = told_until(&mut stream, TERMINATION).await;
    assert_eq!(types, [INITIATION, PEER_UP, PEER_DOWN, TERMINATION]);
    assert_eq!(prefixes, expected);
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it hangs up");
}

/// Its rules are not there yet when the station connects.
#[tokio::test(flavor = "multi_thread")]
async fn a_station_hears_what_is_accepted_of_a_dynamic_router_that_comes_later() {
    let mut range = DynamicNeighbors::new("127.0.8.0/24".parse().unwrap());
    range.accept.max_length = Some(20);
    let speaker = Speaker::start(SpeakerSettings {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        dynamic: vec![range],
        ..SpeakerSettings::new(OURS)
    })
    .unwrap();
    let handle = speaker.handle();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let tasks = TaskTracker::new();
    let _station = station(listener.local_addr().unwrap(), true, &handle, &tasks);
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(next(&mut stream).await.0, INITIATION);

    let accepted: IpNet = "8.1.0.0/16".parse().unwrap();
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let prefixes = [accepted, "8.2.1.0/24".parse().unwrap()];
    let routes = prefixes.map(|prefix| Route::new(prefix, &attributes));
    let source = Some(IpAddr::from([127, 0, 8, 1]));
    let endpoint = Endpoint::Dial { peer: speaker.local_addrs()[0], source };
    let settings = RouterSettings::new(endpoint, ASN, Ipv4Addr::new(10, 0, 8, 1));
    let _router = Router::start(settings, routes.to_vec()).unwrap();
    // The router is a neighbor once it has come.
    let wait = async {
        while handle.status().neighbors.iter().all(|neighbor| neighbor.received < 2) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();

    speaker.shutdown(None).await;
    let (_, told) = told_until(&mut stream, PEER_DOWN).await;
    assert_eq!(told, BTreeSet::from([accepted]));
}

/// The station reads nothing until the router has sent more than queue and sockets hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_station_that_is_too_slow_is_told_all_anew_and_no_session_waits() {
    const ROUTES: u32 = 120_000;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = socket.listen(8).unwrap();
    let tasks = TaskTracker::new();

    let (router, speaker, expected, _) = pair(0);
    let handle = speaker.handle();
    let station = station(listener.local_addr().unwrap(), false, &handle, &tasks);
    let (mut slow, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert!(expected.is_empty());
    timeout(PATIENCE, router.established()).await.unwrap();
    let prefix = |i: u32| Ipv4Net::new(Ipv4Addr::from_bits(0x1400_0000 + (i << 8)), 24).unwrap();
    let route = |i| {
        let next_hop = IpAddr::from([192, 0, 2, 1]);
        let attributes = Attributes { med: Some(i), ..Attributes::new(next_hop, &[64500]) };
        Route::new(prefix(i).into(), &Arc::new(attributes))
    };
    router.announce((0..ROUTES).map(route).collect()).await.unwrap();
    received(&handle, usize::try_from(ROUTES).unwrap()).await;

    let (types, _) = told_until(&mut slow, TERMINATION).await;
    assert_eq!(types.first().zip(types.last()), Some((&INITIATION, &TERMINATION)));
    let (mut again, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(station.status().overruns, 1);
    let mut prefixes = BTreeSet::new();
    while prefixes.len() < usize::try_from(ROUTES).unwrap() {
        let (code, message) = next(&mut again).await;
        if code == ROUTE_MONITORING {
            let update = read_update(&message[BEFORE_UPDATE..], &EXTERNAL).unwrap();
            prefixes.extend(update.announced.iter().map(|nlri| nlri.prefix));
        }
    }
    let status = &handle.status().neighbors[0];
    assert_eq!((status.flaps, status.received), (0, ROUTES));
}

/// The records of a file that stand for themselves: established sessions, messages, routes.
fn look(bytes: &[u8]) -> (usize, usize, BTreeSet<IpNet>) {
    let (mut established, mut messages, mut prefixes) = (0, 0, BTreeSet::new());
    let mut reader = Reader::new(bytes);
    while let Some(record) = reader.next() {
        match record.unwrap().1.body {
            Body::Rib(rib) => {
                assert_eq!(rib.entries.len(), 1);
                prefixes.insert(rib.prefix);
            }
            Body::Message(_) => messages += 1,
            Body::StateChange(change) => established += usize::from(change.to == ESTABLISHED),
            Body::PeerIndexTable(table) => assert_eq!(table.peers.len(), 1),
            Body::Other { .. } => panic!("a record of no known kind"),
        }
    }
    (established, messages, prefixes)
}

fn replayed(bytes: &[u8], neighbor: &Neighbor) -> (u32, u32) {
    let mut replay = Replay::new(ReplaySettings {
        neighbors: vec![neighbor.clone()],
        dynamic: vec![],
        router_id: OURS,
        ipv6: false,
        ebgp_requires_rules: false,
        manual: vec![],
        rules_of: None,
        only_peer: None,
    })
    .unwrap();
    let mut reader = Reader::new(bytes);
    while let Some(record) = reader.next() {
        let (offset, record) = record.unwrap();
        replay.record(offset, &record);
    }
    let report = replay.report();
    assert_eq!(report.malformed_updates, 0, "{report:?}");
    (report.peers[0].received, report.peers[0].accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_has_every_route_and_replays_to_the_same_table() {
    // More than a page.
    const ROUTES: usize = 9000;
    let (_router, speaker, expected, neighbor) = pair(9000);
    let handle = speaker.handle();
    received(&handle, ROUTES).await;
    let mut dump = handle.dump(Some(neighbor.address), "edge-1").unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = dump.next().await {
        bytes.extend(piece.unwrap());
    }
    assert_eq!(look(&bytes).2, expected);
    let status = &handle.status().neighbors[0];
    assert_eq!(replayed(&bytes, &neighbor), (status.received, status.accepted));
    assert!(handle.dump(Some(Ipv4Addr::BROADCAST.into()), "").is_err());
    // A speaker that stops cannot give the rest.
    let mut dump = handle.dump(None, "edge-1").unwrap();
    speaker.shutdown(None).await;
    assert!(dump.next().await.unwrap().is_err() && dump.next().await.is_none());
}

/// Waits for the session after `flaps` others.
async fn established(handle: &SpeakerHandle, flaps: u64) {
    let wait = async {
        loop {
            let status = &handle.status().neighbors[0];
            if status.flaps == flaps && status.state == State::Established {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// The one file of a kind that is finished.
async fn finished(dir: &Path, kind: &str) -> Vec<u8> {
    let wait = async {
        loop {
            let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let mut paths: Vec<_> = names.map(|entry| entry.path()).collect();
            paths.sort();
            paths.retain(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name.starts_with(kind) && name.ends_with(".mrt")
            });
            if let Some(path) = paths.last() {
                return std::fs::read(path).unwrap();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_the_table_and_every_message() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/here");
    let (router, speaker, _, neighbor) = pair(0);
    let (handle, tasks) = (speaker.handle(), TaskTracker::new());
    let settings = RecorderSettings {
        dir: dir.clone(),
        view: "edge-1".to_owned(),
        table_interval: Some(Duration::from_millis(50)),
        messages: true,
        rotate: Duration::from_secs(900),
        keep: 2,
    };
    established(&handle, 0).await;
    let recorder = Recorder::start(settings, &handle, &tasks).unwrap();
    // The session that the recorder sees from the beginning is the next one.
    handle.reset(neighbor.address).await.unwrap();
    established(&handle, 1).await;
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let prefix: IpNet = "21.0.0.0/24".parse().unwrap();
    router.announce(vec![Route::new(prefix, &attributes)]).await.unwrap();
    received(&handle, 1).await;
    let seen = recorder.status().tables;
    let table = async {
        while recorder.status().tables < seen + 2 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, table).await.unwrap();
    assert_eq!(look(&finished(&dir, "table").await).2, BTreeSet::from([prefix]));

    speaker.shutdown(None).await;
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
    let log = finished(&dir, "messages").await;
    let (sessions, messages, _) = look(&log);
    assert_eq!(sessions, 1);
    // At least OPEN and KEEPALIVE both ways, End-of-RIB, the UPDATE and our last NOTIFICATION.
    assert!(messages >= 7, "{messages}");
    assert_eq!(replayed(&log, &neighbor), (1, 1));
    let status = recorder.status();
    assert_eq!((status.failures, status.lost_messages, status.last_error), (0, 0, None));
    assert_eq!(status.message_files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_counted_and_harms_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("no-folder");
    std::fs::write(&file, b"").unwrap();
    let (_router, speaker, _, _) = pair(10);
    let (handle, tasks) = (speaker.handle(), TaskTracker::new());
    let settings = RecorderSettings {
        dir: file.clone(),
        view: "edge-1".to_owned(),
        table_interval: Some(Duration::from_millis(10)),
        messages: false,
        rotate: Duration::from_secs(900),
        keep: 2,
    };
    let recorder = Recorder::start(settings, &handle, &tasks).unwrap();
    received(&handle, 10).await;
    let failed = async {
        while recorder.status().failures < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, failed).await.unwrap();
    let error = recorder.status().last_error.unwrap();
    assert!(error.starts_with(file.to_str().unwrap()), "{error}");
    // The folder comes back.
    std::fs::remove_file(&file).unwrap();
    finished(&file, "table").await;
    let mended = async {
        while recorder.status().last_error.is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, mended).await.unwrap();
    assert_eq!(handle.status().neighbors[0].flaps, 0);
}
