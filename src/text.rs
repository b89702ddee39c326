//! Numbers and times as a person reads them, and the way to the standard output.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;

/// `text` if it has no more than `width` characters, else its beginning with `…` at the end.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `text` with each character shown as an escape that a terminal would obey or not show: control
/// characters, and those that turn the direction of writing or have no width.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unseen) {
        Cow::Owned(text.escape_debug().to_string())
    } else {
        Cow::Borrowed(text)
    }
}

/// JSON that means the same, without such characters: JSON itself has to escape only those below U+0020.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    // The line breaks between values are no part of any text.
    let is_unseen = |c: char| is_unseen(c) && c != '\n';
    if !json.chars().any(is_unseen) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unseen(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a character leaves no mark of its own on a terminal. What belongs to the letter before it does.
fn is_unseen(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // At the start of a text `escape_debug` escapes such a mark as well.
    let after_a_letter = || ['a', c].iter().collect::<String>().escape_debug().count() > 2;
    c.escape_debug().len() > 1 && after_a_letter()
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
pub(crate) fn csv_line(fields: &[String]) -> String {
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

/// A number of things, in the word for one or for several of them.
pub(crate) fn counted(n: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { several })
}

/// What several things are, and what one is.
pub(crate) fn are(n: u64) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// A number of prefixes.
pub(crate) fn prefixes(n: u64) -> String {
    counted(n, "prefix", "prefixes")
}

/// The size of a footprint: `998 prefixes, 255,488 addresses`, and with IPv6
/// `2 prefixes, 256 IPv4 addresses and 65,536 IPv6 /48s`. Nobody counts IPv6 by addresses.
pub(crate) fn footprint(n: u64, addresses: u64, ipv6_slash48s: u64) -> String {
    let space = match ipv6_slash48s {
        0 => counted(addresses, "address", "addresses"),
        _ => format!(
            "{} and {}",
            counted(addresses, "IPv4 address", "IPv4 addresses"),
            counted(ipv6_slash48s, "IPv6 /48", "IPv6 /48s")
        ),
    };
    format!("{}, {space}", prefixes(n))
}

/// A number of routes: prefixes, or with ADD-PATH their paths.
pub(crate) fn routes(n: u64) -> String {
    counted(n, "route", "routes")
}

/// A number of objects.
pub(crate) fn objects(n: u64) -> String {
    counted(n, "object", "objects")
}

/// A number of blocks.
pub(crate) fn blocks(n: u64) -> String {
    counted(n, "block", "blocks")
}

/// A number of messages.
pub(crate) fn messages(n: u64) -> String {
    counted(n, "message", "messages")
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
        assert_eq!(footprint(2, 256_000, 0), "2 prefixes, 256,000 addresses");
        assert_eq!(footprint(1, 1, 0), "1 prefix, 1 address");
        assert_eq!(
            footprint(2, 256, 65_536),
            "2 prefixes, 256 IPv4 addresses and 65,536 IPv6 /48s"
        );
        assert_eq!(footprint(1, 0, 1), "1 prefix, 0 IPv4 addresses and 1 IPv6 /48");
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
    fn what_a_stranger_wrote_does_not_steer_the_terminal() {
        for (text, shown) in [
            ("back at 04:00 \"UTC\" C:\\", "back at 04:00 \"UTC\" C:\\"),
            ("Wartung für zwölf Geräte, 保守", "Wartung für zwölf Geräte, 保守"),
            ("e\u{301}te\u{301}", "e\u{301}te\u{301}"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\r\nb\u{7f}", "a\\r\\nb\\u{7f}"),
            ("up\u{202e}nwod", "up\\u{202e}nwod"),
            ("\u{2066}x\u{2069}\u{200f}\u{200b}", "\\u{2066}x\\u{2069}\\u{200f}\\u{200b}"),
        ] {
            assert_eq!(printable(text), shown);
            let json =
                serde_json::to_string_pretty(&serde_json::json!({ "text": [text] })).unwrap();
            let printed = printable_json(&json);
            assert!(printed.lines().all(|line| !line.chars().any(is_unseen)), "{printed:?}");
            let read: serde_json::Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(read["text"][0], text, "it means the same");
        }
    }
}
