//! Writes the table now and then, and all messages as they come, to files of their own.
//!
//! | file | what | a new one |
//! |---|---|---|
//! | `table-20261123T001500Z.mrt` | TABLE_DUMP_V2 of all neighbors | every `table_interval` |
//! | `messages-20261123T001500Z.mrt` | BGP4MP_ET: messages both ways, changes of state | every `rotate` |
//!
//! A file that is being written ends in `.part`; it gets its name when it is whole and on the disk. When
//! there are more than `keep` of a kind the oldest goes, be it one that a crash has left as a part. A
//! disk that is full or gone is one warning and a counter: what cannot be written is lost and counted, it
//! is tried again, and no session notices.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tokio::fs;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::task::TaskTracker;

use super::TableDumpStream;
use super::part::{CannotWrite, Part};
use crate::speaker::{CommandError, SpeakerHandle, Stopped, TapSubscription};

/// How long after a failure the next file of messages is tried.
const RETRY: Duration = Duration::from_secs(60);
/// Messages are written when there is this much of them, …
const WRITE_SIZE: usize = 64 * 1024;
/// … or when this much time has passed.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// What is written where.
#[derive(Debug, Clone)]
pub struct RecorderSettings {
    /// The folder; it is made if it is not there.
    pub dir: PathBuf,
    /// Names the table in its files.
    pub view: String,
    /// Time between two tables; `None`: no tables.
    pub table_interval: Option<Duration>,
    /// Whether messages are written.
    pub messages: bool,
    /// Time until the next file of messages begins.
    pub rotate: Duration,
    /// How many files of each kind are kept; at least 1.
    pub keep: usize,
}

/// How it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecorderStatus {
    /// Tables that were written.
    pub tables: u64,
    /// Files of messages that were finished.
    pub message_files: u64,
    /// Files that could not be written.
    pub failures: u64,
    /// Messages and changes of state that are in no file, because the disk failed or was too slow.
    pub lost_messages: u64,
    /// Why the last file could not be written; `null` after one that could.
    pub last_error: Option<String>,
}

/// A recorder at work.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tables: AtomicU64,
    message_files: AtomicU64,
    failures: AtomicU64,
    lost_messages: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// Why a file was not written.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] CannotWrite),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Shared {
    fn failed(&self, error: &Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // The same trouble again and again is logged once.
        if last.is_none() {
            tracing::warn!(%error, "an MRT file was not written; it is tried again");
        }
        *last = Some(error.to_string());
    }

    fn succeeded(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.take().is_some() {
            tracing::info!("MRT files are written again");
        }
    }
}

