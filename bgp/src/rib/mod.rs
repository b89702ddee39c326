//! The routing information base: what each neighbor announced, and the footprint made from it.
//!
//! Without I/O and with one owner. Events of the sessions come in with [`Rib::handle`]; what the
//! operator should know comes back as [`Notice`]s; the footprint goes out to subscribers as a
//! snapshot and then changes. Work that grows with the table (removing a lost neighbor's routes,
//! listing) is done in slices, so that no session waits for it.
//!
//! All counters are kept as routes come and go: a status costs nothing, however large the table.

mod adj_rib_in;
mod attributes;
mod best_route;
mod column;
mod export;
mod footprint;
mod generation;
pub mod last_good;
mod membership;
mod prefix_limit;
mod prefix_table;
mod query;
mod route;
mod route_conditions;
mod set_hash;
mod table_page;
mod walk;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::Serialize;

use crate::policy::AcceptPolicy;
use crate::session::Retention;
use crate::wire::{AttributeSet, Family, Nlri, RouteRefresh, RouteRefreshKind, Update};
use adj_rib_in::{AdjRibIn, Place};
use attributes::AttributeTable;
use export::Export;
pub use export::{DampedPrefix, ExportRules, Held, SubscriberId, Totals, Verdict as ExportVerdict};
use footprint::{Entry, Footprint};
use prefix_limit::LimitState;
pub use prefix_limit::PrefixLimit;
use prefix_table::PrefixTable;
pub use query::{
    FootprintPage, FootprintPrefix, FootprintQuery, RouteCount, RouteCursor, RouteCursorError,
    RouteFilter, RoutePage, RouteQuery, RouteView,
};
use route::{Route, Seconds};
pub use route_conditions::{ReasonError, RouteConditions, Verdict};
use set_hash::SetHash;
pub use table_page::{TablePage, TablePrefix, TableRoute};

/// A neighbor that is back has this long at least to announce its table again.
const SHORTEST_RETURN: Duration = Duration::from_secs(300);
/// How many prefixes one slice of a sweep looks at.
const SWEEP_SLICE: usize = 4096;

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
    /// `discard-new`: there are `max_prefixes`, and this route was not taken.
    Discarding {
        /// Its `max_prefixes`.
        limit: u32,
        /// How many were not taken so far.
        discarded: u32,
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

/// The counters of all neighbors and of the footprint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RibSummary {
    /// By [`NeighborId`].
    pub neighbors: Vec<NeighborSummary>,
    /// Prefixes of the footprint.
    pub prefixes: usize,
    /// Addresses that they cover together; up to a second old while a full table changes.
    pub addresses: u128,
    /// Different attribute sets stored.
    pub attribute_sets: usize,
    /// The footprint has changed so much that subscribers are not told before an operator has looked.
    pub held: Option<Held>,
    /// Prefixes that subscribers are not told of because they flap.
    pub damped: usize,
}

/// The counters of one neighbor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeighborSummary {
    /// Routes, refused ones included.
    pub received: u32,
    /// Those that are footprint.
    pub accepted: u32,
    /// The others, by [`Refusal::name`](crate::policy::Refusal::name); only what occurs.
    pub rejected: BTreeMap<&'static str, u32>,
    /// Routes of a lost session that has not announced them again yet.
    pub stale: u32,
    /// Routes that were not taken because of `max_prefixes` with `discard-new`.
    pub discarded: u32,
    /// By family, a fingerprint of the prefixes that are footprint: equal for equal sets, on any node.
    /// Only families that have any.
    pub set_hash: BTreeMap<&'static str, String>,
}

