//! The routing information base: what each neighbor announced, and the footprint made from it.
//!
//! Without I/O and with one owner. Events of the sessions come in with [`Rib::handle`]; what the
//! operator should know comes back as [`Notice`]s; the footprint goes out to subscribers as a
//! snapshot and then changes. Work that grows with the table (removing a lost neighbor's routes or a
//! flood, listing, a snapshot) is done in slices, so that no session waits for it; where that cannot be
//! it stands beside it. `pauses.rs` measures how long the longest takes.
//!
//! What events do stands in [`intake`] and [`sessions`], what there is to ask in [`query`],
//! [`table_page`] and [`summary`].

mod adj_rib_in;
mod attributes;
mod best_route;
mod column;
mod export;
mod footprint;
mod generation;
mod intake;
mod ipv4_prefixes;
mod known_good;
pub mod last_good;
mod left_out;
mod long_lived;
mod membership;
mod prefix_limit;
mod prefix_set;
mod prefix_table;
mod query;
mod route;
mod route_conditions;
mod sessions;
mod set_hash;
mod summary;
mod table_page;
mod totals;
mod unsaid;
mod walk;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::Serialize;

use crate::policy::AcceptPolicy;
use crate::session::Retention;
use crate::wire::{RouteRefresh, Update};
use adj_rib_in::AdjRibIn;
use attributes::AttributeTable;
use export::Export;
pub use export::{DampedPrefix, ExportRules, Held, SubscriberId, Verdict as ExportVerdict};
use footprint::{Entry, Footprint};
use known_good::KnownGood;
use prefix_limit::LimitState;
pub use prefix_limit::PrefixLimit;
use prefix_table::PrefixTable;
pub use query::{
    FootprintPage, FootprintPrefix, FootprintQuery, RouteCount, RouteCursor, RouteCursorError,
    RouteFilter, RoutePage, RouteQuery, RouteView,
};
use route::Seconds;
pub use route_conditions::{ReasonError, RouteConditions, Verdict};
pub use summary::{NeighborSummary, RefusedEver, RibSummary};
pub use table_page::{TablePage, TablePrefix, TableRoute};
pub use totals::{FamilyTotals, Totals};
pub use unsaid::Departure;
use unsaid::Unsaid;
use walk::Position;

/// How many prefixes one slice of a sweep looks at.
const SWEEP_SLICE: usize = 1024;
/// How many prefixes a subscriber reads at once.
const SNAPSHOT_PAGE: usize = 16_384;

/// A neighbor, by its place in the list that the RIB was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeighborId(pub u16);

/// What the RIB has to know of a neighbor.
#[derive(Debug, Clone)]
pub struct NeighborRules {
    /// Its address, which names it in lists.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// How many routes it may announce, counted before `policy`.
    pub prefix_limit: PrefixLimit,
    /// How long its routes stay after the session is lost, if graceful restart does not say longer.
    pub stale_time: Duration,
    /// Which of its routes become footprint.
    pub policy: AcceptPolicy,
}

/// What a session tells the RIB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// It is established.
    Up,
    /// Routes.
    Update(Update),
    /// A marker of an enhanced route refresh (RFC 7313).
    RefreshMarker(RouteRefresh),
    /// It has ended.
    Down(Retention),
}

/// Something that a session must do or the operator should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// 80 % of `max_prefixes` are reached. Once a session.
    NearLimit {
        /// Routes of the neighbor now.
        received: u32,
        /// Its `max_prefixes`.
        limit: u32,
    },
    /// There are more than `max_prefixes`. The session must end; its routes are ignored until then.
    OverLimit {
        /// Its `max_prefixes`.
        limit: u32,
    },
    /// `discard-new`: there are `max_prefixes`, and routes of this UPDATE were not taken.
    Discarding {
        /// Its `max_prefixes`.
        limit: u32,
        /// How many of those that it announces are left out.
        discarded: u32,
        /// Before this UPDATE there were none.
        first: bool,
    },
    /// There is room again for what was not taken: the neighbor should be asked for its table.
    RoomAgain,
}

/// What the control plane ranks nodes by, per prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct PrefixAttributes {
    /// Manual wins if both name the prefix.
    pub source: PrefixSource,
    /// Length of the best route's AS path (RFC 4271 §9.1.2.2); 0 for a manual prefix.
    pub as_path_length: u32,
    /// MULTI_EXIT_DISC of the best route.
    pub med: Option<u32>,
    /// The AS that set the MED: first of the path, else the neighbor's.
    pub neighbor_asn: Option<u32>,
}

/// Where a prefix of the footprint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixSource {
    /// A neighbor announced it.
    Bgp,
    /// It is in the configuration.
    Manual,
}

/// A part of the footprint, as subscribers are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotPage {
    /// In order of address, then length.
    pub prefixes: Vec<(IpNet, PrefixAttributes)>,
    /// Where the next page begins: after this prefix. `None` on the last.
    pub next: Option<IpNet>,
}

#[derive(Debug)]
struct Neighbor {
    rules: NeighborRules,
    table: AdjRibIn,
    limit: LimitState,
    /// Kept with `keep-last-good` only.
    known_good: KnownGood,
    /// Its routes are those of the last run, and its session has not come up since: until when they
    /// stay at most.
    restored_until: Option<Instant>,
    refused_ever: RefusedEver,
}

/// All tables. See the module's documentation.
#[derive(Debug)]
pub struct Rib {
    began: Instant,
    prefixes: PrefixTable,
    neighbors: Vec<Neighbor>,
    attributes: AttributeTable,
    footprint: Footprint,
    export: Export,
    unsaid: Unsaid,
}

