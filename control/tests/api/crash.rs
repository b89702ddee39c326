//! A control plane that is killed at random points loses nothing that it has acknowledged.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcc_config::{ControlConfig, Secret};
use mcc_control::api::types::Position;
use mcc_control::client::Client;
use mcc_control::feed::{Advertiser, Change, Pace, SessionId};
use mcc_control::server::ControlPlane;
use mcc_control::tokens::{self, Role};
use uuid::Uuid;

use crate::plane::{healthy, route, settings};

const ROUNDS: u32 = 10;
const DATA_DIR: &str = "MCC_TEST_DATA_DIR";

fn config(data_dir: &str) -> ControlConfig {
    let mut config = ControlConfig { control: Default::default(), dns: None };
    config.control.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.control.data_dir = data_dir.into();
    config
}

/// The process that is killed.
#[tokio::test]
#[ignore = "another test starts it"]
async fn victim() {
    let Ok(data_dir) = std::env::var(DATA_DIR) else { return };
    let plane = ControlPlane::start(config(&data_dir)).await.unwrap();
    eprintln!("listens on {}", plane.local_addrs()[0]);
    std::future::pending::<()>().await;
}

/// Kills the process when it is dropped (SIGKILL), also when the test fails.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A control plane in a process of its own, and its URL.
fn start_victim(data_dir: &str) -> (Victim, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::victim", "--ignored", "--nocapture"])
        .env(DATA_DIR, data_dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines
        .find_map(|line| line.unwrap().strip_prefix("listens on ").map(str::to_owned))
        .unwrap_or_else(|| panic!("the victim does not start"));
    (Victim(child), format!("http://{address}"))
}

async fn held(url: &str, owner: &Secret) -> Option<Position> {
    let client = Client::new(url, None).unwrap().with_token(owner.clone());
    client.nodes().await.unwrap().remove(0).footprint.feed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let owner = tokens::create(&config(data_dir), Role::Owner).await.unwrap();
    let mut now = Instant::now();
    let mut advertiser = Advertiser::new(SessionId::new(Uuid::now_v7()), 1, Pace::default(), now);
    advertiser.snapshot([route("198.51.100.0/24")], now);
    let mut token = None;
    let mut next = 0_u32;
    for _ in 0..ROUNDS {
        let (victim, url) = start_victim(data_dir);
        let link = match &token {
            None => {
                let client = Client::new(&url, None).unwrap().with_token(owner.clone());
                let node = settings("edge-1", "192.0.2.10", &[]);
                client.create_node(&node).await.unwrap();
                let key = client.create_enrolment(&node.name).await.unwrap().key;
                let got = client.register(key).await.unwrap().token;
                Client::new(&url, None).unwrap().with_token(token.insert(got).clone())
            }
            Some(token) => Client::new(&url, None).unwrap().with_token(token.clone()),
        };
        link.heartbeat(&healthy()).await.unwrap();
        let acknowledged = advertiser.status().acknowledged_position;
        let held = held(&url, &owner).await;
        assert!(
            held.map(|p| p.serial) >= acknowledged.map(|p| p.serial),
            "{acknowledged:?} was acknowledged, {held:?} is held"
        );
        // Talks until the control plane is gone, which is at some point within 30 ms.
        let end = Duration::from_micros(u64::from(rand::random::<u16>() % 30_000));
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(end);
            drop(victim);
        });
        loop {
            next += 1;
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + (next << 8));
            advertiser.changes([Change::Present(route(&format!("{address}/24")))], now);
            now += Duration::from_secs(120); // longer than any back-off
            let Some(request) = advertiser.poll(now) else { continue };
            match link.advertise(&request).await {
                Ok(advertised) => advertiser.answer(advertised.answer, now),
                Err(failure) => {
                    advertiser.failed(failure, now);
                    break;
                }
            }
        }
        killer.await.unwrap();
    }

    let plane = ControlPlane::start(config(data_dir)).await.unwrap();
    let url = format!("http://{}", plane.local_addrs()[0]);
    let link = Client::new(&url, None).unwrap().with_token(token.unwrap());
    now += Duration::from_secs(120);
    while let Some(request) = advertiser.poll(now) {
        advertiser.answer(link.advertise(&request).await.unwrap().answer, now);
        now += Duration::from_secs(120);
    }
    let status = advertiser.status();
    assert!(status.acknowledged, "{status:?}");
    assert!(next > ROUNDS, "nothing was ever acknowledged");
    assert_eq!(held(&url, &owner).await, status.acknowledged_position);
}
