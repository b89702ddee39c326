//! What is wrong with a message, where, and what follows from it.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::Notification;
use super::attribute::attribute_name;

/// What a fault in an UPDATE does (RFC 7606 §2), mildest first: of several the gravest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The attribute is dropped, the routes stay.
    AttributeDiscard,
    /// The routes are handled as if they had been withdrawn.
    TreatAsWithdraw,
    /// The session ends.
    SessionReset,
}

/// One fault of an UPDATE that does not end the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What follows.
    pub disposition: Disposition,
    /// Attribute type code; `None` when the fault is not in an attribute.
    pub attribute: Option<u8>,
    /// Bytes from the start of the message (its marker) to the fault.
    pub offset: usize,
    /// The fault in words, naming the RFC section.
    pub reason: &'static str,
}

impl Finding {
    /// The attribute as its RFC names it, else by its number: `ORIGIN`, `attribute 99`.
    #[must_use]
    pub fn attribute_name(&self) -> Option<String> {
        self.attribute.map(|code| match attribute_name(code) {
            Some(name) => name.to_owned(),
            None => format!("attribute {code}"),
        })
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttributeDiscard => "attribute discarded",
            Self::TreatAsWithdraw => "treated as withdraw",
            Self::SessionReset => "session reset",
        })
    }
}

impl fmt::Display for Finding {
    /// `ORIGIN: the length is not 1 (RFC 7606 §7.1); treated as withdraw (at byte 23 of the
    /// message)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.attribute_name() {
            write!(f, "{name}: ")?;
        }
        let Self { disposition, reason, offset, .. } = self;
        write!(f, "{reason}; {disposition} (at byte {offset} of the message)")
    }
}

/// A message that ends the session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason} (at byte {offset} of the message)")]
pub struct DecodeError {
    /// The fault in words.
    pub reason: &'static str,
    /// Bytes from the start of the message (its marker) to the fault.
    pub offset: usize,
    /// What the neighbor is to be told.
    pub notification: Notification,
}
