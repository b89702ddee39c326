//! A list of URLs in a file: one a line, with comments.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};

use super::WrongUse;

/// The URLs of `file`, `-` being the standard input, each once and in their order.
pub(super) fn read(file: &Path) -> Result<Vec<String>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("reading the standard input")?;
        text
    } else {
        fs::read_to_string(file).map_err(|error| {
            WrongUse(format!("cannot read the list of URLs {}: {error}", file.display()))
        })?
    };
    let urls = parse(&text).map_err(|error| WrongUse(format!("{}: {error}", file.display())))?;
    if urls.is_empty() {
        let file = file.display();
        return Err(WrongUse(format!("{file} has no URL in it: write one a line")).into());
    }
    Ok(urls)
}

fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (number, line) in text.lines().enumerate() {
        // A `#` inside a URL is no comment.
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(url) = words.next() else { continue };
        if let Some(second) = words.next() {
            let number = number + 1;
            return Err(format!(
                "line {number}: one URL a line, but after `{url}` comes `{second}`"
            ));
        }
        if seen.insert(url) {
            urls.push(url.to_owned());
        }
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_urls_blank_lines_and_comments() {
        let text =
            "# updates\n\n http://a.example/f#1 # the first\nb.example/g\r\n\tb.example/g\n#x";
        assert_eq!(parse(text).unwrap(), ["http://a.example/f#1", "b.example/g"]);
        assert_eq!(parse("#\n").unwrap(), [""; 0]);
        let error = parse("a.example/f\na.example/a b").unwrap_err();
        assert_eq!(error, "line 2: one URL a line, but after `a.example/a` comes `b`");
    }
}
