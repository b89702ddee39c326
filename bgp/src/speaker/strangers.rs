//! What is logged of connections that no neighbor's address explains. A scan must not flood the log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One address is logged once in this time, and what is not logged is summed up after it.
const INTERVAL: Duration = Duration::from_secs(600);
/// So many addresses are logged in an interval; of further ones only how many connections came.
const ADDRESSES: usize = 16;

/// The strangers of one listener. Without a clock: time comes in.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Those that were logged, and when.
    logged: HashMap<IpAddr, Instant>,
    /// Connections that were not, and when that is told.
    unlogged: Option<Unlogged>,
}

#[derive(Debug)]
struct Unlogged {
    connections: u64,
    tell_at: Instant,
}

impl Strangers {
    /// A connection came from `from`: whether to log it.
    pub(super) fn knocks(&mut self, from: IpAddr, now: Instant) -> bool {
        self.logged.retain(|_, logged| now < *logged + INTERVAL);
        if self.logged.len() < ADDRESSES && !self.logged.contains_key(&from) {
            self.logged.insert(from, now);
            return true;
        }
        let fresh = Unlogged { connections: 0, tell_at: now + INTERVAL };
        self.unlogged.get_or_insert(fresh).connections += 1;
        false
    }

    /// When [`Strangers::summary`] is to be asked next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unlogged.as_ref().map(|unlogged| unlogged.tell_at)
    }

    /// How many connections were not logged in the interval that ends now.
    pub(super) fn summary(&mut self, now: Instant) -> Option<u64> {
        let unlogged = self.unlogged.take_if(|unlogged| unlogged.tell_at <= now)?;
        Some(unlogged.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_a_few_lines_and_a_sum() {
        let began = Instant::now();
        let mut strangers = Strangers::default();
        let scan = || (0..1000_u32).map(|i| IpAddr::from(i.to_be_bytes()));
        let logged = scan().filter(|from| strangers.knocks(*from, began)).count();
        assert_eq!(logged, ADDRESSES);
        assert_eq!(strangers.summary(began), None);
        assert_eq!(strangers.next_deadline(), Some(began + INTERVAL));
        let later = began + INTERVAL;
        assert_eq!(strangers.summary(later), Some(1000 - ADDRESSES as u64));
        assert_eq!((strangers.summary(later), strangers.next_deadline()), (None, None));
        assert!(scan().take(1).all(|from| strangers.knocks(from, later)), "logged anew");
    }

    #[test]
    fn the_same_address_is_logged_once_in_an_interval() {
        let (now, from) = (Instant::now(), IpAddr::from([192, 0, 2, 9]));
        let mut strangers = Strangers::default();
        assert!(strangers.knocks(from, now));
        assert!(!strangers.knocks(from, now));
        assert!(strangers.knocks(IpAddr::from([192, 0, 2, 8]), now));
        assert!(strangers.knocks(from, now + INTERVAL));
    }
}
