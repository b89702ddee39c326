//! The life of a node: created, enrolled, registered, heard, advertised, steered to, deleted.

use std::time::{Duration, Instant};

use mcc_control::api::types::{Heartbeat, LeftOut, NodePatch, NodeState};
use mcc_control::client::Client;
use mcc_control::feed::{Advertiser, Answer, Change, Pace, SessionId};
use mcc_control::store::Store;
use mcc_control::tokens::Role;
use uuid::Uuid;

use crate::plane::{Plane, healthy, ip, route, settings};

/// What is steered to, by name.
async fn serves(client: &Client, address: &str) -> Option<String> {
    let answer = client.steer(ip(address), None, false).await.unwrap().node()?;
    Some(answer.node.to_string())
}

fn advertiser() -> Advertiser {
    Advertiser::new(SessionId::new(Uuid::now_v7()), 1, Pace::default(), Instant::now())
}

#[tokio::test]
async fn from_creation_to_steering() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &["203.0.113.0/24"]);
    let state = async || owner.node(&node.name).await.unwrap().state;

    let created = owner.create_node(&node).await.unwrap();
    assert_eq!((created.state, created.generation), (NodeState::NotProvisioned, 1));

    let enrolment = owner.create_enrolment(&node.name).await.unwrap();
    assert_eq!(state().await, NodeState::RegistrationInProgress);
    let url = plane.url();
    let key = enrolment.key.expose();
    let command = format!("mcc enrol --url {url} --key {key} --token-file /etc/mcc/node.token");
    assert_eq!(enrolment.command, command);

    let registered = plane.stranger().register(enrolment.key).await.unwrap();
    assert_eq!(registered.node, node.name);
    assert_eq!(state().await, NodeState::NeverPhonedHome);
    assert_eq!(serves(&owner, "203.0.113.7").await, None, "not before it is healthy");

    let link =
        crate::plane::NodeLink { client: plane.client(&registered.token), token: registered.token };
    let answer = link.client.heartbeat(&healthy()).await.unwrap();
    assert_eq!((answer.config_generation, answer.send_snapshot), (1, false));
    assert_eq!(state().await, NodeState::Healthy);
    assert_eq!(serves(&owner, "203.0.113.7").await.as_deref(), Some("edge-1"));

    assert_eq!(serves(&owner, "198.51.100.7").await, None);
    let mut advertiser = advertiser();
    let start = Instant::now();
    advertiser.snapshot([route("198.51.100.0/24")], start);
    link.advertise(&mut advertiser, start + Duration::from_secs(1)).await;
    let answer = owner.steer(ip("198.51.100.7"), None, true).await.unwrap().node().unwrap();
    assert_eq!(answer.node, node.name);
    assert_eq!(answer.address, ip("192.0.2.10"));
    assert_eq!(answer.prefix.to_string(), "198.51.100.0/24");

    advertiser.changes(
        [
            Change::Absent("198.51.100.0/24".parse().unwrap()),
            Change::Present(route("100.64.0.0/10")),
        ],
        start + Duration::from_secs(2),
    );
    link.advertise(&mut advertiser, start + Duration::from_secs(3)).await;
    assert_eq!(serves(&owner, "198.51.100.7").await, None);
    assert_eq!(serves(&owner, "100.64.1.1").await.as_deref(), Some("edge-1"));

    let shown = owner.node(&node.name).await.unwrap();
    assert_eq!(shown.footprint.prefixes, 2);
    assert_eq!(shown.footprint.feed, advertiser.status().acknowledged_position);
}

#[tokio::test]
async fn a_restart_keeps_steering_before_any_node_has_called() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &["203.0.113.0/24"]);
    let link = plane.healthy_node(&owner, &node).await;
    let mut advertiser = advertiser();
    let mut now = Instant::now();
    advertiser.snapshot([route("198.51.100.0/24"), route("198.51.0.0/16")], now);
    now += Duration::from_secs(1);
    link.advertise(&mut advertiser, now).await;
    advertiser.changes([Change::Absent("198.51.0.0/16".parse().unwrap())], now);
    now += Duration::from_secs(1);
    link.advertise(&mut advertiser, now).await;

    let plane = plane.restart().await;
    let stranger = plane.stranger();
    assert_eq!(serves(&stranger, "203.0.113.7").await.as_deref(), Some("edge-1"));
    assert_eq!(serves(&stranger, "198.51.100.7").await.as_deref(), Some("edge-1"));
    assert_eq!(serves(&stranger, "198.51.7.7").await, None);

    // What was acknowledged is on disk, so that the next delta follows it.
    let link = crate::plane::NodeLink { client: plane.client(&link.token), token: link.token };
    advertiser.changes([Change::Present(route("100.64.0.0/10"))], now);
    now += Duration::from_secs(1);
    let answers = link.advertise(&mut advertiser, now).await;
    let position = advertiser.status().acknowledged_position.unwrap();
    assert_eq!(answers, [Answer::Ok(position)]);

    let plane = plane.drop_and_start().await;
    let owner = plane.owner().await;
    let shown = owner.node(&node.name).await.unwrap();
    assert_eq!(shown.footprint.feed, Some(position));
}

