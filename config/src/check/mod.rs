//! Checks of what single types cannot see, and the words in which all problems are told.

mod control;
mod node;
mod shared;

use crate::document::{Document, KeyPath};
use crate::error::Problem;
use crate::keys::{Key, Kind};

pub(crate) use control::control;
pub(crate) use node::node;

/// Collects problems of one document, and finds place and words for each.
pub(crate) struct Findings<'d, 'a> {
    file: &'d str,
    document: &'d Document<'a>,
    keys: &'static [Key],
    problems: Vec<Problem>,
}

impl<'d, 'a> Findings<'d, 'a> {
    pub(crate) fn new(file: &'d str, document: &'d Document<'a>, keys: &'static [Key]) -> Self {
        Self { file, document, keys, problems: Vec::new() }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A value that is missing, of the wrong type, or out of its range.
    pub(crate) fn wrong(&mut self, path: &KeyPath) {
        let pattern = path.pattern();
        let accepted = self.keys.iter().find(|key| key.path == pattern).map(Key::accepts);
        self.report(&[path], &accepted.unwrap_or_default());
    }

    /// The value at the first of `paths`, which is wrong given those at the others.
    ///
    /// Nothing is reported if one of the values is not the operator's own.
    pub(crate) fn report(&mut self, paths: &[&KeyPath], accepted: &str) {
        let Some(at) = paths.first() else { return };
        if paths.iter().any(|path| self.document.was_replaced(path)) {
            return;
        }
        let message = format!("found {}; accepted: {accepted}", self.found(at));
        self.push(at, message);
    }

    /// A key that does not exist.
    pub(crate) fn unknown(&mut self, path: &KeyPath) {
        let parent = path.parent().pattern();
        let siblings: Vec<_> = self.keys.iter().filter(|key| key.parent() == parent).collect();
        let name = path.last_key();
        let hint = match meant(name, &siblings, self.keys) {
            Some(hint) => format!(" (did you mean `{hint}`?)"),
            None => String::new(),
        };
        let names: Vec<_> = siblings
            .iter()
            .map(|key| match key.kind {
                Kind::Section => format!("`[{}]`", key.path),
                Kind::Sections => format!("`[[{}]]`", key.path),
                Kind::Value => format!("`{}`", key.name()),
            })
            .collect();
        let message = format!("found an unknown key{hint}; accepted: {}", names.join(", "));
        self.push(path, message);
    }

    /// Something that has no key to name.
    pub(crate) fn unreadable(&mut self, message: &str) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: None,
            key: None,
            message: format!(
                "found what cannot be read: {message}; accepted: see `mcc config example`"
            ),
        });
    }

    /// Whether the operator wrote this value, or it is a default.
    fn is_in_file(&self, path: &KeyPath) -> bool {
        self.document.words(path).is_some()
    }

    /// The line that the operator wrote this value in; none for a default.
    fn line_in_file(&self, path: &KeyPath) -> Option<usize> {
        self.document.line(path).filter(|_| self.is_in_file(path))
    }

    fn found(&self, path: &KeyPath) -> String {
        let pattern = path.pattern();
        let secret = self.keys.iter().any(|key| key.secret && key.path == pattern);
        let Some(words) = self.document.words(path) else { return "nothing".to_owned() };
        match self.document.length(path) {
            Some(length) if secret => format!("a string of {length} bytes, not shown here"),
            None if secret => "a value that is no string, not shown here".to_owned(),
            _ => words,
        }
    }

    fn push(&mut self, path: &KeyPath, message: String) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: self.document.line(path),
            key: Some(path.to_string()),
            message,
        });
    }
}

/// The key that `name` was probably meant to be: a similar one of the same section, else one of
/// this very name in another.
fn meant(name: &str, siblings: &[&Key], all: &[Key]) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let near = siblings
        .iter()
        .map(|key| (strsim::osa_distance(&lower, key.name()), key.name()))
        .filter(|(distance, sibling)| *distance <= sibling.len().div_ceil(3))
        .min();
    match near {
        Some((_, sibling)) => Some(sibling.to_owned()),
        None => all.iter().find(|key| key.name() == lower).map(|key| key.path.to_owned()),
    }
}
