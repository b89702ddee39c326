//! `mcc cache …`: one file a question.

mod bars;
mod ls;
mod prefill;
mod purge;
mod show;
mod status;
mod url_list;

use anyhow::Result;

use super::{Verdict, WrongUse, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{CacheCommand, Common};

pub(super) async fn run(common: &Common, command: &CacheCommand) -> Result<Verdict> {
    let client = AdminClient::new(common)?;
    match command {
        CacheCommand::Status => status::run(common, &client).await,
        CacheCommand::Ls(arguments) => ls::run(common, &client, arguments).await,
        CacheCommand::Show { url } => show::run(common, &client, url).await,
        CacheCommand::Purge(arguments) => purge::run(common, &client, arguments).await,
        CacheCommand::Prefill(arguments) => prefill::run(common, &client, arguments).await,
    }
}

/// Seconds since 1970 as `2026-11-23 00:30:01Z`.
fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "-".to_owned(), crate::text::time)
}

/// Seconds since 1970, now.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}
