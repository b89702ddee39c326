//! How wide what is printed may be.

use std::io::{self, IsTerminal};

/// Where nothing else says how wide a terminal is.
const USUAL_WIDTH: u16 = 100;
/// Narrower ones get lines of this width all the same: no table could be read there.
const NARROWEST: u16 = 60;

/// Where a command prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A person reads it: lines of at most so many columns.
    Terminal(u16),
    /// A file or another program: everything, one line a row, however long.
    Pipe,
}

impl Output {
    /// What the standard output is.
    pub(crate) fn standard() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::Pipe;
        }
        let asked = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
        let columns = std::env::var("COLUMNS").ok();
        Self::Terminal(width(asked, columns.as_deref()))
    }
}

/// From what the terminal answers (0 if it does not know), else from the environment.
fn width(asked: u16, columns: Option<&str>) -> u16 {
    let told = || columns.and_then(|columns| columns.trim().parse().ok()).filter(|&n| n > 0);
    let width = if asked > 0 { Some(asked) } else { told() };
    width.unwrap_or(USUAL_WIDTH).max(NARROWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_knows_best_then_the_environment() {
        assert_eq!(width(160, Some("80")), 160);
        assert_eq!(width(0, Some(" 80 ")), 80);
        assert_eq!(width(0, Some("wide")), USUAL_WIDTH);
        assert_eq!(width(0, Some("0")), USUAL_WIDTH);
        assert_eq!(width(0, None), USUAL_WIDTH);
        assert_eq!(width(20, None), NARROWEST);
    }
}
