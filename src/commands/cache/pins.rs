//! `mcc cache pin`, `unpin` and `pins`: what is kept whatever else is asked for.

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::table::Rows;
use crate::terminal::Output;
use crate::text;

#[derive(Debug, Deserialize)]
struct Pin {
    url: String,
    /// `None`: nothing of it is stored yet.
    object: Option<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    length: u64,
    stored: u64,
}

pub(super) async fn pin(common: &Common, client: &AdminClient, url: &str) -> Result<Verdict> {
    let answer: Value = client.tell("/v1/cache/pin", &json!({ "url": url })).await?;
    if common.json {
        print_json(&answer)?;
    } else {
        text::print(&pinned(&Pin::deserialize(answer)?))?;
    }
    Ok(Verdict::Good)
}

fn pinned(pin: &Pin) -> String {
    let url = text::printable(&pin.url);
    match &pin.object {
        Some(object) if object.stored == object.length => {
            format!("{url} is pinned: all {} of it stay.\n", text::bytes(object.length))
        }
        Some(object) => format!(
            "{url} is pinned: {} of {} are stored, and stay.\n`mcc cache prefill` fetches the rest.\n",
            text::bytes(object.stored),
            text::bytes(object.length),
        ),
        None => format!(
            "{url} is pinned, and stays once it is stored. Nothing of it is yet: `mcc cache prefill` \
             fetches it.\n"
        ),
    }
}

pub(super) async fn unpin(common: &Common, client: &AdminClient, url: &str) -> Result<Verdict> {
    let answer: Value = client.tell("/v1/cache/unpin", &json!({ "url": url })).await?;
    let was_pinned = answer.get("was_pinned") == Some(&Value::Bool(true));
    if common.json {
        print_json(&answer)?;
    } else if was_pinned {
        text::print(&format!("{} is as any other now.\n", text::printable(url)))?;
    } else {
        let url = text::printable(url);
        text::print(&format!("{url} was not pinned: `mcc cache pins` shows what is.\n"))?;
    }
    Ok(Verdict::of(was_pinned))
}

pub(super) async fn list(common: &Common, client: &AdminClient) -> Result<Verdict> {
    let answer: Value = client.get("/v1/cache/pins").await?;
    if common.json {
        print_json(&answer)?;
        return Ok(Verdict::Good);
    }
    let pins = answer.get("pins").cloned().unwrap_or_default();
    let pins = Vec::<Pin>::deserialize(pins)?;
    if pins.is_empty() {
        text::print("Nothing is pinned.\n")?;
        return Ok(Verdict::Good);
    }
    let mut rows = Rows::new(&[">Length", ">Stored", "~URL"]);
    for Pin { url, object } in pins {
        let [length, stored] = match object {
            Some(object) => {
                [text::bytes(object.length), text::percent(object.stored, object.length)]
            }
            None => ["-", "nothing"].map(str::to_owned),
        };
        rows.push([length, stored, url]);
    }
    text::print(&rows.render(Output::standard()))?;
    Ok(Verdict::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_says_what_there_is_to_keep() {
        let pinned = |object| pinned(&Pin { url: "a.example/f".to_owned(), object });
        assert!(pinned(None).contains("Nothing of it is yet: `mcc cache prefill`"));
        let part = pinned(Some(Object { length: 2_000_000, stored: 1_000_000 }));
        assert!(part.contains("1.00 MB of 2.00 MB are stored") && part.contains("prefill"));
        let whole = pinned(Some(Object { length: 2_000_000, stored: 2_000_000 }));
        assert_eq!(whole, "a.example/f is pinned: all 2.00 MB of it stay.\n");
    }
}
