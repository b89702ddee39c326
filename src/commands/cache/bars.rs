//! Progress bars on a terminal: one for the whole, and one for each part in work.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::text;

/// Columns for the name of a part.
const NAME: usize = 48;

const TOTAL: &str = "{wide_bar} {pos} of {len} {msg}, {elapsed}";
const BYTES: &str = "{prefix:48} {wide_bar} {bytes:>10} of {total_bytes:10}";
const BLOCKS: &str = "{prefix:48} {wide_bar} {pos:>10} of {len:10} blocks, {eta} left";

/// The bars. They go when this is dropped.
pub(super) struct Bars {
    all: MultiProgress,
    total: Option<ProgressBar>,
    /// What a part is counted in.
    template: &'static str,
    parts: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// For parts that are counted in bytes.
    pub(super) fn of_bytes() -> Self {
        Self::with(BYTES)
    }

    /// For parts that are counted in blocks.
    pub(super) fn of_blocks() -> Self {
        Self::with(BLOCKS)
    }

    fn with(template: &'static str) -> Self {
        Self { all: MultiProgress::new(), total: None, template, parts: BTreeMap::new() }
    }

    /// How far the whole is.
    pub(super) fn total(&mut self, done: u64, of: u64, words: String) {
        let all = &self.all;
        let total = self.total.get_or_insert_with(|| {
            let bar = all.insert(0, ProgressBar::new(of));
            bar.set_style(style(TOTAL));
            bar
        });
        total.set_length(of);
        total.set_position(done);
        total.set_message(words);
    }

    /// The parts in work: name, how much is done, and of how much; 0 where that is not known yet.
    pub(super) fn parts<'a>(&mut self, parts: impl Iterator<Item = (&'a str, u64, u64)>) {
        let mut before = std::mem::take(&mut self.parts);
        for (name, done, of) in parts {
            let bar = before.remove(name).unwrap_or_else(|| {
                let bar = self.all.add(ProgressBar::new(of));
                bar.set_style(style(self.template));
                bar.set_prefix(text::shortened(&text::printable(name), NAME));
                bar
            });
            bar.set_length(of);
            bar.set_position(done);
            self.parts.insert(name.to_owned(), bar);
        }
        for bar in before.into_values() {
            self.all.remove(&bar);
        }
    }

    /// Prints something above the bars.
    pub(super) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // A terminal that has gone has no bars to clear.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_good() {
        for template in [TOTAL, BYTES, BLOCKS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
