//! The control plane's file, section by section.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Everything that `mcc control run` needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// The control plane itself.
    pub control: ControlPlane,
    /// DNS steering, off without this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlPlane {
    /// Addresses of portal and API.
    pub listen: Vec<SocketAddr>,
    /// Where the embedded database lives.
    pub data_dir: PathBuf,
    /// Which database.
    pub database: Database,
    /// Networks whose `X-Forwarded-For` is believed by `GET /geo`.
    pub trusted_proxies: Vec<IpNet>,
    /// Accepts IPv6 addresses and prefixes everywhere. Off: IPv6 prefixes that nodes advertise are kept
    /// and steered by once it is on.
    pub ipv6: bool,
    /// Certificate; without it plain HTTP, on loopback addresses only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8443))],
            data_dir: PathBuf::from("/var/lib/mcc-control"),
            database: Database::Sqlite,
            trusted_proxies: Vec::new(),
            ipv6: false,
            tls: None,
        }
    }
}

/// `database`: the word `sqlite`, or a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Database {
    /// A file in `data_dir`.
    Sqlite,
    /// A server, by `postgres://` URL. Secret, since it can hold a password.
    Postgres(Secret),
}

impl FromStr for Database {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "sqlite" {
            Ok(Self::Sqlite)
        } else if s.starts_with("postgres://") || s.starts_with("postgresql://") {
            Ok(Self::Postgres(Secret::new(s.to_owned())))
        } else {
            Err(format!("`{s}` is no database: `sqlite`, or a `postgres://…` URL"))
        }
    }
}

impl TryFrom<String> for Database {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<Database> for String {
    fn from(database: Database) -> Self {
        match database {
            Database::Sqlite => "sqlite".to_owned(),
            Database::Postgres(url) => url.expose().to_owned(),
        }
    }
}

/// `[control.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[dns]`: answers the CDN names with node addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Addresses to answer on, UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Resolvers that get every other question.
    pub upstream: Vec<SocketAddr>,
}
