//! The control plane's end of one node's feed.
//!
//! A message is taken in three steps, so that nothing is acknowledged that a crash could lose:
//!
//! 1. [`Receiver::check`] reads the body and compares it with what is held. It changes nothing.
//! 2. The caller stores the bytes of the body: appended to those stored before, or in their place
//!    if [`Update::replaces_all`].
//! 3. [`Receiver::commit`] makes the change, returns what is different for the steering index, and
//!    [`Update::answer`] goes back to the node.
//!
//! [`Receiver::restore`] reads what step 2 stored.

use thiserror::Error;

use super::body::{self, Body, BodyError, BodyLimits, Encoding};
use super::message::{Answer, Head, Position, VERSION};
use super::record::{Change, RouteRecord};
use super::table::RouteTable;

/// What the control plane holds of one node's footprint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receiver {
    position: Option<Position>,
    table: RouteTable,
}

/// What to do about a body.
#[derive(Debug)]
pub enum Verdict {
    /// Store it, commit it, then acknowledge it.
    Apply(Update),
    /// Nothing changes: answer this.
    Reply(Answer),
}

/// A change that was checked and is not made yet.
#[derive(Debug)]
pub struct Update {
    base: Option<Position>,
    position: Position,
    change: UpdateChange,
}

#[derive(Debug)]
enum UpdateChange {
    Replace(Box<RouteTable>),
    Steps(Vec<Change>),
    Nothing,
}

impl Update {
    /// Whether the body says everything, so that what was stored before it can go.
    #[must_use]
    pub fn replaces_all(&self) -> bool {
        matches!(self.change, UpdateChange::Replace(_))
    }

    /// Where the receiver is afterwards.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// What to tell the node, once the body is stored.
    #[must_use]
    pub fn answer(&self) -> Answer {
        Answer::Ok(self.position)
    }
}

/// The feed has moved on since the update was checked: check the body again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another message of this node was committed since this one was checked")]
pub struct Superseded;

/// Stored bodies that do not make a feed.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// One cannot be read.
    #[error("stored body {index}")]
    Body {
        /// Counted from 0.
        index: usize,
        /// What is wrong with it.
        source: BodyError,
    },
    /// One does not follow from those before it.
    #[error("stored body {index} does not follow from those before it")]
    Sequence {
        /// Counted from 0.
        index: usize,
    },
}

impl Receiver {
    /// Of a node that has not advertised yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which table is held; none before the first snapshot.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The node's footprint.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Reads a body and says what is to be done about it.
    ///
    /// Takes CPU in proportion to the body, about a second for a million routes: not for a thread
    /// that answers requests.
    #[must_use]
    pub fn check(&self, bytes: &[u8], encoding: Encoding, limits: &BodyLimits) -> Verdict {
        match body::read(bytes, encoding, limits) {
            Ok(body) => self.check_body(body),
            Err(error) => Verdict::Reply(Answer::from(&error)),
        }
    }

    /// As [`Receiver::check`], of a body that is already read.
    #[must_use]
    pub fn check_body(&self, body: Body) -> Verdict {
        match body {
            Body::Snapshot { position, routes } => self.check_snapshot(position, routes),
            Body::Claim { position } => self.check_claim(position),
            Body::Delta { from, position, changes } => self.check_delta(from, position, changes),
        }
    }

    fn check_snapshot(&self, position: Position, routes: Vec<RouteRecord>) -> Verdict {
        if let Some(held) = self.later_than(position) {
            return Verdict::Reply(Answer::Ok(held));
        }
        let table: RouteTable = routes.into_iter().collect();
        if table.digest() != position.digest {
            return Verdict::Reply(Answer::Invalid {
                line: 0,
                reason: format!(
                    "the first line says digest {}, the routes have {}",
                    position.digest,
                    table.digest()
                ),
                too_large: false,
            });
        }
        self.apply(position, UpdateChange::Replace(Box::new(table)))
    }