impl Rib {
    /// A RIB with these neighbors (at most 65,536) and with the prefixes entered by hand.
    #[must_use]
    pub fn new(
        neighbors: Vec<NeighborRules>,
        manual: &[IpNet],
        export: ExportRules,
        now: Instant,
    ) -> Self {
        let mut prefixes = PrefixTable::default();
        let mut footprint = Footprint::new();
        for prefix in manual.iter().map(IpNet::trunc) {
            let id = prefixes.number(prefix);
            footprint.set(&prefix, id, Entry::new(true, None), now);
        }
        footprint.count_addresses(&prefixes);
        Self {
            began: now,
            prefixes,
            neighbors: neighbors.into_iter().map(Neighbor::new).collect(),
            attributes: AttributeTable::default(),
            footprint,
            export: Export::new(export),
            unsaid: Unsaid::default(),
        }
    }

    /// One neighbor more, after those that are there. `None`: there are 65,536 already.
    pub fn add_neighbor(&mut self, rules: NeighborRules) -> Option<NeighborId> {
        let id = NeighborId(u16::try_from(self.neighbors.len()).ok()?);
        self.neighbors.push(Neighbor::new(rules));
        Some(id)
    }

    /// When [`Rib::handle_timeout`] is to be called next; a time in the past means at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let has_work = |table: &AdjRibIn| table.any_doomed() || table.aging.is_some();
        if self.neighbors.iter().any(|neighbor| has_work(&neighbor.table)) {
            return Some(self.began);
        }
        let expiries = self.neighbors.iter().filter_map(|neighbor| neighbor.table.next_expiry());
        let others = [self.footprint.count_due(&self.prefixes), self.export.next_deadline()];
        expiries.chain(others.into_iter().flatten()).min()
    }

    /// Dooms the stale routes that have waited long enough, looks at one slice of those that have
    /// become long-lived, removes one slice of the doomed, counts the addresses of the footprint, and
    /// decides whether it may be told.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ExportVerdict> {
        for id in self.ids() {
            if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
                let mut has_aged = false;
                for generations in neighbor.table.families_mut() {
                    has_aged |= generations.begin_long_lived(now);
                    generations.expire(now);
                }
                if has_aged {
                    neighbor.table.aging = Some(Position::Start);
                }
            }
            self.age(id, SWEEP_SLICE, now);
            self.sweep(id, SWEEP_SLICE, now);
        }
        if self.footprint.count_due(&self.prefixes).is_some_and(|due| due <= now) {
            self.footprint.count_addresses(&self.prefixes);
        }
        let (footprint, prefixes) = (&mut self.footprint, &self.prefixes);
        self.export.handle_timeout(|| footprint.totals(prefixes), now)
    }

    /// An operator says that the footprint is right as it is; whether anything was held.
    pub fn approve(&mut self, now: Instant) -> bool {
        let totals = self.footprint.totals(&self.prefixes);
        self.export.approve(totals, now)
    }

    /// The prefixes that subscribers are not told of because they flap.
    #[must_use]
    pub fn damped(&self, now: Instant) -> Vec<DampedPrefix> {
        self.export.damped_prefixes(now)
    }

    /// Counts the addresses of the footprint now, for a summary that has to be exact.
    pub fn count_addresses(&mut self) {
        self.footprint.count_addresses(&self.prefixes);
    }

    /// Whether subscribers may be told of the footprint now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.export.is_open()
    }

    /// A new subscriber, who then has to read the footprint [page by page](Rib::snapshot_page). It is
    /// there as long as someone holds the id.
    pub fn subscribe(&mut self) -> SubscriberId {
        self.export.subscribe()
    }

    /// The page of the footprint after `after`, as it is now; what changes in a page that was read is
    /// among the [changes](Rib::take_changes). Not to be asked while the export is
    /// [held](Rib::is_open).
    #[must_use]
    pub fn snapshot_page(&self, after: Option<IpNet>) -> SnapshotPage {
        let mut page = SnapshotPage::default();
        let entries = self.footprint.iter_after(&self.prefixes, after);
        for (prefix, _, entry) in entries {
            page.prefixes.extend(self.describe(entry).map(|attributes| (prefix, attributes)));
            if page.prefixes.len() >= SNAPSHOT_PAGE {
                page.next = Some(prefix);
                break;
            }
        }
        page
    }

    /// Up to `max` prefixes that have changed since the subscriber asked last, as they are now;
    /// `None` for one that is gone.
    pub fn take_changes(
        &mut self,
        id: &SubscriberId,
        max: usize,
    ) -> Vec<(IpNet, Option<PrefixAttributes>)> {
        let changed = self.export.take(id, max);
        let now = |prefix: IpNet| {
            let entry = self.footprint.get(self.prefixes.get(&prefix)?)?;
            self.describe(entry)
        };
        changed.into_iter().map(|prefix| (prefix, now(prefix))).collect()
    }

    fn ids(&self) -> impl Iterator<Item = NeighborId> + use<> {
        let count = u16::try_from(self.neighbors.len()).unwrap_or(u16::MAX);
        (0..count).map(NeighborId)
    }
}

impl Neighbor {
    fn new(rules: NeighborRules) -> Self {
        Self {
            rules,
            table: AdjRibIn::new(),
            limit: LimitState::default(),
            known_good: KnownGood::new(),
            restored_until: None,
            refused_ever: RefusedEver::default(),
        }
    }
}

#[cfg(test)]
mod pauses;
#[cfg(test)]
mod tests;
