//! What becomes of a neighbor that announces more than it may: `max_prefixes`.
//!
//! What counts is what the neighbor announces in this session, before the accept rules: a router that
//! leaks a full table must not get through because most of it would be refused. Stale routes do not
//! count: a router that comes back with a different table has not announced both. Nothing is ever cut
//! off in silence: at 80 % and at the limit the operator is told.

use std::time::{Duration, Instant};

use mcc_config::MaxPrefixesAction;

use super::adj_rib_in::Place;
use super::route::{Route, Seconds};
use super::walk::Position;
use super::{Neighbor, NeighborId, Notice, Rib};
use crate::session::Retention;

/// How long what was kept stays after the rest: time for the session to come back.
const STALE_AFTER_REST: Duration = Duration::from_secs(300);

/// How much a neighbor may announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLimit {
    /// `max_prefixes`
    pub limit: u32,
    /// What happens beyond.
    pub action: MaxPrefixesAction,
    /// How long the session rests where it is ended.
    pub rest: Duration,
}

/// How a session stands to its limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LimitState {
    /// When 80 % were reached in this session.
    warned: Option<Seconds>,
    /// The session is to end: nothing more is taken until the next.
    pub(super) over: bool,
    /// Routes that were not taken, since there was room for all the last time.
    pub(super) discarded: u32,
}

impl Neighbor {
    /// Routes that count.
    fn announced(&self) -> u32 {
        self.table.counts().received - self.table.stale()
    }

    /// Whether one more route is to be left out.
    pub(super) fn is_full(&self) -> bool {
        let PrefixLimit { limit, action, .. } = self.rules.prefix_limit;
        // Asked for each route: look at the stale ones only when it matters.
        action == MaxPrefixesAction::DiscardNew
            && self.table.counts().received >= limit
            && self.announced() >= limit
    }

    /// Leaves out a route.
    pub(super) fn discard(&mut self) -> Notice {
        self.limit.discarded += 1;
        let limit = self.rules.prefix_limit.limit;
        Notice::Discarding { limit, discarded: self.limit.discarded }
    }

    /// To be called after each new route.
    pub(super) fn check_limit(&mut self, now: Seconds) -> Option<Notice> {
        let limit = self.rules.prefix_limit.limit;
        if u64::from(self.table.counts().received) * 5 < u64::from(limit) * 4 {
            return None;
        }
        let received = self.announced();
        if received > limit && !self.limit.over {
            self.limit.over = true;
            return Some(Notice::OverLimit { limit });
        }
        if u64::from(received) * 5 >= u64::from(limit) * 4 && self.limit.warned.is_none() {
            self.limit.warned = Some(now);
            return Some(Notice::NearLimit { received, limit });
        }
        None
    }

    /// To be called after routes were withdrawn: whether there is room again, a tenth of the limit,
    /// for what was left out.
    pub(super) fn check_room(&mut self) -> Option<Notice> {
        if self.limit.discarded == 0 {
            return None;
        }
        let limit = u64::from(self.rules.prefix_limit.limit);
        if u64::from(self.announced()) * 10 > limit * 9 {
            return None;
        }
        self.limit.discarded = 0;
        Some(Notice::RoomAgain)
    }
}

impl Rib {
    /// `keep-last-good`, when a session over its limit has ended: removes what came since 80 % were
    /// reached, and says that the rest stays until the neighbor has had time to come back.
    pub(super) fn end_flood(&mut self, id: NeighborId, now: Instant) -> Option<Retention> {
        let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
        let PrefixLimit { action, rest, .. } = neighbor.rules.prefix_limit;
        if !neighbor.limit.over || action != MaxPrefixesAction::KeepLastGood {
            return None;
        }
        let flood = neighbor.limit.warned;
        neighbor.limit = LimitState::default();
        let neighbor = self.neighbors.get(usize::from(id.0))?;
        let came_with_it =
            |(_, route): &(Place, Route)| flood.is_some_and(|at| route.learned() >= at);
        let all = self.slice(neighbor, Position::Start, None, usize::MAX);
        let flood: Vec<_> = all.filter(came_with_it).map(|(place, _)| place).collect();
        for place in flood {
            self.remove(id, place, now);
        }
        Some(Retention::keep(rest + STALE_AFTER_REST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::SessionEvent;
    use crate::rib::tests::{A, Fixture};

    fn names(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|i| format!("8.{i}.0.0/16")).collect()
    }

    fn announce(f: &mut Fixture, range: std::ops::Range<u32>) -> Option<Notice> {
        let names = names(range);
        f.announce(A, &names.iter().map(String::as_str).collect::<Vec<_>>(), &[64500])
    }

    fn fixture(action: MaxPrefixesAction) -> Fixture {
        let mut f = Fixture::new(10, &[]);
        for neighbor in &mut f.rib.neighbors {
            neighbor.rules.prefix_limit.action = action;
        }
        f.feed(A, SessionEvent::Up);
        f
    }

    #[test]
    fn discard_new_takes_no_more_and_asks_again_when_there_is_room() {
        let mut f = fixture(MaxPrefixesAction::DiscardNew);
        let discarding = Some(Notice::Discarding { limit: 10, discarded: 3 });
        assert_eq!(announce(&mut f, 0..13), discarding);
        assert_eq!((f.counts(A).received, f.counts(A).discarded), (10, 3));
        assert_eq!(f.footprint().len(), 10);
        assert_eq!(announce(&mut f, 0..10), None, "what is there may change");
        let gone = names(0..1);
        let withdrawn = crate::testing::withdraw(&[gone[0].as_str()]);
        assert_eq!(f.feed(A, SessionEvent::Update(withdrawn)), Some(Notice::RoomAgain));
        assert_eq!(f.counts(A).discarded, 0);
        assert_eq!(
            announce(&mut f, 1..13).unwrap(),
            Notice::Discarding { limit: 10, discarded: 2 }
        );
        assert_eq!(f.counts(A).received, 10);
    }

    #[test]
    fn keep_last_good_keeps_what_was_there_before_the_flood() {
        let mut f = fixture(MaxPrefixesAction::KeepLastGood);
        announce(&mut f, 0..5);
        f.pass(10);
        assert_eq!(announce(&mut f, 100..120), Some(Notice::OverLimit { limit: 10 }));
        f.feed(A, SessionEvent::Down(Retention::Withdraw));
        f.settle();
        // The flood's routes that came before the warning are of the same second, and go too.
        assert_eq!(f.footprint(), names(0..5));
        assert_eq!(f.counts(A).stale, 5);
        f.pass(1800 + 299);
        assert_eq!(f.footprint().len(), 5, "it waits for the neighbor to come back");
        f.pass(2);
        assert!(f.footprint().is_empty());
    }
}