    fn check_claim(&self, position: Position) -> Verdict {
        if let Some(held) = self.later_than(position) {
            Verdict::Reply(Answer::Ok(held))
        } else if self.position.is_some() && self.table.digest() == position.digest {
            self.apply(position, UpdateChange::Nothing)
        } else {
            Verdict::Reply(Answer::Resync(self.position))
        }
    }

    fn check_delta(&self, from: u64, position: Position, changes: Vec<Change>) -> Verdict {
        if let Some(held) = self.later_than(position) {
            return Verdict::Reply(Answer::Ok(held));
        }
        match self.position {
            // Changes set states, so those between `from` and the held serial do no harm.
            Some(held) if held.session == position.session && held.serial >= from => {}
            held => return Verdict::Reply(Answer::Resync(held)),
        }
        if self.table.digest_after(&changes) != position.digest {
            // The ends have come apart. No delta can mend that.
            return Verdict::Reply(Answer::Resync(None));
        }
        self.apply(position, UpdateChange::Steps(changes))
    }

    /// What is held, if it is of the same session and later: the message was overtaken.
    fn later_than(&self, position: Position) -> Option<Position> {
        self.position.filter(|held| {
            held.session == position.session && (held.serial > position.serial || *held == position)
        })
    }

    fn apply(&self, position: Position, change: UpdateChange) -> Verdict {
        Verdict::Apply(Update { base: self.position, position, change })
    }

    /// Makes the change. Returns the prefixes that are different now, for the steering index.
    ///
    /// # Errors
    /// [`Superseded`] if something was committed since the check; nothing is changed then.
    pub fn commit(&mut self, update: Update) -> Result<Vec<Change>, Superseded> {
        if update.base != self.position {
            return Err(Superseded);
        }
        self.position = Some(update.position);
        Ok(match update.change {
            UpdateChange::Replace(table) => {
                let changes = self.table.changes_to(&table);
                self.table = *table;
                changes
            }
            UpdateChange::Steps(mut changes) => {
                changes.retain(|change| self.table.apply(change));
                changes
            }
            UpdateChange::Nothing => Vec::new(),
        })
    }

    /// The whole feed as one body, to store in place of many; none before the first snapshot.
    ///
    /// # Errors
    /// Only if the compressor cannot get its memory.
    pub fn to_blob(&self) -> std::io::Result<Option<Vec<u8>>> {
        let Some(Position { session, serial, digest }) = self.position else { return Ok(None) };
        let routes = u64::try_from(self.table.len()).unwrap_or(u64::MAX);
        let head = Head::Snapshot { version: VERSION, session, serial, digest, routes };
        body::write(&head, self.table.records().map(Change::Present)).map(Some)
    }

    /// The feed that was stored: what [`Receiver::to_blob`] wrote, or the bodies that were
    /// committed, oldest first, from the last that replaced all.
    ///
    /// # Errors
    /// [`RestoreError`], with the body that is damaged. The node's next heartbeat heals the loss.
    pub fn restore<'a>(
        bodies: impl IntoIterator<Item = (&'a [u8], Encoding)>,
    ) -> Result<Self, RestoreError> {
        // What was accepted once is accepted again, whatever the limits are today.
        let limits = BodyLimits {
            compressed_bytes: usize::MAX,
            decompressed_bytes: u64::MAX,
            line_bytes: u64::MAX,
            routes: usize::MAX,
        };
        let mut receiver = Self::new();
        for (index, (bytes, encoding)) in bodies.into_iter().enumerate() {
            let body = body::read(bytes, encoding, &limits)
                .map_err(|source| RestoreError::Body { index, source })?;
            let Verdict::Apply(update) = receiver.check_body(body) else {
                return Err(RestoreError::Sequence { index });
            };
            receiver.commit(update).map_err(|Superseded| RestoreError::Sequence { index })?;
        }
        Ok(receiver)
    }
}

impl From<&BodyError> for Answer {
    fn from(error: &BodyError) -> Self {
        Self::Invalid {
            line: error.line,
            reason: error.problem.to_string(),
            too_large: error.is_too_large(),
        }
    }
}

#[cfg(test)]
mod tests;
