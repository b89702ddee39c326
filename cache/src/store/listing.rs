//! What is stored, object by object.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Store;
use super::key::ObjectKey;
use super::object::Object;
use super::status::ObjectSummary;

/// Which objects to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only objects whose `host/path?query` begins so.
    pub prefix: String,
    /// In which order.
    pub order: ListOrder,
    /// Only what comes after this place.
    pub after: Option<Cursor>,
    /// The most objects of the page.
    pub limit: usize,
}

/// The order of a listing. What is equal in it comes in the order of the URLs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListOrder {
    /// By URL.
    #[default]
    Url,
    /// The longest first.
    Size,
    /// Those with the most bytes on drives first.
    Stored,
    /// Those that the origin has sent or confirmed last first.
    Recent,
}

impl ListOrder {
    /// What counts before the URL, the largest first.
    fn rank(self, object: &Object) -> u64 {
        match self {
            Self::Url => 0,
            Self::Size => object.length(),
            Self::Stored => object.stored_bytes(),
            Self::Recent => object.stored_at(),
        }
    }
}

/// A place in a listing: where a page ended. As text it is what the next page is asked for with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    rank: Reverse<u64>,
    url: String,
}

/// No place that a page has ended at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("`after` is no place in a listing: use the `next` that an earlier page gave")]
pub struct NoCursor;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.rank.0, self.url)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (rank, url) = text.split_once(' ').ok_or(NoCursor)?;
        let rank = Reverse(rank.parse().map_err(|_| NoCursor)?);
        Ok(Self { rank, url: url.to_owned() })
    }
}

/// A part of a listing.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectPage {
    /// The objects.
    pub objects: Vec<ObjectSummary>,
    /// Ask with this as `after` for the next page; `None` on the last page.
    pub next: Option<String>,
}

/// What one drive has of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveShare {
    /// The drive's folder.
    pub path: PathBuf,
    /// Blocks.
    pub blocks: u32,
    /// Bytes in them.
    pub bytes: u64,
}

impl Store {
    /// A page of the objects. Looks at every object; holds no more than `limit` of them. An object
    /// whose rank changes between two pages may come twice, or not at all.
    #[must_use]
    pub fn list(&self, query: &ListQuery) -> ObjectPage {
        let mut first: BinaryHeap<Place> = BinaryHeap::new();
        let mut more = false;
        self.shared.catalog.for_each(|object| {
            let url = object.key().as_str();
            if !url.starts_with(&query.prefix) {
                return;
            }
            let rank = Reverse(query.order.rank(object));
            let is_after = |after: &Cursor| (rank, url) > (after.rank, &after.url);
            if !query.after.as_ref().is_none_or(is_after) {
                return;
            }
            first.push(Place { rank, object: Arc::clone(object) });
            if first.len() > query.limit {
                first.pop();
                more = true;
            }
        });
        let places = first.into_sorted_vec();
        let next = places
            .last()
            .filter(|_| more)
            .map(|last| Cursor { rank: last.rank, url: last.object.key().to_string() }.to_string());
        let objects = places.iter().map(|place| place.object.as_ref().into()).collect();
        ObjectPage { objects, next }
    }

    /// How many objects are pinned.
    #[must_use]
    pub fn pin_count(&self) -> u64 {
        self.shared.ledger.pins().len() as u64
    }

    /// The current generation of `key`, for who only looks: it does not count as asked for.
    #[must_use]
    pub fn peek(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.shared.catalog.get(key)
    }

    /// What lies where of `object`, on drives that are up.
    #[must_use]
    pub fn shares(&self, object: &Object) -> Vec<DriveShare> {
        let mut shares: Vec<Option<DriveShare>> = vec![None; self.bays.len()];
        for index in 0..object.blocks() {
            let Some(location) = object.block_table().get(index) else { continue };
            let Some(bay) = self.bays.get(location.drive()).map(ArcSwap::load) else { continue };
            let Some(drive) = bay.up() else { continue };
            if !drive.states.is_live(location.slot()) {
                continue;
            }
            let Some(share) = shares.get_mut(location.drive()) else { continue };
            let path = || drive.disk.path().to_owned();
            let share =
                share.get_or_insert_with(|| DriveShare { path: path(), blocks: 0, bytes: 0 });
            share.blocks += 1;
            share.bytes += u64::from(object.block_length(index).unwrap_or(0));
        }
        shares.into_iter().flatten().collect()
    }
}

/// An object in a heap, where rank and key decide.
struct Place {
    rank: Reverse<u64>,
    object: Arc<Object>,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.rank, self.object.key().as_str()).cmp(&(other.rank, other.object.key().as_str()))
    }
}
