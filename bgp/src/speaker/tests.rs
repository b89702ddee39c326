#![expect(clippy::disallowed_types, reason = "the router that the session is tested with")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mcc_announcer::{Attributes, Endpoint, Route, Router, RouterSettings};
use mcc_config::Asn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::member::Incoming;
use super::rib_task::{Batch, ToRib};
use super::session_task::{SessionSetup, SessionTask};
use super::socket::DialSettings;
use super::status::SessionBoard;
use super::*;
use crate::rib::SessionEvent;
use crate::session::PeerSettings;
use crate::wire::{Capability, Open, Outgoing};

mod back_pressure;
mod dynamic_neighbors;
mod last_run;
mod long_messages;
mod status;
mod tcp_options;

const ASN: u32 = 65100;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn neighbor(address: SocketAddr) -> Neighbor {
    let neighbor = Neighbor::new(address.ip(), Asn::new(ASN).unwrap());
    Neighbor { port: address.port(), hold_time: 3, ..neighbor }
}

/// A session task alone, with a RIB that is played by the test.
struct Session {
    events: mpsc::Receiver<ToRib>,
    commands: mpsc::Sender<Command>,
    incoming: mpsc::Sender<Incoming>,
    board: Arc<SessionBoard>,
    _over_limit: watch::Sender<u64>,
}

fn session(target: SocketAddr) -> Session {
    // Full from the beginning: even the news that the session is up has to wait.
    let (to_rib, events) = mpsc::channel(1);
    let full = Batch { neighbor: NeighborId(0), session: 0, events: vec![] };
    to_rib.try_send(ToRib::Batch(full)).unwrap();
    let (commands, command_receiver) = mpsc::channel(1);
    let (incoming, incoming_receiver) = mpsc::channel(1);
    let (over_limit, limit_receiver) = watch::channel(0);
    let board = Arc::new(SessionBoard::new(neighbor(target), None, Instant::now()));
    let setup = SessionSetup {
        id: NeighborId(0),
        settings: PeerSettings::from_config(&neighbor(target), OURS, false),
        max_prefixes: 100_000,
        dial: DialSettings { target, source: None, tcp: TcpSettings::of(&neighbor(target)) },
        board: Arc::clone(&board),
        tap: Tap::new(),
        incoming: incoming_receiver,
        commands: command_receiver,
        to_rib,
        over_limit: limit_receiver,
        closing: TaskTracker::new(),
    };
    tokio::spawn(SessionTask::new(setup).run());
    Session { events, commands, incoming, board, _over_limit: over_limit }
}

/// A router without a mind of its own: reads our OPEN and answers with its own and a KEEPALIVE.
async fn answer_open(stream: &mut TcpStream, capabilities: Vec<Capability>) {
    let mut message = [0; 4096];
    stream.read_exact(&mut message[..19]).await.unwrap();
    let length = usize::from(u16::from_be_bytes([message[16], message[17]]));
    stream.read_exact(&mut message[19..length]).await.unwrap();
    assert_eq!(message[18], 1, "an OPEN");
    let open = Open { asn: ASN, hold_time: 90, bgp_id: Ipv4Addr::new(10, 0, 0, 1), capabilities };
    stream.write_all(&Outgoing::Open(open).encode()).await.unwrap();
    stream.write_all(&Outgoing::Keepalive.encode()).await.unwrap();
}

async fn wait_for(handle: &SpeakerHandle, what: impl Fn(&SpeakerStatus) -> bool) -> SpeakerStatus {
    let wait = async {
        while !what(&handle.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        handle.status()
    };
    let waited = timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("it never came: {:#?}", handle.status()))
}

fn router_at(speaker: &Speaker, last: u8, asn: u32) -> Router {
    let attributes = Arc::new(Attributes::new(IpAddr::from([192, 0, 2, 1]), &[64500]));
    let route = Route::new(format!("8.{last}.0.0/16").parse().unwrap(), &attributes);
    let source = Some(IpAddr::from([127, 0, 8, last]));
    let endpoint = Endpoint::Dial { peer: speaker.local_addrs()[0], source };
    let settings = RouterSettings::new(endpoint, asn, Ipv4Addr::new(10, 0, 0, last));
    Router::start(settings, vec![route]).unwrap()
}
