//! Who may do what: every endpoint against every kind of caller.

use jiff::{SignedDuration, Timestamp};
use mcc_config::Secret;
use mcc_control::feed::{Advertiser, Pace, SessionId};
use mcc_control::store::{self, Store};
use mcc_control::tokens::{Hash, Role};
use uuid::Uuid;

use crate::plane::{Plane, route, settings};

/// Who may use an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    Open,
    Sees,
    Changes,
    Node,
}

const ENDPOINTS: &[(&str, &str, Gate)] = &[
    ("GET", "/healthz", Gate::Open),
    ("GET", "/readyz", Gate::Open),
    ("GET", "/v1/steer?client=192.0.2.1", Gate::Open),
    ("POST", "/v1/steer", Gate::Open),
    ("GET", "/geo", Gate::Open),
    ("POST", "/v1/node/register", Gate::Open),
    ("GET", "/metrics", Gate::Sees),
    ("GET", "/v1/nodes", Gate::Sees),
    ("GET", "/v1/nodes/edge-1", Gate::Sees),
    ("POST", "/v1/nodes", Gate::Changes),
    ("PATCH", "/v1/nodes/edge-1", Gate::Changes),
    ("POST", "/v1/nodes/edge-1/enrolment", Gate::Changes),
    ("POST", "/v1/nodes/edge-1/drain", Gate::Changes),
    ("POST", "/v1/nodes/edge-1/undrain", Gate::Changes),
    ("POST", "/v1/nodes/edge-1/disable", Gate::Changes),
    ("POST", "/v1/nodes/edge-1/enable", Gate::Changes),
    ("POST", "/v1/node/heartbeat", Gate::Node),
    ("GET", "/v1/node/config", Gate::Node),
    ("PUT", "/v1/node/routes", Gate::Node),
    ("POST", "/v1/node/routes", Gate::Node),
    ("DELETE", "/v1/nodes/edge-9", Gate::Changes),
];

#[tokio::test]
async fn every_endpoint_against_every_caller() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let link = plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &[])).await;
    let viewer = plane.token(Role::Viewer).await;
    let operator = plane.token(Role::Operator).await;
    let owner = plane.token(Role::Owner).await;
    let callers = [
        ("nobody", None),
        ("forger", Some("mcc_0000")),
        ("viewer", Some(viewer.expose())),
        ("operator", Some(operator.expose())),
        ("owner", Some(owner.expose())),
        ("node", Some(link.token.expose())),
    ];
    for (method, path, gate) in ENDPOINTS {
        for (caller, token) in callers {
            let passes = match gate {
                Gate::Open => true,
                Gate::Sees => matches!(caller, "viewer" | "operator" | "owner"),
                Gate::Changes => matches!(caller, "operator" | "owner"),
                Gate::Node => caller == "node",
            };
            let bearer = token.map(|token| format!("Bearer {token}"));
            let mut headers = vec![("content-type", "application/json")];
            if let Some(bearer) = &bearer {
                headers.push(("authorization", bearer));
            }
            // A body that no endpoint accepts: who gets past the gate is told so.
            let reply = plane.raw(method, path, &headers, "[]").await;
            let stopped = match caller {
                "nobody" | "forger" => 401,
                _ => 403,
            };
            let is_register = *path == "/v1/node/register";
            if passes {
                assert!(
                    is_register || !matches!(reply.status, 401 | 403),
                    "{caller} {method} {path}: {reply:?}"
                );
            } else {
                assert_eq!(reply.status, stopped, "{caller} {method} {path}: {reply:?}");
                reply.detail();
            }
            if reply.status == 401 {
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
            }
        }
    }
}

#[tokio::test]
async fn a_key_enrols_once_and_a_second_key_takes_the_first_token_away() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &[]);
    owner.create_node(&node).await.unwrap();
    let key = owner.create_enrolment(&node.name).await.unwrap().key;
    let first = plane.stranger().register(key.clone()).await.unwrap().token;

    let again = plane.stranger().register(key).await.unwrap_err();
    assert_eq!(again.status(), Some(401));
    assert!(again.to_string().contains("each key is good once"), "{again}");
    let unknown = Secret::new("mcc_enrol_0".to_owned());
    let unknown = plane.stranger().register(unknown).await.unwrap_err();
    assert!(unknown.to_string().contains("not known"), "{unknown}");

    let link = plane.enrol(&owner, &node.name).await;
    assert!(link.client.configuration(None).await.is_ok());
    let error = plane.client(&first).configuration(None).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
}

#[tokio::test]
async fn what_has_expired_opens_nothing() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &[]);
    owner.create_node(&node).await.unwrap();
    let (now, past) = (Timestamp::now(), Timestamp::now() - SignedDuration::from_secs(1));
    let (token, key) = ("mcc_made_for_a_test", "mcc_enrol_made_for_a_test");
    let store = Store::open(&plane.config.control).await.unwrap();
    let id = store.nodes().await.unwrap().remove(0).id;
    let mut write = store.write().await.unwrap();
    let hash = Hash::of(token);
    store::tokens::insert_operator(&mut write, &hash, Role::Owner, "me", past, Some(past))
        .await
        .unwrap();
    store::enrolment::insert(&mut write, id, &Hash::of(key), now, past).await.unwrap();
    write.commit().await.unwrap();
    store.close().await;

    let late = plane.client(&Secret::new(token.to_owned())).nodes().await.unwrap_err();
    assert_eq!(late.status(), Some(401));
    assert!(late.to_string().contains("this token expired at"), "{late}");
    let late = plane.stranger().register(Secret::new(key.to_owned())).await.unwrap_err();
    assert_eq!(late.status(), Some(401));
    assert!(late.to_string().contains("this enrolment key expired at"), "{late}");
}

#[tokio::test]
async fn a_deleted_node_is_told_to_stop_and_its_token_opens_nothing() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let node = settings("edge-1", "192.0.2.10", &[]);
    let link = plane.healthy_node(&owner, &node).await;
    owner.delete_node(&node.name).await.unwrap();
    owner.create_node(&node).await.unwrap();
    let now = std::time::Instant::now();
    let session = SessionId::new(Uuid::now_v7());
    let mut advertiser = Advertiser::new(session, 1, Pace::default(), now);
    advertiser.snapshot([route("198.51.100.0/24")], now);
    let request = advertiser.poll(now + std::time::Duration::from_secs(1)).unwrap();
    let failure = link.client.advertise(&request).await.unwrap_err();
    assert!(matches!(
        failure,
        mcc_control::feed::Failure::Refused(mcc_control::feed::Refusal::Gone)
    ));
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let mut node = settings("edge-1", "192.0.2.10", &[]);
    let neighbor = r#"{"address": "192.0.2.1", "asn": 65100, "password": "tops3cret"}"#;
    node.neighbors.push(serde_json::from_str(neighbor).unwrap());
    let link = plane.healthy_node(&owner, &node).await;
    let shown = owner.node(&node.name).await.unwrap();
    assert!(!serde_json::to_string(&shown).unwrap().contains("tops3cret"));
    // The node itself needs it.
    let known = link.client.configuration(None).await.unwrap().unwrap();
    assert_eq!(known.settings, node);
    // What was read can be sent back.
    let patch = mcc_control::api::types::NodePatch {
        neighbors: Some(shown.neighbors),
        ..Default::default()
    };
    assert_eq!(owner.change_node(&node.name, &patch).await.unwrap().generation, 1);
}
