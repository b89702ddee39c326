//! Configuration of a node and of the control plane: types, defaults, checks, examples.
//!
//! One TOML file configures a node ([`NodeConfig`]), another the control plane
//! ([`ControlConfig`]). Both are read by `load`, which either returns a value that every other
//! crate may trust or a [`ConfigError`] that lists each problem with its file, line, key, what was
//! found and what is accepted.

mod accept;
mod bgp_export;
mod cache_limits;
mod check;
mod control;
mod document;
mod dynamic;
mod error;
mod example;
mod keys;
mod load;
mod name;
mod neighbor;
mod node;
mod role;
mod secret;
mod size;

pub use accept::{
    AcceptLists, AcceptRules, AsPathPattern, AsnEntry, AsnRange, CommunityRule, PrefixRule,
    RuleError,
};
pub use bgp_export::{BmpStation, Mrt};
pub use cache_limits::CacheLimits;
pub use control::{ControlConfig, ControlPlane, Database, Dns, Tls};
pub use dynamic::DynamicNeighbors;
pub use error::{ConfigError, Problem};
pub use example::{example_control, example_node};
pub use load::is_of_control_plane;
pub use name::{HostName, NameError, NodeName};
pub use neighbor::{Asn, ImpossibleValue, MaxPrefixesAction, Neighbor};
pub use node::{
    Admin, Bgp, CacheKeeping, ControlLink, Drive, FootprintSettings, Http, Https, Node, NodeConfig,
    Origin,
};
pub use role::BgpRole;
pub use secret::Secret;
pub use size::{ByteSize, SizeError};
