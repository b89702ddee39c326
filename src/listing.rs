//! A list that may have a million rows: printed page by page as a table, as CSV or as JSON. Nothing is
//! collected.

use std::marker::PhantomData;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::table::Rows;
use crate::terminal::Output;
use crate::text::{self, Printed};

/// What a list is of.
pub(crate) trait Row: DeserializeOwned {
    /// The name of the list in JSON, and of several of them in words.
    const NAME: &'static str;
    /// As [`Rows::new`] takes them.
    const HEADINGS: &'static [&'static str];
    /// The first line of the CSV.
    const CSV_HEADING: &'static str;
    /// What the signs in the table mean.
    const LEGEND: &'static str;
    /// What is said if there are none.
    const NONE: &'static str;

    /// Its cells in the table.
    fn cells(self, output: Output) -> Vec<String>;
    /// Its fields in the CSV.
    fn csv(self) -> Vec<String>;
}

/// A page as the admin API gives it.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(alias = "routes", alias = "objects")]
    rows: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// What page to ask for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    /// How many rows at most.
    pub(crate) limit: Option<u32>,
    /// Those after this one.
    pub(crate) after: Option<String>,
}

/// A list that is being printed.
#[derive(Debug)]
pub(crate) struct Listing<R> {
    form: Form,
    /// Whether there was a page.
    begun: bool,
    row: PhantomData<R>,
}

#[derive(Debug)]
enum Form {
    /// One document, a line each row.
    Json,
    Csv,
    Table {
        rows: Box<Rows>,
        output: Output,
    },
}

impl<R: Row> Listing<R> {
    /// In the form that is asked for.
    pub(crate) fn new(json: bool, csv: bool) -> Self {
        match (json, csv) {
            (true, _) => Self::of(Form::Json),
            (false, true) => Self::of(Form::Csv),
            (false, false) => Self::table(Output::standard()),
        }
    }

    /// In the form that people read.
    pub(crate) fn table(output: Output) -> Self {
        Self::of(Form::Table { rows: Box::new(Rows::new(R::HEADINGS)), output })
    }

    fn of(form: Form) -> Self {
        Self { form, begun: false, row: PhantomData }
    }

    /// Prints up to `limit` rows, page after page as `fetch` gives them. Gives how many there were; without
    /// a limit that is all of them: a list is never cut in silence.
    pub(crate) async fn print_all(
        mut self,
        limit: Option<u32>,
        mut fetch: impl AsyncFnMut(Cursor) -> Result<Page>,
    ) -> Result<u64> {
        let mut cursor = Cursor { limit, after: None };
        let mut shown = 0;
        loop {
            let page = fetch(cursor.clone()).await?;
            shown += page.rows.len() as u64;
            cursor.after = page.next;
            if text::print_page(&self.page(&page.rows)?)? == Printed::NobodyReads {
                return Ok(shown);
            }
            let left = limit.map(|limit| u64::from(limit).saturating_sub(shown));
            if left == Some(0) || cursor.after.is_none() {
                break;
            }
            cursor.limit = left.and_then(|left| u32::try_from(left).ok());
        }
        text::print(&self.end(shown > 0, cursor.after.as_deref())?)?;
        if cursor.after.is_some() && !matches!(self.form, Form::Json) {
            eprintln!("There are more {} than --limit {shown}.", R::NAME);
        }
        Ok(shown)
    }

    /// The text of a page.
    pub(crate) fn page(&mut self, page: &[Box<RawValue>]) -> Result<String> {
        let mut out = String::new();
        let first = !self.begun;
        self.begun |= !page.is_empty();
        match &mut self.form {
            Form::Json => {
                for (i, row) in page.iter().enumerate() {
                    if first && i == 0 {
                        out.push_str(&format!("{{\"{}\": [\n", R::NAME));
                    } else {
                        out.push_str(",\n");
                    }
                    out.push_str(&text::printable_json(row.get()));
                }
            }
            Form::Csv => {
                if first && !page.is_empty() {
                    out.push_str(R::CSV_HEADING);
                }
                for row in page {
                    out.push_str(&text::csv_line(&serde_json::from_str::<R>(row.get())?.csv()));
                }
            }
            Form::Table { rows, output } => {
                for row in page {
                    rows.push(serde_json::from_str::<R>(row.get())?.cells(*output));
                }
                if !page.is_empty() {
                    out = rows.take_page(*output);
                }
            }
        }
        Ok(out)
    }

