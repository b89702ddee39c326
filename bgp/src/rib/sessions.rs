//! Sessions that come, refresh and go: what becomes of the routes.

use std::time::{Duration, Instant};

use super::generation::Generations;
use super::{LimitState, NeighborId, Notice, Rib, SessionEvent};
use crate::session::Retention;
use crate::wire::{Family, RouteRefresh, RouteRefreshKind};

/// A neighbor that is back has this long at least to announce its table again.
const SHORTEST_RETURN: Duration = Duration::from_secs(300);

impl Rib {
    /// Takes in what a session says.
    pub fn handle(&mut self, id: NeighborId, event: &SessionEvent, now: Instant) -> Option<Notice> {
        let neighbor = self.neighbors.get_mut(usize::from(id.0))?;
        match event {
            SessionEvent::Up => {
                neighbor.limit = LimitState::default();
                // RFC 4724 §4.2 has stale routes go at once if the neighbor is back without graceful
                // restart, without the family, or without the F flag ("forwarding state preserved").
                // Here nothing is forwarded by them: what a router did not preserve does not matter,
                // and the clients must not go because it restarts. So they stay until End-of-RIB, or
                // until the neighbor has had time to announce its table.
                let earliest = now + neighbor.rules.stale_time.max(SHORTEST_RETURN);
                let was_restored = neighbor.restored_until.take().is_some();
                for generations in neighbor.table.families_mut() {
                    if was_restored {
                        generations.stale_until_then(earliest);
                    } else {
                        generations.session_back(earliest);
                    }
                }
                None
            }
            SessionEvent::Update(update) => self.update(id, update, None, now),
            &SessionEvent::RefreshMarker(RouteRefresh { family, kind }) => {
                self.refresh_marker(id, family, kind, now);
                None
            }
            SessionEvent::Down(retention) => {
                self.session_lost(id, retention, now);
                None
            }
        }
    }

    pub(super) fn session_lost(&mut self, id: NeighborId, retention: &Retention, now: Instant) {
        let after_flood = self.end_flood(id);
        let retention = after_flood.as_ref().unwrap_or(retention);
        // Sessions lost in a row, each with routes that the next did not bring back: the numbers of
        // generations are being used up, and what has been stale for longest has had its time. It is
        // swept in slices; only if sessions are lost faster than that it goes at once.
        if !self.mark_lost(id, retention, now) {
            self.free_generations(id, now);
            self.mark_lost(id, retention, now);
        }
        if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
            neighbor.table.families_mut().into_iter().for_each(Generations::make_room);
        }
    }

    fn mark_lost(&mut self, id: NeighborId, retention: &Retention, now: Instant) -> bool {
        let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { return true };
        let stale_time = neighbor.rules.stale_time;
        // Long-lived they are once both our own time and the neighbor's are over.
        let times = |family: Family| match retention {
            Retention::Withdraw => None,
            Retention::Keep { at_least, restart, long_lived } => {
                let of = |times: &[(Family, Duration)]| {
                    times.iter().find(|(f, _)| *f == family).map(|(_, time)| *time)
                };
                let restart = of(restart).unwrap_or_default();
                let first = now + stale_time.max(*at_least).max(restart);
                let long_lived = of(long_lived);
                Some((first + long_lived.unwrap_or_default(), long_lived.map(|_| first)))
            }
        };
        [Family::IPV4_UNICAST, Family::IPV6_UNICAST].into_iter().all(|family| {
            let times = times(family);
            neighbor.table.family_mut(family).is_none_or(|generations| match times {
                Some((expires, long_lived)) => generations.session_lost(expires, long_lived),
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
                if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
                    neighbor.limit.left_out.refresh_begins(family);
                }
                if begins(self) == Some(false) {
                    self.free_generations(id, now);
                    begins(self);
                }
            }
            RouteRefreshKind::EndOfRefresh => {
                if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
                    neighbor.limit.left_out.refresh_ends(family);
                    if let Some(generations) = neighbor.table.family_mut(family) {
                        generations.refresh_ends();
                    }
                }
            }
            RouteRefreshKind::Request | RouteRefreshKind::Unknown(_) => {}
        }
    }

    /// Removes everything that is not of a current generation, at once.
    pub(super) fn free_generations(&mut self, id: NeighborId, now: Instant) {
        if let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) {
            for generations in neighbor.table.families_mut() {
                generations.doom_lost_and_replaced();
            }
        }
        while self.sweep(id, usize::MAX, now) {}
    }
}