#[tokio::test]
async fn a_delta_that_does_not_follow_is_answered_with_what_is_held() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let link = plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &[])).await;

    // A node that believes to be further than the control plane is: its first life, elsewhere.
    let elsewhere = Plane::start().await;
    let other_owner = elsewhere.owner().await;
    let other = elsewhere.healthy_node(&other_owner, &settings("edge-1", "192.0.2.10", &[])).await;
    let mut advertiser = advertiser();
    let mut now = Instant::now();
    advertiser.snapshot([route("198.51.100.0/24")], now);
    now += Duration::from_secs(1);
    other.advertise(&mut advertiser, now).await;

    advertiser.changes([Change::Present(route("100.64.0.0/10"))], now);
    now += Duration::from_secs(1);
    let answers = link.advertise(&mut advertiser, now).await;
    let position = advertiser.status().acknowledged_position.unwrap();
    assert_eq!(answers, [Answer::Resync(None), Answer::Ok(position)], "409, then a snapshot");
    assert_eq!(serves(&owner, "198.51.100.7").await.as_deref(), Some("edge-1"));
}

#[tokio::test]
async fn a_heartbeat_finds_a_feed_that_has_come_apart() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let link = plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &[])).await;
    let mut advertiser = advertiser();
    let now = Instant::now();
    advertiser.snapshot([route("198.51.100.0/24")], now);
    link.advertise(&mut advertiser, now + Duration::from_secs(1)).await;
    let mut heartbeat = healthy();
    heartbeat.feed = advertiser.status().acknowledged_position;
    assert!(!link.client.heartbeat(&heartbeat).await.unwrap().send_snapshot);
    let position = heartbeat.feed.as_mut().unwrap();
    position.digest = "0".repeat(32).parse().unwrap();
    assert!(link.client.heartbeat(&heartbeat).await.unwrap().send_snapshot);
}

#[tokio::test]
async fn an_operator_drains_disables_changes_and_deletes() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &["203.0.113.0/24"]);
    let link = plane.healthy_node(&owner, &node).await;
    let name = &node.name;

    assert_eq!(owner.drain(name).await.unwrap().state, NodeState::Draining);
    assert_eq!(serves(&owner, "203.0.113.7").await, None);
    assert_eq!(owner.undrain(name).await.unwrap().state, NodeState::Healthy);
    assert_eq!(owner.disable(name).await.unwrap().state, NodeState::Disabled);
    assert_eq!(serves(&owner, "203.0.113.7").await, None);
    assert_eq!(owner.enable(name).await.unwrap().state, NodeState::Healthy);
    assert_eq!(serves(&owner, "203.0.113.7").await.as_deref(), Some("edge-1"));

    let known = link.client.configuration(None).await.unwrap().unwrap();
    assert_eq!(known.settings, node);
    assert_eq!(link.client.configuration(Some(known.generation)).await.unwrap(), None);
    let patch = NodePatch {
        cidrs: Some(vec!["100.64.0.0/10".parse().unwrap()]),
        max_egress_mbps: Some(Some(100)),
        ..NodePatch::default()
    };
    assert_eq!(owner.change_node(name, &patch).await.unwrap().generation, 2);
    let changed = link.client.configuration(Some(1)).await.unwrap().unwrap();
    assert_eq!(changed.settings.max_egress_mbps, Some(100));
    assert_eq!(serves(&owner, "203.0.113.7").await, None);
    assert_eq!(serves(&owner, "100.64.1.1").await.as_deref(), Some("edge-1"));

    let mut busy = healthy();
    busy.traffic.egress_mbps = 100.0;
    link.client.heartbeat(&busy).await.unwrap();
    assert_eq!(serves(&owner, "100.64.1.1").await, None, "at its egress limit");
    link.client.heartbeat(&healthy()).await.unwrap();

    owner.delete_node(name).await.unwrap();
    assert_eq!(serves(&owner, "100.64.1.1").await, None);
    assert_eq!(owner.node(name).await.unwrap_err().status(), Some(404));
    assert_eq!(link.client.heartbeat(&healthy()).await.unwrap_err().status(), Some(410));
}

#[tokio::test]
async fn a_node_that_is_not_ready_is_not_steered_to() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &["203.0.113.0/24"]);
    let link = plane.healthy_node(&owner, &node).await;
    let mut heartbeat = healthy();
    heartbeat.ready = false;
    heartbeat.reasons = vec!["drive /cache/1 is down".to_owned()];
    link.client.heartbeat(&heartbeat).await.unwrap();
    let shown = owner.node(&node.name).await.unwrap();
    assert_eq!(shown.state, NodeState::Unhealthy);
    assert!(shown.reason.contains("drive /cache/1 is down"), "{}", shown.reason);
    assert_eq!(serves(&owner, "203.0.113.7").await, None);
}

