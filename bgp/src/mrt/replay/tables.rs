//! The tables of a replay: as a node would have them, and as the routers announced them.
//!
//! They differ where a router announced more than `max_prefixes`. There a node would have ended the
//! session or left routes out; the file goes on regardless. What it says of a session that is ended
//! here reaches only the tables without a limit. Once the rest is over, the router is taken to come back
//! at once, with the table that it had announced by then.
//!
//! A router that `discard-new` would have asked for its table is another matter: the file has no answer,
//! and not every router gives one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::rib::{
    ExportRules, NeighborId, NeighborRules, NeighborSummary, Notice, PrefixLimit, Rib, RibSummary,
    SessionEvent, TablePrefix, TableRoute, Totals,
};
use crate::session::Retention;
use crate::wire::{Family, Nlri, Update};

#[derive(Debug)]
pub(super) struct Tables {
    node: Rib,
    /// Without limits.
    announced: Rib,
    /// By [`NeighborId`].
    limits: Vec<Limit>,
}

/// How a peer stood to its limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    address: IpAddr,
    pub(super) rules: PrefixLimit,
    /// The most routes that it announced at once.
    pub(super) peak: u32,
    /// When it first announced more than it may.
    pub(super) exceeded: Option<Instant>,
    /// How often the session would have been ended for it.
    pub(super) ended: u64,
    /// Until when it rests for it.
    pub(super) rests_until: Option<Instant>,
}

/// What has become of a peer.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of the node.
    pub(super) node: NeighborSummary,
    /// Without the limit.
    pub(super) announced: NeighborSummary,
    pub(super) limit: Limit,
}

impl Tables {
    pub(super) fn new(manual: &[IpNet], began: Instant) -> Self {
        Self {
            node: Rib::new(Vec::new(), manual, ExportRules::default(), began),
            announced: Rib::new(Vec::new(), &[], ExportRules::default(), began),
            limits: Vec::new(),
        }
    }

    /// The tables as a node would have them.
    pub(super) fn node(&self) -> &Rib {
        &self.node
    }

    /// One peer more, unless there are too many.
    pub(super) fn add(&mut self, rules: NeighborRules) -> Option<NeighborId> {
        let limit = Limit {
            address: rules.address,
            rules: rules.prefix_limit,
            peak: 0,
            exceeded: None,
            ended: 0,
            rests_until: None,
        };
        let unlimited = PrefixLimit { limit: u32::MAX, ..rules.prefix_limit };
        self.announced.add_neighbor(NeighborRules { prefix_limit: unlimited, ..rules.clone() })?;
        let id = self.node.add_neighbor(rules)?;
        self.limits.push(limit);
        Some(id)
    }

    /// Takes in what a session says.
    pub(super) fn handle(&mut self, id: NeighborId, event: &SessionEvent, now: Instant) {
        self.announced.handle(id, event, now);
        let announced = self.announced.announced(id);
        let Some(limit) = self.limits.get_mut(usize::from(id.0)) else { return };
        limit.peak = limit.peak.max(announced);
        if limit.rests_until.is_none() {
            self.handle_at_node(id, event, now);
        }
    }

    fn handle_at_node(&mut self, id: NeighborId, event: &SessionEvent, now: Instant) {
        let notice = self.node.handle(id, event, now);
        let Some(limit) = self.limits.get_mut(usize::from(id.0)) else { return };
        match notice {
            Some(Notice::OverLimit { .. }) => {
                limit.exceeded.get_or_insert(now);
                limit.ended += 1;
                limit.rests_until = Some(now + limit.rules.rest);
                self.node.handle(id, &SessionEvent::Down(Retention::Withdraw), now);
                settle(&mut self.node, now);
            }
            Some(Notice::Discarding { .. }) => {
                limit.exceeded.get_or_insert(now);
            }
            Some(Notice::NearLimit { .. } | Notice::RoomAgain) | None => {}
        }
    }

    /// Time goes on: sessions come back from their rest, and stale routes that have waited long enough
    /// go.
    pub(super) fn pass(&mut self, now: Instant) {
        settle(&mut self.announced, now);
        for id in (0..).map(NeighborId).take(self.limits.len()) {
            self.end_rest(id, now);
        }
        settle(&mut self.node, now);
    }

    /// What has become of each peer by now, and the size of the footprint.
    pub(super) fn outcomes(&mut self) -> (Vec<Outcome>, Totals) {
        self.node.count_addresses();
        let RibSummary { neighbors, footprint, .. } = self.node.summary();
        let outcomes = neighbors.into_iter().zip(self.announced.summary().neighbors);
        let outcomes = outcomes.zip(&self.limits);
        let outcomes =
            outcomes.map(|((node, announced), &limit)| Outcome { node, announced, limit });
        (outcomes.collect(), footprint)
    }

    fn end_rest(&mut self, id: NeighborId, now: Instant) {
        let announced = self.announced.announced(id);
        let Some(limit) = self.limits.get_mut(usize::from(id.0)) else { return };
        let Some(mut back) = limit.rests_until.filter(|&until| until <= now) else { return };
        limit.rests_until = None;
        if announced > limit.rules.limit {
            // Since the last record nothing has come: so it was each time that it came back.
            let (passed, rest) = ((now - back).as_secs(), limit.rules.rest.as_secs().max(1));
            limit.ended += passed / rest;
            back += Duration::from_secs(passed - passed % rest);
        }
        // With none its session is down, or says more when there is more.
        if announced > 0 {
            self.come_back(id, back);
        }
    }

    /// The router announces all that it has.
    fn come_back(&mut self, id: NeighborId, now: Instant) {
        self.handle_at_node(id, &SessionEvent::Up, now);
        let Some(&Limit { address, .. }) = self.limits.get(usize::from(id.0)) else { return };
        let mut after = None;
        loop {
            let page = self.announced.table_page(Some(address), after, now);
            let of_prefix = |TablePrefix { prefix, routes }| {
                routes.into_iter().map(move |route: TableRoute| (prefix, route))
            };
            let routes = page.prefixes.into_iter().flat_map(of_prefix);
            for (prefix, route) in routes.filter(|(_, route)| !route.stale) {
                let update = Update {
                    announced: [Nlri { prefix, path_id: route.path_id }].into_iter().collect(),
                    attributes: Some(route.attributes),
                    ..Update::default()
                };
                self.handle_at_node(id, &SessionEvent::Update(update), now);
                if self.rests(id) {
                    return;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
            let end_of_rib = Update { end_of_rib: Some(family), ..Update::default() };
            self.handle_at_node(id, &SessionEvent::Update(end_of_rib), now);
        }
    }

    fn rests(&self, id: NeighborId) -> bool {
        self.limits.get(usize::from(id.0)).is_some_and(|limit| limit.rests_until.is_some())
    }
}

/// Does what is due.
fn settle(rib: &mut Rib, now: Instant) {
    while rib.next_deadline().is_some_and(|deadline| deadline <= now) {
        rib.handle_timeout(now);
    }
    // Nobody follows.
    drop(rib.take_departures());
}
