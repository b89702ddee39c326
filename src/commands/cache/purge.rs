//! `mcc cache purge`: stored content goes, at once and for good.

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{CachePurge, Common};
use crate::text;

#[derive(Debug, Deserialize)]
struct Purged {
    objects: u64,
    bytes: u64,
    durable: bool,
}

pub(super) async fn run(
    common: &Common,
    client: &AdminClient,
    arguments: &CachePurge,
) -> Result<Verdict> {
    let CachePurge { url, origin, prefix, all: _ } = arguments;
    let what = match (url, origin, prefix) {
        (Some(url), ..) => json!({ "url": url }),
        (_, Some(host), _) => json!({ "origin": host }),
        (.., Some(prefix)) => json!({ "prefix": prefix }),
        // clap demands one of the four.
        (None, None, None) => json!({ "all": true }),
    };
    let answer: Value = client.tell("/v1/cache/purge", &what).await?;
    let purged = Purged::deserialize(&answer)?;
    if common.json {
        print_json(&answer)?;
    } else {
        text::print(&render(&purged))?;
    }
    Ok(Verdict::of(purged.durable || purged.objects == 0))
}

fn render(purged: &Purged) -> String {
    if purged.objects == 0 {
        return "Nothing of it was stored.\n".to_owned();
    }
    let what = format!(
        "{} gone, {} of that on drives.",
        text::objects(purged.objects),
        text::bytes(purged.bytes)
    );
    if purged.durable {
        return format!("{what} Neither a restart nor a crash brings it back.\n");
    }
    format!(
        "{what} A drive has not written it down yet, so a crash now may bring it back: `mcc cache status` \
         says which,\nthen purge again.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_went() {
        let render = |objects, bytes| render(&Purged { objects, bytes, durable: true });
        assert_eq!(render(0, 0), "Nothing of it was stored.\n");
        assert!(render(1, 0).starts_with("1 object gone, 0 B of that on drives."));
        assert!(render(1200, 5_000_000).starts_with("1,200 objects gone, 5.00 MB of that"));
        let risky = super::render(&Purged { objects: 1, bytes: 1, durable: false });
        assert!(risky.contains("a crash now may bring it back"), "{risky}");
    }
}
