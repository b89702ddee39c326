//! Where content may come from: the allow-list, and what is particular to each origin.
//!
//! A host that [`Origins::find`] does not know is never contacted. Beside the built-in list stand the
//! operator's own origins, which may have aliases, an address of their own and query parameters that
//! tell objects apart.

mod builtin;
mod client;
mod connect;
pub mod guard;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mcc_config::HostName;
use serde::Serialize;

pub(crate) use client::OriginClient;
pub use client::OriginFailure;

use crate::counters::{Counter, OriginCounters};
use crate::store::ObjectKey;
use crate::time::unix_now;

/// One entry of the allow-list.
#[derive(Debug)]
pub struct Origin {
    name: String,
    /// The host that stands for all names of this origin in a cache key; `None` in a wildcard entry,
    /// where each host stands for itself.
    canonical: Option<HostName>,
    connect: Option<SocketAddr>,
    query_key: BTreeSet<String>,
    built_in: bool,
    /// Bytes to clients and from the origin.
    pub(crate) counters: OriginCounters,
    /// `None` again once the origin has answered.
    last_error: ArcSwapOption<LastError>,
    /// Failed requests since the start.
    pub(crate) failures: Counter,
}

/// The newest failure of an origin.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// What failed, in words.
    pub text: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl Origin {
    /// The entry's name in metrics and status: a host name, or `*.domain`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address to connect to instead of asking DNS.
    #[must_use]
    pub fn connect(&self) -> Option<SocketAddr> {
        self.connect
    }

    /// Whether a file never changes under the same path, so that it needs no question for 30 days.
    /// True of Microsoft's content hosts.
    #[must_use]
    pub fn immutable(&self) -> bool {
        self.built_in
    }

    /// Whether it is one of the built-in entries.
    pub(crate) fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// Whether `path` must be passed through and never stored. Holds for the operator's entries too: one may stand
    /// in the place of a built-in host.
    #[must_use]
    pub fn never_stored(&self, path: &str) -> bool {
        builtin::never_stored(path)
    }

    /// What is wrong with the origin; `None` since it has last answered.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<LastError>> {
        self.last_error.load_full()
    }

    /// Notes a failure; logs the first of a row.
    pub(crate) fn failed(&self, failure: &OriginFailure) {
        self.failures.add(1);
        let error = LastError { text: failure.to_string(), at: unix_now() };
        if self.last_error.swap(Some(Arc::new(error))).is_none() {
            tracing::warn!(origin = self.name, error = %failure, "origin fails");
        }
    }

    /// Notes that the origin has answered; logs that it has come back.
    pub(crate) fn answered(&self) {
        if self.last_error.load().is_some() && self.last_error.swap(None).is_some() {
            tracing::info!(origin = self.name, "origin answers again");
        }
    }

    /// The cache key of `path` and `query` at `host`. Of the query only the parameters named in
    /// `query_key` count, in the order and spelling of the request.
    #[must_use]
    pub fn key(&self, host: &HostName, path: &str, query: Option<&str>) -> ObjectKey {
        let host = self.canonical.as_ref().unwrap_or(host);
        let query = query.filter(|_| !self.query_key.is_empty()).map(|query| {
            let mut kept = String::new();
            for parameter in query.split('&') {
                let name = parameter.split('=').next().unwrap_or(parameter);
                if self.query_key.contains(name) {
                    if !kept.is_empty() {
                        kept.push('&');
                    }
                    kept.push_str(parameter);
                }
            }
            kept
        });
        ObjectKey::new(host, path, query.as_deref().filter(|query| !query.is_empty()))
    }
}

/// The allow-list: the operator's origins and the built-in ones.
#[derive(Debug)]
pub struct Origins {
    exact: HashMap<String, Arc<Origin>>,
    domains: HashMap<&'static str, Arc<Origin>>,
}

impl Origins {
    /// The built-in allow-list and the operator's origins; where both name a host, the operator's
    /// entry holds.
    #[must_use]
    pub fn new(configured: &[mcc_config::Origin]) -> Self {
        let mut exact: HashMap<String, Arc<Origin>> =
            builtin::EXACT.iter().map(|host| ((*host).to_owned(), built_in(host))).collect();
        let domains = builtin::DOMAINS
            .iter()
            .map(|domain| (*domain, built_in(&format!("*.{domain}"))))
            .collect();
        for origin in configured {
            let entry = Arc::new(Origin {
                name: origin.host.as_str().to_owned(),
                canonical: Some(origin.host.clone()),
                connect: origin.connect,
                query_key: origin.query_key.clone(),
                built_in: false,
                counters: OriginCounters::default(),
                last_error: ArcSwapOption::empty(),
                failures: Counter::default(),
            });
            for host in std::iter::once(&origin.host).chain(&origin.aliases) {
                exact.insert(host.as_str().to_owned(), entry.clone());
            }
        }
        Self { exact, domains }
    }

