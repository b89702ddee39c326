//! How large a footprint is, each address family by itself: one IPv6 /32 has more addresses than all
//! of IPv4, so in a sum of both the loss of all IPv4 would not be seen.

use ipnet::IpNet;
use serde::Serialize;

/// IPv6 is counted in these: what a site of a client has at most (RFC 6177).
const SLASH_48: u128 = 1 << 80;

/// The size of a footprint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Its IPv4 prefixes.
    pub ipv4: FamilyTotals,
    /// Its IPv6 prefixes.
    pub ipv6: FamilyTotals,
}

/// The size of what a footprint has of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FamilyTotals {
    /// Prefixes.
    pub prefixes: usize,
    /// Addresses that they cover together; `u128::MAX` stands for the whole of IPv6.
    pub addresses: u128,
}

impl Totals {
    /// Of one prefix with so many addresses that count.
    pub(super) fn of_one(prefix: &IpNet, addresses: u128) -> Self {
        let mut totals = Self::default();
        *totals.family_mut(prefix) = FamilyTotals { prefixes: 1, addresses };
        totals
    }

    /// Prefixes of both families.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.ipv4.prefixes.saturating_add(self.ipv6.prefixes)
    }

    /// IPv4 addresses.
    #[must_use]
    pub fn addresses(&self) -> u64 {
        u64::try_from(self.ipv4.addresses).unwrap_or(u64::MAX)
    }

    /// The IPv6 addresses, in /48s, of which the last may be a part.
    #[must_use]
    pub fn ipv6_slash48s(&self) -> u64 {
        u64::try_from(self.ipv6.addresses.div_ceil(SLASH_48)).unwrap_or(u64::MAX)
    }

    pub(super) fn family_mut(&mut self, prefix: &IpNet) -> &mut FamilyTotals {
        match prefix {
            IpNet::V4(_) => &mut self.ipv4,
            IpNet::V6(_) => &mut self.ipv6,
        }
    }

    pub(super) fn with(self, share: Self) -> Self {
        Self { ipv4: self.ipv4.with(share.ipv4), ipv6: self.ipv6.with(share.ipv6) }
    }

    pub(super) fn without(self, share: Self) -> Self {
        Self { ipv4: self.ipv4.without(share.ipv4), ipv6: self.ipv6.without(share.ipv6) }
    }

    /// Whether `share` may be a part of it.
    pub(super) fn has(self, share: Self) -> bool {
        self.ipv4.has(share.ipv4) && self.ipv6.has(share.ipv6)
    }
}

impl FamilyTotals {
    fn with(self, share: Self) -> Self {
        Self {
            prefixes: self.prefixes.saturating_add(share.prefixes),
            addresses: self.addresses.saturating_add(share.addresses),
        }
    }

    fn without(self, share: Self) -> Self {
        Self {
            prefixes: self.prefixes.saturating_sub(share.prefixes),
            addresses: self.addresses.saturating_sub(share.addresses),
        }
    }

    fn has(self, share: Self) -> bool {
        self.prefixes >= share.prefixes && self.addresses >= share.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_counted_in_48s_without_overflow() {
        let slash48s = |addresses| {
            let prefix: IpNet = "2001:db8::/32".parse().unwrap();
            Totals::of_one(&prefix, addresses).ipv6_slash48s()
        };
        assert_eq!(slash48s(0), 0);
        assert_eq!(slash48s(1 << 96), 65_536);
        assert_eq!(slash48s(1 << 72), 1, "a /56 is a part of one");
        assert_eq!(slash48s(u128::MAX), 1 << 48, "all of IPv6");
        let default: IpNet = "0.0.0.0/0".parse().unwrap();
        assert_eq!(Totals::of_one(&default, 1 << 32).addresses(), 1 << 32);
    }
}
