//! Tables: a heading row, then a row each, without lines, numbers on the right.
//!
//! On a terminal a table is as wide as the terminal at most. Columns of names and numbers are never
//! cut; what is short of room is the text at the end of a row, in this order:
//!
//! 1. columns that are of little use go, if names and numbers alone are too wide already;
//! 2. text wraps inside of its column, if that is wide enough to be read;
//! 3. else what does not fit stands below its row, indented.
//!
//! A pipe gets everything, one line a row.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use crate::terminal::Output;
use crate::text::printable;

/// Blanks between columns.
const GAP: usize = 2;
/// Text is wrapped inside of a column that is this wide, or wider.
const READABLE: usize = 36;
/// Blanks before what stands below a row.
const INDENT: usize = 4;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    shape: Option<Shape>,
}

#[derive(Debug)]
struct Column {
    heading: &'static str,
    kind: Kind,
    /// It may go when there is no room.
    optional: bool,
    /// How wide the widest cell was so far, or the heading.
    width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Number,
    Text,
}

/// What is decided with the first page, so that those after it look the same.
#[derive(Debug, Clone)]
struct Shape {
    /// Columns in the row, by number.
    inline: Vec<usize>,
    /// The last of them is text that may be too long for its place.
    short_of_room: bool,
    /// Columns of text that stand below.
    below: Vec<usize>,
}

impl Rows {
    /// A table with these headings. A heading that starts with `>` heads a column of numbers, one with
    /// `~` text that may wrap (at the end of a row only), one with `?` a column that a narrow terminal
    /// does without; `?` comes first.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        let columns = headings.iter().map(|heading| Column::new(heading)).collect();
        Self { columns, rows: Vec::new(), shape: None }
    }

    /// Adds a row. Control characters, which a neighbor or origin may have sent, are not let through to
    /// the terminal.
    pub(crate) fn push<I: IntoIterator<Item = String>>(&mut self, row: I) {
        self.rows.push(row.into_iter().map(|cell| printable(&cell).into_owned()).collect());
    }

    /// The table, without blanks at the ends of lines.
    pub(crate) fn render(mut self, output: Output) -> String {
        self.take_page(output)
    }

    /// The same, and after it come further rows, without the headings and with columns at least as
    /// wide: for a list that is too long to be held at once.
    pub(crate) fn take_page(&mut self, output: Output) -> String {
        let rows = std::mem::take(&mut self.rows);
        self.measure(&rows);
        let first = self.shape.is_none();
        let shape = match self.shape.take() {
            Some(shape) => shape,
            None => self.shape_for(output),
        };
        let text = self.page(&shape, &rows, output, first);
        self.shape = Some(shape);
        text
    }

    fn measure(&mut self, rows: &[Vec<String>]) {
        let mut table = plain_table();
        for row in rows {
            table.add_row(row);
        }
        for (column, found) in self.columns.iter_mut().zip(table.column_max_content_widths()) {
            column.width = column.width.max(usize::from(found));
        }
    }

    fn shape_for(&self, output: Output) -> Shape {
        let mut inline: Vec<usize> = (0..self.columns.len()).collect();
        let Output::Terminal(width) = output else {
            return Shape { inline, short_of_room: false, below: Vec::new() };
        };
        let width = usize::from(width);
        let is_text = |index: &usize| self.column(*index).is_some_and(|c| c.kind == Kind::Text);
        let mut below: Vec<usize> = inline.iter().copied().filter(is_text).collect();
        inline.retain(|index| !is_text(index));
        while self.line_width(&inline) > width
            && let Some(place) =
                inline.iter().position(|index| self.column(*index).is_some_and(|c| c.optional))
        {
            inline.remove(place);
        }
        // As many columns of text as fit with all that is in them, and what there is room for of the next.
        let mut short_of_room = false;
        while let Some(&next) = below.first() {
            let room = width.saturating_sub(self.width_before(&inline));
            let column = self.column(next);
            let (whole, heading) = column.map_or((0, 0), |c| (c.width, c.heading.chars().count()));
            short_of_room = whole > room;
            if short_of_room && room < heading.max(1) {
                short_of_room = false;
                break;
            }
            inline.push(below.remove(0));
            if short_of_room {
                break;
            }
        }
        Shape { inline, short_of_room, below }
    }

    fn page(&self, shape: &Shape, rows: &[Vec<String>], output: Output, headed: bool) -> String {
        let width = match output {
            Output::Terminal(width) => usize::from(width),
            Output::Pipe => usize::from(u16::MAX),
        };
        let (last, names) = match shape.inline.split_last() {
            Some((&last, names)) if shape.short_of_room => (Some(last), names),
            _ => (None, shape.inline.as_slice()),
        };
        let room = width.saturating_sub(self.width_before(names)).max(1);
        let wraps = last.is_some() && shape.below.is_empty() && room >= READABLE;
        let cell = |row: &'_ [String], index: usize| row.get(index).cloned().unwrap_or_default();
        let mut table = plain_table();
        if headed {
            let headings = shape.inline.iter().filter_map(|&index| self.column(index));
            table.set_header(headings.map(|column| column.heading));
        }
        let mut below_each = Vec::with_capacity(rows.len());
        for row in rows {
            let mut cells: Vec<_> = shape.inline.iter().map(|&index| cell(row, index)).collect();
            let mut below = Vec::new();
            if let Some(last) = last.filter(|_| !wraps)
                && let Some(place) = cells.last_mut()
                && display_width(place) > room
            {
                below.extend(self.below(last, std::mem::take(place)));
            }
            below.extend(shape.below.iter().filter_map(|&at| self.below(at, cell(row, at))));
            below_each.push(below.join("; "));
            table.add_row(cells);
        }
        for (place, &index) in table.column_iter_mut().zip(&shape.inline) {
            let Some(column) = self.column(index) else { continue };
            let content = if last == Some(index) { column.width.min(room) } else { column.width };
            let fixed = u16::try_from(content + GAP).unwrap_or(u16::MAX);
            place.set_padding((0, 2));
            place.set_constraint(ColumnConstraint::Absolute(Width::Fixed(fixed)));
            if column.kind == Kind::Number {
                place.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
        if wraps || below_each.iter().all(String::is_empty) {
            return lines.collect();
        }
        // Nothing wraps inside of the table: a line is a row.
        let below = below_each.iter().map(|text| indented(text, INDENT, output));
        let headings = std::iter::repeat_n(String::new(), usize::from(headed));
        lines.zip(headings.chain(below)).map(|(line, below)| line + &below).collect()
    }

    /// What stands below a row of one cell, with its heading if another column might be meant.
    fn below(&self, index: usize, cell: String) -> Option<String> {
        if cell.is_empty() || cell == "-" {
            return None;
        }
        let texts = self.columns.iter().filter(|column| column.kind == Kind::Text).count();
        match self.column(index) {
            Some(column) if texts > 1 => Some(format!("{}: {cell}", column.heading)),
            _ => Some(cell),
        }
    }

    fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index)
    }

    /// Of columns, with the gap after the last of them.
    fn width_before(&self, columns: &[usize]) -> usize {
        columns.iter().filter_map(|&index| self.column(index)).map(|c| c.width + GAP).sum()
    }

    fn line_width(&self, columns: &[usize]) -> usize {
        self.width_before(columns).saturating_sub(GAP)
    }
}

