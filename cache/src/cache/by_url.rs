//! What operators ask and do by URL: list, look closely, prefill.

use std::sync::Arc;

use http::uri::PathAndQuery;
use mcc_config::HostName;
use serde::Serialize;

use super::{Cache, PurgeError};
use crate::fill::{FillRate, PrefillError, PrefillProgress, Prefilled};
use crate::request::Target;
use crate::store::{DriveShare, ListQuery, ObjectKey, ObjectPage, ObjectSummary};

/// Everything about one stored object.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectDetail {
    /// What a listing says of it.
    #[serde(flatten)]
    pub summary: ObjectSummary,
    /// The entry of the allow-list that it falls under.
    pub origin: String,
    /// How many blocks of 1 MiB its content has.
    pub blocks: u32,
    /// How many of them lie on drives that are up.
    pub stored_blocks: u32,
    /// Where they lie: only drives that have any.
    pub drives: Vec<DriveShare>,
    /// The header fields that are sent with it, in the origin's order. What is no text is shown with escapes.
    pub headers: Vec<(String, String)>,
    /// Whether something of it is being fetched now, or waits for a drive to write it.
    pub in_flight: bool,
}

impl Cache {
    /// A page of what is stored. The prefix may be written with a scheme and with an alias of the
    /// host. Looks at every object: not for a thread that others wait for.
    #[must_use]
    pub fn list(&self, query: &ListQuery) -> ObjectPage {
        let prefix = self.canonical_prefix(&query.prefix);
        self.server.store.list(&ListQuery { prefix, ..query.clone() })
    }

    /// What is known of the object at `url`; `None`: it is not stored.
    ///
    /// # Errors
    /// [`PurgeError`]: it cannot name anything that is stored.
    pub fn object(&self, url: &str) -> Result<Option<ObjectDetail>, PurgeError> {
        let (target, key) = self.locate(url)?;
        let store = &self.server.store;
        let Some(object) = store.peek(&key) else { return Ok(None) };
        let drives = store.shares(&object);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let meta = object.meta();
        Ok(Some(ObjectDetail {
            summary: object.as_ref().into(),
            origin: target.origin.name().to_owned(),
            blocks: object.blocks(),
            stored_blocks: drives.iter().map(|drive| drive.blocks).sum(),
            drives,
            headers: meta
                .headers
                .iter()
                .map(|(name, value)| {
                    let value =
                        value.to_str().map_or_else(|_| text(value.as_bytes()), str::to_owned);
                    (name.to_string(), value)
                })
                .collect(),
            in_flight: self.fills.is_in_flight(&key),
        }))
    }

    /// Has every byte of the object at `url` stored: fetches what is missing, no faster than `rate`.
    /// Dropped, it stops fetching. What was stored may be lost with the power until
    /// [`Cache::flush`].
    ///
    /// # Errors
    /// The outer one: `url` cannot name anything that is stored here. The inner one: why the object is not
    /// stored whole.
    pub async fn prefill(
        &self,
        url: &str,
        rate: &FillRate,
        progress: &PrefillProgress,
    ) -> Result<Result<Prefilled, PrefillError>, PurgeError> {
        let (target, key) = self.locate(url)?;
        Ok(self.fills.prefill(&target, &key, rate, progress).await)
    }

    /// Waits until all that was stored and purged so far is on the drives, or has failed to get
    /// there; at most a minute. Blocks the thread. True when it is there: it outlives a crash.
    pub fn flush(&self) -> bool {
        self.server.store.flush()
    }

    /// What to ask the origin for `url`, and the name that it is stored under.
    pub(super) fn locate(&self, url: &str) -> Result<(Target, ObjectKey), PurgeError> {
        let bad = || PurgeError::Url(url.to_owned());
        let bare = without_scheme(url);
        let (host, target) = bare.split_once('/').ok_or_else(bad)?;
        let target = target.split_once('#').map_or(target, |(target, _)| target);
        let host: HostName = host.parse().map_err(|_| bad())?;
        let path_and_query: PathAndQuery = format!("/{target}").parse().map_err(|_| bad())?;
        let unknown = || PurgeError::Origin(host.as_str().to_owned());
        let origin = Arc::clone(self.server.origins.find(&host).ok_or_else(unknown)?);
        let key = origin.key(&host, path_and_query.path(), path_and_query.query());
        Ok((Target { origin, host, path_and_query }, key))
    }

    /// `prefix` as the keys of objects begin.
    fn canonical_prefix(&self, prefix: &str) -> String {
        let bare = without_scheme(prefix);
        let canonical = bare.split_once('/').and_then(|(host, rest)| {
            let host: HostName = host.parse().ok()?;
            let origin = self.server.origins.find(&host)?;
            Some(format!("{}/{rest}", origin.key(&host, "/", None).host()))
        });
        canonical.unwrap_or_else(|| bare.to_owned())
    }
}

fn without_scheme(url: &str) -> &str {
    let bare = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    bare.unwrap_or(url)
}
