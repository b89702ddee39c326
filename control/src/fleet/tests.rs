//! What the keeper makes of the database when it starts.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use mcc_config::ControlPlane;

use super::Keeper;
use super::link::has_come_apart;
use crate::api::types::{Heartbeat, Node};
use crate::feed::{Encoding, Position};
use crate::health::NodeState;
use crate::metrics::Metrics;
use crate::steering::NodeId;
use crate::store::{self, Store, StoredHeartbeat};

async fn open(folder: &Path) -> Store {
    let config = ControlPlane { data_dir: folder.to_owned(), ..ControlPlane::default() };
    Store::open(&config).await.unwrap()
}

/// A node that was heard at `heard_at` by a control plane that ran until `alive_at`.
async fn heard_node(store: &Store, heard_at: Timestamp, alive_at: Timestamp) -> NodeId {
    let settings = r#"{"name":"edge-1","address":"192.0.2.10","cidrs":["198.51.100.0/24"]}"#;
    let settings = serde_json::from_str(settings).unwrap();
    let heartbeat = Heartbeat { ready: true, ..Heartbeat::default() };
    let mut write = store.write().await.unwrap();
    let id = store::nodes::insert(&mut write, &settings, heard_at).await.unwrap();
    let heard = StoredHeartbeat { heard_at, heartbeat };
    store::nodes::update_heartbeat(&mut write, id, &heard).await.unwrap();
    store::note_alive(&mut write, alive_at).await.unwrap();
    write.commit().await.unwrap();
    id
}

async fn load(store: Store) -> (Keeper, Vec<Node>) {
    let (keeper, _) = Keeper::load(store, false, Metrics::new()).await.unwrap();
    let nodes = keeper.list();
    (keeper, nodes)
}

#[tokio::test]
async fn time_in_which_nothing_could_be_heard_is_no_silence() {
    let long_ago = Timestamp::now() - SignedDuration::from_hours(1);
    for (alive_for, state) in [(5, NodeState::Healthy), (60, NodeState::Unhealthy)] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        heard_node(&store, long_ago, long_ago + SignedDuration::from_secs(alive_for)).await;
        let (keeper, nodes) = load(store).await;
        assert_eq!(nodes[0].state, state, "{}", nodes[0].reason);
        let served = {
            let states = keeper.steering.nodes.load();
            keeper.steering.index.view().choose("198.51.100.7".parse().unwrap(), &states)
        };
        assert_eq!(served.is_some(), state == NodeState::Healthy);
    }
}

#[tokio::test]
async fn a_damaged_feed_costs_its_nodes_routes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let now = Timestamp::now();
    let id = heard_node(&store, now, now).await;
    let mut write = store.write().await.unwrap();
    store::feeds::append(&mut write, id, Encoding::Zstd, b"not zstd").await.unwrap();
    write.commit().await.unwrap();
    let (_, nodes) = load(store).await;
    assert_eq!(nodes[0].state, NodeState::Healthy);
    assert_eq!(nodes[0].footprint.prefixes, 1, "the CIDR block");
    assert_eq!(nodes[0].footprint.feed, None, "so that the next heartbeat asks for all of it");
}

#[test]
fn a_feed_has_come_apart_when_the_node_knows_what_is_not_here() {
    let at = |session: u8, serial: u64, digest: u8| -> Option<Position> {
        let session = format!("0190b8a3-6b5e-7000-8000-00000000000{session}");
        let digest = format!("{digest:032x}");
        Some(Position {
            session: session.parse().unwrap(),
            serial,
            digest: digest.parse().unwrap(),
        })
    };
    for (node, here, apart) in [
        (None, None, false),
        (None, at(1, 5, 5), false),
        (at(1, 5, 5), None, true),
        (at(1, 5, 5), at(1, 5, 5), false),
        // The acknowledgement of serial 6 is on its way.
        (at(1, 5, 5), at(1, 6, 6), false),
        // The database was restored from a backup.
        (at(1, 5, 5), at(1, 4, 4), true),
        (at(1, 5, 5), at(1, 5, 6), true),
        (at(2, 1, 5), at(1, 5, 5), true),
    ] {
        assert_eq!(has_come_apart(node, here), apart, "{node:?} {here:?}");
    }
}
