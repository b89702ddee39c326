//! `mcc cache …`: one file a question.

mod bars;
mod ls;
mod pins;
mod prefill;
mod purge;
mod show;
mod status;
mod url_list;
mod verify;

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::{Verdict, WrongUse, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{CacheCommand, Common};
use crate::text;

pub(super) async fn run(common: &Common, command: &CacheCommand) -> Result<Verdict> {
    let client = AdminClient::new(common)?;
    match command {
        CacheCommand::Status => status::run(common, &client).await,
        CacheCommand::Ls(arguments) => ls::run(common, &client, arguments).await,
        CacheCommand::Show { url } => show::run(common, &client, url).await,
        CacheCommand::Purge(arguments) => purge::run(common, &client, arguments).await,
        CacheCommand::Pin { url } => pins::pin(common, &client, url).await,
        CacheCommand::Unpin { url } => pins::unpin(common, &client, url).await,
        CacheCommand::Pins => pins::list(common, &client).await,
        CacheCommand::Prefill(arguments) => prefill::run(common, &client, arguments).await,
        CacheCommand::Verify(arguments) => verify::run(common, &client, arguments).await,
        CacheCommand::Online { drive } => online(common, &client, drive).await,
    }
}

async fn online(common: &Common, client: &AdminClient, drive: &Path) -> Result<Verdict> {
    let answer: serde_json::Value =
        client.tell("/v1/cache/online", &json!({ "drive": drive })).await?;
    if common.json {
        print_json(&answer)?;
    } else {
        let drive = drive.display().to_string();
        let drive = text::printable(&drive);
        text::print(&format!(
            "{drive} is being opened: `mcc cache status` shows what becomes of it.\n"
        ))?;
    }
    Ok(Verdict::Good)
}

/// Seconds since 1970 as `2026-11-23 00:30:01Z`.
fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "-".to_owned(), text::time)
}

/// Seconds since 1970, now.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}
