use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use mcc_config::AcceptRules;

use super::*;
use crate::policy::Identity;
use crate::rib::adj_rib_in::Place;
use crate::testing::{announce, attributes, nlri, prefix, set, withdraw};
use crate::wire::{Community, PathAttributes as Attributes};
use crate::wire::{Family, Nlri, RouteRefreshKind};

mod export;
mod footprint;
mod limit;
mod lost_sessions;
mod properties;
mod routes;

pub(super) const A: NeighborId = NeighborId(0);
pub(super) const B: NeighborId = NeighborId(1);
const STALE_TIME: Duration = Duration::from_secs(300);
const KEEP: Retention = Retention::keep(Duration::ZERO);

pub(super) fn rules(last: u8, max_prefixes: u32) -> NeighborRules {
    let identity = Identity {
        local_asn: 65100,
        remote_asn: 65100,
        router_id: Ipv4Addr::new(192, 0, 2, 10),
        role: None,
    };
    let policy = AcceptPolicy::from_rules(&AcceptRules::default(), identity).unwrap();
    NeighborRules {
        address: IpAddr::from([192, 0, 2, last]),
        asn: 65100,
        prefix_limit: PrefixLimit {
            limit: max_prefixes,
            action: mcc_config::MaxPrefixesAction::Restart,
            rest: Duration::from_secs(1800),
        },
        stale_time: STALE_TIME,
        policy,
    }
}

pub(super) struct Fixture {
    pub(super) rib: Rib,
    pub(super) now: Instant,
}

impl Fixture {
    pub(super) fn new(max_prefixes: u32, manual: &[&str]) -> Self {
        let now = Instant::now();
        let manual: Vec<_> = manual.iter().copied().map(prefix).collect();
        let neighbors = vec![rules(1, max_prefixes), rules(2, max_prefixes)];
        Self { rib: Rib::new(neighbors, &manual, ExportRules::default(), now), now }
    }

    #[expect(clippy::needless_pass_by_value, reason = "events are made where they are fed")]
    pub(super) fn feed(&mut self, id: NeighborId, event: SessionEvent) -> Option<Notice> {
        self.rib.handle(id, &event, self.now)
    }

    pub(super) fn announce(
        &mut self,
        id: NeighborId,
        prefixes: &[&str],
        path: &[u32],
    ) -> Option<Notice> {
        self.feed(id, SessionEvent::Update(announce(prefixes, &attributes(path))))
    }

    fn withdraw(&mut self, id: NeighborId, prefixes: &[&str]) {
        self.feed(id, SessionEvent::Update(withdraw(prefixes)));
    }

    pub(super) fn end_of_rib(&mut self, id: NeighborId) {
        let end_of_rib = Some(Family::IPV4_UNICAST);
        self.feed(id, SessionEvent::Update(Update { end_of_rib, ..Update::default() }));
        self.settle();
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.settle();
    }

    /// Does everything that is due.
    pub(super) fn settle(&mut self) {
        while self.rib.next_deadline().is_some_and(|at| at <= self.now) {
            self.rib.handle_timeout(self.now);
        }
    }

    /// A subscriber that has read the whole footprint.
    pub(super) fn subscribe(&mut self) -> (SubscriberId, Vec<(IpNet, PrefixAttributes)>) {
        let (id, mut all, mut page) =
            (self.rib.subscribe(), Vec::new(), self.rib.snapshot_page(None));
        loop {
            all.extend(page.prefixes);
            match page.next {
                None => return (id, all),
                next => page = self.rib.snapshot_page(next),
            }
        }
    }

    pub(super) fn footprint(&self) -> Vec<String> {
        let page = self.rib.footprint(FootprintQuery::default());
        page.prefixes.iter().map(|entry| entry.prefix.to_string()).collect()
    }

    pub(super) fn counts(&self, id: NeighborId) -> NeighborSummary {
        let summary = self.rib.summary().neighbors[usize::from(id.0)].clone();
        // Does not tell what is there now.
        NeighborSummary { refused_ever: RefusedEver::default(), ..summary }
    }

    /// Whose route is the best one of a prefix.
    pub(super) fn best(&self, text: &str) -> NeighborId {
        let prefix = prefix(text);
        let place = Place { prefix, id: self.rib.prefixes.get(&prefix).unwrap(), path_id: 0 };
        self.rib.best_route(place).unwrap().neighbor
    }

    fn count_routes(&self, mut query: RouteQuery) -> usize {
        let mut count = 0;
        loop {
            let slice = self.rib.count_routes(&query);
            count += slice.count;
            query.after = slice.next;
            if query.after.is_none() {
                return count;
            }
        }
    }

    fn all_routes(&self, query: RouteQuery) -> Vec<RouteView> {
        let (mut query, mut routes) = (query, Vec::new());
        loop {
            let page = self.rib.routes(&query, 3, self.now);
            routes.extend(page.routes);
            match page.next {
                // As it travels through a URL.
                Some(next) => query.after = Some(next.to_string().parse().unwrap()),
                None => return routes,
            }
        }
    }
}

fn refused() -> RouteConditions {
    RouteConditions { verdict: Verdict::Refused, ..RouteConditions::default() }
}

pub(super) fn marker(kind: RouteRefreshKind) -> SessionEvent {
    SessionEvent::RefreshMarker(RouteRefresh { family: Family::IPV4_UNICAST, kind })
}
