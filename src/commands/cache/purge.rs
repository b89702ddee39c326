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
    if common.json {
        print_json(&answer)?;
    } else {
        text::print(&render(&Purged::deserialize(answer)?))?;
    }
    Ok(Verdict::Good)
}

fn render(purged: &Purged) -> String {
    if purged.objects == 0 {
        return "Nothing of it was stored.\n".to_owned();
    }
    format!(
        "{} gone, {} of that on drives. Neither a restart nor a crash brings it back.\n",
        text::objects(purged.objects),
        text::bytes(purged.bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_went() {
        let render = |objects, bytes| render(&Purged { objects, bytes });
        assert_eq!(render(0, 0), "Nothing of it was stored.\n");
        assert!(render(1, 0).starts_with("1 object gone, 0 B of that on drives."));
        assert!(render(1200, 5_000_000).starts_with("1,200 objects gone, 5.00 MB of that"));
    }
}
