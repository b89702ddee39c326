//! What two neighboring networks are to each other (RFC 9234).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Our BGP Role in an external session (RFC 9234 §3.2); the neighbor has the one that fits to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BgpRole {
    /// The neighbor buys transit from us; it is a customer.
    Provider,
    /// The neighbor is a route server, and we are one of its clients.
    RsClient,
    /// We are a route server, and the neighbor is one of our clients.
    Rs,
    /// We buy transit from the neighbor; it is a provider. The usual one for a cache.
    Customer,
    /// Both exchange the routes of their own customers, and no others.
    Peer,
}

impl BgpRole {
    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::RsClient => "rs-client",
            Self::Rs => "rs",
            Self::Customer => "customer",
            Self::Peer => "peer",
        }
    }

    /// The role that the neighbor must have (RFC 9234 §4.2).
    #[must_use]
    pub const fn of_neighbor(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RsClient => Self::Rs,
            Self::Rs => Self::RsClient,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }
}

impl fmt::Display for BgpRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_and_pairs_fit() {
        for role in
            [BgpRole::Provider, BgpRole::RsClient, BgpRole::Rs, BgpRole::Customer, BgpRole::Peer]
        {
            let in_file = toml::Value::try_from(role).unwrap();
            assert_eq!(in_file.as_str(), Some(role.name()));
            assert_eq!(role.of_neighbor().of_neighbor(), role);
        }
    }
}
