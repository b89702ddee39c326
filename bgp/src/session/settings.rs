//! What is known of a neighbor before it has said anything, and the OPEN that follows from it.

use std::net::Ipv4Addr;
use std::time::Duration;

use mcc_config::{BgpRole, Neighbor};

use super::role;
use crate::wire::{AddPathMode, Capability, Family, Open};

/// How long a neighbor may wait for us after our restart, in seconds. Not 0: BIRD then restarts its
/// own side as soon as the session is lost, and refuses our next connections meanwhile.
const OUR_RESTART_TIME: u16 = 120;
/// AFI of an IPv6 next hop (RFC 8950 §4).
const AFI_IPV6: u16 = 2;

/// What the state machine knows of a neighbor before it has said anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// The neighbor's AS number.
    pub asn: u32,
    /// Our AS number in this session.
    pub local_asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Proposed hold time in seconds: 0 (never expires) or at least 3.
    pub hold_time: u16,
    /// Whether to wait for the neighbor to dial instead of dialling too.
    pub passive: bool,
    /// The longest wait between two attempts (RFC 4271 §8, ConnectRetryTime).
    pub connect_retry: Duration,
    /// How long the neighbor may send its OPEN before ours (RFC 4271 §8, DelayOpenTime); 0: ours
    /// goes out at once.
    pub delay_open: Duration,
    /// How long the neighbor rests after it has announced more than it may.
    pub max_prefixes_rest: Duration,
    /// Whether to offer IPv6 unicast beside IPv4 unicast, and IPv6 next hops.
    pub ipv6: bool,
    /// Whether to offer graceful restart (RFC 4724, RFC 8538).
    pub graceful_restart: bool,
    /// This node comes back from a restart and has kept the neighbor's routes: says so in its OPENs
    /// until the first session is established (the R flag of RFC 4724 §3).
    pub restarted: bool,
    /// The most that long-lived stale routes are kept (RFC 9494); 0: not offered.
    pub long_lived_stale_time: Duration,
    /// Whether to offer to receive several paths a prefix (RFC 7911).
    pub add_path: bool,
    /// What our AS is to the neighbor's (RFC 9234); not sent in an internal session.
    pub role: Option<BgpRole>,
    /// Whether the neighbor has to be within a number of hops (RFC 5082): one more reason for silence.
    pub ttl_security: bool,
    /// Refuses a neighbor without a role (RFC 9234 §4.2); means nothing without `role`.
    pub role_strict: bool,
}

impl PeerSettings {
    /// From the configuration. `restarted` is not in it: that is for the caller to say.
    #[must_use]
    pub fn from_config(neighbor: &Neighbor, router_id: Ipv4Addr, ipv6: bool) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        Self {
            asn: neighbor.asn.get(),
            local_asn: neighbor.effective_local_asn().get(),
            router_id,
            hold_time: neighbor.hold_time,
            passive: neighbor.passive,
            connect_retry: seconds(u32::from(neighbor.connect_retry)),
            delay_open: seconds(u32::from(neighbor.delay_open)),
            max_prefixes_rest: seconds(neighbor.max_prefixes_rest),
            ipv6,
            graceful_restart: neighbor.graceful_restart,
            restarted: false,
            long_lived_stale_time: seconds(neighbor.long_lived_stale_time),
            add_path: neighbor.add_path,
            role: neighbor.role,
            ttl_security: neighbor.ttl_security.is_some(),
            role_strict: neighbor.role_strict,
        }
    }

    /// Whether the session is internal (iBGP).
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.asn == self.local_asn
    }

    /// Whether an OPEN without capabilities says who we are: it has two octets for our AS number.
    pub(super) fn can_go_without_capabilities(&self) -> bool {
        u16::try_from(self.local_asn).is_ok()
    }

    /// What to look at when nothing at all comes from the neighbor.
    pub(super) fn if_silent(&self) -> &'static str {
        if self.ttl_security {
            "check the address, firewalls, the password and TTL security on both sides"
        } else {
            "check the address, firewalls and the password on both sides"
        }
    }

    /// The families that we offer.
    #[must_use]
    pub fn families(&self) -> &'static [Family] {
        if self.ipv6 {
            &[Family::IPV4_UNICAST, Family::IPV6_UNICAST]
        } else {
            &[Family::IPV4_UNICAST]
        }
    }

    /// Our OPEN; `restarting` says that we come back from a restart.
    ///
    /// ADD-PATH is offered for receiving only. Graceful restart is offered (RFC 4724) so that the
    /// neighbor knows that we keep its routes, and so that it takes a new connection at once after
    /// we have lost our power; we have no routes of our own that it could keep. No role is claimed
    /// (RFC 9234) unless the operator says which: a wrong one makes the router refuse the session.
    #[must_use]
    pub fn open(&self, restarting: bool) -> Open {
        let families = self.families();
        let mut capabilities: Vec<_> =
            families.iter().copied().map(Capability::Multiprotocol).collect();
        capabilities.extend([
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::FourOctetAs(self.local_asn),
            Capability::ExtendedMessage,
        ]);
        if self.ipv6 {
            let ipv4_over_ipv6 = vec![(Family::IPV4_UNICAST, AFI_IPV6)];
            capabilities.push(Capability::ExtendedNextHop(ipv4_over_ipv6));
        }
        if let Some(role) = self.role.filter(|_| !self.is_internal()) {
            capabilities.push(Capability::Role(role::code(role)));
        }
        if self.add_path {
            let receive = families.iter().map(|&family| (family, AddPathMode::Receive));
            capabilities.push(Capability::AddPath(receive.collect()));
        }
        if self.graceful_restart {
            capabilities.push(Capability::GracefulRestart {
                restarting,
                notification: true,
                restart_time: OUR_RESTART_TIME,
                families: families.iter().map(|&family| (family, false)).collect(),
            });
            // Never without graceful restart (RFC 9494 §4.1).
            let stale_time = u32::try_from(self.long_lived_stale_time.as_secs());
            let stale_time = stale_time.unwrap_or(u32::MAX).min(Capability::MAX_STALE_TIME);
            if stale_time > 0 {
                let families = families.iter().map(|&family| (family, false, stale_time));
                capabilities.push(Capability::LongLivedGracefulRestart(families.collect()));
            }
        }
        Open {
            asn: self.local_asn,
            hold_time: self.hold_time,
            bgp_id: self.router_id,
            capabilities,
        }
    }
}
