//! What becomes of a neighbor that announces more than it may: `max_prefixes`.
//!
//! What counts is what the neighbor announces in this session, before the accept rules: a router that
//! leaks a full table must not get through because most of it would be refused. Stale routes do not
//! count: a router that comes back with a different table has not announced both. With ADD-PATH each
//! path counts, as in FRR's `maximum-prefix`: the limit is also what bounds the memory that a router can
//! take. Nothing is ever cut off in silence: at 80 % and at the limit the operator is told.

use std::time::{Duration, Instant};

use mcc_config::MaxPrefixesAction;

use super::left_out::LeftOut;
use super::{Neighbor, NeighborId, Notice, Rib};
use crate::session::Retention;
use crate::wire::Nlri;

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
#[derive(Debug, Default)]
pub(super) struct LimitState {
    /// 80 % were reached in this session, and the operator was told.
    warned: bool,
    /// The session is to end: nothing more is taken until the next.
    pub(super) over: bool,
    /// Routes that were not taken.
    pub(super) left_out: LeftOut,
    /// When the neighbor was asked for them, if none has been left out since.
    pub(super) asked: Option<Instant>,
}

impl Neighbor {
    /// Routes that count.
    pub(super) fn announced(&self) -> u32 {
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

    /// Whether it has announced 80 % of what it may, or more.
    pub(super) fn is_near_limit(&self) -> bool {
        let limit = self.rules.prefix_limit.limit;
        let is_near = |routes: u32| u64::from(routes) * 5 >= u64::from(limit) * 4;
        // Asked for each route, too.
        is_near(self.table.counts().received) && is_near(self.announced())
    }

    /// Leaves out a route of an UPDATE; `first`: before that none was.
    pub(super) fn leave_out(&mut self, route: Nlri, first: bool) -> Notice {
        self.limit.left_out.add(route);
        self.limit.asked = None;
        let limit = self.rules.prefix_limit.limit;
        Notice::Discarding { limit, discarded: self.limit.left_out.count(), first }
    }

    /// To be called after each new route.
    pub(super) fn check_limit(&mut self) -> Option<Notice> {
        if !self.is_near_limit() {
            return None;
        }
        let (received, limit) = (self.announced(), self.rules.prefix_limit.limit);
        if received > limit && !self.limit.over {
            self.limit.over = true;
            return Some(Notice::OverLimit { limit });
        }
        if !self.limit.warned {
            self.limit.warned = true;
            return Some(Notice::NearLimit { received, limit });
        }
        None
    }

    /// To be called after routes were withdrawn: whether there is room again, a tenth of the limit,
    /// for what was left out. Once, until something is left out again.
    pub(super) fn check_room(&mut self, now: Instant) -> Option<Notice> {
        if self.limit.asked.is_some() || self.limit.left_out.is_empty() {
            return None;
        }
        let limit = u64::from(self.rules.prefix_limit.limit);
        if u64::from(self.announced()) * 10 > limit * 9 {
            return None;
        }
        self.limit.asked = Some(now);
        Some(Notice::RoomAgain)
    }

    /// Whether it is known which of its prefixes are good when a flood comes.
    pub(super) fn keeps_last_good(&self) -> bool {
        self.rules.prefix_limit.action == MaxPrefixesAction::KeepLastGood
    }
}

impl Rib {
    /// How many routes of a neighbor count for its limit.
    #[must_use]
    pub fn announced(&self, id: NeighborId) -> u32 {
        self.neighbors.get(usize::from(id.0)).map_or(0, Neighbor::announced)
    }

