//! What the control plane remembers: nodes, credentials, feeds and the audit log, in SQL.
//!
//! Every query is written once, for every engine: `$1` placeholders, and only integers, text and
//! blobs. Where engines differ is [`engine`]'s business alone. Nothing here is on the way of a
//! steering answer.

pub mod audit;
mod engine;
pub mod enrolment;
pub mod feeds;
pub mod nodes;
pub mod tokens;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Executor, Row, Transaction};
use thiserror::Error;

pub use audit::{AuditEntry, Change};
pub use engine::EngineError;
pub use enrolment::RedeemError;
pub use feeds::StoredBody;
pub use nodes::{StoredHeartbeat, StoredNode};
pub use tokens::{StoredToken, TokenHolder};

/// Connections to the database. SQLite has one writer at a time, and PostgreSQL's are dear.
const CONNECTIONS: u32 = 4;

/// What can go wrong with the database.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its tables cannot be brought to this version.
    #[error("cannot migrate the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A query failed.
    #[error("database: {0}")]
    Query(#[from] sqlx::Error),
    /// Another node already has the name or the address.
    #[error("another node already has this name or address")]
    Taken,
    /// A row that this version cannot have written.
    #[error("database: {table} has a row that cannot be read: {why}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        why: String,
    },
}

/// A transaction that may write. It is rolled back unless it is committed.
pub type Write = Transaction<'static, Any>;

/// The database. Clones share one pool of connections.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    begin_write: &'static str,
}

impl Store {
    /// Opens the database that `config` names, creates it if it is not there, and migrates it.
    ///
    /// # Errors
    /// When it cannot be opened or migrated.
    pub async fn open(config: &mcc_config::ControlPlane) -> Result<Self, StoreError> {
        let engine = engine::of(config)?;
        let setup = engine.setup;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(setup).await.map(|_| ()) })
            })
            .connect_with(engine.options)
            .await?;
        engine.migrations.run(&pool).await?;
        Ok(Self { pool, begin_write: engine.begin_write })
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write(&self) -> Result<Write, StoreError> {
        Ok(self.pool.begin_with(self.begin_write).await?)
    }

    /// Waits for running queries and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// When the control plane was last known to run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alive_at(&self) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query("SELECT value FROM facts WHERE name = 'alive_at'")
            .fetch_optional(&self.pool)
            .await?
            .map(|row| time("facts", row.try_get(0)?))
            .transpose()
    }
}

/// Notes that the control plane runs at `now`.
///
/// # Errors
/// When the database does not answer.
pub async fn note_alive(write: &mut Write, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO facts (name, value) VALUES ('alive_at', $1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(now.as_microsecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Whether `error` says that a unique column already holds the value.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn corrupt(table: &'static str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { table, why: why.to_string() }
}

fn time(table: &'static str, micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| corrupt(table, error))
}

fn time_column(
    table: &'static str,
    row: &AnyRow,
    column: &str,
) -> Result<Option<Timestamp>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(|micros| time(table, micros)).transpose()
}

/// An unsigned number out of an integer column.
fn unsigned(table: &'static str, row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| corrupt(table, format!("{column} = {value}")))
}

/// An unsigned number as an integer column holds it; the largest it can, if it is larger.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
