//! The checks on the OPEN that we get, and what follows from it and the one that we sent.
//!
//! A capability is in use when it stands in both OPENs (RFC 5492 §3): so what we do not offer, by
//! setting or because the neighbor is too old, is not in use either.

use std::net::Ipv4Addr;

use bytes::Bytes;
use mcc_config::BgpRole;
use serde::Serialize;

use super::role;
use super::settings::PeerSettings;
use crate::wire::subcode::open as subcode;
use crate::wire::{
    AddPathMode, Capability, Family, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Notification,
    NotificationCode, Open,
};

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Negotiated {
    /// The neighbor's BGP identifier.
    pub remote_id: Ipv4Addr,
    /// The smaller of both hold times in seconds; 0: the session never times out.
    pub hold_time: u16,
    /// Families that both sides offered.
    pub families: Vec<Family>,
    /// AS numbers on the wire have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Both sides take messages of up to 65,535 bytes (RFC 8654).
    pub extended_message: bool,
    /// The longest message that the neighbor may send, in bytes: what we have said that we take
    /// (RFC 8654 §4), whatever it takes itself. What we send is short.
    #[serde(skip)]
    pub longest_received: usize,
    /// We may ask for the table again (RFC 2918).
    pub route_refresh: bool,
    /// The answer is bracketed by markers (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Families in which the neighbor sends several paths a prefix (RFC 7911).
    pub add_path_receive: Vec<Family>,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// What the neighbor said on graceful restart (RFC 4724); `None` also if we do not offer it.
    pub graceful_restart: Option<GracefulRestart>,
    /// Families whose stale routes are kept for long (RFC 9494).
    pub long_lived: Vec<LongLived>,
    /// What the neighbor's AS is to ours, as it says (RFC 9234 §4.2); `None` if it says nothing, or if
    /// we have no role.
    pub remote_role: Option<BgpRole>,
    /// The capabilities of our OPEN.
    pub offered: Vec<ShownCapability>,
    /// The capabilities of the neighbor's OPEN, unknown ones included.
    pub received: Vec<ShownCapability>,
}

/// The neighbor's graceful restart capability, as far as a helper uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GracefulRestart {
    /// It is coming back from a restart.
    pub restarting: bool,
    /// Both sides want routes to be kept across a NOTIFICATION too (RFC 8538).
    pub notification: bool,
    /// Seconds that it needs to come back.
    pub restart_time: u16,
    /// Families whose routes are to be kept.
    pub families: Vec<Family>,
}

/// For how long stale routes of a family are kept once graceful restart gives them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LongLived {
    /// The family.
    pub family: Family,
    /// What the neighbor asks for or we allow, whichever is less; 1 to 16,777,215.
    pub seconds: u32,
}

/// A capability as it stood in an OPEN, for people. The same name stands in
/// [`Negotiated::capabilities`] if it is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownCapability {
    /// Capability code (RFC 5492 §4).
    pub code: u8,
    /// Its name: `route-refresh`; `capability-128` if it has none.
    pub name: String,
    /// What its value says, if there is more to say than the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<&Capability> for ShownCapability {
    fn from(capability: &Capability) -> Self {
        Self { code: capability.code(), name: capability.name(), detail: capability.detail() }
    }
}

impl Negotiated {
    /// Names of what was agreed, for people: `four-octet-as`, `route-refresh`, ….
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        let mut names: Vec<String> = self.families.iter().map(ToString::to_string).collect();
        let flags = [
            ("four-octet-as", self.four_octet_as),
            ("route-refresh", self.route_refresh),
            ("enhanced-route-refresh", self.enhanced_route_refresh),
            ("extended-message", self.extended_message),
            ("graceful-restart", self.graceful_restart.is_some()),
            ("long-lived-graceful-restart", !self.long_lived.is_empty()),
            ("add-path", !self.add_path_receive.is_empty()),
            ("extended-next-hop", self.extended_next_hop),
            ("role", self.remote_role.is_some()),
        ];
        names.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()));
        names
    }
}