    /// What comes after the last page. `next` is where the list would go on, if it is cut: JSON has it
    /// as the admin API does.
    pub(crate) fn end(&self, any: bool, next: Option<&str>) -> Result<String> {
        Ok(match &self.form {
            Form::Json => {
                let rows =
                    if self.begun { "\n]".to_owned() } else { format!("{{\"{}\": []", R::NAME) };
                let next = next.map(serde_json::to_string).transpose()?;
                let next = next.map(|next| format!(", \"next\": {}", text::printable_json(&next)));
                format!("{rows}{}}}\n", next.unwrap_or_default())
            }
            Form::Csv if self.begun => String::new(),
            Form::Csv => R::CSV_HEADING.to_owned(),
            Form::Table { .. } if any => R::LEGEND.to_owned(),
            Form::Table { .. } => R::NONE.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Deserialize)]
    struct Fruit {
        name: String,
        weight: u64,
    }

    impl Row for Fruit {
        const NAME: &'static str = "routes";
        const HEADINGS: &'static [&'static str] = &["Name", ">Weight"];
        const CSV_HEADING: &'static str = "name,weight\n";
        const LEGEND: &'static str = "\nin grams\n";
        const NONE: &'static str = "none\n";

        fn cells(self, _: Output) -> Vec<String> {
            vec![self.name, text::count(self.weight)]
        }

        fn csv(self) -> Vec<String> {
            vec![self.name, self.weight.to_string()]
        }
    }

    fn raw(names: &[&str]) -> Vec<Box<RawValue>> {
        let raw = |name: &&str| {
            serde_json::value::to_raw_value(&json!({ "name": name, "weight": 1200 })).unwrap()
        };
        names.iter().map(raw).collect()
    }

    fn printed(mut listing: Listing<Fruit>, pages: &[&[&str]]) -> String {
        let any = pages.iter().any(|page| !page.is_empty());
        let pages: String = pages.iter().map(|page| listing.page(&raw(page)).unwrap()).collect();
        pages + &listing.end(any, None).unwrap()
    }

    #[test]
    fn json_says_where_a_list_that_is_cut_goes_on() {
        for pages in [&[][..], &["apple"]] {
            let mut listing = Listing::<Fruit>::new(true, false);
            let text = listing.page(&raw(pages)).unwrap();
            let text = text + &listing.end(!pages.is_empty(), Some("after \"this\"")).unwrap();
            let json: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["routes"].as_array().unwrap().len(), pages.len());
            assert_eq!(json["next"], "after \"this\"");
        }
    }

    #[test]
    fn pages_are_one_document() {
        let pages: [&[&str]; 4] = [&[], &["apple", "pear, ripe"], &[], &["plum"]];
        let json: Value =
            serde_json::from_str(&printed(Listing::new(true, false), &pages)).unwrap();
        assert_eq!(json["routes"].as_array().unwrap().len(), 3);
        assert_eq!(json["routes"][2], json!({ "name": "plum", "weight": 1200 }));
        assert_eq!(
            printed(Listing::new(false, true), &pages),
            "name,weight\napple,1200\n\"pear, ripe\",1200\nplum,1200\n"
        );
        let none = [&[][..], &[]];
        let json: Value = serde_json::from_str(&printed(Listing::new(true, false), &none)).unwrap();
        assert_eq!(json, json!({ "routes": [] }));
        assert_eq!(printed(Listing::new(false, true), &none), "name,weight\n");
    }

    #[test]
    fn a_table_of_pages_has_one_heading_and_keeps_its_columns() {
        let pages: [&[&str]; 2] = [&["pomegranate"], &["fig"]];
        assert_eq!(
            printed(Listing::table(Output::Pipe), &pages),
            "Name         Weight\npomegranate   1,200\nfig           1,200\n\nin grams\n"
        );
        assert_eq!(printed(Listing::table(Output::Pipe), &[&[]]), "none\n");
    }

    /// The rows of a node that has `all` of them and gives two a page, in `Listing::print_all`.
    async fn asked(all: u32, limit: Option<u32>) -> (u64, Vec<Option<u32>>) {
        let mut asked = Vec::new();
        let fetch = async |cursor: Cursor| {
            asked.push(cursor.limit);
            let from: u32 = cursor.after.map_or(0, |after| after.parse().unwrap());
            let to = all.min(from + cursor.limit.unwrap_or(2).min(2));
            let names: Vec<String> = (from..to).map(|n| n.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Ok(Page { rows: raw(&names), next: (to < all).then(|| to.to_string()) })
        };
        let shown = Listing::<Fruit>::table(Output::Pipe).print_all(limit, fetch).await.unwrap();
        (shown, asked)
    }

    #[tokio::test]
    async fn every_page_is_fetched_up_to_the_limit() {
        assert_eq!(asked(5, None).await, (5, vec![None, None, None]));
        assert_eq!(asked(5, Some(3)).await, (3, vec![Some(3), Some(1)]));
        assert_eq!(asked(1, Some(9)).await, (1, vec![Some(9)]));
        assert_eq!(asked(0, None).await, (0, vec![None]));
    }
}
