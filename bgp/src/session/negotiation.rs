//! The OPEN that we send, the checks on the OPEN that we get, and what follows from both.

use std::net::Ipv4Addr;

use bytes::Bytes;
use serde::Serialize;

use crate::wire::subcode::open as subcode;
use crate::wire::{AddPathMode, Capability, Family, Notification, NotificationCode, Open};

/// How long a neighbor may wait for us after our restart, in seconds. Not 0: BIRD then restarts its
/// own side as soon as the session is lost, and refuses our next connections meanwhile.
const OUR_RESTART_TIME: u16 = 120;

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
    /// Whether to offer IPv6 unicast beside IPv4 unicast.
    pub ipv6: bool,
}

impl PeerSettings {
    /// Whether the session is internal (iBGP).
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.asn == self.local_asn
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

    /// Our OPEN.
    ///
    /// ADD-PATH is offered for receiving only. Graceful restart is offered (RFC 4724) so that the
    /// neighbor knows that we keep its routes, and so that it takes a new connection at once after
    /// we have lost our power; we have no routes of our own that it could keep. No role is claimed
    /// (RFC 9234): a wrong one makes a strict router refuse the session.
    #[must_use]
    pub fn open(&self) -> Open {
        let families = self.families();
        let mut capabilities: Vec<_> =
            families.iter().copied().map(Capability::Multiprotocol).collect();
        capabilities.extend([
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::FourOctetAs(self.local_asn),
            Capability::ExtendedMessage,
            Capability::AddPath(families.iter().map(|&f| (f, AddPathMode::Receive)).collect()),
            Capability::GracefulRestart {
                restarting: false,
                notification: false,
                restart_time: OUR_RESTART_TIME,
                families: families.iter().map(|&family| (family, false)).collect(),
            },
        ]);
        Open {
            asn: self.local_asn,
            hold_time: self.hold_time,
            bgp_id: self.router_id,
            capabilities,
        }
    }
}

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
    /// Messages may be up to 65,535 bytes long (RFC 8654).
    pub extended_message: bool,
    /// We may ask for the table again (RFC 2918).
    pub route_refresh: bool,
    /// The answer is bracketed by markers (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Families in which the neighbor sends several paths a prefix (RFC 7911).
    pub add_path_receive: Vec<Family>,
    /// What the neighbor said on graceful restart (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
}

/// The neighbor's graceful restart capability, as far as a helper uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GracefulRestart {
    /// It is coming back from a restart.
    pub restarting: bool,
    /// Routes are to be kept across a NOTIFICATION too (RFC 8538).
    pub notification: bool,
    /// Seconds that it needs to come back.
    pub restart_time: u16,
    /// Families whose routes are to be kept.
    pub families: Vec<Family>,
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
            ("add-path-receive", !self.add_path_receive.is_empty()),
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

/// Checks the neighbor's OPEN (RFC 4271 §6.2) and says what both sides agreed on.
///
/// # Errors
/// * 2/2: another AS number than the configured one.
/// * 2/3: identifier 0, or ours inside one AS (RFC 6286 §2.2).
/// * 2/6: a hold time of 1 or 2 seconds.
/// * 2/7: no family in common (RFC 5492 §3).
pub fn negotiate(settings: &PeerSettings, open: &Open) -> Result<Negotiated, OpenRefusal> {
    if open.asn != settings.asn {
        let detail = format!(
            "the router says AS {}, this neighbor is configured with asn = {}",
            open.asn, settings.asn
        );
        return Err(refusal(subcode::BAD_PEER_AS, Bytes::new(), detail));
    }
    if open.bgp_id.is_unspecified() {
        return Err(refusal(
            subcode::BAD_BGP_IDENTIFIER,
            Bytes::new(),
            "the router's identifier is 0.0.0.0".to_owned(),
        ));
    }
    if settings.is_internal() && open.bgp_id == settings.router_id {
        let detail = format!("the router has our own identifier {}", open.bgp_id);
        return Err(refusal(subcode::BAD_BGP_IDENTIFIER, Bytes::new(), detail));
    }
    if matches!(open.hold_time, 1 | 2) {
        let detail = format!("{} s, expected 0 or at least 3 s", open.hold_time);
        return Err(refusal(subcode::UNACCEPTABLE_HOLD_TIME, Bytes::new(), detail));
    }
    let families = common_families(settings, open);
    if families.is_empty() {
        let offered: Vec<_> = offered_families(open).map(|family| family.to_string()).collect();
        let detail = format!("the router offers only {}", offered.join(", "));
        return Err(refusal(
            subcode::UNSUPPORTED_CAPABILITY,
            multiprotocol_capabilities(settings),
            detail,
        ));
    }
    let has = |wanted: &Capability| open.capabilities.contains(wanted);
    Ok(Negotiated {
        remote_id: open.bgp_id,
        hold_time: settings.hold_time.min(open.hold_time),
        four_octet_as: open.capabilities.iter().any(|c| matches!(c, Capability::FourOctetAs(_))),
        extended_message: has(&Capability::ExtendedMessage),
        route_refresh: has(&Capability::RouteRefresh),
        enhanced_route_refresh: has(&Capability::EnhancedRouteRefresh),
        add_path_receive: families
            .iter()
            .copied()
            .filter(|&family| sends_several_paths(open, family))
            .collect(),
        graceful_restart: open.capabilities.iter().find_map(graceful_restart),
        families,
    })
}

