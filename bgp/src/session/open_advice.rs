//! What to do when one side does not take the other's OPEN: which setting of which side makes it fit.

use mcc_config::BgpRole;

use super::role;
use super::settings::PeerSettings;
use crate::wire::subcode::open as subcode;
use crate::wire::{Capability, Family, Notification, Open};

/// The OPENs of a connection, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opens<'a> {
    pub(super) settings: &'a PeerSettings,
    pub(super) ours: &'a Open,
    pub(super) theirs: Option<&'a Open>,
}

/// What stands in an OPEN about the role (RFC 9234 §4.1).
enum Said {
    Nothing,
    Role(BgpRole),
    /// A number that is no role, or several roles.
    Nonsense,
    /// Role capabilities of another length than one octet, and no good one.
    Malformed,
}

impl Said {
    fn by(open: &Open) -> Self {
        let mut codes = open.capabilities.iter().filter_map(|capability| match capability {
            Capability::Role(code) => Some(*code),
            _ => None,
        });
        let Some(first) = codes.next() else {
            let malformed = role::is_malformed_in(open);
            return if malformed { Self::Malformed } else { Self::Nothing };
        };
        match role::from_code(first) {
            Some(role) if codes.all(|code| code == first) => Self::Role(role),
            _ => Self::Nonsense,
        }
    }
}

