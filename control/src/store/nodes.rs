//! Nodes: their settings, what the operator wishes, and the last heartbeat.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Write, corrupt, is_taken, signed, time, time_column, unsigned};
use crate::api::types::Heartbeat;
use crate::node::NodeSettings;
use crate::steering::NodeId;

const TABLE: &str = "nodes";

/// A node as the database knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNode {
    /// Never given to another node.
    pub id: NodeId,
    /// What the operator has set.
    pub settings: NodeSettings,
    /// Grows by one with each change of the settings.
    pub generation: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// Not switched off.
    pub enabled: bool,
    /// Takes no new clients.
    pub draining: bool,
    /// When it last turned an enrolment key into a token.
    pub registered_at: Option<Timestamp>,
    /// Until when the newest unused enrolment key is good.
    pub key_expires_at: Option<Timestamp>,
    /// The last heartbeat that was written down.
    pub heartbeat: Option<StoredHeartbeat>,
}

/// A heartbeat and when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredHeartbeat {
    /// By the clock of the control plane.
    pub heard_at: Timestamp,
    /// What the node said.
    pub heartbeat: Heartbeat,
}

impl Store {
    /// All nodes, by id.
    ///
    /// # Errors
    /// When the database does not answer or holds what cannot be read.
    pub async fn nodes(&self) -> Result<Vec<StoredNode>, StoreError> {
        sqlx::query(
            "SELECT id, settings, generation, created_at, enabled, draining, registered_at,
                    heard_at, heartbeat,
                    (SELECT MAX(expires_at) FROM enrolment_keys
                     WHERE node_id = nodes.id AND used_at IS NULL) AS key_expires_at
             FROM nodes ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?
        .iter()
        .map(read)
        .collect()
    }
}

/// Adds a node with generation 1, enabled, and returns its id.
///
/// # Errors
/// [`StoreError::Taken`] when another node has the name or the address.
pub async fn insert(
    write: &mut Write,
    settings: &NodeSettings,
    now: Timestamp,
) -> Result<NodeId, StoreError> {
    let row = sqlx::query(
        "INSERT INTO nodes (name, address, settings, generation, created_at, enabled, draining)
         VALUES ($1, $2, $3, 1, $4, 1, 0) RETURNING id",
    )
    .bind(settings.name.as_str())
    .bind(settings.address.to_string())
    .bind(json(settings)?)
    .bind(now.as_microsecond())
    .fetch_one(&mut **write)
    .await
    .map_err(taken)?;
    id(&row, "id")
}

/// Replaces the settings of a node.
///
/// # Errors
/// [`StoreError::Taken`] when another node has the address.
pub async fn update_settings(
    write: &mut Write,
    node: NodeId,
    settings: &NodeSettings,
    generation: u64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE nodes SET address = $2, settings = $3, generation = $4 WHERE id = $1")
        .bind(key(node))
        .bind(settings.address.to_string())
        .bind(json(settings)?)
        .bind(signed(generation))
        .execute(&mut **write)
        .await
        .map_err(taken)?;
    Ok(())
}

/// Sets what the operator wishes of a node.
///
/// # Errors
/// When the database does not answer.
pub async fn update_wish(
    write: &mut Write,
    node: NodeId,
    enabled: bool,
    draining: bool,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE nodes SET enabled = $2, draining = $3 WHERE id = $1")
        .bind(key(node))
        .bind(i64::from(enabled))
        .bind(i64::from(draining))
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Writes down the last heartbeat of a node.
///
/// # Errors
/// When the database does not answer.
pub async fn update_heartbeat(
    write: &mut Write,
    node: NodeId,
    heard: &StoredHeartbeat,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE nodes SET heard_at = $2, heartbeat = $3 WHERE id = $1")
        .bind(key(node))
        .bind(heard.heard_at.as_microsecond())
        .bind(json(&heard.heartbeat)?)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Notes that a node has turned its enrolment key into a token.
///
/// # Errors
/// When the database does not answer.
pub async fn note_registered(
    write: &mut Write,
    node: NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE nodes SET registered_at = $2 WHERE id = $1")
        .bind(key(node))
        .bind(now.as_microsecond())
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Removes a node, its feed and its enrolment keys. Its tokens stay, to be answered "gone".
///
/// # Errors
/// When the database does not answer.
pub async fn delete(write: &mut Write, node: NodeId) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM enrolment_keys WHERE node_id = $1",
        "DELETE FROM feeds WHERE node_id = $1",
        "DELETE FROM nodes WHERE id = $1",
    ] {
        sqlx::query(statement).bind(key(node)).execute(&mut **write).await?;
    }
    Ok(())
}

/// The id of a node as columns hold it.
pub(super) fn key(node: NodeId) -> i64 {
    i64::from(node.0)
}

/// The id of a node out of a column.
pub(super) fn id(row: &AnyRow, column: &str) -> Result<NodeId, StoreError> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map(NodeId).map_err(|_| corrupt(TABLE, format!("id {value}")))
}

fn read(row: &AnyRow) -> Result<StoredNode, StoreError> {
    let id = id(row, "id")?;
    let unreadable = |error| corrupt(TABLE, format!("node {}: {error}", id.0));
    let heartbeat = match time_column(TABLE, row, "heard_at")? {
        None => None,
        Some(heard_at) => {
            let text: String = row.try_get("heartbeat")?;
            let heartbeat = serde_json::from_str(&text).map_err(unreadable)?;
            Some(StoredHeartbeat { heard_at, heartbeat })
        }
    };
    let settings: String = row.try_get("settings")?;
    Ok(StoredNode {
        id,
        settings: serde_json::from_str(&settings).map_err(unreadable)?,
        generation: unsigned(TABLE, row, "generation")?,
        created_at: time(TABLE, row.try_get("created_at")?)?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        draining: row.try_get::<i64, _>("draining")? != 0,
        registered_at: time_column(TABLE, row, "registered_at")?,
        key_expires_at: time_column(TABLE, row, "key_expires_at")?,
        heartbeat,
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| corrupt(TABLE, error))
}

fn taken(error: sqlx::Error) -> StoreError {
    if is_taken(&error) { StoreError::Taken } else { StoreError::Query(error) }
}