impl Column {
    fn new(heading: &'static str) -> Self {
        let (heading, optional) = match heading.strip_prefix('?') {
            Some(rest) => (rest, true),
            None => (heading, false),
        };
        let (heading, kind) = match (heading.strip_prefix('>'), heading.strip_prefix('~')) {
            (Some(rest), _) => (rest, Kind::Number),
            (None, Some(rest)) => (rest, Kind::Text),
            (None, None) => (heading, Kind::Name),
        };
        Self { heading, kind, optional, width: heading.chars().count().max(1) }
    }
}

/// `label`, and `text` behind it from column `at` on, in lines that fit.
pub(crate) fn labelled(label: &str, at: usize, text: &str, output: Output) -> String {
    let lines = wrapped(text, at, output).into_iter().enumerate();
    lines.fold(String::new(), |all, (i, line)| {
        let label = if i == 0 { label } else { "" };
        format!("{all}{label:<at$}{line}\n")
    })
}

/// `text` in lines that fit, each after `indent` blanks; one line in a pipe.
pub(crate) fn indented(text: &str, indent: usize, output: Output) -> String {
    let blanks = " ".repeat(indent);
    wrapped(text, indent, output)
        .iter()
        .fold(String::new(), |all, line| all + &blanks + line + "\n")
}

