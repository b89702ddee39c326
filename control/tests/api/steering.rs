//! `/v1/steer`, `/geo` and what monitoring reads.

use mcc_config::ControlConfig;
use mcc_control::api::types::PassedOver;
use mcc_control::client::Steered;
use mcc_control::tokens::Role;
use serde_json::json;

use crate::plane::{Plane, ip, settings};

#[tokio::test]
async fn one_address_and_many() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &["198.51.100.0/24"])).await;
    plane.healthy_node(&owner, &settings("edge-2", "192.0.2.20", &["198.51.100.128/25"])).await;

    let answer = plane.raw("GET", "/v1/steer?client=198.51.100.7", &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let one = answer.json();
    assert_eq!(one["node"], "edge-1");
    assert_eq!(one["address"], "192.0.2.10");
    assert_eq!(one["prefix"], "198.51.100.0/24");
    assert_eq!(one["reason"][0], "longest_prefix");
    assert!(one.get("candidates").is_none());

    let none = plane.raw("GET", "/v1/steer?client=203.0.113.1", &[], "").await;
    assert_eq!(none.status, 404);
    assert_eq!(none.detail(), "no node serves 203.0.113.1");

    let body = json!({"questions": [
        {"client": "198.51.100.200"},
        {"client": "203.0.113.1", "host": "download.windowsupdate.com"},
    ]});
    let headers = [("content-type", "application/json")];
    let many = plane.raw("POST", "/v1/steer", &headers, body.to_string()).await;
    assert_eq!(many.status, 200, "{many:?}");
    let many = many.json();
    assert_eq!(many["answers"][0]["client"], "198.51.100.200");
    assert_eq!(many["answers"][0]["node"], "edge-2");
    assert_eq!(many["answers"][1]["client"], "203.0.113.1");
    assert_eq!(many["answers"][1]["node"], json!(null));
}

#[tokio::test]
async fn the_whole_story_on_demand() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &["198.51.100.0/24"])).await;
    let second = settings("edge-2", "192.0.2.20", &["198.51.100.128/25"]);
    plane.healthy_node(&owner, &second).await;
    owner.drain(&second.name).await.unwrap();
    let answer = owner.steer(ip("198.51.100.200"), None, true).await.unwrap().node().unwrap();
    assert_eq!(answer.node.as_str(), "edge-1");
    let text = serde_json::to_string(&answer).unwrap();
    assert!(text.contains("covering_prefix"), "{text}");
    assert!(text.contains("edge-2") && text.contains("draining"), "{text}");

    owner.drain(&answer.node).await.unwrap();
    let Steered::Nobody(Some(story)) = owner.steer(ip("198.51.100.200"), None, true).await.unwrap()
    else {
        panic!("someone serves it");
    };
    assert_eq!(story.candidates, []);
    let passed: Vec<_> = story.passed_over.iter().map(|p| (p.node.as_str(), p.reason)).collect();
    let draining = PassedOver::Draining;
    assert_eq!(passed, [("edge-2", draining), ("edge-1", draining)]);
}

#[tokio::test]
async fn geo_believes_only_trusted_proxies() {
    let serve_loopback = settings("edge-1", "192.0.2.10", &["127.0.0.0/8"]);
    let serve_others = settings("edge-2", "192.0.2.20", &["198.51.100.0/24"]);
    let forwarded = [("x-forwarded-for", "203.0.113.1, 198.51.100.7")];

    let plane = Plane::start().await;
    let owner = plane.owner().await;
    plane.healthy_node(&owner, &serve_loopback).await;
    plane.healthy_node(&owner, &serve_others).await;
    let path = "/geo?doClientVersion=10.0&profile=1";
    for headers in [&[][..], &forwarded] {
        let reply = plane.raw("GET", path, headers, "").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "text/json");
        let geo = reply.json();
        assert_eq!(geo["ExternalIpAddress"], "127.0.0.1");
        assert_eq!(geo["CacheHost"], "192.0.2.10");
    }

    let trust = |config: &mut ControlConfig| {
        config.control.trusted_proxies =
            vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    };
    let plane = Plane::start_with(trust).await;
    let owner = plane.owner().await;
    plane.healthy_node(&owner, &serve_loopback).await;
    plane.healthy_node(&owner, &serve_others).await;
    for (forwarded, client, host) in [
        ("198.51.100.7", "198.51.100.7", json!("192.0.2.20")),
        // What a client wrote itself stands to the left of what the proxy has seen.
        ("203.0.113.1, 198.51.100.7", "198.51.100.7", json!("192.0.2.20")),
        ("198.51.100.7, 203.0.113.1, 10.0.0.1", "203.0.113.1", json!(null)),
        ("198.51.100.7:1234", "198.51.100.7", json!("192.0.2.20")),
        ("rubbish", "127.0.0.1", json!("192.0.2.10")),
    ] {
        let geo = plane.raw("GET", path, &[("x-forwarded-for", forwarded)], "").await.json();
        assert_eq!(geo["ExternalIpAddress"], client, "{forwarded}");
        assert_eq!(geo["CacheHost"], host, "{forwarded}");
        assert_eq!(geo.get("CacheHost").is_some(), !host.is_null(), "{forwarded}");
    }
}

#[tokio::test]
async fn monitoring_reads_counts() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &["198.51.100.0/24"])).await;
    owner.steer(ip("198.51.100.7"), None, false).await.unwrap();
    owner.steer(ip("203.0.113.1"), None, false).await.unwrap();
    plane.raw("GET", "/invented/by/a/stranger", &[], "").await;
    let token = plane.token(Role::Viewer).await;
    let bearer = format!("Bearer {}", token.expose());
    let reply = plane.raw("GET", "/metrics", &[("authorization", &bearer)], "").await;
    for line in [
        "mcc_steer_decisions_total{result=\"node\"} 1\n",
        "mcc_steer_decisions_total{result=\"none\"} 1\n",
        "mcc_heartbeats_total 1\n",
        "mcc_steering_prefixes 1\n",
        "mcc_nodes{state=\"Healthy\"} 1\n",
        "mcc_nodes{state=\"Unhealthy\"} 0\n",
        "mcc_control_http_requests_total{route=\"/v1/steer\",method=\"GET\",status=\"404\"} 1\n",
        "mcc_control_http_requests_total{route=\"\",method=\"GET\",status=\"404\"} 1\n",
    ] {
        assert!(reply.text.contains(line), "no {line}in\n{}", reply.text);
    }
}
