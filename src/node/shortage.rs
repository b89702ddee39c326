//! What clients found used up: connections, or files to open for them. Told for a while after it has happened, since
//! operators look now and then.

use std::time::{Duration, UNIX_EPOCH};

use mcc_cache::{CacheStatus, ShortageSnapshot};

use super::status::{Part, PartState, seconds_since};
use crate::text;

/// How long it is told, in seconds.
const TOLD: u64 = 600;

/// Something that was used up, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) what: String,
    pub(super) advice: String,
    since: u64,
}

/// What was used up lately. `wanted` is the limit of connections in the configuration, `files` that of open files.
pub(super) fn shortages(cache: &CacheStatus, wanted: u64, files: Option<u64>) -> Vec<Shortage> {
    let files =
        files.map_or_else(|| "all".to_owned(), |files| format!("all {}", text::count(files)));
    let raise_files = "raise `LimitNOFILE=` of the service (or `ulimit -Hn`) and restart the node";
    let connections = lately(cache.refused_connections).map(|since| {
        let limit = cache.connection_limit;
        let (because, advice) = if limit < wanted {
            (" (the open files leave no more)", raise_files.to_owned())
        } else {
            let advice = "raise `connections` in `[cache.limits]` and restart the node, or add a node";
            ("", advice.to_owned())
        };
        let what = format!(
            "the limit of {} client connections{because} was reached {} ago: {} were refused since the start",
            text::count(limit),
            text::duration(since),
            text::count(cache.refused_connections.times)
        );
        Shortage { what, advice, since }
    });
    let files = lately(cache.files_used_up).map(|since| Shortage {
        what: format!(
            "{files} open files were in use {} ago: clients had to wait {} times since the start",
            text::duration(since),
            text::count(cache.files_used_up.times)
        ),
        advice: raise_files.to_owned(),
        since,
    });
    connections.into_iter().chain(files).collect()
}

impl From<Shortage> for Part {
    fn from(Shortage { what, advice, since }: Shortage) -> Self {
        Self {
            name: "clients".to_owned(),
            state: PartState::Warning,
            since_seconds: Some(since),
            detail: what,
            advice: Some(advice),
        }
    }
}

/// How many seconds ago it was last used up, if that is not long ago.
fn lately(shortage: ShortageSnapshot) -> Option<u64> {
    let since = seconds_since(UNIX_EPOCH + Duration::from_secs(shortage.last?));
    (since < TOLD).then_some(since)
}