/// Why an OPEN is refused: what the neighbor is told, and what the operator is told beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRefusal {
    /// For the neighbor (RFC 4271 §6.2).
    pub notification: Notification,
    /// For the operator: what was found, what was expected.
    pub detail: String,
}

/// Checks the neighbor's OPEN (RFC 4271 §6.2) and says what both sides agreed on. `sent` is the
/// OPEN of ours that it answers, or that will answer it.
///
/// # Errors
/// * 2/2: another AS number than the configured one.
/// * 2/3: identifier 0, or ours inside one AS (RFC 6286 §2.2).
/// * 2/6: a hold time of 1 or 2 seconds.
/// * 2/7: no family in common (RFC 5492 §3).
/// * 2/11: roles that do not fit (RFC 9234 §4.2).
pub fn negotiate(
    settings: &PeerSettings,
    sent: &Open,
    received: &Open,
) -> Result<Negotiated, OpenRefusal> {
    check_identity(settings, received)?;
    let families = common_families(sent, received);
    if families.is_empty() {
        let offered: Vec<_> = named_families(received).map(|family| family.to_string()).collect();
        let detail = format!("the router offers only {}", offered.join(", "));
        let missing = multiprotocol_capabilities(settings);
        return Err(refusal(subcode::UNSUPPORTED_CAPABILITY, missing, detail));
    }
    let in_both = |wanted: &Capability| {
        sent.capabilities.contains(wanted) && received.capabilities.contains(wanted)
    };
    let has_four_octets = |open: &Open| {
        open.capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)))
    };
    let shown = |open: &Open| open.capabilities.iter().map(ShownCapability::from).collect();
    let graceful_restart = graceful_restart(sent, received, &families);
    Ok(Negotiated {
        remote_id: received.bgp_id,
        hold_time: settings.hold_time.min(received.hold_time),
        four_octet_as: has_four_octets(sent) && has_four_octets(received),
        extended_message: in_both(&Capability::ExtendedMessage),
        longest_received: if sent.capabilities.contains(&Capability::ExtendedMessage) {
            MAX_EXTENDED_MESSAGE
        } else {
            MAX_MESSAGE
        },
        route_refresh: in_both(&Capability::RouteRefresh),
        enhanced_route_refresh: in_both(&Capability::EnhancedRouteRefresh),
        add_path_receive: families
            .iter()
            .copied()
            .filter(|&family| receives_paths(sent, family) && sends_paths(received, family))
            .collect(),
        extended_next_hop: families.contains(&Family::IPV4_UNICAST)
            && takes_ipv6_next_hop(sent)
            && takes_ipv6_next_hop(received),
        long_lived: match &graceful_restart {
            Some(_) => long_lived(sent, received, &families),
            // Means nothing alone (RFC 9494 §4.1).
            None => Vec::new(),
        },
        graceful_restart,
        remote_role: remote_role(settings, sent, received)?,
        offered: shown(sent),
        received: shown(received),
        families,
    })
}

fn check_identity(settings: &PeerSettings, open: &Open) -> Result<(), OpenRefusal> {
    let refused = |subcode, detail| Err(refusal(subcode, Bytes::new(), detail));
    if open.asn != settings.asn {
        let detail = format!(
            "the router says AS {}, this neighbor is configured with asn = {}",
            open.asn, settings.asn
        );
        return refused(subcode::BAD_PEER_AS, detail);
    }
    if open.bgp_id.is_unspecified() {
        let detail = "the router's identifier is 0.0.0.0".to_owned();
        return refused(subcode::BAD_BGP_IDENTIFIER, detail);
    }
    if settings.is_internal() && open.bgp_id == settings.router_id {
        let detail = format!("the router has our own identifier {}", open.bgp_id);
        return refused(subcode::BAD_BGP_IDENTIFIER, detail);
    }
    if matches!(open.hold_time, 1 | 2) {
        let detail = format!("{} s, expected 0 or at least 3 s", open.hold_time);
        return refused(subcode::UNACCEPTABLE_HOLD_TIME, detail);
    }
    Ok(())
}

fn named_families(open: &Open) -> impl Iterator<Item = Family> {
    open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Multiprotocol(family) => Some(*family),
        _ => None,
    })
}

