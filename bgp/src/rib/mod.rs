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
mod footprint;
mod generation;
mod query;
mod route;
mod route_conditions;
mod subscribers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::Serialize;

use crate::policy::AcceptPolicy;
use crate::session::Retention;
use crate::wire::{
    Community, Family, Nlri, PathAttributes, RouteRefresh, RouteRefreshKind, Update,
};
use adj_rib_in::AdjRibIn;
use attributes::{AttributeTable, AttributesId};
use footprint::{Best, Entry, Footprint};
pub use query::{
    FootprintPage, FootprintPrefix, RouteCount, RouteCursor, RouteCursorError, RouteFilter,
    RoutePage, RouteQuery, RouteView,
};
use route::{Route, Seconds};
pub use route_conditions::{
    CommunityCondition, CommunityError, ReasonError, RouteConditions, Verdict, extended_community,
};
pub use subscribers::SubscriberId;
use subscribers::Subscribers;

/// How long the routes of a lost session stay, if graceful restart does not say longer.
pub const STALE_TIME: Duration = Duration::from_secs(300);
/// How many routes one slice of a sweep looks at.
const SWEEP_SLICE: usize = 4096;
/// "This path is about to go" (RFC 8326): taken only where there is no other.
const GRACEFUL_SHUTDOWN: Community = Community(0xffff_0000);
/// LOCAL_PREF of a route without one, as routers have it.
const DEFAULT_LOCAL_PREF: u32 = 100;

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
    /// The most routes that it may announce, counted before `policy`.
    pub max_prefixes: u32,
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
    /// Addresses that they cover together.
    pub addresses: u128,
    /// Different attribute sets stored.
    pub attribute_sets: usize,
}

/// The counters of one neighbor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeighborSummary {
    /// Routes, refused ones included.
    pub received: u32,
    /// Those that are footprint.
    pub accepted: u32,
    /// The others, by [`Refusal::name`](crate::policy::Refusal::name); only what occurs.
    pub rejected: std::collections::BTreeMap<&'static str, u32>,
    /// Routes of a lost session that has not announced them again yet.
    pub stale: u32,
}

#[derive(Debug)]
struct Neighbor {
    rules: NeighborRules,
    table: AdjRibIn,
    /// Whether 80 % were reported in this session.
    warned: bool,
    /// More than `max_prefixes`: nothing more is taken until the next session.
    over_limit: bool,
}

/// All tables. See the module's documentation.
#[derive(Debug)]
pub struct Rib {
    began: Instant,
    neighbors: Vec<Neighbor>,
    attributes: AttributeTable,
    footprint: Footprint,
    subscribers: Subscribers,
}

impl Rib {
    /// A RIB with these neighbors (at most 65,536) and with the prefixes entered by hand.
    #[must_use]
    pub fn new(neighbors: Vec<NeighborRules>, manual: &[IpNet], now: Instant) -> Self {
        let mut footprint = Footprint::default();
        for prefix in manual {
            footprint.set(prefix.trunc(), Entry { manual: true, best: None });
        }
        let neighbor =
            |rules| Neighbor { rules, table: AdjRibIn::new(), warned: false, over_limit: false };
        Self {
            began: now,
            neighbors: neighbors.into_iter().map(neighbor).collect(),
            attributes: AttributeTable::default(),
            footprint,
            subscribers: Subscribers::default(),
        }
    }

