//! Messages in words, for the history of a session.

use crate::wire::{AddPathMode, Capability, Family, Open, RouteRefresh, RouteRefreshKind};

/// `AS 65100, hold time 90 s, identifier 192.0.2.1; capabilities: ipv4-unicast, …`
pub(super) fn open(open: &Open) -> String {
    let Open { asn, hold_time, bgp_id, capabilities } = open;
    let capabilities = list(capabilities, capability);
    format!("AS {asn}, hold time {hold_time} s, identifier {bgp_id}; capabilities: {capabilities}")
}

/// `request for ipv4-unicast`
pub(super) fn route_refresh(refresh: &RouteRefresh) -> String {
    let family = refresh.family;
    match refresh.kind {
        RouteRefreshKind::Request => format!("request for {family}"),
        RouteRefreshKind::BeginningOfRefresh => format!("beginning of {family}"),
        RouteRefreshKind::EndOfRefresh => format!("end of {family}"),
        RouteRefreshKind::Unknown(subtype) => format!("subtype {subtype} for {family}"),
    }
}

fn capability(capability: &Capability) -> String {
    match capability {
        Capability::Multiprotocol(family) => family.to_string(),
        Capability::RouteRefresh => "route-refresh".to_owned(),
        Capability::ExtendedNextHop(families) => {
            let entry =
                |(family, afi): &(Family, u16)| format!("{family} with a next hop of AFI {afi}");
            format!("extended-next-hop ({})", list(families, entry))
        }
        Capability::ExtendedMessage => "extended-message".to_owned(),
        Capability::Role(role) => match role {
            0 => "role provider".to_owned(),
            1 => "role route server".to_owned(),
            2 => "role route server client".to_owned(),
            3 => "role customer".to_owned(),
            4 => "role peer".to_owned(),
            other => format!("role {other}"),
        },
        Capability::GracefulRestart { restarting, notification, restart_time, families } => {
            let mut words = vec![format!("{restart_time} s")];
            words.extend(restarting.then(|| "has restarted".to_owned()));
            words.extend(notification.then(|| "also after a NOTIFICATION".to_owned()));
            words.extend(families.iter().map(|(family, forwarding)| {
                let forwarding = if *forwarding { " forwarding" } else { "" };
                format!("{family}{forwarding}")
            }));
            format!("graceful-restart ({})", words.join(", "))
        }
        Capability::FourOctetAs(asn) => format!("four-octet-as ({asn})"),
        Capability::AddPath(families) => {
            let entry = |(family, mode): &(Family, AddPathMode)| {
                let mode = match mode {
                    AddPathMode::Receive => "receive",
                    AddPathMode::Send => "send",
                    AddPathMode::Both => "send and receive",
                };
                format!("{family} {mode}")
            };
            format!("add-path ({})", list(families, entry))
        }
        Capability::EnhancedRouteRefresh => "enhanced-route-refresh".to_owned(),
        Capability::LongLivedGracefulRestart(families) => {
            let entry =
                |(family, _, seconds): &(Family, bool, u32)| format!("{family} {seconds} s");
            format!("long-lived-graceful-restart ({})", list(families, entry))
        }
        Capability::Fqdn { host, domain } => {
            // Written by a stranger: no control characters onto the operator's terminal.
            let dot = if domain.is_empty() { "" } else { "." };
            format!("host name {}{dot}{}", host.escape_debug(), domain.escape_debug())
        }
        Capability::Unknown { code, value } if value.is_empty() => format!("capability {code}"),
        Capability::Unknown { code, value } => format!("capability {code} ({value:x})"),
    }
}

fn list<T>(items: &[T], words: impl Fn(&T) -> String) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn an_open_says_all_that_is_in_it() {
        let said = Open {
            asn: 65100,
            hold_time: 90,
            bgp_id: Ipv4Addr::new(192, 0, 2, 1),
            capabilities: vec![
                Capability::Multiprotocol(Family::IPV4_UNICAST),
                Capability::FourOctetAs(65100),
                Capability::GracefulRestart {
                    restarting: true,
                    notification: false,
                    restart_time: 120,
                    families: vec![(Family::IPV4_UNICAST, true)],
                },
                Capability::AddPath(vec![(Family::IPV4_UNICAST, AddPathMode::Both)]),
                Capability::Fqdn { host: "r\u{1b}1".to_owned(), domain: "example".to_owned() },
                Capability::Unknown { code: 128, value: Bytes::new() },
                Capability::Unknown { code: 200, value: Bytes::from_static(&[1, 0xab]) },
            ],
        };
        assert_eq!(
            open(&said),
            "AS 65100, hold time 90 s, identifier 192.0.2.1; capabilities: \
             ipv4-unicast, four-octet-as (65100), \
             graceful-restart (120 s, has restarted, ipv4-unicast forwarding), \
             add-path (ipv4-unicast send and receive), host name r\\u{1b}1.example, \
             capability 128, capability 200 (01ab)"
        );
        let bare = Open { capabilities: vec![], ..said };
        assert!(open(&bare).ends_with("; capabilities: none"));
    }
}
