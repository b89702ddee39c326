//! The one place where database engines differ: how to open one, what to say to each connection,
//! how a writing transaction begins, and which migrations it takes.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mcc_config::Database;
use sqlx::any::AnyConnectOptions;
use sqlx::migrate::Migrator;
use thiserror::Error;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// WAL lets readers go on while one writes; with `NORMAL` a crash of the machine can cost the last
/// commits, never the file. An acknowledgement must survive that too, hence `FULL`.
const SQLITE_SETUP: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL;";

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine is not built yet.
    #[error(
        "[control] database: PostgreSQL is not supported by this version: set `database = \"sqlite\"`"
    )]
    Postgres,
    /// The folder of the embedded database cannot be used.
    #[error("[control] data_dir: cannot create {path}: {source}")]
    DataDir {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path cannot be written as a URL.
    #[error("[control] data_dir: {0} must be an absolute path in UTF-8")]
    Path(PathBuf),
    /// The URL is no database URL.
    #[error("[control] database: {0}")]
    Url(sqlx::Error),
}

/// How one kind of database is used.
pub(super) struct Engine {
    pub(super) options: AnyConnectOptions,
    /// Said to each new connection.
    pub(super) setup: &'static str,
    /// Begins a transaction that may write.
    pub(super) begin_write: &'static str,
    pub(super) migrations: &'static Migrator,
}

/// The engine that `config` asks for.
pub(super) fn of(config: &mcc_config::ControlPlane) -> Result<Engine, EngineError> {
    match &config.database {
        Database::Sqlite => sqlite(&config.data_dir),
        Database::Postgres(_) => Err(EngineError::Postgres),
    }
}

fn sqlite(data_dir: &Path) -> Result<Engine, EngineError> {
    sqlx::any::install_default_drivers();
    let folder = std::path::absolute(data_dir)
        .map_err(|source| EngineError::DataDir { path: data_dir.to_owned(), source })?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|source| EngineError::DataDir { path: folder.clone(), source })?;
    let file = folder.join("control.sqlite");
    // The file holds passwords of BGP sessions. SQLite gives its side files the same mode.
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&file)
        .map_err(|source| EngineError::DataDir { path: file.clone(), source })?;
    let url = reqwest::Url::from_file_path(&file).map_err(|()| EngineError::Path(file.clone()))?;
    let url = format!("sqlite://{}", url.path());
    Ok(Engine {
        options: AnyConnectOptions::from_str(&url).map_err(EngineError::Url)?,
        setup: SQLITE_SETUP,
        // Takes the write lock at once. A transaction that reads first and then wants to write is
        // refused without waiting when another has written in between.
        begin_write: "BEGIN IMMEDIATE",
        migrations: &SQLITE_MIGRATIONS,
    })
}