fn offered_families(open: &Open) -> impl Iterator<Item = Family> {
    open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Multiprotocol(family) => Some(*family),
        _ => None,
    })
}

/// A speaker that names no family means IPv4 unicast (RFC 4760 §8).
fn common_families(settings: &PeerSettings, open: &Open) -> Vec<Family> {
    let names_none = offered_families(open).next().is_none();
    let is_offered = |family: &Family| {
        (names_none && *family == Family::IPV4_UNICAST)
            || offered_families(open).any(|offered| offered == *family)
    };
    settings.families().iter().copied().filter(is_offered).collect()
}

fn sends_several_paths(open: &Open, family: Family) -> bool {
    open.capabilities.iter().any(|capability| match capability {
        Capability::AddPath(modes) => modes
            .iter()
            .any(|(f, mode)| *f == family && matches!(mode, AddPathMode::Send | AddPathMode::Both)),
        _ => false,
    })
}

fn graceful_restart(capability: &Capability) -> Option<GracefulRestart> {
    let Capability::GracefulRestart { restarting, notification, restart_time, families } =
        capability
    else {
        return None;
    };
    Some(GracefulRestart {
        restarting: *restarting,
        notification: *notification,
        restart_time: *restart_time,
        families: families.iter().map(|(family, _)| *family).collect(),
    })
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
mod tests {
    use super::*;
    use crate::session::tests::{LOW, OURS, restarting_open, settings, their_open};

    #[test]
    fn opens_that_are_refused() {
        let internal = settings();
        let external = PeerSettings { local_asn: 65200, ..settings() };
        let with = |change: &dyn Fn(&mut Open)| {
            let mut open = their_open(LOW);
            change(&mut open);
            open
        };
        let only_ipv6 = |open: &mut Open| {
            open.capabilities[0] = Capability::Multiprotocol(Family::IPV6_UNICAST);
        };
        let refused = |settings: &PeerSettings, open: &Open| {
            let refusal = negotiate(settings, open).unwrap_err();
            (refusal.notification.subcode, refusal.detail, refusal.notification.data.to_vec())
        };
        let text = "the router says AS 65101, this neighbor is configured with asn = 65100";
        assert_eq!(refused(&internal, &with(&|o| o.asn = 65101)), (2, text.to_owned(), vec![]));
        assert_eq!(refused(&internal, &with(&|o| o.bgp_id = OURS)).0, 3);
        assert!(negotiate(&external, &with(&|o| o.bgp_id = OURS)).is_ok(), "RFC 6286 §2.2");
        assert_eq!(refused(&internal, &with(&|o| o.bgp_id = Ipv4Addr::UNSPECIFIED)).0, 3);
        for hold_time in [1, 2] {
            assert_eq!(refused(&internal, &with(&|o| o.hold_time = hold_time)).0, 6);
        }
        let (subcode, detail, data) = refused(&internal, &with(&only_ipv6));
        assert_eq!((subcode, data), (7, vec![1, 4, 0, 1, 0, 1]));
        assert_eq!(detail, "the router offers only ipv6-unicast");
        let both = PeerSettings { ipv6: true, ..settings() };
        assert_eq!(negotiate(&both, &with(&only_ipv6)).unwrap().families, [Family::IPV6_UNICAST]);
    }

    #[test]
    fn what_both_sides_agree_on() {
        let bare = Open { capabilities: vec![], hold_time: 0, ..their_open(LOW) };
        let agreed = negotiate(&settings(), &bare).unwrap();
        assert_eq!(agreed.families, [Family::IPV4_UNICAST]);
        assert_eq!(agreed.hold_time, 0);
        assert_eq!(agreed.capabilities(), ["ipv4-unicast"]);

        let mut full = restarting_open();
        full.capabilities.extend([
            Capability::ExtendedMessage,
            Capability::EnhancedRouteRefresh,
            Capability::AddPath(vec![
                (Family::IPV4_UNICAST, AddPathMode::Both),
                (Family::IPV6_UNICAST, AddPathMode::Send),
            ]),
        ]);
        let agreed = negotiate(&settings(), &full).unwrap();
        assert_eq!(
            agreed.capabilities(),
            [
                "ipv4-unicast",
                "four-octet-as",
                "route-refresh",
                "enhanced-route-refresh",
                "extended-message",
                "graceful-restart",
                "add-path-receive"
            ]
        );
        assert_eq!(agreed.add_path_receive, [Family::IPV4_UNICAST]);
        assert_eq!(agreed.graceful_restart.unwrap().restart_time, 120);

        // A neighbor that can only receive several paths sends one.
        let mut receives = their_open(LOW);
        let mode = (Family::IPV4_UNICAST, AddPathMode::Receive);
        receives.capabilities.push(Capability::AddPath(vec![mode]));
        assert!(negotiate(&settings(), &receives).unwrap().add_path_receive.is_empty());
    }

    #[test]
    fn our_open() {
        let open = PeerSettings { ipv6: true, ..settings() }.open();
        assert_eq!((open.asn, open.hold_time, open.bgp_id), (65100, 90, OURS));
        let add_path = Capability::AddPath(vec![
            (Family::IPV4_UNICAST, AddPathMode::Receive),
            (Family::IPV6_UNICAST, AddPathMode::Receive),
        ]);
        assert!(open.capabilities.contains(&add_path), "never an offer to send");
        let refusal = negotiate(&settings(), &open).unwrap_err();
        assert_eq!(refusal.notification.subcode, 3, "we are not our own neighbor");
    }
}
