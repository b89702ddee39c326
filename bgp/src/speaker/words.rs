//! Messages in words, for the history of a session.

use crate::wire::{Capability, Open, RouteRefresh, RouteRefreshKind};

/// `AS 65100, hold time 90 s, identifier 192.0.2.1; capabilities: ipv4-unicast, …`
pub(super) fn open(open: &Open) -> String {
    let Open { asn, hold_time, bgp_id, capabilities } = open;
    let capabilities: Vec<_> = capabilities.iter().map(capability).collect();
    let capabilities =
        if capabilities.is_empty() { "none".to_owned() } else { capabilities.join(", ") };
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

/// The name, and in brackets what there is to say beside it.
fn capability(capability: &Capability) -> String {
    match capability.detail() {
        Some(detail) => format!("{} ({detail})", capability.name()),
        None => capability.name(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;
    use crate::wire::Family;

    #[test]
    fn an_open_says_all_that_is_in_it() {
        let said = Open {
            asn: 65100,
            hold_time: 90,
            bgp_id: Ipv4Addr::new(192, 0, 2, 1),
            capabilities: vec![
                Capability::Multiprotocol(Family::IPV4_UNICAST),
                Capability::FourOctetAs(65100),
                Capability::Unknown { code: 200, value: Bytes::from_static(&[1, 0xab]) },
            ],
        };
        let text = open(&said);
        let head = "AS 65100, hold time 90 s, identifier 192.0.2.1; capabilities: ipv4-unicast, ";
        assert!(text.starts_with(&format!("{head}four-octet-as (65100), ")), "{text}");
        let bare = Open { capabilities: vec![], ..said };
        assert!(open(&bare).ends_with("; capabilities: none"));
    }
}
