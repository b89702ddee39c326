//! Routes that come and go: what an UPDATE does to the tables.

use std::time::Instant;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::adj_rib_in::Place;
use super::attributes::{AttributesHash, AttributesId, BeginOfComparison};
use super::export::Why;
use super::ipv4_prefixes::BeginOfSearch;
use super::route::{Route, Seconds};
use super::{NeighborId, Notice, Rib, SessionEvent};
use crate::wire::{AttributeSet, Nlri, NlriList, Update};

/// So many events and prefixes are looked ahead for: as many as a processor can wait for at the same
/// time.
const AHEAD: usize = 32;

impl Rib {
    /// Takes in what a session says, one event after the other, and tells what comes of each.
    ///
    /// A table comes in no order that memory likes, and half of the work for a route is to wait for it.
    /// So the prefixes and attribute sets of the next events are looked up in advance, all at the same
    /// time.
    pub fn handle_all(
        &mut self,
        id: NeighborId,
        mut events: &[SessionEvent],
        now: Instant,
        mut notice: impl FnMut(Notice),
    ) {
        while !events.is_empty() {
            let hashes = self.look_ahead(events);
            let (next, after) = events.split_at(hashes.len());
            for (event, hash) in next.iter().zip(hashes) {
                let what = match (event, hash) {
                    (SessionEvent::Update(update), Some(hash)) => {
                        self.update(id, update, Some(hash), now)
                    }
                    (event, _) => self.handle(id, event, now),
                };
                if let Some(what) = what {
                    notice(what);
                }
            }
            events = after;
        }
    }

