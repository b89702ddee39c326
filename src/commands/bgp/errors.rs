//! `mcc bgp errors`: malformed messages, what was wrong with them, and what they were treated as.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{BgpErrors, Common};
use crate::table::{Rows, indented};
use crate::terminal::Output;
use crate::text;

/// What the table shows of `GET /v1/bgp/errors`.
#[derive(Debug, Deserialize)]
struct Errors {
    errors: Vec<Malformed>,
    /// How many there were: the node keeps the last of each neighbor.
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Malformed {
    at: Timestamp,
    neighbor: IpAddr,
    disposition: String,
    faults: Vec<Fault>,
    prefixes: Option<u64>,
    example: Option<String>,
    length: usize,
    hex: String,
}

#[derive(Debug, Deserialize)]
struct Fault {
    disposition: String,
    attribute: Option<String>,
    offset: usize,
    reason: String,
}

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &BgpErrors,
) -> Result<Verdict> {
    let query = [("neighbor", arguments.address)];
    let json: Value = match arguments.address {
        Some(_) => client.get_with("/v1/bgp/errors", &query).await?,
        None => client.get("/v1/bgp/errors").await?,
    };
    if common.json {
        print_json(&json)?;
    } else {
        let errors = Errors::deserialize(&json)?;
        text::print(&match (errors.errors.is_empty(), arguments.hex) {
            (true, _) => "no malformed message has come since the start\n".to_owned(),
            (false, false) => render(&errors, Output::standard()),
            (false, true) => render_with_bytes(&errors, Output::standard())?,
        })?;
    }
    Ok(Verdict::Good)
}

impl Malformed {
    /// The gravest fault.
    fn what(&self) -> String {
        self.faults.first().map_or_else(|| "-".to_owned(), Fault::in_words)
    }

    fn prefixes(&self) -> String {
        match (self.prefixes, &self.example) {
            (None, _) => "all of the session".to_owned(),
            (Some(1), Some(example)) => example.clone(),
            (Some(n), Some(example)) => {
                format!("{example} and {} more", text::count(n.saturating_sub(1)))
            }
            (Some(_), None) => "none".to_owned(),
        }
    }
}