impl Recorder {
    /// Records what the speaker does until it stops, in tasks of `tasks`. To be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// The speaker has stopped.
    pub fn start(
        settings: RecorderSettings,
        speaker: &SpeakerHandle,
        tasks: &TaskTracker,
    ) -> Result<Self, CommandError> {
        let shared = Arc::new(Shared::default());
        let settings = Arc::new(settings);
        if let Some(every) = settings.table_interval {
            let tables = Tables {
                folder: Folder { settings: Arc::clone(&settings), kind: "table" },
                speaker: speaker.clone(),
                shared: Arc::clone(&shared),
            };
            tasks.spawn(tables.run(every));
        }
        if settings.messages {
            let messages = Messages {
                folder: Folder { settings, kind: "messages" },
                tap: speaker.tap(None)?,
                shared: Arc::clone(&shared),
                waiting: Vec::new(),
                records_waiting: 0,
                file: None,
                not_before: Instant::now(),
            };
            tasks.spawn(messages.run());
        }
        Ok(Self { shared })
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> RecorderStatus {
        let Shared { tables, message_files, failures, lost_messages, last_error } = &*self.shared;
        RecorderStatus {
            tables: tables.load(Ordering::Relaxed),
            message_files: message_files.load(Ordering::Relaxed),
            failures: failures.load(Ordering::Relaxed),
            lost_messages: lost_messages.load(Ordering::Relaxed),
            last_error: last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The files of one kind.
#[derive(Debug)]
struct Folder {
    settings: Arc<RecorderSettings>,
    kind: &'static str,
}

impl Folder {
    async fn create(&self) -> Result<Part, CannotWrite> {
        let dir = &self.settings.dir;
        fs::create_dir_all(dir).await.map_err(CannotWrite::at(dir))?;
        let name = format!("{}-{}.mrt", self.kind, Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
        Part::create(dir.join(name)).await
    }

    /// Gives a file its name, and removes the oldest if there are too many.
    async fn finish(&self, part: Part) -> Result<(), CannotWrite> {
        part.finish().await?;
        self.remove_the_oldest().await
    }

    async fn remove_the_oldest(&self) -> Result<(), CannotWrite> {
        let dir = &self.settings.dir;
        let names = self.names().await.map_err(CannotWrite::at(dir))?;
        let too_many = names.len().saturating_sub(self.settings.keep.max(1));
        for name in names.into_iter().take(too_many) {
            let path = dir.join(name);
            fs::remove_file(&path).await.map_err(CannotWrite::at(&path))?;
        }
        Ok(())
    }

    /// Names of the files, oldest first. Asked when none of the kind is being written: then a part is
    /// what a run that ended in the middle of it has left.
    async fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut entries = fs::read_dir(&self.settings.dir).await?;
        while let Some(entry) = entries.next_entry().await? {
            if let Ok(name) = entry.file_name().into_string()
                && name.strip_prefix(self.kind).is_some_and(|rest| rest.starts_with('-'))
                && (name.ends_with(".mrt") || name.ends_with(".mrt.part"))
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Writes tables.
struct Tables {
    folder: Folder,
    speaker: SpeakerHandle,
    shared: Arc<Shared>,
}

impl Tables {
    async fn run(self, every: Duration) {
        let mut due = interval_at(Instant::now() + every, every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.speaker.stopped() => return,
                _ = due.tick() => {}
            }
            match self.write().await {
                Ok(()) => self.shared.succeeded(&self.shared.tables),
                Err(Failure::Stopped(_)) => return,
                Err(error) => self.shared.failed(&error),
            }
        }
    }

    async fn write(&self) -> Result<(), Failure> {
        let mut part = self.folder.create().await?;
        let written = self.write_to(&mut part).await;
        match written {
            Ok(()) => Ok(self.folder.finish(part).await?),
            Err(error) => {
                // Half a table is none.
                part.discard().await;
                Err(error)
            }
        }
    }

    async fn write_to(&self, part: &mut Part) -> Result<(), Failure> {
        let view = &self.folder.settings.view;
        let mut dump = TableDumpStream::new(self.speaker.clone(), None, view);
        while let Some(piece) = dump.next().await {
            part.write(&piece?).await?;
        }
        Ok(())
    }
}

/// A file of messages that is being written.
struct Open {
    part: Part,
    began: Instant,
    records: u64,
}

/// Writes messages.
struct Messages {
    folder: Folder,
    tap: TapSubscription,
    shared: Arc<Shared>,
    /// Records that are not in the file yet.
    waiting: Vec<u8>,
    records_waiting: u64,
    file: Option<Open>,
    /// After a failure: when the next file is tried.
    not_before: Instant,
}

impl Messages {
    async fn run(mut self) {
        let mut tick = interval(WRITE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                observation = self.tap.next() => {
                    let Some(observation) = observation else { break };
                    if let Some(record) = observation.record() {
                        record.encode(&mut self.waiting);
                        self.records_waiting += 1;
                    }
                    if self.waiting.len() >= WRITE_SIZE {
                        self.write().await;
                    }
                }
                _ = tick.tick() => self.write().await,
            }
        }
        self.write().await;
        self.close().await;
    }

    /// Brings what waits into the file, and ends the file when its time is over.
    async fn write(&mut self) {
        let dropped = self.tap.newly_dropped();
        self.shared.lost_messages.fetch_add(dropped, Ordering::Relaxed);
        let rotate = self.folder.settings.rotate;
        if self.file.as_ref().is_some_and(|open| open.began.elapsed() >= rotate) {
            self.close().await;
        }
        if self.waiting.is_empty() {
            return;
        }
        if let Err(error) = self.try_write().await {
            self.shared.failed(&error.into());
            self.shared.lost_messages.fetch_add(self.records_waiting, Ordering::Relaxed);
            self.not_before = Instant::now() + RETRY;
            // What is in the file is worth keeping, if the disk lets it be.
            if let Some(open) = self.file.take() {
                if open.part.salvage().await {
                    // That it is one too many is told by the next file.
                    let _ = self.folder.remove_the_oldest().await;
                } else {
                    self.shared.lost_messages.fetch_add(open.records, Ordering::Relaxed);
                }
            }
        }
        self.waiting.clear();
        self.records_waiting = 0;
    }

    async fn try_write(&mut self) -> Result<(), CannotWrite> {
        if self.file.is_none() {
            if Instant::now() < self.not_before {
                self.shared.lost_messages.fetch_add(self.records_waiting, Ordering::Relaxed);
                return Ok(());
            }
            let part = self.folder.create().await?;
            self.file = Some(Open { part, began: Instant::now(), records: 0 });
        }
        if let Some(open) = &mut self.file {
            open.part.write(&self.waiting).await?;
            open.records += self.records_waiting;
        }
        Ok(())
    }

    async fn close(&mut self) {
        let Some(Open { part, records, .. }) = self.file.take() else { return };
        if let Err(error) = part.finish().await {
            self.shared.failed(&error.into());
            self.shared.lost_messages.fetch_add(records, Ordering::Relaxed);
            return;
        }
        match self.folder.remove_the_oldest().await {
            Ok(()) => self.shared.succeeded(&self.shared.message_files),
            Err(error) => self.shared.failed(&error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn folder(dir: &Path, keep: usize) -> Folder {
        let settings = RecorderSettings {
            dir: dir.to_owned(),
            view: "edge-1".to_owned(),
            table_interval: None,
            messages: true,
            rotate: Duration::from_secs(900),
            keep,
        };
        Folder { settings: Arc::new(settings), kind: "messages" }
    }

    #[tokio::test]
    async fn the_oldest_go_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path(), 2);
        for name in [
            "messages-20200101T000000Z.mrt",
            "messages-20200101T000500Z.mrt.part",
            "messages-20200101T001500Z.mrt",
            "messages.mrt",
            "table-20200101T000000Z.mrt",
            "notes.txt",
        ] {
            fs::write(dir.path().join(name), b"").await.unwrap();
        }
        let part = folder.create().await.unwrap();
        folder.finish(part).await.unwrap();
        let kept = folder.names().await.unwrap();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(kept.first().unwrap(), "messages-20200101T001500Z.mrt");
        for name in ["messages.mrt", "table-20200101T000000Z.mrt", "notes.txt"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").await.unwrap();
        let error = folder(&file, 1).create().await.unwrap_err().to_string();
        assert!(error.starts_with(file.to_str().unwrap()), "{error}");
    }
}
