//! What subscribers are told of the footprint, and when.
//!
//! A node that follows its routers at once carries every accident of theirs into steering. So there
//! are two brakes between the footprint and those who follow it:
//! * [`Guard`]: if the footprint grows or shrinks by more than a bound, nothing is told until it is
//!   back within it, or until an operator has looked and approves;
//! * [`Damping`]: a prefix that comes and goes again and again is left as it was told last until it
//!   has been calm for a while.
//!
//! Neither changes the footprint itself, which always is what the routes say.

mod damping;
mod guard;
mod subscribers;

use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::totals::Totals;

pub use damping::DampedPrefix;
use damping::Damping;
use guard::Guard;
pub use guard::{Held, Verdict};
pub use subscribers::SubscriberId;
use subscribers::Subscribers;

/// How the export is guarded: `[footprint]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportRules {
    /// By how many percent prefixes or addresses of a family may grow or shrink in five minutes; 0: by
    /// any.
    pub max_change: u8,
    /// Whether flapping prefixes are damped.
    pub damping: bool,
}

impl Default for ExportRules {
    fn default() -> Self {
        Self { max_change: 50, damping: true }
    }
}

/// What has become of a prefix of the footprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Come,
    Gone,
    /// It is there as before, but a better or worse route is its best.
    Attributes,
}

/// Why a route has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its neighbor has said so, in one way or another.
    Told,
    /// Its neighbor has been away for longer than it is waited for.
    Expired,
}

#[derive(Debug)]
pub(super) struct Export {
    subscribers: Subscribers,
    guard: Guard,
    damping: Option<Damping>,
}

impl Export {
    pub(super) fn new(rules: ExportRules) -> Self {
        Self {
            subscribers: Subscribers::default(),
            guard: Guard::new(rules.max_change),
            damping: rules.damping.then(Damping::default),
        }
    }

    /// A prefix of the footprint has come, gone, or become something else. `is_expected`: the guard
    /// counts with it.
    pub(super) fn changed(
        &mut self,
        prefix: IpNet,
        change: Change,
        is_expected: bool,
        now: Instant,
    ) {
        if change != Change::Attributes && !is_expected {
            self.guard.changed(&prefix, now);
        }
        let damped = self.damping.as_mut().is_some_and(|damping| {
            if change == Change::Gone {
                damping.withdrawn(prefix, now);
            }
            damping.holds_back(&prefix)
        });
        if !damped {
            self.subscribers.changed(prefix);
        }
    }

    /// Whether anybody wants to know.
    pub(super) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    pub(super) fn subscribe(&mut self) -> SubscriberId {
        self.subscribers.add()
    }

    /// Whether subscribers may be told anything now.
    pub(super) fn is_open(&self) -> bool {
        self.guard.is_open()
    }

    /// Prefixes that a subscriber has not been told of, at most `max`.
    pub(super) fn take(&mut self, id: &SubscriberId, max: usize) -> Vec<IpNet> {
        if self.is_open() { self.subscribers.take(id, max) } else { Vec::new() }
    }

    /// When [`Export::handle_timeout`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let damping = self.damping.as_ref().and_then(Damping::next_deadline);
        self.guard.next_deadline().into_iter().chain(damping).min()
    }

    /// Releases what has calmed down, and judges the size of the footprint if that is due.
    pub(super) fn handle_timeout(
        &mut self,
        totals: impl FnOnce() -> Totals,
        now: Instant,
    ) -> Option<Verdict> {
        if let Some(damping) = &mut self.damping {
            for prefix in damping.release(now) {
                self.subscribers.changed(prefix);
            }
        }
        let due = self.guard.next_deadline().is_some_and(|due| due <= now);
        if due { self.guard.judge(totals(), now) } else { None }
    }

    /// An operator says that the footprint is right as it is; whether anything was held.
    pub(super) fn approve(&mut self, totals: Totals, now: Instant) -> bool {
        self.guard.approve(totals, now)
    }

    /// What is known to be right: a change beyond the bound from here is an accident.
    pub(super) fn restored(&mut self, totals: Totals, now: Instant) {
        self.guard.restored(totals, now);
    }

    /// A part of the footprint goes because its neighbor has been away for longer than the operator
    /// lets it: that is no accident.
    pub(super) fn neighbor_is_away(&mut self, neighbor: IpAddr, share: Totals) {
        self.guard.neighbor_is_away(neighbor, share);
    }

    /// Whether a neighbor may bring back what it took with it.
    pub(super) fn awaits(&self, neighbor: IpAddr) -> bool {
        self.guard.awaits(neighbor)
    }

    /// A neighbor that is awaited brings something; whether it is still what it took with it.
    pub(super) fn neighbor_is_back(&mut self, neighbor: IpAddr, share: Totals) -> bool {
        self.guard.neighbor_is_back(neighbor, share)
    }

    pub(super) fn held(&self) -> Option<Held> {
        self.guard.held()
    }

    pub(super) fn damped(&self) -> usize {
        self.damping.as_ref().map_or(0, Damping::len)
    }

    pub(super) fn damped_prefixes(&self, now: Instant) -> Vec<DampedPrefix> {
        self.damping.as_ref().map(|damping| damping.list(now)).unwrap_or_default()
    }
}
