//! From the text of a file to a value that every other crate may trust.
//!
//! All problems are found in one go, so that an operator mends a file once. serde stops at the
//! first wrong value; here that value is noted and replaced by the example's, and reading goes on.
//! Checks that would then speak of a replaced value stay silent.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::check::{self, Findings};
use crate::document::{Document, KeyPath, line_at};
use crate::error::{ConfigError, Problem};
use crate::keys::{self, Key, Kind};
use crate::{ControlConfig, NodeConfig, example};

/// After so many wrong values the rest of the file goes unread: it is probably no `mcc` file.
const MOST_WRONG_VALUES: usize = 100;

impl NodeConfig {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or has problems: all of them are listed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path)
    }

    /// Checks `text`, the content of the file that messages call `file_name`.
    ///
    /// # Errors
    /// All problems of the text.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        parse(text, file_name)
    }
}

impl ControlConfig {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or has problems: all of them are listed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path)
    }

    /// Checks `text`, the content of the file that messages call `file_name`.
    ///
    /// # Errors
    /// All problems of the text.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        parse(text, file_name)
    }
}

/// Whether `text` is the control plane's file rather than a node's: it has a section `control` and
/// none `node`. A node's file has both, or no `control`.
#[must_use]
pub fn is_of_control_plane(text: &str) -> bool {
    let (root, _) = DeTable::parse_recoverable(text);
    root.get_ref().contains_key("control") && !root.get_ref().contains_key("node")
}

/// What the two files differ in.
trait ConfigFile: DeserializeOwned {
    const KEYS: &'static [Key];
    const EXAMPLE: &'static str;

    /// Reports what serde cannot see: values that are impossible, or impossible together.
    fn check(&self, findings: &mut Findings<'_, '_>);
}

impl ConfigFile for NodeConfig {
    const KEYS: &'static [Key] = keys::NODE;
    const EXAMPLE: &'static str = example::NODE;

    fn check(&self, findings: &mut Findings<'_, '_>) {
        check::node(self, findings);
    }
}

impl ConfigFile for ControlConfig {
    const KEYS: &'static [Key] = keys::CONTROL;
    const EXAMPLE: &'static str = example::CONTROL;

    fn check(&self, findings: &mut Findings<'_, '_>) {
        check::control(self, findings);
    }
}

fn load<T: ConfigFile>(path: &Path) -> Result<T, ConfigError> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|source| ConfigError::Read { file: path.to_owned(), source })?;
    match str::from_utf8(&bytes) {
        Ok(text) => parse(text, &file),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            Err(ConfigError::Bad(vec![Problem {
                file,
                line: Some(line_at(&String::from_utf8_lossy(good), good.len())),
                key: None,
                message: "found bytes that are not UTF-8; accepted: a TOML file, which is UTF-8 \
                          text"
                    .to_owned(),
            }]))
        }
    }
}

fn parse<T: ConfigFile>(text: &str, file: &str) -> Result<T, ConfigError> {
    let not_toml = |lines: Vec<(usize, String)>| {
        let problem = |(line, what)| Problem {
            file: file.to_owned(),
            line: Some(line),
            key: None,
            message: format!(
                "found {what}; accepted: TOML, one `key = value` or `[section]` a line"
            ),
        };
        ConfigError::Bad(lines.into_iter().map(problem).collect())
    };
    let mut document = Document::parse(text).map_err(not_toml)?;
    let example = example::switched_on(T::EXAMPLE);
    let example = Document::parse(&example).map_err(not_toml)?;

    let mut problems = Vec::new();
    for (path, fault) in misplaced(document.root(), &KeyPath::default(), T::KEYS) {
        let mut findings = Findings::new(file, &document, T::KEYS);
        match fault {
            Fault::Unknown => findings.unknown(&path),
            Fault::Missing | Fault::WrongShape => findings.wrong(&path),
        }
        problems.extend(findings.into_problems());
        match fault {
            Fault::Unknown => document.remove(&path),
            Fault::Missing | Fault::WrongShape => document.replace(&path, &example),
        }
    }
    let config = loop {
        match document.read::<T>() {
            Ok(config) => break config,
            Err((path, message)) => {
                let mut findings = Findings::new(file, &document, T::KEYS);
                let path = path.filter(|_| problems.len() < MOST_WRONG_VALUES);
                match &path {
                    Some(path) => findings.wrong(path),
                    None => findings.unreadable(&message),
                }
                problems.extend(findings.into_problems());
                match path {
                    Some(path) => document.replace(&path, &example),
                    None => return Err(in_order(problems)),
                }
            }
        }
    };
    let mut findings = Findings::new(file, &document, T::KEYS);
    config.check(&mut findings);
    problems.extend(findings.into_problems());
    if problems.is_empty() { Ok(config) } else { Err(in_order(problems)) }
}

fn in_order(mut problems: Vec<Problem>) -> ConfigError {
    problems.sort_by_key(|problem| problem.line);
    ConfigError::Bad(problems)
}

/// What can be wrong with a key whatever its value.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Unknown,
    /// A value where a section belongs, or single brackets where double ones do.
    WrongShape,
    Missing,
}

/// The keys below `table`, which stands at `at`, that are out of place or missing.
fn misplaced(table: &DeTable<'_>, at: &KeyPath, keys: &[Key]) -> Vec<(KeyPath, Fault)> {
    let pattern = at.pattern();
    let here = || keys.iter().filter(|key| key.parent() == pattern);
    let mut faults = Vec::new();
    for (name, value) in table {
        let path = at.key_as_is(name.get_ref());
        match (here().find(|key| key.name() == name.get_ref()).map(|k| k.kind), value.get_ref()) {
            (None, _) => faults.push((path, Fault::Unknown)),
            (Some(Kind::Value), _) => {}
            (Some(Kind::Section), DeValue::Table(table)) => {
                faults.extend(misplaced(table, &path, keys));
            }
            (Some(Kind::Sections), DeValue::Array(items)) => {
                for (i, item) in items.iter().enumerate() {
                    match item.get_ref() {
                        DeValue::Table(table) => {
                            faults.extend(misplaced(table, &path.index(i), keys));
                        }
                        _ => faults.push((path.index(i), Fault::WrongShape)),
                    }
                }
            }
            (Some(Kind::Section | Kind::Sections), _) => faults.push((path, Fault::WrongShape)),
        }
    }
    let missing = here().filter(|key| key.required && !table.contains_key(key.name()));
    faults.extend(missing.map(|key| (at.key(key.name()), Fault::Missing)));
    faults
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