#[derive(Debug)]
struct Neighbor {
    rules: NeighborRules,
    table: AdjRibIn,
    limit: LimitState,
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
            footprint.set(id, Entry::new(true, None), now);
        }
        footprint.count_addresses(&prefixes);
        Self {
            began: now,
            prefixes,
            neighbors: neighbors.into_iter().map(Neighbor::new).collect(),
            attributes: AttributeTable::default(),
            footprint,
            export: Export::new(export),
        }
    }

    /// One neighbor more, after those that are there. `None`: there are 65,536 already.
    pub fn add_neighbor(&mut self, rules: NeighborRules) -> Option<NeighborId> {
        let id = NeighborId(u16::try_from(self.neighbors.len()).ok()?);
        self.neighbors.push(Neighbor::new(rules));
        Some(id)
    }

    /// Takes in what a session says.
    pub fn handle(&mut self, id: NeighborId, event: SessionEvent, now: Instant) -> Option<Notice> {
        let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
        match event {
            SessionEvent::Up => {
                neighbor.limit = LimitState::default();
                let earliest = now + neighbor.rules.stale_time.max(SHORTEST_RETURN);
                for generations in neighbor.table.families_mut() {
                    generations.session_back(earliest);
                }
                None
            }
            SessionEvent::Update(update) => self.update(id, &update, now),
            SessionEvent::RefreshMarker(RouteRefresh { family, kind }) => {
                self.refresh_marker(id, family, kind, now);
                None
            }
            SessionEvent::Down(retention) => {
                self.session_lost(id, &retention, now);
                None
            }
        }
    }

    /// When [`Rib::handle_timeout`] is to be called next; a time in the past means at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.neighbors.iter().any(|neighbor| neighbor.table.any_doomed()) {
            return Some(self.began);
        }
        let expiries = self.neighbors.iter().filter_map(|neighbor| neighbor.table.next_expiry());
        let others = [self.footprint.count_due(&self.prefixes), self.export.next_deadline()];
        expiries.chain(others.into_iter().flatten()).min()
    }

    /// Dooms the stale routes that have waited long enough, removes one slice of the doomed, counts
    /// the addresses of the footprint, and decides whether it may be told.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ExportVerdict> {
        for id in self.ids() {
            if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
                for generations in neighbor.table.families_mut() {
                    if generations.expire(now) {
                        self.export.routes_expire(now);
                    }
                }
            }
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

    /// The counters. O(neighbors).
    #[must_use]
    pub fn summary(&self) -> RibSummary {
        RibSummary {
            neighbors: self.neighbors.iter().map(Neighbor::summary).collect(),
            prefixes: self.footprint.len(),
            addresses: self.footprint.addresses(),
            attribute_sets: self.attributes.len(),
            held: self.export.held(),
            damped: self.export.damped(),
        }
    }

    /// Whether subscribers may be told of the footprint now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.export.is_open()
    }

    /// A new subscriber, and the footprint as it is now. The subscriber is there as long as someone
    /// holds the id. Not to be asked while the export is [held](Rib::is_open).
    pub fn subscribe(&mut self) -> (SubscriberId, Vec<(IpNet, PrefixAttributes)>) {
        let id = self.export.subscribe();
        let all = self.footprint.iter_after(&self.prefixes, None);
        let snapshot =
            all.filter_map(|(prefix, _, entry)| Some((prefix, self.describe(entry)?))).collect();
        (id, snapshot)
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

    fn update(&mut self, id: NeighborId, update: &Update, now: Instant) -> Option<Notice> {
        if self.neighbors.get(usize::from(id.0))?.limit.over {
            return None;
        }
        for &nlri in &update.withdrawn {
            self.withdraw(id, nlri, now);
        }
        let mut notice = None;
        if !update.withdrawn.is_empty() {
            notice = self.neighbors.get_mut(usize::from(id.0))?.check_room();
        }
        if let Some(attributes) = &update.attributes {
            notice = self.announce(id, &update.announced, attributes, now).or(notice);
        }
        if let Some(family) = update.end_of_rib {
            let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
            if let Some(generations) = neighbor.table.family_mut(family) {
                generations.end_of_rib(now);
            }
        }
        notice
    }

    fn announce(
        &mut self,
        id: NeighborId,
        announced: &[Nlri],
        attributes: &AttributeSet,
        now: Instant,
    ) -> Option<Notice> {
        let second = Seconds::between(self.began, now);
        let policy = &self.neighbors.get(usize::from(id.0))?.rules.policy;
        // While the UPDATE is looked at it is itself a user of its attributes.
        let (set, refused) = self
            .attributes
            .acquire(attributes, id, |attributes| policy.refused_by_attributes(attributes))?;
        let mut notice = None;
        for &Nlri { prefix, path_id } in announced {
            let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { break };
            if neighbor.is_full() {
                let known = self.prefixes.get(&prefix).map(|id| Place { prefix, id, path_id });
                if known.and_then(|place| neighbor.table.get(place)).is_none() {
                    notice = Some(neighbor.discard());
                    continue;
                }
            }
            let place = Place { prefix, id: self.prefixes.number(prefix), path_id };
            let reasons = [refused, neighbor.rules.policy.refused_by_prefix(&prefix)];
            let verdict = reasons.into_iter().flatten().min().map_or(Ok(()), Err);
            let generation = neighbor.table.generations(&prefix).current();
            // A route that comes again unchanged (a refresh, a router that is back) keeps its age.
            let same = neighbor.table.get(place).filter(|route| route.attributes() == set);
            let learned = same.map_or(second, Route::learned);
            let route = Route::new(set, learned, generation, verdict);
            self.attributes.add_user(set);
            let replaced = neighbor.table.insert(place, route);
            notice = neighbor.check_limit(second).or(notice);
            let stop = neighbor.limit.over;
            if verdict.is_ok() || replaced.is_some_and(Route::is_accepted) {
                self.choose_best(place, now);
            }
            if let Some(replaced) = replaced {
                self.attributes.release(replaced.attributes());
            }
            if stop {
                break;
            }
        }
        self.attributes.release(set);
        notice
    }

    fn withdraw(&mut self, id: NeighborId, Nlri { prefix, path_id }: Nlri, now: Instant) {
        if let Some(prefix_id) = self.prefixes.get(&prefix) {
            self.remove(id, Place { prefix, id: prefix_id, path_id }, now);
        }
    }

    fn remove(&mut self, id: NeighborId, place: Place, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return };
        let Some(removed) = neighbor.table.remove(place) else { return };
        if removed.is_accepted() {
            self.choose_best(place, now);
        }
        self.attributes.release(removed.attributes());
        let has_route = |neighbor: &Neighbor| neighbor.table.of(place.id).next().is_some();
        if self.footprint.get(place.id).is_none() && !self.neighbors.iter().any(has_route) {
            self.prefixes.remove(&place.prefix);
        }
    }

    fn session_lost(&mut self, id: NeighborId, retention: &Retention, now: Instant) {
        if let Some(kept) = self.end_flood(id, now) {
            return self.session_lost(id, &kept, now);
        }
        // Sixteen sessions lost in a row, each with routes that the next did not bring back: the
        // numbers of generations are used up, and what is stale has had its time.
        if !self.mark_lost(id, retention, now) {
            self.free_generations(id, now);
            self.mark_lost(id, retention, now);
        }
    }

    fn mark_lost(&mut self, id: NeighborId, retention: &Retention, now: Instant) -> bool {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return true };
        let stale_time = neighbor.rules.stale_time;
        let expires = |family: Family| match retention {
            Retention::Withdraw => None,
            Retention::Keep { restart_time, long_lived, .. } => {
                let long_lived = long_lived.iter().find(|(f, _)| *f == family);
                let long_lived = long_lived.map_or(Duration::ZERO, |(_, time)| *time);
                Some(now + stale_time.max(*restart_time) + long_lived)
            }
        };
        [Family::IPV4_UNICAST, Family::IPV6_UNICAST].into_iter().all(|family| {
            let expires = expires(family);
            neighbor.table.family_mut(family).is_none_or(|generations| match expires {
                Some(expires) => generations.session_lost(expires),
                None => generations.doom_all(),
            })
        })
    }

    fn refresh_marker(
        &mut self,
        id: NeighborId,
        family: Family,
        kind: RouteRefreshKind,
        now: Instant,
    ) {
        let begins = |rib: &mut Self| {
            let neighbor = rib.neighbors.get_mut(usize::from(id.0))?;
            Some(neighbor.table.family_mut(family)?.refresh_begins())
        };
        match kind {
            RouteRefreshKind::BeginningOfRefresh => {
                if begins(self) == Some(false) {
                    self.free_generations(id, now);
                    begins(self);
                }
            }
            RouteRefreshKind::EndOfRefresh => {
                if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0))
                    && let Some(generations) = neighbor.table.family_mut(family)
                {
                    generations.refresh_ends();
                }
            }
            RouteRefreshKind::Request | RouteRefreshKind::Unknown(_) => {}
        }
    }

    /// Removes everything that is not of a current generation, at once.
    fn free_generations(&mut self, id: NeighborId, now: Instant) {
        if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
            for generations in neighbor.table.families_mut() {
                generations.doom_lost_and_replaced();
            }
        }
        while self.sweep(id, usize::MAX, now) {}
    }
}

impl Neighbor {
    fn new(rules: NeighborRules) -> Self {
        Self { rules, table: AdjRibIn::new(), limit: LimitState::default() }
    }

    fn summary(&self) -> NeighborSummary {
        let counts = self.table.counts();
        let refused = crate::policy::Refusal::ALL.into_iter().zip(counts.refused);
        NeighborSummary {
            received: counts.received,
            accepted: counts.accepted,
            rejected: refused
                .filter(|(_, count)| *count > 0)
                .map(|(refusal, count)| (refusal.name(), count))
                .collect(),
            stale: self.table.stale(),
            discarded: self.limit.discarded,
            set_hash: ["ipv4-unicast", "ipv6-unicast"]
                .into_iter()
                .zip(counts.accepted_sets)
                .filter(|(_, hash)| *hash != SetHash::default())
                .map(|(family, hash)| (family, hash.to_string()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