#[tokio::test]
async fn many_deltas_become_one_snapshot_and_a_restart_reads_it() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let link = plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &[])).await;
    let mut advertiser = advertiser();
    let mut now = Instant::now();
    advertiser.snapshot([], now);
    // Communities that do not compress: each delta is some 60 kB, and 256 kB are kept.
    let mut sent = 0;
    for step in 0..8_u32 {
        let changes: Vec<Change> = (0..900_u32)
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 + ((step * 900 + n) << 8));
                let mut record = route(&format!("{address}/24"));
                let noise = format!("{:032x}", rand::random::<u128>());
                let attributes = std::sync::Arc::make_mut(&mut record.attributes);
                attributes.communities = vec![noise.clone(), noise.chars().rev().collect()];
                Change::Present(record)
            })
            .collect();
        sent += changes.len();
        advertiser.changes(changes, now);
        now += Duration::from_secs(1);
        link.advertise(&mut advertiser, now).await;
    }
    let store = Store::open(&plane.config.control).await.unwrap();
    let kept = store.feeds().await.unwrap().len();
    assert!(kept < 9, "{kept} bodies are kept");
    store.close().await;

    let position = advertiser.status().acknowledged_position.unwrap();
    let plane = plane.restart().await;
    let owner = plane.owner().await;
    let shown = owner.nodes().await.unwrap().remove(0).footprint;
    assert_eq!((shown.prefixes, shown.feed), (sent, Some(position)));
    assert_eq!(serves(&owner, "10.0.7.1").await.as_deref(), Some("edge-1"));
}

/// IPv6 in a footprint costs a node nothing of its IPv4: it is held, shown and left out of steering
/// until it is switched on.
#[tokio::test]
async fn without_ipv6_the_ipv4_of_a_footprint_steers() {
    let mut plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &[]);
    let link = plane.healthy_node(&owner, &node).await;
    let mut advertiser = advertiser();
    let mut now = Instant::now();
    advertiser.snapshot([route("198.51.100.0/24"), route("2001:db8:1::/48")], now);
    now += Duration::from_secs(1);
    let request = advertiser.poll(now).unwrap();
    let advertised = link.client.advertise(&request).await.unwrap();
    let why = |left_out: Option<LeftOut>| {
        left_out.map(|LeftOut { prefixes, reason }| {
            assert!(reason.contains("`ipv6 = true` under [control]"), "{reason}");
            prefixes
        })
    };
    assert_eq!(why(advertised.left_out), Some(1));
    advertiser.answer(advertised.answer, now);
    let position = advertiser.status().acknowledged_position;
    assert!(advertiser.status().acknowledged, "the table is held whole");

    assert_eq!(serves(&owner, "198.51.100.7").await.as_deref(), Some("edge-1"));
    let shown = owner.node(&node.name).await.unwrap().footprint;
    assert_eq!((shown.prefixes, why(shown.left_out), shown.feed), (1, Some(1), position));
    let heartbeat = Heartbeat { feed: position, ..healthy() };
    let answer = link.client.heartbeat(&heartbeat).await.unwrap();
    assert_eq!((answer.send_snapshot, why(answer.left_out)), (false, Some(1)));
    let bearer = format!("Bearer {}", plane.token(Role::Owner).await.expose());
    let metrics = plane.raw("GET", "/metrics", &[("authorization", bearer.as_str())], "").await;
    let line = "mcc_steering_left_out_prefixes{reason=\"ipv6_off\"} 1\n";
    assert!(metrics.text.contains(line), "{}", metrics.text);

    advertiser.changes([Change::Present(route("2001:db8:2::/48"))], now);
    now += Duration::from_secs(1);
    let answers = link.advertise(&mut advertiser, now).await;
    let position = advertiser.status().acknowledged_position;
    assert_eq!(answers, [Answer::Ok(position.unwrap())], "deltas follow");

    plane.config.control.ipv6 = true;
    let plane = plane.restart().await;
    let owner = plane.owner().await;
    assert_eq!(serves(&owner, "2001:db8:2::7").await.as_deref(), Some("edge-1"));
    let shown = owner.node(&node.name).await.unwrap().footprint;
    assert_eq!((shown.prefixes, why(shown.left_out), shown.feed), (3, None, position));
    let link = plane.client(&link.token);
    let heartbeat = Heartbeat { feed: position, ..healthy() };
    let answer = link.heartbeat(&heartbeat).await.unwrap();
    assert_eq!((answer.send_snapshot, answer.left_out), (false, None));
}
