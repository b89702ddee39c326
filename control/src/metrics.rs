//! What the control plane counts, in OpenMetrics text. No label holds a prefix or a client.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::health::NodeState;

/// The media type of [`Metrics::text`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The pattern of the path, never the path itself.
    pub(crate) route: String,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The counters. Clones count into the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    /// Client addresses that a node serves.
    pub(crate) steered: Counter,
    /// Client addresses that no node serves.
    pub(crate) not_steered: Counter,
    /// Advertisements that were applied and committed.
    pub(crate) feed_applied: Counter,
    /// Advertisements that do not follow what is stored: the node was asked to resync.
    pub(crate) feed_resync: Counter,
    /// Advertisements that cannot be read.
    pub(crate) feed_invalid: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) prefixes: Gauge,
    left_out: Gauge,
    nodes: Family<StateLabels, Gauge>,
    registry: Arc<Registry>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("mcc");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", build);
        let requests = Family::default();
        registry.register("control_http_requests", "Requests answered", requests.clone());
        let decisions = Family::<ResultLabels, Counter>::default();
        registry.register("steer_decisions", "Client addresses looked up", decisions.clone());
        let updates = Family::<ResultLabels, Counter>::default();
        registry.register("feed_updates", "Advertisements received", updates.clone());
        let heartbeats = Counter::default();
        registry.register("heartbeats", "Heartbeats received", heartbeats.clone());
        let prefixes = Gauge::default();
        registry.register("steering_prefixes", "Prefixes in the steering index", prefixes.clone());
        let left_out = Family::<ReasonLabels, Gauge>::default();
        registry.register(
            "steering_left_out_prefixes",
            "Prefixes of nodes that no client is steered by, by reason",
            left_out.clone(),
        );
        let nodes = Family::default();
        registry.register("nodes", "Nodes by state", nodes.clone());
        Self {
            requests,
            steered: labelled(&decisions, "node"),
            not_steered: labelled(&decisions, "none"),
            feed_applied: labelled(&updates, "applied"),
            feed_resync: labelled(&updates, "resync"),
            feed_invalid: labelled(&updates, "invalid"),
            heartbeats,
            prefixes,
            left_out: left_out.get_or_create(&ReasonLabels { reason: "ipv6_off" }).clone(),
            nodes,
            registry: Arc::new(registry),
        }
    }

    /// Sets how many nodes are in `state`.
    pub(crate) fn set_nodes(&self, state: NodeState, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.nodes.get_or_create(&StateLabels { state: state.as_str() }).set(count);
    }

    /// Sets how many prefixes of all nodes together are left out of steering since IPv6 is off.
    pub(crate) fn set_left_out(&self, prefixes: usize) {
        self.left_out.set(i64::try_from(prefixes).unwrap_or(i64::MAX));
    }

    /// All of them as OpenMetrics text.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// The counter behind a label, taken once so that counting touches no map.
fn labelled(family: &Family<ResultLabels, Counter>, result: &'static str) -> Counter {
    family.get_or_create(&ResultLabels { result }).clone()
}