    /// The entry that `host` falls under; `None`: the host is not served.
    #[must_use]
    pub fn find(&self, host: &HostName) -> Option<&Arc<Origin>> {
        let host = host.as_str();
        if builtin::never_served(host) {
            return None;
        }
        if let Some(origin) = self.exact.get(host) {
            return Some(origin);
        }
        // The longest domain wins: `a.b.example`, then `b.example`, then `example`.
        let mut domain = host;
        loop {
            if let Some(origin) = self.domains.get(domain) {
                return Some(origin);
            }
            (_, domain) = domain.split_once('.')?;
        }
    }

    /// Every entry once, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<Origin>> {
        let mut all: Vec<_> = self.exact.values().chain(self.domains.values()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|a, b| Arc::ptr_eq(a, b));
        all
    }
}

fn built_in(name: &str) -> Arc<Origin> {
    Arc::new(Origin {
        name: name.to_owned(),
        canonical: None,
        connect: None,
        query_key: BTreeSet::new(),
        built_in: true,
        counters: OriginCounters::default(),
        last_error: ArcSwapOption::empty(),
        failures: Counter::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    fn configured() -> Origins {
        Origins::new(&[mcc_config::Origin {
            host: host("downloads.example"),
            aliases: vec![host("cdn2.downloads.example")],
            connect: None,
            query_key: ["v".to_owned(), "w".to_owned()].into(),
        }])
    }

    #[test]
    fn the_allow_list_knows_its_hosts_and_no_others() {
        let origins = configured();
        for good in [
            "download.windowsupdate.com",
            "au.download.windowsupdate.com",
            "a.b.dl.delivery.mp.microsoft.com",
            "delivery.mp.microsoft.com",
            "assets1.xboxlive.com",
            "downloads.example",
            "cdn2.downloads.example",
        ] {
            assert!(origins.find(&host(good)).is_some(), "{good}");
        }
        for bad in [
            "example.com",
            "microsoft.com",
            "evil-download.windowsupdate.com",
            "download.windowsupdate.com.evil.example",
            "x.assets1.xboxlive.com",
            "sub.downloads.example",
            "sls.update.microsoft.com",
            "fe2cr.update.microsoft.com",
        ] {
            assert!(origins.find(&host(bad)).is_none(), "{bad}");
        }
    }

    #[test]
    fn control_hosts_stay_refused_when_an_operator_lists_them() {
        let origins = Origins::new(&[mcc_config::Origin {
            host: host("sls.update.microsoft.com"),
            aliases: vec![],
            connect: None,
            query_key: BTreeSet::new(),
        }]);
        assert!(origins.find(&host("sls.update.microsoft.com")).is_none());
    }

    #[test]
    fn aliases_share_a_key_and_wildcard_hosts_do_not() {
        let origins = configured();
        let key = |name: &str| {
            let name = host(name);
            origins.find(&name).unwrap().key(&name, "/a", Some("P1=1"))
        };
        assert_eq!(key("downloads.example"), key("cdn2.downloads.example"));
        assert_ne!(key("a.download.windowsupdate.com"), key("b.download.windowsupdate.com"));
    }

    #[test]
    fn only_named_parameters_belong_to_the_key() {
        let origins = configured();
        let name = host("downloads.example");
        let origin = origins.find(&name).unwrap();
        let key = |query: &str| origin.key(&name, "/a", Some(query));
        assert_eq!(key("v=1&P1=9&w=2"), key("P4=x&v=1&w=2"));
        assert_eq!(key("P1=9"), origin.key(&name, "/a", None));
        assert_ne!(key("v=1"), key("v=2"));
        assert_ne!(key("v=%31"), key("v=1"), "spelling is not interpreted");
        let microsoft = host("dl.delivery.mp.microsoft.com");
        let origin = origins.find(&microsoft).unwrap();
        assert_eq!(
            origin.key(&microsoft, "/f", Some("P1=1&P4=a")),
            origin.key(&microsoft, "/f", Some("P1=2&P4=b"))
        );
    }

    #[test]
    fn trust_lists_are_never_stored() {
        let origins = configured();
        let microsoft = host("ctldl.windowsupdate.com");
        let origin = origins.find(&microsoft).unwrap();
        assert!(origin.never_stored("/msdownload/update/v3/static/trustedr/en/AuthRootSTL.cab"));
        assert!(!origin.never_stored("/msdownload/authrootstl.cab.txt"));
        let operators = Origins::new(&[mcc_config::Origin {
            host: microsoft.clone(),
            aliases: vec![],
            connect: None,
            query_key: BTreeSet::new(),
        }]);
        assert!(operators.find(&microsoft).unwrap().never_stored("/en/disallowedcertstl.cab"));
    }
}