/// In our order. A speaker that names no family means IPv4 unicast (RFC 4760 §8).
fn common_families(sent: &Open, received: &Open) -> Vec<Family> {
    let families = |open: &Open| {
        let named: Vec<_> = named_families(open).collect();
        if named.is_empty() { vec![Family::IPV4_UNICAST] } else { named }
    };
    let theirs = families(received);
    families(sent).into_iter().filter(|family| theirs.contains(family)).collect()
}

/// Whether an OPEN has `family` with one of `wanted` in its ADD-PATH capability (RFC 7911 §4).
fn has_add_path(open: &Open, family: Family, wanted: [AddPathMode; 2]) -> bool {
    open.capabilities.iter().any(|capability| match capability {
        Capability::AddPath(modes) => {
            modes.iter().any(|(f, mode)| *f == family && wanted.contains(mode))
        }
        _ => false,
    })
}

fn receives_paths(open: &Open, family: Family) -> bool {
    has_add_path(open, family, [AddPathMode::Receive, AddPathMode::Both])
}

fn sends_paths(open: &Open, family: Family) -> bool {
    has_add_path(open, family, [AddPathMode::Send, AddPathMode::Both])
}

fn takes_ipv6_next_hop(open: &Open) -> bool {
    let wanted = (Family::IPV4_UNICAST, Family::IPV6_UNICAST.afi);
    open.capabilities.iter().any(|capability| match capability {
        Capability::ExtendedNextHop(families) => families.contains(&wanted),
        _ => false,
    })
}

/// Of several instances the last one counts (RFC 4724 §3).
fn graceful_restart(sent: &Open, received: &Open, families: &[Family]) -> Option<GracefulRestart> {
    let last = |open: &Open| {
        open.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::GracefulRestart { restarting, notification, restart_time, families } => {
                let families: Vec<_> = families.iter().map(|(family, _)| *family).collect();
                Some(GracefulRestart {
                    restarting: *restarting,
                    notification: *notification,
                    restart_time: *restart_time,
                    families,
                })
            }
            _ => None,
        })
    };
    let (ours, mut theirs) = (last(sent)?, last(received)?);
    theirs.notification &= ours.notification;
    theirs.families.retain(|family| families.contains(family));
    Some(theirs)
}

/// Of several instances the last one counts, as for graceful restart.
fn long_lived(sent: &Open, received: &Open, families: &[Family]) -> Vec<LongLived> {
    let last = |open: &Open, family: Family| {
        let all = open.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(all) => Some(all),
            _ => None,
        })?;
        all.iter().find(|(f, _, _)| *f == family).map(|(_, _, seconds)| *seconds)
    };
    let agreed = families.iter().filter_map(|&family| {
        let seconds = last(sent, family)?.min(last(received, family)?);
        (seconds > 0).then_some(LongLived { family, seconds })
    });
    agreed.collect()
}

/// The neighbor's role, if both have sent one.
fn remote_role(
    settings: &PeerSettings,
    sent: &Open,
    received: &Open,
) -> Result<Option<BgpRole>, OpenRefusal> {
    let is_role = |capability: &Capability| matches!(capability, Capability::Role(_));
    let Some(ours) = settings.role.filter(|_| sent.capabilities.iter().any(is_role)) else {
        return Ok(None);
    };
    role::of_neighbor(ours, settings.role_strict, received)
        .map_err(|detail| refusal(subcode::ROLE_MISMATCH, Bytes::new(), detail))
}

fn refusal(subcode: u8, data: Bytes, detail: String) -> OpenRefusal {
    let notification = Notification { code: NotificationCode::OpenMessage, subcode, data };
    OpenRefusal { notification, detail }
}

/// The capabilities that the neighbor lacks, as they would stand in an OPEN (RFC 5492 §3).
fn multiprotocol_capabilities(settings: &PeerSettings) -> Bytes {
    let encode = |family: &Family| {
        let [high, low] = family.afi.to_be_bytes();
        [1, 4, high, low, 0, family.safi]
    };
    settings.families().iter().flat_map(encode).collect()
}

#[cfg(test)]
mod tests;
