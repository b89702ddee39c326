//! What is wrong with a file: every problem at once, each with its place and the way out.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}", .file.display())]
    Read {
        /// The file, as it was named.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file was read and is wrong: at least one problem, in the order of the file.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Bad(Vec<Problem>),
}

impl ConfigError {
    /// The problems of the file, if it could be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } => &[],
            Self::Bad(problems) => problems,
        }
    }
}

/// One problem. Prints as ``file:line: key `a.b`: found …; accepted: …``, and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; none if something is missing from the file as a whole.
    pub line: Option<usize>,
    /// The key, such as `bgp.neighbor[1].address` (list positions from 0); none where the text is
    /// not TOML at all.
    pub key: Option<String>,
    /// What was found and what is accepted.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(key) = &self.key {
            write!(f, "key `{key}`: ")?;
        }
        f.write_str(&self.message)
    }
}
