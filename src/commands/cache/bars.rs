//! Progress bars on a terminal: one for the whole, and one for each part in work.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::text;

/// Columns for the name of a part.
const NAME: usize = 48;

/// The bars. They go when this is dropped.
pub(super) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    parts: BTreeMap<String, ProgressBar>,
}

impl Bars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::no_length());
        total.set_style(style("{wide_bar} {pos} of {len} {msg}, {elapsed}"));
        Self { all, total, parts: BTreeMap::new() }
    }

    /// How far the whole is.
    pub(super) fn total(&self, done: u64, of: u64, words: &str) {
        self.total.set_length(of);
        self.total.set_position(done);
        self.total.set_message(words.to_owned());
    }

    /// The parts in work: name, bytes done, bytes of all; 0 where that is not known yet.
    pub(super) fn parts<'a>(&mut self, parts: impl Iterator<Item = (&'a str, u64, u64)>) {
        let mut before = std::mem::take(&mut self.parts);
        for (name, done, of) in parts {
            let bar = before.remove(name).unwrap_or_else(|| {
                let bar = self.all.add(ProgressBar::new(0));
                bar.set_style(style("  {prefix:48} {bar:20} {bytes:>10} of {total_bytes}"));
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
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_good() {
        for template in [
            "{wide_bar} {pos} of {len} {msg}, {elapsed}",
            "  {prefix:48} {bar:20} {bytes:>10} of {total_bytes}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
