//! `mcc list`.

use anyhow::Result;

use super::{Verdict, print_json};
use crate::admin_client::AdminClient;
use crate::cli::Common;
use crate::node::status::{PartState, Status};
use crate::table::Rows;
use crate::terminal::Output;
use crate::text;

pub(super) async fn run(common: &Common) -> Result<Verdict> {
    let status: Status = AdminClient::new(common)?.get("/v1/status").await?;
    if common.json {
        print_json(&status.parts)?;
    } else {
        let mut rows = Rows::new(&["Part", "State", ">Since", "~Detail"]);
        for part in &status.parts {
            rows.push([
                part.name.clone(),
                part.state.word().to_owned(),
                part.since_seconds.map_or_else(|| "-".to_owned(), text::duration),
                part.detail.clone(),
            ]);
        }
        text::print(&rows.render(Output::standard()))?;
    }
    Ok(Verdict::of(status.parts.iter().all(|part| part.state != PartState::Down)))
}
