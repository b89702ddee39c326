//! Credentials: how they look, how they are kept, and what each role may do.
//!
//! A token is 256 random bits in hex behind a prefix that secret scanners know. Only its SHA-256
//! is kept. Since the token is random, a fast hash is enough, and a look-up by hash tells nothing
//! by its timing.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use jiff::Timestamp;
use mcc_config::{ControlConfig, Secret};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::store::{self, Change, Store, StoreError};

/// What a token of a person or a program of the operator may do. The order is the order of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Also creates, changes and deletes nodes.
    Operator,
    /// Also gives out access.
    Owner,
}

impl Role {
    /// The role in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The string names no role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no role: `owner`, `operator` or `viewer`")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(s: &str) -> Result<Self, RoleError> {
        [Self::Viewer, Self::Operator, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == s)
            .ok_or_else(|| RoleError(s.to_owned()))
    }
}

/// SHA-256 of a token or an enrolment key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of what a client has shown.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A new bearer token.
#[must_use]
pub(crate) fn new_token() -> Secret {
    random("mcc_")
}

/// A new enrolment key.
#[must_use]
pub(crate) fn new_enrolment_key() -> Secret {
    random("mcc_enrol_")
}

/// 256 bits of the thread's cryptographic generator, in hex.
fn random(prefix: &str) -> Secret {
    let mut text = prefix.to_owned();
    for byte in rand::random::<[u8; 32]>() {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
    }
    Secret::new(text)
}

/// Makes a token with `role` in the database of `config`, also while a control plane runs on it.
/// The token is returned and kept nowhere.
///
/// # Errors
/// When the database cannot be opened or written.
pub async fn create(config: &ControlConfig, role: Role) -> Result<Secret, StoreError> {
    let store = Store::open(&config.control).await?;
    let token = create_in(&store, role, Timestamp::now()).await;
    store.close().await;
    token
}

/// Makes a token with `role`.
pub(crate) async fn create_in(
    store: &Store,
    role: Role,
    now: Timestamp,
) -> Result<Secret, StoreError> {
    #[derive(Serialize)]
    struct Made {
        role: Role,
    }
    let token = new_token();
    let hash = Hash::of(token.expose());
    // Enough of the hash to tell two tokens apart in the audit log; of no use to anyone else.
    let subject: String = hash.0.iter().take(4).fold(format!("{role}-"), |mut subject, byte| {
        let _ = write!(subject, "{byte:02x}");
        subject
    });
    let mut write = store.write().await?;
    store::tokens::insert_operator(&mut write, &hash, role, &subject, now, None).await?;
    let change = Change {
        actor: "command line",
        action: "token.create",
        subject: &subject,
        before: None,
        after: Some(&Made { role }),
    };
    store::audit::record(&mut write, now, change).await?;
    write.commit().await?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_carry_256_bits() {
        let (a, b) = (new_token(), new_token());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), "mcc_".len() + 64);
        assert!(new_enrolment_key().expose().starts_with("mcc_enrol_"));
    }

    #[test]
    fn roles_read_back_and_are_ordered_by_power() {
        for role in [Role::Viewer, Role::Operator, Role::Owner] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!(Role::Owner > Role::Operator && Role::Operator > Role::Viewer);
        let error = "root".parse::<Role>().unwrap_err().to_string();
        assert_eq!(error, "`root` is no role: `owner`, `operator` or `viewer`");
    }
}
