//! Capabilities in words: what `mcc bgp neighbor` shows of both OPENs.

use std::fmt;

use bytes::Bytes;

use super::{AddPathMode, Capability};

/// Bytes of an unknown capability that are shown.
const SHOWN: usize = 32;

impl Capability {
    /// The name for people, such as `route-refresh`. A family of the multiprotocol capability is
    /// named itself: `ipv4-unicast`. Those without a name are `capability-128`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Multiprotocol(family) => return family.to_string(),
            Self::RouteRefresh => "route-refresh",
            Self::ExtendedNextHop(_) => "extended-next-hop",
            Self::ExtendedMessage => "extended-message",
            Self::Role(_) => "role",
            Self::GracefulRestart { .. } => "graceful-restart",
            Self::FourOctetAs(_) => "four-octet-as",
            Self::AddPath(_) => "add-path",
            Self::EnhancedRouteRefresh => "enhanced-route-refresh",
            Self::LongLivedGracefulRestart(_) => "long-lived-graceful-restart",
            Self::Fqdn { .. } => "fqdn",
            Self::Unknown { code, .. } => return format!("capability-{code}"),
        }
        .to_owned()
    }

    /// What the value says, in words; in hex where it has no known form. `None` if there is nothing
    /// beside the name.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        let list = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(", "));
        match self {
            Self::Multiprotocol(_)
            | Self::RouteRefresh
            | Self::ExtendedMessage
            | Self::EnhancedRouteRefresh => None,
            Self::ExtendedNextHop(families) => list(
                families.iter().map(|(family, afi)| format!("{family} via AFI {afi}")).collect(),
            ),
            Self::Role(code) => Some(match code {
                0 => "provider".to_owned(),
                1 => "rs".to_owned(),
                2 => "rs-client".to_owned(),
                3 => "customer".to_owned(),
                4 => "peer".to_owned(),
                other => format!("role {other}"),
            }),
            Self::GracefulRestart { restarting, notification, restart_time, families } => {
                let mut parts = vec![format!("{restart_time} s")];
                if *restarting {
                    parts.push("restarting".to_owned());
                }
                if *notification {
                    parts.push("notification".to_owned());
                }
                parts.extend(families.iter().map(|&(family, kept)| kept_words(family, kept)));
                list(parts)
            }
            Self::FourOctetAs(asn) => Some(asn.to_string()),
            Self::AddPath(families) => list(
                families.iter().map(|(family, mode)| format!("{} {family}", mode.word())).collect(),
            ),
            Self::LongLivedGracefulRestart(families) => {
                let entry = |&(family, kept, seconds)| {
                    format!("{} for {seconds} s", kept_words(family, kept))
                };
                list(families.iter().map(entry).collect())
            }
            // Written by a stranger: no control characters onto the operator's terminal.
            Self::Fqdn { host, domain } if domain.is_empty() => {
                Some(host.escape_debug().to_string())
            }
            Self::Fqdn { host, domain } => {
                Some(format!("{}.{}", host.escape_debug(), domain.escape_debug()))
            }
            Self::Unknown { value, .. } if value.is_empty() => None,
            Self::Unknown { value, .. } => Some(hex(value)),
        }
    }
}

/// A family, and whether its forwarding state was kept (the F bit of RFC 4724 and RFC 9494).
fn kept_words(family: impl fmt::Display, kept: bool) -> String {
    if kept { format!("{family} kept") } else { family.to_string() }
}

fn hex(value: &Bytes) -> String {
    let digits: String = value.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}{}", if value.len() > SHOWN { "…" } else { "" })
}

impl AddPathMode {
    const fn word(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Both => "send and receive",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Family;

    #[test]
    fn every_capability_has_words() {
        const V4: Family = Family::IPV4_UNICAST;
        let unknown =
            |code, value: &[u8]| Capability::Unknown { code, value: Bytes::copy_from_slice(value) };
        let graceful = Capability::GracefulRestart {
            restarting: true,
            notification: true,
            restart_time: 120,
            families: vec![(V4, true), (Family::IPV6_UNICAST, false)],
        };
        let evpn = Family { afi: 25, safi: 70 };
        let fqdn = Capability::Fqdn { host: "r\x1b[2J".into(), domain: "example".into() };
        for (capability, words) in [
            (Capability::Multiprotocol(V4), "ipv4-unicast"),
            (Capability::Multiprotocol(evpn), "afi-25-safi-70"),
            (Capability::RouteRefresh, "route-refresh"),
            (
                Capability::ExtendedNextHop(vec![(V4, 2)]),
                "extended-next-hop: ipv4-unicast via AFI 2",
            ),
            (Capability::ExtendedMessage, "extended-message"),
            (Capability::Role(2), "role: rs-client"),
            (Capability::Role(5), "role: role 5"),
            (
                graceful,
                "graceful-restart: 120 s, restarting, notification, ipv4-unicast kept, \
                 ipv6-unicast",
            ),
            (Capability::FourOctetAs(70000), "four-octet-as: 70000"),
            (
                Capability::AddPath(vec![(V4, AddPathMode::Both)]),
                "add-path: send and receive ipv4-unicast",
            ),
            (Capability::AddPath(vec![]), "add-path"),
            (Capability::EnhancedRouteRefresh, "enhanced-route-refresh"),
            (
                Capability::LongLivedGracefulRestart(vec![(V4, false, 86400)]),
                "long-lived-graceful-restart: ipv4-unicast for 86400 s",
            ),
            (fqdn, "fqdn: r\\u{1b}[2J.example"),
            (unknown(128, &[]), "capability-128"),
            (unknown(200, &[1, 0xab]), "capability-200: 0x01ab"),
        ] {
            let shown = match capability.detail() {
                Some(detail) => format!("{}: {detail}", capability.name()),
                None => capability.name(),
            };
            assert_eq!(shown, words);
        }
        assert!(unknown(1, &[7; 255]).detail().unwrap().len() < 80);
    }
}
