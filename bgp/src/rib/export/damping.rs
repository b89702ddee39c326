//! Leaves a prefix alone that comes and goes again and again.
//!
//! As routers do it (RFC 2439, with the numbers of RFC 7196 in spirit: only what flaps badly is
//! damped), but towards subscribers only: each time the footprint loses a prefix, that gets a penalty,
//! which halves every five minutes. Above one bound the prefix is damped, below another it is free.

use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use ipnet::IpNet;

/// For each time the prefix goes.
const PENALTY: f64 = 1000.0;
/// More makes the prefix damped: the fourth time within a minute or so.
const SUPPRESS: f64 = 3500.0;
/// Less sets it free: ten minutes and more after the last time.
const REUSE: f64 = 750.0;
/// Nothing grows beyond: an hour of calm at most.
const LARGEST: f64 = 12_000.0;
const HALF_LIFE: Duration = Duration::from_secs(300);
/// Below this it is as if nothing had been.
const FORGOTTEN: f64 = 250.0;
/// So many prefixes are watched; further ones are not while these last. 4 MiB at most.
const WATCHED: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Damping {
    watched: std::collections::HashMap<IpNet, Penalty, RandomState>,
    /// Those that are held back.
    damped: usize,
    /// When the first of them may be free; not later than it is.
    next_free: Option<Instant>,
    /// When what is watched is to be cleared of the forgotten.
    next_clearing: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Penalty {
    value: f64,
    at: Instant,
    damped: bool,
}

/// A prefix that is left as subscribers were told last.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DampedPrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// 1000 for each time it went, halved every five minutes.
    pub penalty: u32,
    /// Seconds until it is free, if it stays calm.
    pub free_in_seconds: u64,
}

impl Penalty {
    fn now(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.value * (-passed / HALF_LIFE.as_secs_f64()).exp2()
    }

    /// When it will have fallen to `value`.
    fn falls_to(&self, value: f64) -> Instant {
        let half_lives = (self.value / value).max(1.0).log2();
        self.at + HALF_LIFE.mul_f64(half_lives)
    }
}

impl Damping {
    /// How many prefixes are damped.
    pub(super) fn len(&self) -> usize {
        self.damped
    }

    pub(super) fn holds_back(&self, prefix: &IpNet) -> bool {
        self.damped > 0 && self.watched.get(prefix).is_some_and(|penalty| penalty.damped)
    }

    /// The footprint has lost a prefix.
    pub(super) fn withdrawn(&mut self, prefix: IpNet, now: Instant) {
        if self.watched.len() >= WATCHED && !self.watched.contains_key(&prefix) {
            return;
        }
        self.next_clearing.get_or_insert(now + HALF_LIFE);
        let penalty =
            self.watched.entry(prefix).or_insert(Penalty { value: 0.0, at: now, damped: false });
        penalty.value = (penalty.now(now) + PENALTY).min(LARGEST);
        penalty.at = now;
        if penalty.value > SUPPRESS && !penalty.damped {
            penalty.damped = true;
            self.damped += 1;
            let free = penalty.falls_to(REUSE);
            self.next_free = Some(self.next_free.map_or(free, |next| next.min(free)));
        }
    }

    /// When [`Damping::release`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.next_free, self.next_clearing].into_iter().flatten().min()
    }

    /// The prefixes that are free again; forgets those that have been calm for long.
    pub(super) fn release(&mut self, now: Instant) -> Vec<IpNet> {
        let mut free = Vec::new();
        if self.next_deadline().is_none_or(|due| now < due) {
            return free;
        }
        self.watched.retain(|prefix, penalty| {
            let value = penalty.now(now);
            if penalty.damped && penalty.falls_to(REUSE) <= now {
                penalty.damped = false;
                free.push(*prefix);
            }
            value > FORGOTTEN
        });
        self.damped -= free.len();
        let damped = self.watched.values().filter(|penalty| penalty.damped);
        self.next_free = damped.map(|penalty| penalty.falls_to(REUSE)).min();
        self.next_clearing = (!self.watched.is_empty()).then(|| now + HALF_LIFE);
        free
    }

    pub(super) fn list(&self, now: Instant) -> Vec<DampedPrefix> {
        let damped = self.watched.iter().filter(|(_, penalty)| penalty.damped);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 12,000")]
        let mut list: Vec<_> = damped
            .map(|(prefix, penalty)| DampedPrefix {
                prefix: *prefix,
                penalty: penalty.now(now) as u32,
                free_in_seconds: penalty.falls_to(REUSE).saturating_duration_since(now).as_secs(),
            })
            .collect();
        list.sort_by_key(|damped| damped.prefix);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prefix;

    #[test]
    fn only_what_flaps_badly_is_damped_and_calm_sets_it_free() {
        let mut damping = Damping::default();
        let (bad, good) = (prefix("8.8.0.0/16"), prefix("9.9.0.0/16"));
        let mut now = Instant::now();
        damping.withdrawn(good, now);
        for flaps in 1..=4 {
            assert!(!damping.holds_back(&bad), "after {flaps} flaps");
            damping.withdrawn(bad, now);
            now += Duration::from_secs(5);
        }
        assert!(damping.holds_back(&bad));
        assert!(!damping.holds_back(&good));
        let listed = damping.list(now);
        assert_eq!((listed.len(), listed[0].prefix), (1, bad));

        let free = damping.next_free.unwrap();
        let calm = free.duration_since(now);
        assert!((600..900).contains(&calm.as_secs()), "{calm:?}");
        assert!(damping.release(free - Duration::from_secs(1)).is_empty());
        assert_eq!(damping.release(free), [bad]);
        assert!(!damping.holds_back(&bad));
        assert_eq!((damping.len(), damping.next_free), (0, None));
        damping.release(free + HALF_LIFE * 10);
        assert_eq!(damping.next_deadline(), None, "nothing is watched any more");
    }

    #[test]
    fn a_slow_flap_is_never_damped() {
        let mut damping = Damping::default();
        let mut now = Instant::now();
        for _ in 0..1000 {
            damping.withdrawn(prefix("8.8.0.0/16"), now);
            now += Duration::from_secs(300);
        }
        assert_eq!(damping.len(), 0);
    }

    #[test]
    fn an_hour_of_flaps_is_not_more_than_an_hour_of_calm() {
        let mut damping = Damping::default();
        let now = Instant::now();
        for _ in 0..1000 {
            damping.withdrawn(prefix("8.8.0.0/16"), now);
        }
        damping.next_clearing = None;
        let free = std::iter::successors(damping.next_free, |free| {
            damping.release(*free);
            damping.next_free
        });
        let calm = free.last().unwrap().duration_since(now);
        assert!(calm <= Duration::from_secs(3600), "{calm:?}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut damping = Damping::default();
        let now = Instant::now();
        for i in 0..100_000u32 {
            damping
                .withdrawn(IpNet::new(std::net::Ipv4Addr::from(i << 8).into(), 24).unwrap(), now);
        }
        assert_eq!(damping.watched.len(), WATCHED);
        damping.release(now + HALF_LIFE * 3);
        assert!(damping.watched.is_empty());
    }
}
