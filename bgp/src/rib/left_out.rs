//! Which routes were left out because of `max_prefixes` with `discard-new`.
//!
//! They are remembered one by one, so that their number is that of routes and not of announcements: a
//! route that is announced again counts once, and one that is withdrawn, taken after all, or not part
//! of a completed refresh counts no more. Asking the router for its table changes nothing here: what it
//! does not send stays missing, and stays told.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::rebuilt_update::family_of;
use crate::wire::{Family, Nlri};

/// So many are remembered; the number of more is not known, only that there are. 8 MiB.
pub(super) const MOST: usize = 1 << 18;

type Set = HashSet<Nlri, RandomState>;

#[derive(Debug, Default)]
pub(super) struct LeftOut {
    routes: Set,
    /// Of these a refresh that goes on has not spoken yet.
    not_refreshed: Set,
    /// There have been more than are remembered.
    more: bool,
}

impl LeftOut {
    /// How many; [`MOST`] stands for that many and more.
    pub(super) fn count(&self) -> u32 {
        let known = self.routes.len() + self.not_refreshed.len();
        let count = if self.more { MOST } else { known };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// A route is left out.
    pub(super) fn add(&mut self, route: Nlri) {
        self.not_refreshed.remove(&route);
        if self.routes.len() + self.not_refreshed.len() < MOST {
            self.routes.insert(route);
        } else {
            self.more |= !self.routes.contains(&route);
        }
    }

    /// A route is taken after all, or withdrawn.
    pub(super) fn remove(&mut self, route: Nlri) {
        // Asked for each route, and nearly always there are none.
        if self.routes.is_empty() && self.not_refreshed.is_empty() {
            return;
        }
        if !self.routes.remove(&route) {
            self.not_refreshed.remove(&route);
        }
    }

    /// A refresh of a family begins (RFC 7313 §4).
    pub(super) fn refresh_begins(&mut self, family: Family) {
        let of_family = self.routes.extract_if(|route| family_of(&route.prefix) == family);
        self.not_refreshed.extend(of_family);
    }

    /// The refresh is complete: of what it left unsaid there is nothing to be had.
    pub(super) fn refresh_ends(&mut self, family: Family) {
        self.not_refreshed.retain(|route| family_of(&route.prefix) != family);
        self.more &= self.routes.len() + self.not_refreshed.len() >= MOST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::nlri;

    #[test]
    fn routes_are_counted_and_not_announcements() {
        let mut left_out = LeftOut::default();
        left_out.add(nlri("8.0.0.0/16"));
        left_out.add(nlri("8.0.0.0/16"));
        left_out.add(nlri("8.1.0.0/16"));
        assert_eq!(left_out.count(), 2);
        left_out.remove(nlri("8.0.0.0/16"));
        left_out.remove(nlri("8.2.0.0/16"));
        assert_eq!(left_out.count(), 1);
    }

    #[test]
    fn a_refresh_that_is_complete_clears_what_it_did_not_bring() {
        let mut left_out = LeftOut::default();
        let six = Nlri { prefix: crate::testing::prefix("2001:db8::/32"), path_id: 0 };
        for route in [nlri("8.0.0.0/16"), nlri("8.1.0.0/16"), six] {
            left_out.add(route);
        }
        left_out.refresh_begins(Family::IPV4_UNICAST);
        left_out.add(nlri("8.0.0.0/16"));
        assert_eq!(left_out.count(), 3, "nothing is known of the others yet");
        left_out.refresh_ends(Family::IPV4_UNICAST);
        assert_eq!(left_out.count(), 2);
    }

    #[test]
    fn more_than_are_remembered_are_not_forgotten() {
        let mut left_out = LeftOut::default();
        for i in 0..=u32::try_from(MOST).unwrap() {
            let address = std::net::Ipv4Addr::from(0x0800_0000 + (i << 8));
            left_out.add(nlri(&format!("{address}/24")));
        }
        left_out.remove(nlri("8.0.0.0/24"));
        assert_eq!(left_out.count() as usize, MOST);
        left_out.refresh_begins(Family::IPV4_UNICAST);
        left_out.refresh_ends(Family::IPV4_UNICAST);
        assert_eq!(left_out.count(), 0);
    }
}