    /// What becomes of the routes of a session that was over its limit when it ended, however it did;
    /// `None` if it was not. With `keep-last-good` those that came with the flood go, and the rest
    /// stays until the neighbor has had time to come back.
    pub(super) fn end_flood(&mut self, id: NeighborId) -> Option<Retention> {
        let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
        if !neighbor.limit.over {
            return None;
        }
        neighbor.limit = LimitState::default();
        let flood = if neighbor.keeps_last_good() { neighbor.known_good.flood() } else { None };
        let Some(flood) = flood else { return Some(Retention::Withdraw) };
        neighbor.table.doom_prefixes(flood);
        Some(Retention::keep(neighbor.rules.prefix_limit.rest + STALE_AFTER_REST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::tests::{A, Fixture};
    use crate::rib::{RouteFilter, RouteQuery, SessionEvent};

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
        f.feed(A, &SessionEvent::Up);
        f
    }

    #[test]
    fn discard_new_takes_no_more_and_asks_again_when_there_is_room() {
        let mut f = fixture(MaxPrefixesAction::DiscardNew);
        let discarding =
            |discarded, first| Some(Notice::Discarding { limit: 10, discarded, first });
        assert_eq!(announce(&mut f, 0..12), discarding(2, true), "two in one UPDATE");
        assert_eq!(announce(&mut f, 10..13), discarding(3, false), "each route counts once");
        assert_eq!((f.counts(A).received, f.counts(A).discarded), (10, 3));
        assert_eq!(f.footprint().len(), 10);
        assert_eq!(announce(&mut f, 0..10), None, "what is there may change");
        let gone = names(0..1);
        let withdrawn = crate::testing::withdraw(&[gone[0].as_str()]);
        assert_eq!(f.feed(A, &SessionEvent::Update(withdrawn)), Some(Notice::RoomAgain));
        assert_eq!(f.counts(A).discarded, 3, "a router that does not answer has not sent them");
        assert_eq!(f.counts(A).asked, Some(f.now));
        let gone = names(1..2);
        let withdrawn = crate::testing::withdraw(&[gone[0].as_str()]);
        assert_eq!(f.feed(A, &SessionEvent::Update(withdrawn)), None, "it has been asked");
        assert_eq!(announce(&mut f, 2..13), discarding(1, false));
        assert_eq!((f.counts(A).received, f.counts(A).discarded), (10, 1));
        assert_eq!(f.counts(A).asked, None, "there is no room any more");
        let gone = names(12..13);
        f.feed(A, &SessionEvent::Update(crate::testing::withdraw(&[gone[0].as_str()])));
        assert_eq!(f.counts(A).discarded, 0, "the router has withdrawn it");
    }

    #[test]
    fn keep_last_good_keeps_what_was_there_before_the_flood() {
        let mut f = fixture(MaxPrefixesAction::KeepLastGood);
        announce(&mut f, 0..5);
        f.end_of_rib(A);
        assert_eq!(announce(&mut f, 100..120), Some(Notice::OverLimit { limit: 10 }));
        f.feed(A, &SessionEvent::Down(Retention::Withdraw));
        f.settle();
        assert_eq!(f.footprint(), names(0..5));
        assert_eq!(f.counts(A).stale, 5);
        f.pass(1800 + 299);
        assert_eq!(f.footprint().len(), 5, "it waits for the neighbor to come back");
        f.pass(2);
        assert!(f.footprint().is_empty());
    }

    #[test]
    fn keep_last_good_keeps_what_came_above_80_percent_and_has_been_there_since() {
        let mut f = fixture(MaxPrefixesAction::KeepLastGood);
        announce(&mut f, 0..8);
        f.end_of_rib(A);
        f.pass(3600);
        announce(&mut f, 8..9);
        f.pass(3600);
        // Routes that change in the flood were there before it.
        announce(&mut f, 100..101);
        let names_of_old = names(0..9);
        let old: Vec<_> = names_of_old.iter().map(String::as_str).collect();
        f.announce(A, &old, &[64501]);
        assert_eq!(announce(&mut f, 101..120), Some(Notice::OverLimit { limit: 10 }));
        f.feed(A, &SessionEvent::Down(Retention::Withdraw));
        f.settle();
        assert_eq!(f.footprint(), names(0..9));
        let query = RouteQuery { filter: RouteFilter::All, ..RouteQuery::default() };
        let kept = f.rib.routes(&query, 100, f.now).routes;
        assert!(kept.iter().all(|route| route.as_path == "64501"), "as it was announced last");

        // It comes back, and floods again.
        f.pass(1800);
        f.feed(A, &SessionEvent::Up);
        announce(&mut f, 0..20);
        f.feed(A, &SessionEvent::Down(Retention::Withdraw));
        f.settle();
        assert_eq!(f.footprint(), names(0..9));
    }

    #[test]
    fn keep_last_good_keeps_no_part_of_a_first_table() {
        let mut f = fixture(MaxPrefixesAction::KeepLastGood);
        announce(&mut f, 0..8);
        f.pass(20);
        assert_eq!(announce(&mut f, 8..20), Some(Notice::OverLimit { limit: 10 }));
        f.feed(A, &SessionEvent::Down(Retention::Withdraw));
        f.settle();
        assert!(f.footprint().is_empty());
    }

    #[test]
    fn a_flood_is_not_kept_if_the_router_hangs_up_first() {
        let mut f = fixture(MaxPrefixesAction::Restart);
        assert_eq!(announce(&mut f, 0..20), Some(Notice::OverLimit { limit: 10 }));
        f.feed(A, &SessionEvent::Down(Retention::keep(Duration::from_secs(120))));
        f.settle();
        assert!(f.footprint().is_empty());
    }

    /// A router must not take any amount of memory with a few prefixes.
    #[test]
    fn each_path_of_a_prefix_counts() {
        let mut f = fixture(MaxPrefixesAction::DiscardNew);
        let mut update =
            crate::testing::announce(&["8.8.0.0/16"], &crate::testing::attributes(&[64500]));
        let prefix = crate::testing::prefix("8.8.0.0/16");
        update.announced = (1..=12).map(|path_id| Nlri { prefix, path_id }).collect();
        f.feed(A, &SessionEvent::Update(update));
        assert_eq!((f.counts(A).received, f.counts(A).discarded), (10, 2));
        assert!(f.counts(A).near_limit);
        assert_eq!(f.footprint(), ["8.8.0.0/16"]);
    }

    #[test]
    fn near_the_limit_is_said_as_long_as_it_is_so() {
        let mut f = fixture(MaxPrefixesAction::Restart);
        announce(&mut f, 0..7);
        assert!(!f.counts(A).near_limit);
        announce(&mut f, 7..8);
        assert!(f.counts(A).near_limit);
        let gone = names(0..1);
        f.feed(A, &SessionEvent::Update(crate::testing::withdraw(&[gone[0].as_str()])));
        assert!(!f.counts(A).near_limit);
    }
}
