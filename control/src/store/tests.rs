//! The store against a real SQLite file.

use std::path::Path;

use jiff::SignedDuration;
use mcc_config::{ControlPlane, Database, Secret};

use super::*;
use crate::node::NodeSettings;
use crate::steering::NodeId;
use crate::tokens::{Hash, Role};

fn config(folder: &Path) -> ControlPlane {
    ControlPlane { data_dir: folder.to_owned(), ..ControlPlane::default() }
}

fn settings(name: &str, address: &str) -> NodeSettings {
    NodeSettings {
        name: name.parse().unwrap(),
        address: address.parse().unwrap(),
        max_egress_mbps: Some(100),
        cidrs: vec!["198.51.100.0/24".parse().unwrap()],
        neighbors: Vec::new(),
    }
}

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

async fn with_node(store: &Store) -> NodeId {
    let mut write = store.write().await.unwrap();
    let id = nodes::insert(&mut write, &settings("edge-1", "192.0.2.10"), noon()).await.unwrap();
    write.commit().await.unwrap();
    id
}

#[tokio::test]
async fn what_is_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).await.unwrap();
    let id = with_node(&store).await;
    let heard = StoredHeartbeat { heard_at: noon(), heartbeat: Default::default() };
    let mut write = store.write().await.unwrap();
    nodes::update_heartbeat(&mut write, id, &heard).await.unwrap();
    nodes::update_wish(&mut write, id, true, true).await.unwrap();
    note_alive(&mut write, noon()).await.unwrap();
    write.commit().await.unwrap();
    store.close().await;

    let store = Store::open(&config(folder.path())).await.unwrap();
    assert_eq!(store.alive_at().await.unwrap(), Some(noon()));
    let expected = StoredNode {
        id,
        settings: settings("edge-1", "192.0.2.10"),
        generation: 1,
        created_at: noon(),
        enabled: true,
        draining: true,
        registered_at: None,
        key_expires_at: None,
        heartbeat: Some(heard),
    };
    assert_eq!(store.nodes().await.unwrap(), [expected]);
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("new ?#%20 place");
    let store = Store::open(&config(&data_dir)).await.unwrap();
    with_node(&store).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(&data_dir).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(files.contains(&data_dir.join("control.sqlite")), "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn names_and_addresses_are_unique_and_ids_are_not_reused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).await.unwrap();
    let first = with_node(&store).await;
    for twin in [settings("edge-1", "192.0.2.11"), settings("edge-2", "192.0.2.10")] {
        let mut write = store.write().await.unwrap();
        let error = nodes::insert(&mut write, &twin, noon()).await.unwrap_err();
        assert!(matches!(error, StoreError::Taken), "{error}");
    }
    let mut write = store.write().await.unwrap();
    nodes::delete(&mut write, first).await.unwrap();
    write.commit().await.unwrap();
    assert_ne!(with_node(&store).await, first);
}

#[tokio::test]
async fn a_key_enrols_once_and_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).await.unwrap();
    let id = with_node(&store).await;
    let (old, key) = (Hash::of("old"), Hash::of("key"));
    let end = noon() + SignedDuration::from_hours(24);
    let mut write = store.write().await.unwrap();
    enrolment::insert(&mut write, id, &old, noon(), end).await.unwrap();
    enrolment::insert(&mut write, id, &key, noon(), end).await.unwrap();
    let replaced = enrolment::redeem(&mut write, &old, noon()).await.unwrap_err();
    assert!(matches!(replaced, RedeemError::Unknown));
    let late = enrolment::redeem(&mut write, &key, end).await.unwrap_err();
    assert!(matches!(late, RedeemError::Expired(at) if at == end));
    assert_eq!(enrolment::redeem(&mut write, &key, noon()).await.unwrap(), id);
    let again = enrolment::redeem(&mut write, &key, noon()).await.unwrap_err();
    assert!(matches!(again, RedeemError::Used(at) if at == noon()));
}

#[tokio::test]
async fn a_nodes_token_is_replaced_by_the_next_and_outlives_the_node_as_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).await.unwrap();
    let id = with_node(&store).await;
    let (first, second) = (Hash::of("first"), Hash::of("second"));
    for hash in [first, second] {
        let mut write = store.write().await.unwrap();
        tokens::replace_node(&mut write, &hash, id, "node:edge-1", noon()).await.unwrap();
        write.commit().await.unwrap();
    }
    assert_eq!(store.token(&first, noon()).await.unwrap(), None);
    let token = store.token(&second, noon()).await.unwrap().unwrap();
    assert_eq!(token.holder, TokenHolder::Node(id));
    let mut write = store.write().await.unwrap();
    nodes::delete(&mut write, id).await.unwrap();
    write.commit().await.unwrap();
    let token = store.token(&second, noon()).await.unwrap().unwrap();
    assert_eq!(token.holder, TokenHolder::DeletedNode);
}

#[tokio::test]
async fn a_token_can_be_made_beside_a_store_that_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let running = Store::open(&config(folder.path())).await.unwrap();
    let control = mcc_config::ControlConfig { control: config(folder.path()), dns: None };
    let token = crate::tokens::create(&control, Role::Operator).await.unwrap();
    let found = running.token(&Hash::of(token.expose()), noon()).await.unwrap().unwrap();
    assert_eq!(found.holder, TokenHolder::Operator(Role::Operator));
    let line = running.audit(10).await.unwrap().remove(0);
    assert_eq!((line.action.as_str(), &line.subject), ("token.create", &found.subject));
    assert!(!format!("{line:?}").contains(token.expose()));
}

#[tokio::test]
async fn nobody_rewrites_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).await.unwrap();
    crate::tokens::create_in(&store, Role::Owner, noon()).await.unwrap();
    for statement in ["DELETE FROM audit", "UPDATE audit SET actor = 'nobody'"] {
        let error = sqlx::query(statement).execute(&store.pool).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    assert_eq!(store.audit(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn postgresql_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new("postgres://mcc:pw@db.example/mcc".to_owned());
    let config = ControlPlane { database: Database::Postgres(url), ..config(folder.path()) };
    let error = Store::open(&config).await.unwrap_err().to_string();
    assert!(error.contains("PostgreSQL is not supported by this version"), "{error}");
    assert!(!error.contains("pw"), "{error}");
}
