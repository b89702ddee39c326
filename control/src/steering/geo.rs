//! The reply of the Delivery Optimization geo service, by which Windows clients find their cache.
//!
//! Served with `Content-Type: text/json`; the clients accept no other.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::decision::Decision;

/// The media type of the reply.
pub const CONTENT_TYPE: &str = "text/json";

/// At most this many cache hosts are named.
const HOSTS_MAX: usize = 3;

/// The parts of the reply that steering does not decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoSettings {
    /// ISO 3166-1 alpha-2 code. `ZZ`, which no country has, when it is not known.
    pub country_code: String,
    /// Where the client goes on to for its other settings.
    pub key_value_endpoint: String,
    /// Names this configuration; clients ask for nothing but that it is there.
    pub version: String,
}

impl Default for GeoSettings {
    fn default() -> Self {
        Self {
            country_code: "ZZ".to_owned(),
            key_value_endpoint: "https://kv801.prod.do.dsp.mp.microsoft.com/all".to_owned(),
            version: "0000000000000001".to_owned(),
        }
    }
}

/// The reply. Field names are the wire's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeoReply {
    /// The client's address as the service sees it.
    #[serde(rename = "ExternalIpAddress")]
    pub external_ip_address: IpAddr,
    /// See [`GeoSettings::country_code`].
    #[serde(rename = "CountryCode")]
    pub country_code: String,
    /// See [`GeoSettings::key_value_endpoint`].
    #[serde(rename = "KeyValue_EndpointFullUri")]
    pub key_value_endpoint: String,
    /// See [`GeoSettings::version`].
    #[serde(rename = "Version")]
    pub version: String,
    /// Cache hosts, best first, separated by commas. Absent when no node serves the client.
    #[serde(rename = "CacheHost", default, skip_serializing_if = "Option::is_none")]
    pub cache_host: Option<String>,
    /// 1 would send the client to DHCP option 235 for its cache host; here it is always 0.
    #[serde(rename = "CacheHostFlag")]
    pub cache_host_flag: u32,
}

/// Puts a decision in the words of the geo service.
#[must_use]
pub fn reply(decision: &Decision, settings: &GeoSettings) -> GeoReply {
    let mut hosts: Vec<String> = Vec::new();
    for candidate in &decision.candidates {
        let host = match candidate.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        if hosts.len() < HOSTS_MAX && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    GeoReply {
        external_ip_address: decision.client,
        country_code: settings.country_code.clone(),
        key_value_endpoint: settings.key_value_endpoint.clone(),
        version: settings.version.clone(),
        cache_host: (!hosts.is_empty()).then(|| hosts.join(",")),
        cache_host_flag: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Source;
    use crate::steering::{Candidate, Reason, RouteRank};

    fn decision(addresses: &[&str]) -> Decision {
        let candidates = addresses.iter().map(|address| Candidate {
            node: "edge-1".parse().unwrap(),
            address: address.parse().unwrap(),
            prefix: "198.51.100.0/24".parse().unwrap(),
            route: RouteRank { source: Source::Manual, path_len: 0, med: None, neighbor_asn: None },
            reason: Reason::OnlyCandidate,
        });
        Decision {
            client: "198.51.100.7".parse().unwrap(),
            chosen: None,
            candidates: candidates.collect(),
            passed_over: Vec::new(),
        }
    }

    #[test]
    fn is_what_the_clients_read() {
        let settings = GeoSettings { country_code: "DE".to_owned(), ..GeoSettings::default() };
        assert_eq!(
            serde_json::to_value(reply(&decision(&["192.0.2.10"]), &settings)).unwrap(),
            serde_json::json!({
                "ExternalIpAddress": "198.51.100.7",
                "CountryCode": "DE",
                "KeyValue_EndpointFullUri": "https://kv801.prod.do.dsp.mp.microsoft.com/all",
                "Version": "0000000000000001",
                "CacheHost": "192.0.2.10",
                "CacheHostFlag": 0
            })
        );
    }

    #[test]
    fn names_the_best_three_once_or_none() {
        let hosts = |addresses: &[&str]| {
            let reply = reply(&decision(addresses), &GeoSettings::default());
            serde_json::to_value(reply).unwrap().get("CacheHost").cloned()
        };
        assert_eq!(hosts(&[]), None);
        assert_eq!(
            hosts(&["192.0.2.2", "192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3"]).unwrap(),
            "192.0.2.2,192.0.2.1,[2001:db8::1]"
        );
    }
}