/// `text` in lines that fit behind `used` columns.
fn wrapped(text: &str, used: usize, output: Output) -> Vec<String> {
    let text = printable(text);
    let width = match output {
        _ if text.is_empty() => return Vec::new(),
        Output::Pipe => return vec![text.into_owned()],
        Output::Terminal(width) => usize::from(width).saturating_sub(used).max(1),
    };
    let mut table = plain_table();
    table.add_row([&*text]);
    for column in table.column_iter_mut() {
        let width = Width::Fixed(u16::try_from(width).unwrap_or(u16::MAX));
        column.set_padding((0, 0)).set_constraint(ColumnConstraint::Absolute(width));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// How many columns of a terminal `text` takes.
fn display_width(text: &str) -> usize {
    let mut table = plain_table();
    table.add_row([text]);
    table.column_max_content_widths().first().copied().map_or(0, usize::from)
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> Rows {
        let mut rows = Rows::new(&["Time", ">Bytes", "~Why"]);
        rows.push(["10:00:00".to_owned(), "7".to_owned(), "dialling".to_owned()]);
        let long =
            "the router closed the session: Cease / Administrative Shutdown: maintenance (6/2)";
        rows.push(["10:00:01".to_owned(), "1,200".to_owned(), long.to_owned()]);
        rows
    }

    #[test]
    fn what_a_router_sent_cannot_steer_the_terminal() {
        let mut rows = Rows::new(&["Neighbor", ">Routes"]);
        rows.push(["\u{1b}[31mred".to_owned(), "7".to_owned()]);
        let text = rows.render(Output::Pipe);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.starts_with("Neighbor"), "{text:?}");
    }

    #[test]
    fn a_pipe_gets_one_line_a_row() {
        assert_eq!(
            history().render(Output::Pipe),
            "Time      Bytes  Why\n\
             10:00:00      7  dialling\n\
             10:00:01  1,200  the router closed the session: Cease / Administrative Shutdown: \
             maintenance (6/2)\n"
        );
        assert_eq!(history().render(Output::Pipe), history().render(Output::Terminal(120)));
    }

    #[test]
    fn text_wraps_in_its_column_if_that_can_be_read() {
        assert_eq!(
            history().render(Output::Terminal(60)),
            "Time      Bytes  Why\n\
             10:00:00      7  dialling\n\
             10:00:01  1,200  the router closed the session: Cease /\n\
             \x20                Administrative Shutdown: maintenance (6/2)\n"
        );
    }

    #[test]
    fn text_that_has_no_room_stands_below_its_row() {
        assert_eq!(
            history().render(Output::Terminal(50)),
            "Time      Bytes  Why\n\
             10:00:00      7  dialling\n\
             10:00:01  1,200\n\
             \x20   the router closed the session: Cease /\n\
             \x20   Administrative Shutdown: maintenance (6/2)\n"
        );
    }

    #[test]
    fn several_texts_below_a_row_have_their_headings() {
        let mut rows = Rows::new(&["Prefix", "~AS path", "~Refused"]);
        let (prefix, path) = ("203.0.113.0/24".to_owned(), "64500 ".repeat(7).trim().to_owned());
        rows.push([prefix.clone(), "64500".to_owned(), "-".to_owned()]);
        rows.push([prefix, path, "too_long".to_owned()]);
        assert_eq!(
            rows.render(Output::Terminal(50)),
            "Prefix          AS path\n\
             203.0.113.0/24  64500\n\
             203.0.113.0/24\n\
             \x20   AS path: 64500 64500 64500 64500 64500 64500\n\
             \x20   64500; Refused: too_long\n"
        );
    }

    #[test]
    fn text_before_the_one_that_is_short_of_room_is_whole() {
        let mut rows = Rows::new(&["Time", "~Prefixes", "~What"]);
        let prefixes = "198.51.100.0/24 and 1,000 more".to_owned();
        rows.push(["10:00:00".to_owned(), prefixes, "ORIGIN: the value is not known".to_owned()]);
        assert_eq!(
            rows.render(Output::Terminal(60)),
            "Time      Prefixes                        What\n\
             10:00:00  198.51.100.0/24 and 1,000 more\n\
             \x20   What: ORIGIN: the value is not known\n"
        );
    }

    #[test]
    fn columns_of_little_use_go_before_a_line_is_too_long() {
        let mut rows = Rows::new(&["Neighbor", "?Type", "?>MsgRcvd", ">Accepted"]);
        let row = ["192.0.2.1", "ibgp", "1,200", "1,000"].map(str::to_owned);
        rows.push(row.clone());
        assert_eq!(
            rows.take_page(Output::Terminal(30)),
            "Neighbor   MsgRcvd  Accepted\n192.0.2.1    1,200     1,000\n"
        );
        rows.push(row);
        assert_eq!(rows.take_page(Output::Terminal(30)), "192.0.2.1    1,200     1,000\n");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 50..140 {
            for line in history().render(Output::Terminal(width)).lines() {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }
}
