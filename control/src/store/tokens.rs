//! Bearer tokens by their hash: whose they are, what they may, and until when.

use jiff::{SignedDuration, Timestamp};
use sqlx::Row;

use super::nodes::{id, key};
use super::{Store, StoreError, Write, corrupt, time, time_column};
use crate::steering::NodeId;
use crate::tokens::{Hash, Role};

const TABLE: &str = "tokens";

/// "Last used" is written down at most this often per token.
const LAST_USED_STEP: SignedDuration = SignedDuration::from_secs(60);

/// A token as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// Who the audit log says it was.
    pub subject: String,
    /// Whose credential it is.
    pub holder: TokenHolder,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// Whose credential a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenHolder {
    /// A person or a program of the operator.
    Operator(Role),
    /// A node.
    Node(NodeId),
    /// A node that has been deleted.
    DeletedNode,
}

impl Store {
    /// Finds a token and notes its use.
    ///
    /// # Errors
    /// When the database does not answer or holds what cannot be read.
    pub async fn token(
        &self,
        hash: &Hash,
        now: Timestamp,
    ) -> Result<Option<StoredToken>, StoreError> {
        let row = sqlx::query(
            "SELECT role, node_id, subject, created_at, expires_at, last_used_at,
                    (SELECT COUNT(*) FROM nodes WHERE nodes.id = tokens.node_id) AS node_exists
             FROM tokens WHERE hash = $1",
        )
        .bind(hash.as_bytes())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let role: String = row.try_get("role")?;
        let holder = if role == "node" {
            if row.try_get::<i64, _>("node_exists")? == 0 {
                TokenHolder::DeletedNode
            } else {
                TokenHolder::Node(id(&row, "node_id")?)
            }
        } else {
            TokenHolder::Operator(role.parse().map_err(|error| corrupt(TABLE, error))?)
        };
        let token = StoredToken {
            subject: row.try_get("subject")?,
            holder,
            created_at: time(TABLE, row.try_get("created_at")?)?,
            expires_at: time_column(TABLE, &row, "expires_at")?,
        };
        let last_used = time_column(TABLE, &row, "last_used_at")?;
        if last_used.is_none_or(|last| now.duration_since(last) >= LAST_USED_STEP) {
            let noted = sqlx::query("UPDATE tokens SET last_used_at = $2 WHERE hash = $1")
                .bind(hash.as_bytes())
                .bind(now.as_microsecond())
                .execute(&self.pool)
                .await;
            // No reason to turn someone away who has a good token.
            if let Err(error) = noted {
                tracing::warn!(%error, "cannot note the use of a token");
            }
        }
        Ok(Some(token))
    }
}

/// Adds a token of a person or a program of the operator.
///
/// # Errors
/// When the database does not answer.
pub async fn insert_operator(
    write: &mut Write,
    hash: &Hash,
    role: Role,
    subject: &str,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tokens (hash, role, subject, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(hash.as_bytes())
    .bind(role.as_str())
    .bind(subject)
    .bind(now.as_microsecond())
    .bind(expires_at.map(Timestamp::as_microsecond))
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Gives a node its token; the one that it had before no longer works.
///
/// # Errors
/// When the database does not answer.
pub async fn replace_node(
    write: &mut Write,
    hash: &Hash,
    node: NodeId,
    subject: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM tokens WHERE node_id = $1")
        .bind(key(node))
        .execute(&mut **write)
        .await?;
    sqlx::query(
        "INSERT INTO tokens (hash, role, node_id, subject, created_at)
         VALUES ($1, 'node', $2, $3, $4)",
    )
    .bind(hash.as_bytes())
    .bind(key(node))
    .bind(subject)
    .bind(now.as_microsecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}
