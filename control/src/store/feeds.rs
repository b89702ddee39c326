//! Feeds: what each node has advertised, kept as it was sent. One snapshot, then what came after it;
//! applied in order they make the node's table. A table is a few blobs, never a row per route.

use sqlx::Row;

use super::nodes::{id, key};
use super::{Store, StoreError, Write, corrupt};
use crate::feed::Encoding;
use crate::steering::NodeId;

/// A body of a feed as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBody {
    /// Whose it is.
    pub node: NodeId,
    /// How it is encoded.
    pub encoding: Encoding,
    /// As the node sent it.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Every body of every feed: by node, and in the order to apply them.
    ///
    /// # Errors
    /// When the database does not answer or holds what cannot be read.
    pub async fn feeds(&self) -> Result<Vec<StoredBody>, StoreError> {
        sqlx::query("SELECT node_id, encoding, body FROM feeds ORDER BY node_id, id")
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(|row| {
                let name: String = row.try_get("encoding")?;
                Ok(StoredBody {
                    node: id(row, "node_id")?,
                    encoding: named(&name)?,
                    bytes: row.try_get("body")?,
                })
            })
            .collect()
    }
}

/// Keeps a body that says everything; what was kept before goes.
///
/// # Errors
/// When the database does not answer.
pub async fn replace(
    write: &mut Write,
    node: NodeId,
    encoding: Encoding,
    bytes: &[u8],
) -> Result<(), StoreError> {
    forget(write, node).await?;
    append(write, node, encoding, bytes).await
}

/// Keeps a body that follows what is kept.
///
/// # Errors
/// When the database does not answer.
pub async fn append(
    write: &mut Write,
    node: NodeId,
    encoding: Encoding,
    bytes: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO feeds (node_id, encoding, body) VALUES ($1, $2, $3)")
        .bind(key(node))
        .bind(name(encoding))
        .bind(bytes)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Forgets everything that a node has advertised.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(write: &mut Write, node: NodeId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM feeds WHERE node_id = $1")
        .bind(key(node))
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Identity => "identity",
        Encoding::Zstd => "zstd",
    }
}

fn named(encoding: &str) -> Result<Encoding, StoreError> {
    [Encoding::Identity, Encoding::Zstd]
        .into_iter()
        .find(|known| name(*known) == encoding)
        .ok_or_else(|| corrupt("feeds", format!("encoding `{encoding}`")))
}
