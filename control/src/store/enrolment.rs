//! Enrolment keys: shown once, good for one use. Only their hash is kept.

use jiff::Timestamp;
use sqlx::Row;
use thiserror::Error;

use super::nodes::{id, key};
use super::{StoreError, Write, time};
use crate::steering::NodeId;
use crate::tokens::Hash;

/// Why an enrolment key does not enrol.
#[derive(Debug, Error)]
pub enum RedeemError {
    /// Nobody gave out this key, or its node was deleted.
    #[error("this enrolment key is not known: create one for the node and use it as it was shown")]
    Unknown,
    /// It has been used before.
    #[error("this enrolment key was used at {0:.0}, and each key is good once: create another")]
    Used(Timestamp),
    /// It was not used in time.
    #[error("this enrolment key expired at {0:.0}: create another")]
    Expired(Timestamp),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for RedeemError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Adds an enrolment key for `node`. Keys that it had before no longer work.
///
/// # Errors
/// When the database does not answer.
pub async fn insert(
    write: &mut Write,
    node: NodeId,
    hash: &Hash,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM enrolment_keys WHERE node_id = $1 AND used_at IS NULL")
        .bind(key(node))
        .execute(&mut **write)
        .await?;
    sqlx::query(
        "INSERT INTO enrolment_keys (hash, node_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(hash.as_bytes())
    .bind(key(node))
    .bind(now.as_microsecond())
    .bind(expires_at.as_microsecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Uses up an enrolment key and says whose it was.
///
/// # Errors
/// When the key is not known, was used, or has expired.
pub async fn redeem(write: &mut Write, hash: &Hash, now: Timestamp) -> Result<NodeId, RedeemError> {
    let row =
        sqlx::query("SELECT node_id, expires_at, used_at FROM enrolment_keys WHERE hash = $1")
            .bind(hash.as_bytes())
            .fetch_optional(&mut **write)
            .await?
            .ok_or(RedeemError::Unknown)?;
    if let Some(used_at) = row.try_get::<Option<i64>, _>("used_at")? {
        return Err(RedeemError::Used(time("enrolment_keys", used_at)?));
    }
    let expires_at = time("enrolment_keys", row.try_get("expires_at")?)?;
    if expires_at <= now {
        return Err(RedeemError::Expired(expires_at));
    }
    sqlx::query("UPDATE enrolment_keys SET used_at = $2 WHERE hash = $1")
        .bind(hash.as_bytes())
        .bind(now.as_microsecond())
        .execute(&mut **write)
        .await?;
    Ok(id(&row, "node_id")?)
}