impl Opens<'_> {
    /// The router has refused our OPEN with this OPEN Message Error.
    pub(super) fn refused_by_router(&self, reason: &Notification) -> String {
        let ours = self.ours;
        match reason.subcode {
            subcode::UNSUPPORTED_VERSION_NUMBER => {
                "it does not speak BGP version 4, the only one there is here".to_owned()
            }
            subcode::BAD_PEER_AS => format!(
                "it expects another AS number than {} of this node: `local_asn` must be what it has \
                 as the remote AS of this session",
                self.settings.local_asn
            ),
            subcode::BAD_BGP_IDENTIFIER => format!(
                "it does not take the identifier {} of this node: `bgp.router_id` must be another \
                 one than the router's own",
                ours.bgp_id
            ),
            subcode::UNSUPPORTED_OPTIONAL_PARAMETER => self.parameters_refused_by_router(),
            subcode::AUTHENTICATION_FAILURE => {
                "it wants the authentication of old BGP, which no one has any more: take it out \
                 there, and use `password` (TCP MD5) on both sides"
                    .to_owned()
            }
            subcode::UNACCEPTABLE_HOLD_TIME => format!(
                "it does not take a hold time of {} s: set `hold_time` to what it asks for",
                ours.hold_time
            ),
            subcode::UNSUPPORTED_CAPABILITY => self.capabilities_in_dispute(reason),
            subcode::ROLE_MISMATCH => self.role_refused_by_router(),
            _ => "it does not say what of the OPEN is wrong: compare `asn`, `local_asn`, \
                  `bgp.router_id` and `hold_time` with its side, or look at its log"
                .to_owned(),
        }
    }

    /// We have refused the router's OPEN with this OPEN Message Error.
    pub(super) fn refused_by_us(&self, reason: &Notification) -> String {
        match (reason.subcode, self.theirs) {
            (subcode::UNSUPPORTED_VERSION_NUMBER, _) => {
                "only BGP version 4 is spoken here: let the router use it".to_owned()
            }
            (subcode::BAD_PEER_AS, Some(theirs)) => format!(
                "if it is the right router, set `asn = {}` here; else look at its local AS towards \
                 this node",
                theirs.asn
            ),
            // Ours has nothing to do with it: none is no identifier (RFC 6286 §2.1).
            (subcode::BAD_BGP_IDENTIFIER, theirs)
                if theirs.is_none_or(|theirs| theirs.bgp_id.is_unspecified()) =>
            {
                "set an identifier (router ID) other than 0.0.0.0 on the router".to_owned()
            }
            (subcode::BAD_BGP_IDENTIFIER, _) => format!(
                "give the router an identifier (router ID) of its own, or this node another \
                 `bgp.router_id` than {}",
                self.settings.router_id
            ),
            (subcode::UNSUPPORTED_OPTIONAL_PARAMETER, _) => {
                "let the router send capabilities (RFC 5492) and no other optional parameter"
                    .to_owned()
            }
            (subcode::UNACCEPTABLE_HOLD_TIME, _) => {
                "set the hold time on the router to 0 or to 3 s and more (RFC 4271 §4.2)".to_owned()
            }
            (subcode::UNSUPPORTED_CAPABILITY, theirs) => {
                let has_ipv6 = theirs.is_some_and(|theirs| {
                    theirs.capabilities.contains(&Capability::Multiprotocol(Family::IPV6_UNICAST))
                });
                let or = if has_ipv6 && !self.settings.ipv6 {
                    ", or set `[node] ipv6 = true` here"
                } else {
                    ""
                };
                format!("activate IPv4 unicast for this node on the router{or}")
            }
            (subcode::ROLE_MISMATCH, Some(theirs)) => self.role_refused_by_us(theirs),
            _ => "the router's OPEN is not what BGP allows: `mcc bgp errors --hex` has the bytes for \
                  whoever runs it"
                .to_owned(),
        }
    }

    /// What a peer does next stands in [`Peer`](super::Peer): it goes without capabilities once.
    fn parameters_refused_by_router(&self) -> String {
        if self.ours.capabilities.is_empty() {
            return "this OPEN had no optional parameters, so it minds something else: look at its \
                    log; the next attempt goes with capabilities again"
                .to_owned();
        }
        if self.settings.can_go_without_capabilities() {
            return "it does not know capabilities (RFC 5492); the next attempt goes without them"
                .to_owned();
        }
        format!(
            "it does not know capabilities (RFC 5492), and without them this node cannot say that it \
             is of AS {}: a `local_asn` below 65536 can be said; the next attempt is the same as this",
            self.settings.local_asn
        )
    }

    /// The role that our OPEN names.
    fn our_role(&self) -> Option<BgpRole> {
        self.settings.role.filter(|_| !self.settings.is_internal())
    }

    fn role_refused_by_router(&self) -> String {
        if self.settings.is_internal() {
            return "a session inside one AS has no roles (RFC 9234 §4): take the role out on the \
                    router"
                .to_owned();
        }
        match (self.our_role(), self.theirs.map(Said::by)) {
            (None, Some(Said::Role(theirs))) => format!(
                "this node names no role and the router, which says that it is {theirs}, insists on \
                 one: set `role = \"{}\"` here",
                theirs.of_neighbor()
            ),
            (None, _) => "this node names no role and the router insists on one: set `role` here to \
                          the opposite of the router's (provider and customer, rs and rs-client, peer \
                          and peer)"
                .to_owned(),
            (Some(ours), Some(Said::Role(theirs))) if theirs == ours.of_neighbor() => format!(
                "this node says that it is {ours} and the router that it is {theirs}, which fit: its \
                 log says what it minds"
            ),
            (Some(ours), Some(Said::Role(theirs))) => self.roles_that_fit(ours, theirs),
            (Some(ours), _) => format!(
                "this node says that it is {ours}, so the router has to be {}: set that there, or \
                 `role` here to the opposite of the router's",
                ours.of_neighbor()
            ),
        }
    }

    fn role_refused_by_us(&self, theirs: &Open) -> String {
        let Some(ours) = self.our_role() else {
            return "let the router name one role, or none".to_owned();
        };
        match Said::by(theirs) {
            Said::Role(theirs) => self.roles_that_fit(ours, theirs),
            Said::Nothing => format!(
                "this node says that it is {ours}: set the role {} on the router, or \
                 `role_strict = false` here",
                ours.of_neighbor()
            ),
            Said::Nonsense => format!(
                "this node says that it is {ours}: set the role {} on the router, and no other",
                ours.of_neighbor()
            ),
            Said::Malformed => format!(
                "this node says that it is {ours}: set the role {} on the router again, or \
                 `role_strict = false` here, which takes a router with such a role as one without",
                ours.of_neighbor()
            ),
        }
    }

    fn roles_that_fit(&self, ours: BgpRole, theirs: BgpRole) -> String {
        format!(
            "this node says that it is {ours} and the router that it is {theirs}: set \
             `role = \"{}\"` here, or {} on the router, whichever is true",
            theirs.of_neighbor(),
            ours.of_neighbor()
        )
    }

    /// RFC 5492 §5: the data names the capabilities that made the router refuse. Some routers name what
    /// they miss, others what they do not want.
    fn capabilities_in_dispute(&self, reason: &Notification) -> String {
        let named = reason.capabilities_asked_for();
        if named.is_empty() {
            let offered: Vec<_> = self.ours.capabilities.iter().map(Capability::name).collect();
            let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
            return format!(
                "it does not say which capability it misses or does not want; this node offers \
                 {offered}: compare with what the router requires of this session"
            );
        }
        let each = named.iter().map(|capability| self.in_dispute(capability));
        each.collect::<Vec<_>>().join("; ")
    }

    fn in_dispute(&self, capability: &Capability) -> String {
        let name = capability.name();
        let is_it = |offered: &Capability| match capability {
            Capability::Multiprotocol(_) => offered == capability,
            _ => offered.code() == capability.code(),
        };
        if self.ours.capabilities.iter().any(is_it) {
            let out = match capability {
                Capability::Multiprotocol(Family::IPV6_UNICAST)
                | Capability::ExtendedNextHop(_) => "or take it out with `[node] ipv6 = false`",
                Capability::GracefulRestart { .. } => {
                    "or take it out with `graceful_restart = false`"
                }
                Capability::LongLivedGracefulRestart(_) => {
                    "or take it out with `long_lived_stale_time = 0`"
                }
                Capability::AddPath(_) => "or take it out with `add_path = false`",
                Capability::Role(_) => "or take `role` out here",
                _ => "or look at its log",
            };
            return format!(
                "it does not want {name}, which this node offers: activate it on the router, {out}"
            );
        }
        let way_in = match capability {
            Capability::Multiprotocol(Family::IPV6_UNICAST) | Capability::ExtendedNextHop(_) => {
                "`[node] ipv6 = true` offers"
            }
            Capability::GracefulRestart { .. } => "`graceful_restart = true` offers",
            Capability::LongLivedGracefulRestart(_) => {
                "`graceful_restart = true` with a `long_lived_stale_time` offers"
            }
            Capability::AddPath(_) => "`add_path = true` offers",
            Capability::Role(_) => "`role` offers",
            Capability::Multiprotocol(Family::IPV4_UNICAST)
            | Capability::RouteRefresh
            | Capability::EnhancedRouteRefresh
            | Capability::FourOctetAs(_)
            | Capability::ExtendedMessage => "this node offers again on its next attempt",
            Capability::Multiprotocol(_) | Capability::Fqdn { .. } | Capability::Unknown { .. } => {
                return format!(
                    "it asks for {name}, which this node does not have: do not require it on the \
                     router"
                );
            }
        };
        format!("it asks for {name}, which {way_in}")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;
    use crate::session::tests::{LOW, settings, their_open};
    use crate::wire::NotificationCode;

    fn open_error(subcode: u8, data: &[u8]) -> Notification {
        let data = Bytes::copy_from_slice(data);
        Notification { code: NotificationCode::OpenMessage, subcode, data }
    }

    /// An external neighbor, to which we are `role`.
    fn external(role: Option<BgpRole>) -> PeerSettings {
        PeerSettings { asn: 64500, role, ..settings() }
    }

    fn their_role(codes: &[u8]) -> Open {
        let mut open = their_open(LOW);
        open.capabilities.extend(codes.iter().copied().map(Capability::Role));
        open
    }

    /// Every subcode there is or may be, both ways.
    #[test]
    fn each_subcode_has_advice_of_its_own() {
        let settings = external(Some(BgpRole::Customer));
        let (ours, theirs) = (settings.open(false), their_role(&[3]));
        let opens = Opens { settings: &settings, ours: &ours, theirs: Some(&theirs) };
        for (subcode, by_router, by_us) in [
            (0, "compare `asn`, `local_asn`, `bgp.router_id` and `hold_time`", "--hex"),
            (1, "does not speak BGP version 4", "only BGP version 4 is spoken here"),
            (2, "another AS number than 65100 of this node: `local_asn`", "set `asn = 65100` here"),
            (3, "the identifier 10.0.0.5 of this node: `bgp.router_id`", "than 10.0.0.5"),
            (4, "the next attempt goes without them", "no other optional parameter"),
            (5, "use `password` (TCP MD5) on both sides", "--hex"),
            (6, "a hold time of 90 s: set `hold_time`", "to 0 or to 3 s and more"),
            (7, "compare with what the router requires", "activate IPv4 unicast"),
            (8, "compare `asn`, `local_asn`, `bgp.router_id` and `hold_time`", "--hex"),
            (9, "compare `asn`, `local_asn`, `bgp.router_id` and `hold_time`", "--hex"),
            (10, "compare `asn`, `local_asn`, `bgp.router_id` and `hold_time`", "--hex"),
            (11, "`role = \"provider\"` here", "`role = \"provider\"` here"),
            (12, "compare `asn`, `local_asn`, `bgp.router_id` and `hold_time`", "--hex"),
            (255, "compare `asn`, `local_asn`, `bgp.router_id` and `hold_time`", "--hex"),
        ] {
            let reason = open_error(subcode, &[]);
            let advice = opens.refused_by_router(&reason);
            assert!(advice.contains(by_router), "received 2/{subcode}: {advice}");
            let advice = opens.refused_by_us(&reason);
            assert!(advice.contains(by_us), "sent 2/{subcode}: {advice}");
            let nothing_known = Opens { theirs: None, ..opens };
            assert!(!nothing_known.refused_by_us(&reason).is_empty());
        }
    }

    /// What the next attempt does is what the peer then does: see its tests.
    #[test]
    fn a_router_without_capabilities_is_told_of_with_the_next_attempt() {
        let advice = |settings: &PeerSettings, with_capabilities: bool| {
            let mut ours = settings.open(false);
            if !with_capabilities {
                ours.capabilities.clear();
            }
            let opens = Opens { settings, ours: &ours, theirs: None };
            opens.refused_by_router(&open_error(4, &[]))
        };
        let first = advice(&settings(), true);
        assert!(first.ends_with("the next attempt goes without them"), "{first}");
        let second = advice(&settings(), false);
        assert!(second.ends_with("the next attempt goes with capabilities again"), "{second}");
        let large = PeerSettings { local_asn: 4_200_000_000, ..settings() };
        let each = advice(&large, true);
        assert!(each.contains("cannot say that it is of AS 4200000000"), "{each}");
        assert!(each.ends_with("the next attempt is the same as this"), "{each}");
    }

    #[test]
    fn an_identifier_of_zero_is_the_routers_matter_alone() {
        let settings = settings();
        let ours = settings.open(false);
        let zero = their_open(Ipv4Addr::UNSPECIFIED);
        for theirs in [None, Some(&zero)] {
            let opens = Opens { settings: &settings, ours: &ours, theirs };
            let advice = opens.refused_by_us(&open_error(3, &[]));
            assert_eq!(advice, "set an identifier (router ID) other than 0.0.0.0 on the router");
        }
    }

    #[test]
    fn a_role_mismatch_names_both_roles_and_the_settings_that_fit() {
        use BgpRole::{Customer, Peer, Provider};

        /// Our role, theirs (none: their OPEN has not come), what we say if they mind, and if we do.
        type Case = (Option<BgpRole>, Option<&'static [u8]>, &'static str, &'static str);
        let cases: [Case; 7] = [
            (
                Some(Customer),
                Some(&[3]),
                "this node says that it is customer and the router that it is customer: set \
                 `role = \"provider\"` here, or provider on the router, whichever is true",
                "this node says that it is customer and the router that it is customer: set \
                 `role = \"provider\"` here, or provider on the router, whichever is true",
            ),
            (
                Some(Peer),
                Some(&[0]),
                "this node says that it is peer and the router that it is provider: set \
                 `role = \"customer\"` here, or peer on the router, whichever is true",
                "this node says that it is peer and the router that it is provider: set \
                 `role = \"customer\"` here, or peer on the router, whichever is true",
            ),
            (
                Some(Customer),
                Some(&[0]),
                "this node says that it is customer and the router that it is provider, which fit: \
                 its log says what it minds",
                "",
            ),
            (
                Some(Provider),
                Some(&[]),
                "this node says that it is provider, so the router has to be customer: set that \
                 there, or `role` here to the opposite of the router's",
                "this node says that it is provider: set the role customer on the router, or \
                 `role_strict = false` here",
            ),
            (
                Some(Provider),
                Some(&[3, 9]),
                "this node says that it is provider, so the router has to be customer: set that \
                 there, or `role` here to the opposite of the router's",
                "this node says that it is provider: set the role customer on the router, and no \
                 other",
            ),
            (
                None,
                Some(&[1]),
                "this node names no role and the router, which says that it is rs, insists on one: \
                 set `role = \"rs-client\"` here",
                "",
            ),
            (
                None,
                None,
                "this node names no role and the router insists on one: set `role` here to the \
                 opposite of the router's (provider and customer, rs and rs-client, peer and peer)",
                "",
            ),
        ];
        for (role, codes, by_router, by_us) in cases {
            let settings = external(role);
            let theirs = codes.map(their_role);
            let ours = settings.open(false);
            let opens = Opens { settings: &settings, ours: &ours, theirs: theirs.as_ref() };
            let reason = open_error(11, &[]);
            assert_eq!(opens.refused_by_router(&reason), by_router);
            if !by_us.is_empty() {
                assert_eq!(opens.refused_by_us(&reason), by_us);
            }
        }
        let internal = settings();
        let ours = internal.open(false);
        let opens = Opens { settings: &internal, ours: &ours, theirs: None };
        let advice = opens.refused_by_router(&open_error(11, &[]));
        assert!(advice.starts_with("a session inside one AS has no roles"), "{advice}");
    }

    #[test]
    fn an_unsupported_capability_is_named_with_its_setting() {
        let settings = settings();
        let ours = settings.open(false);
        let opens = Opens { settings: &settings, ours: &ours, theirs: None };
        for (data, expected) in [
            (
                &[1, 4, 0, 2, 0, 1][..],
                "it asks for ipv6-unicast, which `[node] ipv6 = true` offers",
            ),
            (&[9, 1, 0], "it asks for role, which `role` offers"),
            (
                &[128, 0],
                "it asks for capability-128, which this node does not have: do not require it on the \
                 router",
            ),
            (
                &[1, 4, 0, 1, 0, 128],
                "it asks for ipv4-mpls-vpn, which this node does not have: do not require it on the \
                 router",
            ),
            (
                &[1, 4, 0, 1, 0, 1],
                "it does not want ipv4-unicast, which this node offers: activate it on the router, \
                 or look at its log",
            ),
            (
                &[2, 0, 69, 4, 0, 1, 1, 1],
                "it does not want route-refresh, which this node offers: activate it on the router, \
                 or look at its log; it does not want add-path, which this node offers: activate it \
                 on the router, or take it out with `add_path = false`",
            ),
        ] {
            let advice = opens.refused_by_router(&open_error(7, data));
            let expected =
                expected.replace("ipv4-mpls-vpn", &Family { afi: 1, safi: 128 }.to_string());
            assert_eq!(advice, expected, "{data:?}");
        }
        let unnamed = opens.refused_by_router(&open_error(7, &[]));
        assert!(unnamed.contains("this node offers ipv4-unicast, route-refresh, "), "{unnamed}");

        // What we refuse: no family in common.
        let mut theirs = their_open(Ipv4Addr::new(10, 0, 0, 1));
        theirs.capabilities = vec![Capability::Multiprotocol(Family::IPV6_UNICAST)];
        let opens = Opens { theirs: Some(&theirs), ..opens };
        assert_eq!(
            opens.refused_by_us(&open_error(7, &[])),
            "activate IPv4 unicast for this node on the router, or set `[node] ipv6 = true` here"
        );
    }
}
