//! The audit log: who changed what, with before and after. Rows are only ever added.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;

use super::{Store, StoreError, Write, corrupt, time};

/// One change, written in the transaction that makes it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a, T> {
    /// Who did it: the subject of a token, or `node:<name>`.
    pub actor: &'a str,
    /// What was done, such as `node.create`.
    pub action: &'a str,
    /// To what: the name of a node or the subject of a token.
    pub subject: &'a str,
    /// How it was, without secrets.
    pub before: Option<&'a T>,
    /// How it is now, without secrets.
    pub after: Option<&'a T>,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Grows by one with each line.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is now.
    pub after: Option<Value>,
}

/// Adds a line to the audit log.
///
/// # Errors
/// When the database does not answer.
pub async fn record<T: Serialize + Sync>(
    write: &mut Write,
    now: Timestamp,
    change: Change<'_, T>,
) -> Result<(), StoreError> {
    let json = |value: Option<&T>| {
        value.map(serde_json::to_string).transpose().map_err(|error| corrupt("audit", error))
    };
    sqlx::query(
        "INSERT INTO audit (at, actor, action, subject, before, after)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(now.as_microsecond())
    .bind(change.actor)
    .bind(change.action)
    .bind(change.subject)
    .bind(json(change.before)?)
    .bind(json(change.after)?)
    .execute(&mut **write)
    .await?;
    Ok(())
}

impl Store {
    /// The newest `limit` lines of the audit log, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at, actor, action, subject, before, after
             FROM audit ORDER BY id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let json = |text: Option<String>| {
            text.map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| corrupt("audit", error))
        };
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    id: row.try_get("id")?,
                    at: time("audit", row.try_get("at")?)?,
                    actor: row.try_get("actor")?,
                    action: row.try_get("action")?,
                    subject: row.try_get("subject")?,
                    before: json(row.try_get("before")?)?,
                    after: json(row.try_get("after")?)?,
                })
            })
            .collect()
    }
}
