//! Numbers and times as a person reads them, and the way to the standard output.

use std::io::{self, Write};

use jiff::Timestamp;

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
}
