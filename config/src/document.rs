//! The file as a tree that knows the place of each value, so that a problem can name its line.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::canonical;

/// The way to a value: `bgp.neighbor[1].address`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The path of a value outside lists: `KeyPath::of("bgp.listen")`.
    pub(crate) fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.extend(key.split('.').map(|key| Step::Key(key.to_owned())));
        path
    }

    /// Like [`KeyPath::key`], for a key from a file, which may itself hold dots.
    pub(crate) fn key_as_is(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(key.to_owned()));
        path
    }

    /// The last key; empty if there is none.
    pub(crate) fn last_key(&self) -> &str {
        match self.0.last() {
            Some(Step::Key(key)) => key,
            Some(Step::Index(_)) | None => "",
        }
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Index(index));
        path
    }

    pub(crate) fn parent(&self) -> Self {
        Self(self.0.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default())
    }

    /// This path or one below it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// As the key tables write it, without list positions: `bgp.neighbor.address`.
    pub(crate) fn pattern(&self) -> String {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        canonical(&keys.collect::<Vec<_>>().join("."))
    }

    /// With each list position 0.
    fn firsts(&self) -> Self {
        let first = |step: &Step| match step {
            Step::Key(key) => Step::Key(key.clone()),
            Step::Index(_) => Step::Index(0),
        };
        Self(self.0.iter().map(first).collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if i == 0 { "" } else { "." };
                    write!(f, "{dot}{}", key.escape_debug())?;
                }
            }
        }
        Ok(())
    }
}

/// A file that is TOML.
pub(crate) struct Document<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
    /// Values that were bad and have been replaced by good ones, to find what else is bad.
    replaced: Vec<KeyPath>,
}

impl<'a> Document<'a> {
    /// Reads `text`, or tells the lines that are not TOML, and why.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Vec<(usize, String)>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, root, replaced: Vec::new() });
        }
        let mut lines: Vec<(usize, String)> = Vec::new();
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = line_at(text, span.start);
            // What follows from an error on the same line helps nobody.
            if lines.last().is_some_and(|(last, _)| *last == line) {
                continue;
            }
            // Only a key's text is shown: a value may be a password.
            let what = match text.get(span) {
                Some(key) if error.message() == "duplicate key" => {
                    format!("the key `{}` a second time", key.trim().escape_debug())
                }
                _ => format!("what is not TOML: {}", error.message()),
            };
            lines.push((line, what));
        }
        Err(lines)
    }

    pub(crate) fn root(&self) -> &DeTable<'a> {
        self.root.get_ref()
    }

    /// The configuration that the document holds, or the value that is wrong; no value if that
    /// cannot be told, with what the reader says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, (Option<KeyPath>, String)> {
        T::deserialize(toml::Deserializer::from(self.root.clone())).map_err(|error| {
            let path = error.span().and_then(|span| self.at(&span));
            (path, error.message().to_owned())
        })
    }

    fn value(&self, path: &KeyPath) -> Option<&Spanned<DeValue<'a>>> {
        let (first, rest) = path.0.split_first()?;
        let Step::Key(section) = first else { return None };
        rest.iter().try_fold(self.root().get(section.as_str())?, |value, step| match step {
            Step::Key(key) => value.get_ref().get(key.as_str()),
            Step::Index(index) => value.get_ref().get(*index),
        })
    }

    /// The value that lies at exactly `span`.
    fn at(&self, span: &Range<usize>) -> Option<KeyPath> {
        let mut open: Vec<(KeyPath, &Spanned<DeValue<'a>>)> = Vec::new();
        let root = KeyPath::default();
        open.extend(self.root().iter().map(|(key, value)| (root.key_as_is(key.get_ref()), value)));
        while let Some((path, value)) = open.pop() {
            if self.was_replaced(&path) {
                continue;
            }
            if value.span() == *span {
                return Some(path);
            }
            match value.get_ref() {
                DeValue::Table(table) => {
                    open.extend(table.iter().map(|(k, v)| (path.key_as_is(k.get_ref()), v)));
                }
                DeValue::Array(items) => {
                    open.extend(items.iter().enumerate().map(|(i, v)| (path.index(i), v)));
                }
                _ => {}
            }
        }
        None
    }

    /// The line of a value, from 1; that of the section if there is no such value.
    pub(crate) fn line(&self, path: &KeyPath) -> Option<usize> {
        if path.0.is_empty() {
            return None;
        }
        match self.value(path) {
            Some(value) => Some(line_at(self.text, value.span().start)),
            None => self.line(&path.parent()),
        }
    }

    /// The value in the operator's own words, short; none if there is no such value.
    pub(crate) fn words(&self, path: &KeyPath) -> Option<String> {
        const SHOWN: usize = 60;
        let value = self.value(path)?;
        if let DeValue::Table(_) = value.get_ref() {
            return Some("a section".to_owned());
        }
        let text = self.text.get(value.span())?;
        let mut line: String = text.lines().next()?.chars().take(SHOWN).collect();
        if line.len() < text.len() {
            line.push('…');
        }
        Some(format!("`{line}`"))
    }

    /// The length in bytes of a value that must not be shown.
    pub(crate) fn length(&self, path: &KeyPath) -> Option<usize> {
        self.value(path).and_then(|value| value.get_ref().as_str()).map(str::len)
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, path: &KeyPath) {
        if let Some(Step::Key(key)) = path.0.last()
            && let Some(table) = self.table_mut(&path.parent())
        {
            table.remove(key.as_str());
        }
    }

    /// Puts the value that `example` has at this place (or first in this list) into this document,
    /// and remembers that it is no longer the operator's. Where the example has none the key is
    /// taken out: it is one that need not be there.
    pub(crate) fn replace(&mut self, path: &KeyPath, example: &Document<'a>) {
        let Some(good) = example.value(&path.firsts()).cloned() else {
            self.remove(path);
            return self.replaced.push(path.clone());
        };
        match path.0.last() {
            Some(Step::Key(key)) => {
                if let Some(table) = self.table_mut(&path.parent()) {
                    table.insert(Spanned::new(0..0, key.clone().into()), good);
                }
            }
            Some(Step::Index(_)) => {
                if let Some(value) = self.value_mut(path) {
                    *value = good;
                }
            }
            None => {}
        }
        self.replaced.push(path.clone());
    }

    pub(crate) fn was_replaced(&self, path: &KeyPath) -> bool {
        self.replaced.iter().any(|replaced| replaced.contains(path))
    }

    fn table_mut(&mut self, path: &KeyPath) -> Option<&mut DeTable<'a>> {
        if path.0.is_empty() {
            return Some(self.root.get_mut());
        }
        match self.value_mut(path)?.get_mut() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    fn value_mut(&mut self, path: &KeyPath) -> Option<&mut Spanned<DeValue<'a>>> {
        let (first, rest) = path.0.split_first()?;
        let Step::Key(section) = first else { return None };
        let section = self.root.get_mut().get_mut(section.as_str())?;
        rest.iter().try_fold(section, |value, step| match (value.get_mut(), step) {
            (DeValue::Table(table), Step::Key(key)) => table.get_mut(key.as_str()),
            (DeValue::Array(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        })
    }
}

/// The line of a byte, from 1.
pub(crate) fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
}