    /// Takes in what a session says.
    pub fn handle(&mut self, id: NeighborId, event: SessionEvent, now: Instant) -> Option<Notice> {
        let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
        match event {
            SessionEvent::Up => {
                neighbor.warned = false;
                neighbor.over_limit = false;
                for generations in neighbor.table.families_mut() {
                    generations.session_back(now + STALE_TIME);
                }
                None
            }
            SessionEvent::Update(update) => self.update(id, &update, now),
            SessionEvent::RefreshMarker(RouteRefresh { family, kind }) => {
                self.refresh_marker(id, family, kind);
                None
            }
            SessionEvent::Down(retention) => {
                self.session_lost(id, retention, now);
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
        self.neighbors.iter().filter_map(|neighbor| neighbor.table.next_expiry()).min()
    }

    /// Dooms the stale routes that have waited long enough, and removes one slice of the doomed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for id in self.ids() {
            if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
                for generations in neighbor.table.families_mut() {
                    generations.expire(now);
                }
            }
            self.sweep(id, SWEEP_SLICE);
        }
    }

    /// The counters. O(neighbors).
    #[must_use]
    pub fn summary(&self) -> RibSummary {
        RibSummary {
            neighbors: self.neighbors.iter().map(Neighbor::summary).collect(),
            prefixes: self.footprint.len(),
            addresses: self.footprint.addresses(),
            attribute_sets: self.attributes.len(),
        }
    }

    /// A new subscriber, and the footprint as it is now. The subscriber is there as long as someone
    /// holds the id.
    pub fn subscribe(&mut self) -> (SubscriberId, Vec<(IpNet, PrefixAttributes)>) {
        let id = self.subscribers.add();
        let all = self.footprint.iter_after(None);
        let snapshot =
            all.filter_map(|(prefix, entry)| Some((prefix, self.describe(entry)?))).collect();
        (id, snapshot)
    }

    /// Up to `max` prefixes that have changed since the subscriber asked last, as they are now;
    /// `None` for one that is gone.
    pub fn take_changes(
        &mut self,
        id: &SubscriberId,
        max: usize,
    ) -> Vec<(IpNet, Option<PrefixAttributes>)> {
        let changed = self.subscribers.take(id, max);
        let now = |prefix: IpNet| self.footprint.get(&prefix).and_then(|e| self.describe(e));
        changed.into_iter().map(|prefix| (prefix, now(prefix))).collect()
    }

    fn ids(&self) -> impl Iterator<Item = NeighborId> + use<> {
        let count = u16::try_from(self.neighbors.len()).unwrap_or(u16::MAX);
        (0..count).map(NeighborId)
    }

    fn update(&mut self, id: NeighborId, update: &Update, now: Instant) -> Option<Notice> {
        if self.neighbors.get(usize::from(id.0))?.over_limit {
            return None;
        }
        for &nlri in &update.withdrawn {
            self.remove(id, nlri);
        }
        let mut notice = None;
        if let Some(attributes) = &update.attributes {
            notice = self.announce(id, &update.announced, attributes, now);
        }
        if let Some(family) = update.end_of_rib {
            let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
            if let Some(generations) = neighbor.table.family_mut(family) {
                generations.end_of_rib();
            }
        }
        notice
    }

    fn announce(
        &mut self,
        id: NeighborId,
        announced: &[Nlri],
        attributes: &Arc<PathAttributes>,
        now: Instant,
    ) -> Option<Notice> {
        let now = Seconds::between(self.began, now);
        // While the UPDATE is looked at it is itself a user of its attributes.
        let set = self.attributes.acquire(attributes)?;
        let mut notice = None;
        for &nlri in announced {
            let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { break };
            let verdict = neighbor.rules.policy.verdict(&nlri.prefix, attributes);
            let generation = neighbor.table.generations(&nlri.prefix).current();
            // A route that comes again unchanged (a refresh, a router that is back) keeps its age.
            let same = neighbor.table.get(nlri).filter(|route| route.attributes() == set);
            let learned = same.map_or(now, Route::learned);
            let route = Route::new(set, learned, generation, verdict);
            self.attributes.add_user(set);
            let replaced = neighbor.table.insert(nlri, route);
            notice = neighbor.check_limit().or(notice);
            let stop = neighbor.over_limit;
            if verdict.is_ok() || replaced.is_some_and(Route::is_accepted) {
                self.choose_best(nlri.prefix);
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

    fn remove(&mut self, id: NeighborId, nlri: Nlri) {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return };
        let Some(removed) = neighbor.table.remove(nlri) else { return };
        if removed.is_accepted() {
            self.choose_best(nlri.prefix);
        }
        self.attributes.release(removed.attributes());
    }

    fn session_lost(&mut self, id: NeighborId, retention: Retention, now: Instant) {
        // Sixteen sessions lost in a row, each with routes that the next did not bring back: the
        // numbers of generations are used up, and what is stale has had its time.
        if !self.mark_lost(id, retention, now) {
            self.free_generations(id);
            self.mark_lost(id, retention, now);
        }
    }

    fn mark_lost(&mut self, id: NeighborId, retention: Retention, now: Instant) -> bool {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return true };
        let mut families = neighbor.table.families_mut().into_iter();
        match retention {
            Retention::Keep { restart_time } => {
                let expires = now + restart_time.max(STALE_TIME);
                families.all(|generations| generations.session_lost(expires))
            }
            Retention::Withdraw => families.all(|generations| generations.doom_all()),
        }
    }

    fn refresh_marker(&mut self, id: NeighborId, family: Family, kind: RouteRefreshKind) {
        let begins = |rib: &mut Self| {
            let neighbor = rib.neighbors.get_mut(usize::from(id.0))?;
            Some(neighbor.table.family_mut(family)?.refresh_begins())
        };
        match kind {
            RouteRefreshKind::BeginningOfRefresh => {
                if begins(self) == Some(false) {
                    self.free_generations(id);
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
    fn free_generations(&mut self, id: NeighborId) {
        if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
            for generations in neighbor.table.families_mut() {
                generations.doom_lost_and_replaced();
            }
        }
        while self.sweep(id, usize::MAX) {}
    }

    /// Removes one slice of what is doomed; whether there is more.
    fn sweep(&mut self, id: NeighborId, budget: usize) -> bool {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return false };
        for nlri in neighbor.table.doomed(budget) {
            self.remove(id, nlri);
        }
        self.neighbors.get(usize::from(id.0)).is_some_and(|n| n.table.any_doomed())
    }

    /// Finds the best accepted route of a prefix and brings the footprint in line with it.
    fn choose_best(&mut self, prefix: IpNet) {
        let before = self.footprint.get(&prefix);
        let described_before = before.and_then(|entry| self.describe(entry));
        let manual = before.is_some_and(|entry| entry.manual);
        let best = self.best_route(prefix);

        if let Some(best) = best {
            self.attributes.add_user(best.attributes);
        }
        if manual || best.is_some() {
            self.footprint.set(prefix, Entry { manual, best });
        } else {
            self.footprint.remove(&prefix);
        }
        if let Some(old) = before.and_then(|entry| entry.best) {
            self.attributes.release(old.attributes);
        }
        let described = self.footprint.get(&prefix).and_then(|entry| self.describe(entry));
        if described != described_before {
            self.subscribers.changed(prefix);
        }
    }

    fn best_route(&self, prefix: IpNet) -> Option<Best> {
        let mut best: Option<(Best, Rank)> = None;
        for (id, neighbor) in self.ids().zip(&self.neighbors) {
            for (_, route) in neighbor.table.exact(prefix).filter(|(_, r)| r.is_accepted()) {
                let Some(attributes) = self.attributes.get(route.attributes()) else { continue };
                let rank = Rank::of(attributes, neighbor.rules.asn);
                if best.as_ref().is_none_or(|(_, leader)| rank.is_better_than(leader)) {
                    best = Some((Best { neighbor: id, attributes: route.attributes() }, rank));
                }
            }
        }
        best.map(|(best, _)| best)
    }

    fn describe(&self, entry: Entry) -> Option<PrefixAttributes> {
        if entry.manual {
            return Some(PrefixAttributes {
                source: PrefixSource::Manual,
                as_path_length: 0,
                med: None,
                neighbor_asn: None,
            });
        }
        let best = entry.best?;
        let attributes = self.attributes.get(best.attributes)?;
        let neighbor = self.neighbors.get(usize::from(best.neighbor.0))?;
        Some(PrefixAttributes {
            source: PrefixSource::Bgp,
            as_path_length: attributes.as_path.length(),
            med: attributes.med,
            neighbor_asn: Some(attributes.as_path.first().unwrap_or(neighbor.rules.asn)),
        })
    }

    fn attributes(&self, id: AttributesId) -> Option<&Arc<PathAttributes>> {
        self.attributes.get(id)
    }
}

impl Neighbor {
    /// To be called after each new route. Stale routes do not count: a router that comes back with
    /// a different table has not announced both.
    fn check_limit(&mut self) -> Option<Notice> {
        let limit = self.rules.max_prefixes;
        let received = self.table.counts().received;
        // Asked for each route: look at the stale ones only when it matters.
        if u64::from(received) * 5 < u64::from(limit) * 4 {
            return None;
        }
        let received = received - self.table.stale();
        if received > limit && !self.over_limit {
            self.over_limit = true;
            return Some(Notice::OverLimit { limit });
        }
        if u64::from(received) * 5 >= u64::from(limit) * 4 && !self.warned {
            self.warned = true;
            return Some(Notice::NearLimit { received, limit });
        }
        None
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
        }
    }
}

/// What routes are compared by (RFC 4271 §9.1.1, §9.1.2.2 a and c).
struct Rank {
    local_pref: u32,
    as_path_length: u32,
    med: u32,
    med_asn: u32,
}

impl Rank {
    fn of(attributes: &PathAttributes, neighbor_asn: u32) -> Self {
        let leaving = attributes.communities.contains(&GRACEFUL_SHUTDOWN);
        let local_pref = attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
        Self {
            local_pref: if leaving { 0 } else { local_pref },
            as_path_length: attributes.as_path.length(),
            med: attributes.med.unwrap_or(0),
            med_asn: attributes.as_path.first().unwrap_or(neighbor_asn),
        }
    }

    /// Strictly better; of equals the one of the neighbor named first in the configuration stays.
    /// MEDs say something only about routes from one AS.
    fn is_better_than(&self, other: &Self) -> bool {
        let med = |rank: &Self| if self.med_asn == other.med_asn { rank.med } else { 0 };
        let key = |rank: &Self| (u32::MAX - rank.local_pref, rank.as_path_length, med(rank));
        key(self) < key(other)
    }
}

#[cfg(test)]
mod tests;