impl Fault {
    fn in_words(&self) -> String {
        match &self.attribute {
            Some(attribute) => format!("{attribute}: {}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// What RFC 7606 §2 calls it.
fn treatment(disposition: &str) -> &str {
    match disposition {
        "attribute_discard" => "attribute discarded",
        "treat_as_withdraw" => "treated as withdraw",
        "session_reset" => "session reset",
        other => other,
    }
}

impl Errors {
    /// Nobody is to take the last of them for all.
    fn left_out(&self, output: Output) -> String {
        let shown = self.errors.len() as u64;
        if shown >= self.total {
            return String::new();
        }
        let words = format!(
            "These are the last {} of {} malformed messages since the start: of each router no more are \
             kept.",
            text::count(shown),
            text::count(self.total)
        );
        indented(&words, 0, output)
    }
}

fn render(errors: &Errors, output: Output) -> String {
    let mut rows = Rows::new(&["Time", "Neighbor", "Result", "~Prefixes", "~What"]);
    for error in &errors.errors {
        rows.push([
            text::time(error.at),
            error.neighbor.to_string(),
            treatment(&error.disposition).to_owned(),
            error.prefixes(),
            error.what(),
        ]);
    }
    let advice = "Whoever runs the router can find the fault with the bytes: `--hex` shows them.";
    format!("{}\n{}{advice}\n", rows.render(output), errors.left_out(output))
}

fn render_with_bytes(errors: &Errors, output: Output) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for (i, error) in errors.errors.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let title = format!(
            "{} from {}: {}; prefixes: {}",
            text::time(error.at),
            error.neighbor,
            treatment(&error.disposition),
            error.prefixes()
        );
        out.push_str(&indented(&title, 0, output));
        for fault in &error.faults {
            let words = format!(
                "at byte {} (0x{:04x}): {}; {}",
                fault.offset,
                fault.offset,
                fault.in_words(),
                treatment(&fault.disposition)
            );
            out.push_str(&indented(&words, 2, output));
        }
        let bytes = bytes(&error.hex);
        let marked = error.faults.first().map(|fault| fault.offset);
        dump(&mut out, &bytes, marked)?;
        if error.length > bytes.len() {
            writeln!(out, "  … {} bytes more", text::count((error.length - bytes.len()) as u64))?;
        }
    }
    let left_out = errors.left_out(output);
    if !left_out.is_empty() {
        write!(out, "\n{left_out}")?;
    }
    Ok(out)
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// Sixteen bytes a line, as `hexdump -C` prints them; `>` stands before the one that is `marked`.
fn dump(out: &mut String, bytes: &[u8], marked: Option<usize>) -> std::fmt::Result {
    for (line, chunk) in bytes.chunks(16).enumerate() {
        write!(out, "  {:04x} ", line * 16)?;
        for i in 0..16 {
            if i == 8 {
                out.push(' ');
            }
            let sign = if marked == Some(line * 16 + i) { '>' } else { ' ' };
            match chunk.get(i) {
                Some(byte) => write!(out, "{sign}{byte:02x}")?,
                None => out.push_str("   "),
            }
        }
        let printable = |&byte: &u8| if (0x20..0x7f).contains(&byte) { byte as char } else { '.' };
        writeln!(out, "  |{}|", chunk.iter().map(printable).collect::<String>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors() -> Errors {
        let fault = json!({
            "disposition": "treat_as_withdraw", "attribute": "ORIGIN", "offset": 18,
            "reason": "the value is not 0, 1 or 2 (RFC 7606 §7.1)", "rule": "RFC 7606 §7.1",
        });
        let hex = "ffffffffffffffffffffffffffffffff00170241";
        let json = json!({ "errors": [
            { "at": "2026-11-23T10:00:00Z", "neighbor": "192.0.2.1",
              "disposition": "treat_as_withdraw", "faults": [fault], "prefixes": 3,
              "example": "198.51.100.0/24", "length": 20, "hex": hex },
            { "at": "2026-11-23T10:00:01Z", "neighbor": "192.0.2.1",
              "disposition": "session_reset", "faults": [], "prefixes": null,
              "example": null, "length": 5000, "hex": "ff" },
        ], "total": 2 });
        Errors::deserialize(json).unwrap()
    }

    #[test]
    fn the_last_of_many_are_not_taken_for_all() {
        let mut errors = errors();
        let words = "\nThese are the last 2 of 3,000 malformed messages since the start: ";
        for total in [2, 3000] {
            errors.total = total;
            let bytes = render_with_bytes(&errors, Output::Pipe).unwrap();
            for text in [render(&errors, Output::Pipe), bytes] {
                assert_eq!(text.contains(words), total == 3000, "{text}");
            }
        }
    }

    #[test]
    fn a_line_says_what_was_wrong_and_what_came_of_it() {
        let text = render(&errors(), Output::Pipe);
        let line = text.lines().nth(1).unwrap();
        for words in [
            "2026-11-23 10:00:00Z  192.0.2.1  treated as withdraw  198.51.100.0/24 and 2 more",
            "  ORIGIN: the value is not 0, 1 or 2 (RFC 7606 §7.1)",
        ] {
            assert!(line.contains(words), "{text}");
        }
        assert!(text.contains("all of the session"), "{text}");
    }

    #[test]
    fn the_bytes_have_a_sign_where_the_fault_is() {
        let text = render_with_bytes(&errors(), Output::Pipe).unwrap();
        for words in [
            "  at byte 18 (0x0012): ORIGIN: ",
            "  0000  ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff  |................|\n",
            "  0010  00 17>02 41                                       |...A|\n",
            "  … 4,999 bytes more\n",
        ] {
            assert!(text.contains(words), "no {words} in:\n{text}");
        }
    }
}