    /// The hashes of the attribute sets of the next events: of as many as it has done so for, and of
    /// one at least, if there is any.
    fn look_ahead(&self, events: &[SessionEvent]) -> SmallVec<[Option<AttributesHash>; AHEAD]> {
        let mut hashes: SmallVec<[Option<AttributesHash>; AHEAD]> = SmallVec::new();
        let mut prefixes: SmallVec<[IpNet; 2 * AHEAD]> = SmallVec::new();
        for event in events.iter().take(AHEAD) {
            if prefixes.len() >= AHEAD {
                break;
            }
            let SessionEvent::Update(update) = event else {
                hashes.push(None);
                continue;
            };
            prefixes.extend(update.announced.iter().take(AHEAD).map(|nlri| nlri.prefix));
            let attributes = update.attributes.as_ref();
            hashes.push(attributes.map(|set| self.attributes.hash(set.as_bytes())));
        }
        // A step for all, and then the next: the one has to be there before the other is known, and the
        // less is done in between, the more memory brings at the same time.
        let searches = prefixes.iter().filter_map(|prefix| self.prefixes.begin_of_search(prefix));
        let searches: SmallVec<[BeginOfSearch<'_>; 2 * AHEAD]> = searches.collect();
        let found = hashes.iter().flatten().filter_map(|hash| self.attributes.find(*hash));
        let found: SmallVec<[AttributesId; AHEAD]> = found.collect();
        searches.into_iter().for_each(BeginOfSearch::touch);
        let sets = found.into_iter().map(|id| self.attributes.begin_of_comparison(id));
        let sets: SmallVec<[BeginOfComparison<'_>; AHEAD]> = sets.collect();
        sets.into_iter().for_each(BeginOfComparison::touch);
        hashes
    }

    pub(super) fn update(
        &mut self,
        id: NeighborId,
        update: &Update,
        hash: Option<AttributesHash>,
        now: Instant,
    ) -> Option<Notice> {
        if self.neighbors.get(usize::from(id.0))?.limit.over {
            return None;
        }
        for nlri in &update.withdrawn {
            self.withdraw(id, nlri, now);
        }
        let mut notice = None;
        if !update.withdrawn.is_empty() {
            notice = self.neighbors.get_mut(usize::from(id.0))?.check_room(now);
        }
        if let Some(attributes) = &update.attributes {
            let hash = hash.unwrap_or_else(|| self.attributes.hash(attributes.as_bytes()));
            notice = self.announce(id, &update.announced, (attributes, hash), now).or(notice);
        }
        if let Some(family) = update.end_of_rib {
            let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
            // Before its routes it says nothing of them: see `Generations::end_of_rib`.
            if neighbor.announced() > 0 {
                neighbor.known_good.is_good();
            }
            if let Some(generations) = neighbor.table.family_mut(family) {
                generations.end_of_rib(now);
            }
        }
        notice
    }

    fn announce(
        &mut self,
        id: NeighborId,
        announced: &NlriList,
        (attributes, hash): (&AttributeSet, AttributesHash),
        now: Instant,
    ) -> Option<Notice> {
        let second = Seconds::between(self.began, now);
        let neighbor = self.neighbors.get(usize::from(id.0))?;
        let policy = &neighbor.rules.policy;
        let none_left_out = neighbor.limit.left_out.is_empty();
        // While the UPDATE is looked at it is itself a user of its attributes.
        let (set, refused) = self
            .attributes
            .acquire(attributes, hash, id, |attributes| policy.refused_by_attributes(attributes))?;
        if let Some(why) = refused
            && let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0))
        {
            neighbor.refused_ever.count_update(why);
        }
        let mut notice = None;
        for nlri in announced {
            let Nlri { prefix, path_id } = nlri;
            let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { break };
            if neighbor.is_full() {
                let known = self.prefixes.get(&prefix).map(|id| Place { prefix, id, path_id });
                if known.and_then(|place| neighbor.table.get(place)).is_none() {
                    notice = Some(neighbor.leave_out(nlri, none_left_out));
                    self.unsaid.not_taken(id, nlri);
                    continue;
                }
            }
            let place = Place { prefix, id: self.prefixes.number(prefix), path_id };
            let reasons = [refused, neighbor.rules.policy.refused_by_prefix(&prefix)];
            let verdict = reasons.into_iter().flatten().min().map_or(Ok(()), Err);
            neighbor.refused_ever.prefixes += u64::from(verdict.is_err());
            if neighbor.keeps_last_good() && !neighbor.table.has(place.id) {
                let limit = neighbor.rules.prefix_limit.limit;
                neighbor.known_good.comes(place.id, limit, now);
            }
            let generation = neighbor.table.generations(&prefix).current();
            // A route that comes again unchanged (a refresh, a router that is back) keeps its age.
            let same = neighbor.table.get(place).filter(|route| route.attributes() == set);
            let learned = same.map_or(second, Route::learned);
            let route = Route::new(set, learned, generation, verdict);
            self.attributes.add_user(set);
            let replaced = neighbor.table.insert(place, route);
            if replaced.is_none() && neighbor.table.is_alone(place) {
                self.prefixes.add_holder(place.id);
            }
            neighbor.limit.left_out.remove(nlri);
            self.unsaid.taken(id, nlri);
            notice = neighbor.check_limit().or(notice);
            let stop = neighbor.limit.over;
            if verdict.is_ok() || replaced.is_some_and(Route::is_accepted) {
                self.choose_best(id, place, Why::Told, now);
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

    pub(super) fn withdraw(&mut self, id: NeighborId, nlri: Nlri, now: Instant) {
        let Nlri { prefix, path_id } = nlri;
        if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
            neighbor.limit.left_out.remove(nlri);
        }
        if let Some(prefix_id) = self.prefixes.get(&prefix) {
            self.remove(id, Place { prefix, id: prefix_id, path_id }, Why::Told, now);
        }
    }

    pub(super) fn remove(&mut self, id: NeighborId, place: Place, why: Why, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return };
        let Some(removed) = neighbor.table.remove(place) else { return };
        if !neighbor.table.has(place.id) {
            neighbor.known_good.gone(place.id);
            self.prefixes.remove_holder(place.id);
        }
        if removed.is_accepted() {
            self.choose_best(id, place, why, now);
        }
        self.attributes.release(removed.attributes());
        if self.footprint.get(place.id).is_none() && self.prefixes.holders(place.id) == 0 {
            self.prefixes.remove(&place.prefix);
        }
    }
}
