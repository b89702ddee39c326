//! Numbers, times and tables as a person reads them.

use std::io::{self, IsTerminal, Write};
use std::mem;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};
use jiff::Timestamp;

/// A table without lines: a heading row, then one row each, numbers on the right.
pub(crate) struct Rows {
    table: Table,
    /// Of each column, whether it is one of numbers.
    numbers: Vec<bool>,
    /// Of each column, how wide it is at least.
    widths: Vec<u16>,
}

/// Blanks between columns.
const GAP: u16 = 2;

impl Rows {
    /// A table with these headings; those that start with `>` head a column of numbers.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let mut table = empty_table();
        table.set_header(headings.iter().map(|h| h.trim_start_matches('>')));
        let numbers = headings.iter().map(|heading| heading.starts_with('>')).collect();
        Self { table, numbers, widths: vec![0; headings.len()] }
    }

    /// Adds a row. Control characters, which a neighbor or origin may have sent, are not let through to the terminal.
    pub(crate) fn push<I: IntoIterator<Item = String>>(&mut self, row: I) {
        self.table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }

    /// The table, without blanks at the ends of lines.
    pub(crate) fn render(mut self) -> String {
        self.take_page()
    }

    /// The same, and after it come further rows, without the headings and with columns at least as
    /// wide: for a list that is too long to be held at once.
    pub(crate) fn take_page(&mut self) -> String {
        let mut table = mem::replace(&mut self.table, empty_table());
        for (width, found) in self.widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = found.max(*width);
        }
        let columns = table.column_iter_mut().zip(&self.numbers).zip(&self.widths);
        for ((column, is_number), width) in columns {
            column.set_padding((0, GAP));
            // On a terminal the columns share what room there is.
            if !io::stdout().is_terminal() {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + GAP)));
            }
            if *is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().fold(String::new(), |mut text, line| {
            text.push_str(line.trim_end());
            text.push('\n');
            text
        })
    }
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    // Piped output is for other programs: one line a row, however long.
    table.set_content_arrangement(if io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table
}

/// `text` if it has no more than `width` characters, else its beginning with `…` at the end.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `text` with each control character shown as an escape.
pub(crate) fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}

/// Writes to standard output; a reader that went away (`mcc … | head`) is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    print_page(text).map(|_| ())
}

/// Whether there is any use in printing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    /// It was taken.
    Taken,
    /// The reader of the standard output has gone away.
    NobodyReads,
}

/// The same for one page of many.
pub(crate) fn print_page(text: &str) -> io::Result<Printed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::NobodyReads),
        result => result.map(|()| Printed::Taken),
    }
}

/// A line of CSV (RFC 4180): a field with a comma, a quote or a line break stands in quotes.
pub(crate) fn csv_line<const N: usize>(fields: &[String; N]) -> String {
    let field = |text: &String| {
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.clone()
        }
    };
    fields.iter().map(field).collect::<Vec<_>>().join(",") + "\n"
}

/// `2026-11-23 00:30:01Z`
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `2026-11-23 00:30:01.250Z`
pub(crate) fn time_millis(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// `1015306` → `1,015,306`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of prefixes.
pub(crate) fn prefixes(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "prefix" } else { "prefixes" })
}

/// A number of addresses.
pub(crate) fn addresses(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "address" } else { "addresses" })
}

/// A number of objects.
pub(crate) fn objects(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "object" } else { "objects" })
}

/// A number of blocks.
pub(crate) fn blocks(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "block" } else { "blocks" })
}

/// Bytes in decimal units with three digits: `1.50 GB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = n as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 999.5 {
        let Some(larger) = units.next() else { break };
        value /= 1000.0;
        unit = larger;
    }
    let places = if *unit == "B" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.places$} {unit}")
}

/// Seconds in the two largest units: `3d 4h`, `12m 5s`.
pub(crate) fn duration(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m {s}s"),
        (0, _, _) => format!("{h}h {m}m"),
        _ => format!("{d}d {h}h"),
    }
}

/// What was sent and fetched. Each fetched byte counts for the first that is sent of it, as what had to be fetched. What
/// was fetched ahead, prefilled or for a client that left stands apart: the hit ratio does not count it.
pub(crate) fn traffic(sent: u64, hits: u64, fetched: u64) -> String {
    let ahead = fetched.saturating_sub(sent.saturating_sub(hits));
    let ahead = match ahead {
        0 => String::new(),
        ahead => format!(" ({} of it ahead of clients)", bytes(ahead)),
    };
    format!("{} sent to clients, {} fetched from origins{ahead}", bytes(sent), bytes(fetched))
}

/// The share of hits among the bytes that were sent.
pub(crate) fn hit_ratio(hits: u64, sent: u64) -> String {
    match sent {
        0 => "nothing has been sent yet".to_owned(),
        sent => format!("{} of the bytes sent had not to be fetched", percent(hits, sent)),
    }
}

/// A share of 1 as per cent with one place, `-` when there is nothing to divide by.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "one place is shown")]
    let share = part as f64 / whole as f64 * 100.0;
    format!("{share:.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_a_person_reads_them() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_015_306), "1,015,306");
        assert_eq!(prefixes(1), "1 prefix");
        assert_eq!(addresses(256_000), "256,000 addresses");
        assert_eq!(
            traffic(4_000_000, 1_000_000, 3_000_000),
            "4.00 MB sent to clients, 3.00 MB fetched from origins"
        );
        assert_eq!(
            traffic(4_000_000, 3_000_000, 9_000_000),
            "4.00 MB sent to clients, 9.00 MB fetched from origins (8.00 MB of it ahead of clients)"
        );
        assert_eq!(
            hit_ratio(1_000_000, 4_000_000),
            "25.0 % of the bytes sent had not to be fetched"
        );
        assert_eq!(hit_ratio(0, 0), "nothing has been sent yet");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000_000), "1.50 GB");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(bytes(209_715_200), "210 MB");
        assert_eq!(duration(59), "59s");
        assert_eq!(duration(725), "12m 5s");
        assert_eq!(duration(3 * 86_400 + 4 * 3_600 + 59), "3d 4h");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn what_is_too_long_for_a_table_ends_in_dots() {
        assert_eq!(shortened("65100:1", 7), "65100:1");
        assert_eq!(shortened("65100:12", 7), "65100:…");
        assert_eq!(shortened("ééé", 2), "é…");
    }

    #[test]
    fn what_a_router_sent_cannot_steer_the_terminal() {
        let mut rows = Rows::new(&["Neighbor", ">Routes"]);
        rows.push(["\u{1b}[31mred".to_owned(), "7".to_owned()]);
        let text = rows.render();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.starts_with("Neighbor"), "{text:?}");
    }
}
